"""Five faults in mid-traffic, each with a ledger: whatever is killed or emptied, every accepted job
finishes, one end is applied for each, and every further run of a job has a higher attempt number.

Clients submit with Idempotency-Keys and repeat what had an unknown fate, as a careful application
does. Each job is a run of the `ledger` task, which appends its key and its attempt to a file."""

import collections
import http.client
import os
import pathlib
import signal
import socket
import threading
import unittest

import harness

JOBS = 1500      # of the ledger
IN_FLIGHT = 1000 # of them are accepted before the first one ends; the rest comes while the fault is on
ENDED = 100      # so many have run when the fault comes
CLIENTS = 4
SLOW_EVERY = 5   # so many ledger jobs, then one that holds its slot for a while
FINISH_S = 90


class Traffic:
    """Clients that submit JOBS jobs, whatever happens to the broker meanwhile."""

    def __init__(self, mill):
        self.mill = mill
        self.ledger = mill.dir / "ledger"
        self.ids = {}
        self.lock = threading.Lock()
        self.in_flight = threading.Event()
        self.error = None
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(CLIENTS)]

    def __enter__(self):
        """Holds both slots until IN_FLIGHT jobs are accepted."""
        self.gate = self.mill.dir / "gate"
        for slot in range(2):
            self.call(f"plug-{slot}", {"task": "wait_for_gate", "args": str(self.gate)})
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join()

    def run(self, client):
        try:
            for k in range(client, JOBS, CLIENTS):
                self.submit(k)
        except Exception as error:  # seen by finish()
            self.error = error

    def submit(self, k):
        if k % SLOW_EVERY == 0:
            self.call(f"slow-{k}", {"task": "sleep", "args": {"ms": 10}})
        job = self.call(f"k-{k}", {"task": "ledger",
                                   "args": {"k": f"k-{k}", "path": str(self.ledger)}})
        with self.lock:
            self.ids[f"k-{k}"] = job["id"]
            if len(self.ids) == IN_FLIGHT:
                self.in_flight.set()

    def call(self, key, body):
        """Repeats a call whose fate is unknown until it is answered."""
        def attempt():
            try:
                answer = self.mill.post("/v1/jobs", body, Idempotency_Key=key)
            except (ConnectionError, FileNotFoundError, http.client.HTTPException, socket.timeout):
                return None
            if answer.status != 201:
                raise harness.Failure(f"submit: {answer}")
            return answer.value
        return harness.wait_for(attempt, "a submit is answered")

    def wait_for_middle(self):
        """IN_FLIGHT jobs are accepted, and ENDED of them have run."""
        if not self.in_flight.wait(harness.DEADLINE_S):
            raise harness.Failure(f"{IN_FLIGHT} submits: {self.error}")
        self.gate.touch()
        harness.wait_for(lambda: self.ledger.exists() and
                         self.ledger.read_text().count("\n") >= ENDED, "the first jobs run")

    def finish(self):
        for thread in self.threads:
            thread.join()
        if self.error:
            raise self.error

        def all_done():
            counts = self.mill.get("/v1/queues/default").value["jobs"]
            return counts["queued"] + counts["running"] + counts["scheduled"] == 0 and counts
        return harness.wait_for(all_done, "every accepted job ends", FINISH_S)


