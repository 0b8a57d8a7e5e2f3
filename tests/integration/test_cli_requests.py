"""What the command-line tool asks of a broker for each option, and how it shows the answers: against
a scripted one, so that every answer can be had."""

import datetime
import json
import os
import pathlib
import pty
import re
import subprocess
import sys
import tempfile
import time
import unittest

from tool import (FAILED, FATE, OK, REFUSED, TOOL, UNREACHABLE, USAGE, ScriptedBroker, ToolTest,
                  environment)

JOB = {"id": "X1", "task": "t", "queue": "q", "state": "queued"}
MINUTE_S = 60


def job(**members):
    return json.dumps({**JOB, **members})


def seconds_from_now(text):
    """How far a time in a request is from now."""
    then = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
    return (then.replace(tzinfo=datetime.timezone.utc) -
            datetime.datetime.now(datetime.timezone.utc)).total_seconds()


class Requests(ToolTest):
    def ask(self, *args, answer=None, status=OK, err=""):
        """Runs the tool against a broker that answers with `answer`; what it asked, what it said."""
        with ScriptedBroker(answer if answer is not None else job()) as broker:
            self.url = broker.url
            out = self.tool(*args, status=status, err=err)
            self.assertEqual(len(broker.requests), 1)
            return *broker.asked(), out

    def refuse(self, *args, err):
        """The command line is wrong, and nothing is asked."""
        with ScriptedBroker(job()) as broker:
            self.url = broker.url
            self.tool(*args, status=USAGE, err=err)
            self.assertEqual(broker.requests, [])


class Submit(Requests):
    def test_every_option_is_a_field(self):
        _, body, out = self.ask(
            "submit", "t", "n=1", "--queue=q", "--priority=9", "--at=2030-01-02T03:04:05+01:00",
            "--expires=2031-01-01T00:00:00Z", "--timeout=1m", "--max-attempts=4", "--grace=2s",
            "--backoff=exponential:base=1s,factor=1.5,ceiling=1h,jitter=0.25", "--retain=7d",
            "--limit-key=k", "--tag=a", "--tag", "b")
        self.assertEqual(body, {
            "task": "t", "args": {"n": 1}, "queue": "q", "timeout_ms": 60000, "max_attempts": 4,
            "tags": ["a", "b"], "priority": 9, "run_at": "2030-01-02T02:04:05.000Z",
            "expires_at": "2031-01-01T00:00:00.000Z", "grace_ms": 2000,
            "backoff": {"kind": "exponential", "base_ms": 1000, "factor": 1.5,
                        "ceiling_ms": 3600000, "jitter": 0.25},
            "limit_key": "k", "retain_ms": 604800000})
        self.assertEqual(out, "X1\n")

    def test_times_can_be_durations_from_now(self):
        _, body, _ = self.ask("submit", "t", "--at=10m", "--expires", "+20m")
        self.assertAlmostEqual(seconds_from_now(body["run_at"]), 10 * MINUTE_S, delta=30)
        self.assertAlmostEqual(seconds_from_now(body["expires_at"]), 20 * MINUTE_S, delta=30)
        _, body, _ = self.ask("submit", "t", "--delay=10s")
        self.assertEqual(body, {"task": "t", "delay_ms": 10000})

    def test_a_backoff_may_be_short(self):
        for text, value in (("fixed", {"kind": "fixed"}),
                            ("fixed:5s", {"kind": "fixed", "base_ms": 5000}),
                            ("fixed:0", {"kind": "fixed", "base_ms": 0}),
                            ("exponential:2s,jitter=0",
                             {"kind": "exponential", "base_ms": 2000, "jitter": 0.0})):
            _, body, _ = self.ask("submit", "t", "--backoff", text)
            self.assertEqual(body["backoff"], value)

    def test_unique_has_a_key_or_arguments_and_a_time(self):
        for args, value in ((["--unique"], {}),
                            (["--unique=k"], {"key": "k"}),
                            (["--unique-arg=a", "--unique-arg=b"], {"args": ["a", "b"]}),
                            (["--unique", "--unique-while=queued", "--on-conflict=replace"],
                             {"while": "queued", "on_conflict": "replace"}),
                            (["--unique-for=1h", "--on-conflict=reject"],
                             {"while": "period", "period_ms": 3600000, "on_conflict": "reject"})):
            _, body, _ = self.ask("submit", "t", *args)
            self.assertEqual(body, {"task": "t", "unique": value})

    def test_what_came_of_a_unique_submit_is_told(self):
        *_, out = self.ask("submit", "t", "--unique", answer=job(is_existing=True),
                           err=r"\Ajobmill: X1 was there already and is queued\n\Z")
        self.assertEqual(out, "X1\n")
        self.ask("submit", "t", "--unique", answer=job(replaced="X0"),
                 err=r"\Ajobmill: X0 is cancelled in its favour\n\Z")
        *_, out = self.ask("submit", "t", "--unique", "--json", answer=job(is_existing=True))
        self.assertTrue(json.loads(out)["is_existing"])

    def test_wrong_words_are_refused_by_name(self):
        for args, err in (("--at=tomorrow", "--at: 'tomorrow' is neither"),
                          ("--at=-1h", "--at: '-1h' is neither"),
                          ("--expires=", "--expires: '' is neither"),
                          ("--backoff=slow", "--backoff: 'slow' is not"),
                          ("--backoff=fixed:base", "--backoff"),
                          ("--backoff=fixed:factor=0", "--backoff"),
                          ("--backoff=fixed:jitter=x", "--backoff"),
                          ("--backoff=fixed:1s,,", "--backoff"),
                          ("--backoff=fixed:" + "1s," * 200, "--backoff"),
                          ("--priority=10", "--priority: '10' is not a number from 1 to 9"),
                          ("--grace=1h", "--grace"),
                          ("--retain=0", "--retain")):
            self.refuse("submit", "t", args, err=err)
        self.refuse("submit", "t", "--at=1h", "--delay=1h", err="run_at or delay_ms, not both")


