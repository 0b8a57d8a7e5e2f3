"""Where the cost of one job goes: ./dev gate --budget.

Two tables. Instructions by step come from callgrind and a fixed script (gate.c), and are the same on every
run; what the kernel does for the broker is not among them. So the second table is measured while no-ops
run end to end: CPU of the broker by thread and kind, as perf's samples of the CPU clock share it out (perf is
optional: without it there is CPU by thread alone), and CPU of the other processes.
"""

import collections
import fnmatch
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))

import measure  # noqa: E402
import mill  # noqa: E402

# Our own code by source file, what stands in headers too.
STEPS = (
    ("HTTP: read, parse", ("http_read*", "http_head*", "http_chunk*", "http_conn*", "http_deadline*", "http_server*",
                           "http_stream*", "http_listen*", "scan*")),
    ("HTTP: head of the answer, write", ("http_write*", "http_exchange*")),
    ("transcode JSON", ("json*", "body*", "utf8*", "base64*", "mp.*")),
    ("route, check the request", ("api*", "call*", "route*", "query*", "fields*", "job_*ead*", "job_fields*", "tasks*",
                                  "fault*", "name*", "split*", "batch*", "conf*", "unique*", "digest*")),
    ("compose the answer", ("render*", "job_render*", "job_attempts*", "show*", "rfc3339*", "id.*", "hex*", "problem*")),
    ("decide: ids, dispatch, results, waiters", (
        "core*", "dispatch*", "ids*", "queues*", "lanes*", "window*", "waiters*", "bucket*", "hosts*", "results*",
        "schedule*", "expiry*", "purge*", "timer*", "runner*", "alarm*", "lost*", "progress*", "wall_watch*")),
    ("messages, Redis commands", ("wire*", "record*", "keys*", "redis*", "carrier*")),
    ("store: own code", ("store*", "verdict*", "reader*", "states*", "backoff*", "evidence*")),
    ("buffers, lists, hashes", ("buf*", "list*", "hash*", "heap*", "span*", "clock*")),
)

# What SQLite does, by the function of ours that asked for it.
ASKED_BY = (
    ("SQLite: insert into jobs", ("submit", "store_submit", "insert_job", "insert")),
    ("SQLite: insert into live", ("store_live_insert",)),
    ("SQLite: read the row in live", ("store_live_get",)),
    ("SQLite: delete from live, insert into ends", ("store_live_end", "insert_end")),
    ("SQLite: mark as dispatched", ("store_live_enter",)),
    ("SQLite: choose from the backlog, read the job", ("refill", "encode_frame", "store_take", "take_one")),
    ("SQLite: read the job back for the answer", ("reader_fetch", "get")),
)


def step_of_file(file):
    for step, patterns in STEPS:
        if any(fnmatch.fnmatch(file, pattern) for pattern in patterns):
            return step
    return "other code of ours"


def step_of_asker(function):
    for step, functions in ASKED_BY:
        if function in functions:
            return step
    return "SQLite: begin, counts, commit, the rest"


class Lines:
    """One file of callgrind, cost by cost."""

    def __init__(self, text, copy):
        self.copy = copy
        self.known = collections.defaultdict(dict)
        self.self_costs = collections.Counter()  # (library, function, file)
        self.asked = collections.Counter()  # of SQLite: function of ours that called it → inclusive
        for line in text.splitlines():
            self.take(line)

    library = function = file = callee_library = ""
    is_call = False

    def name(self, kind, text):
        number, _, name = text.partition(" ")
        return self.known[kind].setdefault(number, self.copy.sub("", name))

    def take(self, line):
        key, _, rest = line.partition("=")
        if key == "ob":
            self.library = self.callee_library = os.path.basename(self.name("ob", rest)).partition(".so")[0]
        elif key in ("fl", "fi", "fe"):
            self.file = os.path.basename(self.name("fl", rest))
        elif key == "fn":
            self.function = self.name("fn", rest)
        elif key == "cob":
            self.callee_library = os.path.basename(self.name("ob", rest)).partition(".so")[0]
        elif key in ("cfi", "cfl"):
            self.name("fl", rest)
        elif key == "cfn":
            self.name("fn", rest)
        elif key == "calls":
            self.is_call = True
        elif line[:1] in "0123456789+-*" and line:
            self.cost(int(line.split()[1]))

    def cost(self, cost):
        if not self.is_call:
            self.self_costs[self.library, self.function, self.file] += cost
        elif self.callee_library == "libsqlite3" and self.library == "gate":
            self.asked[self.function] += cost
        self.is_call = False
        self.callee_library = self.library


