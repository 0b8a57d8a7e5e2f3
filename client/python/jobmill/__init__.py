"""jobmill: the Python client of jobmill, a job queue with compute workers.

    import jobmill

    with jobmill.Client() as client:        # $JOBMILL_URL, or http://127.0.0.1:7878
        job = client.submit("fib", {"n": 35}, queue="maths", delay=2)
        print(job.result(timeout=60))

Client tells of threads, repeats and errors; the standard library is all it needs.
"""

from . import errors
from .admin import UNSET, Hold, Queue, Task, Worker
from .batch import BatchAnswer
from .client import Bulk, Client, Explanation, Reason
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
    "UNSET", "AlreadyFinished", "ApiError", "Attempt", "BadAnswer", "BatchAnswer", "BatchRefused",
    "BrokerError", "Bulk", "Client", "Conflict", "ConnectionFailed", "Explanation", "Fault", "Hold",
    "IdempotencyMismatch", "InvalidRequest", "Job", "JobCancelled", "JobExpired", "JobFailed",
    "JobRunning", "JobmillError", "NoResult", "NoSuchRoute", "NotFinished", "NotFound",
    "Overloaded", "Progress", "Queue", "QueueFull", "Reason", "Retry", "ShuttingDown", "Task",
    "TooLarge", "TooMany", "TooManyWaiters", "Unavailable", "UniqueConflict", "UnknownFate",
    "WaitTimeout", "Worker", "backoff", "errors", "rate", "unique",
]