class OneJob(Requests):
    def test_patch_sends_what_changes_and_shows_the_job(self):
        line, body, out = self.ask("patch", "X1", "--priority=9", "--tag=a", "--args=[1]",
                                   "--retain=1h", "--backoff=fixed:1s")
        self.assertEqual(line, "PATCH /v1/jobs/X1")
        self.assertEqual(body, {"priority": 9, "args": [1], "tags": ["a"], "retain_ms": 3600000,
                                "backoff": {"kind": "fixed", "base_ms": 1000}})
        self.assertRegex(out, r"(?m)^state +queued$")
        _, body, _ = self.ask("patch", "X1", "--no-tags", "--no-expires", "--no-retain",
                              "--no-backoff")
        self.assertEqual(body, {"tags": [], "expires_at": None, "retain_ms": None, "backoff": None})
        for one in ("--tag=a", "--expires=1h", "--retain=1h", "--backoff=fixed"):
            other = "--no-tags" if one == "--tag=a" else f"--no-{one[2:].partition('=')[0]}"
            self.refuse("patch", "X1", one, other, err="opposites")
        self.refuse("patch", err="usage: jobmill patch ID")

    def test_get_shows_the_attempts_that_have_ended(self):
        answer = job(state="failed", priority=5, attempts=[
            {"attempt": 1, "outcome": "crashed", "worker": "w1", "begun_at": "B1",
             "ended_at": "E1", "run_us": 1500, "error": {"code": "crashed", "message": "signal 11"}},
            {"attempt": 2, "outcome": "timed_out", "worker": "w2", "begun_at": "B2",
             "ended_at": "E2", "run_us": 2000000, "error": None}])
        *_, out = self.ask("get", "X1", answer=answer)
        self.assertRegex(out, r"(?m)^priority +5$")
        self.assertRegex(out, r"(?m)^TRY  OUTCOME +RAN +BEGUN  ENDED  WORKER  ERROR$")
        self.assertRegex(out, r"(?m)^ +1  crashed +1.5 ms  B1 +E1 +w1 +signal 11$")
        self.assertRegex(out, r"(?m)^ +2  timed_out +2.00 s  B2 +E2 +w2 +-$")
        self.assertNotIn('"attempt"', out)
        *_, out = self.ask("get", "X1", "--json", answer=answer)
        self.assertEqual(len(json.loads(out)["attempts"]), 2)

    def test_explain_speaks_in_sentences(self):
        answer = json.dumps({"id": "X1", "state": "queued", "jobs_before": 12, "reasons": [
            {"code": "queue_rate", "message": "the rate is used up", "until": "T", "limit": 1},
            {"code": "behind_others", "message": "others go first"}]})
        line, _, out = self.ask("explain", "X1", answer=answer)
        self.assertEqual(line, "GET /v1/jobs/X1/explain")
        self.assertEqual(out, "X1 is queued:\n  the rate is used up (queue_rate, until T)\n"
                              "  others go first (behind_others)\n  jobs that go before it: 12\n")
        *_, out = self.ask("explain", "X1", "--json", answer=answer)
        self.assertEqual(json.loads(out), json.loads(answer))
        self.ask("explain", "X1", answer="[]", status=FAILED, err="no explanation")


