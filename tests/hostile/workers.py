"""Hostile workers: whoever may write into Redis writes rubbish. Each attack is a function of a mill with a
Redis, a broker and a worker host, and of a size; it raises harness.Failure (or AssertionError) if
anything but the rubbish comes to harm, and returns figures."""

import os
import time

import tools
from tools import HOSTS, QUEUE, RESULTS, beat, event, harness, id_number, mp

SUCCEEDED, RUNNING, FAILED, CRASHED = 2, 1, 3, 4
WRONG = [None, True, -1, 1 << 64, 1.5, "text", b"\0bytes", [1], {"a": 1}]


def pack(value):
    """As mp.pack, and what that knows not: a number beyond 64 bits stands for an ext."""
    if value == 1 << 64 and not isinstance(value, (float, bool)):
        return b"\xc7\x01\x01x"
    return mp.pack(value)


def raw_map(pairs):
    return mp.head(len(pairs), 0x80, 16, (None, 0xDE, 0xDF)) + b"".join(
        pack(key) + (value if isinstance(value, Packed) else pack(value)) for key, value in pairs)


class Packed(bytes):
    """A value that is msgpack already."""


def held_back(mill, **fields):
    """A job that only this test ends: nobody serves its queue, which has it alone."""
    mill.queue_count = getattr(mill, "queue_count", 0) + 1
    fields.setdefault("queue", f"nobody-{mill.queue_count}")
    return mill.submit("noop", **fields)["id"]


def push(mill, *frames):
    mill.redis_pipe([["LPUSH", RESULTS, *frames]])


def settle(mill):
    """Everything that was pushed before has been applied."""
    mark = held_back(mill)
    push(mill, event(SUCCEEDED, id_number(mark), has_begun=True))
    return mill.wait_for_state(mark, "succeeded")


def expect(what, found, wanted):
    if found != wanted:
        raise harness.Failure(f"{what}: {found!r} instead of {wanted!r}")


# ---- events ----

def is_taken(name, value):
    """Whether that value is right for that field after all."""
    if name == "has_begun":
        return value is True
    if name == "begun_at_ms":
        return isinstance(value, int) and not isinstance(value, bool) and value < 1 << 63
    if name in ("code", "message"):
        return value == "text"
    return name in ("result", "stderr_tail") and isinstance(value, bytes)


def wrong_types(mill, size):
    """Every field of an event with a value of every other type: the entry is set aside, the job lives."""
    job_id = held_back(mill)
    frames = []
    for index, name in enumerate(mp.EVENT):
        for wrong in WRONG:
            if is_taken(name, wrong):
                continue
            pairs = {0: 1, 1: SUCCEEDED, 2: id_number(job_id), 3: 1}
            pairs[index] = wrong
            frames.append(raw_map(sorted(pairs.items())))
    good = event(SUCCEEDED, id_number(job_id), has_begun=True)
    frames += [b"", b"\xc0", b"\x80", b"\xc1", b"\xdf\xff\xff\xff\xff", good[:-1], good + b"\0",
               b"\x91" * 5000, mp.pack({1: 2, 0: 1, 2: 3, 3: 1}), mp.pack({0: 1}),
               raw_map([(0, 1), (1, 2), (1, 2), (2, 9), (3, 1)]),
               raw_map([(0, 1), ("1", 2), (2, 9), (3, 1)])]
    before = mill.metric('results_dropped_total{reason="quarantined"}')
    push(mill, *frames)
    settle(mill)
    expect("set aside", mill.metric('results_dropped_total{reason="quarantined"}') - before,
           len(frames))
    expect("state", mill.job(job_id)["state"], "queued")
    push(mill, good)
    mill.wait_for_state(job_id, "succeeded")
    return {"cases": len(frames)}


