"""What torture.py does while one call fails, and what must be true afterwards."""

import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import area  # noqa: E402
import harness  # noqa: E402

ANSWER_S = 20  # a request that takes longer hangs
SETTLE_S = 30  # likewise a job, after the fault
WAIT_S = 10  # a request for the end of a job waits so long; then it is answered as it is
TRUTHS = {200, 201, 202, 204}
EXCUSES = {"out_of_memory", "internal", "storage_failed", "storage_full", "overloaded", "limit", "io",
           "shutting_down", "database_corrupt"}  # so SQLite calls a page that cannot be read
OUR_ASSERTION = re.compile(r"(lib|schema|broker|worker|client)/[\w/]+\.[ch]:\d+: .*Assertion `")
LOST = (ConnectionError, FileNotFoundError, http.client.HTTPException)


class Fault(Exception):
    """A sentence that is a violation."""


class Mill(harness.Mill):
    """Programs whose names begin with `victim` have the shim loaded."""

    def __init__(self, victim, role=area.EVERY_PROGRAM):
        super().__init__()
        self.victim, self.role = victim, role

    def __enter__(self):
        super().__enter__()
        self.area = area.Area(self.dir, self.role)
        return self

    def start(self, name, *command, **options):
        if name.startswith(self.victim):
            options["env"] = {**self.area.env(), **options.get("env", {})}
        return super().start(name, *command, **options)

    def connection(self, timeout_s=ANSWER_S):
        return harness.UnixConnection(self.socket_path, timeout_s)

    def forget(self, program):
        """Its complaints were looked at; files of hundreds of programs are not kept."""
        self.programs.remove(program)
        program.out_path.unlink()
        program.err_path.unlink()


def is_of_library(trace):
    callers = [line for line in trace.splitlines()
               if "torture_shim" not in line and "libasan" not in line]
    return bool(callers) and ("libhiredis" in callers[0] or "libcrypto" in callers[0])


def is_death_of_library(program, trace):
    """hiredis and OpenSSL of Debian 12 (0.14, 3.0) read behind allocations of their own that failed."""
    return is_of_library(trace) and (
        program.wait(ANSWER_S) == -signal.SIGSEGV or "AddressSanitizer: SEGV" in program.err)


def forgive_death_of_library(program, trace):
    """The same of a child, whose report is in the parent's log."""
    if is_of_library(trace) and "AddressSanitizer: SEGV" in program.err:
        os.truncate(program.err_path, 0)


def find_fault_of_end(program, trace, may_be_silent=False):
    """A program has ended while a call failed; returns a sentence if it should not have, like that."""
    code = program.wait(ANSWER_S)
    err = program.err
    if is_death_of_library(program, trace):
        return None
    if program.complaint():
        return f"{program.complaint()}: {err[-6000:]}"
    if OUR_ASSERTION.search(err):
        return f"an assertion failed: {err[-600:]}"
    if code == -signal.SIGABRT:
        return None  # a library's way to say that there is no memory
    if code < 0:
        return f"{program.name} died of signal {-code}"
    if code == 0 and not may_be_silent:
        return f"{program.name} ended with 0"
    if code != 0 and not err.strip():
        return f"{program.name} ended with {code} and said nothing"
    return None


def find_complaint(program):
    if program.complaint():
        return f"{program.complaint()}: {program.err[-6000:]}"
    if OUR_ASSERTION.search(program.err):
        return f"an assertion failed: {program.err[-600:]}"
    return None


