"""`jobmill up`: readiness, the lock, parts that die, and an end that leaves nothing behind."""

import os
import pathlib
import re
import signal
import socket
import sys
import unittest

import harness


def is_alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def descendants(pid):
    """All processes below `pid`, with their command lines."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in map(int, children):
            try:
                words = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[child] = " ".join(word.decode() for word in words)
            found.update(descendants(child))
    return found


class Up:
    """One `jobmill up` in the mill's directory, on a port of its own choosing."""

    def __init__(self, mill, *options, waits=True, data="data", listen="127.0.0.1:0", env=None):
        self.mill = mill
        self.program = mill.start("up", harness.BIN / "jobmill", "up", "--data", data,
                                  "--listen", listen, "--test-tasks", *options, env=env)
        if waits:
            harness.wait_for(self.is_ready, "up says that it is ready")
            self.url = re.fullmatch(r"ready (\S+)\n", self.program.out).group(1)

    def is_ready(self):
        if not self.program.is_running():
            raise harness.Failure(f"up has ended with {self.program.wait()}: {self.program.err}")
        return self.program.out.endswith("\n")

    def tool(self, *args, status=0):
        """Runs another command of the tool against it; returns what it printed."""
        program = self.mill.start("tool", harness.BIN / "jobmill", *args,
                                  env={"JOBMILL_URL": self.url})
        program.is_expected_to_fail = True
        ended = program.wait(60)
        if ended != status:
            raise harness.Failure(f"{args}: {ended}, {program.out} {program.err}")
        return program.out

    def part(self, name):
        """The process of a part, or None. A child of the worker has the same name, and may become a
        child of `up` when the worker dies, but has none of its options."""
        for pid, command in descendants(self.program.pid).items():
            is_named = any(name in word.rpartition("/")[2] for word in command.split(" ")
                           if not word.startswith("-"))  # not the first one under valgrind
            if is_named and (name == "redis-server" or "--redis=" in command):
                return pid
        return None

    def end(self, signum, status=0):
        """Ends it with a signal and sees to it that nothing of it is left."""
        below = descendants(self.program.pid)
        if len(below) < 3:
            raise harness.Failure(f"too few processes: {below}")
        self.program.send(signum)
        ended = self.program.wait()
        self.program.is_expected_to_fail = True
        if ended != status:
            raise harness.Failure(f"up ended with {ended}, not {status}: {self.program.err}")
        rest = lambda: {pid: words for pid, words in below.items() if is_alive(pid)}
        if status == 0 and rest():
            raise harness.Failure(f"left behind: {rest()}")
        harness.wait_for(lambda: not rest(), "all processes have ended")


