"""What a real broker cannot be made to do on demand: answers that fail to come, come twice as late, or
are none; told by a server that follows a script."""

import json
import os
import pickle
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

import support
from support import AT_ONCE, JOB, NEVER, answer, cuts, jobmill, problem, says


class Scripted(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="jm-")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name

    def server(self, *script):
        return support.ScriptedServer(self.dir, *script)

    def client(self, server, retry=AT_ONCE, **options):
        client = jobmill.Client(server.url, retry=retry, **options)
        self.addCleanup(client.close)
        return client


class Repeats(Scripted):
    def keys(self, server):
        return [request[1].get("idempotency-key") for step in server.seen for request in step]

    def test_a_submit_that_was_cut_off_is_sent_again_with_the_same_key_and_body(self):
        with self.server(cuts, cuts, says(JOB)) as server:
            self.assertEqual(self.client(server).submit("echo", 7).result(), 7)
        first, *others = [step[0] for step in server.seen]
        self.assertEqual(len(first[1]["idempotency-key"]), 36)
        self.assertEqual(others, [first, first])

    def test_a_key_of_ones_own_is_kept(self):
        with self.server(cuts, says(JOB)) as server:
            self.client(server).submit("echo", idempotency_key="mine")
        self.assertEqual(self.keys(server), ["mine", "mine"])

    def test_overload_is_waited_for_no_shorter_than_asked(self):
        busy = problem(503, "overloaded", Retry_After=1)
        full = problem(429, "queue_full", Retry_After=2)
        with self.server(says(busy, full, JOB)) as server:
            client = self.client(server)
            pauses = []
            client._transport.sleep = pauses.append
            self.assertEqual(client.submit("echo").result(), 7)
        self.assertEqual(len(set(self.keys(server))), 1)
        self.assertEqual(pauses, [1, 2])

    def test_when_repeats_are_used_up_the_last_refusal_is_raised(self):
        busy = problem(503, "overloaded")
        with self.server(says(busy, busy, busy, busy)) as server:
            with self.assertRaises(jobmill.Overloaded) as caught:
                self.client(server).submit("echo")
        self.assertEqual(caught.exception.detail, "D")

    def test_a_broker_that_asks_for_too_long_is_not_waited_for(self):
        with self.server(says(problem(429, "queue_full", Retry_After=3600))) as server:
            with self.assertRaises(jobmill.QueueFull) as caught:
                self.client(server).submit("echo")
        self.assertEqual(caught.exception.retry_after, 3600)

    def test_a_submit_of_which_nobody_knows_is_unknown_fate_with_its_key(self):
        with self.server(cuts, cuts, cuts, cuts) as server:
            with self.assertRaises(jobmill.UnknownFate) as caught:
                self.client(server).submit("echo")
        self.assertEqual({caught.exception.idempotency_key}, set(self.keys(server)))

    def test_so_is_one_that_was_cut_off_and_then_refused_for_the_moment(self):
        with self.server(cuts, says(problem(503, "shutting_down"))) as server:
            with self.assertRaises(jobmill.UnknownFate):
                self.client(server, jobmill.Retry(retries=1, base_s=0)).submit("echo")

    def test_but_a_refusal_for_good_is_a_refusal(self):
        with self.server(cuts, says(problem(422, "bad_field"))) as server:
            with self.assertRaises(jobmill.InvalidRequest):
                self.client(server).submit("echo")

    def test_what_has_no_key_is_never_sent_twice(self):
        for call in (lambda c: c.cancel("A"), lambda c: c.delete("A"), lambda c: c.retry("A"),
                     lambda c: c.patch("A", priority=1), lambda c: c.bulk_cancel(queue="q")):
            with self.server(cuts) as server:
                with self.assertRaises(jobmill.UnknownFate):
                    call(self.client(server))
            with self.server(says(problem(503, "overloaded", Retry_After=1))) as server:
                with self.assertRaises(jobmill.Overloaded):
                    call(self.client(server))

    def test_what_sets_a_queue_or_a_task_is_sent_again(self):
        for call in (lambda c: c.queues.pause("q"), lambda c: c.queues.resume("q"),
                     lambda c: c.queues.configure("q", concurrency=3),
                     lambda c: c.tasks.configure("t", concurrency=3)):
            with self.server(cuts, says(problem(503, "overloaded"), answer(200, b'{"name":"q"}'))) as server:
                self.assertEqual(call(self.client(server)).name, "q")
            self.assertEqual(server.seen[1], server.seen[0] * 2)

    def test_a_read_is_sent_again_and_in_the_end_changes_nothing(self):
        with self.server(cuts, says(JOB)) as server:
            self.assertEqual(self.client(server).get("A").result(), 7)
        with self.server(cuts) as server:
            with self.assertRaises(jobmill.ConnectionFailed):
                self.client(server, NEVER).get("A")

    def test_a_gateways_word_leaves_open_what_was_done(self):
        with self.server(says(answer(502, b"<h1>", "text/html"))) as server:
            with self.assertRaises(jobmill.UnknownFate):
                self.client(server).cancel("A")

    def test_a_connection_that_is_refused_is_tried_again_for_any_request(self):
        client = jobmill.Client(f"unix:{self.dir}/scripted.sock", retry=AT_ONCE)
        tries = []
        client._transport.sleep = tries.append
        with self.assertRaises(jobmill.ConnectionFailed):
            client.cancel("A")
        self.assertEqual(len(tries), 3)

    def test_a_kept_connection_that_was_closed_meanwhile_is_noticed_before_it_is_used(self):
        with self.server(says(JOB), says(JOB)) as server:
            client = self.client(server, NEVER)
            client.get("A")
            support.harness.wait_for(lambda: len(server.seen) == 1 and support.jobmill.transport.is_stale(
                client._transport.pool._idle[0]), "the server's end is seen")
            self.assertEqual(client.cancel("A").id, "0SAKD9DQR0000")


