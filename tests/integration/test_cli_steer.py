"""The command-line tool as the one who steers: queues and tasks with limits, jobs changed, tried again
and explained, against a real broker and worker."""

import json
import re
import sys
import unittest

from tool import REFUSED, BrokerTest


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
        job = self.submit("echo", "--queue=limited")
        self.assertEqual(self.get(job)["priority"], 7)
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
