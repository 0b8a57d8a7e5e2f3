"""A client process of the fault tests: threads that submit, read, cancel and retry jobs without pause
and record each call and its answer, also that there was none.

    client.py NAME SEED HISTORY LEDGER JOBS-A-SECOND SOCKET…

Each thread has one of the sockets (some lead through a proxy that cuts connections). The history is
JSON, one event a line (see history.py): a call is on disk before its first byte is sent, so that what
was asked is known whatever becomes of it, also if this process is killed. SIGTERM: finish what is
under way, and end."""

import http.client
import json
import random
import signal
import socket
import sys
import threading
import time

THREADS = 3
TIMEOUT_S = 8        # of one answer
REPEATS = 40         # of a call with a key whose answer is not known
POOL = 300           # jobs that a thread remembers
BATCH = (10, 60)     # jobs
PAUSES_S = (0.01, 0.4)
TASKS = ("noop", "sleep", "record", "record", "ledger")
UNIQUE_KEYS = 5
MOST_WAITING = 200   # jobs in the queue; above that nothing is added
LOOK_EVERY_S = 0.5
LENGTHS_MS = (0, 0, 0, 0, 1, 2, 5, 10, 20, 200)


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=TIMEOUT_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class History:
    """Events of all threads, in one file."""

    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8", buffering=1 << 16)
        self.lock = threading.Lock()
        self.count = 0

    def add(self, **event):
        with self.lock:
            event["t"] = time.monotonic_ns()
            self.file.write(json.dumps(event, separators=(",", ":")) + "\n")
            if event["e"] == "call":
                self.file.flush()

    def call(self, client, **event):
        with self.lock:
            self.count += 1
            number = f"{client}.{self.count}"
        self.add(e="call", n=number, **event)
        return number


