"""The worker alone (but for TestWithBroker), driven as a broker would drive it: jobs are pushed into a real Redis, events read
from the results list. The frames are written and read by mp.py, not by the code under test."""

import hashlib
import os
import pathlib
import signal
import socket
import stat
import sys
import time
import unittest

import harness
import mp
import openapi

NODE = 1
QUEUE = "jm:{q:default}"
RESULTS = "jm:{r:%d}"
HOSTS = "jm:hosts"


class Worker(harness.Mill):
    """A Redis and a worker host; events are collected as they come."""

    def __init__(self, *options, slots=1):
        super().__init__()
        self.options = ("--test-tasks", "--slots", str(slots), *options)
        self.seen = []

    def __enter__(self):
        super().__enter__()
        self.start_redis()
        self.host = self.start_worker(*self.options)
        return self

    def push(self, *frames, queue=QUEUE):
        self.redis_call("LPUSH", queue, *frames)

    def events(self, node=NODE):
        """All that came so far, oldest first."""
        while True:
            frames = self.redis_call("RPOP", RESULTS % node, "1000")
            if not frames:
                return self.seen
            self.seen += [mp.event(frame) for frame in frames]

    def find(self, job_id, kind=None, attempt=1):
        """The first event of that job: of that kind, or its end."""
        for event in self.events():
            if (event["id"], event["attempt"]) != (job_id, attempt):
                continue
            if event["kind"] == kind or (kind is None and event["kind"] != "running"):
                return event
        return None

    def wait_end(self, job_id, kind=None, attempt=1, deadline_s=harness.DEADLINE_S):
        return harness.wait_for(lambda: self.find(job_id, kind, attempt),
                                f"{kind or 'an end'} of job {job_id}", deadline_s)

    def run(self, task, args=None, job_id=1, **fields):
        self.push(mp.job(job_id, task, args, **fields))
        return self.wait_end(job_id, attempt=fields.get("attempt", 1))

    def beats(self):
        fields = self.redis_call("HGETALL", HOSTS) or []
        return {name.decode(): mp.beat(frame) for name, frame in zip(fields[::2], fields[1::2])}

    def beat(self):
        beats = self.beats()
        return next(iter(beats.values())) if len(beats) == 1 else None

    def wait_beat(self, condition=lambda beat: True, what="a heartbeat"):
        return harness.wait_for(lambda: (lambda beat: beat and condition(beat) and beat)(self.beat()),
                                what)

    def wait_progress(self, job_id, condition):
        """What a heartbeat says of the job, once it tells of progress that is as it should be."""
        def find():
            for held in (self.beat() or {"held": []})["held"]:
                if held["id"] == job_id and "done" in held and condition(held):
                    return held
            return None
        return harness.wait_for(find, f"progress of job {job_id}")

    def children(self):
        return children_of(self.host.pid)

    def control(self, frame):
        name = harness.wait_for(self.beats, "a heartbeat")
        self.redis_call("LPUSH", "jm:{c:%s}" % next(iter(name)), frame)


