"""Damage, and what becomes of it, with the real programs: the broker refuses or ends with a sentence,
`jobmill doctor` explains and mends, and the jobs go on."""

import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import unittest

import harness

HEALTHY, FINDINGS, CANNOT_RUN = range(3)
JOBS = 40


def doctor(mill, *args):
    return subprocess.run([harness.BIN / "jobmill", "doctor", f"--db={mill.db_path}", *args],
                          capture_output=True, text=True, timeout=60)


def open_quietly(mill):
    """As another program would, but without moving the log."""
    return sqlite3.connect(f"file:{mill.db_path}?mode=rw", uri=True, isolation_level=None)


class Damage(unittest.TestCase):
    def prepare(self, mill):
        """A broker with jobs that wait and some that have ended; then a clean stop."""
        mill.start_redis()
        mill.start_broker()
        worker = mill.start_worker("--test-tasks")
        mill.wait_for_workers()
        done = [mill.submit("echo", n, wait=20)["id"] for n in range(3)]
        worker.stop()
        waiting = [mill.submit("echo", n, queue="later")["id"] for n in range(JOBS)]
        return done, waiting

    def refused(self, mill, words):
        """A start that ends at once with a sentence; no job is touched by it."""
        broker = mill.start_broker(waits=False)
        self.assertNotEqual(broker.wait(), 0)
        broker.is_expected_to_fail = True
        self.assertRegex(broker.err, words)
        self.assertIn(str(mill.db_path), broker.err)

    def examined(self, mill, status, *args):
        run = doctor(mill, *args)
        self.assertEqual(run.returncode, status, run.stdout + run.stderr)
        return run.stdout + run.stderr

    def goes_on(self, mill, done, waiting, lost=()):
        """Every job is there; those that wait are run."""
        mill.start_broker()
        mill.start_worker("--test-tasks", "--queues", "default,later")
        for job in done:
            self.assertEqual(mill.job(job)["state"], "succeeded")
        for n, job in enumerate(waiting):
            state = mill.job(job, wait=20)
            if job in lost:
                self.assertEqual((state["state"], state["error"]["code"]), ("failed", "lost"))
            else:
                self.assertEqual((state["state"], state["result"]), ("succeeded", n))

    def test_a_log_that_is_missing_after_a_crash(self):
        with harness.Mill() as mill:
            done, waiting = self.prepare(mill)
            mill.broker.kill()
            log = mill.dir / "jobs.db-wal"
            kept = log.read_bytes()
            log.unlink()
            self.refused(mill, r"jobs\.db-wal, the log of the newest commits, is missing")
            self.assertIn("FOUND   files", self.examined(mill, FINDINGS))
            log.write_bytes(kept)  # the remedy that loses nothing
            self.examined(mill, HEALTHY)
            self.goes_on(mill, done, waiting)

    def test_a_log_that_another_program_has_moved_after_a_crash(self):
        with harness.Mill() as mill:
            done, waiting = self.prepare(mill)
            mill.broker.kill()
            db = sqlite3.connect(mill.db_path)
            self.assertEqual(db.execute("SELECT count(*) FROM live").fetchone(), (JOBS,))
            db.close()
            self.assertFalse((mill.dir / "jobs.db-wal").exists())
            self.examined(mill, HEALTHY)
            self.goes_on(mill, done, waiting)

    def test_a_log_that_is_damaged_after_a_crash_is_given_up_on_order(self):
        with harness.Mill() as mill:
            self.prepare(mill)
            mill.broker.kill()
            with open(mill.dir / "jobs.db-wal", "r+b") as log:
                log.seek(-6000, os.SEEK_END)
                log.write(b"?" * 100)
            self.refused(mill, r"is (cut or )?damaged")
            self.examined(mill, FINDINGS)
            self.refused(mill, r"is (cut or )?damaged")  # looking has changed nothing
            out = self.examined(mill, HEALTHY, "--repair")
            backup = re.search(r"as they were before: (\S+)", out)[1]
            self.assertTrue(os.path.exists(backup + "-wal"))
            mill.start_broker()
            mill.submit("echo", 1)

    def test_pages_that_are_damaged(self):
        with harness.Mill() as mill:
            done, waiting = self.prepare(mill)
            mill.broker.stop()
            db = open_quietly(mill)
            root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'live'").fetchone()[0]
            db.close()
            with open(mill.db_path, "r+b") as file:
                file.seek((root - 1) * 4096)
                file.write(os.urandom(4096))
            self.refused(mill, r"is damaged .* run `jobmill doctor --db FILE`")
            found = json.loads(self.examined(mill, FINDINGS, "--json"))
            self.assertEqual(found["status"], "damaged")
            self.assertIn("pages", {finding["code"] for finding in found["findings"]})
            mended = json.loads(self.examined(mill, HEALTHY, "--json", "--repair"))
            self.assertEqual(mended["status"], "mended")
            self.assertEqual(sorted(mended["lost"]), sorted(waiting))
            self.assertEqual(mended["unnamed"], 0)
            self.assertEqual(json.loads(self.examined(mill, HEALTHY, "--json"))["findings"], [])
            self.goes_on(mill, done, waiting, lost=waiting)
            self.assertEqual(mill.post(f"/v1/jobs/{waiting[0]}/retry").status, 200)
            self.assertEqual(mill.job(waiting[0], wait=20)["result"], 0)

    def test_counts_that_are_wrong(self):
        with harness.Mill() as mill:
            done, waiting = self.prepare(mill)
            mill.broker.stop()
            db = open_quietly(mill)
            db.execute("UPDATE counts SET dispatched = dispatched + 2")
            db.close()
            self.refused(mill, "its jobs are not as many as it counted")
            self.assertIn("FOUND   counts", self.examined(mill, FINDINGS))
            self.assertIn("mended  counts", self.examined(mill, HEALTHY, "--repair"))
            self.goes_on(mill, done, waiting)

    def test_damage_that_a_read_meets_is_told_and_the_rest_is_served(self):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            mill.start_worker()
            jobs = [mill.submit("echo", f"needle-{n:03}" + "x" * 300, wait=20)["id"] for n in range(100)]
            mill.broker.stop()
            broker = mill.start_broker()
            data = pathlib.Path(mill.db_path).read_bytes()
            page = data.index(b"needle-030") // 4096
            on_page = {jobs[n] for n in range(100) if data.find(b"needle-%03d" % n, page * 4096,
                                                                (page + 1) * 4096) >= 0}
            with open(mill.db_path, "r+b") as file:
                file.seek(page * 4096)
                file.write(b"\xa5" * 4096)
            answers = {job: mill.get(f"/v1/jobs/{job}") for job in jobs}
            self.assertGreater(len(on_page), 3)
            self.assertEqual({job for job in jobs if answers[job].status != 200}, on_page)
            for job in on_page:
                self.assertEqual((answers[job].status, answers[job].code), (500, "database_corrupt"))
                self.assertIn("jobmill doctor", answers[job].value["detail"])
            for path in (f"/v1/jobs/{jobs[30]}/result", f"/v1/jobs/{jobs[30]}/explain",
                         f"/v1/jobs/{jobs[30]}?wait=5", "/v1/jobs?limit=1000"):
                self.assertEqual(mill.get(path).code, "database_corrupt", path)
            self.assertEqual(mill.post("/v1/jobs/retry?task=echo&state=succeeded").code, "database_corrupt")
            self.assertEqual(mill.submit("echo", 1, wait=20)["result"], 1)
            self.assertEqual(len(mill.get("/v1/jobs?limit=20").value["jobs"]), 20)
            told = [line for line in broker.err.splitlines() if "run `jobmill doctor --db FILE`" in line]
            self.assertEqual(len(told), 1, broker.err)
            self.assertRegex(mill.get("/metrics").body.decode(),
                             rf"(?m)^jobmill_damaged_reads_total {len(on_page) + 6}$")  # the wait looks twice
            broker.is_expected_to_fail = True
            with self.assertRaises((ConnectionError, harness.http.client.HTTPException)):
                mill.post(f"/v1/jobs/{jobs[30]}/retry")
            self.assertEqual(broker.wait(), 1)

    def test_damage_that_a_write_meets_ends_the_broker(self):
        with harness.Mill() as mill:
            done, _ = self.prepare(mill)
            db = open_quietly(mill)
            root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'attempts'").fetchone()[0]
            db.close()
            mill.broker.stop()
            broker = mill.start_broker()
            with open(mill.db_path, "r+b") as file:  # not looked at before it is touched
                file.seek((root - 1) * 4096)
                file.write(b"\xa5" * 4096)
            broker.is_expected_to_fail = True
            with self.assertRaises((ConnectionError, harness.http.client.HTTPException)):
                mill.get(f"/v1/jobs/{done[0]}?attempts=true")
                mill.post(f"/v1/jobs/{done[0]}/retry")
            self.assertEqual(broker.wait(), 1)
            self.assertIn("run `jobmill doctor --db FILE`", broker.err)

    def test_it_keeps_away_from_a_running_broker_and_from_what_is_not_there(self):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            self.assertIn("is in use by another broker", self.examined(mill, CANNOT_RUN, "--repair"))
            mill.submit("echo", 1)
            run = subprocess.run([harness.BIN / "jobmill", "doctor", f"--data={mill.dir}/nothing"],
                                 capture_output=True, text=True, timeout=60)
            self.assertEqual(run.returncode, CANNOT_RUN)
            self.assertIn("There is no database", run.stderr)
            self.assertIn("--rebuild-redis needs --redis",
                          self.examined(mill, CANNOT_RUN, "--rebuild-redis"))


