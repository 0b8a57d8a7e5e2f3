"""Starts the real programs for a test, each test with a Redis, a broker and workers of its own on
unix sockets in a temporary directory, and sees to it that all of them end well.

    with harness.Mill() as mill:
        mill.start_redis()
        mill.start_broker()
        mill.start_worker("--test-tasks")
        answer = mill.post("/v1/jobs?wait=10", {"task": "echo", "args": 1})
        assert answer.status == 200 and answer.value["result"] == 1

At the end of the block every program is stopped with SIGTERM and has to exit with 0, no sanitizer
may have complained, and no process may be left. A program that the test itself killed or ended is
not asked for its status. If the test or one of these checks fails, what the programs said is printed.
"""

import ctypes
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BIN = pathlib.Path(os.environ.get("JM_BIN", "build/release/bin")).resolve()
SOURCE = pathlib.Path(os.environ.get("JM_SOURCE", pathlib.Path(__file__).parents[2])).resolve()
DEADLINE_S = 30  # for any one event; long, since sanitizers and a loaded machine are slow
SLOWNESS = int(os.environ.get("JM_SLOWNESS", 1))  # every deadline is so many times as long

PR_SET_CHILD_SUBREAPER = 36


class Failure(AssertionError):
    """What was expected did not happen."""


def wait_for(condition, what, deadline_s=DEADLINE_S):
    """Asks `condition` again and again until it gives something true, which is returned."""
    deadline_s *= SLOWNESS
    end = time.monotonic() + deadline_s
    pause_s = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {deadline_s} s")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.05)