def children_of(pid):
    try:
        return [int(word) for word in
                pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_dead(pid, what):
    harness.wait_for(lambda: not is_alive(pid), f"{what} ({pid}) is dead")


def make_gates(directory, count):
    """Where a program waits (`read -r _ <GATE`) until somebody writes a line. One for each wait: who
    opens one again before its writer has closed it would read the end of the former line."""
    gates = [pathlib.Path(directory) / f"gate-{i}" for i in range(count)]
    for gate in gates:
        os.mkfifo(gate)
    return gates


def write_task(directory, name, text, mode=0o755):
    path = pathlib.Path(directory) / name
    path.write_text(text)
    path.chmod(mode)
    return path


class TestTasks(unittest.TestCase):
    def expect_failure(self, event, code, *words):
        self.assertEqual(event["kind"], "failed")
        self.assertEqual(event["code"], code)
        for word in words:
            self.assertIn(word, event["message"])

    def test_builtin_tasks_give_their_results(self):
        with Worker() as w:
            value = {"text": "grüße\0", "big": 2**64 - 1, "neg": -2**63, "bin": b"\xff", "f": 1.5,
                     "list": [None, True, {}]}
            self.assertIsNone(w.run("noop", {"any": "thing"}, 1)["result"])
            self.assertEqual(w.run("echo", value, 2)["result"], value)
            self.assertIsNone(w.run("echo", None, 3)["result"])
            self.assertEqual(w.run("fib", {"n": 20}, 4)["result"], 6765)
            self.assertEqual([w.run("fib", {"n": n}, 10 + n)["result"] for n in range(5)],
                             [0, 1, 1, 2, 3])
            event = w.run("sleep", {"ms": 30}, 5)
            self.assertIsNone(event["result"])
            self.assertGreaterEqual(event["run_us"], 30000)
            self.assertGreaterEqual(w.run("sleep", {"seconds": 0.02}, 6)["run_us"], 20000)
            self.assertGreaterEqual(w.run("spin", {"ms": 20}, 7)["run_us"], 19000)
            begun_s = event["begun_at_ms"] / 1000
            self.assertLess(abs(begun_s - time.time()), 60)

    def test_sha256_of_bytes_and_of_files_below_the_root(self):
        with harness.Mill() as outer:
            root = outer.dir / "root"
            root.mkdir()
            content = os.urandom(200_001)
            (root / "file").write_bytes(content)
            (root / "dir").mkdir()
            (outer.dir / "secret").write_bytes(b"x")
            (root / "out").symlink_to(outer.dir / "secret")
            (root / "in").symlink_to("file")
            os.mkfifo(root / "fifo")
            with Worker("--file-root", root) as w:
                digest = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
                self.assertEqual(w.run("sha256", {"path": "file"}, 1)["result"], digest)
                self.assertEqual(w.run("sha256", {"path": "dir/../in"}, 2)["result"], digest)
                for job_id, data in ((3, "abc"), (4, b"\x00\xff"), (5, "")):
                    raw = data.encode() if isinstance(data, str) else data
                    self.assertEqual(w.run("sha256", {"data": data}, job_id)["result"],
                                     {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)})
                for job_id, path in enumerate(("../secret", str(root / "file"), "out"), 10):
                    self.expect_failure(w.run("sha256", {"path": path}, job_id), "bad_args", "path")
                for job_id, path in enumerate(("dir", "fifo"), 20):
                    self.expect_failure(w.run("sha256", {"path": path}, job_id), "bad_args",
                                        "regular")
                self.expect_failure(w.run("sha256", {"path": "none"}, 30), "no_such_file", "none")
        with Worker() as w:
            self.expect_failure(w.run("sha256", {"path": "x"}, 1), "bad_args", "--file-root")

    def test_bad_arguments_are_refused_with_parameter_and_bound(self):
        with Worker() as w:
            cases = [("fib", {"n": 51}, ("'n'", "0 to 50")), ("fib", {"n": -1}, ("'n'",)),
                     ("fib", {"n": "3"}, ("'n'",)), ("fib", {}, ("'n'", "missing")),
                     ("fib", None, ("'n'", "missing")), ("fib", [1], ("'n'",)),
                     ("sleep", {"ms": -1}, ("'ms'",)), ("sleep", {"seconds": -0.1}, ("'seconds'",)),
                     ("sleep", {"seconds": float("nan")}, ("'seconds'",)), ("sleep", {}, ("'ms'",)),
                     ("sha256", {}, ("'data'",)), ("sha256", {"data": 1}, ("'data'",)),
                     ("crash", {"signal": "NOPE"}, ("'signal'",)),
                     ("ledger", {"path": "/x"}, ("'k'",)), ("ledger", {"k": 1}, ("'path'",))]
            for job_id, (task, args, words) in enumerate(cases, 1):
                with self.subTest(task=task, args=args):
                    self.expect_failure(w.run(task, args, job_id), "bad_args", *words)

    def test_failures_carry_code_and_message(self):
        with Worker() as w:
            event = w.run("fail", {"code": "my_code", "message": "so it is"}, 1)
            self.expect_failure(event, "my_code", "so it is")
            self.expect_failure(w.run("fail", None, 2), "task_failed")
            self.expect_failure(w.run("nosuch", None, 3), "unknown_task", "nosuch")
            self.expect_failure(w.run("fail", {"message": "x" * 1020}, 4), "task_failed", "x" * 1000)

    def test_a_failure_says_what_is_to_follow(self):
        with Worker() as w:
            event = w.run("fail", {"retry": "never", "code": "my_code"}, 1)
            self.expect_failure(event, "my_code")
            self.assertEqual((event["retry"], event["retry_after_ms"]), (1, None))
            event = w.run("fail", {"retry_after_ms": 2500}, 2)
            self.assertEqual((event["retry"], event["retry_after_ms"]), (2, 2500))
            event = w.run("fail", {"until_attempt": 3}, 3, attempt=2)
            self.assertEqual((event["kind"], event["retry"]), ("failed", None))
            event = w.run("fail", {"until_attempt": 3, "retry": "never"}, 3, attempt=3)
            self.assertEqual((event["kind"], event["result"]), ("succeeded", 3))
            self.expect_failure(w.run("fail", {"retry": "often"}, 4), "bad_args", "'retry'")
            self.expect_failure(w.run("fail", {"retry_after_ms": 604800001}, 5), "bad_args",
                                "'retry_after_ms'", "604800000")

    def test_long_builtin_tasks_report_their_progress(self):
        with harness.Mill() as outer:
            with open(outer.dir / "hole", "wb") as file:
                file.truncate(1 << 36)
            with Worker("--file-root", outer.dir) as w:
                for job_id, (task, args, total, words) in enumerate((
                        ("sleep", {"ms": 60000}, 60000, ""), ("spin", {"ms": 60000}, 60000, ""),
                        ("sha256", {"path": "hole"}, 1 << 36, "bytes")), 1):
                    w.push(mp.job(job_id, task, args, grace_ms=0))
                    held = w.wait_progress(job_id, lambda held: held["done"] > 0)
                    self.assertEqual((held["total"], held["message"]), (total, words))
                    w.wait_progress(job_id, lambda later: total > later["done"] > held["done"])
                    w.control(mp.kill_order(job_id))
                    w.wait_end(job_id, "killed")

    def test_test_tasks_are_there_only_if_asked_for(self):
        with Worker("--no-test-tasks") as w:
            self.expect_failure(w.run("crash", None, 1), "unknown_task", "crash")

    def test_the_ledger_gets_one_line_for_each_run(self):
        with Worker() as w:
            path = w.dir / "ledger"
            event = w.run("ledger", {"k": 7, "path": str(path)}, 1, attempt=3)
            self.assertEqual(event["result"], {"k": 7, "attempt": 3})
            w.run("ledger", {"k": "seven", "path": str(path)}, 2)
            self.assertEqual(path.read_text(), "7 3\nseven 1\n")
            self.assertEqual(stat.S_IMODE(path.stat().st_mode) & ~0o022, 0o644 & ~0o022)

    def test_a_result_over_the_limit_is_refused_and_a_large_one_arrives(self):
        with Worker() as w:
            large = "x" * ((1 << 20) - 100)
            self.assertEqual(w.run("echo", large, 1)["result"], large)
        with harness.Mill() as outer:
            write_task(outer.dir, "big", "#!/bin/sh\nprintf '\"'\nhead -c 1100000 /dev/zero | tr "
                                         "'\\0' a\nprintf '\"'\n")
            with Worker("--tasks-dir", outer.dir) as w:
                self.expect_failure(w.run("big", None, 1), "result_too_large", "1048576")

    def test_each_brokers_events_go_to_its_own_list(self):
        with Worker() as w:
            w.push(*[mp.job(i, "noop", None, node=i % 3) for i in range(1, 31)])
            for node in range(3):
                harness.wait_for(lambda n=node: len([e for e in w.events(n)
                                                     if e["id"] % 3 == n]) == 10, f"node {node}")
            self.assertEqual(sorted(e["id"] for e in w.seen), list(range(1, 31)))

    def test_queues_are_served_in_their_order(self):
        with Worker("--queues", "first,second") as w:
            w.wait_beat()
            self.assertEqual(w.beat()["queues"], ["first", "second"])
            w.push(mp.job(1, "sleep", {"ms": 100}), queue="jm:{q:first}")
            w.wait_end(1, "running")
            w.push(mp.job(2, "noop"), queue="jm:{q:second}")
            w.push(mp.job(3, "noop"), queue="jm:{q:first}")
            w.wait_end(2)
            ends = [e["id"] for e in w.seen if e["kind"] == "succeeded"]
            self.assertEqual(ends, [1, 3, 2])

    def order_of_ends(self, queues, low_count):
        """One slot, 200 jobs in the queue high, some in low: which queue each end came from."""
        with Worker("--queues", queues) as w:
            w.wait_beat()
            w.push(mp.job(1, "sleep", {"ms": 200}), queue="jm:{q:high}")
            w.wait_end(1, "running")
            high, low = range(1000, 1200), range(2000, 2000 + low_count)
            w.push(*[mp.job(i, "sleep", {"ms": 6}) for i in low], queue="jm:{q:low}")
            w.push(*[mp.job(i, "sleep", {"ms": 6}) for i in high], queue="jm:{q:high}")
            harness.wait_for(lambda: len([e for e in w.events() if e["kind"] == "succeeded"]) ==
                             1 + len(high) + low_count, "all have ended")
            ends = [e["id"] for e in w.seen if e["kind"] == "succeeded" and e["id"] > 1]
            self.assertEqual(sorted(ends), [*high, *low])
            self.assertEqual(w.beat()["queues"], [q.partition(":")[0] for q in queues.split(",")])
            return ["low" if end >= 2000 else "high" for end in ends]

    def test_without_weights_a_later_queue_waits_until_the_earlier_is_empty(self):
        self.assertEqual(self.order_of_ends("high,low", 20), ["high"] * 200 + ["low"] * 20)

    def test_with_weights_no_queue_starves_and_each_has_about_its_share(self):
        # By 3 to 1, as long as both have jobs: 50 of the first 200. Less than 20 or more than 90
        # have a chance of less than one to a million.
        for queues in ("high:3,low", "low,high:3"):
            order = self.order_of_ends(queues, 200)
            self.assertTrue(20 <= order[:200].count("low") <= 90, order)

    def test_a_message_that_cannot_be_decoded_fails_its_job_and_no_child(self):
        with Worker() as w:
            w.push(b"\xc1", b"", mp.pack({0: 1}), mp.pack({0: 99, 1: NODE, 2: 5, 3: 2}),
                   mp.job(6, "bad name!"), mp.job(7, "echo", 7))
            self.expect_failure(w.wait_end(5, attempt=2), "bad_message")
            self.expect_failure(w.wait_end(6), "bad_message")
            self.assertEqual(w.wait_end(7)["result"], 7)
            self.assertEqual(len({e["pid"] for e in w.seen}), 1)