class Redis(unittest.TestCase):
    def test_jobs_of_this_broker_are_taken_out_of_redis_and_run_once(self):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            ids = [mill.submit("echo", n)["id"] for n in range(30)]
            harness.wait_for(lambda: mill.redis_call("LLEN", "jm:{q:default}"), "jobs are dispatched")
            mill.broker.send(signal.SIGTERM)
            mill.broker.wait()
            mill.redis_call("LPUSH", "jm:{q:default}", b"\xc1 no message")
            mill.redis_call("SET", "jm:{q:wrong}", "no list")
            before = mill.redis_call("LLEN", "jm:{q:default}")
            self.assertGreater(before, 1)
            run = doctor(mill, "--rebuild-redis", f"--redis=unix:{mill.redis_path}")
            self.assertEqual(run.returncode, HEALTHY, run.stdout + run.stderr)
            self.assertIn(f"{before - 1} messages of this broker were removed and {before - 1} jobs",
                          run.stdout)
            self.assertIn("; 2 that could not be read were removed", run.stdout)
            self.assertEqual(mill.redis_call("KEYS", "jm:{q:*"), [])
            mill.start_broker()
            mill.start_worker()
            for n, job in enumerate(ids):
                state = mill.job(job, wait=20)
                self.assertEqual((state["state"], state["result"], state["attempt"]),
                                 ("succeeded", n, 1))


if __name__ == "__main__":
    sys.exit(unittest.main())