class Traffic:
    """Requests of all kinds, each answered, refused with an excuse, or cut; and what they promised."""

    def __init__(self, mill):
        self.mill = mill
        self.number = 0
        self.promised = {}  # id: the states that its job may end in

    def call(self, method, path, body=None, **headers):
        """The answer, or None if there was no or only an excuse."""
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        try:
            answer = self.mill.call(method, path, body, headers)
        except LOST:
            return None
        except (socket.timeout, TimeoutError):
            raise Fault(f"{method} {path} was not answered within {ANSWER_S} s") from None
        if answer.status in TRUTHS or answer.status == 304:
            return answer
        if answer.code in EXCUSES:
            return None
        raise Fault(f"{method} {path}: {answer}")

    def promise(self, job, *states):
        self.promised[job["id"]] = states or ("succeeded",)
        return job["id"]

    def submit(self, path="/v1/jobs", **fields):
        self.number += 1
        answer = self.call("POST", path, {"task": "echo", "args": self.number,
                                          "backoff": {"kind": "fixed", "base_ms": 1}, **fields},
                           Idempotency_Key=f"key-{os.getpid()}-{self.number}")
        return answer.value if answer else None

    def submit_and_wait(self):
        begin = time.monotonic()
        job = self.submit(f"/v1/jobs?wait={WAIT_S}")
        if job is None:
            return
        self.promise(job)
        self.judge_wait(job, begin)
        if job["state"] == "succeeded" and job["result"] != self.number:
            raise Fault(f"a false result: {job}")

    def submit_batch(self):
        lines = b'{"task":"echo","args":[1]}\n{"task":"noop"}\n{"task":"echo","priority":9}\n'
        answer = self.call("POST", "/v1/jobs/batch", lines, Content_Type="application/x-ndjson")
        items = [json.loads(line) for line in answer.body.splitlines()] if answer else []
        for item in items:
            if "id" in item:
                self.promise(item)
            elif item.get("error", item).get("code") not in EXCUSES:
                raise Fault(f"an item of a batch: {item}")
        if answer and len(items) != 3 and "error" not in items[-1]:
            raise Fault(f"a batch of 3 has {len(items)} answers: {items}")

    def change_one(self):
        """A job that is not due: changed, looked at, cancelled, retried, deleted."""
        job = self.submit(delay_ms=3600000, unique={"key": f"u-{self.number}"}, tags=["a", "b"])
        if job is None:
            return
        path = f"/v1/jobs/{self.promise(job, 'scheduled', 'queued', 'cancelled', 'succeeded')}"
        patched = self.call("PATCH", path, {"priority": 9, "tags": ["c"]})
        shown = self.call("GET", path)
        if patched and shown and (shown.value["priority"], shown.value["tags"]) != (9, ["c"]):
            raise Fault(f"a change is answered and not made: {shown.value}")
        self.call("GET", path + "/explain")
        if self.call("POST", path + "/cancel"):
            self.promise(job, "cancelled")
            self.promise(job, "cancelled", "succeeded")
            if self.call("POST", path + "/retry"):
                self.promise(job)
        self.wait_for_end(path)

    def wait_for_end(self, path):
        """A job that could not be cancelled is due in an hour: nobody waits for its end."""
        job = self.call("GET", path)
        if job is None or job.value["state"] == "scheduled":
            return
        begin = time.monotonic()
        job = self.call("GET", f"{path}?wait={WAIT_S}")
        if job:
            self.judge_wait(job.value, begin)

    def judge_wait(self, job, begin):
        """Who waits is told when it is over, and not when his time is."""
        if job["state"] == "succeeded" and time.monotonic() - begin >= WAIT_S:
            raise Fault(f"the end of a job was told {time.monotonic() - begin:.1f} s after the request "
                        f"that waited: {job}")

    def look(self):
        self.call("GET", "/v1/jobs?limit=3")
        self.call("GET", "/v1/jobs?tag=c&state=succeeded,failed")
        self.call("GET", "/v1/queues")
        self.call("PATCH", "/v1/queues/other", {"concurrency": 3, "max_queued": 1000})
        self.call("GET", "/v1/workers")
        self.call("GET", "/v1/tasks")
        self.call("GET", "/metrics")
        self.call("POST", "/v1/jobs/cancel?tag=nothing&dry_run=true")

    def run(self):
        self.submit_and_wait()
        self.submit_batch()
        self.change_one()
        self.look()

    def settle(self):
        """All that was promised becomes true."""
        for job_id, states in self.promised.items():
            try:
                job = self.mill.job(job_id)
                if job["state"] not in states:
                    job = self.mill.wait_for_state(job_id, *states, deadline_s=SETTLE_S)
            except harness.Failure as failure:
                raise Fault(f"{failure}; the job: {self.look_at(job_id)}") from None
            if job["state"] == "succeeded" and job["task"] == "echo" and job["result"] != job["args"]:
                raise Fault(f"a false result: {job}")
        self.promised = {}

    def look_at(self, job_id):
        try:
            return self.mill.get(f"/v1/jobs/{job_id}"), self.mill.get(f"/v1/jobs/{job_id}/explain")
        except (*LOST, socket.timeout):
            return "cannot be asked for"


