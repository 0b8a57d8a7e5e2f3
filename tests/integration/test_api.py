"""Every route of the HTTP interface, where it succeeds and where it is refused, through the real
programs. Every answer is checked against openapi.yaml."""

import datetime
import json
import threading
import time
import unittest

import harness
import openapi

NO_JOB = "0000000000001"


def rfc3339(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat("T", "milliseconds")


def unix(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Api(unittest.TestCase):
    """One mill for all tests of a class; `worker` says with which options it has a worker."""

    worker = ["--test-tasks"]

    @classmethod
    def setUpClass(cls):
        cls.document = openapi.Document((harness.SOURCE / "schema/openapi.json").read_text("utf-8"))
        cls.mill = cls.enterClassContext(harness.Mill())
        cls.mill.start_redis()
        cls.mill.start_broker()
        if cls.worker is not None:
            cls.mill.start_worker(*cls.worker)
            cls.mill.wait_for_workers()

    def call(self, method, path, body=None, connection=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.mill.call(method, path, body, headers, connection)
        self.document.check_answer(method, path, answer)
        return answer

    def get(self, path, **headers):
        return self.call("GET", path, **headers)

    def post(self, path, body=None, **headers):
        return self.call("POST", path, body, **headers)

    def assert_problem(self, answer, status, code, field=None, limit=None):
        self.assertEqual((answer.status, answer.code), (status, code), answer)
        self.assertEqual(answer.value["status"], status)
        self.assertEqual(answer.value.get("field"), field, answer)
        self.assertEqual(answer.value.get("limit"), limit, answer)


class Submit(Api):
    def test_a_submit_is_answered_with_the_job_and_its_place(self):
        answer = self.post("/v1/jobs", {"task": "noop"})
        self.assertEqual(answer.status, 201)
        job = answer.value
        self.assertEqual(answer.headers["Location"], "/v1/jobs/" + job["id"])
        self.assertEqual((job["task"], job["queue"], job["state"]), ("noop", "default", "queued"))
        self.assertNotIn("warnings", job)
        self.assertIsNone(answer.headers["Jobmill-Warning"])
        self.assertEqual(self.get(answer.headers["Location"]).value["created_at"], job["created_at"])

    def test_every_field_is_kept(self):
        asked = {"task": "echo", "args": {"a": [1, 2.5, None, "ä\0"]}, "queue": "fields",
                 "timeout_ms": 60000, "max_attempts": 7, "tags": ["red", "größer"], "priority": 9,
                 "expires_at": "2199-12-31T23:59:59.999Z", "grace_ms": 1, "limit_key": "Kunde Ä",
                 "backoff": {"kind": "fixed", "base_ms": 7, "factor": 1.5, "ceiling_ms": 9,
                             "jitter": 0.125}, "retain_ms": 315360000000,
                 "unique": {"args": ["a"], "while": "period", "period_ms": 5,
                            "on_conflict": "reject"}}
        job = self.get(self.post("/v1/jobs", asked).headers["Location"]).value
        self.assertEqual({name: job[name] for name in asked}, asked)

    def test_64_bit_integers_come_back_exactly(self):
        numbers = [2**64 - 1, -2**63, 2**53 + 1, 0.1, 1.0]
        answer = self.post("/v1/jobs?wait=30", {"task": "echo", "args": numbers})
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.value["result"], numbers)
        self.assertIn(b"18446744073709551615", answer.body)
        self.assertIn(b"1.0]", answer.body)

    def test_a_submit_with_a_wait_gives_the_finished_job(self):
        for path, headers in (("/v1/jobs?wait=30", {}), ("/v1/jobs", {"Prefer": "wait=30"})):
            answer = self.post(path, {"task": "echo", "args": "hello"}, **headers)
            self.assertEqual(answer.status, 200, answer)
            self.assertEqual((answer.value["state"], answer.value["result"]), ("succeeded", "hello"))
            self.assertEqual(answer.value["attempt"], 1)
            self.assertEqual(answer.headers["Preference-Applied"], "wait=30" if headers else None)

    def test_a_wait_that_is_over_gives_202_and_the_job_as_it_is(self):
        began = time.monotonic()
        answer = self.post("/v1/jobs?wait=0.3", {"task": "noop", "queue": "nobody"})
        self.assertGreaterEqual(time.monotonic() - began, 0.29)
        self.assertEqual(answer.status, 202, answer)
        self.assertEqual(answer.value["state"], "queued")
        self.assertEqual(answer.headers["Location"], "/v1/jobs/" + answer.value["id"])

    def test_a_task_that_nobody_serves_is_taken_with_a_warning(self):
        answer = self.post("/v1/jobs", {"task": "no.such.task"})
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.value["warnings"], [answer.headers["Jobmill-Warning"]])
        keyed = self.post("/v1/jobs", {"task": "no.such.task"}, Idempotency_Key="warned")
        self.assertNotIn("warnings", keyed.value)
        self.assertIn("no worker", keyed.headers["Jobmill-Warning"])

    def test_what_is_wrong_in_a_body_is_named(self):
        week_ms = 7 * 24 * 3600 * 1000
        for body, status, code, field, limit in (
                ({}, 422, "missing_field", "task", None),
                ({"args": 1}, 422, "missing_field", "task", None),
                ({"task": "a", "speed": 9}, 422, "unknown_field", "speed", None),
                ({"task": ""}, 422, "bad_field", "task", 64),
                ({"task": "a b"}, 422, "bad_field", "task", 64),
                ({"task": "a" * 65}, 422, "bad_field", "task", 64),
                ({"task": 1}, 422, "bad_field", "task", None),
                ({"task": "a", "queue": "a/b"}, 422, "bad_field", "queue", 64),
                ({"task": "a", "queue": None}, 422, "bad_field", "queue", None),
                ({"task": "a", "timeout_ms": 0}, 422, "bad_field", "timeout_ms", week_ms),
                ({"task": "a", "timeout_ms": week_ms + 1}, 422, "bad_field", "timeout_ms", week_ms),
                ({"task": "a", "timeout_ms": "1"}, 422, "bad_field", "timeout_ms", None),
                ({"task": "a", "max_attempts": 1001}, 422, "bad_field", "max_attempts", 1000),
                ({"task": "a", "tags": ["x"] * 17}, 422, "bad_field", "tags", 16),
                ({"task": "a", "tags": ["x" * 65]}, 422, "bad_field", "tags", 64),
                ({"task": "a", "tags": "x"}, 422, "bad_field", "tags", None),
                ([], 422, "bad_field", "", None),
                ("a", 422, "bad_field", "", None)):
            with self.subTest(body=str(body)[:60]):
                answer = self.post("/v1/jobs", body)
                self.assert_problem(answer, status, code, field or None, limit)

    def test_a_body_that_is_no_value_is_refused(self):
        for body, kind, code in ((b"{", "application/json", "bad_json"),
                                 (b"", "application/json", "bad_json"),
                                 (b'{"task":"a","task":"b"}', "application/json", "bad_json"),
                                 (b'{"task":"\xff"}', "application/json", "bad_json"),
                                 (b'{"task":"a","args":18446744073709551616}', "application/json",
                                  "bad_json"),
                                 (b'{"task":"a"} x', "application/json", "bad_json"),
                                 (b"\x81\xa4task", "application/msgpack", "bad_msgpack"),
                                 (b"\xc1", "application/msgpack", "bad_msgpack"),
                                 (b"\x81\xa4task\xa1a\x00", "application/msgpack", "bad_msgpack"),
                                 (b"\x82\xa4task\xa1a\xa4args\xd4\x01\x00", "application/msgpack",
                                  "bad_msgpack")):
            with self.subTest(body=body):
                answer = self.post("/v1/jobs", body, Content_Type=kind)
                self.assertEqual((answer.status, answer.code), (400, code), answer)

    def test_an_unknown_content_type_is_415(self):
        for kind in ("application/x-www-form-urlencoded", "text/plain", "",
                     "application/json;charset=latin1"):
            answer = self.post("/v1/jobs", b'{"task":"noop"}', Content_Type=kind)
            self.assert_problem(answer, 415, "unsupported_media_type", "Content-Type")

    def test_a_body_above_the_limit_is_413_and_names_it(self):
        answer = self.post("/v1/jobs", {"task": "noop", "args": "x" * (1 << 20)})
        self.assertEqual((answer.status, answer.code), (413, "body_too_large"), answer)
        self.assertEqual(answer.value["limit"], 1 << 20)

    def test_a_submit_without_a_body_is_411(self):
        connection = self.mill.connection()
        connection.putrequest("POST", "/v1/jobs")
        connection.putheader("Content-Type", "application/json")
        connection.endheaders()
        answer = harness.Answer(connection.getresponse())
        connection.close()
        self.document.check_answer("POST", "/v1/jobs", answer)
        self.assertEqual((answer.status, answer.code), (411, "length_required"), answer)

    def test_a_chunked_body_is_a_body(self):
        connection = self.mill.connection()
        connection.request("POST", "/v1/jobs", iter([b'{"task":', b'"noop"}']),
                           {"Content-Type": "application/json"}, encode_chunked=True)
        self.assertEqual(harness.Answer(connection.getresponse()).status, 201)
        connection.close()

    def test_a_wrong_wait_is_refused_and_stores_nothing(self):
        before = self.get("/v1/jobs?limit=1").value["jobs"]
        for query in ("wait=0", "wait=61", "wait=x", "wait=1&wait=1"):
            self.assert_problem(self.post("/v1/jobs?" + query, {"task": "noop"}), 400, "bad_query",
                                "wait", None if "&" in query else 60)
        self.assert_problem(self.post("/v1/jobs?limit=5", {"task": "noop"}), 400, "bad_query", "limit")
        after = self.get("/v1/jobs?limit=1").value["jobs"]
        self.assertEqual([job["id"] for job in before], [job["id"] for job in after])


class Later(Api):
    def test_a_job_with_a_delay_is_due_so_long_after_it_was_made(self):
        job = self.post("/v1/jobs", {"task": "noop", "delay_ms": 315360000000}).value
        self.assertEqual(job["state"], "scheduled")
        job = self.mill.job(job["id"])
        self.assertEqual(unix(job["due_at"]) - unix(job["created_at"]), 315360000)
        answer = self.post("/v1/jobs?wait=30", {"task": "noop", "delay_ms": 200})
        self.assertEqual((answer.status, answer.value["state"]), (200, "succeeded"), answer)
        self.assertGreaterEqual(unix(answer.value["begun_at"]) - unix(answer.value["created_at"]), 0.2)

    def test_run_at_takes_any_offset_and_a_time_that_has_passed_is_now(self):
        job = self.post("/v1/jobs", {"task": "noop", "run_at": "2035-01-01T01:00:00.5+01:00"}).value
        self.assertEqual(self.mill.job(job["id"])["due_at"], "2035-01-01T00:00:00.500Z")
        answer = self.post("/v1/jobs?wait=30", {"task": "noop", "run_at": "1999-12-31T23:59:60Z"})
        self.assertEqual((answer.status, answer.value["state"]), (200, "succeeded"), answer)
        self.assertNotIn("due_at", answer.value)


class Idempotency(Api):
    def test_the_same_key_and_body_get_the_same_bytes_also_after_a_restart(self):
        body = {"task": "echo", "args": {"b": 1, "a": 2}, "queue": "default"}
        first = self.post("/v1/jobs", body, Idempotency_Key="k-1")
        self.assertIsNone(first.headers["Idempotency-Replayed"])
        self.mill.job(first.value["id"], wait=30)
        again = self.post("/v1/jobs", dict(reversed(body.items())), Idempotency_Key="k-1")
        self.assertEqual(self.mill.broker.stop(), 0)
        self.mill.start_broker()
        later = self.post("/v1/jobs", body, Idempotency_Key="k-1")
        for answer in (again, later):
            self.assertEqual((answer.status, answer.body), (201, first.body))
            self.assertEqual(answer.headers["Location"], first.headers["Location"])
            self.assertEqual(answer.headers["Idempotency-Replayed"], "true")

    def test_a_repeat_of_a_delayed_job_gets_the_same_bytes_when_all_its_times_are_over(self):
        soon = time.time() + 0.5 * harness.SLOWNESS
        body = {"task": "noop", "delay_ms": 100, "expires_at": rfc3339(soon)}
        first = self.post("/v1/jobs", body, Idempotency_Key="k-delayed")
        self.assertEqual((first.status, first.value["state"]), (201, "scheduled"), first)
        self.assertEqual(self.mill.job(first.value["id"], wait=30)["state"], "succeeded")
        harness.wait_for(lambda: time.time() > soon, "the time is over")
        again = self.post("/v1/jobs", body, Idempotency_Key="k-delayed")
        self.assertEqual((again.status, again.body), (201, first.body))
        self.assert_problem(self.post("/v1/jobs", body), 422, "bad_field", "expires_at")

    def test_the_same_key_with_another_body_is_422(self):
        self.post("/v1/jobs", {"task": "echo", "args": 1}, Idempotency_Key="k-2")
        for body in ({"task": "echo", "args": 2}, {"task": "noop", "args": 1}, {"task": "echo"},
                     {"task": "echo", "args": 1, "tags": []}):
            self.assert_problem(self.post("/v1/jobs", body, Idempotency_Key="k-2"), 422,
                                "idempotency_mismatch", "Idempotency-Key")

    def test_a_repeat_with_a_wait_gives_the_finished_job(self):
        first = self.post("/v1/jobs?wait=30", {"task": "echo", "args": 3}, Idempotency_Key="k-3")
        again = self.post("/v1/jobs?wait=30", {"task": "echo", "args": 3}, Idempotency_Key="k-3")
        self.assertEqual((first.status, again.status), (200, 200))
        self.assertEqual(first.value, again.value)
        self.assertEqual(again.headers["Idempotency-Replayed"], "true")

    def test_a_key_that_met_a_unique_job_is_answered_also_when_that_is_gone(self):
        fields = {"task": "echo", "queue": "nobody", "unique": {"key": "gone"}}
        first = self.post("/v1/jobs", fields).value["id"]
        key = {"Idempotency-Key": "met"}
        self.assertEqual(self.post("/v1/jobs", fields, **key).value["state"], "queued")
        self.post(f"/v1/jobs/{first}/cancel")
        self.assertEqual(self.post("/v1/jobs", fields, **key).value["state"], "cancelled")
        self.assertEqual(self.call("DELETE", f"/v1/jobs/{first}").status, 204)
        for path in "/v1/jobs", "/v1/jobs?wait=1":
            answer = self.post(path, fields, **key)
            gone = answer.value
            self.assertEqual(answer.status, 200)
            self.assertLess(abs(unix(gone.pop("created_at")) - time.time()), 60)
            self.assertEqual(gone, {"id": first, "task": "echo", "queue": "nobody", "is_existing": True})

    def test_json_and_msgpack_of_the_same_are_the_same(self):
        first = self.post("/v1/jobs", {"task": "echo", "args": 4}, Idempotency_Key="k-4")
        again = self.post("/v1/jobs", b"\x82\xa4args\x04\xa4task\xa4echo", Idempotency_Key="k-4",
                          Content_Type="application/msgpack")
        self.assertEqual(again.body, first.body)

    def test_a_key_is_1_to_255_visible_characters(self):
        self.assertEqual(self.post("/v1/jobs", {"task": "noop"}, Idempotency_Key="k" * 255).status, 201)
        for key in ("", "k" * 256, "a b", "a\tb", "ä".encode().decode("latin1")):
            self.assert_problem(self.post("/v1/jobs", {"task": "noop"}, Idempotency_Key=key), 400,
                                "bad_header", "Idempotency-Key", 255)


class Jobs(Api):
    def test_a_job_shows_how_it_ended(self):
        job = self.mill.submit("echo", {"x": [1]}, wait=30)
        got = self.get("/v1/jobs/" + job["id"]).value
        self.assertEqual((got["state"], got["result"], got["args"]), ("succeeded", {"x": [1]}, {"x": [1]}))
        self.assertEqual(got, self.get("/v1/jobs/" + job["id"].lower()).value)
        worker = self.get("/v1/workers").value["workers"][0]["id"]
        self.assertEqual(got["worker"], worker)
        self.assertLessEqual(got["created_at"], got["finished_at"])

    def test_a_failed_job_shows_its_error(self):
        job = self.mill.submit("fail", wait=30, max_attempts=1)
        self.assertEqual((job["state"], job["failures"]), ("failed", 1), job)
        self.assertIn("code", job["error"])
        answer = self.get(f"/v1/jobs/{job['id']}/result")
        self.assert_problem(answer, 409, "no_result")
        self.assertIn(job["error"]["code"], answer.value["detail"])
        job = self.mill.submit("fail", {"code": "no_such_user"}, wait=30, max_attempts=1)
        for error in job["error"], job["attempts"][0]["error"]:
            self.assertEqual((error["code"], error["task_code"]), ("task_failed", "no_such_user"))

    def test_ids_that_are_none_and_jobs_that_are_not_there_are_404(self):
        for method, path in (("GET", ""), ("GET", "/result"), ("POST", "/cancel"), ("DELETE", "")):
            self.assert_problem(self.call(method, f"/v1/jobs/{NO_JOB}{path}"), 404, "no_such_job")
            for text in ("1", "0000000000000", "ZZZZZZZZZZZZZ", "UUUUUUUUUUUUU", "000000000000%2F"):
                self.assert_problem(self.call(method, f"/v1/jobs/{text}{path}"), 404, "bad_id", "id")
        self.assert_problem(self.get(f"/v1/jobs/{NO_JOB}?wait=5"), 404, "no_such_job")

    def test_a_wait_ends_with_the_job(self):
        job = self.mill.submit("sleep", {"ms": 300})
        got = self.get(f"/v1/jobs/{job['id']}?wait=30").value
        self.assertEqual(got["state"], "succeeded", got)
        self.assertEqual(self.get(f"/v1/jobs/{job['id']}?wait=30").value, got)

    def test_a_wait_that_is_over_gives_the_job_as_it_is(self):
        job = self.mill.submit("noop", queue="nobody")
        answer = self.get(f"/v1/jobs/{job['id']}", Prefer="respond-async, wait=1")
        self.assertEqual((answer.status, answer.value["state"]), (200, "queued"))
        self.assertEqual(answer.headers["Preference-Applied"], "wait=1")
        self.assert_problem(self.get(f"/v1/jobs/{job['id']}/result?wait=0.1"), 409, "not_finished")

    def test_the_etag_changes_with_the_job_and_is_answered_with_304(self):
        job = self.mill.submit("noop", queue="nobody")
        path = "/v1/jobs/" + job["id"]
        first = self.get(path).headers["ETag"]
        for tag in (first, "W/" + first, f'"x", {first}', "*"):
            self.assertEqual(self.get(path, If_None_Match=tag).status, 304, tag)
        self.assertEqual(self.get(path, If_None_Match='"x"').status, 200)
        msgpack = self.get(path, Accept="application/msgpack").headers["ETag"]
        self.post(path + "/cancel")
        later = self.get(path, If_None_Match=first)
        self.assertEqual(later.status, 200)
        self.assertEqual(len({first, msgpack, later.headers["ETag"]}), 3)

    def test_a_result_comes_bare_in_each_form(self):
        path = f"/v1/jobs/{self.mill.submit('echo', 'hä', wait=30)['id']}/result"
        self.assertEqual(self.get(path).body, '"hä"'.encode())
        self.assertEqual(self.get(path, Accept="application/msgpack").body, b"\xa3h\xc3\xa4")
        answer = self.get(path, Accept="application/octet-stream")
        self.assertEqual((answer.type, answer.body), ("application/octet-stream", "hä".encode()))
        path = f"/v1/jobs/{self.mill.submit('echo', 7, wait=30)['id']}/result"
        self.assert_problem(self.get(path, Accept="application/octet-stream"), 406, "not_acceptable",
                            "Accept")
        self.assertEqual(self.get(path, Accept="application/octet-stream, */*;q=0.1").status, 406)

    def test_binary_data_is_base64_in_json(self):
        answer = self.post("/v1/jobs?wait=30", b"\x82\xa4task\xa4echo\xa4args\xc4\x03\x00\xff\x10",
                           Content_Type="application/msgpack")
        self.assertEqual(answer.value["result"], "AP8Q")
        path = f"/v1/jobs/{answer.value['id']}/result"
        self.assertEqual(self.get(path, Accept="application/octet-stream").body, b"\x00\xff\x10")

    def test_a_large_job_is_read_as_a_small_one_is(self):
        text = "x" * 300000
        answer = self.post("/v1/jobs?wait=30", {"task": "echo", "args": text})
        self.assertEqual(answer.value["result"], text)
        self.assertEqual(self.get(f"/v1/jobs/{answer.value['id']}").value["args"], text)
        self.assertEqual(self.get(f"/v1/jobs/{answer.value['id']}/result").value, text)

    def test_a_queued_job_is_cancelled(self):
        job = self.mill.submit("noop", queue="nobody")
        answer = self.post(f"/v1/jobs/{job['id']}/cancel")
        self.assertEqual((answer.status, answer.value["state"]), (200, "cancelled"))
        self.assertIs(answer.value["stopped"], True)
        self.assert_problem(self.post(f"/v1/jobs/{job['id']}/cancel"), 409, "already_finished")
        self.assert_problem(self.get(f"/v1/jobs/{job['id']}/result"), 409, "no_result")

    def test_a_cancel_ends_a_wait(self):
        job = self.mill.submit("noop", queue="nobody")
        answers = []
        waiting = threading.Thread(
            target=lambda: answers.append(self.get(f"/v1/jobs/{job['id']}?wait=50")))
        waiting.start()
        harness.wait_for(lambda: "jobmill_waiters 1" in self.get("/metrics").body.decode(),
                         "the request waits")
        self.post(f"/v1/jobs/{job['id']}/cancel")
        waiting.join(30)
        self.assertEqual(answers[0].value["state"], "cancelled")

    def test_a_finished_job_can_be_deleted_and_others_cannot(self):
        job = self.mill.submit("noop", queue="nobody")
        self.assert_problem(self.call("DELETE", "/v1/jobs/" + job["id"]), 409, "not_finished")
        done = self.mill.submit("noop", wait=30)
        self.assertEqual(self.call("DELETE", "/v1/jobs/" + done["id"]).status, 204)
        self.assert_problem(self.get("/v1/jobs/" + done["id"]), 404, "no_such_job")
        self.assert_problem(self.call("DELETE", "/v1/jobs/" + done["id"]), 404, "no_such_job")

    def test_who_goes_away_leaves_no_waiter(self):
        job = self.mill.submit("noop", queue="nobody")
        connection = self.mill.connection()
        connection.request("GET", f"/v1/jobs/{job['id']}?wait=50")
        harness.wait_for(lambda: "jobmill_waiters 1" in self.get("/metrics").body.decode(),
                         "the request waits")
        connection.close()
        harness.wait_for(lambda: "jobmill_waiters 0" in self.get("/metrics").body.decode(),
                         "the waiter is gone")


class Explain(Api):
    def explain(self, job_id):
        answer = self.get(f"/v1/jobs/{job_id}/explain")
        self.assertEqual((answer.status, answer.value["id"]), (200, job_id), answer)
        return answer.value

    def codes(self, job_id):
        return [reason["code"] for reason in self.explain(job_id)["reasons"]]

    def test_a_job_tells_why_it_has_not_begun(self):
        nobody = self.mill.submit("noop", queue="nobody")
        self.assertEqual(self.codes(nobody["id"])[-2:], ["no_worker_for_queue", "no_worker_for_task"])
        later = self.mill.submit("noop", delay_ms=3600000)
        why = self.explain(later["id"])
        self.assertEqual((why["state"], why["jobs_before"]), ("scheduled", 0))
        self.assertEqual(why["reasons"][0]["code"], "due_later")
        self.assertEqual(why["reasons"][0]["until"], self.mill.job(later["id"])["due_at"])
        failed = self.mill.submit("fail", {"retry_after_ms": 3600000})
        self.mill.wait_for_state(failed["id"], "scheduled")
        self.assertEqual(self.codes(failed["id"]), ["retry_wait"])

    def test_a_job_that_has_begun_or_ended_says_so(self):
        done = self.mill.submit("noop", wait=30)
        self.assertEqual(self.codes(done["id"]), ["finished"])
        job = self.mill.submit("sleep", {"ms": 60000})
        self.mill.wait_for_state(job["id"], "running")
        self.assertEqual(self.codes(job["id"]), ["running"])
        self.post(f"/v1/jobs/{job['id']}/cancel")
        self.assert_problem(self.get(f"/v1/jobs/{NO_JOB}/explain"), 404, "no_such_job")
        self.assert_problem(self.get(f"/v1/jobs/{job['id']}/explain?wait=1"), 400, "bad_query", "wait")

    def test_a_pause_and_a_limit_say_so(self):
        self.call("PATCH", "/v1/queues/held", {"paused": True})
        job = self.mill.submit("noop", queue="held")
        self.assertIn("paused", self.codes(job["id"]))
        self.call("PATCH", "/v1/queues/default", {"concurrency": 1})
        first = self.mill.submit("sleep", {"ms": 60000})
        self.mill.wait_for_state(first["id"], "running")
        second = self.mill.submit("noop")
        why = self.explain(second["id"])["reasons"][0]
        self.assertEqual((why["code"], why["limit"]), ("queue_concurrency", 1))
        self.call("PATCH", "/v1/queues/default", {"concurrency": None})
        self.post(f"/v1/jobs/{first['id']}/cancel")
        self.mill.wait_for_state(second["id"], "succeeded")

    def test_jobs_that_stand_before_one_are_counted(self):
        self.call("PATCH", "/v1/queues/line", {"paused": True})
        ids = [self.mill.submit("noop", queue="line", priority=4)["id"] for _ in range(30)]
        self.assertEqual([self.explain(job_id)["jobs_before"] for job_id in ids], list(range(30)))
        low = self.mill.submit("noop", queue="line", priority=1)["id"]
        high = self.mill.submit("noop", queue="line", priority=9)["id"]
        keyed = self.mill.submit("noop", queue="line", priority=4, limit_key="k")["id"]
        self.assertEqual([self.explain(job_id)["jobs_before"] for job_id in (low, high, keyed, ids[0])],
                         [32, 0, 31, 1])


class Lists(Api):
    def test_jobs_come_newest_first_in_pages(self):
        ids = [self.mill.submit("noop", queue="pages")["id"] for _ in range(7)]
        seen, cursor = [], ""
        while cursor is not None:
            page = self.get(f"/v1/jobs?queue=pages&limit=3{cursor and '&cursor='}{cursor}").value
            self.assertLessEqual(len(page["jobs"]), 3)
            seen += [job["id"] for job in page["jobs"]]
            cursor = page["next_cursor"]
        self.assertEqual(seen, ids[::-1])

    def test_jobs_are_found_by_state_queue_and_task(self):
        echo = self.mill.submit("echo", queue="found")["id"]
        noop = self.mill.submit("noop", queue="found")["id"]
        self.post(f"/v1/jobs/{noop}/cancel")

        def ids(query):
            return self.ids("queue=found" + query)
        self.assertEqual(ids(""), [noop, echo])
        self.assertEqual(ids("&task=echo"), [echo])
        self.assertEqual(ids("&state=cancelled"), [noop])
        self.assertEqual(ids("&state=queued"), [echo])
        self.assertEqual(ids("&state=queued,cancelled"), [noop, echo])
        self.assertEqual(ids("&state=running"), [])
        self.assertEqual(ids("&task=echo&state=cancelled"), [])

    def ids(self, query):
        """All pages of a search."""
        found, cursor = [], ""
        while cursor is not None:
            page = self.get(f"/v1/jobs?{query}{cursor and '&cursor='}{cursor}").value
            found += [job["id"] for job in page["jobs"]]
            cursor = page["next_cursor"]
        return found

    def test_jobs_are_found_by_tag_beside_their_state_and_queue(self):
        plain = self.mill.submit("noop", queue="tagged")["id"]
        red = self.mill.submit("noop", queue="tagged", tags=["red", "größer 1"])["id"]
        other = self.mill.submit("noop", queue="tagged.too", tags=["red"])["id"]
        self.assertEqual(self.ids("tag=red"), [other, red])
        self.assertEqual(self.ids("tag=gr%C3%B6%C3%9Fer%201"), [red])
        self.assertEqual(self.ids("tag=red&queue=tagged"), [red])
        self.assertEqual(self.ids("tag=blue"), [])
        self.assertEqual(self.ids("tag=red&state=queued"), [other, red])
        self.post(f"/v1/jobs/{red}/cancel")
        self.assertEqual(self.ids("tag=red&state=queued"), [other])
        self.assertEqual(self.ids("tag=red&state=cancelled"), [red])
        self.assertEqual(self.ids("queue=tagged"), [red, plain])
        self.call("PATCH", f"/v1/jobs/{other}", {"tags": ["blue", "red.not"]})
        self.assertEqual((self.ids("tag=blue"), self.ids("tag=red")), ([other], [red]))
        self.assertEqual(self.call("DELETE", f"/v1/jobs/{red}").status, 204)
        self.assertEqual(self.ids("tag=red"), [])

    def test_jobs_are_found_by_their_limit_key(self):
        ids = [self.mill.submit("noop", queue="keyed", retain_ms=60000, **fields)["id"]
               for fields in ({"limit_key": "customer 1"}, {"limit_key": "größer"}, {})]
        self.assertEqual(self.ids("limit_key=customer%201"), [ids[0]])
        self.assertEqual(self.ids("limit_key=gr%C3%B6%C3%9Fer&queue=keyed"), [ids[1]])
        self.assertEqual(self.ids("limit_key=customer"), [])

    def test_jobs_are_found_by_their_error_and_by_their_worker(self):
        args = {"message": "no", "code": "bad_args"}
        failed = self.mill.submit("fail", args, wait=30, max_attempts=1, tags=["found.bad"])
        other = self.mill.submit("fail", {"message": "no"}, wait=30, max_attempts=1)
        self.assertEqual((failed["error"]["code"], other["error"]["code"]),
                         ("bad_args", "task_failed"))
        found = self.ids("error=bad_args")
        self.assertIn(failed["id"], found)
        self.assertNotIn(other["id"], found)
        self.assertEqual(self.ids("error=bad_args&tag=found.bad&state=failed"), [failed["id"]])
        self.assertEqual(self.ids("error=bad_args&state=succeeded"), [])
        self.assertNotIn(failed["id"], self.ids("error=timed_out"))
        here = self.ids(f"worker={failed['worker']}")
        self.assertLessEqual({failed["id"], other["id"]}, set(here))
        self.assertEqual(self.ids("worker=00000000000000ff"), [])

    def test_jobs_are_found_by_the_worker_that_runs_them(self):
        job = self.mill.submit("sleep", {"ms": 60000}, queue="default")
        running = self.mill.wait_for_state(job["id"], "running")
        self.assertIn(job["id"], self.ids(f"worker={running['worker']}&state=running"))
        self.assertIn(job["id"], self.ids(f"worker={running['worker']}&task=sleep"))
        self.post(f"/v1/jobs/{job['id']}/cancel")

    def test_jobs_are_found_by_when_they_were_made(self):
        first, second = (self.mill.submit("noop", queue="dated") for _ in range(2))
        before, after = "created_before=", "created_after="
        self.assertIn(first["id"], self.ids("queue=dated&" + after + first["created_at"]))
        self.assertNotIn(first["id"], self.ids("queue=dated&" + before + first["created_at"]))
        self.assertEqual(self.ids("queue=dated&" + after + "2026-01-01T00:00:00%2B02:00"),
                         [second["id"], first["id"]])
        self.assertEqual(self.ids(before + "2020-01-01T00:00:00Z"), [])
        self.assertEqual(self.ids(after + "2080-01-01T00:00:00Z"), [])

    def test_wrong_parameters_are_refused_by_name(self):
        for query, field, limit in (("state=done", "state", None), ("limit=0", "limit", 1000),
                                    ("limit=1001", "limit", 1000), ("cursor=x", "cursor", None),
                                    ("queue=a%20b", "queue", 64), ("wait=5", "wait", None),
                                    ("tag=" + "a" * 65, "tag", 64), ("tag=%0A", "tag", 64),
                                    ("limit_key=" + "a" * 129, "limit_key", 128),
                                    ("worker=12", "worker", 16), ("error=a%20b", "error", 64),
                                    ("created_after=yesterday", "created_after", None),
                                    ("created_before=2026-11-23", "created_before", None),
                                    ("dry_run=true", "dry_run", None),
                                    ("colour=red", "colour", None)):
            self.assert_problem(self.get("/v1/jobs?" + query), 400, "bad_query", field, limit)

    def test_a_queue_tells_its_counts(self):
        for _ in range(3):
            job = self.mill.submit("noop", queue="counted")
        self.post(f"/v1/jobs/{job['id']}/cancel")
        queue = self.get("/v1/queues/counted").value
        self.assertEqual((queue["jobs"]["queued"], queue["jobs"]["cancelled"]), (2, 1))
        self.assertIn(queue["name"], [q["name"] for q in self.get("/v1/queues").value["queues"]])
        self.assert_problem(self.get("/v1/queues/nowhere"), 404, "no_such_queue")
        self.assert_problem(self.get("/v1/queues/a%20b"), 404, "no_such_queue", "name", 64)

    def test_a_worker_tells_what_it_serves_and_holds(self):
        job = self.mill.submit("sleep", {"ms": 60000})
        holds = harness.wait_for(lambda: self.get("/v1/workers").value["workers"][0]["holds"],
                                 "a worker holds the job")
        self.assertEqual(holds[0]["id"], job["id"])
        worker = self.get("/v1/workers").value["workers"][0]
        self.assertIn("default", worker["queues"])
        self.assertIn("echo", worker["tasks"])
        self.post(f"/v1/jobs/{job['id']}/cancel")

    def test_tasks_are_listed_with_who_serves_them(self):
        def served():
            tasks = self.get("/v1/tasks").value["tasks"]
            return {task["name"]: task for task in tasks if task["workers"] == 1}
        tasks = harness.wait_for(lambda: served() if "sha256" in served() else None,
                                 "the tasks are known")
        self.assertLessEqual({"noop", "echo", "sleep", "fib", "sha256", "fail"}, set(tasks))
        self.assertEqual(tasks["echo"]["kind"], "builtin")


class System(Api):
    def test_the_small_routes_answer(self):
        self.assertEqual(self.get("/ping").body, b"pong\n")
        self.assertEqual(self.get("/healthz").value, {"status": "ok"})
        self.assertEqual(self.get("/readyz").value, {"status": "ok", "store": "up", "redis": "up"})
        self.assertEqual(self.get("/openapi.json").value, self.document.root)

    def test_metrics_are_in_the_text_format(self):
        self.mill.submit("noop", queue="measured", wait=1)
        answer = self.get("/metrics")
        self.assertEqual(answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        names = set()
        for line in answer.body.decode().splitlines():
            if line.startswith("# TYPE "):
                names.add(line.split()[2])
            elif not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                self.assertIn(name.partition("{")[0], names)
                float(value)
        self.assertIn('jobmill_jobs{queue="measured",state="', answer.body.decode())

    def test_fsyncs_and_round_trips_are_counted(self):
        def figure(name):
            for line in self.get("/metrics").body.decode().splitlines():
                if line.startswith(f"jobmill_{name} "):
                    return float(line.rsplit(" ", 1)[1])
            return self.fail(name)
        before = figure("store_fsyncs_total")
        self.mill.submit("noop", wait=30)
        self.assertGreater(figure("store_fsyncs_total"), before)
        self.assertGreater(figure("store_fsync_seconds_total"), 0)
        self.assertGreater(figure("redis_round_trips_total"), 0)
        self.assertEqual(figure("redis_up"), 1)

    def test_what_is_not_there_is_404_and_other_methods_405(self):
        for path in ("/", "/v1", "/v1/jobs/", "/v2/jobs", "/ping/", "/v1/jobs/x/y/z"):
            answer = self.mill.get(path)
            self.assertEqual((answer.status, answer.code), (404, "no_such_route"), path)
        for method, path, allow in (("PUT", "/v1/jobs", "GET, HEAD, OPTIONS, POST"),
                                    ("POST", "/ping", "GET, HEAD, OPTIONS"),
                                    ("PUT", f"/v1/jobs/{NO_JOB}", "DELETE, GET, HEAD, OPTIONS, PATCH"),
                                    ("GET", f"/v1/jobs/{NO_JOB}/cancel", "OPTIONS, POST"),
                                    ("BREW", "/ping", "GET, HEAD, OPTIONS")):
            answer = self.mill.call(method, path)
            self.assertEqual((answer.status, answer.code), (405, "method_not_allowed"), answer)
            self.assertEqual(", ".join(sorted(answer.headers["Allow"].split(", "))), allow)

    def test_options_tells_the_methods(self):
        answer = self.mill.call("OPTIONS", "/v1/jobs")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(sorted(answer.headers["Allow"].split(", ")), ["GET", "HEAD", "OPTIONS", "POST"])
        self.assertEqual(self.mill.call("OPTIONS", "*").status, 204)
        self.assertEqual(self.mill.call("OPTIONS", "/nowhere").status, 404)

    def test_head_is_get_without_the_body(self):
        for path in ("/ping", "/v1/jobs", "/healthz", "/openapi.json"):
            head, get = self.call("HEAD", path), self.get(path)
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertEqual(head.type, get.type)

    def test_forms_are_negotiated(self):
        self.assertEqual(self.get("/healthz", Accept="application/msgpack").type,
                         "application/msgpack")
        answer = self.get("/healthz", Accept="application/msgpack")
        self.assertEqual(answer.body[-10:], b"\xa6status\xa2ok"[-10:])
        self.assert_problem(self.get("/healthz", Accept="text/html"), 406, "not_acceptable", "Accept")
        problem = self.get(f"/v1/jobs/{NO_JOB}", Accept="application/msgpack")
        self.assertEqual((problem.status, problem.type), (404, "application/problem+msgpack"))
        self.assertIn(b"\xa4code\xabno_such_job", problem.body)
        problem = self.mill.get("/nowhere", Accept="application/msgpack;q=1")
        self.assertEqual(problem.type, "application/problem+msgpack")

    def test_a_body_where_none_is_taken_is_refused(self):
        answer = self.mill.call("POST", f"/v1/jobs/{NO_JOB}/cancel", {"why": "no"})
        self.assertEqual((answer.status, answer.code), (413, "body_too_large"), answer)

    def test_a_connection_serves_many_requests(self):
        connection = self.mill.connection()
        for i in range(20):
            answer = self.call("POST", "/v1/jobs", {"task": "echo", "args": i}, connection)
            self.assertEqual(answer.status, 201)
            self.assertEqual(self.call("GET", answer.headers["Location"], None, connection).value["args"],
                             i)
        connection.close()


class Outages(unittest.TestCase):
    def test_without_redis_jobs_are_taken_and_ready_is_degraded(self):
        with harness.Mill() as mill:
            mill.start_broker()
            ready = mill.get("/readyz")
            self.assertEqual((ready.status, ready.value["status"], ready.value["redis"]),
                             (200, "degraded", "down"))
            job = mill.submit("echo", "kept")
            self.assertEqual(mill.post(f"/v1/jobs/{mill.submit('noop')['id']}/cancel").value["stopped"],
                             True)
            mill.start_redis()
            mill.start_worker()
            self.assertEqual(mill.job(job["id"], wait=50)["result"], "kept")
            self.assertEqual(mill.get("/readyz").value["status"], "ok")

    def test_a_broker_that_stops_answers_whoever_waits(self):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            job = mill.submit("noop", queue="nobody")
            answers = []
            requests = [lambda: mill.get(f"/v1/jobs/{job['id']}?wait=50"),
                        lambda: mill.post("/v1/jobs?wait=50", {"task": "noop", "queue": "nobody"})]
            threads = [threading.Thread(target=lambda r=r: answers.append(r())) for r in requests]
            for thread in threads:
                thread.start()
            harness.wait_for(lambda: b"jobmill_waiters 2" in mill.get("/metrics").body, "both wait")
            self.assertEqual(mill.broker.stop(), 0)
            for thread in threads:
                thread.join(30)
            self.assertEqual(sorted(answer.status for answer in answers), [200, 202])
            self.assertEqual({answer.value["state"] for answer in answers}, {"queued"})


class Curl(unittest.TestCase):
    def test_curl_alone_can_submit_wait_read_and_list(self):
        import shutil
        import subprocess
        if shutil.which("curl") is None:
            self.skipTest("curl is not installed")
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            mill.start_worker()
            mill.wait_for_workers()

            def curl(*words):
                done = subprocess.run(["curl", "-sS", "--fail-with-body", "--unix-socket",
                                       mill.socket_path, *words], capture_output=True, check=True)
                return json.loads(done.stdout)
            job = curl("-H", "Content-Type: application/json", "-d", '{"task":"fib","args":{"n":10}}',
                       "http://x/v1/jobs?wait=30")
            self.assertEqual((job["state"], job["result"]), ("succeeded", 55))
            self.assertEqual(curl(f"http://x/v1/jobs/{job['id']}/result"), 55)
            self.assertEqual(curl(f"http://x/v1/jobs/{job['id']}"), job)
            self.assertEqual(curl("http://x/v1/jobs")["jobs"][0]["id"], job["id"])


if __name__ == "__main__":
    unittest.main()
