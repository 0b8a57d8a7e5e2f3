"""All that this library raises of its own accord.

    JobmillError
    ├── ApiError                  the broker refused the request: status, code, detail, field, limit
    │   ├── InvalidRequest        400, 413, 414, 415, 422: wrong in itself
    │   │   ├── IdempotencyMismatch   the key was used with another body
    │   │   ├── TooLarge              body_too_large, batch_too_large
    │   │   └── BatchRefused          an atomic batch of which nothing was stored: .errors
    │   ├── NotFound              404
    │   │   └── NoSuchRoute       the broker is older than this function
    │   ├── Conflict              409
    │   │   ├── UniqueConflict    .existing_id
    │   │   ├── AlreadyFinished
    │   │   ├── NotFinished
    │   │   ├── JobRunning
    │   │   └── NoResult
    │   ├── TooMany               429
    │   │   ├── QueueFull
    │   │   └── TooManyWaiters
    │   └── BrokerError           5xx
    │       └── Unavailable       503
    │           ├── Overloaded
    │           └── ShuttingDown
    ├── BadAnswer                 what came is no answer of a jobmill broker
    ├── ConnectionFailed          the broker cannot be reached; nothing was done
    ├── UnknownFate               sent, but not answered: done or not, nobody knows
    ├── WaitTimeout               the job has not finished within the time given (also a TimeoutError)
    └── JobFailed                 .result() of a job that failed: .job, .error
        ├── JobCancelled
        └── JobExpired

A wrong argument that is seen before anything is sent is a ValueError or TypeError, as everywhere in
Python. All exceptions can be pickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Tuple, Type

if TYPE_CHECKING:
    from .job import Fault, Job


class JobmillError(Exception):
    """The base of all of them."""


class ApiError(JobmillError):
    """The broker's refusal (RFC 9457).

    status       the HTTP status
    code         the stable word: "no_such_job"; "http_502" for an answer that is no problem of ours
    title        what the code means
    detail       what was wrong this time, or None
    field        the field, query parameter or header that was wrong, or None
    limit        the limit that was met, or None
    location     the path of the job that stands in the way, or None
    retry_after  seconds after which the broker would like to be asked again, or None
    """

    def __init__(self, status: int, code: str, title: str, detail: Optional[str] = None,
                 field: Optional[str] = None, limit: Optional[int] = None,
                 location: Optional[str] = None, retry_after: Optional[float] = None) -> None:
        super().__init__(status, code, title, detail, field, limit, location, retry_after)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.field = field
        self.limit = limit
        self.location = location
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.title} ({self.status} {self.code})" + (
            f": {self.detail}" if self.detail else "")


class InvalidRequest(ApiError):
    """The request is wrong in itself; sent again it would be refused again."""


class IdempotencyMismatch(InvalidRequest):
    """The Idempotency-Key was used with another request."""


class TooLarge(InvalidRequest):
    """The body or the batch is larger than the broker allows: .limit"""


class BatchRefused(InvalidRequest):
    """An atomic batch was refused and nothing of it is stored.

    errors    [(index of the item, ApiError)] of the items that were wrong, at most 1,000 of them
    """

    errors: List[Tuple[int, ApiError]] = []

    def __str__(self) -> str:
        first = f"; item {self.errors[0][0]}: {self.errors[0][1]}" if self.errors else ""
        return super().__str__() + first


class NotFound(ApiError):
    """There is no such job, queue or task."""


class NoSuchRoute(NotFound):
    """There is nothing at this path, or not with this method: the broker is older than what was
    called."""


class Conflict(ApiError):
    """The state of the job does not allow it."""


class UniqueConflict(Conflict):
    """A job that counts as the same is there: .existing_id"""

    @property
    def existing_id(self) -> Optional[str]:
        return self.location.rpartition("/")[2] if self.location else None


class AlreadyFinished(Conflict):
    """The job has already finished."""


class NotFinished(Conflict):
    """The job has not finished yet."""


class JobRunning(Conflict):
    """The job is running: that is not possible now."""


class NoResult(Conflict):
    """The job ended without a result."""


class TooMany(ApiError):
    """A bound on how many there may be at a time was met; later it may go."""


class QueueFull(TooMany):
    """The queue has as many jobs waiting as its max_queued allows."""


class TooManyWaiters(TooMany):
    """Too many requests are waiting for jobs."""


class BrokerError(ApiError):
    """The broker cannot do it, which is not the request's fault."""