class ManyJobs(Requests):
    FILTER = ("--state=failed", "--queue=q", "--task=t", "--tag=a b", "--limit-key=k",
              "--error=crashed", "--worker=w", "--since=2026-01-01T00:00:00Z",
              "--until=2026-02-01T00:00:00Z")
    QUERY = ("state=failed&queue=q&task=t&tag=a%20b&limit_key=k&worker=w&error=crashed&"
             "created_after=2026-01-01T00%3A00%3A00.000Z&"
             "created_before=2026-02-01T00%3A00%3A00.000Z")

    def test_a_list_takes_every_filter(self):
        line, *_ = self.ask("jobs", *self.FILTER, answer='{"jobs":[]}')
        self.assertEqual(line, f"GET /v1/jobs?{self.QUERY}&limit=50")

    def test_a_duration_in_a_filter_is_ago(self):
        line, *_ = self.ask("jobs", "--since=1h", answer='{"jobs":[]}')
        text = re.search("created_after=([^&]+)", line).group(1).replace("%3A", ":")
        self.assertAlmostEqual(seconds_from_now(text), -60 * MINUTE_S, delta=30)

    def test_a_change_takes_every_filter_and_goes_on_by_cursor(self):
        with ScriptedBroker('{"matched":3,"changed":2,"next_cursor":"c"}',
                            '{"matched":2,"changed":2,"next_cursor":null}') as broker:
            self.url = broker.url
            out = self.tool("cancel", *self.FILTER)
            self.assertEqual(out, "4 of 5 jobs are cancelled\n")
            self.assertEqual([broker.asked(n)[0] for n in range(2)],
                             [f"POST /v1/jobs/cancel?{self.QUERY}",
                              f"POST /v1/jobs/cancel?{self.QUERY}&cursor=c"])

    def test_each_change_says_what_it_did(self):
        counts = '{"matched":5,"changed":5,"next_cursor":null}'
        for command, done in (("cancel", "are cancelled"), ("retry", "are tried again"),
                              ("delete", "are deleted")):
            line, _, out = self.ask(command, "--tag=x", answer=counts)
            self.assertEqual((line, out),
                             (f"POST /v1/jobs/{command}?tag=x", f"5 of 5 jobs {done}\n"))
            line, _, out = self.ask(command, "--tag=x", "--dry-run", answer=counts)
            self.assertEqual((line, out), (f"POST /v1/jobs/{command}?tag=x&dry_run=true",
                                           "5 jobs match; nothing is changed\n"))
        *_, out = self.ask("retry", "--tag=x", "--json", answer=counts)
        self.assertEqual(json.loads(out), {"matched": 5, "changed": 5, "dry_run": False})

    def test_ids_are_changed_one_by_one(self):
        with ScriptedBroker(job(state="cancelled")) as broker:
            self.url = broker.url
            self.assertEqual(self.tool("cancel", "A", "B"), "X1 is cancelled\n" * 2)
            self.assertEqual(self.tool("retry", "A"), "X1 is cancelled\n")
            self.assertEqual([broker.asked(n)[0] for n in range(3)],
                             ["POST /v1/jobs/A/cancel", "POST /v1/jobs/B/cancel",
                              "POST /v1/jobs/A/retry"])

    def test_a_refused_id_does_not_keep_the_others_but_a_broken_connection_does(self):
        problem = '{"code":"already_finished","detail":"over"}'
        with ScriptedBroker(problem, content_type="application/problem+json",
                            status=409) as broker:
            self.url = broker.url
            self.tool("cancel", "A", "B", status=REFUSED,
                      err=r"\A(jobmill: over \(already_finished\)\n){2}\Z")
            self.assertEqual(len(broker.requests), 2)
        with ScriptedBroker(None) as broker:
            self.url = broker.url
            self.tool("cancel", "A", "B", status=FATE, err="unknown_fate")
            self.assertEqual(len(broker.requests), 1)

    def test_jobs_are_chosen_in_one_way(self):
        for command in ("cancel", "retry", "delete"):
            self.refuse(command, err="which jobs")
            self.refuse(command, "--dry-run", err="which jobs")
            self.refuse(command, "A", "--tag=x", err="not both")
            self.refuse(command, "A", "--dry-run", err="goes with a filter")
            self.refuse(command, "--since=soon", err="--since: 'soon' is neither")


