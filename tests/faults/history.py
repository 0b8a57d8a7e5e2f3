"""Checks a recorded history, in the manner of Jepsen's queue tests: from what clients asked and were
told, from the record of runs, and from a last read of all jobs it finds what must not be.

    history.py FILE…        reads events as JSON, one a line, and prints what is wrong; exit 1 then

A history is a set of events, each with the monotonic time `t` in nanoseconds:

    call     n (its number), op, and what was asked     before the first byte is sent
    answer   n, out: "answer" (then status and what was told), "unsent" or "unknown"
             a call without an answer is unknown, too: it may have been done, or not, or be done later
    run      id or token, attempt; from the record that tasks keep: begun (t), run, ended
    stale    an old state of Redis came back, or the disk lost what was not synced: what was sent just
             before may be sent again as the same attempt. What a host had taken by then may begin a
             little later than what came back, so both may be seen behind the event (HELD_NS)
    fault    kinds: what was begun
    clock    the wall clock stepped: jobs go by when they are due, and by that clock
    calm     no fault from now on
    job      the last read: one job, with its token (args.k) if it was read singly
    tally    the last read: how many jobs each queue counts by state

Each submitted job carries a token of its own, so that a job whose submit was never answered is known,
too. `check` is a pure function; each class of violation is one of the functions in CHECKS."""

import collections
import json
import sys

TERMINAL = ("succeeded", "failed", "cancelled", "expired")
ACCEPTED = (200, 201, 202)
DEATHS = ("crashed", "host_lost", "lost")      # errors that come of faults
UNDECIDED = (500,)  # a failed fsync: it may be on disk
FOREVER = float("inf")
HELD_NS = 5_000_000_000  # that long a host may sit on what it has taken: a task before it, a lease
Violation = collections.namedtuple("Violation", "kind message")


class Call:
    """A call and its answer, or None for that."""

    def __init__(self, event):
        self.asked = event
        self.op = event["op"]
        self.begun = event["t"]
        self.answered = FOREVER
        self.out = "unknown"
        self.told = {}

    def take_answer(self, event):
        self.out = event["out"]
        self.told = event
        self.answered = event["t"]

    @property
    def status(self):
        return self.told.get("status")

    @property
    def is_accepted(self):
        return self.status in ACCEPTED

    @property
    def is_refused(self):
        """It is certain that it changed nothing."""
        return self.out == "unsent" or (self.out == "answer" and not self.is_accepted and
                                        self.status not in UNDECIDED)


Sight = collections.namedtuple("Sight", "begun answered state attempt result finished_at")


class History:
    """The events, in the order and by the names that the checks want them."""

    def __init__(self, events):
        self.calls = {}
        self.runs = []
        self.stale = []
        self.steps = []         # of the wall clock
        self.calm = FOREVER
        self.jobs = {}          # id: the last read
        self.tallies = None
        for event in sorted(events, key=lambda event: event.get("t", 0)):
            getattr(self, "take_" + event["e"])(event)
        self.ids = {}           # id: the call that was first told of it as a new job
        self.tokens = collections.defaultdict(list)      # token: calls that asked for it
        self.told = collections.defaultdict(dict)        # token: {id: call}
        self.fates = collections.defaultdict(list)       # token: is it certain that it is not stored
        self.sights = collections.defaultdict(list)      # id: Sights
        self.retries = collections.defaultdict(list)     # id: calls that may have retried it
        self.changes = collections.defaultdict(list)     # id: calls that may have changed it
        self.token_of = {}      # id: token
        for call in self.calls.values():
            getattr(self, "sort_" + call.op, lambda call: None)(call)
        for job in self.jobs.values():
            if job.get("token") is not None:
                self.token_of.setdefault(job["id"], job["token"])
        self.id_of = {token: job_id for job_id, token in self.token_of.items()}
        self.runs_of = collections.defaultdict(list)     # id: runs
        for run in self.runs:
            self.runs_of[run.get("id") or self.id_of.get(run.get("token"))].append(run)

    # ---- events ----

    def take_call(self, event):
        self.calls[event["n"]] = Call(event)

    def take_answer(self, event):
        self.calls[event["n"]].take_answer(event)

    def take_run(self, event):
        self.runs.append(event)

    def take_fault(self, event):
        """For people who read a history."""

    def take_stale(self, event):
        self.stale.append(event["t"])

    def take_clock(self, event):
        self.steps.append(event["t"])

    def take_calm(self, event):
        self.calm = event["t"]

    def take_job(self, event):
        self.jobs[event["id"]] = event

    def take_tally(self, event):
        self.tallies = event["queues"]

    # ---- calls ----

    def sort_submit(self, call):
        token = call.asked["token"]
        self.tokens[token].append(call)
        is_new = call.is_accepted and not call.told.get("is_existing")
        self.fates[token].append(not is_new and (call.is_accepted or call.is_refused))
        if is_new:
            self.learn(token, call.told["id"], call)
        self.see(call)

    def sort_batch(self, call):
        items = call.told.get("items", [])
        for i, token in enumerate(call.asked["tokens"]):
            self.tokens[token].append(call)
            job_id, code = items[i][:2] if i < len(items) else (None, None)
            self.fates[token].append(call.is_refused if job_id is None and code is None
                                     else code is not None)
            if job_id is not None and code is None:
                self.learn(token, job_id, call)

    def sort_read(self, call):
        self.see(call)

    def sort_cancel(self, call):
        self.see(call)

    def sort_retry(self, call):
        if not call.is_refused:
            self.retries[call.asked["id"]].append(call)
        self.see(call)

    def sort_change(self, call):
        if not call.is_refused:
            self.changes[call.asked["id"]].append(call)
        self.see(call)

    def learn(self, token, job_id, call):
        self.told[token].setdefault(job_id, call)
        self.ids.setdefault(job_id, call)
        self.token_of[job_id] = token

    def see(self, call):
        """An answer that shows a whole job; the answer to a submit without a wait only repeats it."""
        told = call.told
        if call.is_accepted and "attempt" in told:
            self.sights[told["id"]].append(
                Sight(call.begun, call.answered, told["state"], told["attempt"],
                      told.get("result"), told.get("finished_at")))

    def may_be_retried(self, job_id, after, before):
        return any(call.begun < before and call.answered > after
                   for call in self.retries.get(job_id, ()))

    def all_sights(self, job_id):
        """In the order of their answers; the last read is the last."""
        seen = sorted(self.sights.get(job_id, ()), key=lambda sight: sight.answered)
        job = self.jobs.get(job_id)
        if job:
            seen.append(Sight(job["t"], job["t"], job["state"], job["attempt"], job.get("result"),
                              job.get("finished_at")))
        return seen


