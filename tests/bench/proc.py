"""What the kernel knows of a running program: CPU by thread, memory, bytes written, system calls."""

import os
import pathlib
import re
import shutil
import signal
import subprocess

TICKS = os.sysconf("SC_CLK_TCK")


def read(path):
    """The text of a file of /proc, or nothing if its process has gone."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid):
    return [int(word) for word in read(f"/proc/{pid}/task/{pid}/children").split()]


def thread_cpu_s(pid, tid):
    """On a CPU so far: in nanoseconds where the kernel counts them, or in ticks."""
    exact = read(f"/proc/{pid}/task/{tid}/schedstat").split()
    if exact:
        return int(exact[0]) / 1e9
    fields = read(f"/proc/{pid}/task/{tid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS if fields else 0.0


def threads(pid):
    """[(id, name)]: the first thread is `loop`, one that nobody named belongs to libuv's `pool`."""
    try:
        ids = sorted(int(entry) for entry in os.listdir(f"/proc/{pid}/task"))
    except FileNotFoundError:
        return []
    program = read(f"/proc/{pid}/comm").strip()
    found = []
    for tid in ids:
        name = read(f"/proc/{pid}/task/{tid}/comm").strip()
        found.append((tid, "loop" if tid == pid else "pool" if name in (program, "libuv-worker") else name))
    return found


def cpu_s(parts, by_thread=("broker",)):
    """{part: seconds}; of the parts in `by_thread` each thread by itself."""
    total = {}
    for part, pids in parts.items():
        for pid in pids:
            for tid, thread in threads(pid):
                name = thread if part in by_thread else part
                total[name] = total.get(name, 0) + thread_cpu_s(pid, tid)
    return total


def memory_kb(pid):
    """{"Pss": …, "Private_Dirty": …, …}"""
    return {name: int(value) for name, value in
            re.findall(r"^(\w+): +(\d+) kB", read(f"/proc/{pid}/smaps_rollup"), re.M)}


def pss_mb(pids):
    return sum(memory_kb(pid).get("Pss", 0) for pid in pids) / 1024


def private_mb(pid):
    found = memory_kb(pid)
    return (found.get("Private_Clean", 0) + found.get("Private_Dirty", 0)) / 1024


def written_bytes(pids):
    """What these made the disk write."""
    return sum(int(value) for pid in pids
               for value in re.findall(r"^write_bytes: (\d+)", read(f"/proc/{pid}/io"), re.M))


class Syscalls:
    """Counts the system calls of some processes, of a broker by thread: with perf, which does not slow them, or else with
    strace, which does (then batches are other ones). `tool` is None if there is neither."""

    def __init__(self, parts):
        self.threads = {}
        for part, pids in parts.items():
            for pid in pids:
                for tid, thread in threads(pid):
                    self.threads.setdefault(thread if part == "broker" else part, []).append(str(tid))
        self.tool = next((tool for tool in ("perf", "strace") if self.works(tool)), None)

    @staticmethod
    def works(tool):
        if shutil.which(tool) is None:
            return False
        words = {"perf": ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "true"],
                 "strace": ["strace", "-c", "-o", "/dev/null", "true"]}[tool]
        run = subprocess.run(words, check=False, capture_output=True, text=True)
        return run.returncode == 0 and "<not" not in run.stderr

    def start(self):
        self.runs = {}
        for part, tids in self.threads.items():
            if self.tool == "perf":
                words = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-t", ",".join(tids)]
            else:
                words = ["strace", "-c"] + [word for tid in tids for word in ("-p", tid)]
            self.runs[part] = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                               text=True)

    def stop(self):
        """{part: calls}"""
        counts = {}
        for part, run in self.runs.items():
            run.send_signal(signal.SIGINT)
            text = run.communicate()[1]
            found = re.search(r"^(\d+),", text, re.M) if self.tool == "perf" else \
                re.search(r"^\s*100\.00\s+\S+\s+(?:\d+\s+)?(\d+).*total$", text, re.M)
            counts[part] = int(found[1]) if found else None
        return counts
