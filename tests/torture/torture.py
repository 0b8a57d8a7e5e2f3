"""Torture: the n-th allocation, write, sync, read, connect, … of a program fails, one at a time.

usage: torture.py [--sample CASES] [--seed N] [--parallel N] [--scenario NAME] [--kind NAME] [--at N]

A scenario is a short piece of life: a broker that serves a dozen requests, one that starts and
stops, a worker, its children, the tool, the client library. It runs once to count its calls of each
kind, then once for each of them, and that call fails (shim.c says so to the program through the page
of area.h). With --sample only so many cases are tried, chosen by the seed.

What a case may end in: an answer that is true, an error answer, a connection that is cut, a program
that ends with a sentence; then all goes on, if need be after a new start, and every job that was
accepted ends. What it may not: a hang, a report of a sanitizer, a failed assertion, a lost job, an
answer that is false, a program that ends in silence. (A library's own abort for want of memory is an
end, too: libuv has no other.)

The last line is a summary in JSON; exit 1 if it lists a violation.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import area
import scenarios

SKIPPED = 77
SLOW_S = 4  # a case that takes longer is told, since it costs the run


def cases_of(counts, sample, rng):
    """[(kind, error name, n)], all or a sample of them."""
    every = [(kind, error, n) for kind in counts for error in area.ERRORS[kind]
             for n in range(1, counts[kind] + 1)]
    if sample is None or len(every) <= sample:
        return every
    # Each kind has its turn: an allocation in five, for they are the many.
    by_kind = {}
    for case in every:
        by_kind.setdefault(case[:2], []).append(case)
    chosen = []
    for cases in by_kind.values():
        rng.shuffle(cases)
    while len(chosen) < sample:
        for (kind, _), cases in by_kind.items():
            chosen += cases[:5 if kind == "alloc" else 1]
            del cases[:5 if kind == "alloc" else 1]
    return chosen[:sample]


def run_scenario(name, options):
    """In this process; prints what it finds and returns (cases, violations, ends)."""
    found, rng = [], random.Random(f"{options.seed}/{name}")
    done, fired = 0, 0
    begin = time.monotonic()
    with scenarios.ALL[name]() as scenario:
        counts = {kind: scenario.count(kind) for kind in scenario.kinds
                  if options.kind in (None, kind)}
        sample = options.sample and max(1, options.sample * scenario.share // 100)
        cases = cases_of({k: n for k, n in counts.items() if n}, sample, rng)
        if options.at:
            cases = [case for case in cases if case[2] == options.at]
        for kind, error, n in cases:
            case_begin = time.monotonic()
            faults = scenario.try_case(kind, error, n)
            if time.monotonic() - case_begin > SLOW_S:
                print(f"slow: {name} {kind} {error} {n}: {time.monotonic() - case_begin:.1f} s\n"
                      f"{scenario.area.trace()}",
                      file=sys.stderr, flush=True)
            done += 1
            fired += scenario.area.fired
            for what in faults:
                found.append({"scenario": name, "kind": kind, "error": error, "n": n, "what": what,
                              "where": scenario.area.trace()})
                print(f"VIOLATION {name} {kind} {error} {n}: {what}", file=sys.stderr)
            if faults:
                print(scenario.area.trace(), file=sys.stderr, flush=True)
        for what in scenario.end():
            found.append({"scenario": name, "kind": "end", "what": what})
            print(f"VIOLATION {name} at the end: {what}", file=sys.stderr)
        ends = scenario.ends
    print(f"{name:14} {done:6} cases, {fired:6} failed a call, {ends:4} ended a program, "
          f"{len(found)} violations, {time.monotonic() - begin:.0f} s; calls: " +
          ", ".join(f"{kind} {n}" for kind, n in counts.items() if n), file=sys.stderr, flush=True)
    return {"cases": done, "fired": fired, "ends": ends, "violations": found}


def run_in_process_of_its_own(name, argv):
    out = tempfile.TemporaryFile("w+")
    command = [sys.executable, "-B", __file__, *argv, "--inside", "--scenario", name]
    return name, subprocess.Popen(command, stdout=out), out


def run_all(names, argv, parallel):
    results, waiting, running = {}, list(names), []
    while waiting or running:
        while waiting and len(running) < parallel:
            running.append(run_in_process_of_its_own(waiting.pop(0), argv))
        for entry in list(running):
            name, process, out = entry
            if process.poll() is None:
                continue
            running.remove(entry)
            out.seek(0)
            lines = out.read().splitlines()
            try:
                results[name] = json.loads(lines[-1])
            except (IndexError, ValueError):
                results[name] = {"cases": 0, "fired": 0, "ends": 0, "violations": [
                    {"scenario": name, "what": f"the script ended with {process.returncode}"}]}
        time.sleep(0.05)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--scenario", choices=list(scenarios.ALL))
    parser.add_argument("--kind", choices=list(area.KINDS))
    parser.add_argument("--at", type=int)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not area.SHIM.exists():
        print(f"torture: skipped, {area.SHIM} is not built here")
        return SKIPPED
    if options.inside:
        print(json.dumps(run_scenario(options.scenario, options)))
        return 0
    names = [options.scenario] if options.scenario else list(scenarios.ALL)
    argv = ["--seed", str(options.seed)]
    argv += ["--sample", str(options.sample)] if options.sample else []
    argv += ["--kind", options.kind] if options.kind else []
    argv += ["--at", str(options.at)] if options.at else []
    results = run_all(names, argv, options.parallel)
    violations = [v for result in results.values() for v in result["violations"]]
    print(json.dumps({"part": "torture", "seed": options.seed,
                      "faults_by_kind": {name: r["fired"] for name, r in results.items()},
                      "cases": sum(r["cases"] for r in results.values()),
                      "fired": sum(r["fired"] for r in results.values()),
                      "programs_ended": sum(r["ends"] for r in results.values()),
                      "violations": [" ".join(str(v.get(part, "")) for part in
                                              ("scenario", "kind", "error", "n", "what"))
                                     for v in violations]}))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
