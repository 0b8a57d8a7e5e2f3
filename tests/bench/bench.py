"""./dev bench: what it costs, each row beside its yardstick in the same run.

usage: bench.py [--rounds N] [--seconds S] [ROW…]

A row is one function below. Programs come from JM_BIN; nothing leaves this machine, and durability is on
as it is in use: a 2xx is fsynced. Figures are medians over the rounds, with the least and the most; CPU is
user and system time of the processes named, per request or job.
"""

import argparse
import atexit
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

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

    def __init__(self, slots=0):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=BIN.parent))
        self.port = free_port()
        redis = self.dir / "redis.sock"
        server = shutil.which("redis-server") or shutil.which("valkey-server")
        self.programs = [self.start(server, "--port", "0", "--unixsocket", redis, "--save", "",
                                    "--appendonly", "no")]
        while not redis.exists():
            time.sleep(0.01)
        self.programs.append(self.start(
            BIN / "jobmill-broker", "--listen", f"127.0.0.1:{self.port}", "--redis",
            f"unix:{redis}", "--db", self.dir / "jobs.db", "--log-level", "warn"))
        wait_for_port(self.port)
        self.parts = {"broker": [self.programs[1].pid], "redis": [self.programs[0].pid]}
        if slots:
            worker = self.start(BIN / "jobmill-worker", "--redis", f"unix:{redis}", "--slots",
                                str(slots), "--log-level", "warn")
            self.programs.append(worker)
            subprocess.run([BIN / "jobmill", "submit", "noop", "--wait=10"], check=True,
                           stdout=subprocess.DEVNULL,
                           env={**os.environ, "JOBMILL_URL": f"http://127.0.0.1:{self.port}"})
            self.parts["worker"] = [worker.pid] + children(worker.pid)

    def start(self, *words):
        program = subprocess.Popen([str(word) for word in words], cwd=self.dir,
                                   stdout=subprocess.DEVNULL)
        atexit.register(program.terminate)  # also when a row fails half-way
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


ROWS = {name[4:]: function for name, function in globals().items() if name.startswith("row_")}


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description="Rows: " + ", ".join(
        f"{name} ({function.__doc__})" for name, function in ROWS.items()))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="all of them if none is named")
    options = parser.parse_args()
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
