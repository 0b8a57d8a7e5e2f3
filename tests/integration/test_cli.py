"""The command-line tool against a real broker and worker, and, for what a real one never does, against
a scripted one: what it prints for people and for machines, and its exit codes."""

import hashlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import unittest

import harness
from tool import (BAD_END, FAILED, FATE, OK, REFUSED, TOOL, UNFINISHED, UNREACHABLE, USAGE,
                  BrokerTest, ScriptedBroker, ToolTest, environment, run_tool)


class WithBroker(BrokerTest):
    worker_options = ("--test-tasks", "--slots", "2", "--file-root", ".")

    @classmethod
    def prepare(cls, directory):
        (directory / "file").write_bytes(b"x" * 1500000)

    def test_each_builtin_computes(self):
        digest = hashlib.sha256(b"x" * 1500000).hexdigest()
        self.assertEqual(self.tool("submit", "noop", "--wait"), "null\n")
        self.assertEqual(self.tool("submit", "fib", "n=20", "--wait=30"), "6765\n")
        self.assertEqual(self.tool("submit", "sleep", "ms=1", "--wait"), "null\n")
        self.assertIn(digest, self.tool("submit", "sha256", "path=file", "--wait"))
        self.assertIn(hashlib.sha256(b"abc").hexdigest(),
                      self.tool("submit", "sha256", "data=abc", "--wait"))

    def test_arguments_are_json_where_they_can_be_and_text_where_not(self):
        out = self.tool("submit", "echo", "n=1", "f=2.50", "t=true", "s=plain text", 'q="1"',
                        "l=[1, {}]", "e=", "u=é", "big=18446744073709551615", "eq=a=b", "--wait")
        self.assertEqual(json.loads(out), {"n": 1, "f": 2.5, "t": True, "s": "plain text", "q": "1",
                                           "l": [1, {}], "e": "", "u": "é",
                                           "big": 18446744073709551615, "eq": "a=b"})
        self.assertEqual(self.tool("submit", "echo", "--args", " [1, null] ", "--wait"),
                         "[1,null]\n")
        self.assertEqual(self.tool("submit", "echo", "--wait", "--", "--n=1"), '{"--n":1}\n')

    def test_a_wrong_command_line_is_2_and_submits_nothing(self):
        def newest():
            return [job["id"] for job in json.loads(self.tool("jobs", "--json", "--limit=1"))["jobs"]]
        before = newest()
        for args, err in ((("submit",), "usage: jobmill submit TASK"),
                          (("submit", "echo", "novalue"), "'novalue' is not NAME=VALUE"),
                          (("submit", "echo", "=1"), "is not NAME=VALUE"),
                          (("submit", "echo", "a=1", "a=2"), "duplicate member name"),
                          (("submit", "echo", "a=1", "--args", "{}"), "not both"),
                          (("submit", "echo", "--args", "{"), "args, at byte 1: .*early"),
                          (("submit", "echo", "--wait=soon"), "--wait: 'soon' is not a time"),
                          (("submit", "echo", "--key", "a b"), "visible ASCII"),
                          (("submit", "echo", *["--tag=x"] * 17), "at most 16 times"),
                          (("get",), "usage: jobmill get ID"),
                          (("get", "a", "b"), "usage"),
                          (("jobs", "--limit", "0"), "--limit"),
                          (("queues", "extra"), "not an option"),
                          (("frobnicate",), "there is no command 'frobnicate'"),
                          (("queues", "--url", "localhost:1"), "is no broker's address"),
                          ((), "Usage")):
            self.tool(*args, status=USAGE, err=err)
        self.assertEqual(newest(), before)

    def test_submit_prints_the_id_with_which_all_else_works(self):
        job = self.tool("submit", "echo", "a=1", "--queue", "default", "--tag", "red", "--tag=blue",
                        "--timeout", "90s", "--max-attempts", "7").strip()
        self.assertRegex(job, r"\A[0-9A-Z]{13}\Z")
        self.assertEqual(self.tool("wait", job), '{"a":1}\n')
        self.assertEqual(self.tool("result", job), '{"a":1}\n')
        value = json.loads(self.tool("get", job, "--json"))
        self.assertEqual((value["state"], value["tags"], value["timeout_ms"],
                          value["max_attempts"]), ("succeeded", ["red", "blue"], 90000, 7))
        shown = self.tool("get", job)
        self.assertRegex(shown, r"(?m)^state +succeeded$")
        self.assertRegex(shown, r"(?m)^tags +red,blue$")
        self.assertRegex(shown, r'(?m)^args +{"a":1}$')
        self.assertEqual(self.tool("delete", job), f"{job} is deleted\n")
        self.tool("get", job, status=REFUSED, err=r"no_such_job")
        self.tool("delete", job, status=REFUSED, err=r"no_such_job")

    def test_a_failed_job_is_1_with_the_reason(self):
        self.assertEqual(self.tool("submit", "fail", "message=no luck", "--max-attempts", "1",
                                   "--wait", status=BAD_END,
                                   err=r"\w{13} failed: no luck \(task_failed\)"), "")
        out = self.tool("submit", "fail", "--max-attempts", "1", "--wait", "--json", status=BAD_END)
        job = json.loads(out)["id"]
        self.tool("wait", job, status=BAD_END, err="failed")
        self.tool("result", job, status=REFUSED, err="no_result")

    def test_what_is_refused_is_4_with_code_and_sentence(self):
        self.tool("get", "0000000000001", status=REFUSED, err=r"\(no_such_job\)")
        self.tool("get", "nonsense", status=REFUSED, err=r"\(bad_id\)")
        self.tool("submit", "bad name", status=REFUSED, err=r"\(bad_field\)")
        self.tool("jobs", "--state", "nonsense", status=REFUSED, err=r"\(bad_query\)")
        self.tool("jobs", "--cursor", "nonsense", status=REFUSED, err=r"\(bad_query\)")

    def test_a_key_makes_one_job_of_two_submits(self):
        one = self.tool("submit", "echo", "x=1", "--key", "cli-1")
        self.assertEqual(self.tool("submit", "echo", "x=1", "--key", "cli-1"), one)
        self.tool("submit", "echo", "x=2", "--key", "cli-1", status=REFUSED,
                  err=r"idempotency_mismatch")

    def test_a_wait_that_is_too_short_is_5_and_the_job_goes_on(self):
        job = self.tool("submit", "sleep", f"ms={1500 * harness.SLOWNESS}").strip()
        self.tool("wait", job, "--for", "100ms", status=UNFINISHED, err=f"{job} is still")
        self.tool("result", job, status=UNFINISHED, err="the job is (queued|running)")
        self.assertEqual(self.tool("wait", job), "null\n")

    def test_cancel_of_a_waiting_and_of_a_running_job(self):
        waiting = self.tool("submit", "echo", "--queue", "nobody").strip()
        self.assertEqual(self.tool("cancel", waiting), f"{waiting} is cancelled\n")
        self.tool("wait", waiting, status=BAD_END, err=f"{waiting} cancelled")
        self.tool("cancel", waiting, status=REFUSED, err=r"\(already_finished\)")
        running = self.tool("submit", "sleep", "ms=60000").strip()
        self.mill.wait_for_state(running, "running")
        self.assertRegex(self.tool("cancel", running), f"{running} is cancelled")
        self.tool("wait", running, "--for", "5s", status=BAD_END, err="cancelled")

    def test_lists_are_aligned_and_filtered_and_go_on_by_cursor(self):
        ids = [self.tool("submit", "noop", "--queue", "listed").strip() for _ in range(5)]
        out = self.tool("jobs", "--queue", "listed", "--limit", "2",
                        err=r"\Ajobmill: there are more, with --cursor \S+ or --all\n\Z")
        lines = out.splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["ID", ids[4], ids[3]])
        self.assertEqual({line.index("noop") for line in lines[1:]}, {lines[0].index("TASK")})
        cursor = json.loads(self.tool("jobs", "--queue", "listed", "--limit=2",
                                      "--json"))["next_cursor"]
        out = self.tool("jobs", "--queue", "listed", "--limit=2", "--cursor", cursor,
                        err="there are more")
        self.assertEqual([line.split()[0] for line in out.splitlines()[1:]], [ids[2], ids[1]])
        out = self.tool("jobs", "--queue", "listed", "--limit", "2", "--all")
        self.assertEqual([line.split()[0] for line in out.splitlines()[1:]], ids[::-1])
        pages = self.tool("jobs", "--queue", "listed", "--limit", "2", "--all", "--json")
        jobs = [job["id"] for line in pages.splitlines() for job in json.loads(line)["jobs"]]
        self.assertEqual(jobs, ids[::-1])
        self.assertEqual(self.tool("jobs", "--queue", "listed", "--state", "failed").count("\n"), 1)
        self.assertEqual(self.tool("jobs", "--task", "nothing").count("\n"), 1)

    def test_queues_workers_and_tasks(self):
        self.tool("submit", "noop", "--queue", "counted")
        self.assertRegex(self.tool("queues"), r"(?m)^counted +0 +1 +0 +0 +0 +0 +0 +false$")
        worker = json.loads(self.tool("workers", "--json"))["workers"][0]
        self.assertRegex(self.tool("workers"),
                         rf"(?m)^{worker['id']} +\S+ +{self.mill.workers[0].pid} +2 ")
        self.assertRegex(self.tool("tasks"), r"(?m)^fib +builtin +1 +\S")
        self.assertIn("sha256", [t["name"] for t in json.loads(self.tool("tasks", "--json"))["tasks"]])

    def test_an_output_that_cannot_be_written_is_an_error(self):
        with open("/dev/full", "w") as full:
            run = subprocess.run([TOOL, "queues"], env=environment(self.url), stdout=full,
                                 stderr=subprocess.PIPE, text=True)
        self.assertEqual(run.returncode, FAILED)
        self.assertIn("cannot write", run.stderr)

    def test_a_spinner_turns_on_a_terminal_and_is_wiped(self):
        ours, theirs = pty.openpty()
        run = subprocess.Popen([TOOL, "submit", "sleep", "ms=1500", "--wait"], stderr=theirs,
                               env=environment(self.url), stdout=subprocess.PIPE, text=True)
        os.close(theirs)
        out, _ = run.communicate(timeout=60)
        shown = b""
        while select.select([ours], [], [], 0)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:
                break  # how Linux says that the other end is closed
        os.close(ours)
        self.assertEqual((run.returncode, out), (OK, "null\n"))
        self.assertRegex(shown.decode(), r"\r. 1\.\d s  waiting for \w{13}\x1b\[K")
        self.assertTrue(shown.endswith(b"\r\x1b[K"))


