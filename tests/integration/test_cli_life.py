"""The command-line tool through the whole life of jobs, against a real broker and worker: what was
asked comes about, and what came about is shown."""

import json
import os
import pty
import re
import stat
import subprocess
import sys
import time
import unittest

import harness
from tool import BAD_END, OK, REFUSED, TOOL, BrokerTest, environment

# A task that says how far it is, and ends when the file named by its arguments is there.
GATED = """#!/usr/bin/env python3
import json, os, sys, time
gate = json.load(sys.stdin)["gate"]
os.write(3, b"progress 3 8 reading\\n")
while not os.path.exists(gate):
    time.sleep(0.02)
print(json.dumps("through"))
"""


class Life(BrokerTest):
    worker_options = ("--test-tasks", "--slots", "2", "--tasks-dir", "tasks")

    @classmethod
    def prepare(cls, directory):
        tasks = directory / "tasks"
        tasks.mkdir()
        (tasks / "gated").write_text(GATED)
        (tasks / "gated").chmod(stat.S_IRWXU)

    def test_a_job_keeps_what_it_was_given(self):
        job = self.get(self.submit(
            "echo", "--queue=kept", "--priority=8", "--delay=1h", "--expires=2h", "--timeout=1m",
            "--max-attempts=4", "--grace=2s", "--backoff=fixed:3s,jitter=0", "--retain=7d",
            "--limit-key=k", "--unique=u", "--tag=a"))
        self.assertEqual(job["state"], "scheduled")
        self.assertEqual({name: job[name] for name in (
            "priority", "timeout_ms", "max_attempts", "grace_ms", "retain_ms", "limit_key", "tags")},
            {"priority": 8, "timeout_ms": 60000, "max_attempts": 4, "grace_ms": 2000,
             "retain_ms": 604800000, "limit_key": "k", "tags": ["a"]})
        self.assertEqual(job["backoff"], {**job["backoff"], "kind": "fixed", "base_ms": 3000,
                                          "jitter": 0})
        self.assertEqual(job["unique"]["key"], "u")
        self.assertLess(job["created_at"], job["due_at"])
        self.assertLess(job["due_at"], job["expires_at"])

    def test_a_unique_job_meets_the_one_that_is_there(self):
        first = self.submit("echo", "n=1", "--queue=unique", "--unique")
        self.assertEqual(self.submit("echo", "n=1", "--queue=unique", "--unique",
                                     err=f"{first} was there already and is queued"), first)
        self.assertNotEqual(self.submit("echo", "n=2", "--queue=unique", "--unique"), first)
        self.submit("echo", "n=1", "--queue=unique", "--on-conflict=reject", status=REFUSED,
                    err=rf"{first}.*\(unique_conflict\)")
        second = self.submit("echo", "n=1", "--queue=unique", "--on-conflict=replace",
                             err=f"{first} is cancelled in its favour")
        self.assertEqual((self.get(first)["state"], self.get(second)["state"]),
                         ("cancelled", "queued"))
        self.submit("echo", "n=1", "--queue=unique", "--on-conflict=replace", "--key=unique",
                    err=f"{second} is cancelled in its favour")

    def test_a_task_that_nobody_serves_is_submitted_with_a_warning(self):
        self.submit("nothing", err=r"\Ajobmill: no worker serves this task yet\n\Z")

    def test_get_shows_the_attempts_that_have_ended(self):
        job = self.submit("fail", "message=no luck", "--max-attempts=2", "--backoff=fixed:0")
        self.tool("wait", job, "--for=30s", status=BAD_END, err="no luck")
        out = self.tool("get", job)
        self.assertRegex(out, r"(?m)^  1  failed +\S+ \S+ .* no luck$")
        self.assertRegex(out, r"(?m)^  2  failed +\S+ \S+ .* no luck$")

    def test_jobs_are_found_by_tag_key_error_and_time(self):
        tagged = self.submit("echo", "--queue=found", "--tag=red", "--tag=round")
        keyed = self.submit("echo", "--queue=found", "--limit-key=customer 7")
        failed = self.submit("fail", "--max-attempts=1", "--tag=found")
        self.tool("wait", failed, "--for=30s", status=BAD_END, err="failed")
        self.assertEqual(self.listed("--tag=round"), [tagged])
        self.assertEqual(self.listed("--limit-key=customer 7"), [keyed])
        self.assertEqual(self.listed("--error=task_failed", "--tag=found"), [failed])
        self.assertEqual(self.listed("--queue=found", "--since=1h"), [keyed, tagged])
        self.assertEqual(self.listed("--queue=found", "--until=1h"), [])

    def test_a_batch_tells_what_became_of_each_line(self):
        lines = ('{"task":"echo","args":{"n":1},"tags":["batched"]}\n'
                 'no JSON\n'
                 '{"task":"echo","delay_ms":3600000,"tags":["batched"],"idempotency_key":"b"}\n'
                 '{"task":"echo","priority":10}\n')
        run = self.batch(lines)
        ids = run.stdout.split()
        self.assertEqual((run.returncode, len(ids)), (REFUSED, 2), run)
        self.assertRegex(run.stderr, r"\A.*item 2: .*\(bad_json\)\n.*item 4: .*\(bad_field\)\n"
                                     r".*: 2 items are not submitted\n\Z")
        self.assertEqual(self.listed("--tag=batched"), ids[::-1])
        self.assertEqual(self.tool("wait", ids[0]), '{"n":1}\n')
        run = self.batch(lines.splitlines(True)[2])
        self.assertEqual((run.returncode, run.stdout.split()), (OK, ids[1:]), "the same key")

    def test_an_atomic_batch_is_all_or_nothing(self):
        lines = '{"task":"echo","tags":["atomic"]}\n{"task":"echo","tags":["atomic"]'
        run = self.batch(lines, "--atomic")
        self.assertEqual((run.returncode, run.stdout), (REFUSED, ""), run)
        self.assertRegex(run.stderr, r"(?s)\(batch_refused\).*\(bad_json\).*nothing of the batch")
        self.assertEqual(self.listed("--tag=atomic"), [])
        run = self.batch(lines + "}", "--atomic")
        self.assertEqual((run.returncode, self.listed("--tag=atomic")),
                         (OK, run.stdout.split()[::-1]), run)

    def test_a_batch_that_is_too_long_says_so(self):
        run = self.batch('{"task":"echo","queue":"long"}\n' * 100002)
        self.assertEqual((run.returncode, run.stdout.count("\n")), (REFUSED, 100000))
        self.assertRegex(run.stderr, r"\A.*item 100001: .*\n.*: the broker ended the batch: .*"
                                     r"\(batch_too_large\)\n\Z")

    def test_a_batch_needs_memory_for_some_items_only(self):
        def peak_kib(count):
            line = json.dumps({"task": "echo", "queue": "large", "args": "x" * 1000}) + "\n"
            run = subprocess.Popen([TOOL, "batch", "-"], stdin=subprocess.PIPE, text=True,
                                   stdout=subprocess.DEVNULL, env={
                                       **environment(self.url),
                                       "ASAN_OPTIONS": "quarantine_size_mb=1"})
            run.stdin.write(line * count)
            run.stdin.close()
            _, status, usage = os.wait4(run.pid, 0)
            run.returncode = status
            self.assertEqual(status, 0)
            return usage.ru_maxrss

        self.assertLess(peak_kib(20000) - peak_kib(10), 8192)

    def test_a_bar_shows_the_progress_of_a_running_job(self):
        gate = self.mill.dir / "gate"
        job = self.submit("gated", f"gate={gate}")
        ours, theirs = pty.openpty()
        run = subprocess.Popen([TOOL, "wait", job], stderr=theirs, stdout=subprocess.PIPE,
                               env=environment(self.url), text=True)
        os.close(theirs)
        shown = ""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                shown += os.read(ours, 4096).decode(errors="replace")
            except OSError:
                break  # how Linux says that the other end is closed
            if re.search(r"\]  37 %  3/8  reading", shown):
                gate.touch()
        out, _ = run.communicate(timeout=60)
        os.close(ours)
        self.assertEqual((run.returncode, out), (OK, '"through"\n'), shown)


class SlowBatch(unittest.TestCase):
    """A batch whose lines come one at a time; the broker ends it before they do."""

    def test_is_answered_as_it_goes_and_tells_of_its_end_at_once(self):
        with harness.Mill() as mill:
            mill.start_redis()
            broker = mill.start_broker()
            source, lines = os.pipe()
            self.addCleanup(os.close, lines)
            with open(source) as stdin:
                run = mill.start("batch", TOOL, "batch", "-", stdin=stdin,
                                 env=environment(f"unix:{mill.socket_path}"))
            run.is_expected_to_fail = True
            for count in (1, 2):
                os.write(lines, b'{"task":"echo"}\n')
                harness.wait_for(lambda: run.out.count("\n") == count, "the answer to the line")
            self.assertEqual(broker.stop(), 0)
            self.assertEqual(run.wait(), REFUSED)
            self.assertRegex(run.err, r"item 3: .*\(shutting_down\)\n.*: the broker ended the batch: "
                                      r".*\(shutting_down\)\n\Z")


if __name__ == "__main__":
    sys.exit(unittest.main())