class TestPrograms(unittest.TestCase):
    def setUp(self):
        self.outer = harness.Mill()
        self.outer.__enter__()
        self.addCleanup(self.outer.__exit__, None, None, None)
        self.dir = self.outer.dir / "tasks"
        self.dir.mkdir()

    def worker(self, *options):
        return Worker("--tasks-dir", self.dir, *options)

    def test_the_example_for_descriptor_3_tells_how_far_it_is_and_what_is_to_follow(self):
        text = (harness.SOURCE / "worker/examples/sum.py").read_text()
        write_task(self.dir, "sum.py", text)
        write_task(self.dir, "wrong", "1\ntwo\n")
        write_task(self.dir, "right", "1\n2\n3\n")
        os.mkfifo(self.dir / "slow")
        with self.worker() as w:
            self.assertEqual(w.run("sum", {"file": "right"}, 1)["result"], {"sum": 6, "numbers": 3})
            w.push(mp.job(2, "sum", {"file": "slow"}))
            with open(self.dir / "slow", "w", buffering=1) as slow:
                slow.write("20\n")
                held = w.wait_progress(2, lambda held: True)
                self.assertEqual((held["done"], held["message"]), (3, "1 numbers"))
                slow.write("30\n")
            self.assertEqual(w.wait_end(2)["result"], {"sum": 50, "numbers": 2})
            for job_id, args, retry, words in ((3, {"file": "wrong"}, (1, None), "line 2 is no number"),
                                               (4, {"file": "none"}, (2, 60000), "not there yet"),
                                               (5, {"file": "../wrong"}, (1, None), "'file'"),
                                               (6, [], (1, None), "'file'")):
                event = w.run("sum", args, job_id)
                self.assertIn(words, event["message"])
                self.assertEqual((event["retry"], event["retry_after_ms"]), retry, args)

    def test_the_examples_run(self):
        for name in ("wordcount.py", "lines.sh"):
            text = (harness.SOURCE / "worker/examples" / name).read_text()
            write_task(self.dir, name, text)
        with self.worker() as w:
            event = w.run("wordcount", {"text": "to be or\nnot to be"}, 1)
            self.assertEqual(event["result"], {"words": 6, "lines": 2, "most":
                                               [["to", 2], ["be", 2], ["or", 1], ["not", 1]]})
            event = w.run("lines.sh", {"file": "lines.sh"}, 2, attempt=2)
            count = (self.dir / "lines.sh").read_text().count("\n")
            self.assertEqual(event["result"], {"file": "lines.sh", "lines": count, "attempt": 2})
            event = w.run("wordcount.py", {"text": 1}, 3)
            self.assertEqual((event["kind"], event["code"]), ("failed", "task_failed"))
            self.assertIn("exit status 2: parameter 'text' must be a string", event["message"])
            self.assertIn(b"must be a string", event["stderr_tail"])
            self.assertEqual(event["exit_status"], 2)
            names = {task[0]: task[1] for task in w.wait_beat()["tasks"]}
            self.assertEqual(names["wordcount"], "program")
            self.assertEqual(names["lines.sh"], "program")
            self.assertEqual(names["fib"], "builtin")
            self.assertEqual(names["spin"], "test")

    def test_large_input_and_output_flow_at_the_same_time(self):
        write_task(self.dir, "cat", "#!/bin/sh\nexec cat\n")
        write_task(self.dir, "deaf", "#!/bin/sh\necho '[1]'\n")
        with self.worker() as w:
            value = ["é\n" * 1000] * 200
            self.assertEqual(w.run("cat", value, 1)["result"], value)
            self.assertEqual(w.run("deaf", value, 2)["result"], [1])

    def test_output_must_be_json_or_nothing(self):
        write_task(self.dir, "silent", "#!/bin/sh\necho\n")
        write_task(self.dir, "chatty", "#!/bin/sh\necho hello\n")
        with self.worker() as w:
            self.assertIsNone(w.run("silent", None, 1)["result"])
            event = w.run("chatty", None, 2)
            self.assertEqual((event["kind"], event["code"]), ("failed", "bad_result"))

    def test_a_program_says_what_is_to_follow_its_failure(self):
        write_task(self.dir, "say", f"#!{sys.executable}\nimport json, os, sys\n"
                                    "text = json.load(sys.stdin).encode()\n"
                                    "os.write(int(os.environ['JOBMILL_CONTROL_FD']), text)\n"
                                    "sys.exit(3)\n")
        write_task(self.dir, "garbage", "#!/bin/sh\necho 'retry never' >&3\necho oops\n")
        write_task(self.dir, "fine", "#!/bin/sh\necho 'retry never' >&3\necho 1\n")
        write_task(self.dir, "abort", "#!/bin/sh\necho 'retry never' >&3\nkill -ABRT $$\n")
        with self.worker() as w:
            for job_id, (text, retry, ms) in enumerate((
                    ("retry never\n", 1, None), ("retry after 1500\n", 2, 1500),
                    ("retry never\nretry after 9", 2, 9), ("retry sometimes\n", None, None),
                    ("\n", None, None)), 1):
                with self.subTest(text=text):
                    event = w.run("say", text, job_id)
                    self.assertEqual((event["kind"], event["exit_status"]), ("failed", 3))
                    self.assertEqual((event["retry"], event["retry_after_ms"]), (retry, ms))
            event = w.run("garbage", None, 11)
            self.assertEqual((event["code"], event["retry"]), ("bad_result", 1))
            self.assertEqual(w.run("fine", None, 12)["result"], 1)
            event = w.run("abort", None, 13)
            self.assertEqual((event["kind"], event["retry"]), ("crashed", None))
            self.assertIsNone(w.run("fail", None, 14)["retry"])  # nothing sticks

    def test_a_program_tells_of_its_progress_while_it_runs(self):
        first, second = make_gates(self.dir, 2)
        write_task(self.dir, "walk", f"#!/bin/sh\necho progress 1 3 'grüße: 1 of 3' >&3\nread -r _ <{first}\n"
                                     f"printf 'progress 2' >&3\nprintf ' 3\\n' >&3\nread -r _ <{second}\n")
        with self.worker() as w:
            w.push(mp.job(1, "walk"))
            held = w.wait_progress(1, lambda held: True)
            self.assertEqual((held["done"], held["total"], held["message"]), (1, 3, "grüße: 1 of 3"))
            first.write_text("\n")
            held = w.wait_progress(1, lambda held: held["done"] == 2)
            self.assertEqual((held["total"], held["message"]), (3, ""))
            second.write_text("\n")
            self.assertEqual(w.wait_end(1)["kind"], "succeeded")

    def test_lines_that_are_not_understood_are_logged_once_and_do_no_harm(self):
        write_task(self.dir, "noise", "#!/bin/sh\nyes 'hello broker' | head -n 100000 >&3\n"
                                      "head -c 3000000 /dev/zero >&3\necho 7\n")
        with self.worker() as w:
            self.assertEqual(w.run("noise", None, 1)["result"], 7)
            harness.wait_for(lambda: "100001 lines" in w.host.err, "the count in the log")
            self.assertEqual(w.host.err.count("'hello broker'"), 1)

    def test_a_program_has_no_descriptor_but_its_four(self):
        write_task(self.dir, "fds", f"#!{sys.executable}\nimport json, os\n"
                                    "found = {}\nfor fd in map(int, os.listdir('/proc/self/fd')):\n"
                                    "    try: found[fd] = os.readlink(f'/proc/self/fd/{fd}')\n"
                                    "    except FileNotFoundError: pass\n"
                                    "print(json.dumps(found))\n")
        with self.worker() as w:
            found = w.run("fds", None, 1)["result"]
            self.assertEqual(sorted(found), ["0", "1", "2", "3"])
            self.assertTrue(all(name.startswith("pipe:") for name in found.values()), found)

    def test_a_program_killed_by_a_signal_has_crashed(self):
        write_task(self.dir, "die", "#!/bin/sh\necho 'last words' >&2\nkill -ABRT $$\n")
        with self.worker() as w:
            event = w.run("die", None, 1)
            self.assertEqual((event["kind"], event["signal"]), ("crashed", signal.SIGABRT))
            self.assertIn(b"last words", event["stderr_tail"])
            self.assertGreater(event["maxrss_bytes"], 0)
            self.assertEqual(w.run("echo", 1, 2)["pid"], event["pid"])

    def test_what_a_program_leaves_behind_is_killed(self):
        pids = self.dir / "pids.txt"
        write_task(self.dir, "leave", f"#!/bin/sh\nsetsid sleep 300 &\necho $! >>{pids}\n"
                                      f"(sleep 300 & echo $! >>{pids})\necho 1\n")
        with self.worker() as w:
            self.assertEqual(w.run("leave", None, 1)["result"], 1)
            found = [int(pid) for pid in pids.read_text().split()]
            self.assertEqual(len(found), 2)
            for pid in found:
                wait_dead(pid, "what the program left")

    def test_a_timeout_reaches_a_whole_family_even_if_it_ignores_sigterm(self):
        pids = self.dir / "pids.txt"
        write_task(self.dir, "stubborn",
                   f"#!/bin/sh\ntrap '' TERM\nsetsid sh -c 'echo $$ >>{pids}; exec sleep 300' &\n"
                   f"sleep 300 &\necho $! >>{pids}\necho $$ >>{pids}\necho cannot stop >&2\nwait\nsleep 300\n")
        with self.worker() as w:
            start = time.monotonic()
            event = w.run("stubborn", None, 1, timeout_ms=500, grace_ms=300)
            self.assertGreaterEqual(time.monotonic() - start, 0.8)
            self.assertEqual(event["kind"], "timed_out")
            self.assertIn("500 ms", event["message"])
            self.assertIn(b"cannot stop", event["stderr_tail"])
            found = [int(pid) for pid in pids.read_text().split()]
            self.assertEqual(len(found), 3)
            for pid in found:
                wait_dead(pid, "a process of the job")
            self.assertEqual(w.run("echo", 2, 2)["result"], 2)

    def test_a_program_may_tidy_up_within_the_grace(self):
        done = self.dir / "done.txt"
        write_task(self.dir, "tidy", f"#!/bin/sh\ntrap 'sleep 0.1; echo tidy >{done}; exit 0' TERM\n"
                                     "while :; do sleep 0.05; done\n")
        with self.worker() as w:
            event = w.run("tidy", None, 1, timeout_ms=300, grace_ms=20000)
            self.assertEqual(event["kind"], "timed_out")
            self.assertEqual(done.read_text(), "tidy\n")

    def test_only_plain_executables_are_tasks(self):
        write_task(self.dir, "noexec", "#!/bin/sh\necho 1\n", 0o644)
        write_task(self.dir, ".hidden", "#!/bin/sh\necho 1\n")
        write_task(self.dir, "two.py", "#!/bin/sh\necho 1\n")
        write_task(self.dir, "two.sh", "#!/bin/sh\necho 2\n")
        write_task(self.dir, "noop.sh", "#!/bin/sh\necho 3\n")
        (self.dir / "folder").mkdir(mode=0o755)
        with self.worker() as w:
            for job_id, name in enumerate(("noexec", ".hidden", "folder", "two", "..", "."), 1):
                self.assertEqual(w.run(name, None, job_id)["code"], "unknown_task", name)
            self.assertEqual(w.run("two.py", None, 20)["result"], 1)
            self.assertEqual(w.run("two.sh", None, 21)["result"], 2)
            self.assertIsNone(w.run("noop", None, 22)["result"])
            write_task(self.dir, "later", "#!/bin/sh\necho 4\n")
            self.assertEqual(w.run("later", None, 23)["result"], 4)

    def test_the_managers_variables_stay_with_the_worker(self):
        write_task(self.dir, "env", "#!/bin/sh\ncat >/dev/null\nprintf '\"%s|%s|%s\"' "
                                    "\"${NOTIFY_SOCKET-none}\" \"$JOBMILL_TASK\" \"$JOBMILL_JOB_ID\"\n")
        os.environ["NOTIFY_SOCKET"] = str(self.dir / "no-one")
        self.addCleanup(os.environ.pop, "NOTIFY_SOCKET")
        with self.worker() as w:
            self.assertEqual(w.run("env", None, 1)["result"], "none|env|0000000000001")


