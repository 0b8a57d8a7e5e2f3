"""Torture: the n-th allocation, write, sync, read, connect, … of a program fails, one at a time.

usage: torture.py [--every | --sample CASES] [--per-stack N] [--seed N] [--parallel N]
                  [--scenario NAME] [--kind NAME] [--stack ID] [--at N]

A scenario is a short piece of life: a broker that serves a dozen requests, one that starts and
stops, a worker, its children, the tool, the client library. It runs a few times to count its calls of
each kind, then once for each case, and one call fails (shim.c says so to the program through the page
of area.h). Of a kind with few calls each one is a case. Of one with many, which is to say of the
allocations, it is the stack of callers that decides what a failure meets: every stack is a case, at
three of the calls that come from there; every stack has its turn before one has the next. --every
tries each call none the less (that takes hours), and --sample so many of them, chosen by the seed. A
SIGTERM ends a run with what it has found so far. All of it costs about 28 minutes of CPU.

What a case may end in: an answer that is true, an error answer, a connection that is cut, a program
that ends with a sentence; then all goes on, if need be after a new start, and every job that was
accepted ends. What it may not: a hang, a report of a sanitizer, a failed assertion, a lost job, an
answer that is false, a program that ends in silence. (A library's own abort for want of memory is an
end, too: libuv has no other.)

The last line is a summary in JSON; exit 1 if it lists a violation.
"""

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time

import area
import scenarios

SKIPPED = 77
SLOW_S = 4  # a case that takes longer is told, since it costs the run
FEW = 500  # so many calls of a kind are tried one by one
MET = 0.9  # of the stacks have to be met when they are to fail
AGAIN = 3  # so often a stack that was not met is tried again
COUNTS = 6  # at most; a count that meets no new stack is the last


# ---- which calls fail ----

