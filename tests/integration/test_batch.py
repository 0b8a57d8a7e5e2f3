"""POST /v1/jobs/batch through the real broker: its three framings, its bounds, and what goes wrong in
the middle. Answers are checked against openapi.yaml."""

import json
import re
import socket
import threading
import time
import unittest

import harness
import mp
import openapi

PATH = "/v1/jobs/batch"
LINES = "application/x-ndjson"
MSGPACK = "application/msgpack"
ITEMS_LIMIT = 100_000
SMALL = b'{"task":"noop","queue":"bulk","args":{"n":12345,"text":"of the usual size"}}'


def memory_kb(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    raise harness.Failure(f"{name} of {pid} is not there")


def is_sanitized(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        text = maps.read()
    return "libasan" in text or "libtsan" in text


class Stream:
    """A batch that is sent piece by piece, in chunks."""

    def __init__(self, mill, path=PATH, content_type=LINES):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(harness.DEADLINE_S)
        self.socket.connect(str(mill.socket_path))
        self.got = b""
        self.socket.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n".encode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(b"%x\r\n" % len(data) + data + b"\r\n")

    def end(self):
        self.socket.sendall(b"0\r\n\r\n")

    def read_until(self, mark):
        while mark not in self.got:
            piece = self.socket.recv(65536)
            if not piece:
                raise harness.Failure(f"the connection ended behind {self.got[-300:]!r}")
            self.got += piece
        head, _, self.got = self.got.partition(mark)
        return head

    def read_answers(self, count):
        """A chunk begins and ends between two answers."""
        while self.got.count(b'"id"') < count:
            self.got += self.socket.recv(65536)

    def read_rest(self):
        """What comes until the broker closes."""
        rest = self.got
        while True:
            piece = self.socket.recv(65536)
            if not piece:
                return rest
            rest += piece


def queued_of(mill, queue):
    answer = mill.get(f"/v1/queues/{queue}")
    return answer.value["jobs"]["queued"] if answer.status == 200 else 0


class Batch(unittest.TestCase):
    """One mill for all; nobody works, so that jobs stay where they are."""

    @classmethod
    def setUpClass(cls):
        cls.document = openapi.Document((harness.SOURCE / "schema/openapi.json").read_text("utf-8"))
        cls.mill = cls.enterClassContext(harness.Mill())
        cls.mill.start_redis()
        cls.mill.start_broker()

    def batch(self, body, content_type="application/json", path=PATH, connection=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        answer = self.mill.call("POST", path, body, {"Content-Type": content_type, **headers},
                                connection)
        self.document.check_answer("POST", path, answer)
        return answer

    def queued(self, queue):
        return queued_of(self.mill, queue)


class Framings(Batch):
    def check_stored(self, answers, tasks):
        self.assertEqual([self.mill.job(answer["id"])["task"] for answer in answers], tasks)
        ids = [answer["id"] for answer in answers]
        self.assertEqual(ids, sorted(set(ids)))
        self.assertEqual({answer["state"] for answer in answers}, {"queued"})

    def test_an_array_is_answered_with_an_array(self):
        answer = self.batch([{"task": "a"}, {"task": "b", "args": [1]}, {"task": "c"}])
        self.assertEqual((answer.status, answer.type), (200, "application/json"))
        self.check_stored(answer.value, ["a", "b", "c"])

    def test_lines_are_answered_with_lines(self):
        answer = self.batch(b'{"task":"a"}\n\n{"task":"b"}\r\n{"task":"c"}', LINES)
        self.assertEqual((answer.status, answer.type), (200, LINES))
        self.assertTrue(answer.body.endswith(b"\n"))
        self.check_stored([json.loads(line) for line in answer.body.splitlines()], ["a", "b", "c"])

    def test_msgpack_maps_and_arrays_are_answered_with_maps(self):
        maps = b"".join(mp.pack({"task": task}) for task in "abc")
        for body in (maps, mp.pack([{"task": task} for task in "abc"])):
            answer = self.batch(body, MSGPACK)
            self.assertEqual((answer.status, answer.type), (200, MSGPACK))
            self.check_stored(mp.unpack_all(answer.body), ["a", "b", "c"])

    def test_the_form_of_the_answer_is_what_accept_likes_best(self):
        body = [{"task": "a"}]
        for accept, content_type in ((LINES, LINES), (MSGPACK, MSGPACK), ("*/*", "application/json"),
                                     (f"{MSGPACK};q=0.5, {LINES}", LINES)):
            self.assertEqual(self.batch(body, Accept=accept).type, content_type)
        self.assertEqual(self.batch(mp.pack(body), MSGPACK, Accept="*/*").type, MSGPACK)
        refused = self.batch(body, Accept="text/html")
        self.assertEqual(refused.code, "not_acceptable")
        self.assertIn("application/x-ndjson", refused.value["detail"])

    def test_nothing_is_answered_with_nothing(self):
        self.assertEqual(self.batch([]).value, [])
        self.assertEqual(self.batch(b"", LINES).body, b"")
        self.assertEqual(self.batch(b"\x90", MSGPACK).body, b"")

    def test_http_1_0_is_answered_until_the_close(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(harness.DEADLINE_S)
            s.connect(str(self.mill.socket_path))
            s.sendall(b"POST /v1/jobs/batch HTTP/1.0\r\nContent-Type: application/x-ndjson\r\n"
                      b'Content-Length: 13\r\n\r\n{"task":"a"}\n')
            with s.makefile("rb") as stream:
                head, _, body = stream.read().partition(b"\r\n\r\n")
        self.assertNotIn(b"Transfer-Encoding", head)
        self.assertEqual(json.loads(body)["state"], "queued")

    def test_the_connection_goes_on_behind_it(self):
        connection = self.mill.connection()
        self.addCleanup(connection.close)
        for _ in range(3):
            self.assertEqual(len(self.batch([{"task": "a"}] * 3, connection=connection).value), 3)
        self.assertEqual(self.mill.call("GET", "/ping", connection=connection).body, b"pong\n")


class Items(Batch):
    def test_good_and_bad_items_leave_one_another_alone(self):
        answers = self.batch([{"task": "a"}, {"task": 1}, 5, {"task": "b", "color": 1}, {},
                              {"task": "c", "max_attempts": 2000}, {"task": "d"}]).value
        codes = [answer.get("error", {}).get("code") for answer in answers]
        self.assertEqual(codes, [None, "bad_field", "bad_field", "unknown_field", "missing_field",
                                 "bad_field", None])
        self.assertEqual(answers[5]["error"]["field"], "max_attempts")
        self.assertEqual(answers[5]["error"]["limit"], 1000)
        self.assertEqual(self.mill.job(answers[6]["id"])["task"], "d")

    def test_what_is_wrong_inside_an_item_is_its_own_error(self):
        answers = self.batch(b'[{"task":"a"},{"task" "b"},{"task":"c","task":"c"},{"task":"d"}]').value
        self.assertEqual([answer.get("error", {}).get("code") for answer in answers],
                         [None, "bad_json", "bad_json", None])
        body = mp.pack({"task": "a"}) + b"\x81\x01\x02" + mp.pack({"task": "b"})
        answers = mp.unpack_all(self.batch(body, MSGPACK).body)
        self.assertEqual([answer.get("error", {}).get("code") for answer in answers],
                         [None, "bad_msgpack", None])

    def test_an_item_above_the_limit_is_passed_over(self):
        large = {"task": "a", "args": "x" * (1 << 20)}
        answers = self.batch([{"task": "a"}, large, {"task": "b"}]).value
        self.assertEqual(answers[1]["error"]["code"], "body_too_large")
        self.assertEqual(answers[1]["error"]["limit"], 1 << 20)
        self.assertEqual(self.mill.job(answers[2]["id"])["task"], "b")

    def test_every_field_of_a_submit_is_kept(self):
        fields = {"task": "a", "args": {"n": 1}, "queue": "q", "priority": 7, "max_attempts": 5,
                  "timeout_ms": 1234, "tags": ["x", "y"], "limit_key": "k", "grace_ms": 10}
        job = self.mill.job(self.batch([fields]).value[0]["id"])
        self.assertEqual({name: job[name] for name in fields}, fields)
        answer = self.batch([{"task": "a", "delay_ms": 3600000}]).value[0]
        self.assertEqual(answer["state"], "scheduled")

    def test_each_item_has_its_own_idempotency_key(self):
        items = [{"task": "a", "idempotency_key": "k1"}, {"task": "a", "idempotency_key": "k2"}]
        first = self.batch(items).value
        again = self.batch(items + [{"task": "b", "idempotency_key": "k1"},
                                    {"task": "a", "idempotency_key": "k 3"}]).value
        self.assertEqual([answer["id"] for answer in again[:2]], [answer["id"] for answer in first])
        self.assertTrue(all(answer["is_replay"] for answer in again[:2]))
        self.assertEqual([answer["error"]["code"] for answer in again[2:]],
                         ["idempotency_mismatch", "bad_field"])
        alone = self.mill.call("POST", "/v1/jobs", b'{"task":"a"}',
                               {"Content-Type": "application/json", "Idempotency-Key": "k1"})
        self.assertEqual(alone.value["id"], first[0]["id"])

    def test_unique_items_meet_one_another(self):
        unique = {"key": "one"}
        answers = self.batch([{"task": "a", "unique": unique}, {"task": "a", "unique": unique},
                              {"task": "a", "unique": {**unique, "on_conflict": "reject"}},
                              {"task": "a", "unique": {**unique, "on_conflict": "replace"}}]).value
        self.assertEqual(answers[1]["id"], answers[0]["id"])
        self.assertIs(answers[1]["is_existing"], True)
        self.assertEqual(answers[2]["error"]["code"], "unique_conflict")
        self.assertEqual(answers[2]["error"]["id"], answers[0]["id"])
        self.assertEqual(answers[3]["replaced"], answers[0]["id"])

    def test_an_item_that_met_a_unique_job_is_answered_again_as_that_is_now(self):
        unique = {"task": "a", "queue": "nobody", "unique": {"key": "again"}}
        item = {**unique, "idempotency_key": "again"}
        first = self.batch([unique, item]).value[0]["id"]
        met = {"id": first, "is_existing": True, "is_replay": True}
        self.assertEqual(self.batch([item]).value, [{**met, "state": "queued"}])
        self.assertEqual(self.batch([item], path=PATH + "?atomic=true").value,
                         [{**met, "state": "queued"}])
        self.mill.call("POST", f"/v1/jobs/{first}/cancel")
        self.mill.call("DELETE", f"/v1/jobs/{first}")
        self.assertEqual(self.batch([item]).value, [met])

    def test_a_queue_takes_as_many_as_it_may_hold(self):
        answer = self.mill.call("PATCH", "/v1/queues/narrow", {"max_queued": 5})
        self.assertEqual(answer.status, 200)
        items = [{"task": "a", "queue": "narrow"}] * 8
        answer = self.batch(items, path=PATH + "?atomic=true")
        self.assertEqual(answer.status, 422)
        self.assertEqual([item["error"]["code"] for item in answer.value],
                         ["batch_refused"] * 5 + ["queue_full"] + ["batch_refused"] * 2)
        self.assertEqual(answer.value[5]["error"]["limit"], 5)
        self.assertEqual(self.queued("narrow"), 0)
        keyed = [{**items[0], "idempotency_key": f"narrow-{i}"} for i in range(8)]
        answers = self.batch(keyed).value
        self.assertEqual([item.get("error", {}).get("code") for item in answers],
                         [None] * 5 + ["queue_full"] * 3)
        self.assertEqual(self.queued("narrow"), 5)
        for path in (PATH, PATH + "?atomic=true"):  # what is full answers repeats all the same
            again = self.batch(keyed[:5], path=path)
            self.assertEqual(again.status, 200)
            self.assertEqual([item["id"] for item in again.value], [item["id"] for item in answers[:5]])
        mixed = self.batch(keyed[3:], path=PATH + "?atomic=true")
        self.assertEqual((mixed.status, [item["error"]["code"] for item in mixed.value]),
                         (422, ["batch_refused"] * 2 + ["queue_full"] * 3))
        self.assertEqual(mixed.value[2]["error"]["limit"], 5)

    def test_a_full_queue_answers_with_the_unique_job_that_is_there(self):
        self.mill.call("PATCH", "/v1/queues/tight", {"max_queued": 1})
        item = {"task": "a", "queue": "tight", "unique": {"key": "tight"}}
        first = self.batch([item]).value[0]["id"]
        for answer in (self.mill.call("POST", "/v1/jobs", item), self.batch([item]),
                       self.batch([item], path=PATH + "?atomic=true")):
            self.assertEqual(answer.status, 200)
            value = answer.value[0] if isinstance(answer.value, list) else answer.value
            self.assertEqual((value["id"], value["is_existing"]), (first, True))
        for unique, code in (({"key": "tight", "on_conflict": "reject"}, "unique_conflict"),
                             ({"key": "loose"}, "queue_full")):
            alone = self.mill.call("POST", "/v1/jobs", {**item, "unique": unique})
            self.assertEqual(alone.code, code)
            self.assertEqual(self.batch([{**item, "unique": unique}]).value[0]["error"]["code"], code)
            self.assertEqual(self.batch([{**item, "unique": unique}], path=PATH + "?atomic=true")
                             .value[0]["error"]["code"], code)

    def test_defaults_of_a_queue_are_those_of_its_items(self):
        self.mill.call("PATCH", "/v1/queues/urgent", {"defaults": {"priority": 8, "max_attempts": 2}})
        for path in (PATH, PATH + "?atomic=true"):
            answers = self.batch([{"task": "a", "queue": "urgent"}], path=path).value
            job = self.mill.job(answers[0]["id"])
            self.assertEqual((job["priority"], job["max_attempts"]), (8, 2))

    def test_time_passes_for_the_items_too(self):
        for path in (PATH, PATH + "?atomic=true"):
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
            late, due = self.batch([{"task": "a", "expires_at": at},
                                    {"task": "b", "delay_ms": 300}], path=path).value
            self.assertEqual((late["state"], due["state"]), ("queued", "scheduled"))
            self.mill.wait_for_state(due["id"], "queued")
            self.mill.wait_for_state(late["id"], "expired")

    def test_a_body_that_breaks_is_told_in_the_place_of_the_next_item(self):
        for body, content_type, code in ((b'[{"task":"a"} {"task":"b"}]', "application/json", "bad_json"),
                                         (b'[{"task":"a"},{"tas', "application/json", "bad_json"),
                                         (b'[{"task":"a"}]]', "application/json", "bad_json"),
                                         (mp.pack({"task": "a"}) + b"\xc1", MSGPACK, "bad_msgpack")):
            answer = self.batch(body, content_type, Accept="application/json")
            self.assertEqual(answer.status, 200)
            stored, broken = answer.value
            self.assertEqual(self.mill.job(stored["id"])["task"], "a")
            self.assertEqual(broken["error"]["code"], code)

    def test_before_the_first_item_it_is_a_problem(self):
        for body in (b'{"task":"a"}', b"", b"[,", b"[{"):
            answer = self.batch(body)
            self.assertEqual((answer.status, answer.code), (400, "bad_json"), body)

    def test_refusals_of_the_whole(self):
        self.assertEqual(self.batch(b"[]", "text/plain").code, "unsupported_media_type")
        self.assertEqual(self.batch([], path=PATH + "?atomic=perhaps").code, "bad_query")
        self.assertEqual(self.batch([], path=PATH + "?wait=1").code, "bad_query")
        self.assertEqual(self.batch([], Idempotency_Key="k").code, "bad_header")


class Bounds(Batch):
    def test_a_hundred_thousand_jobs_in_bounded_memory(self):
        before = memory_kb(self.mill.broker.pid, "VmRSS")
        answer = self.batch(b"[" + b",".join([SMALL] * ITEMS_LIMIT) + b"]")
        after = memory_kb(self.mill.broker.pid, "VmHWM")
        ids = [item["id"] for item in answer.value]
        self.assertEqual(len(set(ids)), ITEMS_LIMIT)
        self.assertEqual(ids, sorted(ids))
        self.assertEqual(self.queued("bulk"), ITEMS_LIMIT)
        if not is_sanitized(self.mill.broker.pid):
            self.assertLess(after - before, 32 << 10)  # the body has 8 MB, the answer 4

    def test_one_item_too_many(self):
        body = b"".join([b'{"task":"a","queue":"many"}\n'] * (ITEMS_LIMIT + 1000))
        answer = self.batch(body, LINES)
        answers = answer.body.splitlines()
        self.assertEqual(len(answers), ITEMS_LIMIT + 1)
        error = json.loads(answers[-1])["error"]
        self.assertEqual((error["code"], error["limit"]), ("batch_too_large", ITEMS_LIMIT))
        self.assertEqual(self.queued("many"), ITEMS_LIMIT)

    def test_answers_come_while_the_request_is_sent(self):
        with Stream(self.mill) as stream:
            for task in ("a", "b"):
                stream.send(b'{"task":"%s"}\n' % task.encode())
                self.assertIn(b'"state":"queued"', stream.read_until(b'}\n'))
            stream.end()
            stream.read_until(b"0\r\n\r\n")

    def test_a_slow_sender_does_not_hold_up_others(self):
        with Stream(self.mill) as stream:
            stream.send(b'{"task":"a"}\n{"ta')
            stream.read_until(b"}\n")
            start = time.monotonic()
            for _ in range(20):
                self.mill.submit("noop")
            self.assertLess(time.monotonic() - start, harness.DEADLINE_S / 3)
            stream.send(b'sk":"b"}\n')
            stream.end()
            stream.read_until(b"0\r\n\r\n")

    def test_who_does_not_read_is_not_read_from(self):
        line = b'{"%s":1}\n' % (b"f" * 79)  # refused, at more bytes than it has
        with Stream(self.mill) as stream:
            stream.socket.settimeout(2)
            sent = 0
            with self.assertRaises(TimeoutError):
                while sent < 1 << 30:
                    stream.send(line * 1000)
                    sent += 1000
            self.assertLess(sent, ITEMS_LIMIT * 2)
        self.assertEqual(self.mill.get("/ping").status, 200)

    def test_many_batches_at_a_time(self):
        body = b"[" + b",".join([b'{"task":"a","queue":"wide"}'] * 2000) + b"]"
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.batch(body))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([len(answer.value) for answer in answers], [2000] * 20)
        self.assertEqual(self.queued("wide"), 40000)


class Breaks(Batch):
    def test_what_is_stored_stays_when_the_client_goes(self):
        with Stream(self.mill) as stream:
            stream.send(b'{"task":"a","queue":"gone"}\n' * 1000)
            stream.read_answers(1000)
            stream.send(b'{"task":"a","queue":"gone"}\n{"task":"a","queue":"gone')
        self.assertIn(self.queued("gone"), (1000, 1001))
        self.assertEqual(self.mill.get("/ping").status, 200)

    def test_a_framing_error_ends_the_answer_without_its_end(self):
        with Stream(self.mill) as stream:
            stream.send(b'{"task":"a"}\n')
            stream.read_until(b"}\n")
            stream.socket.sendall(b"Z\r\n")
            self.assertNotIn(b"0\r\n\r\n", stream.read_rest())

    def test_a_framing_error_before_the_first_item_is_a_problem(self):
        with Stream(self.mill) as stream:
            stream.socket.sendall(b"Z\r\n")
            self.assertIn(b'"code":"bad_request"', stream.read_rest())


class Atomic(Batch):
    def atomic(self, body, content_type="application/json", **headers):
        return self.batch(body, content_type, path=PATH + "?atomic=true", **headers)

    def codes(self, answer):
        return [item.get("error", {}).get("code") for item in answer.value]

    def test_all_are_stored(self):
        fields = {"task": "a", "args": {"n": 1}, "queue": "q", "priority": 7, "max_attempts": 5,
                  "timeout_ms": 1234, "tags": ["x", "y"], "limit_key": "k", "grace_ms": 10,
                  "retain_ms": 1000, "backoff": {"kind": "fixed", "base_ms": 10},
                  "unique": {"key": "atomic"}, "expires_at": "2035-01-01T00:00:00.000Z"}
        items = [{"task": "b"}, fields, {"task": "c", "delay_ms": 3600000},
                 {"task": "d", "idempotency_key": "atomic-d"}]
        alone = self.mill.job(self.batch([{**fields, "unique": {"key": "alone"}}]).value[0]["id"])
        answer = self.atomic(items)
        self.assertEqual(answer.status, 200)
        jobs = [self.mill.job(item["id"]) for item in answer.value]
        self.assertEqual([job["task"] for job in jobs], ["b", "a", "c", "d"])
        self.assertEqual([item["state"] for item in answer.value],
                         ["queued", "queued", "scheduled", "queued"])
        differ = {"id", "created_at", "unique"}
        self.assertEqual({name: jobs[1][name] for name in jobs[1] if name not in differ},
                         {name: alone[name] for name in alone if name not in differ})
        self.assertEqual(jobs[1]["unique"], {"key": "atomic"})
        again = self.mill.call("POST", "/v1/jobs", b'{"task":"d"}', {
            "Content-Type": "application/json", "Idempotency-Key": "atomic-d"})
        self.assertEqual(again.value["id"], jobs[3]["id"])

    def test_each_form_has_its_answer(self):
        lines = self.atomic(b'{"task":"a"}\n{"task":"b"}\n', LINES)
        self.assertEqual((lines.status, lines.type, lines.body.count(b"\n")), (200, LINES, 2))
        packed = self.atomic(mp.pack([{"task": "a"}, {"task": 1}]), MSGPACK)
        self.assertEqual((packed.status, packed.type), (422, MSGPACK))
        self.assertEqual([item["error"]["code"] for item in mp.unpack_all(packed.body)],
                         ["batch_refused", "bad_field"])
        self.assertEqual(self.atomic([]).value, [])

    def test_nothing_is_stored_if_an_item_is_wrong(self):
        answer = self.atomic([{"task": "a", "queue": "none"}, {"task": "b", "queue": "none", "x": 1},
                              {"task": "c", "queue": "none"}, {"queue": "none"}])
        self.assertEqual(answer.status, 422)
        self.assertEqual(self.codes(answer),
                         ["batch_refused", "unknown_field", "batch_refused", "missing_field"])
        self.assertEqual(self.queued("none"), 0)

    def test_nothing_is_stored_if_the_store_refuses_an_item(self):
        self.batch([{"task": "a", "queue": "held", "unique": {"key": "held"}},
                    {"task": "a", "queue": "held", "idempotency_key": "held"}])
        answer = self.atomic([{"task": "a", "queue": "held"},
                              {"task": "b", "queue": "held", "idempotency_key": "held"},
                              {"task": "a", "queue": "held",
                               "unique": {"key": "held", "on_conflict": "reject"}},
                              {"task": "a", "queue": "held", "unique": {"key": "twice"}},
                              {"task": "a", "queue": "held",
                               "unique": {"key": "twice", "on_conflict": "reject"}}])
        self.assertEqual(answer.status, 422)
        self.assertEqual(self.codes(answer), ["batch_refused", "idempotency_mismatch",
                                              "unique_conflict", "batch_refused", "unique_conflict"])
        self.assertEqual(self.queued("held"), 2)

    def test_a_batch_whose_items_all_have_keys_can_be_repeated(self):
        items = [{"task": "a", "queue": "again", "idempotency_key": f"again-{i}"} for i in range(100)]
        first, second = self.atomic(items), self.atomic(items)
        self.assertEqual([item["id"] for item in first.value], [item["id"] for item in second.value])
        self.assertTrue(all(item["is_replay"] for item in second.value))
        self.assertEqual(self.queued("again"), 100)

    def test_what_breaks_the_body_refuses_all(self):
        answer = self.atomic(b'[{"task":"a","queue":"cut"},{"task"')
        self.assertEqual((answer.status, self.codes(answer)), (422, ["batch_refused", "bad_json"]))
        self.assertEqual(self.atomic(b'[{"task"').code, "bad_json")
        self.assertEqual(self.queued("cut"), 0)

    def test_a_hundred_thousand_in_one_commit_in_bounded_memory(self):
        before = memory_kb(self.mill.broker.pid, "VmRSS")
        answer = self.atomic(b"[" + b",".join([SMALL.replace(b"bulk", b"whole")] * ITEMS_LIMIT) + b"]")
        after = memory_kb(self.mill.broker.pid, "VmHWM")
        self.assertEqual(answer.status, 200)
        self.assertEqual(len({item["id"] for item in answer.value}), ITEMS_LIMIT)
        self.assertEqual(self.queued("whole"), ITEMS_LIMIT)
        if not is_sanitized(self.mill.broker.pid):
            self.assertLess(after - before, 48 << 10)

    def test_one_item_too_many_refuses_all(self):
        answer = self.atomic(b'{"task":"a","queue":"over"}\n' * (ITEMS_LIMIT + 1), LINES,
                             Accept="application/json")
        self.assertEqual(answer.status, 422)
        self.assertEqual(self.codes(answer)[-2:], ["batch_refused", "batch_too_large"])
        self.assertEqual(self.queued("over"), 0)

    def test_a_slow_sender_holds_nothing_up_and_nothing_is_stored_before_the_end(self):
        with Stream(self.mill, PATH + "?atomic=true") as stream:
            stream.send(b'{"task":"a","queue":"slow"}\n' * 5000)
            for _ in range(20):
                self.mill.submit("noop", queue="beside")
            self.assertEqual((self.queued("slow"), self.queued("beside")), (0, 20))
            stream.send(b'{"task":"a","queue":"slow"}\n')
            stream.end()
            self.assertIn(b" 200 ", stream.read_until(b"\r\n"))
        self.assertEqual(self.queued("slow"), 5001)

    def test_nothing_is_stored_when_the_client_goes(self):
        with Stream(self.mill, PATH + "?atomic=true") as stream:
            stream.send(b'{"task":"a","queue":"left"}\n' * 5000)
        with Stream(self.mill, PATH + "?atomic=true") as stream:
            stream.send(b'{"task":"a","queue":"left"}\n')
            stream.socket.sendall(b"Z\r\n")
            self.assertIn(b'"code":"bad_request"', stream.read_rest())
        harness.wait_for(lambda: b"jobmill_http_connections 1\n" in self.mill.get("/metrics").body,
                         "the broker lets the connections go")
        self.assertEqual(self.queued("left"), 0)


class Crash(unittest.TestCase):
    def test_what_was_answered_is_there_after_a_crash(self):
        """The ledger: every id that was told is a job, and nothing was made that was not asked."""
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            with Stream(mill) as stream:
                stream.send(b'{"task":"a","queue":"q"}\n' * 20000)
                stream.read_answers(3000)
                mill.broker.kill()
                told = re.findall(rb'"id":"(\w+)"', stream.got)
            mill.start_broker()
            for job_id in told[::100] + told[-1:]:
                self.assertEqual(mill.job(job_id.decode())["task"], "a")
            queued = mill.get("/v1/queues/q").value["jobs"]["queued"]
            self.assertGreaterEqual(queued, len(told))
            self.assertLessEqual(queued, 20000)

    def test_of_an_atomic_batch_all_or_nothing_is_there_after_a_crash(self):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            for wait_s in (0, 0.02, 0.1, 0.3):
                before = queued_of(mill, "q")
                with Stream(mill, PATH + "?atomic=true") as stream:
                    stream.send(b'{"task":"a","queue":"q"}\n' * 20000)
                    stream.end()
                    time.sleep(wait_s)  # somewhere in the work, each time at another place
                    mill.broker.kill()
                mill.start_broker()
                self.assertIn(queued_of(mill, "q") - before, (0, 20000))


class Shutdown(unittest.TestCase):
    def test_a_stop_refuses_what_is_atomic_and_has_not_all_come(self):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            with Stream(mill, PATH + "?atomic=true") as stream:
                stream.send(b'{"task":"a","queue":"q"}\n' * 50)
                mill.get("/ping")
                mill.broker.send(15)
                rest = stream.read_rest()
            self.assertIn(b" 503 ", rest)
            self.assertIn(b'"code":"shutting_down"', rest)
            self.assertEqual(mill.broker.wait(), 0)
            mill.start_broker()
            self.assertEqual(mill.get("/v1/queues/q").status, 404)

    def test_a_stop_in_the_middle_ends_the_answer_in_order(self):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            with Stream(mill) as stream:
                stream.send(b'{"task":"a","queue":"q"}\n' * 50)
                stream.read_answers(50)
                mill.broker.send(15)
                rest = stream.read_rest()
                self.assertIn(b'"code":"shutting_down"', rest)
                self.assertTrue(rest.endswith(b"0\r\n\r\n"))
            self.assertEqual(mill.broker.wait(), 0)
            mill.start_broker()
            self.assertEqual(mill.get("/v1/queues/q").value["jobs"]["queued"], 50)


if __name__ == "__main__":
    unittest.main()
