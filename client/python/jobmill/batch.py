"""Many jobs in one request: items go out as lines of JSON while their answers come in, in the thread
of the caller and in bounded memory.

One thing drives both directions: reading. Whoever wants the next bytes of the answer gets them if they
are there; if not, the socket is given more of the body for as long as it takes it, and the items are
taken from the caller's iterable for that and no sooner. So neither side can stop the other by not
reading, and a caller that does not ask for answers sends nothing.

Items that are not answered yet are kept, up to KEPT_BYTES: when the connection breaks, they are sent
again, and their idempotency keys see to it that each is one job.
"""

from __future__ import annotations

import http.client
import io
import json
import select
import socket
import ssl
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import (Any, Deque, Dict, Iterable, Iterator, List, Mapping, NamedTuple, NoReturn,
                    Optional, cast)

from . import errors
from .fields import to_json, to_members
from .retry import GATEWAY, LATER
from .transport import PIECE_BYTES, Answer, Transport

NDJSON = "application/x-ndjson"
ITEMS_PER_REQUEST = 100_000  # the broker's limit
KEPT_BYTES = 32 << 20
KEPT_OVERHEAD_BYTES = 200  # of an item besides its line, about
ERRORS_TOLD = 1000  # of an atomic batch that is refused
GATHER_S = 0.2  # how long lines are held back to go together


@dataclass(frozen=True)
class BatchAnswer:
    """What has become of one item: a job (`id`, `state`; that is None if the job was there already and
    is not kept any more), or none (`error`, an ApiError that was not raised).

    index            which item: 0 is the first
    is_existing      with `unique`: the job was there already
    replaced         with `unique`: the id of the job that was cancelled for this one; not told for
                     an item with an idempotency key, see Client.batch(repeatable=False)
    is_replay        the item's idempotency key was known: no second job was made
    idempotency_key  that was sent, or None
    """

    index: int
    id: Optional[str]
    state: Optional[str]
    error: Optional[errors.ApiError] = None
    is_existing: bool = False
    replaced: Optional[str] = None
    is_replay: bool = False
    idempotency_key: Optional[str] = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, line: Line, raw: Mapping[str, Any]) -> BatchAnswer:
        error = raw.get("error")
        return cls(line.number, raw.get("id"), raw.get("state"),
                   errors.from_item(error) if error else None, raw.get("is_existing") is True,
                   raw.get("replaced"), raw.get("is_replay") is True, line.key, raw)


class Line(NamedTuple):
    """An item that is sent; `data` is None if there was no room to keep it."""

    number: int
    key: Optional[str]
    data: Optional[bytes]


class SourceFailed(Exception):
    """The caller's iterable has raised, or an item cannot be sent; the cause says what."""


class Outbox:
    """The items, from the caller's iterable until they are answered."""

    def __init__(self, items: Iterable[Mapping[str, Any]], has_keys: bool,
                 kept_bytes: int = KEPT_BYTES) -> None:
        self.has_keys = has_keys
        self.kept_bytes = kept_bytes
        self.batch_id = uuid.uuid4().hex
        self.source = iter(items)
        self.taken = 0  # from the source
        self.unanswered: Deque[Line] = deque()
        self.used_bytes = 0  # by unanswered
        self.lossy = 0  # how many of them have no data or no key
        self._ahead: List[bytes] = []  # one line that was looked at and not taken
        self._ahead_key: Optional[str] = None

    def has_more(self) -> bool:
        return bool(self.unanswered) or self._look()

    def _look(self) -> bool:
        """Whether the source has another item; it is encoded here, once."""
        if self._ahead:
            return True
        try:
            for item in self.source:
                break
            else:
                return False
            if not isinstance(item, Mapping):
                raise TypeError(f"item {self.taken} is no dict: {item!r:.100}")
            members = to_members(item)
            if self.has_keys and "idempotency_key" not in members:
                members["idempotency_key"] = f"{self.batch_id}-{self.taken}"
            self._ahead = [to_json(members) + b"\n"]
            self._ahead_key = members.get("idempotency_key")
        except Exception as error:
            raise SourceFailed from error
        return True

    def _take(self) -> bytes:
        data = self._ahead.pop()
        size = len(data) + KEPT_OVERHEAD_BYTES
        is_kept = self._ahead_key is not None and self.used_bytes + size <= self.kept_bytes
        self.unanswered.append(Line(self.taken, self._ahead_key, data if is_kept else None))
        self.used_bytes += size if is_kept else 0
        self.lossy += not is_kept
        self.taken += 1
        return data

    def lines(self, limit: Optional[int]) -> Iterator[bytes]:
        """The lines of one request: what was not answered before, then what the source has, at most
        `limit` together."""
        again = [line.data for line in self.unanswered if line.data is not None]
        yield from again
        count = len(again)
        while (limit is None or count < limit) and self._look():
            yield self._take()
            count += 1

    def answered(self) -> Line:
        """The oldest item is answered."""
        line = self.unanswered.popleft()
        if line.data is None:
            self.lossy -= 1
        else:
            self.used_bytes -= len(line.data) + KEPT_OVERHEAD_BYTES
        return line