class Unavailable(BrokerError):
    """Not now; later it may go."""


class Overloaded(Unavailable):
    """The broker has more work than it can hold."""


class ShuttingDown(Unavailable):
    """The broker is shutting down."""


class BadAnswer(JobmillError):
    """What came is no answer of a jobmill broker, or is larger than max_answer_bytes."""


class ConnectionFailed(JobmillError):
    """The broker cannot be reached, or a read was not answered: nothing was changed."""


class UnknownFate(JobmillError):
    """The request was sent and no answer came: it may or may not have been done.

    idempotency_key    with which the same submit can be repeated safely, or None if it had none
    """

    def __init__(self, message: str, idempotency_key: Optional[str] = None) -> None:
        super().__init__(message, idempotency_key)
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        return str(self.args[0])


class WaitTimeout(JobmillError, TimeoutError):
    """The job has not finished within the time given; it goes on."""


class JobFailed(JobmillError):
    """The job has ended without success.

    job      as it is at its end
    error    the last bad end of an attempt, or None: .code, .message, .stderr …
    """

    verb = "failed"

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.job = job

    @property
    def error(self) -> Optional[Fault]:
        return self.job.error

    def __str__(self) -> str:
        reason = f": {self.error.message} ({self.error.code})" if self.error else ""
        return f"{self.job.task} {self.job.id} {self.verb}{reason}"


class JobCancelled(JobFailed):
    """The job was cancelled."""

    verb = "was cancelled"


class JobExpired(JobFailed):
    """The job was not started before its expires_at."""

    verb = "has expired"


BY_CODE: Dict[str, Type[ApiError]] = {
    "idempotency_mismatch": IdempotencyMismatch,
    "body_too_large": TooLarge,
    "batch_too_large": TooLarge,
    "batch_refused": BatchRefused,
    "no_such_route": NoSuchRoute,
    "method_not_allowed": NoSuchRoute,
    "unique_conflict": UniqueConflict,
    "already_finished": AlreadyFinished,
    "not_finished": NotFinished,
    "job_running": JobRunning,
    "no_result": NoResult,
    "queue_full": QueueFull,
    "too_many_waiters": TooManyWaiters,
    "overloaded": Overloaded,
    "shutting_down": ShuttingDown,
}
BY_STATUS: Dict[int, Type[ApiError]] = {
    400: InvalidRequest, 404: NotFound, 409: Conflict, 413: InvalidRequest, 414: InvalidRequest,
    415: InvalidRequest, 422: InvalidRequest, 429: TooMany, 503: Unavailable,
}
# Of an item of a batch only the code is told; these are the ones that do not belong to a bad field.
STATUS_OF_ITEM = {"unique_conflict": 409, "queue_full": 429, "overloaded": 503,
                  "shutting_down": 503, "batch_too_large": 413, "body_too_large": 413, "storage_full": 507,
                  "storage_failed": 500, "internal": 500, "out_of_memory": 500}


def class_of(status: int, code: str) -> Type[ApiError]:
    by_status = BY_STATUS.get(status, BrokerError if status >= 500 else ApiError)
    return BY_CODE.get(code, by_status)


def from_problem(status: int, problem: Mapping[str, Any], location: Optional[str] = None,
                 retry_after: Optional[float] = None) -> ApiError:
    """The exception for a problem as the broker tells it."""
    code = str(problem.get("code", f"http_{status}"))
    return class_of(status, code)(status, code, str(problem.get("title", code)),
                                  problem.get("detail"), problem.get("field"),
                                  problem.get("limit"), location, retry_after)


def from_item(error: Mapping[str, Any]) -> ApiError:
    """The exception for the error of one item of a batch."""
    code = str(error.get("code", "bad_answer"))
    location = f"/v1/jobs/{error['id']}" if "id" in error else None
    return from_problem(STATUS_OF_ITEM.get(code, 422), error, location)