def not_given(mill, size):
    """Ends of jobs that nobody has, that have ended, of attempts to come and gone by."""
    done = id_number(mill.good_job()["id"])
    job_id = held_back(mill)
    number = id_number(job_id)
    late = [event(kind, done, attempt, has_begun=True, result=mp.pack("forged"), code="forged")
            for kind in range(1, 8) for attempt in (1, 2, 7, (1 << 32) - 1)]
    late += [event(kind, number, attempt, has_begun=True, result=mp.pack("forged"))
             for kind in range(1, 8) for attempt in (2, 1000, (1 << 32) - 1)]
    unknown = [event(kind, wrong, has_begun=True) for kind in range(1, 8)
               for wrong in (1, number + (1 << 22), (1 << 63) - 1)]
    names = ['results_dropped_total{reason="late"}', 'results_dropped_total{reason="unknown"}']
    before = [mill.metric(name) for name in names]
    push(mill, *late, *unknown)
    settle(mill)
    after = [mill.metric(name) for name in names]
    expect("dropped", sum(after) - sum(before), len(late) + len(unknown))
    expect("unknown", after[1] - before[1] >= len(unknown), True)
    job = mill.job(job_id)
    expect("the job", (job["state"], job["attempt"]), ("queued", 1))
    push(mill, event(SUCCEEDED, number, has_begun=True, result=mp.pack("mine")))
    expect("result", mill.wait_for_state(job_id, "succeeded")["result"], "mine")
    push(mill, *late)
    settle(mill)
    expect("result", mill.job(job_id)["result"], "mine")
    return {"cases": len(late) + len(unknown)}


BAD_RESULTS = [b"\xc1", b"\x01\x02", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 100000,
               b"\x91" * 102 + b"\1", b"\xa5abc", b"\x81\x01", b"\xc6\xff\xff\xff\xff",
               b"\x01\xa5state\xa6failed"]


def bad_results(mill, size):
    """A result that is no msgpack value would break, or forge, every answer that shows it."""
    for result in BAD_RESULTS:
        job_id = held_back(mill)
        push(mill, event(SUCCEEDED, id_number(job_id), has_begun=True, result=result))
        job = mill.wait_for_state(job_id, "scheduled", "failed")
        expect("code", job["error"]["code"], "bad_result")
        answer = mill.get(f"/v1/jobs/{job_id}", Accept="application/msgpack")
        expect("answer in msgpack", mp.unpack(answer.body)["state"], job["state"])
    return {"cases": len(BAD_RESULTS)}


def extremes(mill, size):
    """The smallest and largest value of every number, one job each; each has its end."""
    most = {"host": (1 << 64) - 1, "slot": 255, "pid": (1 << 31) - 1, "begun_at_ms": (1 << 63) - 1,
            "run_us": (1 << 63) - 1, "signal": 255, "exit_status": 255, "user_us": (1 << 63) - 1,
            "system_us": (1 << 63) - 1, "maxrss_bytes": (1 << 63) - 1,
            "retry_after_ms": 7 * 24 * 3600 * 1000}
    cases = [{name: value} for name, value in most.items()] + [most, {"begun_at_ms": -(1 << 63)}]
    for fields in cases:
        for kind in (SUCCEEDED, FAILED, CRASHED):
            job_id = held_back(mill)
            push(mill, event(RUNNING, id_number(job_id), has_begun=True, **fields),
                 event(kind, id_number(job_id), has_begun=True, retry=2, message="x" * 1024,
                       stderr_tail=b"\xff" * 4096, **fields))
            job = harness.wait_for(lambda: (lambda j: (j["state"] == "succeeded" or j["attempt"] == 2)
                                            and j)(mill.job(job_id)), f"{fields} has its end")
            expect("listed", mill.get(f"/v1/jobs?limit=1&queue={job['queue']}").status, 200)
            expect("explained", mill.get(f"/v1/jobs/{job_id}/explain").status, 200)
    mill.good_job()
    return {"cases": 3 * len(cases)}


def flood(mill, size):
    """So many junk entries between good ones: bounded memory, a bounded quarantine, and jobs end."""
    base = mill.memory()
    mill.reset_peak()
    began = time.monotonic()
    before = mill.metric('results_dropped_total{reason="quarantined"}')
    with tools.Good(mill):
        mill.flood(RESULTS, (os.urandom(20) for _ in range(size)))
        mill.wait_metric('results_dropped_total{reason="quarantined"}', before + size, 240)
    rest = mill.quarantine()
    expect("quarantine is bounded", 0 < rest <= 1000, True)
    grown = mill.peak_memory() - base
    return {"cases": 1, "flood_entries": size, "flood_s": round(time.monotonic() - began, 2),
            "flood_grown_mb": round(grown / 1e6, 1), "quarantine": rest}


