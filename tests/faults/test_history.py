"""The checker of histories finds each class of what must not be, in histories that were spoiled on
purpose, and finds nothing in the good one that they are made from."""

import copy
import unittest

import history

A, B, C = "0SBVDB2VW0001", "0SBVDB2VW0002", "0SBVDB2VW0003"


class Story:
    """Events, one after the other."""

    def __init__(self):
        self.events = []
        self.now = 0

    def add(self, **event):
        self.now += 10
        self.events.append({"t": self.now, **event})
        return self.events[-1]

    def call(self, op, answer=None, **asked):
        """A call, and its answer behind it."""
        number = f"c.{self.now}"
        self.add(e="call", n=number, op=op, **asked)
        if answer is not None:
            self.add(e="answer", n=number, **{"out": "answer", **answer})
        return number

    def submit(self, token, job_id=None, status=201, **asked):
        told = {"status": status, "id": job_id} if status < 300 else {"status": status}
        return self.call("submit", told if job_id or status >= 300 else None,
                         token=token, key=asked.pop("key", None), **asked)

    def read(self, job_id, state, attempt=1, **told):
        return self.call("read", {"status": 200, "id": job_id, "state": state, "attempt": attempt,
                                  **told}, id=job_id)

    def run(self, job_id, attempt=1, run="1-1", ended=True):
        self.add(e="run", id=job_id, attempt=attempt, begun=self.now + 10, run=run, ended=ended)

    def job(self, job_id, token, state="succeeded", attempt=1, outcomes=((1, "succeeded"),), **more):
        self.add(e="job", id=job_id, token=token, state=state, attempt=attempt, queue="default",
                 outcomes=[list(one) for one in outcomes], **more)


def good():
    """A job that ran once, one that ran twice for a reason, one whose submit was never answered."""
    s = Story()
    s.submit("a", A, key="a")
    s.submit("a", A, key="a")
    s.submit("b", B, queue="one")
    s.submit("c")
    s.submit("d", status=507)
    s.run(A)
    s.run(B, run="1-2", ended=False)
    s.run(B, attempt=2, run="1-3")
    s.run(C, run="1-4")
    s.read(A, "succeeded", result={"run": "1-1"}, finished_at="T1")
    s.read(B, "running", attempt=2)
    s.job(A, "a", result={"run": "1-1"}, finished_at="T1")
    s.job(B, "b", attempt=2, outcomes=[(1, "crashed"), (2, "succeeded")], result={"run": "1-3"})
    s.job(C, "c", result={"run": "1-4"})
    s.add(e="tally", queues={"default": {"succeeded": 3, "failed": 0}})
    return s


def kinds_of(story):
    found, _ = history.check(copy.deepcopy(story.events))
    return sorted({violation.kind for violation in found})