class TestLife(unittest.TestCase):
    def test_a_crash_is_reported_with_its_signal_and_the_child_replaced(self):
        with Worker() as w:
            first = w.run("echo", 0, 1)["pid"]
            for job_id, (args, number) in enumerate(((None, signal.SIGSEGV), ({"signal": 6}, 6),
                                                     ({"signal": "KILL"}, 9),
                                                     ({"signal": "SIGBUS"}, signal.SIGBUS)), 10):
                event = w.run("crash", args, job_id)
                if event["kind"] == "crashed" and event["signal"] == 0:
                    self.fail(event)
                self.assertEqual((event["kind"], event["signal"]), ("crashed", number))
                self.assertTrue(event["has_begun"])
                self.assertGreater(event["maxrss_bytes"], 0)
            event = w.run("echo", 0, 2)
            self.assertNotEqual(event["pid"], first)

    def test_a_killed_childs_job_is_reported_at_once_and_nothing_else_is_charged(self):
        with Worker() as w:
            w.push(*[mp.job(i, "noop") for i in range(1, 200)])
            w.wait_end(199)
            # Tiny jobs before have made the claims large: these two are claimed together.
            w.push(mp.job(300, "sleep", {"ms": 60000}), mp.job(301, "noop"))
            w.wait_end(300, "running")
            victim, = w.children()
            start = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            event = w.wait_end(300, "crashed")
            self.assertLess(time.monotonic() - start, 1)
            self.assertEqual(event["signal"], signal.SIGKILL)
            self.assertEqual(event["pid"], victim)
            end = w.wait_end(301)
            if end["kind"] == "handed_back":
                self.assertFalse(end["has_begun"])
            self.assertEqual(w.run("echo", 2, 302)["result"], 2)

    def test_a_killed_childs_family_dies_with_it(self):
        with harness.Mill() as outer:
            pids = outer.dir / "pids.txt"
            write_task(outer.dir, "family", f"#!/bin/sh\nsetsid sleep 300 &\necho $! >>{pids}\n"
                                            f"sleep 300 &\necho $! >>{pids}\necho $$ >>{pids}\n"
                                            "wait\nsleep 300\n")
            with Worker("--tasks-dir", outer.dir) as w:
                w.push(mp.job(1, "family"))
                w.wait_end(1, "running")
                found = harness.wait_for(lambda: pids.exists() and
                                         (lambda p: len(p) == 3 and p)(pids.read_text().split()),
                                         "the family is there")
                os.kill(w.children()[0], signal.SIGKILL)
                self.assertEqual(w.wait_end(1)["kind"], "crashed")
                for pid in found:
                    wait_dead(int(pid), "a process of the killed child")

    def test_a_job_is_announced_only_if_it_runs_for_a_while(self):
        with Worker() as w:
            w.run("sleep", {"ms": 5}, 1)
            event = w.run("sleep", {"ms": 400}, 2)
            running = w.find(2, "running")
            self.assertIsNone(w.find(1, "running"))
            self.assertIsNotNone(running)
            self.assertEqual(running["begun_at_ms"], event["begun_at_ms"])
            order = [(e["id"], e["kind"]) for e in w.seen]
            self.assertLess(order.index((2, "running")), order.index((2, "succeeded")))

    def test_a_time_limit_kills_native_code(self):
        with Worker() as w:
            start = time.monotonic()
            event = w.run("spin", {"ms": 60000}, 1, timeout_ms=300, grace_ms=10000)
            self.assertEqual(event["kind"], "timed_out")
            self.assertLess(time.monotonic() - start, 5)
            # How much CPU it got in that time is the machine's affair; that it is told is ours.
            self.assertGreater((event["user_us"] or 0) + (event["system_us"] or 0), 0)
            self.assertEqual(w.run("echo", 1, 2)["result"], 1)

    def test_what_waits_behind_a_long_job_is_handed_back_and_what_ended_before_it_arrives(self):
        with Worker() as w:
            w.push(*[mp.job(i, "noop") for i in range(1, 300)])
            w.wait_end(299)
            # One push is claimed at once: 20 short ones, a long one, 20 that wait.
            w.redis_call("LPUSH", QUEUE,
                         *[mp.job(i, "noop") for i in range(1000, 1020)],
                         mp.job(1020, "sleep", {"ms": 3000}),
                         *[mp.job(i, "noop") for i in range(1021, 1041)])
            start = time.monotonic()
            for job_id in range(1000, 1020):
                self.assertEqual(w.wait_end(job_id)["kind"], "succeeded")
            for job_id in range(1021, 1041):
                event = w.wait_end(job_id)
                self.assertEqual((event["kind"], event["has_begun"]), ("handed_back", False))
            self.assertLess(time.monotonic() - start, 1.5)
            self.assertIsNone(w.find(1020))
            self.assertEqual(w.wait_end(1020)["kind"], "succeeded")

    def test_the_heartbeat_names_what_is_held(self):
        with Worker(slots=2) as w:
            w.push(mp.job(77, "sleep", {"ms": 60000}, attempt=4))
            beat = w.wait_beat(lambda b: b["held"], "a heartbeat that names the job")
            held, = beat["held"]
            self.assertEqual((held["node"], held["id"], held["attempt"], held["has_begun"]),
                             (NODE, 77, 4, True))
            self.assertEqual(beat["slots"], 2)
            self.assertEqual(beat["pid"], w.host.pid)
            later = w.wait_beat(lambda b: b["seq"] > beat["seq"], "another heartbeat")
            self.assertGreaterEqual(later["held"][0]["run_ms"], held["run_ms"])
            w.control(mp.kill_order(77, 4))
            w.wait_end(77, "killed", attempt=4)
            w.wait_beat(lambda b: not b["held"], "a heartbeat that names nothing")

    def test_a_kill_order_stops_only_the_attempt_it_names(self):
        with Worker() as w:
            w.push(mp.job(5, "sleep", {"ms": 60000}, attempt=2, grace_ms=100))
            w.wait_end(5, "running", attempt=2)
            w.control(mp.kill_order(5, 1))
            w.control(mp.kill_order(6, 2))
            w.control(b"\xc1 no order")
            beat = w.wait_beat()
            w.wait_beat(lambda b: b["seq"] > beat["seq"] + 1, "two more heartbeats")
            self.assertIsNone(w.find(5, attempt=2))
            w.control(mp.kill_order(5, 2))
            event = w.wait_end(5, attempt=2)
            self.assertEqual((event["kind"], event["has_begun"]), ("killed", True))
            self.assertEqual(w.run("echo", 1, 7)["result"], 1)

    def test_nothing_is_left_when_the_parent_is_killed(self):
        with harness.Mill() as outer:
            pid_file = outer.dir / "pid.txt"
            write_task(outer.dir, "long", f"#!/bin/sh\necho $$ >{pid_file}\nexec sleep 300\n")
            with Worker("--tasks-dir", outer.dir, slots=2) as w:
                w.push(mp.job(1, "long"))
                w.wait_end(1, "running")
                pid = harness.wait_for(lambda: pid_file.exists() and pid_file.read_text(), "it runs")
                pids = [*w.children(), int(pid)]
                self.assertEqual(len(pids), 3)
                w.host.kill()
                for pid in pids:
                    wait_dead(pid, "a process of the dead host")
                self.assertEqual(len(w.beats()), 1)

    def test_a_redis_restart_in_mid_work_loses_no_end(self):
        with Worker(slots=2) as w:
            w.push(mp.job(1, "sleep", {"ms": 700}), mp.job(2, "crash", None))
            w.wait_end(2, "crashed")
            w.wait_end(1, "running")
            w.redis.kill()
            time.sleep(1)  # the end of job 1 falls into the outage
            w.start_redis()
            self.assertEqual(w.wait_end(1, "succeeded")["attempt"], 1)
            w.wait_beat()
            self.assertEqual(w.run("echo", 3, 3)["result"], 3)

    def test_a_refusal_by_redis_delays_ends_and_loses_none(self):
        with Worker() as w:
            w.run("noop", None, 1)
            w.push(mp.job(2, "sleep", {"ms": 300}))
            w.wait_end(2, "running")
            w.redis_call("CONFIG", "SET", "maxmemory", "1")
            held = w.host.pid
            time.sleep(0.7)
            self.assertIsNone(w.find(2))
            w.redis_call("CONFIG", "SET", "maxmemory", "0")
            self.assertEqual(w.wait_end(2)["kind"], "succeeded")
            self.assertEqual(w.host.pid, held)
            self.assertEqual(w.run("echo", 3, 3)["result"], 3)

    def test_nothing_is_claimed_while_the_heartbeat_does_not_get_through(self):
        with Worker() as w:
            w.run("noop", None, 1)
            w.redis_call("DEL", HOSTS)
            w.redis_call("SET", HOSTS, "not a hash")  # each beat is now refused
            deadline = time.monotonic() + 30
            job_id = 100
            while True:  # the last confirmed beat grows older than a third of a lease
                job_id += 1
                w.push(mp.job(job_id, "noop"))
                time.sleep(0.3)
                if not w.find(job_id):
                    break
                self.assertLess(time.monotonic(), deadline, "claims go on without a heartbeat")
            time.sleep(2.5)
            self.assertIsNone(w.find(job_id))
            w.redis_call("DEL", HOSTS)
            w.wait_end(job_id)