def oversized(mill, size):
    """Entries beyond every limit: cut, set aside, and what stands behind them is applied."""
    before = mill.metric('results_dropped_total{reason="quarantined"}')
    job_id = held_back(mill)
    big = event(SUCCEEDED, id_number(job_id), has_begun=True, result=mp.pack(b"x" * (1 << 20)))
    frames = [big + b"\0" * 100000, os.urandom(2 << 20), b"\0" * (size << 20)]
    push(mill, *frames, event(SUCCEEDED, id_number(job_id), has_begun=True, result=mp.pack(7)))
    expect("result", mill.wait_for_state(job_id, "succeeded")["result"], 7)
    mill.wait_metric('results_dropped_total{reason="quarantined"}', before + len(frames))
    return {"cases": len(frames)}


def oversized_list(mill, size):
    """A list of entries that are all too long: behind the first slice they are read one by one, since all of
    each has to be received although little of it is kept."""
    slices = mill.metric("results_slices_total")
    before = mill.metric('results_dropped_total{reason="quarantined"}')
    entry = b"\0" * 1100000
    push(mill, *[entry] * size)
    mill.wait_metric('results_dropped_total{reason="quarantined"}', before + size, 60)
    expect("slices", mill.metric("results_slices_total") - slices >= (size - 128) / 4, True)
    return {"cases": 1}


# As PROTOCOL.md says: one answer of Redis (JM_EVENTS_BYTES and an entry) as hiredis has it, the slice that is
# copied from it, the buffers they were received in, the database's cache.
RESULTS_BYTES = 32 << 20


