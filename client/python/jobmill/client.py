"""The client: one object for a broker, for any number of threads."""

from __future__ import annotations

import math
import os
import ssl
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Dict, Iterable, Iterator, Mapping, Optional, Tuple, Type, TypeVar, Union

from .admin import UNSET, Queues, Tasks, Unset, Workers, settings
from .batch import Batch, BatchAnswer, Outbox
from .errors import BadAnswer
from .fields import in_path, to_json, to_members, to_query
from .job import Job, time_of
from .retry import Retry
from .times import Duration, Time
from .transport import Address, Answer, Pool, Request, Transport

DEFAULT_URL = "http://127.0.0.1:7878"
WAIT_LIMIT_S = 60.0  # the broker's, for one request
SHORTEST_WAIT_S = 0.001
PAGE_LIMIT = 1000
FILTERS = frozenset(("state", "queue", "task", "tag", "limit_key", "worker", "error", "created_after",
                     "created_before"))
JSON_BODY = {"Content-Type": "application/json"}

States = Union[str, Iterable[str]]
T = TypeVar("T")
Change = Union[T, None, Unset]


@dataclass(frozen=True)
class Bulk:
    """What a bulk call found and did: the jobs that the filters let pass, those that were changed (or
    with dry_run would have been)."""

    matched: int
    changed: int
    dry_run: bool


@dataclass(frozen=True)
class Reason:
    """Why a job does not run: `code` is a stable word ("paused", "behind_others" …); `limit` the one
    that holds it back, `until` when the reason ends by itself, each None where that does not apply."""

    code: str
    message: str
    limit: Optional[int]
    until: Optional[datetime]
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Reason:
        return cls(raw["code"], raw.get("message", ""), raw.get("limit"), time_of(raw, "until"), raw)


@dataclass(frozen=True)
class Explanation:
    """Where a job stands. jobs_before: how many are before it in its queue, or None."""

    id: str
    state: str
    reasons: Tuple[Reason, ...]
    jobs_before: Optional[int]
    raw: Mapping[str, Any]