class TestDrain(unittest.TestCase):
    def test_an_idle_host_goes_at_once_and_takes_its_heartbeat_away(self):
        with Worker(slots=2) as w:
            w.wait_beat()
            start = time.monotonic()
            self.assertEqual(w.host.stop(), 0)
            self.assertLess(time.monotonic() - start, 1.5)
            self.assertEqual(w.beats(), {})

    def test_running_jobs_may_end_and_nothing_new_is_claimed(self):
        with Worker(slots=2) as w:
            w.push(mp.job(1, "sleep", {"ms": 1500}))
            w.wait_end(1, "running")
            w.host.send(signal.SIGTERM)
            w.wait_beat(lambda b: b["is_draining"], "a heartbeat that says draining")
            w.push(mp.job(2, "noop"))
            self.assertEqual(w.host.wait(), 0)
            self.assertEqual(w.find(1)["kind"], "succeeded")
            self.assertIsNone(w.find(2))
            self.assertEqual(w.redis_call("LLEN", QUEUE), 1)
            self.assertEqual(w.beats(), {})

    def test_what_does_not_end_in_time_is_handed_back(self):
        with Worker("--drain-grace", "300ms") as w:
            w.push(*[mp.job(i, "noop") for i in range(1, 100)])
            w.wait_end(99)
            w.redis_call("LPUSH", QUEUE, mp.job(101, "sleep", {"ms": 60000}), mp.job(102, "noop"))
            w.wait_end(101, "running")
            self.assertEqual(w.host.stop(), 0)
            self.assertEqual([(e["kind"], e["has_begun"]) for e in w.events() if e["id"] == 101
                              and e["kind"] != "running"], [("handed_back", True)])
            end = w.find(102)
            self.assertEqual((end["kind"], end["has_begun"]), ("handed_back", False))

    def test_a_stop_goes_as_soon_as_the_last_event_is_out(self):
        with Worker() as w:
            w.push(mp.job(1, "sleep", {"ms": 60000}))
            w.wait_end(1, "running")
            w.control(mp.kill_order(1, 1))
            start = time.monotonic()
            self.assertEqual(w.host.stop(), 0)
            self.assertLess(time.monotonic() - start, 3)
            self.assertEqual(w.find(1)["kind"], "killed")
            self.assertEqual(w.beats(), {})

    def test_a_second_signal_ends_the_grace(self):
        with Worker("--drain-grace", "1h") as w:
            w.push(mp.job(1, "spin", {"ms": 60000}))
            w.wait_end(1, "running")
            w.host.send(signal.SIGTERM)
            w.wait_beat(lambda b: b["is_draining"], "a heartbeat that says draining")
            w.host.send(signal.SIGTERM)
            self.assertEqual(w.host.wait(), 0)
            self.assertEqual(w.find(1)["kind"], "handed_back")

    def test_an_order_drains_too(self):
        with Worker() as w:
            w.control(mp.drain_order())
            self.assertEqual(w.host.wait(), 0)

    def test_a_drain_without_redis_ends_in_bounded_time(self):
        with Worker() as w:
            w.run("noop", None, 1)
            w.redis.kill()
            start = time.monotonic()
            self.assertEqual(w.host.stop(), 0)
            self.assertLess(time.monotonic() - start, 15)

    def test_no_job_is_lost_over_many_drains_under_load(self):
        with Worker(slots=2) as w:
            w.push(*[mp.job(i, "spin", {"ms": 1}) for i in range(1, 3001)])
            for _ in range(4):
                before = w.redis_call("LLEN", QUEUE)
                harness.wait_for(lambda b=before: w.redis_call("LLEN", QUEUE) < b, "work goes on")
                self.assertEqual(w.host.stop(), 0)
                self.assertGreater(w.redis_call("LLEN", QUEUE), 0)
                w.host = w.start_worker(*w.options)
            harness.wait_for(lambda: w.redis_call("LLEN", QUEUE) == 0, "the queue is empty")
            self.assertEqual(w.host.stop(), 0)
            ends = [e for e in w.events() if e["kind"] in ("succeeded", "handed_back")]
            self.assertEqual({e["id"] for e in ends}, set(range(1, 3001)))