# ---- what must not be ------------------------------------------------------------------------

def find_lost(h):
    for job_id, call in h.ids.items():
        if job_id not in h.jobs:
            yield f"{job_id} ({h.token_of[job_id]}) was accepted by {call.asked['n']} and is not there"
    for call in h.calls.values():
        known = h.ids.get(call.asked.get("id"))
        if call.status == 404 and known is not None and known.answered < call.begun:
            yield f"{call.asked['id']} was accepted and {call.asked['n']} did not find it"


def find_unexpected(h):
    for job_id, job in h.jobs.items():
        token = h.token_of.get(job_id)
        if token not in h.tokens:
            yield f"{job_id} ({token}): nobody has asked for it"
        elif all(h.fates[token]):
            yield f"{job_id} ({token}) is there, though it was refused"


def find_duplicated(h):
    by_token = collections.defaultdict(set)
    for job_id in h.jobs:
        if h.token_of.get(job_id) in h.tokens:
            by_token[h.token_of[job_id]].add(job_id)
    for token, ids in h.told.items():
        by_token[token].update(ids)
    for token, ids in by_token.items():
        if len(ids) > 1:
            yield f"{token} was asked for once and became {', '.join(sorted(ids))}"


def find_ended_twice(h):
    """A second end was applied: another result, another time, another attempt, or two of them in
    the list of attempts."""
    for job_id in set(h.sights) | set(h.jobs):
        for before, after in pairs(h, job_id):
            if before.state == after.state and before.state in TERMINAL and (
                    before.attempt != after.attempt or differ(before.result, after.result) or
                    differ(before.finished_at, after.finished_at)):
                yield f"{job_id} ended as {describe(before)} and again as {describe(after)}"
    for job_id, job in h.jobs.items():
        outcomes = job.get("outcomes", ())
        numbers = [number for number, _ in outcomes]
        if len(set(numbers)) < len(numbers):
            yield f"{job_id}: an attempt ended twice: {outcomes}"
        if sum(outcome == "succeeded" for _, outcome in outcomes) > 1 and not h.retries.get(job_id):
            yield f"{job_id} succeeded twice: {outcomes}"


def find_resurrected(h):
    for job_id in set(h.sights) | set(h.jobs):
        for before, after in pairs(h, job_id):
            if before.state in TERMINAL and after.state != before.state:
                yield f"{job_id} was {describe(before)} and then {describe(after)}"


def pairs(h, job_id):
    """Neighbouring sights of which one was over before the other began, and no retry between."""
    seen = h.all_sights(job_id)
    for before, after in zip(seen, seen[1:]):
        if before.answered <= after.begun and not h.may_be_retried(job_id, before.begun,
                                                                   after.answered):
            yield before, after


def differ(one, other):
    """A page of a list shows no result."""
    return one is not None and other is not None and one != other


def describe(sight):
    return f"{sight.state} (attempt {sight.attempt}, {sight.result}, {sight.finished_at})"