class Queues(Requests):
    QUEUE = json.dumps({"name": "q", "paused": False, "jobs": {"queued": 3, "running": 1},
                        "rate": {"limit": 100, "period_ms": 1000}, "concurrency": None})

    def test_a_queue_is_shown_member_by_member(self):
        line, body, out = self.ask("queue", "q", answer=self.QUEUE)
        self.assertEqual((line, body), ("GET /v1/queues/q", None))
        self.assertEqual(out.splitlines(), [f"{name:24} {value}" for name, value in (
            ("name", "q"), ("paused", "false"), ("jobs.queued", "3"), ("jobs.running", "1"),
            ("rate.limit", "100"), ("rate.period_ms", "1000"))])

    def test_limits_are_set_and_taken_away(self):
        line, body, _ = self.ask(
            "queue", "q", "--rate=100/10s", "--concurrency=5", "--key-rate=1/m",
            "--key-concurrency=2", "--max-queued=7", "--retain=1d", "--retain-failed=2d",
            "--priority=3", "--max-attempts=4", "--timeout=1m", "--grace=1s", "--backoff=fixed:1s",
            answer=self.QUEUE)
        self.assertEqual(line, "PATCH /v1/queues/q")
        self.assertEqual(body, {
            "rate": {"limit": 100, "period_ms": 10000}, "concurrency": 5,
            "key_rate": {"limit": 1, "period_ms": 60000}, "key_concurrency": 2, "max_queued": 7,
            "retain_ms": 86400000, "retain_failed_ms": 172800000,
            "defaults": {"priority": 3, "max_attempts": 4, "timeout_ms": 60000, "grace_ms": 1000,
                         "backoff": {"kind": "fixed", "base_ms": 1000}}})
        _, body, _ = self.ask(
            "queue", "q", "--no-rate", "--no-concurrency", "--no-key-rate", "--no-key-concurrency",
            "--no-max-queued", "--no-retain", "--no-retain-failed", "--no-priority",
            "--no-max-attempts", "--no-timeout", "--no-grace", "--no-backoff", answer=self.QUEUE)
        self.assertEqual(body, {
            "rate": None, "concurrency": None, "key_rate": None, "key_concurrency": None,
            "max_queued": None, "retain_ms": None, "retain_failed_ms": None,
            "defaults": {"priority": None, "max_attempts": None, "timeout_ms": None,
                         "grace_ms": None, "backoff": None}})

    def test_a_limit_is_not_set_and_taken_away_at_once(self):
        for one, other in (("--rate=1/s", "--no-rate"), ("--priority=1", "--no-priority"),
                           ("--retain=1h", "--no-retain"), ("--backoff=fixed", "--no-backoff")):
            self.refuse("queue", "q", one, other, err="at once")
        self.refuse("task", "t", "--concurrency=1", "--no-concurrency", err="at once")

    def test_what_is_no_rate_is_refused(self):
        for text in ("100", "/s", "100/", "x/s", "100/x", "0/s", "1/0s", "-1/s", "9" * 99 + "/s"):
            self.refuse("queue", "q", f"--rate={text}", err="--rate: .* is not a rate")

    def test_queues_are_paused_and_go_on(self):
        for command, done in (("pause", "is paused"), ("resume", "goes on")):
            with ScriptedBroker(self.QUEUE) as broker:
                self.url = broker.url
                self.assertEqual(self.tool(command, "a", "b"), f"a {done}\nb {done}\n")
                self.assertEqual([broker.asked(n) for n in range(2)],
                                 [(f"POST /v1/queues/{name}/{command}", None) for name in "ab"])
            self.refuse(command, err=f"usage: jobmill {command}")

    def test_a_task_has_limits_too(self):
        line, body, out = self.ask("task", "t", "--concurrency=2", "--no-timeout",
                                   "--backoff=fixed", answer='{"name":"t","concurrency":2}')
        self.assertEqual(line, "PATCH /v1/tasks/t")
        self.assertEqual(body, {"concurrency": 2, "defaults": {"timeout_ms": None,
                                                               "backoff": {"kind": "fixed"}}})
        self.assertRegex(out, r"(?m)^concurrency +2$")


