"""The parts of the contract that a broker may not have yet: each test asks the broker's own document
whether its route or field is there, is skipped (and named) if not, and becomes active by itself."""

import datetime

import support
from support import harness, jobmill

UTC = datetime.timezone.utc
HOUR = datetime.timedelta(hours=1)


def soon(**delta):
    """That much from now, in whole milliseconds, as the protocol has them."""
    at = datetime.datetime.now(UTC) + datetime.timedelta(**delta)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


class Fields(support.BrokerCase):
    """Queues other than "default" are served by nobody, so their jobs stay as they are."""

    def submit(self, **options):
        return self.client.submit("echo", {"n": 1}, queue="idle", **options).refresh()

    def needs(self, *names):
        self.needs_field("Submit", *names)

    def test_priority(self):
        self.needs("priority")
        self.assertEqual(self.submit(priority=9).priority, 9)
        self.assertEqual(self.submit().priority, 5)

    def test_run_at(self):
        self.needs("run_at")
        at = soon(hours=1)
        for given in (at, at.astimezone(datetime.timezone(HOUR)), at.isoformat()):
            job = self.submit(run_at=given)
            self.assertEqual((job.state, job.due_at), (jobmill.SCHEDULED, at))
        self.assertNotEqual(self.submit(run_at=soon(hours=-1)).state, jobmill.SCHEDULED)

    def test_delay(self):
        self.needs("delay_ms")
        for delay in (HOUR, 3600):
            job = self.submit(delay=delay)
            self.assertEqual(job.state, jobmill.SCHEDULED)
            self.assertAlmostEqual(job.due_at, job.created_at + HOUR,
                                   delta=datetime.timedelta(seconds=10))
        self.assertEqual(self.client.submit("echo", 3, delay=0.05).result(30), 3)
        with self.assertRaises(jobmill.InvalidRequest):
            self.submit(delay=1, run_at=soon(hours=1))

    def test_expires_at(self):
        self.needs("expires_at")
        at = soon(hours=1)
        self.assertEqual(self.submit(expires_at=at).expires_at, at)
        with self.assertRaises(jobmill.InvalidRequest):
            self.submit(expires_at=soon(hours=-1))
        with self.assertRaises(jobmill.JobExpired):
            self.submit(expires_at=soon(seconds=0.3)).result(30)

    def test_grace_backoff_limit_key_and_retain(self):
        self.needs("grace_ms", "backoff", "limit_key", "retain_ms")
        backoff = jobmill.backoff("fixed", base=2)
        job = self.submit(grace=0.25, backoff=backoff, limit_key="customer 7", retain=HOUR)
        self.assertEqual((job.grace, job.limit_key, job.retain),
                         (datetime.timedelta(seconds=0.25), "customer 7", HOUR))
        self.assertEqual({**job.backoff, **backoff}, job.backoff)

    def test_unique_existing(self):
        self.needs("unique")
        first = self.submit(unique=jobmill.unique("u1"))
        second = self.client.submit("echo", {"n": 2}, queue="idle", unique=jobmill.unique("u1"))
        self.assertEqual((second.id, second.is_existing, first.is_existing), (first.id, True, False))
        self.assertEqual(first.unique["key"], "u1")

    def test_unique_reject(self):
        self.needs("unique")
        first = self.submit(unique=jobmill.unique("u2"))
        with self.assertRaises(jobmill.UniqueConflict) as caught:
            self.submit(unique=jobmill.unique("u2", on_conflict="reject"))
        self.assertEqual(caught.exception.existing_id, first.id)
        self.assertIn(first.id, caught.exception.detail)

    def test_unique_replace(self):
        self.needs("unique")
        unique = jobmill.unique(args=["n"], on_conflict="replace")
        first = self.client.submit("echo", {"n": 77, "m": 1}, queue="idle", unique=unique)
        second = self.client.submit("echo", {"n": 77, "m": 2}, queue="idle", unique=unique)
        self.assertEqual(second.replaced, first.id)
        self.assertEqual(first.refresh().state, jobmill.CANCELLED)

    def test_attempts_are_told(self):
        self.needs_field("Job", "attempts")
        self.needs("backoff")
        job = self.client.submit("fail", {"message": "no"}, max_attempts=2,
                                 backoff=jobmill.backoff("fixed", base=0))
        with self.assertRaises(jobmill.JobFailed):
            job.result(30)
        self.assertEqual([(one.attempt, one.outcome) for one in job.refresh().attempts],
                         [(1, "failed"), (2, "failed")])
        self.assertEqual(job.attempts[0].error.message, "no")
        self.assertLessEqual(job.attempts[0].begun_at, job.attempts[0].ended_at)

    def test_progress_is_told_while_it_runs(self):
        self.needs_field("Job", "progress")
        job = self.client.submit("sleep", {"ms": 60000})
        progress = harness.wait_for(lambda: job.refresh().progress, "the task tells how far it is")
        self.assertTrue(0 <= progress.done < progress.total == 60000)
        self.assertIsNone(job.cancel().refresh().progress)

    def test_a_batch_takes_the_same_options(self):
        self.needs_route("POST", "/v1/jobs/batch")
        self.needs("priority", "run_at", "retain_ms")
        at = soon(hours=1)
        one, = self.client.batch([{"task": "echo", "queue": "idle", "priority": 1, "run_at": at,
                                   "retain": HOUR}])
        job = self.client.get(one.id)
        self.assertEqual((one.state, job.priority, job.due_at, job.retain),
                         (jobmill.SCHEDULED, 1, at, HOUR))