def find_torn(h):
    for call in h.calls.values():
        if call.op == "batch" and call.asked.get("atomic"):
            there = [token for token in call.asked["tokens"] if h.id_of.get(token) in h.jobs]
            if 0 < len(there) < len(call.asked["tokens"]):
                yield (f"{call.asked['n']}: {len(there)} of an atomic batch of "
                       f"{len(call.asked['tokens'])} are there")


def find_stuck(h):
    for job_id, job in h.jobs.items():
        if job["state"] not in TERMINAL:
            yield f"{job_id} ({h.token_of.get(job_id)}) has not ended: {job['state']}"


def find_failed(h):
    for job_id, job in h.jobs.items():
        token = h.token_of.get(job_id)
        if job["state"] == "failed" and job.get("error") not in (None, *DEATHS) and \
                not any(call.asked.get("fails") for call in h.tokens.get(token, ())):
            yield f"{job_id} ({token}) failed for no reason: {job['error']}"


def find_reordered(h):
    """In the queue `one`, which runs one job at a time, what was accepted before another was asked
    for begins before it, unless an attempt of it was given up."""
    begun = {}
    for run in h.runs:
        if run["attempt"] == 1 and run.get("id") in h.ids and "begun" in run:
            begun.setdefault(run["id"], run["begun"])
    entries = [(call, job_id) for job_id, call in h.ids.items()
               if call.asked.get("queue") == "one" and job_id in begun]
    entries.sort(key=lambda entry: entry[0].begun)
    earliest, first = [None] * len(entries), None
    for i in range(len(entries) - 1, -1, -1):
        job_id = entries[i][1]
        if first is None or begun[job_id] < begun[first]:
            first = job_id
        earliest[i] = first
    starts = [call.begun for call, _ in entries]
    for call, job_id in entries:
        after = first_above(starts, call.answered)
        if after == len(entries) or h.jobs.get(job_id, {}).get("attempt") != 1 or \
                begun[earliest[after]] >= begun[job_id]:
            continue
        for later, later_id in entries[after:]:
            if begun[later_id] < begun[job_id] and not any(
                    call.begun < step < later.answered for step in h.steps):
                yield f"{later_id} was asked for when {job_id} was there, and began before it"
                break


def first_above(numbers, limit):
    low, high = 0, len(numbers)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if numbers[middle] <= limit else (low, middle)
    return low


def find_shared_places(h):
    """A unique job was made while another that holds its place had not ended."""
    by_key = collections.defaultdict(list)
    for job_id, call in h.ids.items():
        if call.asked.get("unique"):
            by_key[call.asked["unique"]].append((call, job_id))
    for key, entries in by_key.items():
        entries.sort(key=lambda entry: entry[0].begun)
        for i, (call, job_id) in enumerate(entries):
            live = max((sight.begun for sight in h.sights.get(job_id, ())
                        if sight.state not in TERMINAL), default=0)
            for later, later_id in entries[i + 1:]:
                if later.begun > live:
                    break
                if call.answered < later.begun and later.answered < live and \
                        not h.retries.get(job_id):
                    yield f"{later_id} got the place {key} that {job_id} held"


def find_ran_after_cancel(h):
    for call in h.calls.values():
        if call.op == "cancel" and call.status == 200 and call.told.get("stopped") is True:
            job_id = call.asked["id"]
            late = [run for run in h.runs_of.get(job_id, ())
                    if run.get("begun", 0) > call.answered]
            if late and not h.retries.get(job_id):
                yield f"{job_id} was cancelled by {call.asked['n']} and then begun as {late[0]}"


def find_unchanged(h):
    """The answered change is forgotten: the job has another priority, or its old arguments ran."""
    for job_id, calls in h.changes.items():
        answered = [call for call in calls if call.is_accepted]
        priorities = {call.asked["priority"] for call in calls} - {None}
        job = h.jobs.get(job_id, {})
        if len(answered) == len(calls) and len(priorities) == 1 and "priority" in job and \
                job["priority"] not in priorities:
            yield f"{job_id} was given the priority {priorities}, and has {job['priority']}"
        for call in answered:
            for run in h.runs_of.get(job_id, ()) if call.asked["args"] else ():
                if run["attempt"] < call.told["attempt"] and run.get("begun", 0) > call.answered and \
                        not any(call.begun < stale < run["begun"] for stale in h.stale):
                    yield f"{job_id} was changed by {call.asked['n']}, and then its old self ran: {run}"


