"""What needs no broker: times, members, queries, addresses, pauses, exceptions, views."""

import datetime
import inspect
import pathlib
import pickle
import re
import unittest
import unittest.mock

import support
from support import jobmill
from jobmill import errors, fields, retry, times
from jobmill.transport import Address

UTC = datetime.timezone.utc


class Times(unittest.TestCase):
    def test_a_datetime_becomes_utc_with_milliseconds(self):
        east = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
        for moment, text in (
                (datetime.datetime(2030, 1, 2, 3, 4, 5, 678999, UTC), "2030-01-02T03:04:05.678Z"),
                (datetime.datetime(2030, 1, 1, 0, 0, tzinfo=east), "2029-12-31T18:30:00.000Z"),
                (datetime.datetime(33, 1, 1, tzinfo=UTC), "0033-01-01T00:00:00.000Z")):
            self.assertEqual(times.format_time(moment), text)

    def test_a_datetime_without_a_timezone_is_refused(self):
        with self.assertRaisesRegex(ValueError, "no timezone"):
            times.format_time(datetime.datetime(2030, 1, 1))

    def test_a_string_is_passed_on(self):
        self.assertEqual(times.format_time("2030-01-01T00:00:00+02:00"), "2030-01-01T00:00:00+02:00")

    def test_rfc_3339_is_read_with_any_fraction_and_offset(self):
        at = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
        for text, micros in (("2030-01-02T03:04:05Z", 0), ("2030-01-02t03:04:05.5z", 500000),
                             ("2030-01-02T03:04:05.123Z", 123000),
                             ("2030-01-02T03:04:05.1234567Z", 123456),
                             ("2030-01-02T05:04:05.001+02:00", 1000)):
            moment = times.parse_time(text)
            self.assertEqual(moment, at.replace(microsecond=micros), text)
            self.assertEqual(moment.utcoffset(), datetime.timedelta(0))
        for text in ("", "2030-01-02", "2030-01-02T03:04:05", "2030-13-02T03:04:05Z", "x"):
            with self.assertRaises(ValueError, msg=text):
                times.parse_time(text)

    def test_what_is_formatted_is_read_back(self):
        moment = datetime.datetime(2031, 12, 31, 23, 59, 59, 999000, UTC)
        self.assertEqual(times.parse_time(times.format_time(moment)), moment)

    def test_durations_are_whole_milliseconds_and_never_vanish(self):
        for value, ms in ((1, 1000), (0.0015, 2), (0, 0), (0.0001, 1), (-1, -1000),
                          (datetime.timedelta(days=7), 604800000),
                          (datetime.timedelta(microseconds=1), 1)):
            self.assertEqual(times.to_ms(value), ms, value)
        for value in ("5", True, None):
            with self.assertRaises(TypeError):
                times.to_ms(value)


