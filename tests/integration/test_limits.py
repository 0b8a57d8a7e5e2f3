"""Limits, turns, priorities and pauses with real workers. What is measured is when jobs began and how
long they ran, as the workers tell it, so that a slow machine changes no verdict: a limit is a bound
on that, and a rate one on how early a job may begin."""

import datetime
import json
import statistics
import time
import unittest

import harness

QUEUES = ["plain", "concurrency", "keys", "one", "two", "crashed", "rate", "rates", "fair", "paused",
          "quiet", "long", "short", "reasons", "waits"]
ROUNDING_MS = 2      # of begun_at
DEEP = 100_000
FEW = 10
FEW_MS = 50          # that one of them runs
LIMIT = 3
TRIES = 5            # a busy machine may keep one round from what it can do, and hardly each


def unix_ms(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000


def begun_ms(job):
    return unix_ms(job["begun_at"])


def most_at_once(jobs):
    """How many of them ran at the same time at most."""
    edges = []
    for job in jobs:
        edges.append((begun_ms(job) + ROUNDING_MS, 1))
        edges.append((begun_ms(job) + job["run_us"] / 1000 - ROUNDING_MS, -1))
    running = most = 0
    for _, step in sorted(edges):
        running += step
        most = max(most, running)
    return most


class Mill(harness.Mill):
    """With a worker for all queues."""

    def __init__(self, slots):
        super().__init__()
        self.slots = slots

    def __enter__(self):
        super().__enter__()
        self.start_redis()
        self.start_broker()
        self.start_worker("--test-tasks", "--slots", str(self.slots), "--queues", ",".join(QUEUES))
        self.wait_for_workers()
        return self

    def set(self, path, **settings):
        answer = self.call("PATCH", path, settings)
        if answer.status != 200:
            raise harness.Failure(f"{path}: {answer}")

    def batch(self, jobs):
        body = b"\n".join(json.dumps(job).encode() for job in jobs)
        answer = self.post("/v1/jobs/batch", body, Content_Type="application/x-ndjson")
        answers = [json.loads(line) for line in answer.body.splitlines()]
        if answer.status != 200 or len(answers) != len(jobs) or any("error" in a for a in answers):
            raise harness.Failure(f"batch: {answer}")
        return [item["id"] for item in answers]

    def counts(self, queue):
        queue = self.get(f"/v1/queues/{queue}").value
        return {**queue["jobs"], "dispatched": queue["dispatched"]}

    def wait_all(self, *queues, deadline_s=60):
        """Waits until nothing is left to do in them, and returns all their jobs as they began."""
        def is_done():
            return all(sum(self.counts(queue)[state] for state in ("scheduled", "queued", "running",
                                                                   "dispatched")) == 0
                       for queue in queues)
        harness.wait_for(is_done, f"all jobs of {queues} end", deadline_s)
        jobs = [job for queue in queues for job in self.jobs(queue)]
        return sorted(jobs, key=begun_ms)

    def jobs(self, queue):
        jobs, cursor = [], ""
        while cursor is not None:
            page = self.get(f"/v1/jobs?queue={queue}&limit=100" +
                            (f"&cursor={cursor}" if cursor else "")).value
            jobs += page["jobs"]
            cursor = page["next_cursor"]
        return jobs

    def crash_broker(self):
        self.broker.kill()
        self.start_broker()


def sleeps(count, ms, **fields):
    return [{"task": "sleep", "args": {"ms": ms}, **fields} for _ in range(count)]


class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mill = cls.enterClassContext(Mill(8))

    def check_at_once(self, jobs, limit):
        """Never more than the limit."""
        self.assertEqual({job["state"] for job in jobs}, {"succeeded"})
        self.assertLessEqual(most_at_once(jobs), limit)

    def check_use(self, queue, jobs, limit, of=lambda job: True):
        """Never more than the limit in any round, and all of it in one. `of`: of which jobs."""
        for _ in range(TRIES):
            ids = set(self.mill.batch(jobs))
            ran = [job for job in self.mill.wait_all(queue) if of(job)]
            self.check_at_once(ran, limit)
            if most_at_once([job for job in ran if job["id"] in ids]) == limit:
                return
        self.fail(f"never {limit} at once")

    def test_without_a_limit_all_slots_are_at_work(self):
        self.check_use("plain", sleeps(32, 60, queue="plain"), 8)

    def test_no_more_jobs_of_a_queue_run_at_once_than_it_lets(self):
        self.mill.set("/v1/queues/concurrency", concurrency=LIMIT)
        self.check_use("concurrency", sleeps(24, 40, queue="concurrency"), LIMIT)

    def test_no_more_jobs_of_a_key_run_at_once_than_its_queue_lets(self):
        self.mill.set("/v1/queues/keys", key_concurrency=2)
        jobs = [job for key in ("a", "b", "c")
                for job in sleeps(12, 40, queue="keys", limit_key=key)] + sleeps(12, 40, queue="keys")
        for key in ("a", "b", "c"):
            self.check_use("keys", jobs, 2, lambda job, key=key: job.get("limit_key") == key)
        self.assertGreater(most_at_once(self.mill.wait_all("keys")), 2)

    def test_no_more_jobs_of_a_task_run_at_once_in_all_queues_together(self):
        self.mill.set("/v1/tasks/fib", concurrency=LIMIT)
        jobs = [{"task": "fib", "args": {"n": 27}, "queue": queue} for queue in ("one", "two")]
        self.mill.batch(jobs * 15)
        jobs = self.mill.wait_all("one", "two")
        self.assertLessEqual(most_at_once(jobs), LIMIT)
        # The queues share it: neither has to wait until the other is empty.
        first = [job["queue"] for job in jobs[:20]]
        self.assertGreaterEqual(min(first.count("one"), first.count("two")), 5, first)

    def test_a_limit_holds_over_a_crash_of_the_broker(self):
        self.mill.set("/v1/queues/crashed", concurrency=LIMIT, key_concurrency=2)
        self.mill.batch(sleeps(12, 60, queue="crashed", limit_key="k") + sleeps(12, 60, queue="crashed"))
        for _ in range(2):
            done = self.mill.counts("crashed")["succeeded"]
            harness.wait_for(lambda: self.mill.counts("crashed")["succeeded"] > done, "one more ends")
            self.mill.crash_broker()
        jobs = self.mill.wait_all("crashed")
        self.check_at_once(jobs, LIMIT)
        self.check_at_once([job for job in jobs if "limit_key" in job], 2)
        self.check_use("crashed", sleeps(12, 60, queue="crashed"), LIMIT)  # no place was lost

    def check_rate(self, jobs, since_ms, limit, period_ms):
        """The first `limit` may begin at once, each further one when its token has come back."""
        for i, job in enumerate(jobs):
            earliest_ms = since_ms + max(0, i + 1 - limit) * period_ms / limit
            self.assertGreaterEqual(begun_ms(job), earliest_ms - ROUNDING_MS, i)
        self.assertLess(begun_ms(jobs[-1]), since_ms + len(jobs) * period_ms / limit + 10_000)

    def test_a_rate_holds_also_over_a_restart_and_a_crash(self):
        self.mill.set("/v1/queues/rate", rate={"limit": 10, "period_ms": 500})
        since_ms = time.time() * 1000
        self.mill.batch([{"task": "noop", "queue": "rate"}] * 60)
        harness.wait_for(lambda: self.mill.counts("rate")["succeeded"] >= 15, "15 end")
        self.mill.crash_broker()
        harness.wait_for(lambda: self.mill.counts("rate")["succeeded"] >= 30, "30 end")
        self.assertEqual(self.mill.broker.stop(), 0)
        self.mill.start_broker()
        self.check_rate(self.mill.wait_all("rate"), since_ms, 10, 500)

    def test_each_token_is_used_when_it_comes_though_nothing_else_wakes_the_broker(self):
        """What a timer begins has to leave the loop in that turn, not when somebody asks something."""
        self.mill.set("/v1/queues/quiet", rate={"limit": 5, "period_ms": 1000})
        for _ in range(TRIES):
            ids = self.mill.batch([{"task": "noop", "queue": "quiet"}] * 16)
            self.assertEqual(self.mill.get(f"/v1/jobs/{ids[-1]}?wait=30").value["state"], "succeeded")
            jobs = self.mill.wait_all("quiet")
            begun = [begun_ms(job) for job in jobs if job["id"] in ids][5:]
            gaps = [later - earlier for earlier, later in zip(begun, begun[1:])]
            if statistics.median(abs(gap - 200) for gap in gaps) < 80:
                return
        self.fail(f"each time as late as {gaps}")

    def test_each_key_has_a_rate_of_its_own(self):
        self.mill.set("/v1/queues/rates", key_rate={"limit": 4, "period_ms": 200})
        since_ms = time.time() * 1000
        self.mill.batch([{"task": "noop", "queue": "rates", "limit_key": key}
                         for key in ("a", "b", "c") for _ in range(24)] +
                        [{"task": "noop", "queue": "rates"}] * 24)
        jobs = self.mill.wait_all("rates")
        for key in ("a", "b", "c"):
            self.check_rate([job for job in jobs if job.get("limit_key") == key], since_ms, 4, 200)
        last_free = [job for job in jobs if "limit_key" not in job][-1]
        last_rated = [job for job in jobs if "limit_key" in job][-1]
        self.assertLess(begun_ms(last_free), begun_ms(last_rated))


class Reasons(unittest.TestCase):
    """Why a job has not begun, for each of the limits."""

    def test_each_limit_is_told(self):
        rate = {"limit": 1, "period_ms": 3_600_000}
        cases = [("queue_concurrency", {"concurrency": 1}), ("key_concurrency", {"key_concurrency": 1}),
                 ("queue_rate", {"rate": rate}), ("key_rate", {"key_rate": rate}),
                 ("paused", {"paused": True})]
        with Mill(2) as mill:
            for code, settings in cases:
                with self.subTest(code):
                    mill.set("/v1/queues/reasons", **settings)
                    jobs = mill.batch(sleeps(2, 60_000, queue="reasons", limit_key="k"))
                    explained = mill.get(f"/v1/jobs/{jobs[1]}/explain").value
                    self.assertEqual([reason["code"] for reason in explained["reasons"]], [code])
                    mill.post("/v1/jobs/cancel?queue=reasons")
                    mill.set("/v1/queues/reasons", **{name: None for name in settings})
            with self.subTest("task_concurrency"):
                mill.set("/v1/tasks/sleep", concurrency=1)
                jobs = mill.batch(sleeps(1, 60_000, queue="reasons") + sleeps(1, 60_000, queue="waits"))
                # Which of them is out is not said: the queues take turns.
                codes = [reason["code"] for job in jobs
                         for reason in mill.get(f"/v1/jobs/{job}/explain").value["reasons"]]
                self.assertIn("task_concurrency", codes)
                mill.post("/v1/jobs/cancel?task=sleep")


class Pauses(unittest.TestCase):
    def test_what_is_in_redis_does_not_begin_while_its_queue_is_paused(self):
        with Mill(2) as mill:
            mill.batch(sleeps(100, 50, queue="paused"))
            harness.wait_for(lambda: mill.counts("paused")["succeeded"] >= 4, "some end")
            mill.post("/v1/queues/paused/pause")
            counts = harness.wait_for(
                lambda: (lambda c: c["running"] + c["dispatched"] == 0 and c)(mill.counts("paused")),
                "what was claimed ends, and the rest is back")
            self.assertEqual(counts["queued"] + counts["succeeded"], 100)
            self.assertGreater(counts["queued"], 20)
            self.assertEqual(mill.redis_call("LLEN", "jm:{q:paused}"), 0)
            mill.submit("noop", queue="paused")
            self.assertEqual(mill.submit("noop", queue="plain", wait=30)["state"], "succeeded")
            self.assertEqual(mill.counts("paused")["queued"], counts["queued"] + 1)
            mill.post("/v1/queues/paused/resume")
            jobs = mill.wait_all("paused")
            self.assertEqual([job["state"] for job in jobs], ["succeeded"] * 101)
            self.assertEqual({job["attempt"] for job in jobs}, {1})


class Turns(unittest.TestCase):
    def test_keys_with_a_backlog_get_as_much_as_each_other(self):
        with Mill(1) as mill:
            mill.post("/v1/queues/fair/pause")
            keys = ["a", "b", "c"]
            for key in keys:
                mill.batch(sleeps(100, 2, queue="fair", limit_key=key)) # apart by begun_at
            mill.post("/v1/queues/fair/resume")
            jobs = mill.wait_all("fair")
            self.assertEqual(len(jobs), 300)
            begun = dict.fromkeys(keys, 0)
            for job in jobs[:200]:
                begun[job["limit_key"]] += 1
                self.assertLessEqual(max(begun.values()) - min(begun.values()), 4, begun)

    def measure_few(self, mill):
        """The time from the submit of FEW jobs to the end of the last of them, in ms."""
        ids = mill.batch(sleeps(FEW, FEW_MS, queue="fair", limit_key="few"))
        jobs = [mill.job(job_id, wait=60) for job_id in ids]
        return max(unix_ms(job["finished_at"]) for job in jobs) - unix_ms(jobs[0]["created_at"])

    def test_a_few_jobs_beside_a_hundred_thousand_end_nearly_as_if_alone(self):
        with Mill(2) as mill:
            alone_ms = statistics.median(self.measure_few(mill) for _ in range(3))
            mill.batch(sleeps(DEEP, FEW_MS, queue="fair", limit_key="many"))
            self.assertGreater(mill.counts("fair")["queued"], DEEP * 0.9)
            for _ in range(TRIES):
                beside_ms = statistics.median(self.measure_few(mill) for _ in range(3))
                print(f"{FEW} jobs: {alone_ms:.0f} ms alone, {beside_ms:.0f} beside {DEEP}")
                if beside_ms < 2 * alone_ms:
                    return
            self.fail(f"{beside_ms} ms beside others, {alone_ms} alone")


class Priorities(unittest.TestCase):
    def overtaken_by(self, mill, queue):
        """An urgent job, and those that began between its submit and its own begin."""
        urgent = mill.submit("noop", queue=queue, priority=9, wait=30)
        self.assertEqual(urgent["state"], "succeeded")
        created_ms, begin_ms = unix_ms(urgent["created_at"]), begun_ms(urgent)
        return [job for job in mill.jobs(queue)
                if "begun_at" in job and created_ms < begun_ms(job) < begin_ms]

    def check_overtaken(self, mill, queue, limit):
        counts = []
        while len(counts) < TRIES and (not counts or counts[-1] > limit):
            counts.append(len(self.overtaken_by(mill, queue)))
        self.assertLessEqual(counts[-1], limit, counts)

    def test_an_urgent_job_begins_next_before_a_backlog_of_long_jobs(self):
        with Mill(2) as mill:
            mill.batch(sleeps(200, 300, queue="long"))
            harness.wait_for(lambda: mill.counts("long")["succeeded"] >= 4, "some end")
            # Each slot may have been about to claim another at that moment.
            self.check_overtaken(mill, "long", 2)

    def test_an_urgent_job_waits_for_little_work_before_a_backlog_of_short_jobs(self):
        with Mill(2) as mill:
            mill.batch(sleeps(2000, 5, queue="short"))
            harness.wait_for(lambda: mill.counts("short")["succeeded"] >= 200, "some end")
            self.check_overtaken(mill, "short", 2 * 100 / 5)


if __name__ == "__main__":
    unittest.main()
