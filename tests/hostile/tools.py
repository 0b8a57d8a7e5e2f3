"""What the attacks share: a mill on a TCP port too, raw Redis in pipelines, what the broker uses of
memory and descriptors, and a good client in a process of its own that lives beside every attack."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import sqlite3
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "integration"))

import harness  # noqa: E402
import mp  # noqa: E402

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
HOSTS = "jm:hosts"
RESULTS = "jm:{r:0}"
QUEUE = "jm:{q:default}"


def id_number(text):
    """A job's id as the number that travels through Redis."""
    number = 0
    for letter in text:
        number = number * 32 + ALPHABET.index(letter)
    return number


def event(kind, job_id, attempt=1, version=1, **fields):
    """An event by the names of mp.EVENT; values may be of any type, also of a wrong one."""
    pairs = {0: version, 1: kind, 2: job_id, 3: attempt}
    pairs.update({mp.EVENT.index(name): value for name, value in fields.items()})
    return mp.pack(pairs)


def beat(host, seq=1, version=1, **fields):
    pairs = {0: version, 1: host, 2: seq}
    pairs.update({mp.BEAT.index(name): value for name, value in fields.items()})
    return mp.pack(pairs)


class Mill(harness.Mill):
    @property
    def address(self):
        return str(self.socket_path)

    def redis_pipe(self, commands):
        """Many commands on one connection, in one write; the answers."""
        import socket
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(harness.DEADLINE_S)
            s.connect(str(self.redis_path))
            with s.makefile("rb") as answers:
                s.sendall(b"".join(encode(words) for words in commands))
                return [harness.read_resp(answers) for _ in commands]

    def flood(self, key, entries, verb="LPUSH"):
        """Pushes entries of an iterable, a thousand in a command."""
        batch = []
        for entry in entries:
            batch.append(entry)
            if len(batch) == 1000:
                self.redis_pipe([[verb, key, *batch]])
                batch = []
        if batch:
            self.redis_pipe([[verb, key, *batch]])

    def metric(self, name):
        """A figure of /metrics, with its labels as they are written there."""
        text = self.get("/metrics").body.decode()
        found = re.search(rf"^jobmill_{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def wait_metric(self, name, at_least, deadline_s=harness.DEADLINE_S):
        return harness.wait_for(lambda: self.metric(name) >= at_least, f"{name} ≥ {at_least}",
                                deadline_s)

    def quarantine(self):
        """How many entries are set aside."""
        with contextlib.closing(sqlite3.connect(f"file:{self.db_path}?mode=ro", uri=True)) as db:
            return db.execute("SELECT count(*) FROM quarantine").fetchone()[0]

    def good_job(self, wait=30):
        """What an honest client sees, whatever goes on."""
        job = self.submit("echo", [1, "two"], wait=wait)
        if job["state"] != "succeeded" or job["result"] != [1, "two"]:
            raise harness.Failure(f"a good job came to a bad end: {job}")
        return job

    # ---- what the broker uses ----

    def memory(self, program=None):
        """Bytes of memory that are in use now (PSS)."""
        pid = (program or self.broker).pid
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        raise harness.Failure("no Pss")

    def peak_memory(self, program=None):
        """The most that was resident since reset_peak."""
        pid = (program or self.broker).pid
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise harness.Failure("no VmHWM")

    def reset_peak(self, program=None):
        with contextlib.suppress(PermissionError):
            pathlib.Path(f"/proc/{(program or self.broker).pid}/clear_refs").write_text("5")

    def files(self, program=None):
        return len(os.listdir(f"/proc/{(program or self.broker).pid}/fd"))


class TcpMill(Mill):
    """Its broker listens on a TCP port, where connections can be reset and vanish."""

    port = None

    def start_broker(self, *options, waits=True, files=None):
        """With `files`: so many descriptors it may have."""
        limit = ["prlimit", f"--nofile={files}:{files}"] if files else []
        self.broker = self.start("broker", *limit, harness.BIN / "jobmill-broker", "--listen",
                                 "127.0.0.1:0", "--db", self.db_path, "--redis",
                                 f"unix:{self.redis_path}", *options)
        found = harness.wait_for(lambda: re.search(r"listening on http://127.0.0.1:(\d+)",
                                                   self.broker.err), "the broker listens")
        self.port = int(found[1])
        if waits:
            harness.wait_for(self.is_broker_up, "the broker answers")
        return self.broker

    def connection(self, timeout_s=90):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"


def encode(words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Good:
    """good.py beside an attack. Fails if it saw anything but success."""

    def __init__(self, mill, rate=100):
        self.mill = mill
        self.rate = rate

    def __enter__(self):
        script = pathlib.Path(__file__).with_name("good.py")
        self.process = subprocess.Popen([sys.executable, "-B", script, self.mill.address,
                                         str(self.rate)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()  # it has had its first answer
        return self

    def __exit__(self, kind, error, trace):
        out, _ = self.process.communicate(timeout=90)
        self.seen = json.loads(out.strip().splitlines()[-1])
        if kind is None and (self.seen["errors"] or self.seen["count"] == 0):
            raise harness.Failure(f"a good client beside the attack: {self.seen}")