class Members(unittest.TestCase):
    def test_options_become_members(self):
        self.assertEqual(fields.to_members({
            "task": "t", "args": None, "queue": None, "delay": 1.5, "tags": ("a", "b"),
            "timeout": datetime.timedelta(seconds=2), "expires_at": "2030-01-01T00:00:00Z",
            "later_option": 3}),
            {"task": "t", "args": None, "delay_ms": 1500, "tags": ["a", "b"], "timeout_ms": 2000,
             "expires_at": "2030-01-01T00:00:00Z", "later_option": 3})

    def test_args_are_left_alone(self):
        args = {"delay": 5, "run_at": None, "tags": "x"}
        self.assertEqual(fields.to_members({"args": args})["args"], args)

    def test_a_change_can_clear(self):
        self.assertEqual(fields.to_members({"retain": None, "rate": None,
                                            "defaults": {"timeout": 1, "priority": None}}, True),
                         {"retain_ms": None, "rate": None,
                          "defaults": {"timeout_ms": 1000, "priority": None}})

    def test_one_string_is_no_list_of_tags(self):
        with self.assertRaisesRegex(TypeError, r"\['nightly'\]"):
            fields.to_members({"tags": "nightly"})

    def test_objects_are_made_with_the_protocols_names(self):
        self.assertEqual(jobmill.backoff("fixed", base=2, ceiling=datetime.timedelta(minutes=1)),
                         {"kind": "fixed", "base_ms": 2000, "ceiling_ms": 60000})
        self.assertEqual(jobmill.unique(args=["id"], period=60, on_conflict="reject"),
                         {"args": ["id"], "while": "period", "period_ms": 60000,
                          "on_conflict": "reject"})
        self.assertEqual(jobmill.unique(), {})
        self.assertEqual(jobmill.rate(10, 1), {"limit": 10, "period_ms": 1000})

    def test_what_json_cannot_say_is_refused(self):
        for value, error in ((float("nan"), ValueError), (b"x", TypeError), ("\ud800", ValueError)):
            with self.assertRaises(error):
                fields.to_json({"args": value})

    def test_queries(self):
        east = datetime.timezone(datetime.timedelta(hours=1))
        for parameters, query in (
                ({}, ""), ({"a": None}, ""), ({"state": ["failed", "expired"]}, "?state=failed,expired"),
                ({"wait": 0.0500001, "limit": 7, "dry_run": True}, "?wait=0.050&limit=7&dry_run=true"),
                ({"tag": "a&b=c d"}, "?tag=a%26b%3Dc+d"),
                ({"created_after": datetime.datetime(2030, 1, 1, 1, tzinfo=east)},
                 "?created_after=2030-01-01T00:00:00.000Z"),
                ({"created_after": "2030-01-01T00:00:00+01:00"},
                 "?created_after=2030-01-01T00:00:00%2B01:00")):
            self.assertEqual(fields.to_query(parameters), query)

    def test_an_id_cannot_lead_elsewhere(self):
        self.assertEqual(fields.in_path("a/../b?c"), "a%2F..%2Fb%3Fc")
        for part in ("", "..", "."):
            with self.assertRaises(ValueError):
                fields.in_path(part)

    def test_a_bulk_call_knows_its_filters(self):
        with self.assertRaisesRegex(TypeError, "no filter quue"):
            jobmill.Client("http://localhost:1").bulk_cancel(quue="a")


class Addresses(unittest.TestCase):
    def test_the_three_forms(self):
        for url, address in (
                ("http://a:1", Address("http", "a", 1)), ("http://a", Address("http", "a", 80)),
                ("https://a/", Address("https", "a", 443)),
                ("http://[::1]:7878/mill/", Address("http", "::1", 7878, prefix="/mill")),
                ("unix:/a b", Address("unix", path="/a b")), ("unix:/a%20b", Address("unix", path="/a b")),
                ("unix:///run/x", Address("unix", path="/run/x"))):
            self.assertEqual(Address.parse(url), address, url)

    def test_all_else_is_refused(self):
        for url in ("", "localhost:7878", "ftp://a", "http://", "http://u:p@a", "http://a?b", "unix:a",
                    "unix:", "http://a:x", "http://a/b c", "http://ä", "unix:/" + "x" * 107):
            with self.assertRaises(ValueError, msg=url):
                Address.parse(url)

    def test_the_environment_names_the_broker(self):
        with unittest.mock.patch.dict("os.environ", {"JOBMILL_URL": "unix:/x"}):
            self.assertEqual(jobmill.Client().url, "unix:/x")
            self.assertEqual(jobmill.Client("http://a:1").url, "http://a:1")
        with unittest.mock.patch.dict("os.environ", clear=True):
            self.assertEqual(jobmill.Client().url, "http://127.0.0.1:7878")


class Pauses(unittest.TestCase):
    def test_they_double_up_to_the_ceiling(self):
        policy = jobmill.Retry(retries=6, base_s=0.1, ceiling_s=1, jitter=0)
        self.assertEqual([policy.pause_s(n) for n in range(7)], [0.1, 0.2, 0.4, 0.8, 1, 1, None])

    def test_jitter_shortens_by_its_part_at_most(self):
        policy = jobmill.Retry(base_s=1, jitter=0.5)
        pauses = [policy.pause_s(0) for _ in range(200)]
        self.assertTrue(all(0.5 <= pause <= 1 for pause in pauses))
        self.assertGreater(len(set(pauses)), 100)

    def test_what_the_broker_asks_for_is_a_minimum(self):
        policy = jobmill.Retry(base_s=0.1)
        for _ in range(50):
            self.assertTrue(3 <= policy.pause_s(0, 3) <= 3.1)
        self.assertIsNone(policy.pause_s(0, 31), "beyond patience")
        self.assertIsNone(support.NEVER.pause_s(0, 0))

    def test_retry_after_is_a_number_or_a_date(self):
        for text, seconds in (("1", 1), (" 30 ", 30), (None, None), ("soon", None), ("-1", None),
                              ("²", None), ("Fri, 01 Jan 1999 00:00:00 GMT", 0)):
            self.assertEqual(retry.parse_retry_after(text), seconds, text)
        soon = datetime.datetime.now(UTC) + datetime.timedelta(seconds=100)
        self.assertAlmostEqual(retry.parse_retry_after(soon.strftime("%a, %d %b %Y %H:%M:%S GMT")),
                               100, delta=5)


