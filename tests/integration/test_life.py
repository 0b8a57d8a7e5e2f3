"""A job's whole life as a client sees and steers it: tried again with its backoff, put off, expired,
killed by its time limit, unique, changed, tried again by a person; one by one and many at once.
Every answer is checked against openapi.yaml."""

import datetime
import time
import unittest

import harness
import openapi

NO_JOB = "0000000000001"


def unix(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def rfc3339(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat("T", "milliseconds")


class Life(unittest.TestCase):
    """A mill with a worker of one slot for the queue `default`; other queues are served by nobody."""

    broker_options = ()

    @classmethod
    def setUpClass(cls):
        cls.document = openapi.Document((harness.SOURCE / "schema/openapi.json").read_text("utf-8"))
        cls.mill = cls.enterClassContext(harness.Mill())
        cls.mill.start_redis()
        cls.mill.start_broker(*cls.broker_options)
        cls.mill.start_worker("--test-tasks", "--slots", "2")
        cls.mill.wait_for_workers()

    def call(self, method, path, body=None, headers=None):
        answer = self.mill.call(method, path, body, headers)
        self.document.check_answer(method, path, answer)
        return answer

    def take(self, method, path, body=None, status=200):
        answer = self.call(method, path, body)
        self.assertEqual(answer.status, status, answer)
        return answer.value

    def refused(self, status, code, method, path, body=None):
        answer = self.call(method, path, body)
        self.assertEqual((answer.status, answer.code), (status, code), answer)
        return answer

    def submit(self, task="noop", status=201, **fields):
        return self.take("POST", "/v1/jobs", {"task": task, **fields}, status)["id"]

    def job(self, job_id, wait=None):
        return self.take("GET", f"/v1/jobs/{job_id}" + (f"?wait={wait}" if wait else ""))

    def wait_until_gone(self, job_id):
        harness.wait_for(lambda: self.call("GET", f"/v1/jobs/{job_id}").status == 404,
                         f"{job_id} is gone")

    def end(self, job_id):
        job = self.job(job_id, wait=30)
        self.assertIn("finished_at", job)
        return job


class Retries(Life):
    def waits(self, job):
        """Seconds between the end of an attempt and the beginning of the next."""
        ends = [unix(attempt["ended_at"]) for attempt in job["attempts"]]
        begins = [unix(attempt["begun_at"]) for attempt in job["attempts"]]
        return [begin - end for begin, end in zip(begins[1:], ends)]

    def check_history(self, job, outcomes):
        self.assertEqual([a["outcome"] for a in job["attempts"]], outcomes)
        self.assertEqual([a["attempt"] for a in job["attempts"]], list(range(1, len(outcomes) + 1)))
        for attempt in job["attempts"]:
            self.assertEqual("error" in attempt, attempt["outcome"] != "succeeded", attempt)
            self.assertRegex(attempt["worker"], "^[0-9a-f]{16}$")

    def test_a_failing_job_is_tried_again_with_its_backoff_and_then_fails_with_its_history(self):
        job = self.end(self.submit("fail", args={"message": "bad day"},
                                   max_attempts=4, backoff={"base_ms": 100, "factor": 2, "jitter": 0}))
        self.assertEqual((job["state"], job["attempt"], job["failures"]), ("failed", 4, 4))
        self.check_history(job, ["failed"] * 4)
        self.assertEqual({(a["error"]["code"], a["error"]["message"]) for a in job["attempts"]},
                         {("task_failed", "bad day")})
        for wait, least in zip(self.waits(job), (0.1, 0.2, 0.4)):
            self.assertTrue(least - 0.002 <= wait < least + 5, (wait, least))

    def test_a_fixed_backoff_does_not_grow_and_the_ceiling_holds(self):
        for backoff in ({"kind": "fixed", "base_ms": 60, "jitter": 0},
                        {"base_ms": 60, "factor": 100, "ceiling_ms": 60, "jitter": 0}):
            job = self.end(self.submit("fail", max_attempts=3, backoff=backoff))
            for wait in self.waits(job):
                self.assertTrue(0.058 <= wait < 3, wait)

    def test_a_job_that_succeeds_in_the_end_shows_what_went_before(self):
        job = self.end(self.submit("fail", args={"until_attempt": 3}, backoff={"base_ms": 1}))
        self.assertEqual((job["state"], job["result"]), ("succeeded", 3))
        self.check_history(job, ["failed", "failed", "succeeded"])
        self.assertNotIn("error", job)

    def test_a_job_waits_as_scheduled_and_shows_its_last_error_and_due_time(self):
        job_id = self.submit("fail", max_attempts=2, backoff={"kind": "fixed", "base_ms": 3600000})
        job = self.mill.wait_for_state(job_id, "scheduled")
        self.check_history(job, ["failed"])
        self.assertEqual(job["error"]["code"], "task_failed")
        self.assertGreater(unix(job["due_at"]) - time.time(), 3000)
        self.assertNotIn("attempts", self.take("GET", "/v1/jobs?limit=1")["jobs"][0])

    def test_a_crash_is_in_the_history_with_its_signal(self):
        job = self.end(self.submit("crash", max_attempts=5))
        self.assertEqual((job["state"], job["crashes"]), ("failed", 3))
        self.check_history(job, ["crashed"] * 3)
        self.assertEqual({a["error"]["signal"] for a in job["attempts"]}, {11})

    def test_a_job_beyond_its_time_limit_is_killed(self):
        began = time.monotonic()
        job = self.end(self.submit("sleep", args={"ms": 60000}, timeout_ms=200, grace_ms=100,
                                   max_attempts=1))
        self.assertLess(time.monotonic() - began, 20)
        self.assertEqual((job["state"], job["error"]["code"]), ("failed", "timed_out"))
        self.check_history(job, ["timed_out"])

    def test_a_running_job_that_is_cancelled_was_killed(self):
        job_id = self.submit("sleep", args={"ms": 60000})
        self.mill.wait_for_state(job_id, "running")
        self.assertEqual(self.take("POST", f"/v1/jobs/{job_id}/cancel")["state"], "cancelled")
        self.assertEqual([a["outcome"] for a in self.job(job_id)["attempts"]], ["killed"])


class Times(Life):
    def test_a_job_begins_no_sooner_than_it_is_due(self):
        due = time.time() + 0.4
        for fields in ({"delay_ms": 400}, {"run_at": rfc3339(due)}):
            answer = self.call("POST", "/v1/jobs?wait=30", {"task": "noop", **fields})
            self.assertEqual((answer.status, answer.value["state"]), (200, "succeeded"), answer)
            self.assertGreaterEqual(unix(answer.value["begun_at"]), due - 0.001)

    def test_what_has_not_begun_in_time_expires(self):
        ids = [self.submit(expires_at=rfc3339(time.time() + 0.3), queue="nobody"),
               self.submit(expires_at=rfc3339(time.time() + 0.3), delay_ms=200, queue="nobody")]
        kept = self.submit(expires_at=rfc3339(time.time() + 3600), queue="nobody")
        for job_id in ids:
            job = self.end(job_id)
            self.assertEqual((job["state"], job["attempts"]), ("expired", []))
            self.assertGreaterEqual(unix(job["finished_at"]), unix(job["expires_at"]) - 0.001)
        self.assertEqual(self.job(kept)["state"], "queued")

    def test_a_retry_that_would_come_too_late_expires(self):
        job = self.end(self.submit("fail", expires_at=rfc3339(time.time() + 3), max_attempts=9,
                                   backoff={"kind": "fixed", "base_ms": 3600000}))
        self.assertEqual((job["state"], job["attempts"][0]["outcome"]), ("expired", "failed"))

    def test_what_has_begun_does_not_expire(self):
        job_id = self.submit("sleep", args={"ms": 3500}, expires_at=rfc3339(time.time() + 3))
        self.mill.wait_for_state(job_id, "running")
        self.assertEqual(self.end(job_id)["state"], "succeeded")

    def test_delays_and_expiries_hold_over_a_restart_of_the_broker(self):
        late = self.submit(delay_ms=600)
        expired = self.submit(queue="nobody", expires_at=rfc3339(time.time() + 0.6))
        self.mill.broker.kill()
        self.mill.start_broker()
        self.assertEqual(self.end(late)["state"], "succeeded")
        self.assertEqual(self.end(expired)["state"], "expired")


class Order(Life):
    """What goes first, seen from when the jobs begin while one slot after the other becomes free."""

    def begun_in_order(self, ids):
        begun = [unix(self.end(job_id)["begun_at"]) for job_id in ids]
        self.assertEqual(begun, sorted(begun))

    def block(self):
        ids = [self.submit("sleep", args={"ms": 60000}, priority=9) for _ in range(2)]
        for job_id in ids:
            self.mill.wait_for_state(job_id, "running")
        return ids

    def free(self, ids):
        for job_id in ids:
            self.take("POST", f"/v1/jobs/{job_id}/cancel")

    def test_the_highest_priority_goes_first(self):
        blockers = self.block()
        ids = {priority: self.submit("sleep", args={"ms": 150}, priority=priority)
               for priority in (1, 5, 9)}
        self.free(blockers[:1])
        self.begun_in_order([ids[9], ids[1]])
        self.begun_in_order([ids[9], ids[5]])
        self.free(blockers[1:])

    def test_a_changed_priority_counts(self):
        blockers = self.block()
        ids = [self.submit("sleep", args={"ms": 150}) for _ in range(3)]
        self.take("PATCH", f"/v1/jobs/{ids[2]}", {"priority": 6})
        self.free(blockers[:1])
        self.begun_in_order([ids[2], ids[0], ids[1]])
        self.free(blockers[1:])


class Kept(Life):
    """What the broker's options say of how long things are kept."""

    broker_options = ("--retain", "3s", "--retain-failed", "2h", "--idempotency-window", "1s")

    def test_the_options_hold_for_what_says_nothing_itself(self):
        short, failed = self.submit(), self.submit("fail", max_attempts=1)
        longer = self.submit(retain_ms=3600000)
        for one in short, failed, longer:
            self.end(one)
        self.wait_until_gone(short)
        self.job(failed)
        self.job(longer)

    def test_a_key_is_free_again_behind_its_window(self):
        def submit(task):
            return self.call("POST", "/v1/jobs", {"task": task},
                             {"Idempotency-Key": "short"}).status

        self.assertEqual(submit("noop"), 201)
        harness.wait_for(lambda: submit("echo") == 201, "the key is free again")


class Retention(Life):
    def test_a_job_is_kept_as_long_as_it_says_whatever_its_end(self):
        ids = [self.submit(retain_ms=1000), self.submit("fail", max_attempts=1, retain_ms=1000)]
        kept = [self.submit(), self.submit("fail", max_attempts=1)]
        for job_id in ids + kept:
            self.end(job_id)
        for job_id in ids:
            self.wait_until_gone(job_id)
        for job_id in kept:
            self.job(job_id)

    def test_a_queue_says_how_long_its_jobs_are_kept(self):
        self.take("PATCH", "/v1/queues/default", {"retain_ms": 1000})
        job_id, failed = self.submit(), self.submit("fail", max_attempts=1)
        longer = self.submit(retain_ms=3600000)
        for one in job_id, failed, longer:
            self.end(one)
        self.wait_until_gone(job_id)
        self.take("PATCH", "/v1/queues/default", {"retain_failed_ms": 1, "retain_ms": None})
        self.job(failed)
        self.job(longer)
        other = self.submit("fail", max_attempts=1)
        self.wait_until_gone(other)
        self.take("PATCH", "/v1/queues/default", {"retain_failed_ms": None})


class Unique(Life):
    def post(self, unique, query="", **fields):
        return self.call("POST", "/v1/jobs" + query, {"task": "noop", "unique": unique, **fields})

    def conflict(self, holder, unique, **fields):
        """What comes of a second submit, by each on_conflict but replace."""
        existing = self.post({**unique, "on_conflict": "existing"}, **fields)
        self.assertEqual((existing.status, existing.value["id"]), (200, holder), existing)
        self.assertIs(existing.value["is_existing"], True)
        rejected = self.post({**unique, "on_conflict": "reject"}, **fields)
        self.assertEqual((rejected.status, rejected.code), (409, "unique_conflict"), rejected)
        self.assertIn(holder, rejected.value["detail"])
        for answer in existing, rejected:
            self.assertEqual(answer.headers["Location"], "/v1/jobs/" + holder)

    def made(self, unique, **fields):
        answer = self.post(unique, **fields)
        self.assertEqual(answer.status, 201, answer)
        self.assertNotIn("is_existing", answer.value)
        return answer.value["id"]

    def test_while_queued_the_place_is_free_when_it_runs(self):
        unique = {"key": "q", "while": "queued"}
        fields = {"task": "sleep", "args": {"ms": 60000}}
        holder = self.made(unique, delay_ms=3600000, **fields)
        self.conflict(holder, unique, **fields)
        self.take("PATCH", f"/v1/jobs/{holder}", {"run_at": None})
        self.mill.wait_for_state(holder, "running")
        self.take("POST", f"/v1/jobs/{self.made(unique, delay_ms=1000, **fields)}/cancel")
        self.take("POST", f"/v1/jobs/{holder}/cancel")

    def test_while_unfinished_the_place_is_free_when_it_has_ended(self):
        for unique in ({"key": "u"}, {"key": "u2", "while": "unfinished"}):
            holder = self.made(unique, task="sleep", args={"ms": 60000})
            self.mill.wait_for_state(holder, "running")
            self.conflict(holder, unique)
            self.take("POST", f"/v1/jobs/{holder}/cancel")
            self.assertEqual(self.end(self.made(unique))["state"], "succeeded")
            self.made(unique)

    def test_for_a_period_the_place_is_held_whatever_becomes_of_the_job(self):
        unique = {"key": "p", "while": "period", "period_ms": 3000}
        began = time.time()
        holder = self.made(unique)
        self.assertEqual(self.end(holder)["state"], "succeeded")
        self.conflict(holder, unique)
        harness.wait_for(lambda: self.post(unique).status == 201, "the period is over")
        self.assertGreaterEqual(time.time() - began, 2.99)

    def test_replace_cancels_what_waits_and_is_refused_by_what_runs(self):
        unique = {"key": "r", "on_conflict": "replace"}
        for fields in ({"queue": "nobody"}, {"delay_ms": 3600000}):
            first = self.made(unique, **fields)
            answer = self.post(unique, **fields)
            self.assertEqual((answer.status, answer.value["replaced"]), (201, first), answer)
            self.assertEqual(answer.headers["Jobmill-Replaced"], first)
            self.assertEqual(self.job(first)["state"], "cancelled")
            self.take("POST", f"/v1/jobs/{answer.value['id']}/cancel")
        runs = self.made(unique, task="sleep", args={"ms": 60000})
        self.mill.wait_for_state(runs, "running")
        answer = self.post(unique)
        self.assertEqual((answer.status, answer.code), (409, "unique_conflict"), answer)
        self.take("POST", f"/v1/jobs/{runs}/cancel")

    def test_an_existing_job_is_waited_for(self):
        holder = self.made({"key": "w"}, task="sleep", args={"ms": 300})
        answer = self.post({"key": "w"}, "?wait=30")
        self.assertEqual((answer.status, answer.value["id"], answer.value["state"]),
                         (200, holder, "succeeded"), answer)
        self.assertIs(answer.value["is_existing"], True)

    def test_an_existing_job_is_the_answer_to_a_repeat_under_the_same_key_too(self):
        holder = self.made({"key": "both"}, queue="nobody")
        body = {"task": "noop", "queue": "nobody", "unique": {"key": "both"}}
        for replayed in None, "true", "true":
            answer = self.mill.post("/v1/jobs", body, Idempotency_Key="both")
            self.assertEqual((answer.status, answer.value["id"]), (200, holder), answer)
            self.assertIs(answer.value["is_existing"], True)
            self.assertEqual(answer.headers["Idempotency-Replayed"], replayed)
            if replayed:
                self.mill.post(f"/v1/jobs/{holder}/cancel")
        self.made({"key": "both"}, queue="nobody")

    def test_without_a_key_task_queue_and_arguments_make_it(self):
        fields = {"task": "noop", "queue": "nobody", "args": {"a": 1, "b": {"c": [2]}}}
        holder = self.made({}, **fields)
        self.conflict(holder, {}, **{**fields, "args": {"b": {"c": [2]}, "a": 1}})
        for other in ({"task": "echo"}, {"queue": "nobody2"}, {"args": {"a": 1}}, {"args": None},
                      {"args": {"a": 1, "b": {"c": [3]}}}):
            self.made({}, **{**fields, **other})
        self.made({"key": "noop"}, **fields)

    def test_chosen_arguments_are_all_that_counts(self):
        def fields(**args):
            return {"task": "noop", "queue": "nobody", "args": args}
        unique = {"args": ["user", "day"]}
        holder = self.made(unique, **fields(user=7, day="mon", size=1))
        self.conflict(holder, {"args": ["day", "user", "day"]}, **fields(size=2, day="mon", user=7))
        self.made(unique, **fields(user=7, day="tue"))
        self.made(unique, **fields(user=7))
        self.made(unique, **fields(user=7, day=None))
        self.made({}, **fields(user=7, day="mon"))

    def test_uniqueness_holds_over_a_restart(self):
        holder = self.made({"key": "restart"}, queue="nobody")
        self.mill.broker.kill()
        self.mill.start_broker()
        self.conflict(holder, {"key": "restart"}, queue="nobody")


class Change(Life):
    def test_a_waiting_job_is_changed_in_every_part(self):
        job_id = self.submit(queue="nobody", tags=["old"], limit_key="k")
        wanted = {"priority": 9, "args": {"n": [1]}, "expires_at": "2199-01-01T00:00:00.000Z",
                  "timeout_ms": 7, "max_attempts": 8, "tags": ["new", "er"], "retain_ms": 9,
                  "backoff": {"kind": "fixed", "base_ms": 1, "factor": 1, "ceiling_ms": 2, "jitter": 0}}
        before = self.call("GET", f"/v1/jobs/{job_id}").headers["ETag"]
        job = self.take("PATCH", f"/v1/jobs/{job_id}", wanted)
        self.assertEqual({name: job[name] for name in wanted}, wanted)
        self.assertEqual((job["limit_key"], job["state"]), ("k", "queued"))
        self.assertNotEqual(self.call("GET", f"/v1/jobs/{job_id}").headers["ETag"], before)
        self.assertEqual([j["id"] for j in self.take("GET", "/v1/jobs?tag=er")["jobs"]], [job_id])
        self.assertEqual(self.take("GET", "/v1/jobs?tag=old")["jobs"], [])
        job = self.take("PATCH", f"/v1/jobs/{job_id}", {"expires_at": None, "tags": None,
                                                       "retain_ms": None, "backoff": None})
        self.assertFalse({"expires_at", "tags", "retain_ms", "backoff"} & set(job), job)
        self.assertEqual(self.take("PATCH", f"/v1/jobs/{job_id}", {}), job)

    def test_its_time_can_be_moved_both_ways(self):
        job_id = self.submit(delay_ms=3600000)
        job = self.take("PATCH", f"/v1/jobs/{job_id}", {"run_at": "2035-01-01T00:00:00+01:00"})
        self.assertEqual((job["state"], job["due_at"]), ("scheduled", "2034-12-31T23:00:00.000Z"))
        job = self.take("PATCH", f"/v1/jobs/{job_id}", {"delay_ms": 300})
        self.assertEqual(job["state"], "scheduled")
        self.assertEqual(self.end(job_id)["state"], "succeeded")
        waiting = self.submit(queue="nobody")
        job = self.take("PATCH", f"/v1/jobs/{waiting}", {"delay_ms": 3600000})
        self.assertEqual(job["state"], "scheduled")
        job = self.take("PATCH", f"/v1/jobs/{waiting}", {"run_at": None})
        self.assertEqual(job["state"], "queued")
        self.take("PATCH", f"/v1/jobs/{waiting}", {"expires_at": rfc3339(time.time() + 60)})
        self.refused(422, "bad_field", "PATCH", f"/v1/jobs/{waiting}", {"delay_ms": 3600000})

    def test_what_waits_in_redis_is_taken_back_and_runs_as_it_was_changed(self):
        blockers = [self.submit("sleep", args={"ms": 60000}) for _ in range(2)]
        for blocker in blockers:
            self.mill.wait_for_state(blocker, "running")
        job_id = self.submit("echo", args="old")
        self.take("PATCH", f"/v1/jobs/{job_id}", {"args": "new"})
        for blocker in blockers:
            self.take("POST", f"/v1/jobs/{blocker}/cancel")
        job = self.end(job_id)
        self.assertEqual((job["result"], job["attempt"], job["failures"]), ("new", 2, 0))
        self.assertEqual([row["attempt"] for row in job["attempts"]], [2])

    def test_what_runs_or_has_ended_is_not_changed(self):
        running = self.submit("sleep", args={"ms": 60000})
        self.mill.wait_for_state(running, "running")
        self.refused(409, "job_running", "PATCH", f"/v1/jobs/{running}", {"priority": 1})
        self.take("POST", f"/v1/jobs/{running}/cancel")
        self.refused(409, "already_finished", "PATCH", f"/v1/jobs/{running}", {"priority": 1})
        self.refused(404, "no_such_job", "PATCH", f"/v1/jobs/{NO_JOB}", {"priority": 1})

    def test_an_expiry_that_is_set_later_holds(self):
        job_id = self.submit(queue="nobody")
        self.take("PATCH", f"/v1/jobs/{job_id}", {"expires_at": rfc3339(time.time() + 0.3)})
        self.assertEqual(self.end(job_id)["state"], "expired")


class Again(Life):
    def test_a_finished_job_is_tried_again_with_all_budgets_anew(self):
        job_id = self.submit("fail", max_attempts=2, backoff={"base_ms": 1})
        self.assertEqual(self.end(job_id)["state"], "failed")
        job = self.take("POST", f"/v1/jobs/{job_id}/retry")
        self.assertEqual((job["attempt"], job["failures"], len(job["attempts"])), (3, 0, 2))
        job = self.end(job_id)
        self.assertEqual((job["state"], job["attempt"], job["failures"]), ("failed", 4, 2))
        self.assertEqual([a["outcome"] for a in job["attempts"]], ["failed"] * 4)

    def test_every_end_can_be_tried_again(self):
        done = self.submit()
        self.assertEqual(self.end(done)["state"], "succeeded")
        cancelled = self.submit(delay_ms=3600000)
        self.take("POST", f"/v1/jobs/{cancelled}/cancel")
        expired = self.submit(delay_ms=200, expires_at=rfc3339(time.time() + 0.4), queue="nobody")
        self.assertEqual(self.end(expired)["state"], "expired")
        for job_id, count in (done, 2), (cancelled, 1):
            self.take("POST", f"/v1/jobs/{job_id}/retry")
            job = self.end(job_id)
            self.assertEqual((job["state"], job["attempt"]), ("succeeded", 2))
            self.assertEqual([a["outcome"] for a in job["attempts"]], ["succeeded"] * count)
        job = self.take("POST", f"/v1/jobs/{expired}/retry")
        self.assertEqual((job["state"], "expires_at" in job), ("queued", False))

    def test_a_retry_keeps_how_the_job_had_ended(self):
        crashed = self.submit("crash", max_attempts=1)
        self.end(crashed)
        killed = self.submit("sleep", args={"ms": 60000})
        self.mill.wait_for_state(killed, "running")
        self.take("POST", f"/v1/jobs/{killed}/cancel")
        waiting = self.submit("fail", backoff={"base_ms": 3600000})
        self.mill.wait_for_state(waiting, "scheduled")
        self.take("POST", f"/v1/jobs/{waiting}/cancel")
        for job_id, outcomes in ((crashed, ["crashed"] * 3), (killed, ["killed"]), (waiting, ["failed"])):
            before = self.job(job_id)["attempts"]
            self.assertEqual([a["outcome"] for a in before], outcomes)
            after = self.take("POST", f"/v1/jobs/{job_id}/retry")["attempts"]
            self.assertEqual(after, before)
            self.take("POST", f"/v1/jobs/{job_id}/cancel")

    def test_what_has_not_ended_is_not_tried_again(self):
        job_id = self.submit(queue="nobody")
        self.refused(409, "not_finished", "POST", f"/v1/jobs/{job_id}/retry")
        self.refused(404, "no_such_job", "POST", f"/v1/jobs/{NO_JOB}/retry")


class Many(Life):
    def bulk(self, verb, query):
        return self.take("POST", f"/v1/jobs/{verb}?{query}")

    def states(self, ids):
        return [self.job(job_id)["state"] for job_id in ids]

    def test_a_dry_run_tells_and_changes_nothing(self):
        ids = [self.submit(queue="dry", tags=["a"]) for _ in range(3)]
        self.take("POST", f"/v1/jobs/{ids[0]}/cancel")
        expected = {"matched": 2, "changed": 0, "dry_run": True, "next_cursor": None}
        self.assertEqual(self.bulk("cancel", "queue=dry&dry_run=true"), expected)
        self.assertEqual(self.bulk("delete", "queue=dry&dry_run=true"), {**expected, "matched": 1})
        self.assertEqual(self.bulk("retry", "queue=dry&dry_run=true"), {**expected, "matched": 1})
        self.assertEqual(self.states(ids), ["cancelled", "queued", "queued"])

    def test_many_are_cancelled_tried_again_and_removed_by_filter(self):
        ids = [self.submit(queue="many", tags=["even" if i % 2 == 0 else "odd"], delay_ms=i % 3)
               for i in range(12)]
        self.submit(queue="many2")
        found = self.bulk("cancel", "queue=many&tag=even")
        self.assertEqual(found, {"matched": 6, "changed": 6, "dry_run": False, "next_cursor": None})
        self.assertEqual(set(self.states(ids[::2])), {"cancelled"})
        self.assertEqual(self.bulk("retry", "queue=many&state=cancelled")["changed"], 6)
        self.assertNotIn("cancelled", self.states(ids))
        self.assertEqual(self.bulk("cancel", "queue=many&dry_run=false")["changed"], 12)
        self.assertEqual(self.bulk("delete", "queue=many")["changed"], 12)
        for job_id in ids:
            self.refused(404, "no_such_job", "GET", f"/v1/jobs/{job_id}")
        self.assertEqual(self.take("GET", "/v1/queues/many2")["jobs"]["queued"], 1)

    def test_states_that_the_change_does_not_fit_are_not_meant(self):
        job_id = self.submit(queue="unfit")
        for verb, state in (("delete", "queued"), ("retry", "queued"), ("cancel", "succeeded")):
            self.assertEqual(self.bulk(verb, f"queue=unfit&state={state}"),
                             {"matched": 0, "changed": 0, "dry_run": False, "next_cursor": None})
        self.assertEqual(self.states([job_id]), ["queued"])

    def test_a_cancel_of_many_stops_what_runs_and_wakes_who_waits(self):
        ids = [self.submit("sleep", args={"ms": 60000}, tags=["stop"]) for _ in range(5)]
        for job_id in ids[:2]:
            self.mill.wait_for_state(job_id, "running")
        connection = self.mill.connection()
        connection.request("GET", f"/v1/jobs/{ids[0]}?wait=30")
        self.assertEqual(self.bulk("cancel", "tag=stop")["changed"], 5)
        self.assertEqual(harness.Answer(connection.getresponse()).value["state"], "cancelled")
        connection.close()
        self.assertEqual(self.mill.submit("noop", wait=30)["state"], "succeeded")

    def test_more_than_one_request_can_change_is_gone_through_with_the_cursor(self):
        count = 10500
        lines = b'{"task":"noop","queue":"mass"}\n' * count
        answer = self.mill.call("POST", "/v1/jobs/batch", lines,
                                {"Content-Type": "application/x-ndjson"})
        self.assertEqual((answer.status, answer.body.count(b'"id"')), (200, count))
        for verb in "cancel", "delete":
            changed, cursor = [], ""
            while cursor is not None:
                found = self.bulk(verb, "queue=mass" + (f"&cursor={cursor}" if cursor else ""))
                changed.append(found["changed"])
                cursor = found["next_cursor"]
            self.assertLessEqual(max(changed), 10000)
            self.assertEqual(sum(changed), count, changed)
            self.assertGreaterEqual(len(changed), 2)
        self.assertEqual(set(self.take("GET", "/v1/queues/mass")["jobs"].values()), {0})

    def test_without_a_filter_nothing_is_changed(self):
        for verb in "cancel", "retry", "delete":
            for query in "", "?dry_run=true", f"?cursor={NO_JOB}":
                self.refused(400, "no_filter", "POST", f"/v1/jobs/{verb}{query}")


if __name__ == "__main__":
    unittest.main()
