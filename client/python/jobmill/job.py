"""What a job is, as the broker told it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Tuple

from .errors import JobCancelled, JobExpired, JobFailed, WaitTimeout
from .times import from_ms, parse_time

if TYPE_CHECKING:
    from .client import Client

SCHEDULED, QUEUED, RUNNING = "scheduled", "queued", "running"
SUCCEEDED, FAILED, CANCELLED, EXPIRED = "succeeded", "failed", "cancelled", "expired"
FINISHED = frozenset((SUCCEEDED, FAILED, CANCELLED, EXPIRED))


def time_of(raw: Mapping[str, Any], name: str) -> Optional[datetime]:
    text = raw.get(name)
    return None if text is None else parse_time(text)


def ms_of(raw: Mapping[str, Any], name: str) -> Optional[timedelta]:
    ms = raw.get(name)
    return None if ms is None else from_ms(ms)


def us_of(raw: Mapping[str, Any], name: str) -> Optional[timedelta]:
    us = raw.get(name)
    return None if us is None else timedelta(microseconds=us)


@dataclass(frozen=True)
class Fault:
    """A bad end of an attempt, with its evidence as far as it is known (else None).

    code                    "task_failed", "crashed", "timed_out" …; new ones may come
    task_code               the task's own, of a failure that is told as "task_failed"
    signal                  that killed the process
    stderr                  the tail of what it wrote there
    user_time, system_time  CPU time that the process had used
    """

    code: str
    message: str
    signal: Optional[int] = None
    exit_status: Optional[int] = None
    stderr: Optional[str] = None
    user_time: Optional[timedelta] = None
    system_time: Optional[timedelta] = None
    maxrss_bytes: Optional[int] = None
    task_code: Optional[str] = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Fault:
        return cls(raw["code"], raw.get("message", ""), raw.get("signal"), raw.get("exit_status"),
                   raw.get("stderr"), us_of(raw, "user_us"), us_of(raw, "system_us"),
                   raw.get("maxrss_bytes"), raw.get("task_code"), raw)


@dataclass(frozen=True)
class Attempt:
    """An attempt that has ended. outcome: succeeded, failed, crashed, timed_out, killed,
    handed_back or lost."""

    attempt: int
    outcome: str
    worker: Optional[str] = None
    begun_at: Optional[datetime] = None
    ended_at: Optional[datetime] = None
    run_time: Optional[timedelta] = None
    error: Optional[Fault] = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Attempt:
        return cls(raw["attempt"], raw["outcome"], raw.get("worker"), time_of(raw, "begun_at"),
                   time_of(raw, "ended_at"), us_of(raw, "run_us"),
                   Fault.of(raw["error"]) if raw.get("error") else None, raw)


@dataclass(frozen=True)
class Progress:
    """What the task has reported while it runs: `done` of `total` in units of its own."""

    done: int
    total: Optional[int] = None
    message: Optional[str] = None

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Progress:
        return cls(raw["done"], raw.get("total"), raw.get("message"))


class Job:
    """A job as it was when the broker told of it. refresh(), wait(), result() and cancel() ask anew
    and then show the job as it is now; nothing else changes it.

    A member that the broker did not tell is None (or empty): a list shows neither args nor attempts,
    the answer to a submit without a wait only id, task, queue, state and created_at. refresh() tells
    the rest. `raw` is the whole answer, with members that this version does not know. Times are
    aware datetimes in UTC.

    Threads: as any object that changes, in one thread at a time; the client behind it may be shared.
    A job can be pickled, and then is only what it shows.
    """

    __slots__ = ("raw", "warnings", "is_replay", "is_existing", "replaced", "_client")

    # What the submit told, which stays:
    warnings: Tuple[str, ...]  # what the broker thinks the submitter should know
    is_replay: bool  # the Idempotency-Key was known, no job was made
    is_existing: bool  # with `unique`: the job was there already and none was made
    replaced: Optional[str]  # with `unique`: the id of the job that was cancelled for this one

    raw: Dict[str, Any]

    def __init__(self, raw: Dict[str, Any], client: Optional[Client] = None,
                 warnings: Tuple[str, ...] = (), is_replay: bool = False,
                 is_existing: Optional[bool] = None, replaced: Optional[str] = None) -> None:
        self.raw = raw
        self.warnings = warnings
        self.is_replay = is_replay
        self.is_existing = raw.get("is_existing") is True if is_existing is None else is_existing
        self.replaced = replaced or raw.get("replaced")
        self._client = client

    def __reduce__(self) -> Tuple[Any, ...]:
        return Job, (self.raw, None, self.warnings, self.is_replay, self.is_existing, self.replaced)

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.task} {self.state}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.id)

    # ---- what was asked ----

    @property
    def id(self) -> str:
        return str(self.raw["id"])

    @property
    def task(self) -> str:
        return str(self.raw["task"])

    @property
    def queue(self) -> str:
        return str(self.raw["queue"])

    @property
    def args(self) -> Any:
        return self.raw.get("args")

    @property
    def priority(self) -> Optional[int]:
        return self.raw.get("priority")

    @property
    def tags(self) -> Tuple[str, ...]:
        return tuple(self.raw.get("tags") or ())

    @property
    def max_attempts(self) -> Optional[int]:
        return self.raw.get("max_attempts")

    @property
    def timeout(self) -> Optional[timedelta]:
        return ms_of(self.raw, "timeout_ms")

    @property
    def grace(self) -> Optional[timedelta]:
        return ms_of(self.raw, "grace_ms")

    @property
    def retain(self) -> Optional[timedelta]:
        return ms_of(self.raw, "retain_ms")

    @property
    def expires_at(self) -> Optional[datetime]:
        return time_of(self.raw, "expires_at")

    @property
    def limit_key(self) -> Optional[str]:
        return self.raw.get("limit_key")

    @property
    def backoff(self) -> Optional[Dict[str, Any]]:
        return self.raw.get("backoff")

    @property
    def unique(self) -> Optional[Dict[str, Any]]:
        return self.raw.get("unique")

    # ---- what has become of it ----

    @property
    def state(self) -> str:
        """scheduled, queued, running, succeeded, failed, cancelled or expired; "unknown" if a submit was
        answered with a job that is not kept any more."""
        return str(self.raw.get("state", "unknown"))

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED

    @property
    def attempt(self) -> Optional[int]:
        """The present or last attempt; the first is 1."""
        return self.raw.get("attempt")

    @property
    def failures(self) -> Optional[int]:
        return self.raw.get("failures")

    @property
    def crashes(self) -> Optional[int]:
        return self.raw.get("crashes")

    @property
    def worker_deaths(self) -> Optional[int]:
        return self.raw.get("worker_deaths")

    @property
    def created_at(self) -> Optional[datetime]:
        return time_of(self.raw, "created_at")

    @property
    def due_at(self) -> Optional[datetime]:
        """When a scheduled job becomes queued: its run_at, the end of its delay or of the pause before
        its next attempt."""
        return time_of(self.raw, "due_at")

    @property
    def begun_at(self) -> Optional[datetime]:
        """When the last attempt that is known to have begun did so."""
        return time_of(self.raw, "begun_at")

    @property
    def finished_at(self) -> Optional[datetime]:
        return time_of(self.raw, "finished_at")

    @property
    def run_time(self) -> Optional[timedelta]:
        """How long the last attempt ran."""
        return us_of(self.raw, "run_us")

    @property
    def worker(self) -> Optional[str]:
        """The worker host that runs the job or ran it last."""
        return self.raw.get("worker")

    @property
    def error(self) -> Optional[Fault]:
        """The last bad end of an attempt, also of a job that is tried again or succeeded later."""
        raw = self.raw.get("error")
        return None if raw is None else Fault.of(raw)

    @property
    def attempts(self) -> Tuple[Attempt, ...]:
        """The attempts that have ended."""
        return tuple(Attempt.of(raw) for raw in self.raw.get("attempts") or ())

    @property
    def progress(self) -> Optional[Progress]:
        raw = self.raw.get("progress")
        return None if raw is None else Progress.of(raw)

    @property
    def stopped(self) -> Optional[bool]:
        """Of a cancel: True if nothing runs and will run, False if a kill is ordered; None if Redis
        did not say (a kill is ordered then, too), or if there was no cancel."""
        value = self.raw.get("stopped")
        return value if isinstance(value, bool) else None

    # ---- what can be done with it ----

    @property
    def client(self) -> Client:
        if self._client is None:
            raise RuntimeError("this job was pickled and has no client; use client.get(job.id)")
        return self._client

    def refresh(self) -> Job:
        """Asks for the job as it is now; NotFound if it is gone. Returns itself."""
        self.raw = self.client.get(self.id).raw
        return self

    def wait(self, timeout: Optional[float] = None) -> Job:
        """Waits for the end, at most `timeout` seconds (None: without end); see is_finished."""
        self.raw = self.client.wait(self.id, timeout).raw
        return self

    def result(self, timeout: Optional[float] = None) -> Any:
        """The result, after at most `timeout` seconds (None: without end; 0: at once). WaitTimeout;
        JobFailed, JobCancelled, JobExpired if there is none because of that."""
        if not self.is_finished or (self.state == SUCCEEDED and "result" not in self.raw):
            self.wait(timeout)
        if self.state == SUCCEEDED:
            return self.raw.get("result")
        if not self.is_finished:
            raise WaitTimeout(f"{self.task} {self.id} is still {self.state}")
        raise {CANCELLED: JobCancelled, EXPIRED: JobExpired}.get(self.state, JobFailed)(self)

    def cancel(self) -> Job:
        """Cancels the job, which is final; see `stopped`. AlreadyFinished. Returns itself."""
        self.raw = self.client.cancel(self.id).raw
        return self

    def retry(self) -> Job:
        """A finished job begins anew with all its attempts. NotFinished. Returns itself."""
        self.raw = self.client.retry(self.id).raw
        return self

    def delete(self) -> None:
        """Removes a finished job and its result. NotFinished."""
        self.client.delete(self.id)