def chunked(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Lines, some at a time, in chunked coding; when they come slowly, each as it comes: the broker
    ends a batch of which nothing arrives."""
    gathered: List[bytes] = []
    size = 0
    until = time.monotonic() + GATHER_S
    for line in lines:
        gathered.append(line)
        size += len(line)
        if size >= PIECE_BYTES or time.monotonic() >= until:
            yield b"%x\r\n%b\r\n" % (size, b"".join(gathered))
            gathered, size = [], 0
            until = time.monotonic() + GATHER_S
    if size > 0:
        yield b"%x\r\n%b\r\n" % (size, b"".join(gathered))
    yield b"0\r\n\r\n"


class Pump(io.RawIOBase):
    """The incoming side of a socket that sends pieces whenever there is nothing to read."""

    def __init__(self, sock: socket.socket, pieces: Iterator[bytes], timeout_s: float) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.pieces = pieces
        self.timeout_s = timeout_s
        self.out = memoryview(b"")
        self.is_sending = True

    def readable(self) -> bool:
        return True

    def makefile(self, mode: str) -> io.BufferedReader:
        """What http.client.HTTPResponse asks of a socket."""
        return io.BufferedReader(self, PIECE_BYTES)

    def readinto(self, buffer: Any) -> int:
        while True:
            try:
                return self.sock.recv_into(buffer)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            if not self.send_some():
                self.wait()

    def send_some(self) -> bool:
        """Whether something went out."""
        if self.is_sending and not self.out:
            self.out = memoryview(next(self.pieces, b""))
            self.is_sending = len(self.out) > 0
        if not self.is_sending:
            return False
        try:
            self.out = self.out[self.sock.send(self.out):]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except (BrokenPipeError, ConnectionResetError):
            self.is_sending = False  # perhaps with a word of why, which can still be read
            return False
        return True

    def wait(self) -> None:
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | (select.POLLOUT if self.is_sending else 0))
        if not poll.poll(int(self.timeout_s * 1000)):
            raise TimeoutError(f"nothing came or went for {self.timeout_s:g} s")


class Batch:
    """One call of Client.batch()."""

    def __init__(self, transport: Transport, outbox: Outbox, is_atomic: bool) -> None:
        self.transport = transport
        self.outbox = outbox
        self.is_atomic = is_atomic
        self.limit = None if is_atomic else ITEMS_PER_REQUEST
        self.answers_read = 0
        self.doubtful = 0  # the items before this one may be stored, if they have no answer

    def answers(self) -> Iterator[BatchAnswer]:
        """As many requests as it takes. Repeats begin to count anew when one has got on."""
        repeat = 0
        try:
            while self.outbox.has_more():
                read_before = self.answers_read
                try:
                    yield from self.request()
                    continue
                except errors.BatchRefused:
                    raise
                except (OSError, http.client.HTTPException, errors.ConnectionFailed,
                        errors.ApiError) as error:
                    cause = error
                if self.answers_read > read_before:
                    repeat = 0
                    if not self.outbox.has_more():
                        return  # only the end of the last answer was missing
                if not is_refusal(cause):
                    self.doubtful = self.outbox.taken
                self.pause(repeat, cause)
                repeat += 1
        except SourceFailed as failed:
            assert failed.__cause__ is not None
            raise failed.__cause__

    def pause(self, repeat: int, cause: Exception) -> None:
        """Sleeps until the request may be sent again, or raises."""
        retry_after_s: Optional[float] = None
        if isinstance(cause, errors.ApiError):
            if cause.status not in LATER and cause.status not in GATEWAY:
                self.fail(cause)
            retry_after_s = cause.retry_after
        pause_s = self.transport.retry.pause_s(repeat, retry_after_s)
        if pause_s is None or self.outbox.lossy > 0:
            self.fail(cause)
        self.transport.sleep(pause_s)

    def fail(self, cause: Exception) -> NoReturn:
        """Raises what there is to be said. A refusal is one only if it holds for all that was sent."""
        unanswered = self.outbox.unanswered
        if not unanswered and not isinstance(cause, errors.JobmillError):
            raise errors.ConnectionFailed(f"{self.transport.pool.address} has not taken the batch: "
                                          f"{cause!r}") from cause
        if not unanswered or (unanswered[0].number >= self.doubtful and
                              (self.answers_read == 0 or is_final(cause))):
            raise cause
        raise errors.UnknownFate(f"{len(unanswered)} items of the batch were sent and not answered, "
                                 f"from number {unanswered[0].number} on ({cause})") from cause

    def request(self) -> Iterator[BatchAnswer]:
        """One request, on a connection of its own."""
        connection = self.transport.connect(is_new=True)
        try:
            pump = self.send_head(connection)
            with http.client.HTTPResponse(cast(socket.socket, pump), method="POST") as response:
                response.begin()
                if Answer(response.status, response.headers, b"").type != NDJSON:
                    pump.is_sending = False
                    raise self.refusal(response)
                if response.status == 422:
                    raise self.refused_items(response)
                for raw in read_lines(response):
                    if is_end(raw):
                        raise errors.from_item(raw["error"])
                    yield self.take_answer(raw)
                if self.outbox.unanswered:
                    raise http.client.IncompleteRead(b"")
        finally:
            connection.close()

    def send_head(self, connection: http.client.HTTPConnection) -> Pump:
        target = "/v1/jobs/batch" + ("?atomic=true" if self.is_atomic else "")
        connection.putrequest("POST", self.transport.pool.address.prefix + target,
                              skip_accept_encoding=True)
        for name, value in self.transport.headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Type", NDJSON)
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        return Pump(connection.sock, chunked(self.outbox.lines(self.limit)),
                    self.transport.timeout_s)

    def refusal(self, response: http.client.HTTPResponse) -> Exception:
        answer = self.transport.read(response)
        if 200 <= answer.status < 300:
            return errors.BadAnswer(f"{answer.status} with a body of type {answer.type!r}: "
                                    "is that a jobmill broker?")
        return answer.error()

    def take_answer(self, raw: Dict[str, Any]) -> BatchAnswer:
        if not self.outbox.unanswered:
            raise errors.BadAnswer("the batch got more answers than it has items")
        self.answers_read += 1
        return BatchAnswer.of(self.outbox.answered(), raw)

    def refused_items(self, response: http.client.HTTPResponse) -> errors.BatchRefused:
        refused = errors.BatchRefused(422, "batch_refused", "Nothing of the batch is stored")
        refused.errors = []
        try:
            for raw in read_lines(response):
                answer = self.take_answer(raw)
                if (answer.error is not None and answer.error.code != "batch_refused"
                        and len(refused.errors) < ERRORS_TOLD):
                    refused.errors.append((answer.index, answer.error))
        except (OSError, http.client.HTTPException):
            pass  # the status says enough; and what is left must not be sent as a batch of its own
        return refused


def is_refusal(cause: Exception) -> bool:
    """Whether it says that nothing was done with what is not answered."""
    return isinstance(cause, errors.ConnectionFailed) or (
        isinstance(cause, errors.ApiError) and cause.status not in GATEWAY)


def is_final(cause: Exception) -> bool:
    return (isinstance(cause, errors.ApiError) and cause.status not in LATER
            and cause.status not in GATEWAY)


def is_end(raw: Mapping[str, Any]) -> bool:
    """Whether an answer is no item's, but says that from here on none was looked at. They can all be
    sent again; perhaps to the broker that comes up next."""
    error = raw.get("error")
    return isinstance(error, dict) and error.get("code") == "shutting_down"


def read_lines(response: http.client.HTTPResponse) -> Iterator[Dict[str, Any]]:
    """The objects of a body of lines, each as soon as it is there."""
    # read1() of a body with a length does not count it down in some releases of Python.
    read = response.read1 if response.chunked else response.read
    rest = b""
    while True:
        piece = read(PIECE_BYTES)
        if not piece:
            break
        *lines, rest = (rest + piece).split(b"\n")
        yield from map(parse_line, filter(None, lines))
    if rest.strip():
        yield parse_line(rest)


def parse_line(line: bytes) -> Dict[str, Any]:
    try:
        raw = json.loads(line)
    except ValueError as error:
        raise errors.BadAnswer(f"a line of the batch's answer is no JSON: {error}") from error
    if not isinstance(raw, dict):
        raise errors.BadAnswer(f"an answer of the batch is no object: {raw!r:.100}")
    return raw