class Scenario:
    """One kind of life. `count` and `try_case` call `prepare`, `run` with the area armed, `check`."""

    kinds = [kind for kind in area.KINDS if kind != "pipe"]
    per_stack = 3  # so many calls from one stack of callers fail, where each call would be too many
    shards = 1  # so many processes share the cases of a whole run

    def __init__(self):
        self.ends = 0  # so many programs ended by a fault

    def __enter__(self):
        self.mill = self.make_mill().__enter__()
        self.area = self.mill.area
        self.traffic = Traffic(self.mill)
        self.begin()
        return self

    def __exit__(self, *error):
        self.mill.__exit__(*error)

    def begin(self):
        """Starts what is there all the time."""

    def prepare(self):
        """What each case needs afresh."""

    def count(self, kind):
        self.prepare()
        self.area.arm(kind, area.ERRORS[kind][0], 0)
        ends = self.ends
        self.run()
        self.area.disarm()
        if self.ends != ends:
            raise harness.Failure("without any fault a program failed")
        seen = self.area.seen
        faults = self.check()
        if faults:
            raise harness.Failure(f"without any fault: {faults}")
        return seen

    def try_case(self, kind, error, n, stack=0):
        """The violations of one case, as sentences."""
        faults = []
        self.prepare()
        self.area.arm(kind, error, n, stack)
        try:
            self.run()
        except Fault as fault:
            faults.append(str(fault))
        self.area.disarm()
        return faults + self.check()

    def end(self):
        """Ends all in order; what is wrong with that."""
        try:
            self.mill.__exit__(None, None, None)
        except harness.Failure as failure:
            return [str(failure)]
        finally:
            self.mill = Nothing()
        return []


class Nothing:
    def __exit__(self, *_):
        return False


class BrokerServes(Scenario):
    """A broker with a worker, the same from case to case as long as it lives."""

    share = 25

    def make_mill(self):
        return Mill("broker")

    def begin(self):
        self.mill.start_redis()
        self.start_broker()
        self.mill.start_worker("--test-tasks", "--slots", "1", "--nice", "0")
        self.mill.wait_for_workers()
        self.traffic.run()  # what only the first requests call for is BrokerFirst's
        self.traffic.settle()

    def start_broker(self):
        self.mill.start_broker("--heartbeat", "100ms", "--lease", "1s", "--log-level", "info")

    def run(self):
        self.traffic.run()

    def check(self):
        faults = []
        try:
            self.bring_back(faults)
            try:
                self.traffic.settle()
                self.wait_for_health()
            except LOST:  # it fell only now, or it only lost that connection
                self.wait_a_moment_for_the_end()
                self.bring_back(faults)
                self.traffic.settle()
                self.wait_for_health()
        except (Fault, harness.Failure) as fault:
            faults.append(str(fault))
            faults.append(f"the broker said: {self.mill.broker.err[-1500:]}")
            self.start_anew()
        return faults

    def start_anew(self):
        """After a violation: the next case shall not suffer for it."""
        self.traffic.promised = {}
        for program in list(self.mill.programs):
            program.kill()
            self.mill.forget(program)
        self.mill.workers.clear()
        self.mill.kill_rest([])
        for path in (self.mill.redis_path, *self.mill.dir.glob("jobs.db*")):
            path.unlink(missing_ok=True)
        self.begin()

    def bring_back(self, faults):
        if self.mill.broker.is_running():
            return
        self.ends += 1
        fault = find_fault_of_end(self.mill.broker, self.area.trace())
        faults += [fault] if fault else []
        self.mill.broker.is_expected_to_fail = True
        self.mill.forget(self.mill.broker)
        self.start_broker()

    def wait_a_moment_for_the_end(self):
        try:
            self.mill.broker.process.wait(1)
        except subprocess.TimeoutExpired:
            pass

    def wait_for_health(self):
        """The next job goes through as if nothing had been."""
        last = []

        def is_well():
            last[:] = [self.traffic.submit("/v1/jobs?wait=10")]
            if not self.mill.broker.is_running():
                raise ConnectionError
            return last[0] is not None and last[0]["state"] == "succeeded"
        try:
            harness.wait_for(is_well, "the broker does a job as before", SETTLE_S)
        except harness.Failure as failure:
            raise Fault(f"{failure}: {last}, "
                        f"{self.traffic.look_at(last[0]['id']) if last[0] else ''}") from None


class BrokerFirst(BrokerServes):
    """The first requests that a broker serves: it prepares and allocates what it keeps."""

    share = 5
    shards = 2
    kinds = [kind for kind in BrokerServes.kinds if kind not in ("receive", "send", "accept", "poll")]

    def begin(self):
        super().begin()
        self.stop()

    def prepare(self):
        self.start_broker()

    def check(self):
        return super().check() + self.stop()

    def stop(self):
        """What is wrong with the end of one that survived, as a list."""
        broker = self.mill.broker
        is_well = broker.stop() == 0 and not find_complaint(broker)
        faults = [] if is_well else [f"its end in order: {broker.err[-6000:]}"]
        broker.is_expected_to_fail = True
        self.mill.forget(broker)
        return faults


