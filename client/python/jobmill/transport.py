"""Requests and answers: addresses, a pool of kept connections, one exchange, and its repeats.

An exchange has a connection of the pool to itself, so that any number of threads may call at once;
the pool keeps as many idle ones as were ever needed at a time, up to a bound. Whoever fails in the
middle of an exchange closes its connection: no answer can be taken for another's.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from email.message import Message
from typing import Any, Callable, Dict, List, Mapping, Optional
from urllib.parse import unquote, urlsplit

from . import errors
from .retry import GATEWAY, LATER, Retry, parse_retry_after

JSON = "application/json"
PROBLEM = "application/problem+json"
SUN_PATH_BYTES = 107
PIECE_BYTES = 1 << 16
PORTS = {"http": 80, "https": 443}


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self.path)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


@dataclass(frozen=True)
class Address:
    """Where the broker is. `prefix` comes before each path: a broker behind a proxy."""

    scheme: str
    host: str = "localhost"
    port: Optional[int] = None
    path: str = ""
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> Address:
        """http://HOST:PORT[/PREFIX], https://…, or unix:/PATH of a socket; else ValueError."""
        parts = urlsplit(url)
        if parts.scheme == "unix":
            path = unquote(url[len("unix:"):])
            path = path[2:] if path.startswith("//") else path
            if not path.startswith("/") or len(os.fsencode(path)) > SUN_PATH_BYTES:
                raise ValueError(f"{url!r}: unix: wants an absolute path of at most "
                                 f"{SUN_PATH_BYTES} bytes")
            return cls("unix", path=path)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is none of http://HOST:PORT, https://HOST:PORT, unix:/PATH")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError(f"{url!r}: a user, a query or a fragment has no meaning here")
        if re.search(r"[\x00-\x20\x7f-\U0010ffff]", parts.netloc + parts.path):
            raise ValueError(f"{url!r}: write spaces and the like as %20")
        return cls(parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme],
                   prefix=parts.path.rstrip("/"))

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{self.scheme}://{self.host}:{self.port}"

    def connect(self, timeout_s: float, tls: Optional[ssl.SSLContext]) -> http.client.HTTPConnection:
        """An open connection, or OSError."""
        connection: http.client.HTTPConnection
        if self.scheme == "unix":
            connection = UnixConnection(self.path, timeout_s)
        elif self.scheme == "https":
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout_s,
                                                     context=tls)
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection


