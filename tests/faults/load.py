"""The load of the fault tests, and what is known of it: client processes (client.py) that come and go,
their histories, the record that the tasks keep of each run, and the last read of all jobs."""

import os
import pathlib
import shutil
import signal
import sys
import time

FAULTS = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FAULTS.parent / "integration"))

import harness
import history

TOOLS = pathlib.Path(os.environ.get("JM_BUILD", harness.BIN.parent)) / "tests" / "faults"
QUEUES = {"probe": 100, "default": 10, "keys": 5, "one": 5}     # name: weight at a worker
READ_SINGLY = 20000     # of the jobs of which a list tells enough
LIVE = ("scheduled", "queued", "running")


class Load:
    """The clients of a mill, with their places in its directory. Each client has some of the sockets
    on its threads; each other one has them in reverse."""

    def __init__(self, mill, seed, *sockets):
        self.mill = mill
        self.seed = seed
        self.sockets = sockets
        self.clients = []
        self.begun = 0          # all there ever were
        self.pace = 0           # jobs a second of one
        self.ledger = mill.dir / "ledger"
        self.records = mill.dir / "runs"
        self.tasks = mill.dir / "tasks"     # for a worker's --tasks-dir
        self.tasks.mkdir()
        shutil.copy(TOOLS / "record", self.tasks / "record")

    def set_queues(self):
        """What clients and checker take for granted."""
        for queue, settings in (("one", {"concurrency": 1}), ("keys", {"key_concurrency": 2})):
            answer = self.mill.call("PATCH", f"/v1/queues/{queue}", settings)
            if answer.status != 200:
                raise harness.Failure(f"queue {queue}: {answer}")

    # ---- clients ----

    def start(self, count, pace):
        self.pace = pace / count
        for _ in range(count):
            self.clients.append(self.start_one())

    def start_one(self):
        """It has a name, and so tokens and a history, that no other had before it."""
        number, self.begun = self.begun, self.begun + 1
        sockets = self.sockets if number % 2 == 0 else reversed(self.sockets)
        path = self.mill.dir / f"history-{number}.jsonl"
        client = self.mill.start("client", sys.executable, "-B", FAULTS / "client.py",
                                 f"c{number}.", self.seed, path, self.ledger, self.pace, *sockets)
        client.history = path
        return client

    def replace_one(self, rng):
        """What it was doing has no end in its history; the next one knows nothing of it."""
        if self.clients:
            client = rng.choice(self.clients)
            client.kill()
            self.clients[self.clients.index(client)] = self.start_one()

    def stop(self):
        for client in self.clients:  # one may have been started just now, and not heed a signal yet
            harness.wait_for(lambda c=client: c.history.exists() or not c.is_running(),
                             f"{client.name} has begun")
            client.send(signal.SIGTERM)
        for client in self.clients:
            status = client.wait(60)
            if status != 0:
                raise harness.Failure(f"{client.name} ended with {status}: {client.err[-3000:]}")

    # ---- what is known ----

    def is_idle(self):
        return not any(jobs[state] for jobs in self.counts().values() for state in LIVE)

    def events(self):
        yield from history.read_events(sorted(self.mill.dir.glob("history-*.jsonl")))
        yield from read_runs(self.records, self.ledger)

    def last_read(self, known, rng):
        """Events of the jobs in the clients' queues: the list, and singly whatever it does not tell
        enough of: those that nobody was told of as new (`known`) show their token only then."""
        connection = self.mill.connection()
        jobs = [job for queue in QUEUES for job in self.list(queue, connection)]
        sample = min(1.0, READ_SINGLY / max(len(jobs), 1))
        for job in jobs:
            if (job["id"] not in known or job["attempt"] > 1 or job["state"] != "succeeded" or
                    rng.random() < sample):
                job = self.mill.call("GET", f"/v1/jobs/{job['id']}", connection=connection).value
            yield job_event(job)
        yield {"e": "tally", "queues": self.counts(connection)}
        connection.close()

    def list(self, queue, connection):
        cursor = ""
        while cursor is not None:
            page = self.mill.call("GET", f"/v1/jobs?queue={queue}&limit=1000{cursor}",
                                  connection=connection).value
            yield from page["jobs"]
            cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"

    def counts(self, connection=None):
        """{queue: {state: jobs}}"""
        queues = self.mill.call("GET", "/v1/queues", connection=connection).value["queues"]
        return {queue["name"]: queue["jobs"] for queue in queues if queue["name"] in QUEUES}


def job_event(job):
    event = {"t": time.monotonic_ns(), "e": "job", "id": job["id"], "state": job["state"], "attempt": job["attempt"],
             "queue": job["queue"], "priority": job["priority"],
             "finished_at": job.get("finished_at")}
    if "args" in job:
        event["token"] = job["args"]["k"]
    if job.get("error"):
        event["error"] = job["error"]["code"]
    if "result" in job:
        event["result"] = job["result"]
    if "attempts" in job:
        event["outcomes"] = [[one["attempt"], one["outcome"]] for one in job["attempts"]]
    return event


def read_runs(records, ledger):
    """Events of the lines that the tasks record and ledger have left."""
    runs = {}
    for line in read_lines(records):
        mark, job_id, attempt, ns, pid = line.split()
        if mark == "b":
            runs[pid, job_id, attempt] = {
                "e": "run", "t": int(ns), "id": job_id, "attempt": int(attempt), "begun": int(ns),
                "run": f"{pid}-{ns}", "ended": False}
            yield runs[pid, job_id, attempt]
        else:
            runs[pid, job_id, attempt]["ended"] = True
    for line in read_lines(ledger):
        token, attempt = line.split()
        yield {"e": "run", "token": token, "attempt": int(attempt)}


def read_lines(path):
    return path.read_text().splitlines() if path.exists() else []