class Changes(support.BrokerCase):
    def idle(self, **options):
        return self.client.submit("echo", {"n": 1}, queue="idle", **options)

    def test_patch(self):
        self.needs_route("PATCH", "/v1/jobs/{id}")
        at = soon(hours=2)
        job = self.client.patch(self.idle().id, priority=9, run_at=at, args=[2], tags=["new"],
                                timeout=2.5, max_attempts=7)
        self.assertEqual((job.priority, job.due_at, job.args, job.tags, job.timeout, job.max_attempts),
                         (9, at, [2], ("new",), datetime.timedelta(seconds=2.5), 7))
        self.assertIsNone(self.client.patch(job.id, args=None).args)
        with self.assertRaises(jobmill.InvalidRequest):
            self.client.patch(job.id, priority=10)
        with self.assertRaises(jobmill.AlreadyFinished):
            self.client.patch(self.client.submit("noop", wait=30).id, priority=1)

    def test_retry(self):
        self.needs_route("POST", "/v1/jobs/{id}/retry")
        job = self.client.submit("echo", 5, wait=30)
        before = job.attempt
        self.assertFalse(job.retry().is_finished and job.attempt == before)
        self.assertEqual(job.result(30), 5)
        with self.assertRaises(jobmill.NotFinished):
            self.idle().retry()

    def test_explain(self):
        self.needs_route("GET", "/v1/jobs/{id}/explain")
        job = self.client.submit("echo", queue="nobody_here")
        why = self.client.explain(job.id)
        self.assertEqual((why.id, why.state), (job.id, jobmill.QUEUED))
        self.assertIn("no_worker_for_queue", [reason.code for reason in why.reasons])
        self.assertTrue(all(reason.message for reason in why.reasons))
        later = self.client.explain(self.client.submit("echo", delay=3600).id)
        self.assertEqual([(one.code, one.until.tzinfo) for one in later.reasons], [("due_later", UTC)])
        done = self.client.explain(self.client.submit("noop", wait=30).id)
        self.assertEqual([reason.code for reason in done.reasons], ["finished"])

    def test_bulk_cancel_and_delete(self):
        self.needs_route("POST", "/v1/jobs/cancel")
        self.needs_route("POST", "/v1/jobs/delete")
        ids = {self.idle(tags=["bulk"]).id for _ in range(5)}
        self.idle(tags=["other"])
        tried = self.client.bulk_cancel(tag="bulk", dry_run=True)
        self.assertEqual((tried.matched, tried.dry_run), (5, True))
        self.assertEqual({job.state for job in self.client.list(tag="bulk")}, {jobmill.QUEUED})
        self.assertEqual(self.client.bulk_cancel(tag="bulk"), jobmill.Bulk(5, 5, False))
        self.assertEqual({job.id for job in self.client.list(tag="bulk", state="cancelled")}, ids)
        self.assertEqual(self.client.bulk_delete(tag="bulk", state="cancelled").changed, 5)
        self.assertEqual(list(self.client.list(tag="bulk")), [])
        with self.assertRaises(jobmill.InvalidRequest) as caught:
            self.client.bulk_cancel()
        self.assertEqual(caught.exception.code, "no_filter")

    def test_bulk_retry(self):
        self.needs_route("POST", "/v1/jobs/retry")
        jobs = [self.client.submit("echo", n, tags=["again"], wait=30) for n in range(3)]
        done = self.client.bulk_retry(tag="again", state="succeeded")
        self.assertEqual((done.matched, done.changed), (3, 3))
        self.assertEqual([self.client.result(job.id, 30) for job in jobs], [0, 1, 2])

    def test_filters(self):
        self.needs_parameter("tag", "limit_key", "worker", "error", "created_after", "created_before")
        job = self.client.submit("fail", max_attempts=1, tags=["red", "blue"], wait=30)
        for filters in ({"tag": "blue"}, {"error": "task_failed"},
                        {"worker": job.worker}, {"created_after": job.created_at - HOUR},
                        {"tag": "red", "created_before": job.created_at + HOUR}):
            found = [one.id for one in self.client.list(task="fail", **filters)]
            self.assertIn(job.id, found, filters)
        for filters in ({"tag": "green"}, {"error": "timed_out"}, {"limit_key": "x"},
                        {"created_before": job.created_at - HOUR}):
            self.assertEqual(list(self.client.list(task="fail", **filters)), [], filters)