def by_step(lines):
    """{step: instructions}. SQLite's share has what it calls itself, so that is taken off libc's."""
    steps = collections.Counter()
    of_sqlite = sum(lines.asked.values())
    for function, cost in lines.asked.items():
        steps[step_of_asker(function)] += cost
    for (library, _, file), cost in lines.self_costs.items():
        if library == "gate":
            steps[step_of_file(file)] += cost
        elif library == "libsqlite3":
            steps["libc: memcpy, malloc, strlen"] += cost  # see below
        elif library in ("libuv", "libhiredis"):
            steps[f"{library}: its own code"] += cost
        else:
            steps["libc: memcpy, malloc, strlen"] += cost
    steps["libc: memcpy, malloc, strlen"] -= of_sqlite
    return steps


def print_steps(name, ops, steps):
    total = sum(steps.values())
    print(f"\n{name}: {total / ops:,.0f} instructions each\n")
    print("| step | instructions | share |\n|---|---:|---:|")
    for step, cost in steps.most_common():
        if cost >= total * 0.002:
            print(f"| {step} | {cost / ops:,.0f} | {cost / total:.1%} |")


# ---- measured

def perf_shares(pid, seconds, folder):
    """{(thread, kind): share} of the broker's samples; nothing if perf can't."""
    data = pathlib.Path(folder) / "perf.data"
    done = subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-F", "4000", "-g", "-p", str(pid), "-o", data,
                           "--", "sleep", str(seconds)], check=False, capture_output=True)
    if done.returncode != 0 or not data.exists():
        return {}
    text = subprocess.run(["perf", "script", "-i", data, "-F", "comm,ip,sym,dso"], check=False, capture_output=True,
                          text=True).stdout
    shares = collections.Counter(filter(None, (sample_kind(block) for block in text.split("\n\n"))))
    total = sum(shares.values())
    return {kind: count / total for kind, count in shares.items()}


SYSCALL = re.compile(r"__x64_sys_(\w+)|\bksys_(\w+)")


def sample_kind(block):
    lines = block.strip().splitlines()
    if len(lines) < 2:
        return None
    thread = {"jobmill-broker": "loop"}.get(lines[0].strip(), lines[0].strip())
    library = lines[1].rpartition("(")[2].rstrip(")")
    if not re.search(r"kernel|\[k|vmlinux", library):
        return thread, os.path.basename(library).partition(".so")[0]
    for line in lines[1:]:
        found = SYSCALL.search(line)
        if found:
            return thread, f"kernel: {found.group(1) or found.group(2)}"
    return thread, "kernel: interrupts, scheduling"


def print_measured(seconds, connections):
    place = mill.Mill(2)
    run = measure.Generator(place, seconds, method="POST", path="/v1/jobs?wait=30", body=mill.NOOP,
                            connections=connections)
    shares = {}
    if shutil.which("perf"):
        with tempfile.TemporaryDirectory() as folder:
            shares = perf_shares(place.broker.pid, max(1, seconds - 1), folder)
    figures = run.finish()
    place.stop()
    others = ("client", "redis", "parent", "children")
    broker = sum(us for part, us in figures["cpu_us"].items() if part not in others)
    print(f"\nmeasured, {connections} in flight: {figures['rate']:,.0f} jobs/s, broker {broker:.1f} µs CPU each\n")
    print("| process, thread | kind | µs CPU each |\n|---|---|---:|")
    for (thread, kind), share in sorted(shares.items(), key=lambda item: -item[1]):
        if share >= 0.005:
            print(f"| broker, {thread} | {kind} | {share * broker:.2f} |")
    for part, us in figures["cpu_us"].items():
        if part in others or not shares:
            print(f"| {part} | | {us:.1f} |")
