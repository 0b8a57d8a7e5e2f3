"""Hostile clients: each attack is a function of a mill with a broker on a TCP port (tools.TcpMill), a worker,
and a size; it raises harness.Failure if anything but the attacker comes to harm, and returns figures.

What the broker may take of memory: 1 KiB for a connection, 2 KiB and up to 16 KiB for a head that is
coming, 12 KiB for a request in work (up to 32 of a connection), 256 MiB for all bodies together, 256 MiB
for all answers that are not read (http_server.h)."""

import contextlib
import os
import random
import re
import resource
import select
import socket
import struct
import time

import tools
from tools import harness, mp

CASES = harness.SOURCE / "tests" / "cases" / "http-hostile"
MIB = 1 << 20
UNREAD_BYTES = 256 * MIB
REQUEST_BYTES = 12 * 1024  # that is in work, or waits for its turn: 32 of a connection
SLACK_BYTES = 96 * MIB  # one turn of the loop, the allocator, the database's caches
TCP_REPAIR = 19
MOST_TURN_S = 0.05  # of the loop, before it serves somebody else


def connect(mill):
    s = socket.create_connection(("127.0.0.1", mill.port), 60)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


@contextlib.contextmanager
def many(mill, count, data=b""):
    """So many connections that have sent that."""
    sockets = []
    try:
        for _ in range(count):
            s = connect(mill)
            if data:
                s.sendall(data)
            sockets.append(s)
        yield sockets
    finally:
        for s in sockets:
            s.close()


def reset(s):
    """Closes with a RST."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def read_to_end(s, deadline_s=20):
    """All that comes until the other side closes. A reset is an end too."""
    data = b""
    s.settimeout(deadline_s)
    with contextlib.suppress(ConnectionResetError):
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            data += piece
    return data


def statuses(data):
    """Of all answers in these bytes."""
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
        if not match or not end:
            raise harness.Failure(f"no answer: {head[:200]!r}")
        if match[1] == b"100":
            continue
        found.append(int(match[1]))
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        data = data[int(length[1]) if length else 0:]
    return found


def is_calm(mill, connections=1):
    """Nothing is left of an attack: only that many connections, nobody waits, nothing is unread."""
    return (mill.metric("http_connections") <= connections and mill.metric("waiters") == 0 and
            mill.metric("http_unread_bytes") == 0)


class Watch:
    """Memory and descriptors of the broker before, at their peak, and after."""

    def __init__(self, mill, most_bytes, files=60):
        self.mill, self.most_bytes, self.most_files = mill, most_bytes, files

    def __enter__(self):
        harness.wait_for(lambda: is_calm(self.mill), "calm before")
        self.before, self.files = self.mill.memory(), self.mill.files()
        self.mill.reset_peak()
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None:
            return
        grown = self.mill.peak_memory() - self.before
        if grown > self.most_bytes:
            raise harness.Failure(f"the broker grew by {grown / MIB:.0f} MiB; bound: "
                                  f"{self.most_bytes / MIB:.0f}")
        harness.wait_for(lambda: is_calm(self.mill), "calm behind it", 90)
        harness.wait_for(lambda: self.mill.files() <= self.files + 8, "the descriptors are back")
        harness.wait_for(lambda: self.mill.memory() <= self.before + 48 * MIB,
                         f"memory is back at {self.before / MIB:.0f} MiB")
        self.grown_mb = round(grown / 1e6, 1)


# ---- what two readers might understand differently ----

SMUGGLED_BODY = b'{"task":"noop","queue":"smuggled"}'
SMUGGLED = (b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(SMUGGLED_BODY), SMUGGLED_BODY))


def unescape(text):
    kinds = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}

    def one(found):
        word = found[1].decode()
        return bytes([int(word[1:], 16)]) if word[0] == "x" else kinds[word]
    return re.sub(rb"\\(x[0-9a-fA-F]{2}|[rnt0\\])", one, text.encode())


def read_cases():
    for path in sorted(CASES.glob("*.txt")):
        for text in path.read_text(encoding="utf-8").strip().split("\n\n"):
            title, *lines, wanted = text.split("\n")
            data = b""
            for line in lines:
                if line == "|@SMUGGLED":
                    data += SMUGGLED
                elif repeated := re.match(r"\|\*(\d+) (.*)", line):
                    data += unescape(repeated[2]) * int(repeated[1])
                else:
                    data += unescape(line[1:])
            yield title.removeprefix("title: "), data, [int(w) for w in wanted[2:].split()]


def send_pieces(s, data, step):
    """Until all is sent or the other side wants no more."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for at in range(0, len(data), step):
            s.sendall(data[at:at + step])


