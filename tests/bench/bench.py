"""./dev bench: what it costs, each row beside its yardstick in the same run.

usage: bench.py [--rounds N] [--seconds S] [--jobs N] [ROW…]

A row is one function below. Programs come from JM_BIN; nothing leaves this machine, and durability is on
as it is in use: a 2xx is fsynced. Figures are medians over the rounds, with the least and the most; CPU is
user and system time of the processes named, per request or job.
"""

import argparse
import atexit
import datetime
import http.client
import json
import os
import pathlib
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import history

BIN = pathlib.Path(os.environ.get("JM_BIN", "build/release/bin")).resolve()
TICKS = os.sysconf("SC_CLK_TCK")
NOOP = '{"task":"noop","args":{"user":4711,"name":"somebody","text":"a body of about 120 bytes, as usual"}}'


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port):
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def cpu_s(pids):
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def pss_kb(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def children(pid):
    return [int(word) for word in
            pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Server:
    """The yardstick: one process, ready when its port answers."""

    def __init__(self, name, *words):
        self.port = free_port()
        self.process = subprocess.Popen([BIN / name, *words, str(self.port)],
                                        stdout=subprocess.DEVNULL)
        wait_for_port(self.port)
        self.parts = {name: [self.process.pid]}

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Mill:
    """Redis, a broker and, with slots, a worker host, on a database of their own on the disk of the
    build tree (a temporary directory may be memory, where an fsync costs nothing)."""

    def __init__(self, slots=0, finished=0):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=BIN.parent))
        atexit.register(shutil.rmtree, self.dir, ignore_errors=True)
        self.port = free_port()
        self.redis = self.dir / "redis.sock"
        server = shutil.which("redis-server") or shutil.which("valkey-server")
        redis = self.start(server, "--port", "0", "--unixsocket", self.redis, "--save", "",
                           "--appendonly", "no")
        while not self.redis.exists():
            time.sleep(0.01)
        broker = self.start_broker()
        if finished:
            self.end(broker)
            history.fill(self.dir / "jobs.db", finished)
            broker = self.start_broker()
        self.parts = {"broker": [broker.pid], "redis": [redis.pid]}
        if slots:
            self.start_worker(slots)

    def start_broker(self):
        broker = self.start(
            BIN / "jobmill-broker", "--listen", f"127.0.0.1:{self.port}", "--redis",
            f"unix:{self.redis}", "--db", self.dir / "jobs.db", "--log-level", "warn")
        wait_for_port(self.port)
        return broker

    def start_worker(self, slots, *options):
        """Ready when a job in the first of its queues has come back."""
        worker = self.start(BIN / "jobmill-worker", "--redis", f"unix:{self.redis}", "--slots",
                            str(slots), "--log-level", "warn", *options)
        queue = options[options.index("--queues") + 1] if "--queues" in options else "default"
        answer = self.call("POST", "/v1/jobs?wait=30", {"task": "noop", "queue": queue, "priority": 9})
        assert answer["state"] == "succeeded", answer
        self.parts["worker"] = [worker.pid] + children(worker.pid)
        return worker

    def call(self, method, path, value=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = None if value is None else json.dumps(value)
        connection.request(method, path, body,
                           {} if body is None else {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 400:
            sys.exit(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text)

    def fill(self, jobs, **fields):
        """Bulk submits of no-ops, or as `fields` say; of a list each job takes the next."""
        for first in range(0, jobs, 5000):
            items = [{"task": "noop", "args": {"n": n},
                      **{name: value[n % len(value)] if isinstance(value, list) else value
                         for name, value in fields.items()}}
                     for n in range(first, min(first + 5000, jobs))]
            self.call("POST", "/v1/jobs/batch", items)

    def end(self, program):
        program.terminate()
        program.wait()
        self.programs.remove(program)

    programs = ()

    def start(self, *words):
        program = subprocess.Popen([str(word) for word in words], cwd=self.dir,
                                   stdout=subprocess.DEVNULL)
        atexit.register(program.terminate)  # also when a row fails half-way
        self.programs = [*self.programs, program]
        return program

    def stop(self):
        for program in reversed(self.programs):
            program.terminate()
            program.wait()
        shutil.rmtree(self.dir)


def load(server, seconds, **options):
    """One run of the generator: its figures, and CPU by part per request."""
    words = [BIN / "load", "--port", str(server.port), "--seconds", f"{round(seconds * 1000)}ms", "--warmup",
             "0"]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    before = {part: cpu_s(pids) for part, pids in server.parts.items()}
    run = subprocess.run(words, check=False, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"load failed: {run.stdout}{run.stderr}")
    figures = json.loads(run.stdout)
    for part, pids in server.parts.items():
        figures[f"cpu_us {part}"] = (cpu_s(pids) - before[part]) * 1e6 / figures["good"]
    for part, pids in server.parts.items():
        figures[f"pss_mb {part}"] = sum(pss_kb(pid) for pid in pids) / 1024
    return figures


def show(name, rounds):
    """Medians of several rounds of one thing."""
    median = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
    rates = [r["rate"] for r in rounds]
    print(f"  {name:34} {median['rate']:>10,.0f} /s  ({min(rates):,.0f} to {max(rates):,.0f})  "
          f"p50 {median['p50_us'] / 1000:.2f}  p99 {median['p99_us'] / 1000:.2f}  "
          f"p99.9 {median['p999_us'] / 1000:.2f} ms")
    for kind, unit in (("cpu_us", "µs CPU each"), ("pss_mb", "MB")):
        parts = [f"{key.split()[1]} {value:.1f}" for key, value in median.items()
                 if key.startswith(kind)]
        print(f"  {'':34} {unit}: {', '.join(parts)}")
    return median


def row_ping(rounds, seconds):
    """GET /ping on 64 connections, against libuv and http-parser with a fixed answer"""
    names = ["jobmill /ping", "its HTTP front alone"]
    servers = [Mill(), Server("front")]
    if (BIN / "ceiling").exists():
        names.append("ceiling")
        servers.append(Server("ceiling"))
    figures = [[] for _ in servers]
    for _ in range(rounds):
        for server, found in zip(servers, figures):
            found.append(load(server, seconds))
    for server in servers:
        server.stop()
    ours, front, *yardstick = [show(name, found) for name, found in zip(names, figures)]
    if yardstick:
        ceiling = yardstick[0]
        print(f"  ratio: rate {ours['rate'] / ceiling['rate']:.2f} (target ≥ 0.9), CPU "
              f"{ours['cpu_us broker'] / ceiling['cpu_us ceiling']:.2f} (target ≤ 1.10); the front "
              f"alone {front['cpu_us front'] / ceiling['cpu_us ceiling']:.2f}")
    else:
        print("  no yardstick: libhttp-parser is not in this Debian")


def row_submit(rounds, seconds):
    """POST /v1/jobs, one job a request, 64 connections; a new database each round"""
    def round_of(slots):
        mill = Mill(slots)
        figures = load(mill, seconds, method="POST", path="/v1/jobs", body=NOOP, expect=201)
        mill.stop()
        return figures
    idle, busy = [], []
    for _ in range(rounds):
        idle.append(round_of(0))
        busy.append(round_of(2))
    show("no worker: all go to the backlog", idle)
    show("2 workers on", busy)
    print("  target: ≥ 45,000 a second into a queue that nobody serves")


def row_noop(rounds, seconds):
    """POST /v1/jobs?wait=30 of a no-op: the result in the client's hands, both ends on disk"""
    for connections in (1, 64, 256):
        mill = Mill(2)
        figures = [load(mill, seconds, method="POST", path="/v1/jobs?wait=30", body=NOOP,
                        connections=connections) for _ in range(rounds)]
        mill.stop()
        show(f"{connections} in flight", figures)
    print("  targets: ≥ 25,000 a second with 64 to 256 in flight; alone p50 ≤ 0.75, p99 ≤ 2 ms")


def row_bulk(rounds, seconds):
    """POST /v1/jobs/batch, 1,000 jobs a request, 4 connections, against one job a request on 64"""
    bulk, single = [], []
    body = "[" + ",".join([NOOP] * 1000) + "]"
    for _ in range(rounds):
        mill = Mill()
        single.append(load(mill, seconds, method="POST", path="/v1/jobs", body=NOOP, expect=201))
        mill.stop()
        mill = Mill()
        found = load(mill, seconds, method="POST", path="/v1/jobs/batch", body=body, connections=4)
        stored = mill.call("GET", "/v1/queues/default")["jobs"]["queued"]
        assert stored >= found["good"] * 1000, stored
        for key in found:
            if key == "rate":
                found[key] *= 1000
            elif key.startswith("cpu_us"):
                found[key] /= 1000
        bulk.append(found)
        mill.stop()
    one = show("one job a request", single)
    many = show("1,000 a request (times of one)", bulk)
    print(f"  ratio {many['rate'] / one['rate']:.1f}; target: ≥ 150,000 a second")


def drain(mill, jobs, first, queue="default"):
    """Jobs a second that end, and the broker's CPU for each, between `first` and `jobs` of them from now
    on. The worker starts here, and the time until it runs at full speed is what `first` leaves out."""
    def ended():
        return mill.call("GET", f"/v1/queues/{queue}")["jobs"]["succeeded"]
    before = ended()
    worker = mill.start_worker(2, "--queues", queue)
    marks = []
    while not marks or marks[-1][1] < jobs:
        count = ended() - before
        if count >= first:
            marks.append((time.monotonic(), count, cpu_s(mill.parts["broker"])))
        time.sleep(0.005)
    mill.end(worker)
    (begin, low, before_s), (end, high, after_s) = marks[0], marks[-1]
    return (high - low) / (end - begin), (after_s - before_s) * 1e6 / (high - low)


def show_drains(name, drains):
    rates = [rate for rate, _ in drains]
    cpu = statistics.median(cpu for _, cpu in drains)
    print(f"  {name:34} {statistics.median(rates):>10,.0f} /s  ({min(rates):,.0f} to {max(rates):,.0f})  "
          f"broker {cpu:.1f} µs CPU each")
    return statistics.median(rates), cpu


def row_deep(rounds, seconds):
    """1,000,000 jobs (--jobs) waiting in one queue: how fast it drains, and another queue's end to end \
beside it, against a small backlog and none"""
    waiting = OPTIONS.jobs or 1000000
    deep, small = Mill(), Mill()
    deep.fill(waiting)
    run = min(50000, waiting // (rounds + 1))
    rates = {deep: [], small: []}
    ends = {deep: [], small: []}
    workers = [mill.start_worker(2, "--queues", "other") for mill in rates]
    for _ in range(rounds):
        for mill in rates:
            ends[mill].append(load(mill, seconds, method="POST", path="/v1/jobs?wait=30",
                                   body=NOOP.replace("{", '{"queue":"other",', 1)))
    for mill, worker in zip(rates, workers):
        mill.end(worker)
    for _ in range(rounds):
        small.fill(run)
        for mill in rates:
            rates[mill].append(drain(mill, run * 9 // 10, run // 5))
        while small.call("GET", "/v1/queues/default")["jobs"]["queued"] > 0:
            small.end(small.start_worker(2))
    memory = pss_kb(deep.parts["broker"][0]) / 1024
    for mill in rates:
        mill.stop()
    rate, cpu = (of_deep / of_small for of_deep, of_small in zip(
        show_drains(f"drain, {waiting:,} waiting", rates[deep]),
        show_drains(f"drain, {run:,} waiting", rates[small])))
    print(f"  ratio {rate:.2f} (target ≥ 0.75), broker CPU {cpu:.2f}; the broker then has {memory:.0f} MB")
    beside, alone = show(f"another queue beside {waiting:,}", ends[deep]), show("alone", ends[small])
    print(f"  ratio {beside['rate'] / alone['rate']:.2f} (target ≥ 0.9), broker CPU "
          f"{beside['cpu_us broker'] / alone['cpu_us broker']:.2f}")


def row_history(rounds, seconds):
    """10,000,000 finished jobs (--jobs) in the store: submit and end to end, against an empty store"""
    finished = OPTIONS.jobs or 10000000
    mills = {"empty": Mill(2), f"{finished:,} finished": Mill(2, finished)}
    submits = {name: [] for name in mills}
    ends = {name: [] for name in mills}
    for _ in range(rounds):
        for name, mill in mills.items():
            submits[name].append(load(mill, seconds, method="POST", path="/v1/jobs", expect=201,
                                      body=NOOP.replace("{", '{"queue":"parked",', 1)))
        for name, mill in mills.items():
            ends[name].append(load(mill, seconds, method="POST", path="/v1/jobs?wait=30", body=NOOP))
    for mill in mills.values():
        mill.stop()
    for what, figures in (("submit", submits), ("end to end", ends)):
        empty, full = [show(f"{what}, {name}", found) for name, found in figures.items()]
        print(f"  ratio {full['rate'] / empty['rate']:.2f} (target ≥ 0.9), broker CPU "
              f"{full['cpu_us broker'] / empty['cpu_us broker']:.2f}")


FILTERS = (
    "", "state=failed", "state=succeeded", "state=cancelled", "state=running", "tag=red", "tag=needle",
    "tag=red&state=failed", "tag=red&queue=rare", "error=timed_out", "error=timed_out&queue=rare",
    "queue=bulk", "queue=rare", "queue=nobody", "queue=rare&state=failed", "task=send",
    "limit_key=customer042", "limit_key=nobody", "worker=1122334455660003", "worker=00000000000000ff")


def random_place():
    """A moment within what the history holds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ",
                         time.gmtime(time.time() - random.uniform(600, history.SPAN_MS / 1000)))


def row_find(rounds, _seconds):
    """GET /v1/jobs by each filter from random places of 10,000,000 finished jobs (--jobs): one page"""
    finished = OPTIONS.jobs or 10000000
    mill = Mill(0, finished)
    random.seed(7)
    print(f"  {'filter':30} {'jobs':>5} {'p50':>8} {'p99':>8} {'most':>8} ms of {40 * rounds} pages; "
          f"{finished:,} finished")
    worst = 0
    for name in FILTERS:
        times, shown = [], []
        for _ in range(40 * rounds):
            path = f"/v1/jobs?{name}{name and '&'}created_before={random_place()}"
            begin = time.perf_counter()
            shown.append(len(mill.call("GET", path)["jobs"]))
            times.append((time.perf_counter() - begin) * 1000)
        times.sort()
        p99 = times[len(times) * 99 // 100]
        worst = max(worst, p99)
        print(f"  {name or '(none)':30} {statistics.mean(shown):>5.1f} {statistics.median(times):>8.2f} "
              f"{p99:>8.2f} {times[-1]:>8.2f}")
    mill.stop()
    print(f"  target: ≤ 50 ms a page; the worst p99 is {worst:.1f}")


def row_limits(rounds, seconds):
    """submit and drain of a queue without limits, with limits that are set high, with keys, and with \
both"""
    high = {"concurrency": 1000000, "rate": {"limit": 1000000, "period_ms": 1000},
            "max_queued": 1000000000}
    high_keys = {**high, "key_concurrency": 1000000, "key_rate": {"limit": 1000000, "period_ms": 1000}}
    keys = {"limit_key": [f"customer {n}" for n in range(100)]}
    variants = {"no limits": ({}, {}), "limits set high": (high, {}), "100 keys": ({}, keys),
                "100 keys, all limits": (high_keys, keys)}
    submits, drains = ({name: [] for name in variants} for _ in range(2))
    for _ in range(rounds):
        for name, (conf, fields) in variants.items():
            mill = Mill()
            if conf:
                mill.call("PATCH", "/v1/queues/default", conf)
            body = NOOP.replace("{", '{"limit_key":"customer",', 1) if fields else NOOP
            submits[name].append(load(mill, seconds, method="POST", path="/v1/jobs", body=body, expect=201))
            mill.fill(50000, **fields)
            drains[name].append(drain(mill, 45000, 10000))
            mill.stop()
    stored = {name: show(f"submit, {name}", found) for name, found in submits.items()}
    drained = {name: show_drains(f"drain, {name}", found) for name, found in drains.items()}
    for name in list(variants)[1:]:
        rate, cpu = (stored[name][key] / stored["no limits"][key] for key in ("rate", "cpu_us broker"))
        out, out_cpu = (drained[name][i] / drained["no limits"][i] for i in range(2))
        print(f"  ratio to no limits, {name}: submit {rate:.2f} (broker CPU {cpu:.2f}), drain {out:.2f} "
              f"(broker CPU {out_cpu:.2f})")


def urgent_times(mill, trials, backlog=0, **fields):
    """[(start, result)] in ms from the submit of urgent no-ops, each with that many others waiting."""
    def at(job, name):
        return datetime.datetime.fromisoformat(job[name].replace("Z", "+00:00")).timestamp() * 1000
    times = []
    for _ in range(trials):
        waiting = mill.call("GET", "/v1/queues/default")["jobs"]["queued"]
        if waiting < backlog:
            mill.fill(3 * backlog - waiting, **fields)
        begin = time.perf_counter()
        job = mill.call("POST", "/v1/jobs?wait=30", {"task": "noop", "priority": 9})
        assert job["state"] == "succeeded", job
        times.append((at(job, "begun_at") - at(job, "created_at"), (time.perf_counter() - begin) * 1000))
    return times


def row_urgent(rounds, _seconds):
    """a job of priority 9: until it starts and until its result is there, at full load with a deep \
backlog, against an idle mill"""
    trials = 20 * rounds
    mill = Mill(2)
    found = {"idle": urgent_times(mill, trials),
             "behind jobs of 10 ms, 5,000 and more": urgent_times(mill, trials, 5000, task="sleep",
                                                                  args={"ms": 10})}
    mill.stop()
    mill = Mill(2)
    found["behind no-ops, 100,000 and more"] = urgent_times(mill, trials, 100000)
    mill.stop()
    for name, pairs in found.items():
        for what, times in zip(("start", "result"), (sorted(column) for column in zip(*pairs))):
            print(f"  {name + ': ' + what:44} p50 {statistics.median(times):8.2f}  "
                  f"p99 {times[len(times) * 99 // 100]:8.2f}  most {times[-1]:8.2f} ms")
    print("  the design: it overtakes all but about 100 ms of work; its result comes behind those that "
          "ended before")


OPTIONS = argparse.Namespace()
ROWS = {name[4:]: function for name, function in globals().items() if name.startswith("row_")}


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description="Rows: " + ", ".join(
        f"{name} ({function.__doc__})" for name, function in ROWS.items()))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="all of them if none is named")
    parser.add_argument("--jobs", type=int, metavar="N",
                        help="how large the stores of deep, history and find are")
    options = parser.parse_args(namespace=OPTIONS)
    for name in options.rows or ROWS:
        if name not in ROWS:
            parser.error(f"there is no row '{name}'; there are {', '.join(ROWS)}")
    print(f"{os.cpu_count()} cores, medians of {options.rounds} rounds of {options.seconds} s, "
          "the generator on the same cores")
    for name in options.rows or ROWS:
        print(f"\n{name}: {ROWS[name].__doc__}")
        ROWS[name](options.rounds, options.seconds)


if __name__ == "__main__":
    main()