class Histories(unittest.TestCase):
    def expect(self, story, *kinds):
        self.assertEqual(kinds_of(story), sorted(kinds))

    def without(self, **members):
        """The good story without the events that have these members."""
        story = good()
        story.events = [event for event in story.events
                        if not all(event.get(name) == value for name, value in members.items())]
        return story

    def test_a_good_history_has_no_violation(self):
        found, ledger = history.check(good().events)
        self.assertEqual(found, [])
        self.assertEqual({name: ledger[name] for name in
                          ("accepted", "unanswered and stored", "finished", "further runs")},
                         {"accepted": 2, "unanswered and stored": 1, "finished": 3,
                          "further runs": 1})

    def test_an_accepted_job_that_is_gone_is_lost(self):
        self.expect(self.without(e="job", id=A), "lost", "miscounted")

    def test_a_job_that_is_not_found_for_a_while_is_lost(self):
        story = good()
        story.call("read", {"status": 404}, id=A)
        self.expect(story, "lost")

    def test_a_job_of_a_batch_whose_answer_was_cut_off_counts_as_far_as_it_was_told(self):
        story = good()
        story.call("batch", {"status": 200, "items": [["0SBVDB2VW0009", None, False]]},
                   tokens=["x", "y"], atomic=False)
        self.expect(story, "lost")

    def test_an_unanswered_submit_may_be_stored_or_not(self):
        story = self.without(e="job", id=C)
        story.events[-1]["queues"]["default"]["succeeded"] = 2
        self.expect(story)

    def test_a_job_nobody_asked_for_is_unexpected(self):
        story = good()
        story.job("0SBVDB2VW0009", "nobody")
        self.expect(story, "unexpected", "miscounted")

    def test_a_refused_job_that_is_there_is_unexpected(self):
        story = good()
        story.job("0SBVDB2VW0009", "d")
        self.expect(story, "unexpected", "miscounted")

    def test_two_jobs_of_one_key_are_duplicated(self):
        story = good()
        story.submit("a", "0SBVDB2VW0009", key="a")
        story.job("0SBVDB2VW0009", "a")
        story.add(e="tally", queues={"default": {"succeeded": 4}})
        self.expect(story, "duplicated")

    def test_a_second_job_of_a_submit_that_was_never_answered_is_duplicated(self):
        story = good()
        story.job("0SBVDB2VW0009", "c")
        story.add(e="tally", queues={"default": {"succeeded": 4}})
        self.expect(story, "duplicated")

    def test_another_result_than_before_is_a_second_end(self):
        story = self.without(e="job", id=A)
        story.run(A, attempt=2, run="1-9")
        story.job(A, "a", attempt=2, outcomes=[(1, "lost"), (2, "succeeded")],
                  result={"run": "1-9"}, finished_at="T2")
        self.expect(story, "applied twice")

    def test_two_ends_of_one_attempt_are_a_second_end(self):
        story = self.without(e="job", id=C)
        story.job(C, "c", outcomes=[(1, "succeeded"), (1, "succeeded")], result={"run": "1-4"})
        self.expect(story, "applied twice")

    def test_an_end_that_is_none_any_more_is_resurrected(self):
        story = good()
        story.read(C, "succeeded")
        story.read(C, "queued", attempt=2)
        self.expect(story, "resurrected")

    def test_a_retry_explains_it(self):
        story = good()
        story.read(C, "failed", attempt=1)
        story.call("retry", {"out": "unknown"}, id=C)
        story.read(C, "queued", attempt=2)
        story.job(C, "c", attempt=2, outcomes=[(1, "failed"), (2, "succeeded")],
                  result={"run": "1-4"})
        self.expect(story)

    def test_half_an_atomic_batch_is_torn(self):
        story = good()
        story.call("batch", None, tokens=["x", "y"], atomic=True)
        story.job("0SBVDB2VW0009", "x")
        story.add(e="tally", queues={"default": {"succeeded": 4}})
        self.expect(story, "torn")

    def test_a_job_that_does_not_end_is_stuck(self):
        story = good()
        story.job(C, "c", state="running")
        story.add(e="tally", queues={"default": {"succeeded": 2, "running": 1}})
        self.expect(story, "stuck")

    def test_a_later_job_that_begins_first_is_reordered(self):
        story = Story()
        story.submit("a", A, queue="one")
        story.submit("b", B, queue="one")
        story.run(B)
        story.run(A, run="1-2")
        story.job(A, "a")
        story.job(B, "b")
        self.expect(story, "reordered")

    def test_a_step_of_the_clock_explains_it_only_if_it_came_between(self):
        for steps_between in (False, True):
            story = Story()
            story.add(e="clock")
            story.submit("a", A, queue="one")
            if steps_between:
                story.add(e="clock")
            story.submit("b", B, queue="one")
            story.run(B)
            story.run(A, run="1-2")
            story.job(A, "a")
            story.job(B, "b")
            self.expect(story, *([] if steps_between else ["reordered"]))

    def test_jobs_that_were_submitted_at_once_have_no_order(self):
        story = Story()
        first = story.call("submit", None, token="a", key=None, queue="one")
        story.submit("b", B, queue="one")
        story.add(e="answer", n=first, out="answer", status=201, id=A)
        story.run(B)
        story.run(A, run="1-2")
        story.job(A, "a")
        story.job(B, "b")
        self.expect(story)

    def test_a_unique_place_that_two_hold_is_found(self):
        story = Story()
        story.submit("a", A, unique="u")
        story.submit("b", B, unique="u")
        story.read(A, "running")
        story.job(A, "a")
        story.job(B, "b")
        self.expect(story, "not unique")

    def test_a_run_behind_its_cancel_is_found(self):
        story = Story()
        story.submit("a", A)
        story.call("cancel", {"status": 200, "id": A, "state": "cancelled", "stopped": True}, id=A)
        story.run(A)
        story.job(A, "a", state="cancelled", outcomes=())
        self.expect(story, "ran after its cancel")

    def changed(self, status=200, **asked):
        story = Story()
        story.submit("a", A)
        asked = {"priority": None, "args": False, **asked}
        story.call("change", {"status": status, "id": A, "state": "queued",
                              "attempt": 1 + asked["args"]}, id=A, **asked)
        return story

    def test_a_priority_that_was_set_and_is_not_there_is_unchanged(self):
        for status, kinds in ((200, ["unchanged"]), (500, []), (409, [])):
            story = self.changed(status, priority=9)
            story.job(A, "a", priority=5)
            self.expect(story, *kinds)

    def test_old_arguments_that_run_behind_new_ones_are_unchanged(self):
        story = self.changed(args=True)
        story.run(A, run="1-9")
        story.run(A, run="1-10", attempt=2)
        story.job(A, "a", attempt=2, outcomes=[(1, "lost"), (2, "succeeded")], priority=5)
        self.expect(story, "unchanged")

    def test_new_arguments_that_run_are_what_was_asked_for(self):
        story = self.changed(args=True)
        story.run(A, run="1-9", attempt=2)
        story.job(A, "a", attempt=2, outcomes=[(2, "succeeded")], priority=5)
        self.expect(story)

    def test_a_second_run_of_an_attempt_is_unexplained(self):
        story = good()
        story.run(A, run="1-9")
        self.expect(story, "unexplained second run")

    def test_an_old_state_of_redis_explains_it_if_it_came_between(self):
        story = good()
        story.add(e="stale")
        story.run(A, run="1-9")
        self.expect(story)

    def test_what_was_taken_before_it_may_begin_just_behind_it(self):
        story = Story()
        story.submit("a", A)
        story.add(e="stale")
        story.run(A, run="1-8")
        story.run(A, run="1-9")
        story.job(A, "a", result={"run": "1-9"})
        self.expect(story)

    def test_an_old_state_of_redis_explains_nothing_that_was_asked_for_later(self):
        story = Story()
        story.add(e="stale")
        story.submit("a", A)
        story.run(A, run="1-8")
        story.run(A, run="1-9")
        story.job(A, "a", result={"run": "1-9"})
        self.expect(story, "unexplained second run")

    def test_an_old_state_of_redis_explains_nothing_for_ever(self):
        story = Story()
        story.submit("a", A)
        story.add(e="stale")
        story.now += history.HELD_NS
        story.run(A, run="1-8")
        story.run(A, run="1-9")
        story.job(A, "a", result={"run": "1-9"})
        self.expect(story, "unexplained second run")

    def test_a_further_attempt_without_a_reason_is_unexplained(self):
        story = self.without(e="job", id=B)
        story.job(B, "b", attempt=2, outcomes=[(2, "succeeded")], result={"run": "1-3"})
        self.expect(story, "unexplained second run")

    def test_any_second_run_in_the_calm_is_unexplained(self):
        story = Story()
        story.add(e="calm")
        story.submit("a", A)
        story.run(A)
        story.run(A, attempt=2, run="1-2")
        story.job(A, "a", attempt=2, outcomes=[(1, "lost"), (2, "succeeded")])
        self.expect(story, "unexplained second run")

    def test_a_success_that_nobody_ran_is_found(self):
        story = self.without(e="job", id=C)
        story.job(C, "c", result={"run": "7-7"})
        self.expect(story, "success without a run")

    def test_a_failure_that_nobody_asked_for_is_found(self):
        for error, asked, kinds in (("task_failed", {}, ["failed for no reason"]),
                                    ("task_failed", {"fails": 9}, []), ("crashed", {}, [])):
            story = Story()
            story.submit("a", A, **asked)
            story.run(A)
            story.job(A, "a", state="failed", outcomes=[(1, "failed")], error=error)
            self.expect(story, *kinds)

    def test_counts_that_are_not_what_is_there_are_found(self):
        story = good()
        story.add(e="tally", queues={"default": {"succeeded": 4}})
        self.expect(story, "miscounted")

    def test_a_good_request_that_is_called_bad_is_strange(self):
        story = good()
        story.submit("e", status=400)
        self.expect(story, "strange answer")


if __name__ == "__main__":
    unittest.main()