class Exceptions(unittest.TestCase):
    def test_a_code_or_else_a_status_chooses_the_class(self):
        for status, code, kind in (
                (404, "no_such_job", jobmill.NotFound), (404, "no_such_route", jobmill.NoSuchRoute),
                (409, "unique_conflict", jobmill.UniqueConflict), (429, "queue_full", jobmill.QueueFull),
                (429, "not_known_yet", jobmill.TooMany), (503, "overloaded", jobmill.Overloaded),
                (507, "storage_full", jobmill.BrokerError), (418, "teapot", jobmill.ApiError),
                (422, "bad_field", jobmill.InvalidRequest)):
            self.assertIs(type(errors.from_problem(status, {"code": code})), kind)

    def test_every_code_of_a_class_is_one_of_the_brokers(self):
        table = (support.SOURCE / "schema" / "errors.def").read_text()
        contract = {"unique_conflict", "queue_full", "batch_too_large", "batch_refused"}
        known = set(re.findall(r'"([a-z_]+)",', table)) | contract
        self.assertEqual(set(errors.BY_CODE) - known, set())
        self.assertEqual(set(errors.STATUS_OF_ITEM) - known, set())

    def test_each_can_be_pickled(self):
        self.assertEqual(errors.from_item({"code": "unique_conflict", "id": "A"}).existing_id, "A")
        self.assertIsNone(errors.from_item({"code": "unique_conflict"}).existing_id)
        problem = errors.from_problem(409, {"code": "unique_conflict", "detail": "d"},
                                      "/v1/jobs/0SAKD9DQR0000", 1.0)
        self.assertEqual(problem.existing_id, "0SAKD9DQR0000")
        refused = jobmill.BatchRefused(422, "batch_refused", "T")
        refused.errors = [(3, problem)]
        job = jobmill.Job({"id": "A", "task": "t", "queue": "q", "state": "failed"}, object())
        for error in (problem, refused, jobmill.UnknownFate("sent", "key"), jobmill.JobExpired(job),
                      jobmill.WaitTimeout("w"), jobmill.ConnectionFailed("c"), jobmill.BadAnswer("b")):
            again = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(again), str(again)), (type(error), str(error)))
        self.assertEqual(pickle.loads(pickle.dumps(refused)).errors[0][0], 3)

    def test_all_are_jobmill_errors(self):
        kinds = [kind for kind in vars(errors).values()
                 if isinstance(kind, type) and issubclass(kind, Exception)]
        self.assertGreater(len(kinds), 25)
        for kind in kinds:
            self.assertTrue(issubclass(kind, jobmill.JobmillError), kind)
            self.assertIs(getattr(jobmill, kind.__name__), kind)
            self.assertIn(kind.__name__, errors.__doc__)


