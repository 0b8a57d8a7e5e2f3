"""Bad requests, each refused with its code, field and limit, and requests at the limits that are taken:
the cases of tests/cases/api, against the real broker."""

import datetime
import json
import re
import time
import unittest

import harness
import mp
import openapi

CASES = harness.SOURCE / "tests" / "cases" / "api"


class Case:
    def __init__(self, text):
        lines = text.split("\n")
        self.title = lines.pop(0).removeprefix("title: ")
        self.method, self.target = lines.pop(0).split(" ")
        words = lines.pop().removeprefix("= ").split(" ")
        self.is_json_only = words[-1] == "json-only"
        self.status = int(words.pop(0))
        self.words = words[:-1] if self.is_json_only else words
        self.headers = []
        while lines and re.match(r"[A-Z][A-Za-z-]+:", lines[0]):
            name, _, value = lines.pop(0).partition(":")
            self.headers.append((name, value.strip()))
        self.body = "\n".join(lines)

    def expected(self):
        """The problem as far as it is said: {"code", "field", "limit"}."""
        found = {"code": self.words[0]}
        for word in self.words[1:]:
            name, _, value = word.partition("=")
            found[name] = int(value) if name == "limit" else value
        return found


def read_cases(pattern):
    for path in sorted(CASES.glob(pattern)):
        for text in path.read_text(encoding="utf-8").strip().split("\n\n"):
            yield path.name, text


def is_cleared(value):
    return isinstance(value, dict) and value != {} and all(one is None for one in value.values())


