"""Hostile clients and hostile workers in large, with good clients beside them. The last line is one of JSON:
{"part":"hostile","cases":N,"violations":[...],"figures":{...}}; exit status 1 if there are violations.

    hostile.py [NAME...]     only the attacks whose names contain one of these

A good client's p99 beside an attack is held against its p99 without one, both in the same run. One 2-core
machine runs the broker, Redis, the workers, the good client and the attacker, so an attack that is above the
limit is tried again, and counts only if it is so each time. Beside hostile workers it is a figure only: who
floods Redis itself keeps it busy for everybody."""

import json
import resource
import sys
import time

import clients
import tools
import workers
from tools import harness

TIMES = 3  # a good client's p99 beside an attack, in terms of what it is without
LEAST_MS = 30  # below this it is fine whatever it was: some wake-ups and a stall of the disk
LEAST_S = 4
LEAST_ROUNDS = 200  # else its p99 says nothing
TRIES = 3
SIZES = {"garbage": 5000, "header_floods": 2000, "refused_items": 12, "never_reading": 200, "waiters_of_one": 5000, "resets": 30000,
         "vanishing_waiters": 8000, "half_open": 20000, "slowloris_head": 2000, "slowloris_body": 2000,
         "vanished": 1000, "idle": 10000,
         "strange_beats": 100, "oversized": 100, "oversized_list": 400, "large_results": 1024, "flood": 1000000, "many_beats": 1000000,
         "many_hosts": 20000, "junk_jobs": 100, "junk_orders": 50}


class Watched(tools.Good):
    """Keeps what every good client of a run has seen."""

    seen_all = []

    def __enter__(self):
        self.began = time.monotonic()
        return super().__enter__()

    def __exit__(self, *reason):
        time.sleep(max(0, self.began + LEAST_S - time.monotonic()))
        super().__exit__(*reason)
        if self.seen["count"] >= LEAST_ROUNDS:
            Watched.seen_all.append(self.seen)


def quiet_ms(mill):
    """A good client's p99 without an attack."""
    with tools.Good(mill) as good:
        time.sleep(4)
    return good.seen["p99_ms"]


def run_once(attack, mill, figures):
    """A violation in words, or None; whether it is one of time."""
    Watched.seen_all.clear()
    try:
        found = attack(mill, SIZES.get(attack.__name__, 0))
        mill.good_job()
    except (AssertionError, OSError) as wrong:
        return f"{attack.__name__}: {wrong or type(wrong).__name__}", False
    if found is None:
        print(f"{attack.__name__}: skipped, this process may not do that", flush=True)
        return None, False
    figures["cases"] += found.pop("cases")
    figures.update(found)
    if not Watched.seen_all:
        return None, False
    p99 = max(seen["p99_ms"] for seen in Watched.seen_all)
    quiet = quiet_ms(mill)
    figures[f"{attack.__name__}_p99_ms"] = [p99, quiet]
    if attack in clients.ALL and p99 > TIMES * quiet and p99 > LEAST_MS:
        return f"{attack.__name__}: a good client's p99 is {p99} ms, and {quiet} without", True
    return None, False


def run(attack, mill, figures, violations):
    began = time.monotonic()
    for _ in range(TRIES):
        violation, is_about_time = run_once(attack, mill, figures)
        if not violation or not is_about_time:
            break
    if violation:
        violations.append(violation)
    print(f"{attack.__name__}: {violation or 'ok'} ({time.monotonic() - began:.1f} s)", flush=True)


def run_all(mill_type, attacks, figures, violations):
    for attack in attacks:  # each on a mill of its own, so that none lives with what another left
        with mill_type() as mill:
            mill.start_redis()
            mill.start_broker("--lease", "3s", "--log-level", "info")
            mill.start_worker("--test-tasks", "--slots", "2")
            mill.wait_for_workers()
            run(attack, mill, figures, violations)


def chosen(attacks):
    names = sys.argv[1:]
    return [a for a in attacks if not names or any(name in a.__name__ for name in names)]


def main():
    figures, violations = {"cases": 0}, []
    tools.Good = Watched
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 10500:
        print("the limit of open files is low: without idle connections", flush=True)
    for mill_type, attacks in ((tools.TcpMill, clients.ALL), (tools.Mill, workers.ALL)):
        run_all(mill_type, chosen(attacks), figures, violations)
    if chosen([clients.few_files]):
        try:
            figures["cases"] += clients.few_files()["cases"]
        except harness.Failure as wrong:
            violations.append(f"few_files: {wrong}")
    cases = figures.pop("cases")
    print(json.dumps({"part": "hostile", "cases": cases, "violations": violations, "figures": figures}))
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
