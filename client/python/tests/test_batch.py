"""Batches: by a script for all that can go wrong on the way, and against the real broker."""

import io
import itertools
import json
import pickle
import socket
import tempfile
import threading
import time
import tracemalloc
import unittest

import support
from support import AT_ONCE, NEVER, answer, jobmill, problem, says
from jobmill import batch

HEAD = b"HTTP/1.1 %d OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


def lines(*objects):
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def stored(count, first=0):
    return lines(*({"id": f"JOB{n}", "state": "queued"} for n in range(first, first + count)))


def whole(status, body):
    return (HEAD % status) + chunk(body) + b"0\r\n\r\n"


def items_of(request):
    return [json.loads(line) for line in request[2].splitlines()]


def echoes(count):
    return ({"task": "echo", "args": n} for n in range(count))


class Scripted(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="jm-")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name

    def server(self, *script):
        return support.ScriptedServer(self.dir, *script)

    def client(self, server, retry=AT_ONCE, **options):
        return jobmill.Client(server.url, retry=retry, **options)

    def test_items_go_out_as_lines_and_answers_come_in_order(self):
        body = lines({"id": "A", "state": "queued"},
                     {"error": {"code": "bad_field", "detail": "d", "field": "priority", "limit": 9}},
                     {"id": "B", "state": "queued", "is_existing": True},
                     {"id": "C", "state": "queued", "replaced": "B", "is_replay": True})
        with self.server(says(whole(200, body))) as server:
            first, second, third, fourth = self.client(server).batch(
                [{"task": "a", "delay": 1}, {"task": "b", "idempotency_key": "mine"}, {"task": "c"},
                 {"task": "d"}])
        self.assertEqual((first.index, first.id, first.state, first.error), (0, "A", "queued", None))
        self.assertEqual((second.id, second.error.code, second.error.field, second.error.limit,
                          second.idempotency_key), (None, "bad_field", "priority", 9, "mine"))
        self.assertIsInstance(second.error, jobmill.InvalidRequest)
        self.assertEqual((third.is_existing, fourth.replaced, fourth.is_replay), (True, "B", True))
        line, fields, _ = request = server.seen[0][0]
        self.assertEqual((line, fields["content-type"], fields["transfer-encoding"]),
                         ("POST /v1/jobs/batch HTTP/1.1", "application/x-ndjson", "chunked"))
        sent = items_of(request)
        self.assertEqual((sent[0]["delay_ms"], sent[1]["idempotency_key"]), (1000, "mine"))
        self.assertEqual(len({item["idempotency_key"] for item in sent}), 4)

    def test_an_empty_batch_is_no_request(self):
        client = jobmill.Client(f"unix:{self.dir}/nobody", retry=NEVER)
        self.assertEqual(list(client.batch([])), [])
        self.assertEqual(list(client.batch(iter(()), atomic=True)), [])

    def test_answers_come_while_items_go_out(self):
        """The items have no end, so all would hang if either side waited for the other's."""
        def serves(peer):
            peer.head()
            peer.send(HEAD % 200)
            count = 0
            while True:
                try:
                    data = peer.chunk()
                    peer.send(chunk(stored(data.count(b"\n"), count)))
                except (ValueError, BrokenPipeError, ConnectionResetError):
                    return count
                count += data.count(b"\n")
        with self.server(serves) as server:
            endless = ({"task": "echo", "args": n} for n in itertools.count())
            answers = self.client(server).batch(endless)
            for number, one in enumerate(itertools.islice(answers, 30000)):
                self.assertEqual((one.index, one.id), (number, f"JOB{number}"))
            answers.close()
            self.assertLess(next(endless)["args"], 100_000, "it did not run far ahead")

    def test_a_server_that_answers_only_at_the_end_is_served(self):
        count = 5000
        with self.server(says(whole(200, stored(count)))) as server:
            self.assertEqual(sum(1 for _ in self.client(server).batch(echoes(count))), count)

    def test_what_was_not_answered_is_sent_again_after_a_cut(self):
        def cut_after_two(peer):
            request = peer.request()
            peer.send((HEAD % 200) + chunk(stored(2)) + b"4\r\n{\"i")
            return [request]
        with self.server(cut_after_two, says(whole(200, stored(3, 2)))) as server:
            answers = list(self.client(server).batch(echoes(5)))
        self.assertEqual([one.id for one in answers], [f"JOB{n}" for n in range(5)])
        self.assertEqual([one.index for one in answers], list(range(5)))
        first, again = [items_of(step[0]) for step in server.seen]
        self.assertEqual(again, first[2:])

    def test_a_cut_in_the_middle_of_the_items_goes_on_with_the_rest(self):
        def cut_early(peer):
            peer.head()
            data = peer.chunk()
            peer.send((HEAD % 200) + chunk(stored(data.count(b"\n"))))
            return data.count(b"\n")

        def serves_rest(peer):
            request = peer.request()
            peer.send(whole(200, stored(request[2].count(b"\n"), 50000)))
            return request
        with self.server(cut_early, serves_rest) as server:
            answers = list(self.client(server).batch(echoes(20000)))
        self.assertEqual([one.index for one in answers], list(range(20000)))
        self.assertEqual(items_of(server.seen[1])[0]["args"], server.seen[0])

    def test_repeats_count_from_the_last_progress(self):
        def one_at_a_time(peer):
            request = peer.request()
            peer.send((HEAD % 200) + chunk(lines({"id": "A", "state": "queued"})))
            return request
        with self.server(*[one_at_a_time] * 6) as server:
            answers = list(self.client(server, jobmill.Retry(retries=1, base_s=0)).batch(echoes(6)))
        self.assertEqual(len(answers), 6)

    def test_without_repeats_a_cut_is_unknown_fate(self):
        def cut_after_one(peer):
            peer.request()
            peer.send((HEAD % 200) + chunk(stored(1)))
        for options, retry in (({"repeatable": False}, AT_ONCE), ({}, NEVER)):
            with self.server(cut_after_one) as server:
                answers = self.client(server, retry).batch(echoes(3), **options)
                self.assertEqual(next(answers).id, "JOB0")
                with self.assertRaisesRegex(jobmill.UnknownFate, "2 items .* from number 1 on"):
                    next(answers)

    def test_a_refusal_after_a_cut_leaves_open_what_the_first_request_did(self):
        later, final = problem(503, "overloaded"), problem(400, "bad_header")
        for refusals in ([later] * 3, [final], [later, final]):
            with self.server(support.cuts, *(says(one) for one in refusals)) as server:
                with self.assertRaisesRegex(jobmill.UnknownFate, "3 items .* from number 0 on"):
                    list(self.client(server).batch(echoes(3)))

    def test_a_refusal_that_no_cut_went_before_is_a_refusal(self):
        with self.server(*[says(problem(503, "overloaded"))] * 4) as server:
            with self.assertRaises(jobmill.Overloaded):
                list(self.client(server).batch(echoes(3)))

    def test_what_was_in_doubt_and_is_answered_is_so_no_longer(self):
        old, batch.ITEMS_PER_REQUEST = batch.ITEMS_PER_REQUEST, 3
        self.addCleanup(setattr, batch, "ITEMS_PER_REQUEST", old)
        with self.server(support.cuts, says(whole(200, stored(3))),
                         says(problem(400, "bad_header"))) as server:
            answers = self.client(server).batch(echoes(6))
            self.assertEqual([next(answers).id for _ in range(3)], ["JOB0", "JOB1", "JOB2"])
            with self.assertRaises(jobmill.InvalidRequest):
                next(answers)

    def test_a_broker_that_shuts_down_is_gone_on_with_where_it_ended(self):
        """Its word stands in the place of an item and is none's, be it the last."""
        stops = lines({"error": {"code": "shutting_down", "detail": "d"}})
        for count, rest in ((5, 3), (3, 1)):
            with self.server(says(whole(200, stored(2) + stops)),
                             says(whole(200, stored(rest, 2)))) as server:
                answers = list(self.client(server).batch(echoes(count)))
            self.assertEqual([one.id for one in answers], [f"JOB{n}" for n in range(count)])
            first, again = [items_of(step[0]) for step in server.seen]
            self.assertEqual(again, first[2:])

    def test_a_broker_that_shuts_down_when_all_is_answered_is_none_of_our_business(self):
        stops = lines({"error": {"code": "shutting_down"}})
        with self.server(says(whole(200, stored(2) + stops))) as server:
            self.assertEqual(len(list(self.client(server, NEVER).batch(echoes(2)))), 2)

    def test_nor_is_an_end_that_is_missing_behind_the_last_answer(self):
        with self.server(says((HEAD % 200) + chunk(stored(2)))) as server:
            self.assertEqual(len(list(self.client(server, NEVER).batch(echoes(2)))), 2)

    def test_items_that_come_slowly_go_out_as_they_come(self):
        has_come = threading.Event()

        def slowly():
            yield {"task": "echo"}
            time.sleep(batch.GATHER_S * 1.1)
            yield {"task": "echo"}
            self.assertTrue(has_come.wait(support.harness.DEADLINE_S), "the first two")
            yield {"task": "echo"}

        def serves(peer):
            peer.head()
            data = peer.chunk()
            has_come.set()
            rest = b"".join(iter(peer.chunk, b""))
            peer.send(whole(200, stored(3)))
            return data.count(b"\n"), rest.count(b"\n")
        with self.server(serves) as server:
            self.assertEqual(len(list(self.client(server, NEVER).batch(slowly()))), 3)
        self.assertEqual(server.seen, [(2, 1)])

    def test_an_end_with_too_few_answers_is_a_cut_and_too_many_are_none(self):
        with self.server(says(whole(200, stored(2))), says(whole(200, stored(1, 2)))) as server:
            self.assertEqual(len(list(self.client(server).batch(echoes(3)))), 3)
        with self.server(*[says(whole(200, b""))] * 4) as server:
            with self.assertRaises(jobmill.UnknownFate):
                list(self.client(server).batch(echoes(3)))
        with self.server(says(whole(200, stored(2)))) as server:
            with self.assertRaises(jobmill.BadAnswer):
                list(self.client(server).batch(echoes(1)))

    def test_overload_is_waited_for(self):
        with self.server(says(problem(503, "overloaded", Retry_After=1)),
                         says(whole(200, stored(2)))) as server:
            client = self.client(server)
            pauses = []
            client._transport.sleep = pauses.append
            self.assertEqual(len(list(client.batch(echoes(2)))), 2)
        self.assertEqual(pauses, [1])
        with self.server(says(problem(503, "overloaded"))) as server:
            with self.assertRaises(jobmill.Overloaded):
                list(self.client(server, NEVER).batch(echoes(2)))

    def test_a_refusal_is_heard_before_all_is_sent_and_no_more_is_sent(self):
        """The items have no end; the refusal's body comes only when no more of them do."""
        def refuses(peer):
            peer.head()
            head, _, body = problem(404, "no_such_route").partition(b"\r\n\r\n")
            peer.send(head + b"\r\n\r\n")
            peer.sock.settimeout(0.3)
            with self.assertRaises(socket.timeout):
                for _ in range(1000):
                    peer.sock.recv(1 << 20)
            peer.send(body)
        with self.server(refuses) as server:
            with self.assertRaises(jobmill.NoSuchRoute):
                list(self.client(server).batch({"task": "echo", "args": "x" * 1000}
                                               for _ in itertools.count()))

    def test_an_iterable_that_raises_ends_the_batch_with_that(self):
        def broken():
            yield {"task": "echo"}
            raise OSError("the caller's disk")

        def hears(peer):
            peer.head()
            return peer.file.read()
        for items, error in ((broken(), OSError), ([{"task": "echo"}, {"args": b"x"}], TypeError),
                             ([{"task": "echo"}, 5], TypeError)):
            with self.server(hears) as server:
                with self.assertRaises(error):
                    list(self.client(server).batch(items))
            self.assertNotIn(b"0\r\n\r\n", server.seen[0], "the body must not look whole")

    def test_a_first_item_that_cannot_be_sent_sends_nothing(self):
        client = jobmill.Client(f"unix:{self.dir}/nobody", retry=NEVER)
        for items in ([None], [{"args": b"x"}]):
            with self.assertRaises(TypeError):
                list(client.batch(items))

    def test_an_atomic_refusal_tells_the_items_that_were_wrong(self):
        refused = {"error": {"code": "batch_refused"}}
        wrong = {"error": {"code": "missing_field", "field": "task"}}
        body = whole(422, lines(refused, wrong, refused))
        for said, count in ((body, 1), (body[:-30], 1), (body[:len(HEAD)], 0)):
            with self.server(says(said)) as server:
                with self.assertRaises(jobmill.BatchRefused) as caught:
                    list(self.client(server).batch(echoes(3), atomic=True))
            self.assertEqual([(index, error.code) for index, error in caught.exception.errors],
                             [(1, "missing_field")][:count])
            self.assertEqual(server.seen[0][0][0], "POST /v1/jobs/batch?atomic=true HTTP/1.1")
            self.assertEqual(len(pickle.loads(pickle.dumps(caught.exception)).errors), count)

    def test_an_atomic_batch_is_sent_again_whole(self):
        with self.server(support.cuts, says(whole(200, stored(3)))) as server:
            self.assertEqual(len(list(self.client(server).batch(echoes(3), atomic=True))), 3)
        self.assertEqual(items_of(server.seen[0][0]), items_of(server.seen[1][0]))

    def test_more_than_the_broker_takes_at_once_are_several_requests(self):
        old, batch.ITEMS_PER_REQUEST = batch.ITEMS_PER_REQUEST, 3
        self.addCleanup(setattr, batch, "ITEMS_PER_REQUEST", old)
        with self.server(says(whole(200, stored(3))), says(whole(200, stored(3, 3)))) as server:
            answers = list(self.client(server).batch(echoes(6)))
        self.assertEqual([one.id for one in answers], [f"JOB{n}" for n in range(6)])
        self.assertEqual([len(items_of(step[0])) for step in server.seen], [3, 3])

    def test_a_peer_that_says_nothing_is_given_up(self):
        def says_nothing(peer):
            peer.request()
            peer.file.read()
        with self.server(says_nothing) as server:
            with self.assertRaises(jobmill.UnknownFate):
                list(self.client(server, NEVER, timeout=0.05).batch(echoes(1)))