class Pool:
    """Idle connections. May be used by any thread; a forked child starts with none."""

    def __init__(self, address: Address, connect_timeout_s: float, tls: Optional[ssl.SSLContext],
                 max_idle: int) -> None:
        self.address = address
        self.connect_timeout_s = connect_timeout_s
        self.tls = tls
        self.max_idle = max_idle
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._idle: List[http.client.HTTPConnection] = []
        self._pid = os.getpid()

    def take(self) -> http.client.HTTPConnection:
        """A connection that is open as far as can be told, made anew if there is none; OSError."""
        if self._pid != os.getpid():
            self._reset()  # the parent's connections are the parent's, and its lock may be held
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self.make()
            if not is_stale(connection):
                return connection
            connection.close()

    def make(self) -> http.client.HTTPConnection:
        """A new connection with the timeout of a connect; OSError."""
        return self.address.connect(self.connect_timeout_s, self.tls)

    def put(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if connection.sock is not None and len(self._idle) < self.max_idle:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def is_stale(connection: http.client.HTTPConnection) -> bool:
    """Whether an idle connection has something to read: the other end has closed it."""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


@dataclass(frozen=True)
class Answer:
    """An answer, read to its end."""

    status: int
    headers: Message
    body: bytes

    @property
    def type(self) -> str:
        return (self.headers.get("Content-Type") or "").partition(";")[0].strip().lower()

    @property
    def location(self) -> Optional[str]:
        return self.headers.get("Location")

    @property
    def retry_after(self) -> Optional[float]:
        return parse_retry_after(self.headers.get("Retry-After"))

    def value(self) -> Any:
        """The JSON value of the body; BadAnswer if it is none."""
        if self.type not in (JSON, PROBLEM):
            raise errors.BadAnswer(f"{self.status} with a body of type {self.type!r}: "
                                   "is that a jobmill broker?")
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise errors.BadAnswer(f"{self.status} with a body that is no JSON: {error}") from error

    def member(self, name: str) -> List[Dict[str, Any]]:
        """A list of objects under a name; BadAnswer if there is none."""
        found = self.object().get(name)
        if not isinstance(found, list):
            raise errors.BadAnswer(f"{self.status} without a list {name!r}")
        return found

    def object(self) -> Dict[str, Any]:
        value = self.value()
        if not isinstance(value, dict):
            raise errors.BadAnswer(f"{self.status} with something that is no object: {value!r:.100}")
        return value

    def error(self) -> errors.ApiError:
        """The exception that says what a status other than 2xx means."""
        problem: Mapping[str, Any] = {}
        if self.type in (JSON, PROBLEM):
            problem = self.object()
        else:
            problem = {"title": "Not an answer of the broker",
                       "detail": self.body[:200].decode("utf-8", "replace") or None}
        return errors.from_problem(self.status, problem, self.location, self.retry_after)


@dataclass(frozen=True)
class Request:
    """What is sent. `wait_s`: how long the broker was asked to think about it."""

    method: str
    target: str
    body: Optional[bytes] = None
    headers: Optional[Mapping[str, str]] = None
    wait_s: float = 0.0
    is_idempotent: bool = False  # by its nature: what it sets does not depend on what is there

    @property
    def key(self) -> Optional[str]:
        return (self.headers or {}).get("Idempotency-Key")

    @property
    def is_repeatable(self) -> bool:
        """Whether sending it twice does no more than sending it once."""
        return self.method == "GET" or self.is_idempotent or self.key is not None


class Transport:
    """Sends requests, and sends them again where that is safe. May be used by any thread."""

    def __init__(self, pool: Pool, timeout_s: float, retry: Retry, headers: Mapping[str, str],
                 max_answer_bytes: int, sleep: Callable[[float], None] = time.sleep) -> None:
        self.pool = pool
        self.timeout_s = timeout_s
        self.retry = retry
        self.headers = dict(headers)
        self.max_answer_bytes = max_answer_bytes
        self.sleep = sleep

    def call(self, request: Request) -> Answer:
        """The 2xx answer; any other is raised, as is its absence."""
        repeat = 0
        was_sent = False  # and nobody knows what became of it
        while True:
            answer: Optional[Answer] = None
            cause: Optional[Exception] = None
            try:
                connection = self.connect()
            except errors.ConnectionFailed as error:
                cause = error
            else:
                try:
                    answer = self.exchange(connection, request)
                    was_sent = was_sent or answer.status in GATEWAY
                except (OSError, http.client.HTTPException) as error:
                    cause = error
                    was_sent = True
            if answer is not None and 200 <= answer.status < 300:
                return answer
            pause_s = self.pause_s(request, repeat, answer, cause)
            if pause_s is None:
                raise self.failure(request, answer, cause, was_sent) from cause
            repeat += 1
            self.sleep(pause_s)

    def connect(self, is_new: bool = False) -> http.client.HTTPConnection:
        """A kept connection, or a new one; ConnectionFailed."""
        try:
            return self.pool.make() if is_new else self.pool.take()
        except OSError as error:
            raise errors.ConnectionFailed(f"{self.pool.address} cannot be reached: {error}") from error

    def exchange(self, connection: http.client.HTTPConnection, request: Request) -> Answer:
        """One request and its answer; the connection goes back to the pool, or is closed."""
        try:
            connection.sock.settimeout(self.timeout_s + request.wait_s)
            headers = {"Accept": JSON, **self.headers, **(request.headers or {})}
            try:
                connection.request(request.method, self.pool.address.prefix + request.target,
                                   request.body, headers)
            except (BrokenPipeError, ConnectionResetError):
                pass  # an answer may have come before all was sent: "too large"
            answer = self.read(connection.getresponse())
        except BaseException:
            connection.close()
            raise
        self.pool.put(connection)
        return answer

    def read(self, response: http.client.HTTPResponse) -> Answer:
        """The answer with its body. One that has no length and does not say that it ends with the
        connection is a head that was cut off: http.client takes any end for the head's."""
        if (response.length is None and not response.chunked
                and response.headers.get("Connection", "").lower() != "close"):
            raise http.client.IncompleteRead(b"")
        pieces: List[bytes] = []
        rest = self.max_answer_bytes - (response.length or 0)
        if response.length is not None and rest >= 0:
            pieces.append(response.read())
        while response.length is None and rest >= 0:
            piece = response.read(PIECE_BYTES)
            if not piece:
                break
            pieces.append(piece)
            rest -= len(piece)
        if rest < 0:
            raise errors.BadAnswer(f"the answer has more than {self.max_answer_bytes} bytes "
                                   "(max_answer_bytes)")
        return Answer(response.status, response.headers, b"".join(pieces))

    def pause_s(self, request: Request, repeat: int, answer: Optional[Answer],
                cause: Optional[Exception]) -> Optional[float]:
        """The pause before the request is sent again, or None if it must not be."""
        if isinstance(cause, errors.ConnectionFailed):
            return self.retry.pause_s(repeat)  # it never left
        if not request.is_repeatable:
            return None
        if answer is None:
            return self.retry.pause_s(repeat)
        if answer.status in LATER or answer.status in GATEWAY:
            return self.retry.pause_s(repeat, answer.retry_after)
        return None

    def failure(self, request: Request, answer: Optional[Answer], cause: Optional[Exception],
                was_sent: bool) -> errors.JobmillError:
        """What is raised in the end. A refusal that is not for the moment only is a refusal of all
        repeats; anything else leaves open what became of one that was sent."""
        if answer is not None and answer.status not in LATER and answer.status not in GATEWAY:
            return answer.error()
        if was_sent and request.method != "GET":
            last = answer.error() if answer is not None else cause
            return errors.UnknownFate(f"{request.method} {request.target} was sent and not answered "
                                      f"({last})", request.key)
        if answer is not None:
            return answer.error()
        if isinstance(cause, errors.ConnectionFailed):
            return cause
        return errors.ConnectionFailed(f"{self.pool.address} has not answered: {cause!r}")
