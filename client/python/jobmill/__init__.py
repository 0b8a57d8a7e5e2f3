"""jobmill: the Python client of jobmill, a job queue with compute workers.

    import jobmill

    with jobmill.Client() as client:        # $JOBMILL_URL, or http://127.0.0.1:7878
        job = client.submit("fib", {"n": 35}, queue="maths", delay=2)
        print(job.result(timeout=60))

Client tells of threads, repeats and errors; the standard library is all it needs.
"""

from . import errors
from .client import Client, Explanation, Reason
from .errors import (AlreadyFinished, ApiError, BadAnswer, BatchRefused, BrokerError, Conflict,
                     ConnectionFailed, IdempotencyMismatch, InvalidRequest, JobCancelled, JobExpired,
                     JobFailed, JobmillError, JobRunning, NoResult, NoSuchRoute, NotFinished,
                     NotFound, Overloaded, QueueFull, ShuttingDown, TooLarge, TooMany,
                     TooManyWaiters, Unavailable, UniqueConflict, UnknownFate, WaitTimeout)
from .fields import backoff, rate, unique
from .job import (CANCELLED, EXPIRED, FAILED, FINISHED, QUEUED, RUNNING, SCHEDULED, SUCCEEDED,
                  Attempt, Fault, Job, Progress)
from .retry import Retry

__version__ = "0.1.0"

__all__ = [
    "CANCELLED", "EXPIRED", "FAILED", "FINISHED", "QUEUED", "RUNNING", "SCHEDULED", "SUCCEEDED",
    "AlreadyFinished", "ApiError", "Attempt", "BadAnswer", "BatchRefused", "BrokerError", "Client",
    "Conflict", "ConnectionFailed", "Explanation", "Fault", "IdempotencyMismatch", "InvalidRequest",
    "Job", "JobCancelled", "JobExpired", "JobFailed", "JobRunning", "JobmillError", "NoResult",
    "NoSuchRoute", "NotFinished", "NotFound", "Overloaded", "Progress", "QueueFull", "Reason",
    "Retry", "ShuttingDown", "TooLarge", "TooMany", "TooManyWaiters", "Unavailable",
    "UniqueConflict", "UnknownFate", "WaitTimeout", "backoff", "errors", "rate", "unique",
]