def smuggling(mill, size):
    wrong = []
    cases = list(read_cases())
    for title, data, wanted in cases:
        for step in (len(data), 7) if len(data) < 3000 else (len(data),):
            with connect(mill) as s:
                send_pieces(s, data, step)
                try:
                    found = statuses(read_to_end(s, 9))
                except TimeoutError:
                    found = "still open"
            if found != wanted:
                wrong.append(f"{title}: {found} instead of {wanted}")
    queues = [queue["name"] for queue in mill.get("/v1/queues").value["queues"]]
    if "smuggled" in queues:
        wrong.append("a smuggled request was executed")
    # The proof that it would have been seen:
    with connect(mill) as s:
        s.sendall(SMUGGLED.replace(b"Host: a", b"Host: a\r\nConnection: close").replace(
            b"smuggled", b"as-meant"))
        if statuses(read_to_end(s)) != [201]:
            wrong.append("the request as it is meant is not executed")
    if wrong:
        raise harness.Failure("; ".join(wrong))
    return {"cases": 2 * len(cases)}


GARBAGE = [b"\0", b"\r\n", b"\n", b" ", b"{}", b"GET", b"HTTP/1.1", b"\xff\xfe", b"0\r\n\r\n", b": ",
           b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"GET /ping HTTP/1.1\r\n",
           b"Host: a\r\n", SMUGGLED[:40]]


def garbage(mill, size):
    """Pipelines of random pieces: whatever they are, each ends, and none submits anything."""
    chance = random.Random(size)
    before = mill.metric("http_requests_total")
    with tools.Good(mill):
        for _ in range(size):
            with connect(mill) as s:
                send_pieces(s, b"".join(chance.choice(GARBAGE) for _ in range(chance.randrange(1, 40))),
                            1 << 20)
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_WR)
                read_to_end(s)
    if mill.metric("http_requests_total") - before < size // 2:
        raise harness.Failure("the garbage was not even answered")
    return {"cases": size}


# ---- bodies ----

def bodies(mill, size):
    """Deep, giant, broken, empty: refused with a reason, and the connection is fit for the next."""
    deep = 100000
    json_bodies = [b"", b" ", b"\0", b"[", b"{", b"nul", b'"', b"[" * deep, b'{"a":' * deep, b"[" * deep + b"]" * deep,
                   b'{"task":' + b"9" * 100000 + b"}", b'{"task":"noop","args":1e999999999}',
                   b'{"task":"noop","args":18446744073709551616}', b'{"task":"noop","args":-9223372036854775809}',
                   b'{"task":"noop","priority":1e308}', b'{"task":"noop","delay_ms":9223372036854775808}',
                   b'{"task":"noop","args":"\xff"}', b'{"task":"noop","args":"\xed\xa0\x80"}', b'{"task":"noop","args":"\\ud800"}',
                   b'\xef\xbb\xbf{"task":"noop"}', b'{"task":"noop"}\0', b'{"task":"noop"}{}', b'{"task":"noop","task":"noop"}',
                   b'{"":""}', b'{"task":""}', b"{" + b",".join(b'"%d":0' % n for n in range(2000)) + b"}",
                   b'{"task":"noop","queue":"a\\u0000b"}', b'{"task":"noop","args":NaN}', b'{"task":"noop","args":01}']
    msgpack_bodies = [b"", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
                      b"\x91" * deep, b"\x81\xa4task" * deep, b"\x81\xa4task\xc7\x01\x05x", mp.pack({"task": b"noop"}),
                      b"\x81\xa4task\xa4no\xffp", b"\xde\x00\x01", mp.pack({1: 2}), mp.pack({"task": "noop"}) + b"\xc0"]
    for kind, texts in (("json", json_bodies), ("msgpack", msgpack_bodies)):
        for body in texts:
            connection = mill.connection()
            for path in ("/v1/jobs", "/v1/jobs/batch?atomic=true"):
                connection.request("POST", path, body, {"Content-Type": f"application/{kind}"})
                answer = harness.Answer(connection.getresponse())
                is_told = answer.status == 200 and b"error" in answer.body
                is_empty_batch = (kind, body, answer.body) == ("msgpack", b"", b"")
                if answer.status not in (400, 422) and not is_told and not is_empty_batch:
                    raise harness.Failure(f"{path} {kind} {body[:60]!r}: {answer}")
            connection.close()
    return {"cases": 2 * (len(json_bodies) + len(msgpack_bodies))}