def own_children():
    """The processes whose parent we are, with their command lines. We are a subreaper, so that they
    include whatever a program has left behind."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found[int(entry.name)] = (fields[0], b" ".join(words).decode("utf-8", "replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


class Program:
    """One running program with its output in files."""

    def __init__(self, name, command, directory, env=None, stdin=subprocess.DEVNULL):
        self.name = name
        self.command = [str(word) for word in command]
        self.out_path = directory / f"{name}.out"
        self.err_path = directory / f"{name}.err"
        self.is_expected_to_fail = False
        full_env = dict(os.environ)
        options = "exitcode=99:abort_on_error=0"
        full_env["ASAN_OPTIONS"] = options + ":detect_leaks=1:" + full_env.get("ASAN_OPTIONS", "")
        full_env["TSAN_OPTIONS"] = options + ":halt_on_error=1:" + full_env.get("TSAN_OPTIONS", "")
        full_env["UBSAN_OPTIONS"] = "print_stacktrace=1:" + full_env.get("UBSAN_OPTIONS", "")
        full_env.update(env or {})
        with open(self.out_path, "ab") as out, open(self.err_path, "ab") as err:
            self.process = subprocess.Popen(self.command, stdin=stdin, stdout=out,
                                            stderr=err, cwd=directory, env=full_env)

    @property
    def pid(self):
        return self.process.pid

    @property
    def out(self):
        return self.out_path.read_text("utf-8", "replace")

    @property
    def err(self):
        return self.err_path.read_text("utf-8", "replace")

    def is_running(self):
        return self.process.poll() is None

    def send(self, signum):
        self.process.send_signal(signum)

    def wait(self, deadline_s=DEADLINE_S):
        """Waits for its end and returns its exit status (negative: the signal that killed it)."""
        deadline_s *= SLOWNESS
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} has not ended within {deadline_s} s") from None

    def stop(self, deadline_s=DEADLINE_S):
        if self.is_running():
            self.send(signal.SIGTERM)
        return self.wait(deadline_s)

    def kill(self):
        """As a crash would: no word of farewell."""
        self.is_expected_to_fail = True
        if self.is_running():
            self.process.kill()
        self.process.wait()

    def complaint(self):
        """What a sanitizer has to say of it, or None."""
        for mark in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
                     "WARNING: ThreadSanitizer"):
            if mark in self.err:
                return mark
        return None


class Answer:
    """An HTTP answer, read to its end."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.type = (response.headers.get("Content-Type") or "").partition(";")[0].strip()
        self.body = response.read()

    @property
    def value(self):
        """The JSON value of the body."""
        return json.loads(self.body)

    @property
    def code(self):
        """The code of a problem, or None."""
        return self.value.get("code") if self.type == "application/problem+json" else None

    def __repr__(self):
        return f"<{self.status} {self.type} {self.body[:300]!r}>"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout_s=90):
        super().__init__("localhost", timeout=timeout_s * SLOWNESS)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Mill:
    """A temporary directory, and what is started in it."""

    def __init__(self):
        self.programs = []
        self.redis = None
        self.broker = None
        self.workers = []
        self.count = 0

    def __enter__(self):
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="jm-"))
        self.db_path = self.dir / "jobs.db"
        self.redis_path = self.dir / "redis.sock"
        self.socket_path = self.dir / "http.sock"
        return self

    def __exit__(self, kind, error, trace):
        faults = []
        try:
            self.stop_all(faults)
        finally:
            self.kill_rest(faults)
            if kind is not None or faults:
                self.tell()
            shutil.rmtree(self.dir, ignore_errors=True)
        if kind is None and faults:
            raise Failure("; ".join(faults))

    # ---- programs ----

    def start(self, name, *command, **options):
        program = Program(f"{name}-{self.count}", command, self.dir, **options)
        self.count += 1
        self.programs.append(program)
        return program

    def start_redis(self, *options):
        """A Redis without persistence, or with the options given; the socket stays the same."""
        server = shutil.which("redis-server") or shutil.which("valkey-server")
        self.redis = self.start("redis", server, "--port", "0", "--unixsocket", self.redis_path,
                                "--save", "", "--appendonly", "no", "--dir", self.dir,
                                "--daemonize", "no", *options)
        wait_for(lambda: self.redis_call("PING") == b"PONG", "Redis answers")
        return self.redis

    def start_broker(self, *options, waits=True, **rest):
        self.broker = self.start("broker", BIN / "jobmill-broker",
                                 "--listen", f"unix:{self.socket_path}", "--db", self.db_path,
                                 "--redis", f"unix:{self.redis_path}",
                                 "--log-level", "debug", *options, **rest)
        if waits:
            wait_for(self.is_broker_up, "the broker answers")
        return self.broker

    def is_broker_up(self):
        if not self.broker.is_running():
            raise Failure(f"the broker has ended with {self.broker.wait()}")
        try:
            return self.get("/healthz").status == 200
        except (ConnectionError, FileNotFoundError, http.client.HTTPException):
            return False

    def start_worker(self, *options, **rest):
        """Does not wait until the broker knows of it; see wait_for_workers."""
        worker = self.start("worker", BIN / "jobmill-worker", "--redis", f"unix:{self.redis_path}",
                            *options, **rest)
        self.workers.append(worker)
        return worker

    def wait_for_workers(self, count=1):
        return wait_for(lambda: len(self.get("/v1/workers").value["workers"]) >= count,
                        f"{count} worker hosts are known")

    # ---- the end ----

    def stop_all(self, faults):
        """Workers first, so that they can hand back; Redis last, which all need."""
        last = [p for p in (self.broker, self.redis) if p is not None]
        for program in [p for p in self.programs if p not in last] + last:
            try:
                status = program.stop()
            except Failure as late:
                faults.append(str(late))
                program.kill()
                continue
            if status != 0 and not program.is_expected_to_fail:
                faults.append(f"{program.name} ended with {status}")

    def kill_rest(self, faults):
        for program in self.programs:
            program.kill()
            complaint = program.complaint()
            if complaint:
                faults.append(f"{program.name}: {complaint}")
        end = time.monotonic() + 5 * SLOWNESS
        while True:
            rest = own_children()
            for pid, (state, command) in list(rest.items()):
                if state == "Z":
                    os.waitpid(pid, os.WNOHANG)
                    del rest[pid]
                elif time.monotonic() > end:
                    faults.append(f"left behind: {pid} {command}")
                    os.kill(pid, signal.SIGKILL)
            if not rest or time.monotonic() > end:
                return
            time.sleep(0.01)

    def tell(self):
        for program in self.programs:
            print(f"---- {program.name}: {' '.join(program.command)}", file=sys.stderr)
            print(program.out[-4000:], file=sys.stderr)
            print(program.err[-12000:], file=sys.stderr)

    # ---- Redis ----

    def redis_call(self, *words):
        """One command by RESP 2, on a connection of its own; None if nobody is there."""
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(DEADLINE_S * SLOWNESS)
                s.connect(str(self.redis_path))
                s.sendall(b"*%d\r\n" % len(words) +
                          b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
                with s.makefile("rb") as answer:
                    return read_resp(answer)
        except (ConnectionError, FileNotFoundError):
            return None

    # ---- HTTP ----

    def connection(self, timeout_s=90):
        return UnixConnection(self.socket_path, timeout_s)

    def call(self, method, path, body=None, headers=None, connection=None):
        """A body that is no bytes is sent as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection_used = connection or self.connection()
        try:
            connection_used.request(method, path, body, headers)
            return Answer(connection_used.getresponse())
        finally:
            if connection is None:
                connection_used.close()

    def get(self, path, **headers):
        return self.call("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def post(self, path, body=None, **headers):
        return self.call("POST", path, body,
                         headers={k.replace("_", "-"): v for k, v in headers.items()})

    def submit(self, task, args=None, wait=None, **fields):
        """Submits a job and returns it; with `wait` (seconds) as it is then."""
        answer = self.post("/v1/jobs" + (f"?wait={wait}" if wait else ""),
                           {"task": task, "args": args, **fields})
        if answer.status not in (200, 201, 202):
            raise Failure(f"submit of {task}: {answer}")
        return answer.value

    def job(self, job_id, wait=None):
        answer = self.get(f"/v1/jobs/{job_id}" + (f"?wait={wait}" if wait else ""))
        if answer.status != 200:
            raise Failure(f"job {job_id}: {answer}")
        return answer.value

    def wait_for_state(self, job_id, *states, deadline_s=DEADLINE_S):
        return wait_for(lambda: (lambda job: job["state"] in states and job)(self.job(job_id)),
                        f"{job_id} becomes {' or '.join(states)}", deadline_s)


def read_resp(stream):
    """One RESP 2 value; an error is raised."""
    line = stream.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    if kind == b"-":
        raise Failure(f"Redis: {rest.decode()}")
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return None if rest == b"-1" else [read_resp(stream) for _ in range(int(rest))]
    return rest
