"""Queues, tasks and workers: what is there, and how it is set."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Tuple, Union

from .fields import in_path, to_members
from .job import Progress, ms_of, time_of
from .times import Duration

if TYPE_CHECKING:
    from .client import Client


class Unset(enum.Enum):
    """The default of settings: leave it as it is. None clears it."""

    UNSET = "unset"


UNSET = Unset.UNSET
Limit = Union[int, None, Unset]
Members = Union[Mapping[str, Any], None, Unset]
Period = Union[Duration, None, Unset]


@dataclass(frozen=True)
class Queue:
    """A queue. jobs: how many in each state; dispatched of window: places in Redis and with workers
    that are taken, of those there are. Settings that are not set are None."""

    name: str
    jobs: Mapping[str, int]
    dispatched: int
    window: int
    paused: bool = False
    rate: Optional[Mapping[str, Any]] = None
    concurrency: Optional[int] = None
    key_rate: Optional[Mapping[str, Any]] = None
    key_concurrency: Optional[int] = None
    max_queued: Optional[int] = None
    defaults: Optional[Mapping[str, Any]] = None
    retain: Optional[timedelta] = None
    retain_failed: Optional[timedelta] = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Queue:
        return cls(raw["name"], raw.get("jobs") or {}, raw.get("dispatched", 0),
                   raw.get("window", 0), raw.get("paused") is True, raw.get("rate"),
                   raw.get("concurrency"), raw.get("key_rate"), raw.get("key_concurrency"),
                   raw.get("max_queued"), raw.get("defaults"), ms_of(raw, "retain_ms"),
                   ms_of(raw, "retain_failed_ms"), raw)


@dataclass(frozen=True)
class Task:
    """A task that workers serve or have served. kind: builtin, program or test; workers: how many
    live hosts serve it."""

    name: str
    kind: str
    workers: int
    doc: Optional[str] = None
    seen_at: Optional[datetime] = None
    concurrency: Optional[int] = None
    defaults: Optional[Mapping[str, Any]] = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Task:
        return cls(raw["name"], raw.get("kind", ""), raw.get("workers", 0), raw.get("doc"),
                   time_of(raw, "seen_at"), raw.get("concurrency"), raw.get("defaults"), raw)


@dataclass(frozen=True)
class Hold:
    """An attempt that a slot of a worker host holds. progress: None as long as it has told of none."""

    id: str
    attempt: int
    slot: int
    has_begun: bool
    run_time: timedelta
    progress: Optional[Progress] = None

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Hold:
        progress = raw.get("progress")
        return cls(raw["id"], raw["attempt"], raw["slot"], raw["has_begun"],
                   timedelta(milliseconds=raw["run_ms"]),
                   None if progress is None else Progress.of(progress))


@dataclass(frozen=True)
class Worker:
    """A worker host that is alive. silent: since its last heartbeat; slots: how many jobs it runs at
    once; queues: what it claims from, in order."""

    id: str
    hostname: str
    pid: int
    version: str
    started_at: Optional[datetime]
    silent: Optional[timedelta]
    is_draining: bool
    slots: int
    queues: Tuple[str, ...]
    tasks: Tuple[str, ...]
    holds: Tuple[Hold, ...]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Worker:
        return cls(raw["id"], raw["hostname"], raw["pid"], raw["version"],
                   time_of(raw, "started_at"), ms_of(raw, "silent_ms"), raw["is_draining"],
                   raw["slots"], tuple(raw["queues"]), tuple(raw["tasks"]),
                   tuple(Hold.of(one) for one in raw["holds"]), raw)


def settings(options: Dict[str, Any]) -> Dict[str, Any]:
    """The members that a PATCH is to set or, with null, to clear."""
    return to_members({name: value for name, value in options.items() if value is not UNSET},
                      keeps_none=True)


class Queues:
    """client.queues"""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> List[Queue]:
        """All queues, by first use."""
        return [Queue.of(raw) for raw in self._client._call("GET", "/v1/queues").member("queues")]

    def get(self, name: str) -> Queue:
        """One queue. NotFound."""
        return Queue.of(self._client._call("GET", f"/v1/queues/{in_path(name)}").object())

    def pause(self, name: str) -> Queue:
        """No job of the queue is begun until resume(); jobs are still accepted. UnknownFate."""
        return Queue.of(self._client._call("POST", f"/v1/queues/{in_path(name)}/pause",
                                             is_idempotent=True).object())

    def resume(self, name: str) -> Queue:
        """The end of a pause. UnknownFate."""
        return Queue.of(self._client._call("POST", f"/v1/queues/{in_path(name)}/resume",
                                             is_idempotent=True).object())

    def configure(self, name: str, *, paused: Union[bool, Unset] = UNSET, rate: Members = UNSET,
                  concurrency: Limit = UNSET, key_rate: Members = UNSET,
                  key_concurrency: Limit = UNSET, max_queued: Limit = UNSET,
                  defaults: Members = UNSET, retain: Period = UNSET,
                  retain_failed: Period = UNSET) -> Queue:
        """Sets what is given, clears what is None, leaves the rest; makes the queue if need be.

        rate             how many jobs begin in a period: jobmill.rate(100, 60)
        concurrency      how many run at once
        key_…            likewise for each limit_key of its own
        max_queued       how many may wait; one more is QueueFull
        defaults         of its jobs: priority, max_attempts, timeout, grace, backoff as in submit()
        retain           how long finished jobs are kept (retain_failed: failed ones)

        Raises InvalidRequest, UnknownFate.
        """
        body = settings({"paused": paused, "rate": rate, "concurrency": concurrency,
                         "key_rate": key_rate, "key_concurrency": key_concurrency,
                         "max_queued": max_queued, "defaults": defaults, "retain": retain,
                         "retain_failed": retain_failed})
        return Queue.of(self._client._call("PATCH", f"/v1/queues/{in_path(name)}", body,
                                             is_idempotent=True).object())


class Tasks:
    """client.tasks"""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> List[Task]:
        """The tasks that workers serve or have served, by first sight."""
        return [Task.of(raw) for raw in self._client._call("GET", "/v1/tasks").member("tasks")]

    def configure(self, name: str, *, concurrency: Limit = UNSET,
                  defaults: Members = UNSET) -> Task:
        """Sets what is given, clears what is None, leaves the rest.

        concurrency    how many jobs of the task run at once, all queues together
        defaults       of its jobs: max_attempts, timeout, grace, backoff as in submit()

        Raises NotFound, InvalidRequest, UnknownFate.
        """
        body = settings({"concurrency": concurrency, "defaults": defaults})
        return Task.of(self._client._call("PATCH", f"/v1/tasks/{in_path(name)}", body,
                                            is_idempotent=True).object())


class Workers:
    """client.workers"""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> List[Worker]:
        """The worker hosts that are alive."""
        return [Worker.of(raw) for raw in self._client._call("GET", "/v1/workers").member("workers")]
