"""What a row measures: a mill of our own programs, or another server beside it. Nothing is shared between
two mills, and the database is on the disk of the build tree: a temporary directory may be memory, where an
fsync costs nothing."""

import atexit
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

import history
import proc

BIN = pathlib.Path(os.environ.get("JM_BIN", "build/release/bin")).resolve()
NOOP = '{"task":"noop","args":{"user":4711,"name":"somebody","text":"a body of about 120 bytes, as usual"}}'

running = []  # whatever has a stop()


def stop_all():
    """Also what a row that failed has left."""
    while running:
        running[-1].stop()


atexit.register(stop_all)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(is_true, seconds, what):
    """What `is_true` returned when that was true at last."""
    end = time.monotonic() + seconds
    while not (found := is_true()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.002)
    return found


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def with_fields(body, **fields):
    """A JSON object with some more members in front."""
    return "{" + "".join(f'"{name}":{json.dumps(value)},' for name, value in fields.items()) + body[1:]


def answers_ok(port, path):
    """Whether a GET of it is 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def end_all(programs):
    """The last started first; also those that are stopped (SIGSTOP)."""
    for program in reversed(programs):
        program.send_signal(signal.SIGCONT)
        program.terminate()
        try:
            program.wait(30)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


class Server:
    """A yardstick: one program, ready when it answers /ping; its last argument is the port."""

    def __init__(self, name, *words, env=None):
        self.name = name
        self.port = free_port()
        self.process = subprocess.Popen([str(word) for word in words] + [str(self.port)], env=env,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        running.append(self)
        wait_until(lambda: answers_ok(self.port, "/ping"), 20, f"{name} serves")

    @property
    def parts(self):
        """Its workers may come later."""
        return {self.name: [self.process.pid, *proc.children(self.process.pid)]}

    def stop(self):
        running.remove(self)
        self.process.terminate()
        self.process.wait()


class Mill:
    """Redis, a broker and, with slots, a worker host. Of each, `parts` has the processes."""

    def __init__(self, slots=0, finished=0):
        self.programs = []
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=BIN.parent))
        running.append(self)
        self.port = free_port()
        self.redis = self.dir / "redis.sock"
        self.database = self.dir / "jobs.db"
        self.start_redis()
        if finished:
            copy_database(template(finished), self.database)
        self.start_broker()
        if slots:
            self.start_worker(slots)

    # ---- its programs

    def start(self, *words):
        program = subprocess.Popen([str(word) for word in words], cwd=self.dir, stdout=subprocess.DEVNULL)
        self.programs.append(program)
        return program

    def start_redis(self):
        server = shutil.which("redis-server") or shutil.which("valkey-server")
        redis = self.start(server, "--port", "0", "--unixsocket", self.redis, "--save", "",
                           "--appendonly", "no")
        wait_until(self.redis.exists, 10, "Redis serves")
        self.parts = {"broker": [], "redis": [redis.pid]}

    def start_broker(self):
        self.broker = self.start(
            BIN / "jobmill-broker", "--listen", f"127.0.0.1:{self.port}", "--redis",
            f"unix:{self.redis}", "--db", self.database, "--log-level", "warn")
        wait_until(lambda: answers(self.port), 60, "the broker serves")
        self.parts["broker"] = [self.broker.pid]

    def start_worker(self, slots, *options):
        """Ready when a job in the first of its queues has come back."""
        worker = self.start(BIN / "jobmill-worker", "--redis", f"unix:{self.redis}", "--slots",
                            str(slots), "--log-level", "warn", *options)
        queue = options[options.index("--queues") + 1] if "--queues" in options else "default"
        answer = self.call("POST", "/v1/jobs?wait=30", {"task": "noop", "queue": queue.split(",")[0],
                                                        "priority": 9})
        assert answer["state"] == "succeeded", answer
        self.parts["parent"] = self.parts.get("parent", []) + [worker.pid]
        self.parts["children"] = self.parts.get("children", []) + proc.children(worker.pid)
        return worker

    def end(self, program, how=signal.SIGTERM):
        program.send_signal(how)
        program.wait()
        self.programs.remove(program)
        for part in ("parent", "children"):
            self.parts[part] = [pid for pid in self.parts.get(part, []) if proc.read(f"/proc/{pid}/stat")]

    def stop(self):
        running.remove(self)
        end_all(self.programs)
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- talking to them

    def call(self, method, path, value=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=70)
        body = None if value is None else json.dumps(value)
        connection.request(method, path, body, {} if body is None else {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text)

    def metrics(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=70)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return {name: float(value) for name, value in re.findall(r"^jobmill_(\S+) (\S+)$", text, re.M)}

    def counts(self, queue="default"):
        return self.call("GET", f"/v1/queues/{queue}")["jobs"]

    def is_empty(self, queue="default"):
        counts = self.counts(queue)
        return counts["queued"] + counts["running"] == 0

    def command(self, *words):
        """One command to Redis, by its own client program."""
        tool = shutil.which("redis-cli") or shutil.which("valkey-cli")
        return subprocess.run([tool, "-s", str(self.redis), *words], check=True, capture_output=True,
                              text=True).stdout

    def redis_calls(self):
        """{command: calls}"""
        return {name: int(calls) for name, calls in
                re.findall(r"^cmdstat_([^:]+):calls=(\d+)", self.command("INFO", "commandstats"), re.M)}


# ---- databases with a history

templates = {}


def template(finished):
    """A database with so many finished jobs, made once in a run of the bench."""
    if finished not in templates:
        path = BIN.parent / f"bench-history-{os.getpid()}-{finished}.db"
        atexit.register(path.unlink, missing_ok=True)
        mill = Mill()
        mill.end(mill.broker)
        copy_database(mill.database, path)
        mill.stop()
        history.fill(path, finished)
        templates[finished] = path
    return templates[finished]


def copy_database(source, target):
    assert not source.with_name(source.name + "-wal").exists() or \
        source.with_name(source.name + "-wal").stat().st_size == 0, "an unclean end"
    subprocess.run(["cp", "--reflink=auto", str(source), str(target)], check=True)
    os.sync()  # or it is written while something is measured