class Surviving(ToolTest):
    def test_a_wait_survives_a_restart_of_the_broker(self):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            mill.start_worker()
            mill.wait_for_workers()
            self.url = f"unix:{mill.socket_path}"
            job = self.tool("submit", "sleep", "ms=2000").strip()
            waiter = mill.start("wait", TOOL, "wait", job, env={"JOBMILL_URL": self.url})
            mill.wait_for_state(job, "running")
            mill.broker.kill()
            mill.start_broker()
            self.assertEqual(waiter.wait(), OK)
            self.assertEqual(waiter.out, "null\n")


class WithScript(ToolTest):
    def test_nobody_there_is_3_at_once_with_the_remedy(self):
        self.url = "unix:/nonexistent/socket"
        start = time.monotonic()
        for args in (("submit", "echo"), ("get", "x"), ("jobs",), ("cancel", "x"), ("workers",)):
            self.tool(*args, status=UNREACHABLE, err=r"cannot be reached.*\n.*`jobmill up`")
        self.assertLess(time.monotonic() - start, 10 * harness.SLOWNESS)

    def test_a_submit_without_an_answer_is_6_and_sent_once(self):
        with ScriptedBroker(None) as broker:
            self.url = broker.url
            self.tool("submit", "echo", status=FATE, err=r"unknown_fate\)\n.*--key")
            self.assertEqual(len(broker.requests), 1)

    def test_an_answer_of_something_else_is_7(self):
        for answer, kind in (("<html>", "text/html"), ("{", "application/json"),
                             ("[]", "application/json")):
            with ScriptedBroker(answer, content_type=kind) as broker:
                self.url = broker.url
                self.tool("get", "x", status=FAILED, err=r"\(bad_answer\)")
                self.tool("queues", status=FAILED, err="answer")

    def test_what_comes_from_a_broker_cannot_steer_the_terminal(self):
        evil = '\\u001b[2J\\u009b1m\\u0007\\u007f'
        job = ('{"id":"X","task":"a%s","queue":"q","state":"failed","result":null,'
               '"error":{"code":"c%s","message":"m%s","stderr":"one%s\\ntwo"}}' % ((evil,) * 4))
        control = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
        with ScriptedBroker(job) as broker:
            shown = run_tool(broker.url, "get", "X")
            waited = run_tool(broker.url, "wait", "X")
        with ScriptedBroker('{"jobs":[%s],"next_cursor":"%s"}' % (job, evil)) as broker:
            listed = run_tool(broker.url, "jobs")
        problem = '{"code":"c%s","detail":"d%s"}' % (evil, evil)
        with ScriptedBroker(problem, content_type="application/problem+json", status=409) as broker:
            refused = run_tool(broker.url, "get", "X")
        self.assertEqual((shown.returncode, waited.returncode, listed.returncode,
                          refused.returncode), (OK, BAD_END, OK, REFUSED))
        for run in (shown, waited, listed, refused):
            self.assertIsNone(control.search(run.stdout + run.stderr), run)
        self.assertIn("  two\n", waited.stderr)


class Help(ToolTest):
    url = "unix:/nonexistent"

    def test_every_command_explains_itself_and_every_exit_code_is_told(self):
        out = self.tool("help")
        self.assertEqual(re.findall(r"(?m)^  (\d)  ", out), [str(code) for code in range(8)])
        commands = re.findall(r"(?m)^  ([a-z]+) +\S", out.partition("Commands:")[2])
        self.assertEqual(len(commands), 22)
        for command in commands:
            text = self.tool("help", command)
            self.assertIn("Usage: jobmill", text)
            self.assertEqual(self.tool(command, "--help"), text)
        self.tool("help", "nothing", status=USAGE, err="no command")

    def test_version(self):
        self.assertRegex(self.tool("version"), r"\Ajobmill \d+\.\d+\.\d+\n\Z")
        self.assertEqual(self.tool("--version"), self.tool("version"))


if __name__ == "__main__":
    sys.exit(unittest.main())
