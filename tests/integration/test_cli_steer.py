"""The command-line tool as the one who steers: queues and tasks with limits, jobs changed, tried again
and explained, against a real broker and worker."""

import json
import re
import sys
import unittest

from tool import BAD_END, REFUSED, BrokerTest


class Steering(BrokerTest):
    worker_options = ("--test-tasks", "--slots", "2", "--queues", "default,served")

    def state(self, job_id):
        return self.get(job_id)["state"]

    def explain(self, job_id):
        """The codes of the reasons."""
        shown = self.tool("explain", job_id)
        codes = [reason["code"] for reason in
                 json.loads(self.tool("explain", job_id, "--json"))["reasons"]]
        self.assertTrue(shown.startswith(f"{job_id} is "), shown)
        for code in codes:
            self.assertRegex(shown, rf"(?m)^  \w.* \({code}[,)]")
        return codes


class OneJob(Steering):
    def test_explain_tells_why_a_job_waits_runs_or_is_over(self):
        self.assertIn("no_worker_for_queue", self.explain(self.submit("echo", "--queue=nobody")))
        self.assertEqual(self.explain(self.submit("echo", "--delay=1h")), ["due_later"])
        over = self.submit("echo")
        self.tool("wait", over)
        self.assertEqual(self.explain(over), ["finished"])
        running = self.submit("sleep", "ms=60000")
        self.mill.wait_for_state(running, "running")
        self.assertEqual(self.explain(running), ["running"])
        self.tool("cancel", running)
        self.tool("explain", "0000000000001", status=REFUSED, err="no_such_job")

    def test_patch_changes_a_job_that_waits(self):
        job = self.submit("echo", "n=1", "--delay=1h", "--tag=a")
        out = self.tool("patch", job, "--priority=9", "--args=[2]", "--tag=b", "--max-attempts=9",
                        "--timeout=1m", "--retain=2h", "--backoff=fixed:1s", "--expires=3h")
        self.assertRegex(out, r"(?m)^priority +9$")
        value = self.get(job)
        self.assertEqual({name: value[name] for name in ("priority", "args", "tags", "max_attempts",
                                                         "timeout_ms", "retain_ms")},
                         {"priority": 9, "args": [2], "tags": ["b"], "max_attempts": 9,
                          "timeout_ms": 60000, "retain_ms": 7200000})
        self.tool("patch", job, "--at=0s", "--no-tags", "--no-expires", "--no-backoff")
        self.assertEqual([self.get(job).get(name) for name in ("expires_at", "backoff")],
                         [None, None])
        self.assertEqual(self.tool("wait", job), "[2]\n")
        self.assertEqual(self.get(job).get("tags", []), [])
        self.tool("patch", job, "--priority=1", status=REFUSED, err=r"\(already_finished\)")

    def test_retry_gives_finished_jobs_a_new_attempt(self):
        job = self.submit("fail", "message=no", "--max-attempts=1")
        self.tool("wait", job, status=BAD_END, err="failed: no")
        self.assertRegex(self.tool("retry", job), rf"\A{job} is \w+\n\Z")
        self.tool("wait", job, status=BAD_END, err="failed: no")
        self.assertEqual(self.get(job)["attempt"], 2)
        waiting = self.submit("echo", "--queue=nobody")
        self.tool("retry", waiting, job, status=REFUSED, err=r"\A.*\(not_finished\)\n\Z")

    def test_a_job_that_has_not_begun_in_time_expires(self):
        job = self.submit("echo", "--queue=nobody", "--expires=500ms")
        self.tool("wait", job, "--for=30s", status=BAD_END, err=f"{job} expired")


class ManyJobs(Steering):
    def test_jobs_are_cancelled_tried_again_and_deleted_by_filter(self):
        ids = [self.submit("echo", "--queue=nobody", "--tag=many") for _ in range(3)]
        other = self.submit("echo", "--queue=nobody")
        self.assertEqual(self.tool("cancel", "--tag=many", "--dry-run"),
                         "3 jobs match; nothing is changed\n")
        self.assertEqual({self.state(job) for job in ids}, {"queued"})
        self.assertEqual(self.tool("cancel", "--tag=many", "--state=queued"),
                         "3 of 3 jobs are cancelled\n")
        self.assertEqual({self.state(job) for job in ids}, {"cancelled"})
        self.assertEqual(self.state(other), "queued")
        self.assertEqual(self.tool("retry", "--tag=many"), "3 of 3 jobs are tried again\n")
        self.assertEqual({self.state(job) for job in ids}, {"queued"})
        self.tool("cancel", "--tag=many")
        out = json.loads(self.tool("delete", "--tag=many", "--json"))
        self.assertEqual(out, {"matched": 3, "changed": 3, "dry_run": False})
        self.tool("get", ids[0], status=REFUSED, err="no_such_job")

    def test_all_pages_of_a_change_are_gone_through(self):
        lines = '{"task":"echo","queue":"nobody","tags":["paged"]}\n' * 10500
        run = self.batch(lines)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(self.tool("cancel", "--tag=paged"),
                         "10500 of 10500 jobs are cancelled\n")


class Queues(Steering):
    def test_a_paused_queue_holds_its_jobs_until_it_goes_on(self):
        self.assertEqual(self.tool("pause", "served"), "served is paused\n")
        job = self.submit("echo", "n=1", "--queue=served")
        self.assertIn("paused", self.explain(job))
        self.assertRegex(self.tool("queues"), r"(?m)^served .* true$")
        self.assertEqual(self.tool("resume", "served"), "served goes on\n")
        self.assertEqual(self.tool("wait", job, "--for=30s"), '{"n":1}\n')

    def test_limits_of_a_queue_are_set_shown_and_taken_away(self):
        out = self.tool("queue", "limited", "--rate=100/10s", "--concurrency=5",
                        "--key-concurrency=2", "--max-queued=1", "--retain=1h", "--priority=7",
                        "--backoff=fixed:2s")
        for name, value in (("rate.limit", 100), ("rate.period_ms", 10000), ("concurrency", 5),
                            ("key_concurrency", 2), ("max_queued", 1), ("retain_ms", 3600000),
                            ("defaults.priority", 7), ("defaults.backoff.base_ms", 2000)):
            self.assertRegex(out, rf"(?m)^{re.escape(name)} +{value}$")
        self.assertEqual(self.tool("queue", "limited"), out)
        job = self.submit("echo", "--queue=limited", "--delay=1h")
        self.assertEqual(self.get(job)["priority"], 7)
        self.submit("echo", "--queue=limited", status=REFUSED, err=r"\(queue_full\)")
        out = self.tool("queue", "limited", "--no-rate", "--no-max-queued", "--no-priority")
        self.assertNotRegex(out, r"(?m)^(rate|max_queued|defaults\.priority)")
        self.assertRegex(out, r"(?m)^concurrency +5$")
        self.assertEqual(self.get(self.submit("echo", "--queue=limited"))["priority"], 5)
        self.tool("queue", "nothing", status=REFUSED, err=r"\(no_such_queue\)")

    def test_a_task_has_limits_and_defaults(self):
        out = self.tool("task", "echo", "--concurrency=3", "--max-attempts=7")
        self.assertRegex(out, r"(?m)^concurrency +3$")
        self.assertEqual(self.get(self.submit("echo"))["max_attempts"], 7)
        out = self.tool("task", "echo", "--no-concurrency", "--no-max-attempts")
        self.assertNotRegex(out, r"(?m)^(concurrency|defaults)")
        self.tool("task", "nothing", "--concurrency=3", status=REFUSED, err=r"\(no_such_task\)")


if __name__ == "__main__":
    sys.exit(unittest.main())
