"""The chaos part of `./dev faults`: real programs under load, a schedule of faults by a seed, how long
each takes to get over, and a ledger of all jobs at the end, from the history alone (history.py)."""

import json
import os
import pathlib
import random
import time

import history
import kinds
import world as world_module

from world import harness

CLIENTS, PACE = 2, 150       # processes; jobs a second of all together
RECOVERY_S = 60              # later is a violation
SETTLE_S = 60                # until the last job has ended
CALM_JOBS = 50
SEVERAL = "several at once"
IN_FLIGHT_SHARE = 0.1        # of the faults: the next one waits until all that was in flight is done
TELL_S = 10


class Measure:
    """What is known of a kind."""

    def __init__(self):
        self.injected = 0
        self.probe_s = 0.0   # the longest until a fresh job has ended
        self.done_s = 0.0    # the longest until what was in flight had ended

    def row(self):
        return {"injected": self.injected, "recovery_s": round(self.probe_s, 2),
                "in_flight_s": round(self.done_s, 2)}


class Chaos:
    def __init__(self, world, seed, chosen=None, say=print):
        self.world = world
        self.world.note = self.note
        self.rng = random.Random(f"chaos-{seed}")
        self.say = say
        self.kinds = [one for one in kinds.KINDS.values() if one.needs not in world.missing and
                      (chosen is None or one.name in chosen)]
        self.measures = {one.name: Measure() for one in self.kinds}
        self.violations = []
        self.events = []
        self.probes = 0
        self.first = self.rng.sample(self.kinds, len(self.kinds))  # each once, whatever happens
        self.told = time.monotonic()
        self.is_loud = "JM_LOUD" in os.environ  # each fault gets a line

    def note(self, **event):
        self.events.append({"t": time.monotonic_ns(), **event})

    def violate(self, kind, message):
        self.violations.append(history.Violation(kind, message))
        self.say(f"VIOLATION {kind}: {message}")

    # ---- the faults ----

    def run(self, until):
        while time.monotonic() < until or self.first:
            chosen = self.choose()
            self.injure(chosen)
            self.tell()
            time.sleep(self.rng.uniform(0, 0.1))

    def choose(self):
        """One kind, or sometimes two or three that don't get in each other's way."""
        if self.first:
            return [self.first.pop()]
        weights = [one.weight for one in self.kinds]
        chosen = [self.rng.choices(self.kinds, weights)[0]]
        if self.rng.random() < 0.08:
            for other in self.rng.choices(self.kinds, k=4):
                if len(chosen) < 3 and not any(other.touches & one.touches for one in chosen):
                    chosen.append(other)
        return chosen

    def injure(self, chosen):
        """Does it, ends it, and waits until a fresh job gets through."""
        names = [one.name for one in chosen]
        in_flight = self.live() if self.rng.random() < IN_FLIGHT_SHARE else None
        self.note(e="fault", kinds=names)
        if self.is_loud:
            self.say(f"{time.monotonic():.3f} {names}")
        begun = time.monotonic()
        heals = [heal for heal in (one.begin(self.world, self.rng) for one in chosen) if heal]
        if heals:
            time.sleep(max(hold_s for hold_s, _ in heals))
            begun = time.monotonic() if max(hold_s for hold_s, _ in heals) > 0 else begun
            for _, heal in heals:
                heal()
        self.supervise(chosen)
        measures = [self.measures[name] for name in names]
        if len(chosen) > 1:
            measures.append(self.measures.setdefault(SEVERAL, Measure()))
        for measure in measures:
            measure.injected += 1
        if len(chosen) > 1:
            measures = measures[-1:]
        self.recover(measures[0], begun, in_flight, chosen)

    def recover(self, measure, begun, in_flight, chosen):
        if self.probe(chosen):
            measure.probe_s = max(measure.probe_s, time.monotonic() - begun)
        if in_flight:
            if self.wait_for_ends(in_flight, chosen):
                measure.done_s = max(measure.done_s, time.monotonic() - begun)

    def supervise(self, chosen):
        may_end = {name for one in chosen for name in one.may_end}
        for fallen in self.world.supervise(may_end):
            self.violate("ended by itself", f"{[one.name for one in chosen]}: {fallen}")

    def probe(self, chosen):
        """A job of its own, asked for again and again until it has ended."""
        self.probes += 1
        token = f"probe-{self.probes}"
        body = {"task": "noop", "args": {"k": token}, "queue": "probe", "priority": 9}
        end = time.monotonic() + RECOVERY_S
        turn = 0
        while time.monotonic() < end:
            job = self.ask("POST", "/v1/jobs?wait=1", body, token)
            if job and job.get("state") == "succeeded":
                return True
            turn += 1
            time.sleep(0.01)
            self.supervise(chosen)
        self.violate("no recovery", f"{[one.name for one in chosen]}: a fresh job did not end in "
                                    f"{RECOVERY_S} s: {job}")
        return False

    def ask(self, method, path, body=None, key=None):
        """A call of ours, in the history like any; None if no good answer came."""
        number = f"x.{len(self.events)}"
        if body:
            self.note(e="call", n=number, op="submit", token=key or body["args"]["k"], key=key,
                      queue=body.get("queue"))
        connection = self.world.connection(10)
        try:
            answer = self.world.call(method, path, body, {"Idempotency-Key": key} if key else None,
                                     connection)
        except (OSError, harness.http.client.HTTPException):
            return None
        finally:
            connection.close()
        value = answer.value
        if body:
            self.note(e="answer", n=number, out="answer", status=answer.status,
                      code=value.get("code"), id=value.get("id"))
        return value if answer.status in (200, 201, 202) else None

    def live(self, more=""):
        """The ids of the jobs that are due or run, or None if the broker does not say. Without those
        of the lowest priority, which may wait for ever where there are enough others."""
        found, cursor = set(), ""
        while cursor is not None:
            page = self.ask("GET", f"/v1/jobs?state=queued,running{more}&limit=1000{cursor}")
            if page is None:
                return None
            found.update(job["id"] for job in page["jobs"] if job["priority"] > 1 or more)
            cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
        return found

    def wait_for_ends(self, ids, chosen):
        end = time.monotonic() + RECOVERY_S
        while time.monotonic() < end:
            live = self.live()
            if live is not None and not live & ids:
                return True
            self.supervise(chosen)
            time.sleep(0.05)
        left = sorted((live or set()) & ids)
        why = left and [self.ask("GET", f"/v1/jobs/{left[0]}{more}") for more in ("", "/explain")]
        self.violate("no recovery", f"{[one.name for one in chosen]}: {len(left)} jobs that were in "
                                    f"flight have not ended in {RECOVERY_S} s: {why}")
        return False

    def tell(self):
        if time.monotonic() - self.told > TELL_S:
            self.told = time.monotonic()
            counts = self.counts()
            self.say(f"{sum(m.injected for m in self.measures.values())} faults, {self.world.kills} kills, "
                     f"{counts} jobs")

    def counts(self):
        queues = self.ask("GET", "/v1/queues")
        return sum(sum(queue["jobs"].values()) for queue in queues["queues"]) if queues else "?"

    # ---- the end ----

    def settle(self):
        """No fault any more: everything has to end, and what comes now runs exactly once. What was
        put off while the clock was ahead is due when the clock is there again."""
        self.world.load.stop()
        kinds.step_to(self.world, kinds.LONGEST_STEP_MS)
        self.wait_until_idle()
        self.note(e="calm")
        for i in range(CALM_JOBS):
            token = f"calm-{i}"
            self.ask("POST", "/v1/jobs", {"task": ("record", "ledger")[i % 2], "queue": "default",
                                          "args": {"k": token, "path": str(self.world.load.ledger)}})
        self.wait_until_idle()

    def wait_until_idle(self):
        def is_idle():
            queues = self.ask("GET", "/v1/queues")
            return queues and not any(queue["jobs"][state] for queue in queues["queues"]
                                      for state in ("scheduled", "queued", "running"))
        try:
            harness.wait_for(is_idle, "all jobs end", SETTLE_S)
        except harness.Failure:  # the history will name them
            for job_id in sorted(self.live(",scheduled") or ())[:3]:
                self.say(f"why not: {self.ask('GET', f'/v1/jobs/{job_id}/explain')}")
            self.say(f"of {self.ask('GET', '/v1/workers')}")

    def check(self):
        self.events += self.world.load.events()
        known = history.History(self.events).ids
        self.events += self.world.load.last_read(known, self.rng)
        found, ledger = history.check(self.events)
        for violation in found:
            self.violate(*violation)
        return ledger

    def keep(self, directory):
        """What is needed to look at a violation."""
        directory.mkdir(parents=True, exist_ok=True)
        with open(directory / "history.jsonl", "w", encoding="utf-8") as file:
            for event in self.events:
                file.write(json.dumps(event) + "\n")
        for program in self.world.programs:
            (directory / f"{program.name}.err").write_bytes(program.err_path.read_bytes())


def run(minutes, seed, chosen=None, say=print, kept=None, pace=PACE):
    """Returns the outcome: rows by kind, the ledger, what was left out, the violations."""
    with world_module.World([], seed=seed) as world:
        for need, reason in world.missing.items():
            say(f"left out: faults that need a {need} ({reason})")
        chaos = Chaos(world, seed, chosen, say)
        world.load.start(CLIENTS, pace)
        harness.wait_for(lambda: (world.dir / "runs").exists(), "the first jobs run")
        chaos.run(time.monotonic() + minutes * 60)
        chaos.settle()
        ledger = chaos.check()
        if chaos.violations and kept:
            chaos.keep(pathlib.Path(kept))
            say(f"kept in {kept}")
        return {"rows": {name: m.row() for name, m in chaos.measures.items()},
                "ledger": {**ledger, "kills": world.kills}, "missing": world.missing,
                "violations": [f"{v.kind}: {v.message}" for v in chaos.violations]}