def large_results(mill, size):
    """So many results of 1 MiB at once, an eighth of them from each of eight hosts: the broker's memory does
    not follow how many there are in a list, and each is applied."""
    jobs = [held_back(mill, queue="large") for _ in range(size)]
    text = "r" * ((1 << 20) - 5)
    mill.reset_peak()
    base = mill.peak_memory()
    began = time.monotonic()
    for at in range(8):
        push(mill, *(event(SUCCEEDED, id_number(job), has_begun=True, result=mp.pack(text)) for job in jobs[at::8]))
    for job in jobs[-8:]:
        mill.wait_for_state(job, "succeeded", deadline_s=120)
    settle(mill)
    took = time.monotonic() - began
    grown = mill.peak_memory() - base
    for job in jobs[:: max(1, size // 50)]:
        expect("result", mill.get(f"/v1/jobs/{job}/result").value == text, True)
    if grown > RESULTS_BYTES:
        raise harness.Failure(f"the broker grew by {grown >> 20} MiB; bound: {RESULTS_BYTES >> 20}")
    return {"cases": 1, "large_results_grown_mb": round(grown / 1e6, 1), "large_results_s": round(took, 2)}


# ---- heartbeats ----

def own_host(mill):
    hosts = mill.get("/v1/workers").value["workers"]
    expect("hosts", len(hosts), 1)
    return hosts[0]


def strange_beats(mill, size):
    """Garbage among the heartbeats is removed, whatever it is; the real host stays."""
    host = own_host(mill)["id"]
    before = mill.metric('beats_refused_total{reason="malformed"}')
    other = beat(int(host, 16), 1 << 60, slots=256, is_draining=True)
    fields = {"": b"", "x": b"junk", "f" * 16: b"\xc1", "0" * 16: beat(0), b"\xff" * 200: b"\x80",
              "giant": b"\0" * (size << 20), "other": other, "1" * 16: other,
              "0" * 15 + "2": beat(2)[:-1] + b"\x02" * 3, "0" * 15 + "3": beat(3, slots=257),
              "0" * 15 + "4": beat(4, held=[[0, 1, 1]])}
    mill.redis_pipe([["HSET", HOSTS, *sum(([name, value] for name, value in fields.items()), [])]])
    mill.wait_metric('beats_refused_total{reason="malformed"}', before + len(fields))
    harness.wait_for(lambda: mill.redis_call("HLEN", HOSTS) == 1, "the strangers are removed")
    now = own_host(mill)
    expect("host", (now["id"], now["slots"], now["is_draining"]), (host, 2, False))
    mill.good_job()
    return {"cases": len(fields)}


def many_beats(mill, size):
    """So many fields that are no beats: the hash is swept, and the real host is back at once."""
    host = own_host(mill)["id"]
    base = mill.memory()
    mill.reset_peak()
    with tools.Good(mill):
        for at in range(0, size, 1000):
            mill.redis_pipe([["HSET", HOSTS, *sum((["%015x" % n, b"\0" * 20]
                                                   for n in range(at, at + 1000)), [])]])
        harness.wait_for(lambda: 0 <= mill.redis_call("HLEN", HOSTS) <= 1, "the hash is swept", 120)
    harness.wait_for(lambda: [h["id"] for h in mill.get("/v1/workers").value["workers"]] == [host],
                     "the real host is there")
    return {"cases": 1, "beats": size, "beats_grown_mb": round((mill.peak_memory() - base) / 1e6, 1)}


def many_hosts(mill, size):
    """Beats of hosts that never were: followed up to a limit, and forgotten as any dead host."""
    own = own_host(mill)["id"]
    died = mill.metric("worker_deaths_total")
    for at in range(1, size, 1000):
        mill.redis_pipe([["HSET", HOSTS, *sum((["%016x" % n, beat(n, slots=256, queues=["default"])]
                                               for n in range(at, at + 1000)), [])]])
    mill.wait_metric("workers", 1024)
    mill.wait_metric('beats_refused_total{reason="too_many"}', 1)
    with tools.Good(mill):
        mill.wait_metric("worker_deaths_total", died + 1023, 60)
    expect("own host is followed", own in [h["id"] for h in mill.get("/v1/workers").value["workers"]],
           True)
    mill.redis_call("DEL", HOSTS)
    harness.wait_for(lambda: mill.metric("workers") == 1, "only the real host is left", 60)
    return {"cases": 1}


def same_host_twice(mill, size):
    """A second writer under the real host's name, with other numbers: nothing worse than that."""
    host = own_host(mill)["id"]
    for seq in range(20):
        mill.redis_call("HSET", HOSTS, host, beat(int(host, 16), (1 << 63) + seq, slots=seq % 3,
                                                  queues=["default"]))
        mill.good_job()
    harness.wait_for(lambda: mp.beat(mill.redis_call("HGET", HOSTS, host))["slots"] == 2,
                     "the real one has the last word")
    seen = mill.metric("redis_round_trips_total")
    harness.wait_for(lambda: mill.metric("redis_round_trips_total") > seen + 3 and
                     own_host(mill)["slots"] == 2, "and is heard")
    return {"cases": 20}


# ---- keys ----

def key_types(mill, size):
    """Each key once as a thing of every other type: it is removed where it is met, and all goes on."""
    keys = {RESULTS: "list", f"{RESULTS}:%d": "list", QUEUE: "list", HOSTS: "hash",
            "jm:epoch": "string"}
    cases = 0
    for name, right in keys.items():
        for kind, words in (("string", ["SET", "{}", "x"]), ("list", ["LPUSH", "{}", "x"]),
                            ("hash", ["HSET", "{}", "f", "x"]), ("set", ["SADD", "{}", "x"])):
            if kind == right:
                continue
            key = name % (mill.metric("results_lists_total") + 1) if "%d" in name else name
            # As one, since the real one is written all the time; and above all it has to be there.
            mill.redis_pipe([["MULTI"], ["DEL", key], [key if w == "{}" else w for w in words],
                             ["EXEC"]])
            mill.good_job(wait=60)
            harness.wait_for(lambda: mill.redis_call("TYPE", key) in (right.encode(), b"none", right, "none", b"+"),
                             f"{key} is a {right} again")
            cases += 1
    harness.wait_for(lambda: len(mill.get("/v1/workers").value["workers"]) == 1, "the host is there")
    return {"cases": cases}


# ---- versions ----

def versions(mill, size):
    """What the next version may bring: unknown fields are passed over, another version is refused, with
    a line in the log and a count; nothing is guessed."""
    job_id = held_back(mill)
    number = id_number(job_id)
    foreign = mill.metric("results_foreign_total")
    push(mill, event(SUCCEEDED, number, version=2, has_begun=True), event(SUCCEEDED, number, version=0),
         mp.pack({0: (1 << 32) - 1, 1: "anything"}))
    settle(mill)
    expect("foreign", mill.metric("results_foreign_total") - foreign, 2)
    expect("state", mill.job(job_id)["state"], "queued")
    push(mill, raw_map([(0, 1), (1, SUCCEEDED), (2, number), (3, 1), (31, [1, {"new": None}]),
                        (32, 1), ((1 << 32) - 1, "far")]))
    mill.wait_for_state(job_id, "succeeded")
    name, beats = "%016x" % 77, 'beats_refused_total{reason="version"}'
    before = mill.metric(beats)
    mill.redis_call("HSET", HOSTS, name, beat(77, version=2, held="another thing"))
    mill.wait_metric(beats, before + 2)
    expect("left to whom it is for", mill.redis_call("HEXISTS", HOSTS, name), 1)
    expect("followed", own_host(mill)["id"] != name, True)
    mill.redis_call("HDEL", HOSTS, name)
    name = "%016x" % 78
    mill.redis_call("HSET", HOSTS, name, raw_map([(0, 1), (1, 78), (2, 1), (12, {"new": 1}), (6, 3)]))
    harness.wait_for(lambda: name in [h["id"] for h in mill.get("/v1/workers").value["workers"]],
                     "a host with an unknown field is followed")
    mill.redis_call("HDEL", HOSTS, name)
    harness.wait_for(lambda: len(mill.get("/v1/workers").value["workers"]) == 1, "it has left")
    told = [line for line in mill.broker.err.splitlines() if "of the protocol" in line]
    expect("lines in the log", 2 <= len(told) < 30, True)
    return {"cases": 6}


# ---- what a worker finds in its lists ----

def junk_jobs(mill, size):
    """A queue's list full of rubbish: the worker drops or fails it, and goes on."""
    worker = mill.workers[-1]
    job_id = held_back(mill, max_attempts=1)
    older = held_back(mill, max_attempts=1)
    unknown = held_back(mill, max_attempts=1)
    newer = bytearray(mp.job(id_number(job_id), "noop", node=0))
    newer[2] = 2  # the version
    frames = [b"", b"\xc1", b"\x80", b"\x91" * 70000, os.urandom(size << 20), mp.pack({0: 1}),
              mp.job(1, "noop", attempt=0), mp.job(1, "x" * 65), mp.job(1, "../../etc/passwd"),
              mp.job(0, "noop"), mp.job(1 << 63, "noop"), mp.job(1, "noop", node=1024),
              mp.job(1, "noop", queue=""), mp.job(2, "echo", args=None) + b"\0",
              raw_map([(0, 1), (1, 0), (2, 3), (3, 1), (6, "q"), (7, "echo"), (8, b"\xc1")]),
              raw_map([(0, 1), (1, 0), (2, 4), (3, 1), (6, "q"), (7, "echo"), (8, b"\x91" * 9000)]),
              mp.job(id_number(unknown), "no-such-task", node=0), bytes(newer),
              raw_map([(0, 0), (2, id_number(older)), (1, 0), (3, 1), (99, None)])]
    mill.redis_pipe([["LPUSH", QUEUE, *frames]])
    mill.flood(QUEUE, (os.urandom(20) for _ in range(1000)))
    mill.good_job(wait=60)
    for job, code in ((job_id, "bad_message"), (older, "bad_message"), (unknown, "unknown_task")):
        expect("code", mill.wait_for_state(job, "failed")["error"]["code" if code == "unknown_task"
                                                                 else "task_code"], code)
    expect("runs", worker.is_running(), True)
    lines = [line for line in worker.err.splitlines() if "decoded" in line or "protocol" in line]
    expect("lines in the log are few", 0 < len(lines) < 60, True)
    return {"cases": len(frames)}


def junk_orders(mill, size):
    """Rubbish and orders about nothing in a host's control list."""
    host = own_host(mill)["id"]
    key = "jm:{c:%s}" % host
    frames = [b"", b"\xc1", os.urandom(size << 20), mp.pack({0: 2, 1: 2}), mp.pack({0: 1, 1: 3}),
              mp.pack({0: 1, 1: 1}), mp.kill_order(12345), mp.kill_order((1 << 63) - 1, (1 << 32) - 1),
              mp.pack({0: 1, 1: True}), b"\x91" * 70000]
    mill.redis_pipe([["LPUSH", key, *frames]])
    mill.flood(key, (os.urandom(20) for _ in range(3000)))
    harness.wait_for(lambda: mill.redis_call("LLEN", key) == 0, "the orders are read")
    mill.good_job()
    own_host(mill)
    expect("runs", mill.workers[-1].is_running(), True)
    lines = [line for line in mill.workers[-1].err.splitlines() if "an order cannot" in line]
    expect("lines in the log are few", 0 < len(lines) < 30, True)
    return {"cases": len(frames)}


ALL = [wrong_types, not_given, bad_results, extremes, versions, junk_jobs, junk_orders, key_types,
       same_host_twice, strange_beats, oversized, oversized_list, large_results, flood, many_beats, many_hosts]
