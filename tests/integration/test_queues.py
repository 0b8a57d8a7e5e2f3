"""What is set for queues and tasks, through the real programs: it is shown, kept, merged, cleared, and
in force, also over a restart of the broker."""

import unittest

import harness
import openapi

BACKOFF = {"kind": "fixed", "base_ms": 5, "factor": 3, "ceiling_ms": 7, "jitter": 0.25}
ALL = {"paused": False, "rate": {"limit": 1000000, "period_ms": 86400000}, "concurrency": 1000000,
       "key_rate": {"limit": 1, "period_ms": 1}, "key_concurrency": 1, "max_queued": 1000000000,
       "defaults": {"priority": 9, "max_attempts": 1000, "timeout_ms": 604800000, "grace_ms": 600000,
                    "backoff": BACKOFF},
       "retain_ms": 315360000000, "retain_failed_ms": 1}


class Settings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mill = cls.enterClassContext(harness.Mill())
        cls.mill.start_redis()
        cls.mill.start_broker()
        cls.mill.start_worker("--test-tasks", "--slots", "2", "--queues", "default,paused,full,merged")
        cls.mill.wait_for_workers()
        cls.document = openapi.Document(cls.mill.get("/openapi.json").body)

    def call(self, method, path, body=None):
        answer = self.mill.call(method, path, body)
        self.document.check_answer(method, path, answer)
        return answer

    def patch(self, path, **body):
        answer = self.call("PATCH", path, body)
        self.assertEqual(answer.status, 200, answer)
        return answer.value

    def restart(self):
        self.assertEqual(self.mill.broker.stop(), 0)
        self.mill.start_broker()

    def settings(self, name):
        queue = self.call("GET", f"/v1/queues/{name}").value
        return {key: value for key, value in queue.items() if key in ALL}

    def test_all_that_is_set_is_shown_and_kept(self):
        queue = self.patch("/v1/queues/all", **ALL)
        self.assertEqual({key: queue[key] for key in ALL}, ALL)
        self.assertEqual((queue["name"], queue["jobs"]["queued"]), ("all", 0))
        self.assertEqual(self.settings("all"), ALL)
        self.restart()
        self.assertEqual(self.settings("all"), ALL)
        listed = {queue["name"]: queue for queue in self.call("GET", "/v1/queues").value["queues"]}
        self.assertEqual(listed["all"]["rate"], ALL["rate"])

    def test_what_is_set_is_merged_and_null_clears(self):
        self.patch("/v1/queues/merged", **ALL)
        self.patch("/v1/queues/merged", rate=None, defaults={"priority": None, "backoff": {}},
                   concurrency=7, paused=None)
        expected = {**ALL, "concurrency": 7, "defaults": {
            **ALL["defaults"], "backoff": {"kind": "exponential", "base_ms": 1000, "factor": 2,
                                           "ceiling_ms": 3600000, "jitter": 0.1}}}
        del expected["rate"], expected["defaults"]["priority"]
        self.assertEqual(self.settings("merged"), expected)
        self.patch("/v1/queues/merged")
        self.assertEqual(self.settings("merged"), expected)
        self.patch("/v1/queues/merged", **{key: None for key in ALL})
        self.assertEqual(self.settings("merged"), {"paused": False})

    def test_changes_at_the_same_time_are_all_kept(self):
        connections = [self.mill.connection() for _ in range(8)]
        names = ["concurrency", "key_concurrency", "max_queued", "retain_ms", "retain_failed_ms"]
        for i, name in enumerate(names):
            connections[i].request("PATCH", "/v1/queues/together", f'{{"{name}": {i + 1}}}'.encode(),
                                   {"Content-Type": "application/json"})
        for connection in connections[:len(names)]:
            self.assertEqual(harness.Answer(connection.getresponse()).status, 200)
        for connection in connections:
            connection.close()
        self.assertEqual(self.settings("together"),
                         {"paused": False, **{name: i + 1 for i, name in enumerate(names)}})

    def test_a_paused_queue_begins_nothing_until_it_is_resumed_also_over_a_restart(self):
        self.assertTrue(self.call("POST", "/v1/queues/paused/pause").value["paused"])
        job = self.mill.submit("noop", queue="paused")
        other = self.mill.submit("noop", wait=30)
        self.assertEqual(other["state"], "succeeded")
        self.restart()
        self.mill.wait_for_workers()
        self.assertEqual(self.mill.submit("noop", wait=30)["state"], "succeeded")
        self.assertEqual(self.mill.job(job["id"])["state"], "queued")
        self.assertTrue(self.settings("paused")["paused"])
        self.assertFalse(self.call("POST", "/v1/queues/paused/resume").value["paused"])
        self.assertEqual(self.mill.job(job["id"], wait=30)["state"], "succeeded")

    def test_a_full_queue_refuses_one_more_and_says_how_many_it_holds(self):
        self.patch("/v1/queues/full", max_queued=2, paused=True)
        first = self.mill.post("/v1/jobs", {"task": "noop", "queue": "full", "delay_ms": 0},
                               Idempotency_Key="before")
        jobs = [first.value["id"], self.mill.submit("noop", queue="full", delay_ms=1000)["id"]]
        answer = self.call("POST", "/v1/jobs", {"task": "noop", "queue": "full"})
        self.assertEqual((answer.status, answer.code), (429, "queue_full"), answer)
        self.assertEqual((answer.value["field"], answer.value["limit"]), ("queue", 2))
        self.assertEqual(answer.headers["Retry-After"], "1")
        for key, status in (("before", 201), ("now", 429)):
            answer = self.mill.post("/v1/jobs", {"task": "noop", "queue": "full", "delay_ms": 0},
                                    Idempotency_Key=key)
            self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.value["limit"], 2)
        self.mill.post(f"/v1/jobs/{jobs[0]}/cancel")
        self.mill.submit("noop", queue="full")
        self.patch("/v1/queues/full", max_queued=None)
        self.mill.submit("noop", queue="full")

    def test_a_job_says_it_before_its_task_before_its_queue(self):
        self.patch("/v1/queues/layers", paused=True, defaults={
            "priority": 2, "max_attempts": 11, "timeout_ms": 12, "grace_ms": 13, "backoff": BACKOFF})
        self.patch("/v1/tasks/noop", defaults={"max_attempts": 21, "timeout_ms": 22})
        self.addCleanup(self.patch, "/v1/tasks/noop", defaults=None)
        own = self.mill.job(self.mill.submit("noop", queue="layers", max_attempts=31)["id"])
        plain = self.mill.job(self.mill.submit("echo", queue="layers", priority=8)["id"])
        names = ("priority", "max_attempts", "timeout_ms", "grace_ms", "backoff")
        self.assertEqual([own[name] for name in names], [2, 31, 22, 13, BACKOFF])
        self.assertEqual([plain[name] for name in names], [8, 11, 12, 13, BACKOFF])
        bare = self.mill.job(self.mill.submit("echo", queue="bare")["id"])
        self.assertEqual([bare.get(name) for name in names], [5, 3, 3600000, 5000, None])

    def test_what_is_set_for_a_task_is_shown_kept_and_cleared(self):
        wanted = {"concurrency": 3, "defaults": {"timeout_ms": 60000, "backoff": BACKOFF}}
        task = self.patch("/v1/tasks/echo", **wanted)
        self.assertEqual({key: task[key] for key in wanted}, wanted)
        self.restart()
        tasks = {task["name"]: task for task in self.call("GET", "/v1/tasks").value["tasks"]}
        self.assertEqual({key: tasks["echo"][key] for key in wanted}, wanted)
        task = self.patch("/v1/tasks/echo", concurrency=None, defaults={"timeout_ms": None})
        self.assertNotIn("concurrency", task)
        self.assertEqual(task["defaults"], {"backoff": BACKOFF})
        self.assertNotIn("defaults", self.patch("/v1/tasks/echo", defaults=None))


if __name__ == "__main__":
    unittest.main()