class BrokerLife(BrokerServes):
    """A broker that starts on a database with jobs in all states, takes one more, and stops."""

    share = 10
    shards = 4

    def begin(self):
        self.mill.start_redis()
        self.start_broker()
        self.mill.start_worker("--test-tasks", "--slots", "1", "--nice", "0", "--queues", "default")
        self.mill.wait_for_workers()
        self.traffic.run()
        for n in range(5):
            self.traffic.call("POST", "/v1/jobs", {"task": "echo", "queue": "nobody", "args": n})
        self.traffic.call("PATCH", "/v1/queues/nobody", {"rate": {"limit": 5, "period_ms": 60000}})
        self.traffic.settle()
        self.stop().wait()

    def stop(self):
        broker = self.mill.broker
        if broker.is_running():
            broker.send(signal.SIGTERM)
        return broker

    def run(self):
        try:
            self.start_broker()
            self.traffic.submit_and_wait()
        except harness.Failure as failure:
            if self.mill.broker.is_running():
                raise Fault(str(failure)) from None
        broker = self.stop()
        try:
            broker.wait(ANSWER_S)
        except harness.Failure as failure:
            broker.kill()
            raise Fault(f"{failure}: {broker.err[-1500:]}") from None

    def start_anew(self):
        super().start_anew()
        self.start_broker()

    def check(self):
        broker = self.mill.broker
        fault = find_fault_of_end(broker, self.area.trace(), may_be_silent=True)
        self.ends += broker.wait() != 0
        broker.is_expected_to_fail = True
        self.mill.forget(broker)
        if not self.traffic.promised or not self.area.fired:
            return [fault] if fault else []
        self.start_broker()
        faults = super().check()
        self.stop().wait()
        self.mill.forget(self.mill.broker)
        return faults + ([fault] if fault else [])


class WorkerServes(BrokerServes):
    """The parent of a worker's children, the same from case to case as long as it lives."""

    share = 6

    role = area.PARENT

    def make_mill(self):
        return Mill("worker", self.role)

    def begin(self):
        self.mill.start_redis()
        self.start_broker()
        tasks = self.mill.dir / "tasks"
        tasks.mkdir(exist_ok=True)
        program = tasks / "count"
        program.write_text("#!/bin/sh\necho one >&2\nexec wc -c\n")
        program.chmod(0o755)
        self.start_worker()
        self.mill.wait_for_workers()

    def start_worker(self):
        self.mill.start_worker("--test-tasks", "--slots", "2", "--nice", "0", "--tasks-dir",
                               self.mill.dir / "tasks")

    def run(self):
        jobs = [self.traffic.submit(**fields) for fields in (
            {}, {"task": "count"}, {"task": "noop"}, {"task": "crash", "args": {}},
            {"task": "sleep", "args": {"ms": 60000}}, {"task": "sleep", "args": {"ms": 30}},
            {"task": "sleep", "args": {"ms": 60000}, "timeout_ms": 10, "max_attempts": 1})]
        for job in jobs:
            if job is None:
                raise Fault("the broker does not accept")
            self.traffic.promise(job)
        self.traffic.promise(jobs[3], "failed")
        self.traffic.promise(jobs[4], "cancelled", "failed")
        self.traffic.promise(jobs[6], "failed")
        self.wait_for_ends(jobs[:4])
        self.traffic.call("POST", f"/v1/jobs/{jobs[4]['id']}/cancel")
        self.wait_for_ends(jobs[4:])

    def wait_for_ends(self, jobs):
        """As long as the worker lives, and not for ever: `check` is who judges."""
        for job in jobs:
            for _ in range(10):
                answer = self.traffic.call("GET", f"/v1/jobs/{job['id']}?wait=1")
                if not answer or "finished_at" in answer.value or not self.worker_lives():
                    break

    def worker_lives(self):
        return self.mill.workers[-1].is_running()

    def bring_back(self, faults):
        super().bring_back(faults)
        worker = self.mill.workers[-1]
        is_running = worker.is_running()
        if is_running:
            forgive_death_of_library(worker, self.area.trace())
        fault = (find_complaint(worker) if is_running else
                 find_fault_of_end(worker, self.area.trace()))
        faults += [fault] if fault else []
        if is_running and not fault:
            return
        self.ends += 1
        worker.kill()
        self.mill.forget(worker)
        self.mill.workers.clear()
        self.start_worker()


