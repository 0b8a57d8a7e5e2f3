"""Damages of every kind to a small database with known jobs, one at a time, in the order of a seed:
bytes, pages and whole files, with and without the log of a killed broker.

usage: damage.py [--cases N] [--seed N] [--only N]

For each: the real broker starts on it. It may refuse, or end, or refuse some of the jobs that it is
asked for, with a sentence that names the file or the remedy; then `jobmill doctor --repair` runs, and
the broker starts on what that left. Or it serves. A violation is: no sentence; a job that is not there
and that no report has named, or, of those whose ids stand nowhere any more, counted; a job in another
state than it was, unnamed; a repair that leaves what a start refuses; a doctor or broker that crashes
or hangs. (Values have no checksum: a flipped bit inside of one is not seen by anybody, and is counted.)
The last line is a JSON summary; exit status 1 if there were violations.
"""

import argparse
import collections
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import harness  # noqa: E402

SUFFIXES = ("", "-wal", "-shm", "-kept", ".lock")
PAGE = 4096
START_S = 20
SHOWN = 3  # violations of one case


def make_images(directory):
    """Two sets of files with the same jobs and what is known of these: after a stop, and killed."""
    known = {}
    with harness.Mill() as mill:
        mill.start_redis()
        mill.start_broker()
        worker = mill.start_worker("--test-tasks")
        mill.wait_for_workers()
        for n in range(40):
            job = mill.submit("echo", {"n": n, "text": "x" * (n * 20)}, wait=20, tags=["red", f"t{n % 5}"])
            known[job["id"]] = (job["state"], job["args"])
        for n in range(10):
            job = mill.submit("fail", None, wait=20, max_attempts=1, queue="default")
            known[job["id"]] = (job["state"], job.get("args"))
        worker.stop()
        mill.redis.stop()
        for n in range(60):
            job = mill.submit("echo", {"n": n, "text": "y" * (n * 30)}, queue=f"later-{n % 3}",
                              priority=1 + n % 9, tags=["blue"], limit_key=f"customer-{n % 7}")
            known[job["id"]] = (job["state"], {"n": n, "text": "y" * (n * 30)})
        for n in range(20):
            job = mill.submit("echo", n, delay_ms=10 ** 9 + n)
            known[job["id"]] = (job["state"], n)
        mill.broker.kill()
        save(mill.db_path, directory / "killed")
        mill.start_broker()
        mill.broker.stop()
        save(mill.db_path, directory / "stopped")
    return known


def save(db, target):
    target.mkdir()
    for suffix in SUFFIXES:
        source = pathlib.Path(str(db) + suffix)
        if source.exists():
            shutil.copyfile(source, target / ("jobs.db" + suffix))


# ---- damages: each changes one file of a set ----

def flip(rng, data, at=None):
    at = rng.randrange(len(data)) if at is None else at
    data[at] ^= 1 << rng.randrange(8)


def damage_head(rng, path):
    data = bytearray(path.read_bytes())
    flip(rng, data, rng.randrange(100))
    path.write_bytes(data)
    return "head"


def damage_byte(rng, path):
    data = bytearray(path.read_bytes())
    flip(rng, data)
    path.write_bytes(data)
    return "byte"