def child_pids(pid):
    return [int(word) for word in
            pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Faults(unittest.TestCase):
    def run_with_fault(self, fault, extra_runs_allowed):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker("--lease", "3s")
            self.start_worker(mill)
            mill.wait_for_workers()
            with Traffic(mill) as traffic:
                traffic.wait_for_middle()
                fault(mill)
                counts = traffic.finish()
            self.check(mill, traffic, counts, extra_runs_allowed)

    def start_worker(self, mill):
        """With a task that ends when a file appears."""
        tasks = mill.dir / "tasks"
        tasks.mkdir(exist_ok=True)
        program = tasks / "wait_for_gate"
        program.write_text("#!/bin/sh\nread -r gate\ngate=${gate#\\\"}\ngate=${gate%\\\"}\n"
                           "while [ ! -e \"$gate\" ]; do sleep 0.01; done\n")
        program.chmod(0o755)
        mill.start_worker("--slots", "2", "--test-tasks", "--tasks-dir", tasks)

    def check(self, mill, traffic, counts, extra_runs_allowed):
        slow = len(range(0, JOBS, SLOW_EVERY)) + 2  # and the two plugs
        self.assertEqual(len(traffic.ids), JOBS)
        self.assertEqual(len(set(traffic.ids.values())), JOBS)
        self.assertEqual(counts["succeeded"], JOBS + slow, counts)
        self.assertEqual(counts["failed"] + counts["cancelled"] + counts["expired"], 0, counts)
        runs = collections.defaultdict(list)
        for line in traffic.ledger.read_text().splitlines():
            k, attempt = line.split()
            runs[k].append(int(attempt))
        self.assertEqual(set(runs), set(traffic.ids))
        extra = {k: attempts for k, attempts in runs.items() if len(attempts) > 1}
        for k, attempts in extra.items():
            self.assertEqual(len(set(attempts)), len(attempts), f"{k} ran twice as one attempt")
            job = mill.job(traffic.ids[k])
            self.assertIn(job["attempt"], attempts)
        if not extra_runs_allowed:
            self.assertEqual(extra, {})
        print(f"accepted {JOBS}, finished {len(runs)}, lost 0, "
              f"further runs {sum(len(a) - 1 for a in extra.values())}", flush=True)

    def test_a_killed_child_costs_no_job(self):
        self.run_with_fault(lambda mill: os.kill(child_pids(mill.workers[0].pid)[0], signal.SIGKILL),
                            extra_runs_allowed=True)

    def test_a_killed_parent_costs_no_job(self):
        def fault(mill):
            mill.workers[0].kill()
            self.start_worker(mill)
        self.run_with_fault(fault, extra_runs_allowed=True)

    def test_a_killed_broker_costs_no_job_and_runs_none_twice(self):
        def fault(mill):
            mill.broker.kill()
            mill.start_broker("--lease", "3s")
        self.run_with_fault(fault, extra_runs_allowed=False)

    def test_a_killed_redis_costs_no_job(self):
        def fault(mill):
            mill.redis.kill()
            mill.redis_path.unlink(missing_ok=True)
            mill.start_redis()
        self.run_with_fault(fault, extra_runs_allowed=True)

    def test_flushall_costs_no_job(self):
        self.run_with_fault(lambda mill: mill.redis_call("FLUSHALL"), extra_runs_allowed=True)

    def test_a_connection_for_results_that_is_cut_again_and_again_costs_no_attempt(self):
        """Also while a list is being taken by it."""
        def cut(mill):
            clients = [dict(word.split("=", 1) for word in line.split())
                       for line in mill.redis_call("CLIENT", "LIST").decode().splitlines()]
            found = [c["id"] for c in clients if c["cmd"] in ("blmove", "lrange", "renamenx")]
            for client in found:
                mill.redis_call("CLIENT", "KILL", "ID", client)
            return len(found)

        jobs, cuts = 400, 0
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            mill.start_worker("--slots", "2", "--test-tasks")
            mill.wait_for_workers()
            ids = [item["id"] for item in mill.post(
                "/v1/jobs/batch", [{"task": "sleep", "args": {"ms": 5}}] * jobs).value]

            def is_done():
                nonlocal cuts
                cuts += cut(mill)
                return mill.get("/v1/queues/default").value["jobs"]["succeeded"] == jobs
            harness.wait_for(is_done, "all jobs end")
            self.assertGreater(cuts, 3)
            for job_id in ids:
                self.assertEqual(mill.job(job_id)["attempt"], 1)

    def test_redis_may_be_down_at_start_and_submits_go_on(self):
        with harness.Mill() as mill:
            mill.start_broker()
            job = mill.submit("echo", 7)
            self.assertEqual(mill.get("/readyz").value["status"], "degraded")
            mill.start_redis()
            mill.start_worker()
            self.assertEqual(mill.wait_for_state(job["id"], "succeeded")["result"], 7)


if __name__ == "__main__":
    unittest.main()
