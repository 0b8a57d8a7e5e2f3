"""Crash points: programs of the flavour `crash` (lib/crash.h) die as by SIGKILL at each of the named
points of a job's life, again and again under load, and a ledger shows that nothing was lost and
nothing applied twice.

usage: crash.py [--deaths N] [--seed S] [--list] [POINT…]

At one point after the other: the program is started so that it dies when it comes there for the n-th
time, n at random; when it has died it is started again, N times. Meanwhile clients (client.py) do all
they can. Then all programs run on undisturbed until every job has ended, and the history is checked
(history.py). The last line is a JSON summary; exit 1 if anything is wrong.

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
import sys
import time

import history
import load

from load import harness

SOURCE = pathlib.Path(__file__).resolve().parents[2]
CLIENTS, PACE = 2, 200  # processes; jobs a second of all together
FINISH_S = 120
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
    "cancel-back": Point("broker", 2),
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
    "purged": Point("broker", 1, "brief"),
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
    "taken-back": Point("worker", 1, "stop-laden"),
}
# What is done once for a death, not again and again. And: the child dies there and its parent starts
# another, which comes there as well.
ONCE = {"stop", "stop-laden", "flush"}
IN_CHILD = {"claimed", "before-begun", "begun", "task-done", "end-kept", "end-published"}


def points_in_sources():
    found = set()
    for part in ("lib", "schema", "broker", "worker"):
        for path in (SOURCE / part).glob("*.c"):
            found |= set(re.findall(r'CRASH_(?:POINT|WITHIN)\("([a-z-]+)"\)', path.read_text()))
    return found


class Storm:
    """Everything that runs, and the deaths."""

    def __init__(self, mill, options):
        self.mill = mill
        self.dice = random.Random(options.seed)
        self.load = load.Load(mill, options.seed, mill.socket_path)
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
        self.mill.start_worker("--slots", "2", "--queues", ",".join((*load.QUEUES, "brief")),
                               "--test-tasks", "--tasks-dir", self.load.tasks, "--drain-grace",
                               "200ms", env=self.env(name, count))

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

    def urge_brief(self, _):
        """They go soon after their end."""
        self.mill.post("/v1/jobs/batch", [{"task": "noop", "queue": "brief", "retain_ms": 1}] * 3)

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

    def urge_stop_laden(self, program):
        """Its children have claimed several short jobs each, and know how short these are."""
        waiting = self.mill.get("/v1/queues/brief").value.get("jobs", {}).get("queued", 0)
        if waiting < 1000:
            self.mill.post("/v1/jobs/batch", [{"task": "sleep", "args": {"ms": 1}, "queue": "brief",
                                               "retain_ms": 1}] * 1000)
        time.sleep(self.dice.random() * 0.4)
        self.urge_stop(program)

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


def draw_up(storm, may_run_twice):
    """The ledger, and everything that is wrong."""
    load = storm.load
    harness.wait_for(load.is_idle, "every accepted job ends", FINISH_S)
    events = list(load.events())
    events += load.last_read(history.History(events).ids, storm.dice)
    found, ledger = history.check(events)
    violations = [f"{one.kind}: {one.message}" for one in found]
    if ledger["further runs"] and not may_run_twice:
        violations.append(f"{ledger['further runs']} further runs though no worker died")
    return {**ledger, "violations": violations}


def keep(mill):
    """What is needed to look at a violation."""
    kept = SOURCE / "build" / "crash-failed"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(mill.dir, kept, ignore=shutil.ignore_patterns("*.sock"))


def run_points(names, options, may_run_twice):
    """One ledger: deaths at each of the points, then the end of every job."""
    began = time.monotonic()
    with harness.Mill() as mill:
        mill.start_redis()
        storm = Storm(mill, options)
        storm.start_broker()
        storm.load.set_queues()
        storm.start_worker()
        storm.load.start(CLIENTS, PACE)
        for name in names:
            storm.die_at(name, options.deaths)
            print(f"{name:18} {storm.deaths[name]:4} deaths, {time.monotonic() - began:.0f} s",
                  flush=True)
        storm.calm()
        storm.load.stop()
        calm = time.monotonic()
        found = draw_up(storm, may_run_twice)
        found.update(kills=sum(storm.deaths.values()), points=len(storm.deaths),
                     recovery_s=round(time.monotonic() - calm, 1))
        if found["violations"]:
            keep(mill)
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
    print(json.dumps({"part": "crash", "seed": options.seed, **summary,
                      "violations": violations,
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