class Parts(unittest.TestCase):
    def test_lines_are_read_however_they_are_cut(self):
        class Response(io.BytesIO):
            chunked = True
            step = 1

            def read1(self, size):
                return self.read(min(size, self.step))
        text = lines({"a": 1}, {"b": "ü"}, {}) + b"\n" + b'{"last":1}'
        for step in range(1, len(text) + 1):
            response = Response(text)
            response.step = step
            self.assertEqual(list(batch.read_lines(response)), [{"a": 1}, {"b": "ü"}, {}, {"last": 1}])

    def test_chunks_hold_what_the_lines_held(self):
        pieces = list(batch.chunked(b"%d\n" % n * 1000 for n in range(100)))
        self.assertGreater(len(pieces), 3)
        self.assertEqual(pieces[-1], b"0\r\n\r\n")
        data = b""
        for piece in pieces[:-1]:
            size, _, rest = piece.partition(b"\r\n")
            self.assertEqual((int(size, 16), rest[-2:]), (len(rest) - 2, b"\r\n"))
            data += rest[:-2]
        self.assertEqual(data, b"".join(b"%d\n" % n * 1000 for n in range(100)))

    def test_no_more_is_kept_than_there_is_room_for(self):
        outbox = batch.Outbox(echoes(100), True, kept_bytes=10 * (batch.KEPT_OVERHEAD_BYTES + 100))
        sent = list(outbox.lines(None))
        self.assertEqual((len(sent), outbox.taken, len(outbox.unanswered)), (100, 100, 100))
        self.assertLess(outbox.used_bytes, outbox.kept_bytes)
        self.assertGreater(outbox.lossy, 80)
        for _ in range(100):
            outbox.answered()
        self.assertEqual((outbox.lossy, outbox.used_bytes, outbox.has_more()), (0, 0, False))

    def test_items_without_a_key_cannot_be_repeated(self):
        outbox = batch.Outbox([{"task": "a"}, {"task": "b", "idempotency_key": "k"}], False)
        self.assertEqual([b"idempotency_key" in line for line in outbox.lines(None)], [False, True])
        self.assertEqual(outbox.lossy, 1)


