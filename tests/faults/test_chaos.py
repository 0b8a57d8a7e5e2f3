"""A short piece of `./dev faults`: each kind of fault once, under load, with a ledger; kinds that must
cost no second run, alone; and a proof that the ledger sees a job that is gone."""

import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest

import chaos
import kinds
import world as world_module

from world import harness

SECONDS, PACE = 10, 60  # no less than each kind once
QUIET_SECONDS = 3
KEPT = pathlib.Path(os.environ.get("JM_BUILD", "build/release")) / "faults-failed"


def say(text):
    print(text, flush=True)


class Chaos(unittest.TestCase):
    def test_no_fault_costs_a_job(self):
        outcome = chaos.run(SECONDS / 60, 1, say=say, pace=PACE, kept=KEPT)
        say(outcome["ledger"])
        self.assertEqual(outcome["violations"], [])
        self.assertGreater(outcome["ledger"]["accepted"], 100)

    def test_what_hurts_only_the_broker_runs_nothing_twice(self):
        chosen = ["broker: SIGKILL", "broker: SIGSTOP", "broker: restart", "HTTP: cut in mid-word"]
        self.assertFalse(any(kinds.KINDS[name].reruns for name in chosen))
        outcome = chaos.run(QUIET_SECONDS / 60, 2, chosen, say=say, pace=PACE)
        self.assertEqual(outcome["violations"], [])
        self.assertEqual(outcome["ledger"]["further runs"], 0)

    def test_redis_may_be_down_at_start_and_submits_go_on(self):
        with harness.Mill() as mill:
            mill.start_broker()
            job = mill.submit("echo", 7)
            self.assertEqual(mill.get("/readyz").value["status"], "degraded")
            mill.start_redis()
            mill.start_worker()
            self.assertEqual(mill.wait_for_state(job["id"], "succeeded")["result"], 7)


class Proof(unittest.TestCase):
    """That cannot fail is no test: here a job is taken away behind the broker's back."""

    def test_a_row_that_is_deleted_under_the_broker_is_reported_as_lost(self):
        with world_module.World([], has_disk=False, has_network=False) as world:
            run = chaos.Chaos(world, 1, [], say)
            world.load.start(1, PACE)
            harness.wait_for(lambda: world.get("/v1/queues/one").value["jobs"]["succeeded"] > 3,
                             "some jobs have ended")
            run.settle()
            world.broker.stop()
            self.delete_one(world.db_path)
            world.broker.is_expected_to_fail = True  # it has ended; a new one follows
            world.start_broker()
            run.check()
            self.assertIn("lost", {violation.kind for violation in run.violations})

    def delete_one(self, path):
        db = sqlite3.connect(path)
        with db:
            job_id, = db.execute("SELECT max(id) FROM ends WHERE state = (SELECT max(state) FROM ends"
                                 ") AND id IN (SELECT id FROM jobs)").fetchone()
            db.execute("DELETE FROM ends WHERE id = ?", (job_id,))
            db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
        db.close()

    def test_a_ctrl_c_leaves_nothing_behind(self):
        command = [sys.executable, "-B", str(world_module.FAULTS / "faults.py"), "--minutes", "5"]
        with tempfile.TemporaryDirectory() as place, \
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True,
                                 env={**os.environ, "TMPDIR": place}) as running:
            harness.wait_for(lambda: list(pathlib.Path(place).glob("jm-*/runs")), "it has begun")
            os.killpg(running.pid, signal.SIGINT)
            out = running.communicate(timeout=60)[0]
            self.assertEqual(running.returncode, 130, out)
            self.assertEqual(os.listdir(place), [])
            self.assertEqual(of_session(running.pid), [])
            self.assertNotIn(f"jm{running.pid % 1000000}x", os.listdir("/sys/class/net"))
            self.assertNotIn(place, pathlib.Path("/proc/self/mounts").read_text())


def of_session(leader):
    """The processes that are left of it."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[3]) == leader and words[0] != "Z":
            found.append(stat.parent.name)
    return found


if __name__ == "__main__":
    unittest.main()