class Client(threading.Thread):
    def __init__(self, name, seed, history, ledger, path, pace, ends):
        super().__init__(name=name)
        self.rng = random.Random(f"{seed}-{name}")
        self.history = history
        self.ledger = ledger
        self.path = path
        self.pace = pace      # jobs a second
        self.ends = ends
        self.connection = None
        self.count = 0
        self.pool = []        # ids
        self.sent = []        # (token, body, key) that were answered
        self.error = None
        self.looked = time.monotonic()

    def run(self):
        choices = [(self.one, 30), (self.waited, 15), (self.keyed, 15), (self.delayed, 5),
                   (self.unique, 5), (self.in_turn, 8), (self.limited, 8), (self.failing, 3),
                   (self.batch, 4), (self.atomic, 3), (self.again, 5), (self.read, 15),
                   (self.cancel, 5), (self.retry, 3), (self.changed, 5)]
        steps, weights = zip(*choices)
        begun, made = time.monotonic(), 0
        try:
            while not self.ends.is_set():
                self.wait_for_room()
                made += self.rng.choices(steps, weights)[0]() or 0
                ahead_s = made / self.pace - (time.monotonic() - begun)
                if ahead_s < -2:  # what a fault has held up is not made up for
                    begun, made = time.monotonic(), 0
                self.ends.wait(max(ahead_s, 0))
        except Exception as error:
            self.error = error

    def wait_for_room(self):
        """On a machine that is too slow for the pace the backlog must not grow and grow."""
        while time.monotonic() - self.looked > LOOK_EVERY_S and not self.ends.is_set():
            self.looked = time.monotonic()
            answer, _ = self.exchange("GET", "/v1/queues/default", None, {})
            jobs = json.loads(answer[2]).get("jobs", {}) if answer else {}
            if jobs.get("queued", 0) + jobs.get("scheduled", 0) <= MOST_WAITING:
                break
            self.read()
            self.ends.wait(LOOK_EVERY_S)

    # ---- calls ----

    def call(self, method, path, body=None, headers=None, **event):
        """Returns (status, headers, bytes), or None if no whole answer came."""
        number = self.history.call(self.name, **event)
        answer, why = self.exchange(method, path, body, headers or {})
        if answer is None:
            self.history.add(e="answer", n=number, out=why)
        return number, answer

    def exchange(self, method, path, body, headers):
        try:
            if self.connection is None:
                self.connection = Connection(self.path)
                self.connection.connect()
        except OSError:
            self.drop()
            return None, "unsent"
        try:
            self.connection.request(method, path, body, headers)
            response = self.connection.getresponse()
            if response.length is None and not response.chunked:  # the head was cut off
                self.drop()
                return None, "unknown"
            data = response.read()
            if response.will_close:
                self.drop()
            return (response.status, response.headers, data), None
        except http.client.IncompleteRead as cut:
            self.drop()
            whole = cut.partial[:cut.partial.rfind(b"\n") + 1]
            if whole and path.startswith("/v1/jobs/batch"):  # what was answered counts
                return (response.status, response.headers, whole), None
            return None, "unknown"
        except (OSError, http.client.HTTPException):
            self.drop()
            return None, "unknown"

    def drop(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def pause(self, turn):
        self.ends.wait(min(PAUSES_S[0] * 1.5 ** turn, PAUSES_S[1]))

    # ---- submits ----

    def token(self):
        self.count += 1
        return f"{self.name}-{self.count}"

    def body(self, token, tasks=TASKS, **fields):
        task = self.rng.choice(tasks)
        args = {"k": token}
        if task in ("sleep", "record"):
            args["ms"] = self.rng.choice(LENGTHS_MS)
        if task == "ledger":
            args["path"] = self.ledger
        return {"task": task, "args": args, "priority": self.rng.choice((5, 5, 5, 1, 9)),
                "max_attempts": 5, "backoff": {"base_ms": 50, "ceiling_ms": 1000}, **fields}

    def submit(self, token, body, key=None, wait=None):
        """One call. Returns the job's id if it was accepted, "" if refused, None if not known."""
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        path = "/v1/jobs" + (f"?wait={wait}" if wait else "")
        number, answer = self.call("POST", path, json.dumps(body), headers, op="submit",
                                   token=token, key=key, queue=body.get("queue"),
                                   task=body["task"], priority=body["priority"],
                                   unique=(body.get("unique") or {}).get("key"),
                                   delay=body.get("delay_ms"), fails=body["args"].get("fails"))
        if answer is None:
            return None
        status, head, data = answer
        job = json.loads(data)
        self.history.add(e="answer", n=number, out="answer", status=status, code=job.get("code"),
                         replay=head.get("Idempotency-Replayed") == "true",
                         replaced=head.get("Jobmill-Replaced"), **shown(job))
        if status in (200, 201, 202):
            self.remember(job["id"])
            return job["id"]
        self.pause(3)
        return None if status == 500 else ""

    def remember(self, job_id):
        if len(self.pool) >= POOL:
            self.pool[self.rng.randrange(POOL)] = job_id
        else:
            self.pool.append(job_id)

    def one(self):
        token = self.token()
        self.submit(token, self.body(token))
        return 1

    def waited(self):
        token = self.token()
        self.submit(token, self.body(token), wait=3)
        return 1

    def keyed(self):
        """Repeats what has an unknown fate, as a careful application does."""
        token = self.token()
        body = self.body(token)
        for turn in range(REPEATS):
            if self.submit(token, body, key=token) is not None or self.ends.is_set():
                break
            self.pause(turn)
        self.sent = self.sent[-20:] + [(token, body)]
        return 1

    def again(self):
        if self.sent:
            token, body = self.rng.choice(self.sent)
            self.submit(token, body, key=token)

    def delayed(self):
        token = self.token()
        self.submit(token, self.body(token, delay_ms=self.rng.randint(50, 2000)))
        return 1

    def changed(self):
        """Changes what is not due yet: when it is, how urgent it is, or what it is to do."""
        token = self.token()
        body = self.body(token, delay_ms=self.rng.randint(100, 3000))
        job_id = self.submit(token, body)
        if not job_id:
            return 1
        change = self.rng.choice(({"run_at": None}, {"priority": self.rng.choice((1, 5, 9))},
                                  {"args": {**body["args"], "changed": True}, "run_at": None}))
        number, answer = self.call("PATCH", f"/v1/jobs/{job_id}", json.dumps(change),
                                   {"Content-Type": "application/json"}, op="change", id=job_id,
                                   priority=change.get("priority"), args="args" in change)
        self.tell(number, answer)
        return 1

    def unique(self):
        token = self.token()
        unique = {"key": f"u-{self.rng.randrange(UNIQUE_KEYS)}", "while": "unfinished",
                  "on_conflict": self.rng.choice(("existing", "reject", "replace"))}
        self.submit(token, self.body(token, ("record", "sleep"), unique=unique))
        return 1

    def in_turn(self):
        """Into the queue that runs one job at a time, in order."""
        token = self.token()
        self.submit(token, self.body(token, ("record",), queue="one", priority=5))
        return 1

    def limited(self):
        token = self.token()
        self.submit(token, self.body(token, queue="keys", limit_key=f"c{self.rng.randrange(4)}"))
        return 1

    def failing(self):
        token = self.token()
        body = self.body(token, ("record",))
        body["args"]["fails"] = self.rng.choice((1, 2, 9))
        self.submit(token, body)
        return 1

    # ---- many ----

    def batch(self, atomic=False):
        tokens = [self.token() for _ in range(self.rng.randint(*BATCH))]
        items = [self.body(token) for token in tokens]
        has_keys = self.rng.random() < 0.5
        if has_keys:
            for token, item in zip(tokens, items):
                item["idempotency_key"] = token
        last = None
        for turn in range(REPEATS if has_keys else 1):
            last = self.send_batch(tokens, items, atomic)
            if last is not None or self.ends.is_set():
                break
            self.pause(turn)
        if last and self.rng.random() < 0.7:
            self.look(last, wait=2)
        return len(tokens)

    def atomic(self):
        return self.batch(atomic=True)

    def send_batch(self, tokens, items, atomic):
        """Returns an id of it, "" if nothing was accepted, None if that is not known."""
        text = "".join(json.dumps(item) + "\n" for item in items)
        number, answer = self.call("POST", "/v1/jobs/batch" + ("?atomic=true" if atomic else ""),
                                   text, {"Content-Type": "application/x-ndjson"}, op="batch",
                                   atomic=atomic, tokens=tokens)
        if answer is None:
            return None
        status, _, data = answer
        if status not in (200, 422):
            told = [json.loads(data)]
            self.history.add(e="answer", n=number, out="answer", status=status,
                             code=told[0].get("code"), items=[])
            self.pause(3)
            return None if status == 500 else ""
        told = [json.loads(line) for line in data.decode().splitlines() if line.strip()]
        answers = [[one.get("id"), (one.get("error") or {}).get("code"), one.get("is_replay", False)]
                   for one in told]
        self.history.add(e="answer", n=number, out="answer", status=status, items=answers)
        ids = [one[0] for one in answers if one[0] and not one[1]]
        for job_id in ids[:3]:
            self.remember(job_id)
        return ids[-1] if ids else ""

    # ---- what is there ----

    def look(self, job_id, wait=None):
        number, answer = self.call("GET", f"/v1/jobs/{job_id}" + (f"?wait={wait}" if wait else ""),
                                   op="read", id=job_id)
        self.tell(number, answer)

    def tell(self, number, answer):
        if answer is not None:
            job = json.loads(answer[2])
            self.history.add(e="answer", n=number, out="answer", status=answer[0],
                             code=job.get("code"), **shown(job))

    def read(self):
        if self.pool:
            self.look(self.rng.choice(self.pool))

    def cancel(self):
        if self.pool:
            job_id = self.rng.choice(self.pool[-20:])
            number, answer = self.call("POST", f"/v1/jobs/{job_id}/cancel", op="cancel", id=job_id)
            self.tell(number, answer)

    def retry(self):
        if self.pool:
            job_id = self.rng.choice(self.pool)
            number, answer = self.call("POST", f"/v1/jobs/{job_id}/retry", op="retry", id=job_id)
            self.tell(number, answer)


def shown(job):
    """What the history keeps of a job that an answer shows."""
    kept = {name: job[name] for name in ("id", "state", "attempt", "result", "stopped",
                                         "is_existing", "finished_at") if name in job}
    if "attempts" in job:
        kept["outcomes"] = [[one["attempt"], one["outcome"]] for one in job["attempts"]]
    return kept


def main():
    name, seed, path, ledger, pace, *sockets = sys.argv[1:]
    ends = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: ends.set())
    history = History(path)  # whose file tells that signals are heeded from here on
    clients = [Client(f"{name}{i}", seed, history, ledger, sockets[i % len(sockets)],
                      float(pace) / THREADS, ends) for i in range(THREADS)]
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        time.sleep(0.05)  # so that signals are handled
    history.file.close()
    for client in clients:
        if client.error:
            raise client.error


if __name__ == "__main__":
    main()