class Client:
    """Talks to one broker.

        with Client() as client:
            job = client.submit("fib", {"n": 35})
            print(job.result(timeout=30))

    url             http://HOST:PORT, https://HOST:PORT, or unix:/PATH of a socket; None: the
                    environment's JOBMILL_URL, or http://127.0.0.1:7878. Proxies are not used.
    timeout         seconds without a byte of the answer, beyond what was asked to wait
    connect_timeout seconds
    retries         how often a request is repeated (Retry tells the pauses); 0: never
    retry           the whole policy, instead of `retries`
    headers         sent with each request, as for a proxy's Authorization
    ssl_context     for https; None: the default one
    max_idle        connections that are kept between calls
    max_answer_bytes  a longer answer is a BadAnswer

    Threads: all may use one client at once; each call has a connection to itself, which is kept for
    the next one. After a fork() the child makes connections of its own.

    Repeats: a connection that breaks is made again. A request that never left (the connection was
    refused) is repeated; so is, after it was sent and not answered or refused for the moment (503,
    429), one that only reads, carries an idempotency key, or sets what a queue or task is to be.
    submit() and batch() make such a key if they get none. Any other (cancel, delete, patch …) that
    was sent and got no answer is never repeated: it raises UnknownFate.

    queues, tasks and workers have their own methods: client.queues.pause("mail").

    Errors: see jobmill.errors. Each method may raise ApiError, ConnectionFailed and BadAnswer; what
    else, it says itself.
    """

    def __init__(self, url: Optional[str] = None, *, timeout: float = 30.0,
                 connect_timeout: float = 5.0, retries: Optional[int] = None,
                 retry: Optional[Retry] = None, headers: Optional[Mapping[str, str]] = None,
                 ssl_context: Optional[ssl.SSLContext] = None, max_idle: int = 16,
                 max_answer_bytes: int = 64 << 20) -> None:
        self.url = url or os.environ.get("JOBMILL_URL") or DEFAULT_URL
        policy = retry or (Retry() if retries is None else Retry(retries=retries))
        pool = Pool(Address.parse(self.url), connect_timeout, ssl_context, max_idle)
        self._transport = Transport(pool, timeout, policy, headers or {}, max_answer_bytes)
        self.queues = Queues(self)
        self.tasks = Tasks(self)
        self.workers = Workers(self)

    def close(self) -> None:
        """Closes the idle connections. The client can still be used and then opens new ones."""
        self._transport.pool.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self.url}>"

    # ---- one job ----

    def submit(self, task: str, args: Any = None, *, queue: Optional[str] = None,
               priority: Optional[int] = None, run_at: Optional[Time] = None,
               delay: Optional[Duration] = None, expires_at: Optional[Time] = None,
               timeout: Optional[Duration] = None, grace: Optional[Duration] = None,
               max_attempts: Optional[int] = None, backoff: Optional[Mapping[str, Any]] = None,
               limit_key: Optional[str] = None, unique: Optional[Mapping[str, Any]] = None,
               tags: Optional[Iterable[str]] = None, retain: Optional[Duration] = None,
               idempotency_key: Optional[str] = None, wait: Optional[float] = None) -> Job:
        """Submits a job; when this returns it is on the broker's disk.

        args             anything JSON can say; 1 MiB at most
        queue            its name; None: the broker's default
        priority         1 … 9, where 9 goes first
        run_at, delay    not before that time, or after that long; at most one of the two
        expires_at       not started by then: it expires
        timeout          of one attempt
        grace            between SIGTERM and SIGKILL, when an attempt is stopped
        max_attempts     how often the task may fail
        backoff          the pauses between attempts: jobmill.backoff(…)
        limit_key        jobs with the same key share the limits of the queue's key_… settings
        unique           no second job like it: jobmill.unique(…); see Job.is_existing, Job.replaced
        tags             words to find the job by
        retain           how long the job is kept after its end
        idempotency_key  1 to 255 visible ASCII characters: the same key makes no second job. None: a
                         random one, with which this call repeats itself safely. Take one from your
                         own data ("invoice-4711") to be safe beyond this call, too
        wait             seconds to wait for the end (math.inf: without end): the job comes back
                         finished, or as it is then; see Job.is_finished

        Times are aware datetimes or RFC 3339 strings, durations timedeltas or seconds.
        Raises InvalidRequest, IdempotencyMismatch, UniqueConflict, QueueFull, Overloaded; UnknownFate
        with the key if all repeats went unanswered.
        """
        body = to_members({
            "task": task, "args": args, "queue": queue, "priority": priority, "run_at": run_at,
            "delay": delay, "expires_at": expires_at, "timeout": timeout, "grace": grace,
            "max_attempts": max_attempts, "backoff": backoff, "limit_key": limit_key,
            "unique": unique, "tags": tags, "retain": retain})
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        wait_s = min(wait or 0.0, WAIT_LIMIT_S)
        target = "/v1/jobs" + to_query({"wait": max(wait_s, SHORTEST_WAIT_S) if wait_s > 0 else None})
        until = time.monotonic() + (wait or 0.0)
        answer = self._call("POST", target, body, {"Idempotency-Key": key}, wait_s)
        job = self._job(answer)
        if wait is not None and not job.is_finished and time.monotonic() < until:
            job.wait(until - time.monotonic())
        return job

    def get(self, id: str) -> Job:
        """The job as it is now. NotFound."""
        return self._job(self._call("GET", f"/v1/jobs/{in_path(id)}"))

    def wait(self, id: str, timeout: Optional[float] = None) -> Job:
        """Waits until the job has finished or `timeout` seconds are over (None: without end), by long
        polls of at most 60 s. The job comes back either way: see Job.is_finished. NotFound."""
        until = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            rest_s = min(until - time.monotonic(), WAIT_LIMIT_S)
            query = to_query({"wait": max(rest_s, SHORTEST_WAIT_S)}) if rest_s > 0 else ""
            answer = self._call("GET", f"/v1/jobs/{in_path(id)}{query}", wait_s=max(rest_s, 0.0))
            job = self._job(answer)
            if job.is_finished or time.monotonic() >= until:
                return job

    def result(self, id: str, timeout: Optional[float] = None) -> Any:
        """The result of a job, as Job.result(): waits at most `timeout` seconds. NotFound, WaitTimeout,
        JobFailed, JobCancelled, JobExpired."""
        return self.wait(id, timeout).result(0)

    def cancel(self, id: str) -> Job:
        """Cancels a job, finally; Job.stopped tells whether it still runs. NotFound,
        AlreadyFinished, UnknownFate."""
        return self._job(self._call("POST", f"/v1/jobs/{in_path(id)}/cancel"))

    def retry(self, id: str) -> Job:
        """A finished job begins anew with all its attempts. NotFound, NotFinished, UnknownFate."""
        return self._job(self._call("POST", f"/v1/jobs/{in_path(id)}/retry"))

    def delete(self, id: str) -> None:
        """Removes a finished job and its result. NotFound, Conflict, UnknownFate."""
        self._call("DELETE", f"/v1/jobs/{in_path(id)}")

    def patch(self, id: str, *, priority: Change[int] = UNSET, run_at: Change[Time] = UNSET,
              delay: Change[Duration] = UNSET, args: Any = UNSET, expires_at: Change[Time] = UNSET,
              timeout: Change[Duration] = UNSET, max_attempts: Change[int] = UNSET,
              tags: Change[Iterable[str]] = UNSET, retain: Change[Duration] = UNSET,
              backoff: Change[Mapping[str, Any]] = UNSET) -> Job:
        """Changes what is given of a job that does not run, in the types of submit(); None is sent as
        null. NotFound, JobRunning, AlreadyFinished, InvalidRequest, UnknownFate."""
        body = settings({"priority": priority, "run_at": run_at, "delay": delay, "args": args,
                         "expires_at": expires_at, "timeout": timeout, "max_attempts": max_attempts,
                         "tags": tags, "retain": retain, "backoff": backoff})
        return self._job(self._call("PATCH", f"/v1/jobs/{in_path(id)}", body))

    def explain(self, id: str) -> Explanation:
        """Why the job does not run yet. NotFound."""
        raw = self._call("GET", f"/v1/jobs/{in_path(id)}/explain").object()
        reasons = tuple(Reason.of(one) for one in raw.get("reasons") or ())
        return Explanation(raw["id"], raw["state"], reasons, raw.get("jobs_before"), raw)

    # ---- many jobs ----

    def list(self, *, state: Optional[States] = None, queue: Optional[str] = None,
             task: Optional[str] = None, tag: Optional[str] = None,
             limit_key: Optional[str] = None, worker: Optional[str] = None,
             error: Optional[str] = None, created_after: Optional[Time] = None,
             created_before: Optional[Time] = None, limit: Optional[int] = None,
             page_size: int = 200) -> Iterator[Job]:
        """The jobs that all given filters let pass, newest first, without args and results.

        state      one of the states, or several
        error      the code of Job.error: "timed_out"
        limit      how many at most; None: all
        page_size  how many are asked for at a time, 1 … 1000

        The pages are fetched as the iterator comes to them: jobs made meanwhile are not among them.
        """
        filters = to_members({"state": state, "queue": queue, "task": task, "tag": tag,
                              "limit_key": limit_key, "worker": worker, "error": error,
                              "created_after": created_after, "created_before": created_before})
        return self._pages(filters, math.inf if limit is None else limit, page_size)

    def _pages(self, filters: Dict[str, Any], rest: float, page_size: int) -> Iterator[Job]:
        cursor: Optional[str] = None
        while rest > 0:
            size = int(min(rest, page_size, PAGE_LIMIT))
            answer = self._call("GET", "/v1/jobs" + to_query(
                {**filters, "limit": size, "cursor": cursor}))
            page = answer.object()
            for raw in page.get("jobs") or ():
                yield Job(raw, self)
                rest -= 1
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def batch(self, items: Iterable[Mapping[str, Any]], *, atomic: bool = False,
              repeatable: bool = True) -> Iterator[BatchAnswer]:
        """Submits many jobs and gives an answer for each, in order.

            for answer in client.batch({"task": "echo", "args": n} for n in range(1_000_000)):
                print(answer.id or answer.error)

        items       a dict for each job, with the names and types of submit()'s options; taken one by
                    one as they are sent
        atomic      all of them (100,000 at most) or none: BatchRefused, with its .errors
        repeatable  items get an idempotency key where they have none, with which those that are not
                    answered are sent again when the connection breaks. False saves the broker the
                    keys; a break is UnknownFate then

        Items go out while answers come in, and only as the iterator is asked: a batch whose answers
        nobody reads is not sent. Whoever stops in the middle, or whose `items` raise, cuts the request
        off; items that were sent already may be stored, without `atomic`. An item that is refused
        does not stop the others: see BatchAnswer.error.
        Raises UnknownFate also when more than 32 MiB of items wait for their answers as it breaks, and
        in place of any refusal that comes when earlier items are left without an answer.
        """
        return Batch(self._transport, Outbox(items, repeatable), atomic).answers()

    def bulk_cancel(self, *, dry_run: bool = False, **filters: Any) -> Bulk:
        """Cancels all jobs that the filters (those of list(), one at least) let pass; 10,000 with each
        request. If one of the requests fails, its exception is raised and the ones before are done."""
        return self._bulk("cancel", dry_run, filters)

    def bulk_retry(self, *, dry_run: bool = False, **filters: Any) -> Bulk:
        """All finished jobs that the filters let pass begin anew; see bulk_cancel()."""
        return self._bulk("retry", dry_run, filters)

    def bulk_delete(self, *, dry_run: bool = False, **filters: Any) -> Bulk:
        """Deletes all finished jobs that the filters let pass; see bulk_cancel()."""
        return self._bulk("delete", dry_run, filters)

    def _bulk(self, verb: str, dry_run: bool, filters: Dict[str, Any]) -> Bulk:
        unknown = set(filters) - FILTERS
        if unknown:
            raise TypeError(f"there is no filter {', '.join(sorted(unknown))}")
        members = to_members(filters)
        matched, changed = 0, 0
        cursor: Optional[str] = None
        while True:
            answer = self._call("POST", f"/v1/jobs/{verb}" + to_query(
                {**members, "dry_run": True if dry_run else None, "cursor": cursor})).object()
            matched += answer.get("matched", 0)
            changed += answer.get("changed", 0)
            cursor = answer.get("next_cursor")
            if cursor is None:
                return Bulk(matched, changed, dry_run)

    # ---- inside ----

    def _job(self, answer: Answer) -> Job:
        raw = answer.object()
        if not all(isinstance(raw.get(name), str) for name in ("id", "task")):
            raise BadAnswer(f"{answer.status} with something that is no job: {raw!r:.100}")
        # Under an idempotency key the body is always the same, and this is told beside it.
        replaced = answer.headers.get("Jobmill-Replaced")
        if replaced is not None:
            raw.setdefault("replaced", replaced)
        return Job(raw, self, tuple(answer.headers.get_all("Jobmill-Warning") or ()),
                   answer.headers.get("Idempotency-Replayed") == "true")

    def _call(self, method: str, target: str, body: Any = None,
              headers: Optional[Mapping[str, str]] = None, wait_s: float = 0.0,
              is_idempotent: bool = False) -> Answer:
        data = None if body is None else to_json(body)
        if data is not None:
            headers = {**JSON_BODY, **(headers or {})}
        return self._transport.call(Request(method, target, data, headers, wait_s, is_idempotent))
