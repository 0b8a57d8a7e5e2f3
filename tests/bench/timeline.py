"""./dev timeline: the way of one no-op job on an idle machine, system call by system call.

usage: timeline.py [--jobs N] [--all]

Submits jobs that wait, one after the other, with a mill of its own, while perf records the system calls of all
who take part, the client among them; shows the one that was back first (all calls of it with --all, else those
that pass something on or wait for the disk), and how many calls of each kind a job costs. Recording slows each
call by a microsecond or two, so the times untraced are told beside it. Without perf, or the right to it, it
uses strace, which leaves the order and the counts true, but not the times.
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

import mill

SHOWN = {"write", "sendto", "recvfrom", "futex", "fdatasync", "epoll_wait", "read"}
PERF = re.compile(r"^\s*(?P<at>\d+\.\d+) \(\s*(?P<took>[\d.]*)(?: ms)?\s*\): \S*/(?P<tid>\d+)\s+"
                  r"(?:\.\.\. \[continued\]: )?(?P<name>\w+)\((?P<words>.*?)\)*\s*(?:= (?P<value>-?\w+).*|\.\.\.)$")
STRACE = re.compile(r"^(?P<tid>\d+) +(?P<at>\d+\.\d+) (?:<\.\.\. )?(?P<name>\w+)(?P<words>.*?)"
                    r"(?:= (?P<value>-?\w+|\?).* <(?P<took>[\d.]+)>|<unfinished \.\.\.>)$")


class Client:
    """One connection, and one request again and again."""

    def __init__(self, port):
        body = mill.NOOP.encode()
        self.request = (b"POST /v1/jobs?wait=30 HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
                        b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def submit(self):
        """Returns the microseconds until the answer."""
        begin = time.perf_counter()
        self.socket.sendall(self.request)
        answer = self.socket.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        return (time.perf_counter() - begin) * 1e6

    def submit_all(self, jobs):
        return [self.submit() for _ in range(jobs)]


def threads(mill_of_one):
    """{thread: who it is}, of all that a job passes through."""
    names = {os.getpid(): "client", mill_of_one.parts["redis"][0]: "redis",
             mill_of_one.parts["children"][0]: "worker"}
    broker = mill_of_one.broker.pid
    others = sorted(int(task) for task in os.listdir(f"/proc/{broker}/task"))
    for tid in others:
        word = pathlib.Path(f"/proc/{broker}/task/{tid}/comm").read_text().strip()
        names[tid] = "loop" if tid == broker else word.removeprefix("jm-")
    return names


def record(folder, pids, run):
    """The lines that tell of the calls while `run` ran, their pattern, and milliseconds in a unit of time."""
    out = folder / "trace"
    with_perf = shutil.which("perf") and subprocess.run(
        ["perf", "trace", "record", "-o", out, "true"], check=False, capture_output=True).returncode == 0
    if with_perf:
        words = ["perf", "trace", "record", "-o", out, "-p", ",".join(str(pid) for pid in pids)]
    else:
        words = ["strace", "-f", "-ttt", "-T", "-o", out] + [word for pid in pids for word in ("-p", str(pid))]
    tracer = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.5)  # neither says when it has attached to all
    run()
    tracer.send_signal(signal.SIGINT)
    tracer.wait()
    if not with_perf:
        return out.read_text(errors="replace").splitlines(), STRACE, 1e6
    text = subprocess.run(["perf", "trace", "-T", "-i", out], check=True, capture_output=True, text=True,
                          errors="replace")
    return (text.stdout or text.stderr).splitlines(), PERF, 1e3


Call = collections.namedtuple("Call", "at who name words end value")


def read_calls(lines, pattern, unit, names):
    """In the order of their beginnings, in microseconds. A call that waits stands in two lines."""
    calls, begun = [], {}
    for line in lines:
        found = pattern.match(line)
        if found is None or int(found["tid"]) not in names:
            continue
        tid, at, took = int(found["tid"]), float(found["at"]) * unit, found["took"]
        if not took:
            begun[tid] = (at, found["words"])
            continue
        at, words = begun.pop(tid, (at, found["words"]))
        took_us = float(took) * unit
        calls.append(Call(at, names[tid], found["name"], words, at + took_us, found["value"]))
    return sorted(calls)


def split_jobs(calls):
    """The calls of each job: those that ended between the client's sendto and the end of its recvfrom."""
    sent = [call.at for call in calls if call.who == "client" and call.name == "sendto"]
    back = [call.end for call in calls if call.who == "client" and call.name == "recvfrom"]
    jobs = []
    for begin in sent:
        end = next((end for end in back if end > begin), None)
        if end is not None:
            jobs.append((end - begin, begin, [call for call in calls if begin <= call.end <= end]))
    return jobs


def has_waited(call):
    """Then its end is what counts: that is where somebody wakes."""
    return (call.name in ("epoll_wait", "recvfrom") or (call.name == "futex" and "WAIT" in call.words) or
            (call.who == "worker" and call.name == "read"))


def shown_at(call):
    return call.end if has_waited(call) else call.at


def show(begin, calls, everything):
    print(f"  {'at':>7} {'took':>7}  who")
    for call in sorted(calls, key=shown_at):
        if everything or call.name in SHOWN:
            took = "wakes" if has_waited(call) else f"{call.end - call.at:.0f}"
            print(f"  {shown_at(call) - begin:7.0f} {took:>7}  {call.who:12} {call.name} = {call.value}")


def show_counts(calls, jobs):
    by_who = collections.defaultdict(collections.Counter)
    for call in calls:
        by_who[call.who][call.name] += 1
    for who, names in sorted(by_who.items(), key=lambda pair: -sum(pair[1].values())):
        listed = ", ".join(f"{name} {count / jobs:.1f}" for name, count in names.most_common()
                           if count / jobs >= 0.05)
        print(f"  {who:12} {sum(names.values()) / jobs:5.1f}  {listed}")


def main():
    parser = argparse.ArgumentParser(prog="./dev timeline", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--all", action="store_true", help="all calls, not only the hand-overs and the disk")
    options = parser.parse_args()
    one = mill.Mill(1)
    client = Client(one.port)
    client.submit_all(options.jobs)
    plain = sorted(client.submit_all(options.jobs))
    names = threads(one)
    pids = [os.getpid(), one.broker.pid, *one.parts["redis"], *one.parts["children"]]
    with tempfile.TemporaryDirectory(prefix="timeline-", dir=mill.BIN.parent) as folder:
        found = record(pathlib.Path(folder), pids, lambda: client.submit_all(options.jobs))
    calls = read_calls(*found, names)
    jobs = split_jobs(calls)
    mill.stop_all()
    took, begin, of_one = min(jobs)
    print(f"untraced: p50 {statistics.median(plain):.0f}, least {plain[0]:.0f} µs; traced with "
          f"{'perf' if found[1] is PERF else 'strace'}: p50 {statistics.median(job[0] for job in jobs):.0f}, "
          f"least {took:.0f} µs, which is this one (µs):")
    show(begin, of_one, options.all)
    print(f"\nsystem calls a job, of {len(jobs)}:")
    show_counts([call for call in calls if call.at >= jobs[0][1]], len(jobs))


if __name__ == "__main__":
    main()