class Running(unittest.TestCase):
    def test_is_ready_works_and_leaves_nothing_behind(self):
        for signum in (signal.SIGINT, signal.SIGTERM):
            with harness.Mill() as mill:
                up = Up(mill)
                self.assertRegex(up.url, r"^http://127\.0\.0\.1:[1-9][0-9]*$")
                self.assertEqual(up.tool("submit", "fib", "n=20", "--wait"), "6765\n")
                up.end(signum)
                self.assertEqual(up.program.out, f"ready {up.url}\n")
                self.assertFalse((mill.dir / "data" / "redis.sock").exists())

    def test_its_redis_takes_no_entry_that_is_far_too_long(self):
        with harness.Mill() as mill:
            up = Up(mill)
            mill.redis_path = mill.dir / "data" / "redis.sock"
            self.assertIsNone(mill.redis_call("LPUSH", "jm:{r:0}", "x" * ((16 << 20) + 1)))  # it hangs up
            self.assertEqual(mill.redis_call("LPUSH", "another", "x" * (16 << 20)), 1)
            up.end(signal.SIGINT)

    def test_keeps_what_was_accepted_from_one_run_to_the_next(self):
        with harness.Mill() as mill:
            up = Up(mill)
            job = up.tool("submit", "echo", "a=1", "--wait", "--json")
            late = up.tool("submit", "echo", "b=2", "--queue", "other").strip()
            up.end(signal.SIGINT)
            up = Up(mill, "--queues", "default,other")
            self.assertEqual(up.tool("get", re.search(r'"id":"(\w+)"', job).group(1), "--json"), job)
            self.assertEqual(up.tool("wait", late), '{"b":2}\n')
            up.end(signal.SIGINT)

    def test_listens_on_a_unix_socket(self):
        with harness.Mill() as mill:
            up = Up(mill, listen=f"unix:{mill.dir}/http.sock")
            self.assertEqual(up.url, f"unix:{mill.dir}/http.sock")
            self.assertEqual(up.tool("submit", "noop", "--wait"), "null\n")
            up.end(signal.SIGINT)

    def test_serves_files_below_the_directory_it_is_started_in(self):
        with harness.Mill() as mill:
            (mill.dir / "file").write_bytes(b"abc")
            up = Up(mill)
            self.assertIn("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                          up.tool("submit", "sha256", "path=file", "--wait"))
            up.end(signal.SIGINT)

    def test_works_where_a_socket_would_not_fit(self):
        with harness.Mill() as mill:
            deep = mill.dir / ("d" * 120)
            up = Up(mill, data=str(deep), env={"XDG_RUNTIME_DIR": str(mill.dir)})
            made = list(mill.dir.glob("jobmill-*/redis.sock"))
            self.assertEqual(len(made), 1)
            self.assertEqual(up.tool("submit", "noop", "--wait"), "null\n")
            up.end(signal.SIGINT)
            self.assertFalse(made[0].parent.exists())

    def test_hands_back_what_runs_when_it_is_stopped(self):
        with harness.Mill() as mill:
            begun, gate = mill.dir / "begun", mill.dir / "gate"
            script = mill.dir / "tasks" / "pass"
            script.parent.mkdir()
            script.write_text(f"#!/bin/sh\necho >> {begun}\nuntil [ -e {gate} ]; do sleep 0.05; done\n"
                              "echo null\n")
            script.chmod(0o755)
            options = ("--drain-grace", "0s", "--tasks-dir", "tasks")
            up = Up(mill, *options)
            job = up.tool("submit", "pass").strip()
            harness.wait_for(begun.exists, "it runs")
            up.end(signal.SIGINT)
            up = Up(mill, *options)
            gate.touch()
            self.assertIn('"state":"succeeded"', up.tool("wait", job, "--json"))
            self.assertIn('"failures":0', up.tool("get", job, "--json"))
            self.assertEqual(begun.read_text(), "\n\n")
            up.end(signal.SIGINT)


class Refusals(unittest.TestCase):
    def refused(self, program, status, words):
        program.is_expected_to_fail = True
        self.assertEqual(program.wait(), status)
        self.assertEqual(program.out, "")
        self.assertIn(words, program.err)

    def test_a_second_one_on_the_same_data_is_refused_and_the_first_goes_on(self):
        with harness.Mill() as mill:
            up = Up(mill)
            second = Up(mill, waits=False).program
            self.refused(second, 7, f"another `jobmill up` (process {up.program.pid})")
            self.assertEqual(up.tool("submit", "noop", "--wait"), "null\n")
            up.end(signal.SIGINT)

    def test_a_port_in_use_is_told_at_once(self):
        with harness.Mill() as mill, socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            program = Up(mill, waits=False, listen=f"127.0.0.1:{port}").program
            self.refused(program, 1, "the broker ended with exit status 1 before it was ready")
            self.assertIn(str(port), program.err)

    def test_a_directory_that_cannot_be_made_is_told(self):
        with harness.Mill() as mill:
            self.refused(Up(mill, waits=False, data="/nonexistent/data").program, 7,
                         "cannot make the data directory /nonexistent/data")

    def test_a_missing_redis_is_told_with_the_remedy(self):
        with harness.Mill() as mill:
            self.refused(Up(mill, waits=False, env={"PATH": "/nonexistent"}).program, 7,
                         "install the package redis-server")

    def test_a_wrong_option_is_told(self):
        with harness.Mill() as mill:
            self.refused(Up(mill, "--slots", "0", waits=False).program, 2, "--slots")


class Deaths(unittest.TestCase):
    def test_a_part_that_dies_is_started_again_and_no_job_is_lost(self):
        with harness.Mill() as mill:
            up = Up(mill)
            for name, part in (("redis", "redis-server"), ("broker", "jobmill-broker"),
                               ("worker", "jobmill-worker")):
                pid = up.part(part)
                os.kill(pid, signal.SIGKILL)
                words = f"the {name} was killed by signal 9 (Killed); starting it again"
                harness.wait_for(lambda: words in up.program.err, f"the death of the {name} is told")
                harness.wait_for(lambda: up.part(part) not in (None, pid), f"another {name}")
                job = harness.wait_for(lambda: self.submitted(up), "a submit is accepted")
                self.assertEqual(up.tool("wait", job, "--for", "40s"), "{}\n")
            up.end(signal.SIGINT)

    def submitted(self, up):
        """The id, or None while there is no broker."""
        try:
            return up.tool("submit", "echo", "--args", "{}").strip()
        except harness.Failure:
            return None

    def test_a_part_that_keeps_dying_ends_everything(self):
        with harness.Mill() as mill:
            up = Up(mill)
            below = descendants(up.program.pid)
            for death in range(5):
                pid = harness.wait_for(lambda: up.part("redis-server"), "a redis to kill")
                os.kill(pid, signal.SIGKILL)
                harness.wait_for(lambda: up.program.err.count("the redis was killed") > death,
                                 "its death is told")
            self.assertEqual(up.program.wait(), 1)
            up.program.is_expected_to_fail = True
            self.assertIn("5 deaths within 30 s are too many, giving up", up.program.err)
            self.assertEqual([pid for pid in below if is_alive(pid)], [])

    def test_all_die_with_it(self):
        with harness.Mill() as mill:
            up = Up(mill)
            up.tool("submit", "spin", "ms=60000")
            up.end(signal.SIGKILL, -signal.SIGKILL)

    def test_a_program_that_was_a_job_does_not_outlive_its_worker(self):
        with harness.Mill() as mill:
            tasks = mill.dir / "tasks"
            tasks.mkdir()
            script = tasks / "linger"
            script.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {mill.dir}/pid\nwait\n")
            script.chmod(0o755)
            up = Up(mill, "--tasks-dir", "tasks")
            up.tool("submit", "linger", "--max-attempts", "1")
            written = mill.dir / "pid"
            pid = int(harness.wait_for(lambda: written.exists() and written.read_text(), "it runs"))
            self.assertTrue(is_alive(pid))
            os.kill(up.part("jobmill-worker"), signal.SIGKILL)
            harness.wait_for(lambda: not is_alive(pid), "the program is killed")
            harness.wait_for(lambda: up.part("jobmill-worker"), "there is another worker")
            up.end(signal.SIGINT)

    def test_a_second_signal_kills(self):
        with harness.Mill() as mill:
            up = Up(mill, "--drain-grace", "60s")
            job = up.tool("submit", "spin", "ms=60000").strip()
            harness.wait_for(lambda: "running" in up.tool("get", job), "it runs")
            below = descendants(up.program.pid)
            up.program.send(signal.SIGINT)
            harness.wait_for(lambda: "draining" in up.program.err, "the worker drains")
            up.program.send(signal.SIGINT)
            self.assertEqual(up.program.wait(), 0)
            self.assertEqual([pid for pid in below if is_alive(pid)], [])


if __name__ == "__main__":
    sys.exit(unittest.main())
