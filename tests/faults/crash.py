"""Crash points: programs of the flavour `crash` (lib/crash.h) die as by SIGKILL at each of the named
points of a job's life, again and again under load, and a ledger shows that nothing was lost and
nothing applied twice.

usage: crash.py [--deaths N] [--seed S] [--list] [POINT…]

At one point after the other: the program is started so that it dies when it comes there for the n-th
time, n at random; when it has died it is started again, N times. Meanwhile clients submit with and
without waiting, in batches, with delays, cancel, pause and resume, and repeat with its
Idempotency-Key whatever has no answer. Then all programs run on undisturbed until every job has ended,
and the ledger is drawn up. The last line is a JSON summary; exit 1 if anything is wrong.

What a crash of a worker may cost: another run of a job that had begun, and the job itself after three
of them (then it has failed as `crashed` or `host_lost`, with its evidence). What a crash of the broker
may cost: nothing, not even a second run. So the broker's points have a ledger of their own.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sys
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests/integration"))
import harness  # noqa: E402

FINISH_S = 120
ANSWER_S = 600  # a broker that dies ten times a second may not come to it before the storm is over
LEASE = "2s"

# Who dies there, how far its count goes at most, and what is done to bring it there: see Storm.urge.
Point = collections.namedtuple("Point", "program most urge", defaults=(None,))
POINTS = {
    "before-begin": Point("broker", 60),
    "before-commit": Point("broker", 60),
    "in-commit": Point("broker", 60),
    "after-commit": Point("broker", 60),
    "in-sync": Point("broker", 60),
    "after-sync": Point("broker", 60),
    "in-checkpoint": Point("broker", 1, "fill"),
    "submit-back": Point("broker", 60),
    "batch-back": Point("broker", 2, "batch"),
    "cancel-back": Point("broker", 4),
    "before-answer": Point("broker", 80),
    "after-answer": Point("broker", 80),
    "before-push": Point("broker", 40),
    "after-push": Point("broker", 40),
    "backlog-taken": Point("broker", 5),
    "put-back": Point("broker", 2, "pause"),
    "drawn": Point("broker", 2, "pause"),
    "ids-reserved": Point("broker", 1),
    "results-moved": Point("broker", 40),
    "results-read": Point("broker", 40),
    "results-applied": Point("broker", 40),
    "results-removed": Point("broker", 40),
    "verdict-back": Point("broker", 1, "flush"),
    "purged": Point("broker", 1),
    "stopping": Point("broker", 1, "stop"),
    "in-migration": Point("broker", 2, "migrate"),
    "after-migration": Point("broker", 2, "migrate"),
    "claimed": Point("worker", 20),
    "before-begun": Point("worker", 20),
    "begun": Point("worker", 20),
    "task-done": Point("worker", 20),
    "end-kept": Point("worker", 20),
    "end-published": Point("worker", 20),
    "beaten": Point("worker", 2),
    "before-events": Point("worker", 3),
    "events-published": Point("worker", 3),
    "child-dead": Point("worker", 1, "kill-child"),
    "draining": Point("worker", 1, "stop"),
    "taken-back": Point("worker", 1, "stop"),
}
# What is done once for a death, not again and again. And: the child dies there and its parent starts another, which comes there as well.
ONCE = {"stop", "flush"}
IN_CHILD = {"claimed", "before-begun", "begun", "task-done", "end-kept", "end-published"}


def points_in_sources():
    found = set()
    for part in ("lib", "schema", "broker", "worker"):
        for path in (SOURCE / part).glob("*.c"):
            found |= set(re.findall(r'CRASH_(?:POINT|WITHIN)\("([a-z-]+)"\)', path.read_text()))
    return found


class Clients:
    """Submit without end, each under a key of its own, until told to stop."""

    KINDS = ("plain", "plain", "wait", "wait", "batch", "long", "delayed", "cancel", "brief")

    def __init__(self, mill, seed):
        self.mill = mill
        self.ledger = mill.dir / "ledger"
        self.ids = {}         # key → id, of everything that was accepted
        self.cancelled = set()  # keys whose cancel may have been carried out
        self.faults = []
        self.lock = threading.Lock()
        self.is_over = threading.Event()
        self.rests = threading.Event()
        self.number = 0
        self.threads = [threading.Thread(target=self.run, args=(random.Random(f"{seed}/{n}"),))
                        for n in range(3)]
        for thread in self.threads:
            thread.start()

    def run(self, dice):
        try:
            while not self.is_over.is_set():
                self.rests.wait(0.02)
                self.act(dice, dice.choice(self.KINDS))
        except Exception as error:  # pylint: disable=broad-except
            self.faults.append(f"a client failed: {error!r}")

    def next_key(self):
        with self.lock:
            self.number += 1
            return f"k{self.number}"

    def job(self, key, **fields):
        return {"task": "ledger", "args": {"k": key, "path": str(self.ledger)}, **fields}

    def act(self, dice, kind):
        key = self.next_key()
        if kind == "batch":
            self.submit_batch([self.next_key() for _ in range(dice.randint(2, 30))],
                              dice.random() < 0.3)
        elif kind == "wait":
            self.submit(key, "/v1/jobs?wait=1", self.job(key))
        elif kind == "long":
            self.submit(key, "/v1/jobs", {"task": "sleep", "args": {"ms": dice.randint(50, 120)}})
        elif kind == "delayed":
            self.submit(key, "/v1/jobs", self.job(key, delay_ms=dice.randint(1, 1500)))
        elif kind == "cancel":
            self.cancel(key, self.submit(key, "/v1/jobs", self.job(key, delay_ms=dice.choice((0, 300)))))
        elif kind == "brief":  # goes soon after its end; in a queue of its own, which is not counted
            self.call("POST", "/v1/jobs", {"task": "noop", "queue": "brief", "retain_ms": 1}, "b" + key)
        else:
            self.submit(key, "/v1/jobs", self.job(key, priority=dice.randint(1, 9)))

    def call(self, method, path, body, key=None):
        """Repeats what has no answer. 5xx is an answer only if nothing was done, and repeated too."""
        def attempt():
            try:
                answer = self.mill.call(method, path, body, {"Idempotency-Key": key} if key else {})
            except (OSError, http.client.HTTPException, socket.timeout):
                return None
            return answer if answer.status < 500 else None
        return harness.wait_for(attempt, f"{method} {path} is answered", ANSWER_S)

    def submit(self, key, path, body):
        answer = self.call("POST", path, body, key)
        if answer.status not in (200, 201, 202):
            raise harness.Failure(f"submit: {answer}")
        self.accept(key, answer.value["id"])
        return answer.value["id"]

    def accept(self, key, job_id):
        with self.lock:
            if self.ids.setdefault(key, job_id) != job_id:
                self.faults.append(f"{key} is {self.ids[key]} and {job_id}")

    def submit_batch(self, keys, is_atomic):
        items = [self.job(key, idempotency_key=key) for key in keys]
        answers = []
        def is_answered():
            answer = self.call("POST", f"/v1/jobs/batch?atomic={'true' if is_atomic else 'false'}", items)
            try:
                answers[:] = answer.value
            except ValueError:
                return False  # cut off in the middle: said again
            return answer.status == 200 and len(answers) == len(keys) and all("id" in a for a in answers)
        harness.wait_for(is_answered, "a batch is answered", ANSWER_S)
        for key, one in zip(keys, answers):
            self.accept(key, one["id"])

    def cancel(self, key, job_id):
        with self.lock:
            self.cancelled.add(key)
        answer = self.call("POST", f"/v1/jobs/{job_id}/cancel", None)
        if answer.status not in (200, 409):
            self.faults.append(f"cancel: {answer}")

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join()


class Storm:
    """Everything that runs, and the deaths."""

    def __init__(self, mill, options):
        self.mill = mill
        self.dice = random.Random(options.seed)
        self.log = mill.dir / "deaths"
        self.log.touch()
        self.deaths = collections.Counter()

    def env(self, name=None, count=0):
        return {"JM_CRASH_LOG": str(self.log), "JM_CRASH_AT": f"{name}:{count}" if name else ""}

    def start_broker(self, name=None, count=0, waits=True):
        self.mill.start_broker("--lease", LEASE, "--retain", "1h", env=self.env(name, count), waits=False)
        if waits:
            self.wait_for_broker()

    def wait_for_broker(self):
        def is_up():
            if not self.mill.broker.is_running():
                return True  # it died on its way, which is fine if that was asked for
            try:
                return self.mill.get("/healthz").status == 200
            except (OSError, http.client.HTTPException):
                return False
        harness.wait_for(is_up, "the broker answers or dies")

    def start_worker(self, name=None, count=0):
        self.mill.start_worker("--slots", "2", "--queues", "default,brief", "--test-tasks", "--drain-grace", "200ms",
                               env=self.env(name, count))

    def died(self, name):
        return sum(line.split()[0] == name for line in self.log.read_text().splitlines())

    # ---- what brings a program to a point ----

    def urge(self, urge, program):
        act = getattr(self, "urge_" + urge.replace("-", "_")) if urge else None
        if act:
            try:
                act(program)
            except (OSError, http.client.HTTPException, harness.Failure):
                pass  # it is dead: that was the aim

    def urge_fill(self, _):
        """The log grows beyond what a checkpoint is worth."""
        self.mill.post("/v1/jobs/batch", [{"task": "noop", "queue": "parked", "args": "x" * 3000}] * 500)

    def urge_batch(self, _):
        self.mill.post("/v1/jobs/batch?atomic=true", [{"task": "noop", "queue": "parked"}] * 3)

    def urge_pause(self, _):
        self.mill.post("/v1/jobs/batch", [{"task": "noop", "queue": "brief", "retain_ms": 1}] * 500)
        for step in ("pause", "resume"):
            self.mill.post(f"/v1/queues/brief/{step}")

    def urge_flush(self, _):
        """What is out in a queue that nobody serves is gone, which the broker finds out within two beats
        of the hosts."""
        self.mill.post("/v1/jobs/batch", [{"task": "noop", "queue": "parked"}] * 5)
        self.mill.redis_call("FLUSHALL")

    def urge_stop(self, program):
        time.sleep(self.dice.random() * 0.1)  # at any moment of its work
        program.is_expected_to_fail = True
        program.send(signal.SIGTERM)

    def urge_kill_child(self, program):
        pids = pathlib.Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        if pids:
            os.kill(int(pids[0]), signal.SIGKILL)

    # ---- deaths ----

    def die_at(self, name, deaths):
        point = POINTS[name]
        self.run_other(point)
        if point.urge == "migrate":
            self.die_in_migrations(name, deaths)
        elif name in IN_CHILD:
            self.die_in_children(name, deaths)
        else:
            for _ in range(deaths):
                self.die_once(name, point)
        self.deaths[name] += self.died(name)

    def run_other(self, point):
        """What is not to die runs unarmed."""
        if point.program == "broker" and not self.mill.workers[-1].is_running():
            self.start_worker()
        elif point.program == "worker" and not self.mill.broker.is_running():
            self.start_broker()

    def die_once(self, name, point):
        """The program is restarted until it has died there: it may end before it comes there, when what
        is to bring it there is its own end."""
        before = self.died(name)
        begun = time.monotonic()
        while self.died(name) == before:
            if time.monotonic() - begun > 60:
                raise harness.Failure(f"nobody comes to {name}")
            self.restart(name, point)
            program = self.program(point)
            self.wait_for_end(program, point)
            program.kill()

    def program(self, point):
        return self.mill.broker if point.program == "broker" else self.mill.workers[-1]

    def restart(self, name, point):
        program = self.program(point)
        program.kill()
        count = self.dice.randint(1, point.most)
        if point.program == "broker":
            self.start_broker(name, count)
        else:
            self.start_worker(name, count)

    def wait_for_end(self, program, point):
        end = time.monotonic() + 10
        urged = 0
        while program.is_running() and time.monotonic() < end:
            if point.urge and (urged == 0 or point.urge not in ONCE and time.monotonic() - urged > 0.3):
                self.urge(point.urge, program)
                urged = time.monotonic()
            try:
                program.process.wait(0.02)
            except Exception:  # pylint: disable=broad-except
                continue

    def die_in_children(self, name, deaths):
        worker = self.mill.workers[-1]
        worker.kill()
        self.start_worker(name, self.dice.randint(1, POINTS[name].most))
        harness.wait_for(lambda: self.died(name) >= deaths, f"{deaths} children die at {name}", 30 + 3 * deaths)
        self.mill.workers[-1].kill()
        self.start_worker()

    def die_in_migrations(self, name, deaths):
        """Of a new database: each time one that is not there yet, then started again unarmed."""
        for n in range(deaths):
            path = self.mill.dir / f"{name}-{n}.db"
            socket_path = self.mill.dir / f"{name}-{n}.sock"
            words = (harness.BIN / "jobmill-broker", "--listen", f"unix:{socket_path}", "--db", path,
                     "--redis", f"unix:{self.mill.dir / 'nowhere.sock'}", "--log-level", "error")
            first = self.mill.start("new", *words, env=self.env(name, self.dice.randint(1, 2)))
            first.is_expected_to_fail = True
            if first.wait() != -signal.SIGKILL:
                raise harness.Failure(f"{name}: ended otherwise: {first.err}")
            again = self.mill.start("new", *words)
            harness.wait_for(socket_path.exists, f"it starts after a death at {name}")
            if again.stop() != 0:
                raise harness.Failure(f"{name}: {again.err}")

    def calm(self):
        """Both programs run unarmed; a worker that was never armed is left alone."""
        if self.mill.broker.is_running():
            self.mill.broker.kill()
        self.start_broker()
        if self.mill.workers[-1].is_expected_to_fail:
            self.mill.workers[-1].kill()
            self.start_worker()


def is_over(mill):
    counts = mill.get("/v1/queues/default").value["jobs"]
    return counts["queued"] + counts["running"] + counts["scheduled"] == 0 and counts


def read_runs(ledger):
    runs = collections.defaultdict(list)
    if ledger.exists():
        for line in ledger.read_text().splitlines():
            key, attempt = line.split()
            runs[key].append(int(attempt))
    return runs


def judge_job(key, job, runs, was_cancelled):
    """What is wrong with one job, in words."""
    state = job["state"]
    if len(set(runs)) != len(runs):
        yield f"{key} ran twice as one attempt: {runs}"
    attempts = [a["attempt"] for a in job.get("attempts", [])]
    if len(set(attempts)) != len(attempts):
        yield f"{key}: two ends of one attempt were applied: {attempts}"
    if any(attempt > job["attempt"] for attempt in runs):
        yield f"{key} ran as attempt {max(runs)} and is at {job['attempt']}"
    if state == "cancelled" and was_cancelled:
        return
    if state == "failed" and job["error"]["code"] in ("crashed", "host_lost", "lost"):
        return
    if state != "succeeded":
        yield f"{key} is {state}: {job.get('error')}"
    elif job["task"] == "ledger" and not runs:
        yield f"{key} succeeded and never ran"


def draw_up(mill, clients, may_run_twice):
    """The ledger, and everything that is wrong."""
    counts = harness.wait_for(lambda: is_over(mill), "every accepted job ends", FINISH_S)
    runs = read_runs(clients.ledger)
    violations = list(clients.faults)
    ended = collections.Counter()
    for key, job_id in clients.ids.items():
        answer = mill.get(f"/v1/jobs/{job_id}")
        if answer.status != 200:
            violations.append(f"{key} ({job_id}) is lost: {answer}")
            continue
        ended[answer.value["state"]] += 1
        violations += judge_job(key, answer.value, runs.get(key, []), key in clients.cancelled)
        if len(runs.get(key, [])) > 1 and not may_run_twice:
            violations.append(f"{key} ran as {runs[key]} though no worker died: {answer.value}")
    if len(set(clients.ids.values())) != len(clients.ids):
        violations.append("two keys have one job")
    stored = sum(counts.values())
    if stored != len(clients.ids):
        violations.append(f"{len(clients.ids)} jobs were accepted and {stored} are there")
    return {"accepted": len(clients.ids), **ended,
            "further_runs": sum(len(r) - 1 for r in runs.values() if len(r) > 1),
            "violations": violations}


def run_points(names, options, may_run_twice):
    """One ledger: deaths at each of the points, then the end of every job."""
    began = time.monotonic()
    with harness.Mill() as mill:
        mill.start_redis()
        storm = Storm(mill, options)
        storm.start_broker()
        storm.start_worker()
        clients = Clients(mill, options.seed)
        try:
            for name in names:
                storm.die_at(name, options.deaths)
                print(f"{name:18} {storm.deaths[name]:4} deaths, {len(clients.ids):6} jobs accepted, "
                      f"{time.monotonic() - began:.0f} s", flush=True)
        finally:
            storm.calm()
            clients.stop()
        calm = time.monotonic()
        found = draw_up(mill, clients, may_run_twice)
        found.update(kills=sum(storm.deaths.values()), points=len(storm.deaths),
                     recovery_s=round(time.monotonic() - calm, 1))
        if found["violations"]:
            keep = SOURCE / "build" / "crash-failed"
            shutil.rmtree(keep, ignore_errors=True)
            shutil.copytree(mill.dir, keep, ignore=shutil.ignore_patterns("*.sock"))
    return found


def run(options):
    began = time.monotonic()
    names = options.points or list(POINTS)
    summary = collections.Counter()
    violations = []
    for may_run_twice in (False, True):
        group = [n for n in names
                 if may_run_twice == (POINTS[n].program == "worker" or POINTS[n].urge == "flush")]
        if group:
            found = run_points(group, options, may_run_twice)
            violations += found.pop("violations")
            summary.update(found)
    print(json.dumps({"part": "crash", "seed": options.seed, **summary, "lost": sum(
        "is lost" in v for v in violations), "violations": violations,
        "seconds": round(time.monotonic() - began)}))
    return 1 if violations else 0


def main():
    parser = argparse.ArgumentParser(description="Crash points")
    parser.add_argument("--deaths", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("points", nargs="*", metavar="POINT")
    options = parser.parse_args()
    if set(POINTS) != points_in_sources():
        sys.exit(f"the list and the sources differ: {set(POINTS) ^ points_in_sources()}")
    if unknown := set(options.points) - set(POINTS):
        parser.error(f"there is no point {', '.join(unknown)}")
    if options.list:
        print("\n".join(POINTS))
        return 0
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