def find_second_runs(h):
    """Each run of a job is of an attempt of its own, and there is a further one only where the job's
    attempts tell how the one before ended."""
    for job_id, runs in h.runs_of.items():
        attempts = [run["attempt"] for run in runs]
        job = h.jobs.get(job_id)
        if job is None or len(attempts) < 2:
            continue
        for attempt, count in collections.Counter(attempts).items():
            if count > 1 and not may_be_redelivered(h, runs, attempt):
                yield f"{job_id} ran {count} times as attempt {attempt}"
        told = dict(job.get("outcomes", ()))
        for attempt in sorted(set(attempts))[:-1]:
            if attempt not in told and not h.retries.get(job_id):
                yield (f"{job_id} ran as attempts {sorted(set(attempts))} and does not tell how "
                       f"attempt {attempt} ended: {job.get('outcomes')}")
    for job_id, job in h.jobs.items():
        runs = h.runs_of.get(job_id, ())
        if is_of_calm(h, job_id) and (len(runs) > 1 or job["attempt"] > 1):
            yield f"{job_id} was submitted in the calm and ran {len(runs)} times"


def may_be_redelivered(h, runs, attempt):
    times = [run.get("begun") for run in runs if run["attempt"] == attempt]
    if None in times:
        return bool(h.stale)
    asked = h.ids.get(runs[0].get("id"))
    return any(min(times) - HELD_NS < stale < max(times) and (asked is None or asked.begun < stale)
               for stale in h.stale)


def is_of_calm(h, job_id):
    call = h.ids.get(job_id)
    return call is not None and call.begun > h.calm


def find_ghosts(h):
    """Successes of which the record of runs knows nothing."""
    for job_id, job in h.jobs.items():
        result = job.get("result")
        if job["state"] != "succeeded" or not isinstance(result, dict):
            continue
        runs = h.runs_of.get(job_id, ())
        if "run" in result and not any(run.get("run") == result["run"] and run.get("ended")
                                       for run in runs):
            yield f"{job_id} succeeded as the run {result['run']}, which nobody has seen end"
        if "attempt" in result and not any(run["attempt"] == result["attempt"] for run in runs):
            yield f"{job_id} succeeded as attempt {result['attempt']}, which did not run"


def find_miscounted(h):
    if h.tallies is None:
        return
    counted = collections.Counter((job["queue"], job["state"]) for job in h.jobs.values())
    told = {(queue, state): count for queue, states in h.tallies.items()
            for state, count in states.items() if count}
    for key in sorted(set(counted) | set(told)):
        if counted.get(key, 0) != told.get(key, 0):
            yield (f"queue {key[0]} says {told.get(key, 0)} jobs are {key[1]}, and "
                   f"{counted.get(key, 0)} are there")


def find_strange(h):
    """Answers that a client that does nothing wrong must not get."""
    for call in h.calls.values():
        if call.out == "answer" and (call.status in (400, 405, 406, 411, 413, 414, 415, 501) or
                                     (call.status == 422 and call.op != "batch")):
            yield f"{call.asked} was answered by {call.told}"


CHECKS = {
    "lost": find_lost,
    "unexpected": find_unexpected,
    "duplicated": find_duplicated,
    "applied twice": find_ended_twice,
    "resurrected": find_resurrected,
    "torn": find_torn,
    "stuck": find_stuck,
    "failed for no reason": find_failed,
    "reordered": find_reordered,
    "not unique": find_shared_places,
    "ran after its cancel": find_ran_after_cancel,
    "unchanged": find_unchanged,
    "unexplained second run": find_second_runs,
    "success without a run": find_ghosts,
    "miscounted": find_miscounted,
    "strange answer": find_strange,
}


def check(events):
    """Returns (violations, ledger)."""
    h = History(events)
    found = [Violation(kind, message) for kind, find in CHECKS.items() for message in find(h)]
    return found, ledger(h, found)


def ledger(h, found):
    states = collections.Counter(job["state"] for job in h.jobs.values())
    kinds = collections.Counter(violation.kind for violation in found)
    second = sum(count_further(h, job_id) for job_id in h.jobs)
    return {"accepted": len(h.ids), "unanswered and stored": len(set(h.jobs) - set(h.ids)),
            "finished": sum(states[state] for state in TERMINAL),
            "running": states["running"], "queued": states["queued"] + states["scheduled"],
            "lost": kinds["lost"], "applied twice": kinds["applied twice"],
            "further runs": second, "unexplained second runs": kinds["unexplained second run"]}


def count_further(h, job_id):
    """Runs behind the first, without those that the task asked for by failing, or a person."""
    runs = h.runs_of.get(job_id, ())
    if len(runs) < 2 or h.retries.get(job_id):
        return 0
    failed = sum(outcome == "failed" for _, outcome in h.jobs[job_id].get("outcomes", ()))
    return max(len(runs) - 1 - failed, 0)


def read_events(paths):
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)


def main():
    found, counts = check(list(read_events(sys.argv[1:])))
    for violation in found:
        print(f"{violation.kind}: {violation.message}")
    print(", ".join(f"{name} {count}" for name, count in counts.items()))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
