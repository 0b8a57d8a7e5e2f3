"""How long it takes until all goes on: a broker, a worker child, a worker host are killed."""

import datetime
import os
import signal
import time

import proc
from measure import refill
from mill import BIN, Mill, answers_ok, wait_until


def restart_broker(mill):
    """Seconds from its start until /readyz is 200."""
    began = time.monotonic()
    mill.broker = mill.start(
        BIN / "jobmill-broker", "--listen", f"127.0.0.1:{mill.port}", "--redis", f"unix:{mill.redis}", "--db",
        mill.database, "--log-level", "error")
    wait_until(lambda: answers_ok(mill.port, "/readyz"), 60, "the broker is ready")
    mill.parts["broker"] = [mill.broker.pid]
    return time.monotonic() - began


def last_growth(mill, name, until, seconds):
    """(When a figure of /metrics grew last, by how much it grew in all), looking until `until` is true."""
    at, value, end = time.monotonic(), 0, time.monotonic() + seconds
    while True:
        found = mill.metrics()
        if found[name] > value:
            at, value = time.monotonic(), found[name]
        if until(found):
            return at, value
        assert time.monotonic() < end, f"{name} is {value}: not within {seconds} s"
        time.sleep(0.005)


def signal_all(pids, number):
    for pid in pids:
        os.kill(pid, number)


def crash_broker(mill, live):
    """Kills the broker with `live` jobs and a full window, loses what is dispatched, and sees it sent again.
    The children hold still meanwhile, or they would have worked off the window before it can be lost."""
    children = mill.parts["children"]
    refill(mill, live)  # the window grows while these are worked off
    wait_until(mill.is_empty, 60, "the first jobs end")
    signal_all(children, signal.SIGSTOP)
    refill(mill, live)
    time.sleep(0.3)  # the window fills
    counts = mill.counts()
    mill.end(mill.broker, signal.SIGKILL)
    lost = int(mill.command("LLEN", "jm:{q:default}"))
    mill.command("DEL", "jm:{q:default}")
    began = time.monotonic()
    ready = restart_broker(mill)
    signal_all(children, signal.SIGCONT)
    at, sent = last_growth(mill, 'attempt_ends_total{cause="lost"}', lambda found: sum(
        found[f'jobs{{queue="default",state="{state}"}}'] for state in ("queued", "dispatched", "running")) == 0,
                           60)
    return {"ready": ready, "resent": at - began, "live": counts["queued"] + counts["running"], "lost": lost,
            "sent": sent}


def row_restart(row):
    """the broker is killed with 100,000 live jobs and 10,000,000 finished and the jobs in Redis are lost: \
until it serves, and until every lost job is sent again"""
    finished, live = row.size(10000000), row.size(100000)
    mill = Mill(2, finished)
    found = [crash_broker(mill, live) for _ in range(max(1, row.rounds // 3))]
    counts = mill.counts()
    mill.stop()
    row.value("live jobs when it was killed", [r["live"] for r in found], "jobs")
    row.value("of these in Redis, and lost", [r["lost"] for r in found], "jobs")
    row.value("sent again", [r["sent"] for r in found], "jobs")
    assert counts["failed"] == counts["queued"] == counts["running"] == 0, counts
    assert all(r["sent"] >= r["lost"] > 0 for r in found), found
    row.verdict("until /readyz is 200", row.value("until /readyz is 200", [r["ready"] for r in found], "s"),
                "≤", 0.5, "s")
    row.verdict("until all are sent again", row.value("until all are sent again", [r["resent"] for r in found],
                                                      "s"), "≤", 3, "s")


def begun_s(job):
    return datetime.datetime.fromisoformat(job["begun_at"].replace("Z", "+00:00")).timestamp()


def start_long(mill):
    job = mill.call("POST", "/v1/jobs", {"task": "sleep", "args": {"ms": 600000}})["id"]
    wait_until(lambda: mill.call("GET", f"/v1/jobs/{job}")["state"] == "running", 20, "the job runs")
    return job


def begins_again(mill, job, first, seconds):
    """When the job begun at `first` began once more, in seconds since 1970."""
    def look():
        found = mill.call("GET", f"/v1/jobs/{job}")
        return found["state"] == "running" and begun_s(found) > first and begun_s(found)
    return wait_until(look, seconds, "the job begins again")


def end_job(mill, job):
    mill.call("POST", f"/v1/jobs/{job}/cancel")
    wait_until(lambda: mill.call("GET", f"/v1/jobs/{job}")["state"] == "cancelled", 20, "the cancel")


def row_child(row):
    """the one child of a worker host is killed: until its job starts again, in a new child"""
    mill = Mill()
    worker = mill.start_worker(1)
    times = []
    for _ in range(row.rounds):
        job = start_long(mill)
        first = begun_s(mill.call("GET", f"/v1/jobs/{job}"))
        time.sleep(0.01)
        killed = time.time()
        signal_all(proc.children(worker.pid), signal.SIGKILL)
        times.append((begins_again(mill, job, first, 20) - killed) * 1000)
        end_job(mill, job)
    mill.stop()
    row.value(f"{len(times)} times, median", times, "ms")
    row.verdict("the longest", max(times), "≤", 100, "ms")


def row_host(row):
    """a worker host is killed, with its children: until its job starts again on another, lease 15 s"""
    mill = Mill()
    times = []
    for _ in range(1 if row.rounds < 6 else 2):
        doomed = mill.start_worker(1)
        job = start_long(mill)
        first = begun_s(mill.call("GET", f"/v1/jobs/{job}"))
        other = mill.start_worker(1)
        killed = time.time()
        mill.end(doomed, signal.SIGKILL)
        times.append(begins_again(mill, job, first, 60) - killed)
        end_job(mill, job)
        mill.end(other)
    mill.stop()
    row.value("until it starts again", times, "s")
    row.verdict("the longest", max(times), "≤", 17, "s")
