"""Jobs from submit to result, with a real broker, Redis and worker."""

import datetime
import math
import pickle
import threading
import unittest

import support
from support import harness, jobmill

UTC = datetime.timezone.utc


class Jobs(support.BrokerCase):
    queues = ("default", "listed", "crashes")

    def test_a_submit_is_a_job_and_its_result_comes(self):
        job = self.client.submit("fib", {"n": 20})
        self.assertEqual((job.task, job.queue, job.state), ("fib", "default", "queued"))
        self.assertIsNone(job.attempt)
        self.assertEqual(job.result(timeout=30), 6765)
        self.assertTrue(job.is_finished)
        self.assertEqual((job.state, job.args, job.attempt), (jobmill.SUCCEEDED, {"n": 20}, 1))

    def test_values_come_back_as_they_were(self):
        for value in (None, True, 0, -2**63, 2**64 - 1, 0.1, "", "zwölf \u0001 😀", [], {"a": [{}]}):
            with self.subTest(value=value):
                self.assertEqual(self.client.submit("echo", value, wait=30).result(0), value)

    def test_a_waited_submit_comes_back_finished(self):
        job = self.client.submit("echo", [1], wait=30)
        self.assertTrue(job.is_finished)
        self.assertEqual(job.result(timeout=0), [1])
        self.assertTrue(self.client.submit("noop", wait=math.inf).is_finished)

    def test_a_wait_that_ends_first_comes_back_with_the_job_as_it_is(self):
        job = self.client.submit("sleep", {"ms": 60000}, queue="nowhere", wait=0.05)
        self.assertFalse(job.is_finished)
        self.assertFalse(self.client.wait(job.id, 0.05).is_finished)
        with self.assertRaises(jobmill.WaitTimeout) as caught:
            job.result(timeout=0.01)
        self.assertIsInstance(caught.exception, TimeoutError)
        with self.assertRaises(jobmill.WaitTimeout):
            self.client.result(job.id, timeout=0)
        self.assertEqual(job.cancel().state, jobmill.CANCELLED)
        self.assertIn(job.raw["stopped"], (True, False, "unknown"))
        with self.assertRaises(jobmill.JobCancelled):
            job.result()
        with self.assertRaises(jobmill.AlreadyFinished):
            job.cancel()

    def test_times_are_aware_and_in_utc(self):
        before = datetime.datetime.now(UTC) - datetime.timedelta(seconds=1)
        job = self.client.submit("sleep", {"ms": 20}, timeout=2.5, wait=30)
        for moment in (job.created_at, job.begun_at, job.finished_at):
            self.assertEqual(moment.tzinfo, UTC)
            self.assertLess(before, moment)
        self.assertEqual(job.timeout, datetime.timedelta(seconds=2.5))
        self.assertGreaterEqual(job.run_time, datetime.timedelta(milliseconds=20))

    def test_a_failure_is_raised_with_its_error(self):
        job = self.client.submit("fail", {"message": "not today"}, max_attempts=1)
        with self.assertRaises(jobmill.JobFailed) as caught:
            job.result(30)
        self.assertEqual((caught.exception.error.code, caught.exception.error.message),
                         ("task_failed", "not today"))
        self.assertIn("not today (task_failed)", str(caught.exception))
        again = pickle.loads(pickle.dumps(caught.exception))
        self.assertEqual((again.job, str(again)), (job, str(caught.exception)))

    def test_a_failure_tells_the_tasks_own_code(self):
        job = self.client.submit("fail", {"code": "no_such_user"}, max_attempts=1, wait=30)
        self.assertEqual((job.error.code, job.error.task_code), ("task_failed", "no_such_user"))
        self.assertEqual(job.attempts[-1].error.task_code, "no_such_user")

    def test_a_crash_tells_the_signal(self):
        # Its third crash ends a job, with pauses between; the first shows what is told.
        job = self.client.submit("crash", {"signal": "SIGABRT"}, queue="crashes")
        harness.wait_for(lambda: job.refresh().crashes, "the crash is known")
        self.assertEqual((job.error.code, job.error.signal), ("crashed", 6))
        if not job.is_finished:
            job.cancel()

    def test_what_the_broker_refuses_is_named(self):
        with self.assertRaises(jobmill.InvalidRequest) as caught:
            self.client.submit("echo", timeout=datetime.timedelta(days=8))
        error = caught.exception
        self.assertEqual((error.status, error.code, error.field, error.limit),
                         (422, "bad_field", "timeout_ms", 604800000))
        self.assertIn("timeout_ms", str(error))
        self.assertEqual(vars(pickle.loads(pickle.dumps(error))), vars(error))
        with self.assertRaises(jobmill.NotFound):
            self.client.get("0000000000000")
        with self.assertRaises(jobmill.NotFound):
            self.client.get("../queues")
        with self.assertRaises(jobmill.ApiError) as caught:
            self.client.submit("echo", "x" * (2 << 20))
        self.assertIsInstance(caught.exception, jobmill.TooLarge)

    def test_a_key_makes_one_job(self):
        first = self.client.submit("echo", 1, idempotency_key="invoice-4711")
        second = self.client.submit("echo", 1, idempotency_key="invoice-4711")
        self.assertEqual((first.id, first.is_replay, second.is_replay), (second.id, False, True))
        with self.assertRaises(jobmill.IdempotencyMismatch):
            self.client.submit("echo", 2, idempotency_key="invoice-4711")
        self.assertNotEqual(self.client.submit("echo", 1).id, self.client.submit("echo", 1).id)

    def test_a_task_that_nobody_serves_is_accepted_with_a_warning(self):
        job = self.client.submit("nobody_serves_it", queue="nowhere")
        self.assertEqual(len(job.warnings), 1)
        self.assertEqual(self.client.submit("noop").warnings, ())

    def test_the_list_passes_over_pages(self):
        ids = [self.client.submit("echo", n, queue="listed", tags=["a", f"n{n}"]).id
               for n in range(7)]
        self.client.wait(ids[-1], 30)
        listed = list(self.client.list(queue="listed", page_size=2))
        self.assertEqual([job.id for job in listed], ids[::-1])
        self.assertEqual(listed[0].tags, ("a", "n6"))
        self.assertEqual(len(list(self.client.list(queue="listed", limit=3, page_size=2))), 3)
        self.assertEqual(list(self.client.list(queue="listed", state=["failed", "expired"])), [])
        self.assertEqual(list(self.client.list(queue="listed", task="fib")), [])
        self.assertEqual(listed[0].result(30), 6)

    def test_a_finished_job_can_be_deleted(self):
        job = self.client.submit("noop", wait=30)
        job.delete()
        with self.assertRaises(jobmill.NotFound):
            job.refresh()
        waiting = self.client.submit("nobody_serves_it", queue="nowhere")
        with self.assertRaises(jobmill.Conflict):
            waiting.delete()

    def test_many_threads_share_a_client(self):
        results = {}

        def use(number):
            for turn in range(5):
                value = [number, turn]
                results[number, turn] = self.client.submit("echo", value).result(30)
        threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, {(n, t): [n, t] for n in range(8) for t in range(5)})

    def test_connections_are_kept(self):
        with jobmill.Client(self.url) as client:
            client.get(self.client.submit("noop").id)
            kept = list(client._transport.pool._idle)
            client.submit("noop", wait=30)
            self.assertEqual(client._transport.pool._idle, kept)
            self.assertEqual(len(kept), 1)


class Outage(unittest.TestCase):
    def test_a_broker_that_is_started_again_is_found_again(self):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            client = jobmill.Client(f"unix:{mill.socket_path}", retries=0)
            job = client.submit("noop")
            mill.broker.stop()
            with self.assertRaises(jobmill.ConnectionFailed):
                client.get(job.id)
            mill.start_broker()
            self.assertEqual(client.get(job.id).id, job.id)
            client.close()

    def test_a_call_outlasts_a_restart(self):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            mill.start_worker()
            with jobmill.Client(f"unix:{mill.socket_path}", retries=100) as client:
                job = client.submit("sleep", {"ms": 500})
                mill.broker.stop()
                results = []
                thread = threading.Thread(target=lambda: results.append(job.result(60)))
                thread.start()
                mill.start_broker()
                thread.join()
                self.assertEqual(results, [None])
                self.assertEqual(job.state, jobmill.SUCCEEDED)


if __name__ == "__main__":
    support.main()