class Broker(support.BrokerCase):
    def setUp(self):
        self.needs_route("POST", "/v1/jobs/batch")

    def test_each_item_is_a_job(self):
        answers = list(self.client.batch(echoes(500)))
        self.assertEqual(len({one.id for one in answers}), 500)
        for one in (answers[0], answers[-1]):
            self.assertEqual(self.client.result(one.id, 30), one.index)

    def test_a_wrong_item_does_not_stop_the_others(self):
        good, bad, last = self.client.batch([{"task": "noop"}, {"task": "noop", "max_attempts": 0},
                                             {"task": "noop"}])
        self.assertEqual((bad.error.code, bad.error.field), ("bad_field", "max_attempts"))
        self.assertTrue(good.id and last.id)

    def test_an_item_that_is_too_large_does_not_stop_the_others(self):
        """It may end the request; the others then go with another one."""
        large = {"task": "noop", "args": "x" * (2 << 20)}
        answers = list(self.client.batch([{"task": "noop"}, large, {"task": "noop"}, large,
                                          {"task": "noop"}]))
        self.assertEqual([one.index for one in answers if one.error is None], [0, 2, 4])
        self.assertEqual([one.error.limit for one in answers if one.error], [1 << 20] * 2)

    def test_keys_make_one_job(self):
        items = [{"task": "echo", "args": 1, "idempotency_key": f"batch-{n}"} for n in range(3)]
        first, second = list(self.client.batch(items)), list(self.client.batch(items))
        self.assertEqual([one.id for one in first], [one.id for one in second])
        self.assertTrue(all(one.is_replay for one in second))

    def test_atomic_is_all_or_nothing(self):
        self.needs_parameter("atomic", method="post", path="/v1/jobs/batch")
        good = {"task": "noop", "queue": "atomic", "tags": ["refused"]}
        with self.assertRaises(jobmill.ApiError) as caught:
            list(self.client.batch([good, {**good, "task": "?"}, good], atomic=True))
        if caught.exception.code == "not_implemented":
            self.skipTest("the broker does not know atomic batches yet")
        self.assertIsInstance(caught.exception, jobmill.BatchRefused)
        self.assertEqual([index for index, _ in caught.exception.errors], [1])
        self.assertEqual(list(self.client.list(queue="atomic")), [])
        self.assertEqual(len(list(self.client.batch([good] * 3, atomic=True))), 3)
        self.assertEqual(len(list(self.client.list(queue="atomic"))), 3)

    def test_a_broker_that_is_started_again_in_the_middle_gets_each_item_once(self):
        count, stop_at = 3000, 1000
        has_stopped = threading.Event()

        def items():
            for n in range(count):
                if n == stop_at:
                    restart.start()
                    has_stopped.wait(support.harness.DEADLINE_S)
                yield {"task": "noop", "queue": "restart", "tags": ["restart"]}

        def restart_broker():
            self.mill.broker.stop()
            has_stopped.set()
            self.mill.start_broker()
        restart = threading.Thread(target=restart_broker)
        answers = list(self.client.batch(items()))
        restart.join()
        self.assertEqual([one.index for one in answers], list(range(count)))
        self.assertEqual([one.error for one in answers if one.error], [])
        self.assertEqual({job.id for job in self.client.list(queue="restart")},
                         {one.id for one in answers})

    def test_a_large_one_takes_no_more_memory_than_a_small_one(self):
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        count = 20000
        padding = "x" * 1000  # 20 MB in all
        answers = self.client.batch({"task": "noop", "queue": "large", "args": padding}
                                    for _ in range(count))
        self.assertEqual(sum(one.error is None for one in answers), count)
        self.assertLess(tracemalloc.get_traced_memory()[1], 12 << 20)


if __name__ == "__main__":
    support.main()