class ChildServes(WorkerServes):
    """The children themselves."""

    share = 6

    role = area.CHILD
    kinds = list(area.KINDS)


class WorkerLife(WorkerServes):
    """A worker that starts, does a job and is drained in the middle of another."""

    share = 8

    def begin(self):
        super().begin()
        self.mill.workers[-1].stop()

    def run(self):
        done, held = (self.traffic.submit(**fields) for fields in (
            {}, {"task": "sleep", "args": {"ms": 300}}))
        for job in (done, held):
            self.traffic.promise(job)
        self.start_worker()
        worker = self.mill.workers[-1]
        self.wait_for_end_of(done, worker)
        if worker.is_running():
            worker.send(signal.SIGTERM)
        try:
            worker.wait(ANSWER_S)
        except harness.Failure as failure:
            worker.kill()
            raise Fault(f"{failure}: {worker.err[-1500:]}") from None

    def wait_for_end_of(self, job, worker):
        end = time.monotonic() + ANSWER_S
        while worker.is_running() and self.mill.job(job["id"])["state"] != "succeeded":
            if time.monotonic() > end:
                raise Fault(f"the worker does nothing: {worker.err[-1500:]}")
            time.sleep(0.01)

    def bring_back(self, faults):
        worker = self.mill.workers[-1]
        fault = find_fault_of_end(worker, self.area.trace(), may_be_silent=True)
        faults += [fault] if fault else []
        self.ends += worker.wait() != 0
        worker.kill()
        self.mill.forget(worker)
        self.mill.workers.clear()
        self.start_worker()

    def start_anew(self):
        super().start_anew()
        self.start_worker()

    def check(self):
        faults = super().check()
        worker = self.mill.workers[-1]
        if worker.stop() != 0 or find_complaint(worker):
            faults.append(f"a worker without a fault: {worker.err[-1500:]}")
        self.mill.forget(worker)
        return faults


class Tool(BrokerServes):
    """A command of the tool, a process of its own."""

    share = 15
    words = ("submit", "echo", "--args=[7]", "--wait=10s")
    expects = "[7]"

    def make_mill(self):
        return Mill("tool")

    def prepare(self):
        """A job that it can look at or cancel."""
        self.job = self.traffic.submit(delay_ms=3600000)["id"]

    def run(self):
        self.run_program(harness.BIN / "jobmill", self.words[0], "--url",
                         f"unix:{self.mill.socket_path}",
                         *(self.job if word == "JOB" else word for word in self.words[1:]))

    def run_program(self, *command):
        """It says what it should if it succeeds; it may fail if it says why."""
        program = self.mill.start("tool", *command)
        try:
            code = program.wait(ANSWER_S)
        except harness.Failure as failure:
            program.kill()
            raise Fault(str(failure)) from None
        fault = find_fault_of_end(program, self.area.trace(), may_be_silent=True)
        out = program.out
        self.ends += code != 0
        program.is_expected_to_fail = True
        self.mill.forget(program)
        if fault:
            raise Fault(fault)
        self.judge(code, out)

    def judge(self, code, out):
        expected = self.job if self.expects == "JOB" else self.expects
        if code == 0 and expected not in out:
            raise Fault(f"it ended with 0 and said {out!r}")


def tool(*its_words, its_expects=""):
    """Of the other commands, a stack fails once: they share most with the first, where it does thrice."""
    class OtherTool(Tool):
        share = 0  # of a sample
        per_stack = 1
        words = its_words
        expects = its_expects
    return OtherTool


class Library(Tool):
    """libjobmill in a program that goes on after an error (library.c)."""

    share = 30

    def run(self):
        self.run_program(harness.BIN / "torture_library", f"unix:{self.mill.socket_path}")

    def judge(self, code, out):
        if code != 0:
            raise Fault(f"it ended with {code}: {out}")


# Those that take longest are first.
ALL = {"broker-life": BrokerLife, "broker-first": BrokerFirst, "broker-serves": BrokerServes,
       "worker-serves": WorkerServes, "child-serves": ChildServes, "worker-life": WorkerLife,
       "library": Library, "tool-submit": Tool,
       "tool-delay": tool("submit", "noop", "--delay=1h"), "tool-get": tool("get", "JOB", its_expects="JOB"),
       "tool-cancel": tool("cancel", "JOB"), "tool-jobs": tool("jobs", "--limit=5"),
       "tool-queues": tool("queues", its_expects="default")}