class TestWithBroker(unittest.TestCase):
    """What a task says about itself, as who submitted the job gets to see it."""

    def test_a_running_jobs_progress_is_shown_and_changes_its_etag(self):
        document = openapi.Document((harness.SOURCE / "schema/openapi.json").read_text("utf-8"))
        with harness.Mill() as mill:
            gates = make_gates(mill.dir, 2)
            (mill.dir / "tasks").mkdir()
            write_task(mill.dir / "tasks", "walk",
                       f"#!/bin/sh\ncat >/dev/null\necho progress 1 >&3\nread -r _ <{gates[0]}\n"
                       f"echo progress 2 3 zwei >&3\nread -r _ <{gates[1]}\n")
            mill.start_redis()
            mill.start_broker()
            mill.start_worker("--tasks-dir", mill.dir / "tasks")

            def get(path, want):
                def ask():
                    answer = mill.get(path)
                    document.check_answer("GET", path, answer)
                    return answer.value.get("progress") == want and answer
                return harness.wait_for(ask, f"{want} in {path}")

            for args in ("small", "large" * 20000):  # a large job is read on another thread
                path = "/v1/jobs/" + mill.submit("walk", args)["id"]
                first = get(path, {"done": 1}).headers["ETag"]
                self.assertEqual(mill.get(path, If_None_Match=first).status, 304)
                self.assertNotIn("progress", mill.get("/v1/jobs").value["jobs"][0])
                gates[0].write_text("\n")
                later = get(path, {"done": 2, "total": 3, "message": "zwei"})
                self.assertEqual(later.value["state"], "running")
                self.assertNotEqual(later.headers["ETag"], first)
                workers = mill.get("/v1/workers")
                document.check_answer("GET", "/v1/workers", workers)
                self.assertEqual(workers.value["workers"][0]["holds"][0]["progress"],
                                 later.value["progress"])
                gates[1].write_text("\n")
                answer = mill.get(path + "?wait=30")
                self.assertEqual(answer.value["state"], "succeeded")
                self.assertNotIn("progress", answer.value)


    def test_a_task_decides_whether_and_when_it_is_tried_again(self):
        with harness.Mill() as mill:
            write_task(mill.dir, "hopeless", "#!/bin/sh\necho retry never >&3\necho no use >&2\nexit 1\n")
            write_task(mill.dir, "later", "#!/bin/sh\n[ $JOBMILL_ATTEMPT = 2 ] && exit 0\n"
                                          "echo retry after 2500 >&3\nexit 1\n")
            mill.start_redis()
            mill.start_broker()
            mill.start_worker("--tasks-dir", mill.dir, "--test-tasks")
            for task, args in (("hopeless", None), ("fail", {"retry": "never"})):
                job = mill.submit(task, args, wait=30, max_attempts=5)
                self.assertEqual((job["state"], job["attempt"], job["failures"]), ("failed", 1, 1), job)
            # Longer than the first wait by the default rules, which is a second.
            for task, args in (("later", None), ("fail", {"retry_after_ms": 2500, "until_attempt": 2})):
                start = time.monotonic()
                job = mill.submit(task, args, wait=30, max_attempts=5)
                self.assertEqual((job["state"], job["attempt"], job["failures"]), ("succeeded", 2, 1), job)
                self.assertGreaterEqual(time.monotonic() - start, 2.5)
                job = mill.submit(task, args, wait=30, max_attempts=1)
                self.assertEqual((job["state"], job["attempt"]), ("failed", 1), job)