def damage_page_head(rng, path):
    """The header and the cell pointers of some page, where the structure is."""
    data = bytearray(path.read_bytes())
    page = rng.randrange(1, len(data) // PAGE)
    flip(rng, data, page * PAGE + rng.randrange(64))
    path.write_bytes(data)
    return "page_head"


def damage_page(rng, path):
    data = bytearray(path.read_bytes())
    page = rng.randrange(1, len(data) // PAGE)
    fill = rng.choice([b"\0" * PAGE, rng.randbytes(PAGE)])
    data[page * PAGE:(page + 1) * PAGE] = fill
    path.write_bytes(data)
    return "page"


def damage_swap(rng, path):
    """A page that was written to another place."""
    data = bytearray(path.read_bytes())
    a, b = rng.sample(range(1, len(data) // PAGE), 2)
    data[a * PAGE:(a + 1) * PAGE] = data[b * PAGE:(b + 1) * PAGE]
    path.write_bytes(data)
    return "misplaced_page"


def damage_sectors(rng, path):
    data = bytearray(path.read_bytes())
    for _ in range(rng.randrange(2, 20)):
        at = rng.randrange(len(data) // 512) * 512
        data[at:at + 512] = b"\0" * 512
    path.write_bytes(data)
    return "sectors"


def damage_cut(rng, path):
    data = path.read_bytes()
    path.write_bytes(data[:rng.randrange(len(data))])
    return "cut"


def damage_gone(_rng, path):
    path.unlink()
    return "gone"


def damage_text(_rng, path):
    path.write_text("no database\n" * 50)
    return "text"


DATABASE = [damage_head, damage_byte, damage_byte, damage_page_head, damage_page_head, damage_page,
            damage_page, damage_swap, damage_sectors, damage_cut, damage_gone, damage_text]
LOG = [damage_byte, damage_byte, damage_sectors, damage_cut, damage_gone, damage_text]


def number_of(job):
    """An id as a number: Crockford's base 32."""
    number = 0
    for letter in job:
        number = number * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(letter)
    return number


class Sweep:
    def __init__(self, directory, known):
        self.directory = directory
        self.known = known
        self.case = 0
        self.kinds = collections.Counter()
        self.ends = collections.Counter()
        self.violations = []
        self.unseen_values = 0
        self.unnamed = 0  # jobs that are gone, and a report said how many
        self.uncounted = 0  # likewise, and it said that this cannot be told

    def violate(self, what):
        if sum(violation["case"] == self.case for violation in self.violations) < SHOWN:
            self.violations.append({"case": self.case, "what": what})
            print(f"case {self.case}: {what}", flush=True)

    def run(self, case, seed):
        self.case = case
        rng = random.Random(f"{seed}/{case}")
        with harness.Mill() as mill:
            # What is after a crash or a hang of a program is judged here, not by the harness.
            image = rng.choice(["stopped", "killed"])
            for file in (self.directory / image).iterdir():
                shutil.copyfile(file, mill.dir / file.name)
            is_log = image == "killed" and rng.random() < 0.4
            kind = rng.choice(LOG if is_log else DATABASE)
            words = kind(rng, mill.dir / ("jobs.db-wal" if is_log else "jobs.db"))
            self.kinds[f"{image} {'log' if is_log else 'database'} {words}"] += 1
            self.judge(mill)

    def judge(self, mill):
        answers = self.serve(mill)
        if answers is not None:
            self.ends["served"] += 1
            self.compare(answers, set(), False, 0)
            return
        report = self.repair(mill)
        if report is None:
            return
        answers = self.serve(mill)
        if answers is None:
            self.violate("what was mended is refused: " + mill.broker.err[-300:])
            return
        self.ends["mended"] += 1
        codes = {finding["code"] for finding in report["findings"]}
        lost = set(report["lost"])
        for low, high in re.findall(r"of the table jobs no row between the ids (\d+) and (\d+) could",
                                    "\n".join(report["notes"]), re.I):
            lost |= {job for job in self.known if int(low) <= number_of(job) <= int(high)}
        self.compare(answers, lost, "files" in codes, report["unnamed"])

    def serve(self, mill):
        """What the broker answers for every job; None if it refused or ended, with a sentence."""
        broker = mill.start_broker(waits=False)
        broker.is_expected_to_fail = True
        answers = {}
        try:
            harness.wait_for(mill.is_broker_up, "a start or an end", START_S)
            connection = mill.connection(START_S)
            for job in self.known:
                answers[job] = mill.call("GET", f"/v1/jobs/{job}", connection=connection)
            connection.close()
            broker.stop()
            return None if self.is_told(answers, broker) else answers
        except (harness.Failure, OSError, harness.http.client.HTTPException):
            pass
        if broker.is_running():
            self.violate("the broker neither serves nor ends")
            broker.kill()
        elif broker.wait() != 1:
            self.violate(f"the broker ended with {broker.wait()}: {broker.err[-500:]}")
        elif not re.search(r"jobs\.db|jobmill doctor", broker.err):
            self.violate(f"no sentence: {broker.err[-500:]}")
        return None

    def is_told(self, answers, broker):
        """Whether it has refused what it could not read, and said what to do."""
        refused = [job for job, answer in answers.items()
                   if answer.status == 500 and answer.code == "database_corrupt"]
        if refused and "run `jobmill doctor --db FILE`" not in broker.err:
            self.violate(f"{refused[0]} cannot be read, and the log does not say so: {broker.err[-500:]}")
        self.ends["told"] += bool(refused)
        return bool(refused)

    def repair(self, mill):
        command = [harness.BIN / "jobmill", "doctor", f"--db={mill.db_path}", "--repair", "--json"]
        try:
            run = subprocess.run(command, capture_output=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            self.violate("the doctor does not end")
            return None
        if run.returncode == 0:
            return json.loads(run.stdout)
        if run.returncode == 2 and b"jobs.db" in run.stderr:
            self.ends["impossible"] += 1
        elif run.returncode == 1:
            self.ends["not mended"] += 1
        else:
            self.violate(f"the doctor ended with {run.returncode}: {run.stderr[-500:]!r}")
        return None

    def compare(self, answers, lost, is_log_given_up, unnamed):
        """`unnamed`: how many jobs may be gone whose ids were not told; None: any."""
        gone = [job for job, answer in answers.items() if answer.status == 404 and job not in lost]
        if not is_log_given_up:
            self.judge_gone(gone, unnamed)
        for job, answer in answers.items():
            if job in lost:
                continue
            if answer.status == 200:
                self.compare_job(job, answer.value, is_log_given_up)
            elif answer.status == 406:  # no UTF-8 any more: a value, too
                self.unseen_values += 1
            elif answer.status not in (404, 500):
                self.violate(f"{job}: {answer}")

    def judge_gone(self, gone, unnamed):
        if unnamed is None:
            self.uncounted += len(gone)
        elif len(gone) <= unnamed:
            self.unnamed += len(gone)
        else:
            for job in gone:
                self.violate(f"{job} is gone and nobody said so ({len(gone)} such, {unnamed} were counted)")

    def compare_job(self, job, found, is_log_given_up):
        state, args = self.known[job]
        if found["state"] != state and not is_log_given_up:
            self.violate(f"{job} was {state} and is {found['state']}, and nobody said so")
        elif found.get("args") != args:
            self.unseen_values += 1

    def summary(self, cases):
        return {"part": "damage", "cases": cases, "kinds": dict(sorted(self.kinds.items())),
                "ends": dict(self.ends), "unseen_values": self.unseen_values,
                "unnamed": self.unnamed, "uncounted": self.uncounted,
                "violations": self.violations}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="this case alone")
    options = parser.parse_args()
    cases = [options.only] if options.only is not None else range(options.cases)
    with tempfile.TemporaryDirectory() as directory:
        known = make_images(pathlib.Path(directory))
        sweep = Sweep(pathlib.Path(directory), known)
        for case in cases:
            sweep.run(case, options.seed)
    print(json.dumps(sweep.summary(len(cases))))
    return 1 if sweep.violations else 0


if __name__ == "__main__":
    sys.exit(main())