class Batch(ToolTest):
    LINES = '{"task":"a"}\n{"task":"b"}'
    ANSWERS = ('{"id":"X1","state":"queued"}\n'
               '{"error":{"code":"bad_field","detail":"no such \\u001b[2J thing"}}\n')

    def batch(self, *args, answers=ANSWERS, status=REFUSED, http_status=200, lines=LINES):
        with ScriptedBroker(answers, content_type="application/x-ndjson",
                            status=http_status) as broker:
            run = subprocess.run([TOOL, "batch", "-", *args], env=environment(broker.url),
                                 input=lines, capture_output=True, text=True, timeout=60)
        self.assertEqual(run.returncode, status, run)
        head, _, body = broker.requests[0].partition(b"\r\n\r\n")
        return run, head.decode(), body

    def test_lines_go_out_and_ids_come_back(self):
        run, head, body = self.batch(answers='{"id":"X1"}\n{"id":"X2"}\n', status=OK)
        self.assertEqual((run.stdout, run.stderr), ("X1\nX2\n", ""))
        self.assertTrue(head.startswith("POST /v1/jobs/batch HTTP/1.1\r\n"))
        self.assertIn("Content-Type: application/x-ndjson", head)
        self.assertEqual(body, b"19\r\n" + self.LINES.encode() + b"\r\n0\r\n\r\n")

    def test_refused_items_are_told_by_number(self):
        run, *_ = self.batch()
        self.assertEqual(run.stdout, "X1\n")
        self.assertEqual(run.stderr, "jobmill: item 2: no such ?[2J thing (bad_field)\n"
                                     "jobmill: 1 items are not submitted\n")
        run, *_ = self.batch("--json")
        self.assertEqual([json.loads(line) for line in run.stdout.splitlines()],
                         [json.loads(line) for line in self.ANSWERS.splitlines()])

    def test_an_atomic_batch_is_all_or_nothing(self):
        run, head, _ = self.batch("--atomic", http_status=422)
        self.assertIn("/v1/jobs/batch?atomic=true ", head)
        self.assertTrue(run.stderr.endswith("nothing of the batch is stored (batch_refused)\n"))

    def test_a_file_and_one_that_is_not_there(self):
        with ScriptedBroker('{"id":"X1"}\n{"id":"X2"}\n',
                            content_type="application/x-ndjson") as broker:
            self.url = broker.url
            with tempfile.TemporaryDirectory() as directory:
                path = pathlib.Path(directory) / "jobs"
                path.write_text(self.LINES)
                self.assertEqual(self.tool("batch", str(path)), "X1\nX2\n")
                self.tool("batch", directory, status=FAILED, err="cannot read .*directory")
                self.tool("batch", directory + "/none", status=USAGE, err="cannot open .*No such")
        self.url = "unix:/nonexistent"
        self.tool("batch", "-", status=UNREACHABLE, err="cannot be reached")


class Progress(ToolTest):
    def wait_on_terminal(self, *answers):
        """Lets the tool wait on a terminal; what it wrote there."""
        ours, theirs = pty.openpty()
        with ScriptedBroker(*answers) as broker:
            run = subprocess.Popen([TOOL, "wait", "X1"], stderr=theirs, stdout=subprocess.PIPE,
                                   env=environment(broker.url), text=True)
            os.close(theirs)
            shown = b""
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    shown += os.read(ours, 4096)
                except OSError:
                    break  # how Linux says that the other end is closed
            out, _ = run.communicate(timeout=60)
        os.close(ours)
        self.assertEqual((run.returncode, out), (OK, "null\n"))
        self.assertTrue(shown.endswith(b"\r\x1b[K"))
        return shown.decode(), broker

    def test_a_bar_shows_how_far_the_job_is(self):
        bar = {"done": 3, "total": 8, "message": "reading \x1b[2J"}
        answers = [job(state="running", progress=bar)] * 40 + [job(state="succeeded")]
        shown, broker = self.wait_on_terminal(*answers)
        self.assertIn("\r⠹ ", shown)
        self.assertIn("s  [" + "█" * 7 + "░" * 13 + "]  37 %  3/8  reading ?[2J\x1b[K", shown)
        self.assertRegex(broker.asked(0)[0], r"^GET /v1/jobs/X1\?wait=0\.500$")

    def test_progress_without_a_total_or_with_too_much_done(self):
        answers = [job(state="running", progress={"done": 5})] * 15
        answers += [job(state="running", progress={"done": 9, "total": 4})] * 15
        shown, _ = self.wait_on_terminal(*answers, job(state="succeeded"))
        self.assertIn("s  5 done\x1b[K", shown)
        self.assertIn("█" * 20 + "] 100 %  9/4\x1b[K", shown)


if __name__ == "__main__":
    sys.exit(unittest.main())