class Views(unittest.TestCase):
    RAW = {"id": "0SAKD9DQR0000", "task": "t", "queue": "q", "state": "running", "priority": 9,
           "due_at": "2030-01-01T00:00:00.000Z", "grace_ms": 250, "retain_ms": 86400000,
           "progress": {"done": 1, "total": 4, "message": "a quarter"},
           "attempts": [{"attempt": 1, "outcome": "failed", "worker": "00", "run_us": 1500,
                         "begun_at": "2029-01-01T00:00:00.000Z", "ended_at": "2029-01-01T00:00:01.000Z",
                         "error": {"code": "crashed", "message": "m", "signal": 11, "user_us": 7,
                                   "from_the_future": 1}}],
           "from_the_future": [1]}

    def test_a_job_has_typed_attributes_and_keeps_the_rest(self):
        job = jobmill.Job(self.RAW)
        self.assertEqual((job.priority, job.due_at, job.grace, job.retain),
                         (9, datetime.datetime(2030, 1, 1, tzinfo=UTC),
                          datetime.timedelta(milliseconds=250), datetime.timedelta(days=1)))
        self.assertEqual(job.progress, jobmill.Progress(1, 4, "a quarter"))
        attempt, = job.attempts
        self.assertEqual((attempt.outcome, attempt.run_time, attempt.error.signal),
                         ("failed", datetime.timedelta(microseconds=1500), 11))
        self.assertEqual(attempt.error.raw["from_the_future"], 1)
        self.assertEqual(job.raw["from_the_future"], [1])
        self.assertEqual((job.tags, job.error, job.expires_at, job.is_finished), ((), None, None, False))

    def test_a_pickled_job_shows_the_same_and_can_do_nothing(self):
        job = pickle.loads(pickle.dumps(jobmill.Job(self.RAW, object(), ("w",), True)))
        self.assertEqual((job.raw, job.warnings, job.is_replay), (self.RAW, ("w",), True))
        with self.assertRaisesRegex(RuntimeError, "no client"):
            job.refresh()

    RENAMED = {"timeout_ms": "timeout", "grace_ms": "grace", "retain_ms": "retain", "delay_ms": "delay",
               "retain_failed_ms": "retain_failed", "silent_ms": "silent", "run_us": "run_time",
               "user_us": "user_time", "system_us": "system_time"}

    def members(self, schema):
        """By openapi.yaml, in Python's names; a schema that a broker does not have yet has none."""
        document = support.openapi.Document(
            (support.SOURCE / "schema" / "openapi.json").read_text(encoding="utf-8"))
        node = document.resolve(document.root["components"]["schemas"].get(schema, {}))
        return {self.RENAMED.get(name, name) for name in node.get("properties", {})}

    def test_every_member_of_openapi_has_an_attribute(self):
        for schema, view in (("Job", jobmill.Job), ("Cancelled", jobmill.Job),
                             ("Submitted", jobmill.Job), ("SubmittedJob", jobmill.Job),
                             ("JobError", jobmill.Fault), ("Attempt", jobmill.Attempt),
                             ("Progress", jobmill.Progress), ("Explanation", jobmill.Explanation),
                             ("Reason", jobmill.Reason), ("Queue", jobmill.Queue),
                             ("Worker", jobmill.Worker), ("Task", jobmill.Task)):
            shown = set(dir(view)) | set(getattr(view, "__dataclass_fields__", ()))
            self.assertEqual(self.members(schema) - shown, set(), f"{view} does not show")

    def test_every_field_of_openapi_is_an_option(self):
        client = jobmill.Client("http://a")
        for schema, function in (("Submit", client.submit), ("BatchItem", client.submit),
                                 ("Patch", client.patch), ("QueueSettings", client.queues.configure),
                                 ("TaskSettings", client.tasks.configure)):
            options = set(inspect.signature(function).parameters)
            self.assertEqual(self.members(schema) - options, set(), f"{function} does not take")
        self.assertIn("task", self.members("Submit"))

    def test_every_filter_of_openapi_is_taken(self):
        document = support.openapi.Document(
            (support.SOURCE / "schema" / "openapi.json").read_text(encoding="utf-8"))
        nodes = map(document.resolve, document.root["paths"]["/v1/jobs"]["get"]["parameters"])
        filters = {node["name"] for node in nodes if node["in"] == "query"} - {"limit", "cursor"}
        options = set(inspect.signature(jobmill.Client("http://a").list).parameters)
        self.assertEqual(filters - options, set())
        self.assertEqual(options - {"limit", "page_size"}, jobmill.client.FILTERS)


class Package(unittest.TestCase):
    def test_it_has_the_version_of_the_rest(self):
        version = re.search(r"project\(jobmill VERSION ([0-9.]+)",
                            (support.SOURCE / "CMakeLists.txt").read_text())[1]
        self.assertEqual(jobmill.__version__, version)
        self.assertIn(f'version = "{version}"', (support.PACKAGE / "pyproject.toml").read_text())

    def test_it_is_marked_as_typed(self):
        self.assertTrue((pathlib.Path(jobmill.__file__).parent / "py.typed").exists())

    def test_all_names_are_there(self):
        for name in jobmill.__all__:
            self.assertTrue(hasattr(jobmill, name), name)


if __name__ == "__main__":
    support.main()