class Calls:
    """What a scenario calls of a kind: each stack with the most calls from there in one run."""

    def __init__(self, scenario, kind, most_counts):
        self.total, self.stacks = 0, {}
        for _ in range(most_counts):
            self.total = max(self.total, scenario.count(kind))
            found = scenario.area.stacks()
            is_known = found.keys() <= self.stacks.keys()
            for stack, calls in found.items():
                self.stacks[stack] = max(calls, self.stacks.get(stack, 0))
            if is_known:
                break

    def every(self):
        """[(n, stack)] with stack 0: of all calls."""
        return [(n, 0) for n in range(1, self.total + 1)]

    def by_stack(self, most):
        """The first call from each stack, then the last of each, then what lies evenly between."""
        rounds = [[] for _ in range(most)]
        for stack, calls in sorted(self.stacks.items()):
            count = min(most, calls)
            steps = [1 + i * (calls - 1) // max(1, count - 1) for i in range(count)]
            for chosen, n in zip(rounds, steps[:1] + steps[:0:-1]):
                chosen.append((n, stack))
        return [case for chosen in rounds for case in chosen]


def sample_of(cases, size, rng):
    """Each kind has its turn: an allocation in five, for they are the many."""
    by_kind = {}
    for case in cases:
        by_kind.setdefault(case[:2], []).append(case)
    chosen = []
    for some in by_kind.values():
        rng.shuffle(some)
    while len(chosen) < size:
        for (kind, _), some in by_kind.items():
            chosen += some[:5 if kind == "alloc" else 1]
            del some[:5 if kind == "alloc" else 1]
    return chosen[:size]


def cases_of(calls, scenario, options, rng):
    """[(kind, error name, n, stack)]"""
    cases = []
    for kind, known in calls.items():
        is_every = not options.stack and (options.every or options.sample or options.at or
                                          known.total <= FEW)
        some = known.every() if is_every else known.by_stack(options.per_stack or scenario.per_stack)
        cases += [(kind, error, n, stack) for error in area.ERRORS[kind] for n, stack in some]
    size = options.sample and max(1, options.sample * scenario.share // 100)
    if size and len(cases) > size:
        cases = sample_of(cases, size, rng)
    cases = [case for case in cases
             if options.at in (None, case[2]) and options.stack in (None, f"{case[3]:x}")]
    index, count = options.shard
    return [case for case in cases if (case[2] + case[3]) % count == index]


# ---- one scenario ----

class Tally:
    def __init__(self, name):
        self.name, self.begin, self.is_stopped = name, time.monotonic(), False
        self.untried = 0
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self.stop)
        self.cases, self.fired, self.found = 0, 0, []
        self.stacks = {}  # every stack that was to fail: whether it did

    def stop(self, _signum, _frame):
        self.is_stopped = True

    def add_all(self, scenario, cases):
        for at, case in enumerate(cases):
            if self.is_stopped:
                self.untried += len(cases) - at
                break
            self.add_case(scenario, case)

    def add_case(self, scenario, case):
        kind, error, n, stack = case
        begin = time.monotonic()
        faults = scenario.try_case(kind, error, n, stack)
        self.cases += 1
        self.fired += scenario.area.fired
        if stack:
            self.stacks[stack] = self.stacks.get(stack, False) or bool(scenario.area.fired)
        if time.monotonic() - begin > SLOW_S:
            print(f"slow: {self.name} {kind} {error} {stack:x} {n}: {time.monotonic() - begin:.1f} s\n"
                  f"{scenario.area.trace()}", file=sys.stderr, flush=True)
        for what in faults:
            self.add_violation(what, kind=kind, error=error, stack=f"{stack:x}", n=n, where=scenario.area.trace())

    def add_violation(self, what, **where):
        self.found.append({"scenario": self.name, **where, "what": what})
        words = " ".join(str(word) for word in where.values())
        print(f"VIOLATION {self.name} {what}: {words}", file=sys.stderr, flush=True)

    def unmet(self, cases):
        """The first case of each stack that no call came from: what is done now and then only."""
        return [case for case in cases if self.stacks.get(case[3]) is False and case[2] == 1]

    def check_stacks(self):
        """What is tried at nothing finds nothing. A few depend on the moment."""
        met = sum(self.stacks.values())
        if met < MET * len(self.stacks):
            self.add_violation(f"calls came from {met} of {len(self.stacks)} stacks only", kind="end")

    def result(self, scenario, calls):
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return {"cases": self.cases, "untried": self.untried, "fired": self.fired, "ends": scenario.ends,
                "violations": self.found, "stacks": len(self.stacks),
                "stacks_met": sum(self.stacks.values()),
                "calls": {kind: known.total for kind, known in calls.items()},
                "seconds": round(time.monotonic() - self.begin),
                "cpu_s": round(sum(one.ru_utime + one.ru_stime for one in usage))}


def run_scenario(name, options):
    """In this process; tells what it finds and returns the result as a dictionary."""
    tally = Tally(name)
    with scenarios.ALL[name]() as scenario:
        if not options.sample:
            scenario.count("sync")  # what comes in the first run alone is not met again
        counts = 1 if options.sample or options.at else COUNTS
        calls = {kind: Calls(scenario, kind, counts) for kind in scenario.kinds
                 if not options.kind or kind in options.kind}
        calls = {kind: known for kind, known in calls.items() if known.total}
        rng = random.Random(f"{options.seed}/{name}")
        cases = cases_of(calls, scenario, options, rng)
        tally.add_all(scenario, cases)
        for _ in range(AGAIN):
            tally.add_all(scenario, tally.unmet(cases))
        tally.check_stacks()
        for what in scenario.end():
            tally.add_violation(what, kind="end")
        return tally.result(scenario, calls)


# ---- all of them ----

def tell(name, result):
    print(f"{name:14} {result['cases']:6} cases, {result['untried']} untried, {result['fired']:6} failed a call, "
          f"{result['stacks_met']:5} of {result['stacks']:5} stacks, {result['ends']:4} ended a "
          f"program, {len(result['violations'])} violations, {result['seconds']} s, CPU "
          f"{result['cpu_s']} s; calls: " +
          ", ".join(f"{kind} {n}" for kind, n in result["calls"].items()),
          file=sys.stderr, flush=True)


def failed_script(name, status):
    return {"cases": 0, "untried": 0, "fired": 0, "ends": 0, "stacks": 0, "stacks_met": 0, "calls": {}, "seconds": 0,
            "cpu_s": 0, "violations": [{"scenario": name, "what": f"the script ended with {status}"}]}


def merge(a, b):
    """Of two shards of a scenario."""
    whole = {what: a[what] + b[what] for what in a if what not in ("calls", "seconds")}
    return {**whole, "calls": {**a["calls"], **b["calls"]}, "seconds": max(a["seconds"], b["seconds"])}


def start_shard(name, argv, shard):
    out = tempfile.TemporaryFile("w+")
    command = [sys.executable, "-B", __file__, *argv, "--inside", "--scenario", name, "--shard",
               f"{shard[0]}/{shard[1]}"]
    return name, subprocess.Popen(command, stdout=out), out


def take_result(name, process, out):
    out.seek(0)
    lines = out.read().splitlines()
    try:
        result = json.loads(lines[-1])
    except (IndexError, ValueError):
        result = failed_script(name, process.returncode)
    tell(name, result)
    return result


def run_all(names, argv, parallel, is_whole):
    waiting = [(name, (i, count)) for name in names
               for count in [scenarios.ALL[name].shards if is_whole else 1] for i in range(count)]
    results, running = {}, []

    def stop(signum, _frame):
        waiting.clear()
        for _, process, _ in running:
            process.send_signal(signum)
    signal.signal(signal.SIGTERM, stop)
    while waiting or running:
        while waiting and len(running) < parallel:
            name, shard = waiting.pop(0)
            running.append(start_shard(name, argv, shard))
        for entry in list(running):
            name, process, out = entry
            if process.poll() is None:
                continue
            running.remove(entry)
            result = take_result(name, process, out)
            results[name] = merge(results[name], result) if name in results else result
        time.sleep(0.05)
    return results


def sentence_of(violation):
    return " ".join(str(violation.get(part, "")) for part in ("scenario", "kind", "error", "stack", "n", "what"))


def label(name, result):
    untried = f", {result['untried']:,} cases untried" if result["untried"] else ""
    return f"{name}, of {sum(result['calls'].values()):,} calls{untried}"


def summary(results, seed):
    def total(what):
        return sum(result[what] for result in results.values())
    return {"part": "torture", "seed": seed,
            "faults_by_kind": {label(name, r): r["fired"] for name, r in results.items()},
            "cases": total("cases"), "untried": total("untried"), "fired": total("fired"), "stacks": total("stacks"),
            "stacks_met": total("stacks_met"), "programs_ended": total("ends"),
            "calls": sum(sum(r["calls"].values()) for r in results.values()),
            "cpu_s": total("cpu_s"),
            "violations": [sentence_of(v) for r in results.values() for v in r["violations"]]}


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--every", action="store_true", help="each call, not only each stack")
    which.add_argument("--sample", type=int, help="so many calls")
    parser.add_argument("--per-stack", type=int, help="so many calls from one stack")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--scenario", choices=list(scenarios.ALL), action="append")
    parser.add_argument("--kind", choices=list(area.KINDS), action="append")
    parser.add_argument("--at", type=int, help="only the n-th call, of all or from the stack")
    parser.add_argument("--stack", help="only calls from there, as a violation names it")
    parser.add_argument("--shard", default="0/1", help=argparse.SUPPRESS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.shard = tuple(int(word) for word in options.shard.split("/"))
    return options


def argv_of(options):
    """What each shard is told."""
    argv = ["--seed", str(options.seed)] + (["--every"] if options.every else [])
    for name in ("sample", "per_stack", "at", "stack"):
        if getattr(options, name):
            argv += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    for kind in options.kind or []:
        argv += ["--kind", kind]
    return argv


def main():
    options = read_options()
    if not area.SHIM.exists():
        print(f"torture: skipped, {area.SHIM} is not built here")
        return SKIPPED
    if options.inside:
        print(json.dumps(run_scenario(options.scenario[0], options)))
        return 0
    names = options.scenario or [name for name, scenario in scenarios.ALL.items()
                                 if not options.sample or scenario.share > 0]
    results = run_all(names, argv_of(options), options.parallel,
                      not options.sample and not options.at)
    told = summary(results, options.seed)
    print(json.dumps(told))
    return 1 if told["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