class Inputs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mill = cls.enterClassContext(harness.Mill())
        cls.mill.start_redis()
        cls.mill.start_broker()
        cls.mill.start_worker("--queues", "served", "--test-tasks")
        harness.wait_for(lambda: "noop" in [task["name"] for task in
                                            cls.mill.get("/v1/tasks").value["tasks"]], "noop is known")
        cls.document = openapi.Document(cls.mill.get("/openapi.json").body)
        cls.count = 0
        cls.words = {"JOB": cls.mill.submit("a")["id"],
                     "DONE": cls.mill.submit("noop", queue="served", wait=30)["id"]}

    def fill(self, text):
        """Puts in what <<…>> stands for."""
        def one(found):
            word = found[1]
            if word.startswith("now+"):
                when = datetime.datetime.fromtimestamp(time.time() + int(word[4:]),
                                                       datetime.timezone.utc)
                return when.strftime("%Y-%m-%dT%H:%M:%SZ")
            if word == "UNIQUE":
                Inputs.count += 1
                return f"{Inputs.count:020}"
            if word == "NEW":
                return self.mill.submit("a")["id"]
            if word in self.words:
                return self.words[word]
            repeated, _, times = word.rpartition("*")
            return repeated * int(times)
        return re.sub(r"<<(.+?)>>", one, text)

    def send(self, case, body, is_msgpack=False):
        connection = self.mill.connection()
        try:
            connection.putrequest(case.method, case.target)
            names = {name.lower() for name, _ in case.headers}
            for name, value in case.headers:
                connection.putheader(name, value)
            if body is not None and "content-type" not in names:
                connection.putheader("Content-Type",
                                     "application/msgpack" if is_msgpack else "application/json")
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            return harness.Answer(connection.getresponse())
        finally:
            connection.close()

    def body_of(self, case, is_msgpack):
        """None if it has none, or none in that form."""
        if is_msgpack:
            has_one = not (case.is_json_only or case.body.startswith("hex ") or
                           any(name == "Content-Type" for name, _ in case.headers))
            return mp.pack(json.loads(case.body)) if has_one and case.body else None
        if case.body.startswith("hex "):
            return bytes.fromhex(case.body[4:])
        return case.body.encode() if case.body else None

    def run_cases(self, pattern, check):
        """Calls `check` with each case and each of its answers, held against openapi.yaml first."""
        for name, text in read_cases(pattern):
            for is_msgpack in (False, True):
                case = Case(self.fill(text))
                body = self.body_of(case, is_msgpack)
                if is_msgpack and body is None:
                    continue
                with self.subTest(file=name, title=case.title, is_msgpack=is_msgpack):
                    answer = self.send(case, body, is_msgpack)
                    if answer.status != 405:
                        self.document.check_answer(case.method, case.target, answer)
                    self.assertEqual(answer.status, case.status, answer)
                    check(case, answer)

    def what_is_there(self):
        """The last job, and the queues with how many jobs each has, whatever state those are in by
        now: one that the other test submitted may expire meanwhile."""
        queues = self.mill.get("/v1/queues").value["queues"]
        for queue in queues:
            queue["jobs"] = sum(queue["jobs"].values())
            del queue["dispatched"], queue["window"]
        return self.mill.get("/v1/jobs?limit=1").value["jobs"][0]["id"], queues

    def check_refused(self, case, answer):
        problem = answer.value
        found = {name: problem[name] for name in ("code", "field", "limit") if name in problem}
        self.assertEqual(found, case.expected(), answer)
        self.assertGreater(len(problem["detail"]), 10, answer)

    def test_what_is_wrong_is_refused_with_code_field_and_limit_and_changes_nothing(self):
        self.assertGreaterEqual(len(list(read_cases("bad_*.txt"))), 150)
        before = self.what_is_there()
        self.run_cases("bad_*.txt", self.check_refused)
        self.assertEqual(self.what_is_there(), before)

    def test_what_is_wrong_in_a_submit_is_told_alike_of_an_item_of_a_batch(self):
        cases = [Case(self.fill(text)) for _, text in read_cases("bad_submit.txt")]
        cases = [case for case in cases if case.status == 422 and case.target == "/v1/jobs" and
                 not case.headers and not case.is_json_only and "idempotency_key" not in case.body]
        self.assertGreater(len(cases), 100)
        items = [json.loads(case.body) for case in cases]
        for kind, body in (("application/json", json.dumps(items).encode()),
                           ("application/msgpack", b"".join(map(mp.pack, items)))):
            answer = self.mill.call("POST", "/v1/jobs/batch", body,
                                    {"Content-Type": kind, "Accept": "application/json"})
            self.assertEqual((answer.status, len(answer.value)), (200, len(cases)), answer)
            for case, item in zip(cases, answer.value):
                found = {name: item["error"][name] for name in ("code", "field", "limit")
                         if name in item["error"]}
                self.assertEqual(found, case.expected(), case.title)

    def check_taken(self, case, answer):
        job = answer.value
        self.assertEqual([job["state"]], case.words)
        shown = self.mill.job(job["id"])
        for name, value in json.loads(case.body).items():
            if name == "delay_ms" or (name == "run_at" and job["state"] == "queued"):
                continue
            self.check_shown(shown, "due_at" if name == "run_at" else name, value)

    def test_what_is_at_a_limit_is_taken_and_shown(self):
        self.run_cases("good_submit.txt", self.check_taken)

    def check_changed(self, case, answer):
        """What was set is shown; what was cleared, or holds nothing any more, is not."""
        shown = answer.value
        for name, value in json.loads(case.body).items():
            if name == "args":
                self.assertEqual(shown[name], value)
            elif name == "delay_ms":
                self.assertEqual(shown["state"], "scheduled" if value > 0 else "queued")
            elif value is None or is_cleared(value):
                self.assertNotIn(name, shown)
            elif name == "defaults":
                backoff = value.pop("backoff")
                self.check_shown(shown[name], "backoff", backoff)
                self.assertEqual({**shown[name], "backoff": None}, {**value, "backoff": None})
            else:
                self.check_shown(shown, "due_at" if name == "run_at" else name, value)

    def test_what_is_at_a_limit_is_changed_and_shown(self):
        self.run_cases("good_change.txt", self.check_changed)

    def check_shown(self, shown, name, value):
        """What was asked is shown; of a backoff, which is shown whole, at least that."""
        if name == "backoff":
            self.assertLessEqual(set(value.items()), set(shown[name].items()))
            self.assertEqual(len(shown[name]), 5)
        elif name in ("due_at", "expires_at"):
            self.assertEqual(shown[name].replace(".999", "").replace(".000", ""),
                             value.replace(".999", ""))
        else:
            self.assertEqual(shown[name], value, name)


if __name__ == "__main__":
    unittest.main()