def header_floods(mill, size):
    """Many heads that are too long or have too many fields, and many that are just long enough."""
    long_one = b"GET /ping HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 17000
    fields = b"GET /ping HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 70
    just = b"GET /ping HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 15000  # and the end is missing
    with Watch(mill, size * 40 * 1024 + SLACK_BYTES), tools.Good(mill):
        with many(mill, size, just):
            for data in (long_one, fields):
                with many(mill, size // 4, data) as sockets:
                    for s in sockets:
                        if statuses(read_to_end(s)) != [431]:
                            raise harness.Failure("not 431")
    return {"cases": size + 2 * (size // 4)}


# ---- slow ones ----

def trickle(sockets, seconds, piece):
    """One piece a second on each, until all are closed by the other side. The answers' bytes."""
    left = {s.fileno(): s for s in sockets}
    answers = dict.fromkeys(left, b"")
    poll = select.poll()
    for number in left:
        poll.register(number, select.POLLIN)
    end = time.monotonic() + seconds
    while left and time.monotonic() < end:
        for s in left.values():
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                s.send(piece)
        until = time.monotonic() + 1
        while left and time.monotonic() < until:
            for number, _ in poll.poll(max(1, 1000 * (until - time.monotonic()))):
                data = b""
                with contextlib.suppress(ConnectionResetError):
                    data = left[number].recv(65536)
                answers[number] += data
                if not data:
                    poll.unregister(number)
                    del left[number]
    if left:
        raise harness.Failure(f"{len(left)} connections are not cut off in {seconds} s")
    return list(answers.values())


def slowloris_head(mill, size):
    """A byte of the head a second: cut off 10 s after its first."""
    with Watch(mill, size * 8192 + SLACK_BYTES), tools.Good(mill):
        with many(mill, size, b"GET /ping HTTP/1.1\r\n") as sockets:
            began = time.monotonic()
            answers = trickle(sockets, 25, b"X")
    if any(answer and statuses(answer) != [408] for answer in answers) or not any(answers):
        raise harness.Failure("not 408")
    return {"cases": size, "slow_head_s": round(time.monotonic() - began, 1)}


def slowloris_body(mill, size):
    """A byte of the body a second, of submits and of batches: cut off after 30 s."""
    head = b"POST /v1/jobs%s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n["
    with Watch(mill, size * 8192 + SLACK_BYTES), tools.Good(mill, 20):
        with many(mill, size, head % b"") as submits, many(mill, 60, head % b"/batch") as batches:
            answers = trickle(submits + batches, 60, b" ")
    if any(answer and 408 not in statuses(answer) for answer in answers):
        raise harness.Failure("not 408")
    return {"cases": size + 60}


def batch_slots(mill, size):
    """64 batches that hold their places, atomic ones and others: one more is told so, submits go on,
    and the places come back when the holders go."""
    head = (b"POST /v1/jobs/batch%s HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n1d\r\n{\"task\":\"noop\",\"queue\":\"b\"}\n\r\n")
    head = head.replace(b"1d", b"%x" % len(b'{"task":"noop","queue":"b"}\n'))
    with Watch(mill, SLACK_BYTES), tools.Good(mill):
        with many(mill, 32, head % b"?atomic=true"), many(mill, 32, head % b""):
            def refused():
                answer = mill.call("POST", "/v1/jobs/batch", b'[{"task":"noop"}]',
                                   {"Content-Type": "application/json"})
                return answer.status == 503 and answer.headers["Retry-After"] and answer.code == "overloaded"
            harness.wait_for(refused, "the 65th batch is told to come later")
        harness.wait_for(lambda: mill.call("POST", "/v1/jobs/batch", b'[{"task":"noop"}]',
                                           {"Content-Type": "application/json"}).status == 200,
                         "the places are back")
    return {"cases": 64}


def loop_s(mill):
    """What the broker's loop has computed so far: on a busy machine it waits for a core, but uses no more."""
    with open(f"/proc/{mill.broker.pid}/task/{mill.broker.pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def refused_items(mill, size):
    """Batches of nothing but wrong items, tens of thousands of them in each piece that the loop reads: it
    serves others in between."""
    items = b"[" + b"1," * 90000 + b"1]"
    batch = (b"POST /v1/jobs/batch HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
             b"Content-Length: %d\r\n\r\n%s" % (len(items), items))
    worst = 0
    with Watch(mill, UNREAD_BYTES + SLACK_BYTES), many(mill, size) as sockets:
        ping = mill.connection()
        ping.connect()
        flood_requests(sockets, batch)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            before = loop_s(mill)
            ping.request("GET", "/ping")
            ping.getresponse().read()
            worst = max(worst, loop_s(mill) - before)
        ping.close()
    if worst > MOST_TURN_S:
        raise harness.Failure(f"the loop computed {worst * 1000:.0f} ms for others before it served a ping")
    return {"cases": size, "refused_items_turn_ms": round(worst * 1000, 1)}


def niceness(mill):
    """Of the broker's loop, and of its other threads."""
    nice = {}
    for task in os.listdir(f"/proc/{mill.broker.pid}/task"):
        with open(f"/proc/{mill.broker.pid}/task/{task}/stat", encoding="ascii") as file:
            nice[int(task)] = int(file.read().rpartition(")")[2].split()[16])
    return nice.pop(mill.broker.pid), sorted(nice.values())


# ---- those that do not read ----

def big_result(mill):
    return mill.submit("echo", "x" * 1000000, wait=60)["id"]


def flood_requests(sockets, data):
    """Sends as much as the other side takes."""
    for s in sockets:
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while True:
                s.send(data)


def never_reading(mill, size):
    """Pipelines of requests for 1 MB each, for pages of a list, for a batch's answers, and nobody reads
    an answer: 256 MiB of them are kept, and then who has waited longest is cut off."""
    job_id = big_result(mill)
    one = f"GET /v1/jobs/{job_id}/result HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    page = b"GET /v1/jobs?limit=1000 HTTP/1.1\r\nHost: a\r\n\r\n"
    items = b"[" + b"1," * 400000 + b"1]"
    batch = (b"POST /v1/jobs/batch HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
             b"Content-Length: %d\r\n\r\n%s" % (len(items), items))
    before = mill.metric('http_cut_off_total{reason="unread"}')
    requests = size * 3 * 32
    with Watch(mill, UNREAD_BYTES + requests * REQUEST_BYTES + SLACK_BYTES) as watch, tools.Good(mill):
        with contextlib.ExitStack() as stack:
            for data, share in ((one * 32, 1), (page * 32, 4), (batch, 16)):
                flood_requests(stack.enter_context(many(mill, max(2, size // share))), data)
            peak = harness.wait_for(lambda: (lambda unread: unread > 0.6 * UNREAD_BYTES and unread)(
                mill.metric("http_unread_bytes")), "answers pile up", 60)
            harness.wait_for(lambda: mill.metric('http_cut_off_total{reason="unread"}') > before,
                             "who reads nothing is cut off", 60)
            loop, others = niceness(mill)
            if min(loop + 5, 19) not in others:
                raise harness.Failure(f"nobody who reads large results gives way to the loop: {loop}, {others}")
            if mill.metric("http_unread_bytes") > UNREAD_BYTES:
                raise harness.Failure("more is kept than the limit")
    return {"cases": size, "unread_peak_mb": round(peak / 1e6), "never_reading_grown_mb": watch.grown_mb}


# ---- those that go ----

def vanishing_waiters(mill, size):
    """Thousands wait for one job, and for many, and are reset: nothing is left of them."""
    job_id = mill.submit("noop", queue="nobody")["id"]
    wait = f"GET /v1/jobs/{job_id}?wait=60 HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    body = b'{"task":"noop","queue":"nobody"}'
    submit = (b"POST /v1/jobs?wait=60 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
              b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    with Watch(mill, size * 32768 + SLACK_BYTES) as watch, tools.Good(mill):
        sockets = []
        for number in range(size):
            sockets.append(connect(mill))
            sockets[-1].sendall(submit if number % 4 == 0 else wait)
        mill.wait_metric("waiters", size)
        for s in sockets:
            reset(s)
        harness.wait_for(lambda: mill.metric("waiters") < 8, "the waiters are gone", 30)
    mill.post(f"/v1/jobs/cancel?queue=nobody")
    return {"cases": size, "waiters_grown_mb": watch.grown_mb}


def waiters_of_one(mill, size):
    """Thousands wait for one job with a large result, and none reads it."""
    job_id = mill.submit("echo", "y" * 60000, delay_ms=4000)["id"]
    wait = f"GET /v1/jobs/{job_id}?wait=60 HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    with Watch(mill, UNREAD_BYTES + size * 32768 + SLACK_BYTES) as watch, tools.Good(mill):
        with many(mill, size, wait):
            mill.wait_for_state(job_id, "succeeded")
            harness.wait_for(lambda: mill.metric("waiters") < 8, "all were called")
    return {"cases": size, "one_job_grown_mb": watch.grown_mb}


def resets(mill, size):
    """Connections that are opened and reset as fast as it goes, at every stage of a request."""
    stages = [b"", b"G", b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n", SMUGGLED[:-3], SMUGGLED[:30],
              b"GET /v1/jobs?wait=1 HTTP/1.1\r\nHost: a\r\n\r\n" * 10]
    began = time.monotonic()
    with Watch(mill, SLACK_BYTES), tools.Good(mill):
        for number in range(size):
            s = connect(mill)
            data = stages[number % len(stages)]
            if data:
                s.send(data)
            reset(s)
    return {"cases": size, "resets_per_s": round(size / (time.monotonic() - began))}


def vanished(mill, size):
    """Clients that are gone without a FIN, as when their host loses power, in the middle of all that can
    be in the middle. Needs CAP_NET_ADMIN (TCP_REPAIR); None where that is missing."""
    wait = b"GET /v1/jobs/%s?wait=20 HTTP/1.1\r\nHost: a\r\n\r\n" % mill.submit("noop", queue="nobody")["id"].encode()
    stages = [b"", b"GET /pi", SMUGGLED[:-3], wait, b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"]
    with Watch(mill, SLACK_BYTES), tools.Good(mill, 20):
        for number in range(size):
            s = connect(mill)
            if stages[number % len(stages)]:
                s.sendall(stages[number % len(stages)])
            try:
                s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            except PermissionError:
                s.close()
                return None
            s.close()
        harness.wait_for(lambda: mill.metric("http_connections") < 10, "they are noticed", 110)
    mill.post("/v1/jobs/cancel?queue=nobody")
    return {"cases": size}


def half_open(mill, size):
    """SYNs whose second half never comes. Needs CAP_NET_RAW; None where that is missing."""
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    except PermissionError:
        return None
    with raw, Watch(mill, SLACK_BYTES), tools.Good(mill):
        for number in range(size):
            # From addresses of the loopback where nobody is, so that a SYN+ACK meets no RST in time.
            source = socket.inet_aton(f"127.9.{number >> 8 & 255}.{number & 255}")
            target = socket.inet_aton("127.0.0.1")
            head = struct.pack("!HHIIBBHHH", 20000 + number % 40000, mill.port, number, 0, 5 << 4, 2, 8192, 0, 0)
            pseudo = source + target + struct.pack("!BBH", 0, 6, len(head)) + head
            total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
            total = (total >> 16) + (total & 0xFFFF)
            head = head[:16] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[18:]
            raw.bind((socket.inet_ntoa(source), 0))
            raw.sendto(head, ("127.0.0.1", 0))
    return {"cases": size}


# ---- very many ----

def raise_own_limit(files):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < files:
        return False
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return True


def idle(mill, size):
    """As many idle connections as there may be: what is beyond is told so, and good clients that have
    theirs go on. None where so many files may not be open."""
    if not raise_own_limit(size + 500) or mill.metric("http_connections") > 1:
        return None
    with Watch(mill, size * 2048 + SLACK_BYTES) as watch:
        with many(mill, size - 50) as sockets:
            harness.wait_for(lambda: mill.metric("http_connections") >= size - 50, "all are there")
            with tools.Good(mill):
                time.sleep(2)
            kept = mill.connection()
            kept.request("GET", "/ping")
            kept.getresponse().read()
            for _ in range(60):
                sockets.append(connect(mill))
            answers = b"".join(read_to_end(s) for s in sockets[-8:])
            if statuses(answers) != [503] * 8:
                raise harness.Failure(f"those beyond the limit: {statuses(answers)}")
            kept.request("GET", "/ping")
            if kept.getresponse().read() is None:
                raise harness.Failure("a connection that was there is not served")
            kept.close()
    return {"cases": size, "idle_bytes_each": round(watch.grown_mb * 1e6 / size)}


def few_files():
    """A mill of its own: a broker that may have 200 descriptors, and more clients than that: those beyond are told so, and it
    still can open what it needs itself: a new link to Redis, a file for an atomic batch, readers."""
    with tools.TcpMill() as small:
        small.start_redis()
        small.start_broker(files=200)
        small.start_worker()
        small.wait_for_workers()
        if "only" not in small.broker.err:
            raise harness.Failure("it does not say that there are few connections")
        with many(small, 100) as sockets:
            items = b"[" + b",".join([b'{"task":"noop"}'] * 2000) + b"]"
            for _ in range(220):
                sockets.append(connect(small))
            ends = [read_to_end(s) for s in sockets[-20:]]
            if not all(end == b"" or statuses(end) == [503] for end in ends):
                raise harness.Failure("those beyond the limit are served")
            small.redis_call("CLIENT", "KILL", "TYPE", "normal")
            if small.files() > 190:
                raise harness.Failure(f"clients took all descriptors: {small.files()}")
            with sockets[0] as s:  # one that is within the limit
                s.sendall(b"POST /v1/jobs/batch?atomic=true HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                          b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(items), items))
                answer = read_to_end(s, 60)
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise harness.Failure(f"an atomic batch: {answer[:300]!r}")
            used = time.monotonic(), cpu_s(small.broker.pid)
            time.sleep(0.5)
            busy = (cpu_s(small.broker.pid) - used[1]) / (time.monotonic() - used[0])
            if busy > 0.5:
                raise harness.Failure(f"it spins: {busy:.0%} of a core with nothing to do")
        harness.wait_for(lambda: is_calm(small), "calm behind it")
        small.good_job()
    return {"cases": 320}


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


ALL = [smuggling, bodies, garbage, header_floods, batch_slots, refused_items, never_reading, waiters_of_one, vanishing_waiters,
       resets, half_open, vanished, slowloris_head, slowloris_body, idle]