class Lists(support.BrokerCase):
    def test_queues(self):
        self.client.submit("noop", queue="seen")
        queue = self.client.queues.get("seen")
        self.assertEqual((queue.name, queue.jobs["queued"], queue.paused), ("seen", 1, False))
        self.assertIn("seen", [one.name for one in self.client.queues.list()])
        with self.assertRaises(jobmill.NotFound):
            self.client.queues.get("never_seen")

    def test_tasks(self):
        def find():
            found = {task.name: task for task in self.client.tasks.list()}
            return found if found["fib"].seen_at else None
        tasks = harness.wait_for(find, "it is stored that a worker serves the tasks")
        self.assertEqual((tasks["fib"].kind, tasks["fib"].workers, tasks["fail"].kind),
                         ("builtin", 1, "test"))
        self.assertEqual(tasks["fib"].seen_at.tzinfo, UTC)

    def test_workers(self):
        job = self.client.submit("sleep", {"ms": 60000})

        def find():
            worker, = self.client.workers.list()
            holds = [one for one in worker.holds if one.id == job.id and one.progress]
            return (worker, holds[0]) if holds else None
        worker, hold = harness.wait_for(find, "the worker tells how far the job is that it holds")
        self.assertEqual((worker.slots, worker.queues, worker.is_draining), (2, ("default",), False))
        self.assertEqual((hold.attempt, hold.has_begun, hold.progress.total), (1, True, 60000))
        self.assertTrue(0 <= hold.progress.done < 60000)
        self.assertIn("fib", worker.tasks)
        job.cancel()


class Settings(support.BrokerCase):
    def test_a_queue_is_configured_and_cleared(self):
        self.needs_route("PATCH", "/v1/queues/{name}")
        queue = self.client.queues.configure(
            "set", rate=jobmill.rate(100, 60), concurrency=7, key_concurrency=2, max_queued=1000,
            retain=HOUR, defaults={"priority": 8, "timeout": 2.5})
        self.assertEqual((queue.rate, queue.concurrency, queue.key_concurrency, queue.max_queued,
                          queue.retain),
                         ({"limit": 100, "period_ms": 60000}, 7, 2, 1000, HOUR))
        self.assertEqual((queue.defaults["priority"], queue.defaults["timeout_ms"]), (8, 2500))
        self.assertEqual(self.client.submit("noop", queue="set").refresh().priority, 8)
        queue = self.client.queues.configure("set", rate=None, retain=None)
        self.assertEqual((queue.rate, queue.retain, queue.concurrency), (None, None, 7))

    def test_pause_and_resume(self):
        self.needs_route("POST", "/v1/queues/{name}/pause")
        self.assertTrue(self.client.queues.pause("default").paused)
        self.addCleanup(self.client.queues.resume, "default")
        job = self.client.submit("echo", 1)
        self.assertFalse(job.wait(0.2).is_finished)
        self.assertTrue(self.client.queues.get("default").paused)
        self.assertFalse(self.client.queues.resume("default").paused)
        self.assertEqual(job.result(30), 1)

    def test_a_full_queue(self):
        self.needs_route("PATCH", "/v1/queues/{name}")
        self.client.queues.configure("narrow", max_queued=2, paused=True)
        with jobmill.Client(self.url, retries=0) as client:
            with self.assertRaises(jobmill.QueueFull) as caught:
                for _ in range(4):
                    client.submit("noop", queue="narrow")
        self.assertEqual((caught.exception.limit, caught.exception.retry_after), (2, 1))

    def test_a_task_is_configured(self):
        self.needs_route("PATCH", "/v1/tasks/{name}")
        task = self.client.tasks.configure("echo", concurrency=3, defaults={"max_attempts": 9})
        self.assertEqual((task.concurrency, task.defaults["max_attempts"]), (3, 9))
        self.assertEqual(self.client.submit("echo").refresh().max_attempts, 9)
        self.assertIsNone(self.client.tasks.configure("echo", concurrency=None).concurrency)
        with self.assertRaises(jobmill.NotFound):
            self.client.tasks.configure("no_such_task_here", concurrency=1)


if __name__ == "__main__":
    support.main()
