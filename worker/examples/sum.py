#!/usr/bin/env python3
"""A task that tells how far it is, and what is to follow should it fail: adds up the numbers that a
file below the tasks directory holds, one on each line.

    jobmill submit sum file=numbers.txt --wait

On a terminal that shows a bar, from the lines that go to descriptor 3 (as $JOBMILL_CONTROL_FD says).
There, too, goes whether another attempt makes sense: none if the file is wrong, a later one if it is
not there yet. Whoever says nothing is tried again after the job's own pauses.
"""

import json
import os
import sys
import time

CONTROL = int(os.environ.get("JOBMILL_CONTROL_FD", "3"))
PAUSE_S = 0.2  # between two reports; a heartbeat a second takes the last one


def tell(line):
    os.write(CONTROL, line.encode() + b"\n")


def fail(message, retry):
    tell("retry " + retry)
    print(message, file=sys.stderr)
    return 1


def add_up(lines, size):
    total, count, done, next_report = 0, 0, 0, 0.0
    for count, line in enumerate(lines, 1):
        try:
            total += int(line)
        except ValueError:
            return fail(f"line {count} is no number", "never")
        done += len(line)
        if time.monotonic() >= next_report:
            tell(f"progress {done} {size} {count} numbers")
            next_report = time.monotonic() + PAUSE_S
    json.dump({"sum": total, "numbers": count}, sys.stdout)
    return 0


def main():
    args = json.load(sys.stdin)
    name = args.get("file") if isinstance(args, dict) else None
    if not isinstance(name, str) or "/" in name:
        return fail("parameter 'file' must be a plain file name", "never")
    try:
        with open(name, "rb") as lines:
            return add_up(lines, os.fstat(lines.fileno()).st_size)
    except FileNotFoundError:
        return fail(f"{name} is not there yet", "after 60000")


if __name__ == "__main__":
    sys.exit(main())