class Answers(Scripted):
    def test_one_that_does_not_come_in_time(self):
        release = threading.Event()
        self.addCleanup(release.set)

        def hangs(peer):
            peer.request()
            release.wait(support.harness.DEADLINE_S)
        with self.server(hangs) as server:
            with self.assertRaises(jobmill.UnknownFate):
                self.client(server, NEVER, timeout=0.05).submit("echo")
            release.set()

    def test_a_wait_is_added_to_the_time_an_answer_has(self):
        def slow(peer):
            request = peer.request()
            time.sleep(0.3)
            peer.send(JOB)
            return request
        with self.server(slow) as server:
            self.assertTrue(self.client(server, NEVER, timeout=0.1).wait("A", 5).is_finished)
        self.assertRegex(server.seen[0][0], r"^GET /v1/jobs/A\?wait=[45]\.\d{3} HTTP/1.1$")

    def test_long_waits_go_by_rounds(self):
        running = JOB.replace(b'"succeeded"', b'"running"  ')
        with self.server(says(running, running, JOB)) as server:
            self.assertEqual(self.client(server).result("A"), 7)
        self.assertEqual([request[0].split()[1] for request in server.seen[0]],
                         ["/v1/jobs/A?wait=60.000"] * 3)
        with self.server(says(running, JOB)) as server:
            self.assertEqual(self.client(server).submit("echo", wait=300).result(0), 7)
        first, second = [request[0].split()[1] for request in server.seen[0]]
        self.assertEqual((first, second), ("/v1/jobs?wait=60.000", "/v1/jobs/0SAKD9DQR0000?wait=60.000"))

    def test_one_that_breaks_off_is_none(self):
        for half in (JOB[:-3], JOB[:30], b"", answer(200, b"").replace(
                b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"5\r\nab"):
            with self.subTest(half=half), self.server(lambda peer: (peer.request(), peer.send(half))) as s:
                with self.assertRaises(jobmill.ConnectionFailed):
                    self.client(s, NEVER).get("A")

    def test_what_is_no_brokers_is_said_to_be_so(self):
        for bad in (answer(200, b"<h1>", "text/html"), answer(200, b"{"), answer(200, b"[]"),
                    answer(200, b'{"id":5}'), answer(200, b"\xff")):
            with self.subTest(bad=bad), self.server(says(bad)) as server:
                with self.assertRaises(jobmill.BadAnswer):
                    self.client(server).get("A")
        with self.server(says(answer(418, b"short and stout", "text/plain"))) as server:
            with self.assertRaises(jobmill.ApiError) as caught:
                self.client(server).get("A")
        self.assertEqual((caught.exception.code, caught.exception.detail), ("http_418", "short and stout"))

    def test_one_that_is_too_large_is_not_taken(self):
        chunked = answer(200).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        for large in (answer(200, b" " * 2000), chunked + b"7d0\r\n" + b" " * 2000 + b"\r\n0\r\n\r\n"):
            with self.server(says(large)) as server:
                with self.assertRaisesRegex(jobmill.BadAnswer, "1000 bytes"):
                    self.client(server, max_answer_bytes=1000).get("A")

    def test_a_refusal_that_comes_before_all_was_sent_is_heard(self):
        def refuses(peer):
            peer.head()
            peer.send(problem(413, "body_too_large", Connection="close"))
        with self.server(refuses) as server:
            with self.assertRaises(jobmill.TooLarge):
                self.client(server, NEVER).submit("echo", "x" * (8 << 20))

    def test_chunked_ones_and_several_on_a_connection_are_read_whole(self):
        body = JOB.partition(b"\r\n\r\n")[2]
        chunked = answer(200).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"".join(
            b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        with self.server(says(chunked, chunked, JOB)) as server:
            client = self.client(server, NEVER)
            for _ in range(3):
                self.assertEqual(client.get("A").result(), 7)

    def test_deletes_take_an_answer_without_a_body(self):
        with self.server(says(b"HTTP/1.1 204 No Content\r\n\r\n", JOB)) as server:
            client = self.client(server, NEVER)
            client.delete("A")
            client.get("A")


class Requests(Scripted):
    def test_what_is_told_beside_the_body_is_in_the_job(self):
        said = JOB.replace(b"Content-Type", b"Jobmill-Replaced: B\r\nJobmill-Warning: w\r\n"
                           b"Idempotency-Replayed: true\r\nContent-Type")
        with self.server(says(said, JOB)) as server:
            client = self.client(server, NEVER)
            first, second = client.submit("echo"), client.submit("echo")
        self.assertEqual((first.replaced, first.warnings, first.is_replay), ("B", ("w",), True))
        self.assertEqual((second.replaced, second.warnings, second.is_replay), (None, (), False))

    def test_what_a_submit_told_outlasts_a_wait(self):
        running = JOB.replace(b'"succeeded"', b'"running"  ')
        existing = answer(200, b'{"id":"0SAKD9DQR0000","task":"echo","queue":"default",'
                               b'"state":"queued","is_existing":true,"replaced":"B"}')
        for call in (lambda c: c.submit("echo").wait(), lambda c: c.submit("echo", wait=300),
                     lambda c: c.submit("echo").refresh()):
            with self.server(says(existing, JOB)) as server:
                job = call(self.client(server, NEVER))
            self.assertTrue(job.is_finished)
            for one in (job, pickle.loads(pickle.dumps(job))):
                self.assertEqual((one.is_existing, one.replaced), (True, "B"))
        with self.server(says(running)) as server:
            job = self.client(server, NEVER).submit("echo")
        self.assertEqual((job.is_existing, job.replaced), (False, None))

    def test_headers_and_a_prefix_for_a_proxy(self):
        with self.server(says(JOB)) as server:
            client = self.client(server, NEVER, headers={"Authorization": "Bearer x"})
            client.get("A")
        _, fields, _ = server.seen[0][0]
        self.assertEqual((fields["authorization"], fields["accept"]), ("Bearer x", "application/json"))

    def test_what_is_wrong_is_seen_before_anything_is_sent(self):
        client = jobmill.Client(f"unix:{self.dir}/nobody", retry=NEVER)
        for call in (lambda: client.submit("echo", b"x"), lambda: client.submit("echo", tags="a"),
                     lambda: client.submit("echo", delay="5"), lambda: client.get("")):
            with self.assertRaises((TypeError, ValueError)):
                call()

    def test_a_patch_sends_what_is_given_and_no_more(self):
        with self.server(says(JOB, JOB, JOB)) as server:
            client = self.client(server, NEVER)
            client.patch("A", priority=9, delay=0, timeout=2.5, tags=("a",), args=None)
            client.patch("A", retain=None, run_at="2030-01-01T00:00:00Z")
            client.patch("A", args={"delay": None})
        self.assertEqual([json.loads(request[2]) for request in server.seen[0]], [
            {"priority": 9, "delay_ms": 0, "timeout_ms": 2500, "tags": ["a"], "args": None},
            {"retain_ms": None, "run_at": "2030-01-01T00:00:00Z"}, {"args": {"delay": None}}])
        self.assertEqual(server.seen[0][0][0], "PATCH /v1/jobs/A HTTP/1.1")

    def test_bulk_calls_follow_the_cursor_and_add_up(self):
        page = b'{"matched":%d,"changed":%d,"dry_run":true,"next_cursor":%s}'
        with self.server(says(answer(200, page % (10000, 9000, b'"a b"')),
                              answer(200, page % (7, 5, b"null")))) as server:
            done = self.client(server).bulk_delete(state=["failed", "expired"], dry_run=True,
                                                   created_before="2030-01-01T00:00:00Z")
        self.assertEqual(done, jobmill.Bulk(10007, 9005, True))
        first, second = [request[0].split()[1] for request in server.seen[0]]
        self.assertEqual(first, "/v1/jobs/delete?state=failed,expired"
                                "&created_before=2030-01-01T00:00:00Z&dry_run=true")
        self.assertEqual(second, first + "&cursor=a+b")

    def test_a_child_of_a_fork_makes_connections_of_its_own(self):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{self.dir}/listener")
            listener.listen()
            pool = jobmill.Client(f"unix:{self.dir}/listener")._transport.pool
            mine = pool.take()
            pool.put(mine)
            pid = os.fork()
            if pid == 0:
                signal.alarm(support.harness.DEADLINE_S)
                pool._lock.acquire()  # as if another thread of the parent had held it
                theirs = pool.take()
                os._exit(0 if theirs is not mine else 1)
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            self.assertIs(pool.take(), mine)
            mine.close()


class Ways(Scripted):
    """Other ways to a broker than a unix socket."""

    def test_tcp(self):
        for host in ("127.0.0.1", "::1"):
            try:
                server = support.TcpServer(self.dir, says(JOB, JOB), host=host)
                with server:
                    client = self.client(server, NEVER)
                    self.assertEqual(client.submit("echo").result(), 7)
                    client.get("A")
            except OSError as error:
                if host == "127.0.0.1":
                    raise
                print(f"no IPv6 here: {error}")
                continue
            self.assertEqual(server.seen[0][0][1]["host"], server.url.partition("//")[2])

    def test_a_prefix_comes_before_each_path(self):
        lines = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Length: 11\r\n\r\n"
        with support.TcpServer(self.dir, says(JOB), says(lines + b'{"id":"A"}\n')) as server:
            client = jobmill.Client(server.url + "/mill/", retry=NEVER)
            self.addCleanup(client.close)
            client.get("A")
            client.close()
            self.assertEqual([one.id for one in client.batch([{"task": "echo"}])], ["A"])
        self.assertEqual([step[0][0].split()[1] for step in server.seen],
                         ["/mill/v1/jobs/A", "/mill/v1/jobs/batch"])

    def test_tls(self):
        if shutil.which("openssl") is None:
            self.skipTest("there is no openssl to make a certificate")
        cert = f"{self.dir}/cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", cert,
                        "-out", f"{self.dir}/only.pem", "-subj", "/CN=127.0.0.1",
                        "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        with open(cert, "a") as whole, open(f"{self.dir}/only.pem") as only:
            whole.write(only.read())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert)
        trusting = ssl.create_default_context(cafile=f"{self.dir}/only.pem")

        def streams(peer):
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
                      b"Transfer-Encoding: chunked\r\n\r\n")
            count = 0
            for data in iter(peer.chunk, b""):
                answers = b'{"id":"A"}\n' * data.count(b"\n")
                peer.send(b"%x\r\n%b\r\n" % (len(answers), answers))
                count += data.count(b"\n")
            peer.send(b"0\r\n\r\n")
            return count
        with support.TcpServer(self.dir, says(JOB), streams, tls=context) as server:
            client = self.client(server, NEVER, ssl_context=trusting)
            self.assertEqual(client.submit("echo").result(), 7)
            client.close()
            items = ({"task": "echo", "args": "x" * 1000} for _ in range(5000))
            self.assertEqual(sum(1 for _ in client.batch(items)), 5000)
        self.assertEqual(server.seen[1], 5000)


if __name__ == "__main__":
    support.main()