class TestManager(unittest.TestCase):
    def test_the_service_manager_hears_of_ready_watchdog_and_stopping(self):
        with Worker() as w, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            heard.bind(str(w.dir / "notify"))
            heard.settimeout(harness.DEADLINE_S)
            host = w.start("worker", harness.BIN / "jobmill-worker", "--redis",
                           f"unix:{w.redis_path}", "--slots", "1",
                           env={"NOTIFY_SOCKET": str(w.dir / "notify"), "WATCHDOG_USEC": "200000"})
            self.assertEqual(heard.recv(100), b"READY=1")
            for _ in range(3):
                self.assertEqual(heard.recv(100), b"WATCHDOG=1")
            host.send(signal.SIGTERM)
            words = heard.recv(100)
            while words == b"WATCHDOG=1":
                words = heard.recv(100)
            self.assertIn(b"STOPPING=1", words)
            self.assertEqual(host.wait(), 0)


class TestOptions(unittest.TestCase):
    def test_a_wrong_option_is_told_in_one_sentence(self):
        with harness.Mill() as mill:
            cases = [(["--slots", "257"], "0 to 256"), (["--nope"], "--nope"), (["extra"], "extra"),
                     (["--redis", "nowhere"], "--redis"), (["--queues", "a,,b"], "--queues"),
                     (["--queues", "a:0,b"], "--queues"), (["--queues", "a:1001"], "1000"),
                     (["--tasks-dir", "/does/not/exist"], "--tasks-dir"), (["--child"], "--child")]
            for options, word in cases:
                program = mill.start("worker", harness.BIN / "jobmill-worker", *options)
                program.is_expected_to_fail = True
                self.assertEqual(program.wait(), 2, options)
                self.assertIn(word, program.err)
                self.assertEqual(program.err.count("\n"), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2 if "-v" in sys.argv else 1)
