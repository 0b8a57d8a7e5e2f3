"""./dev peers: other job queues, beside ours in the same run.

usage: peers.py [--rounds N] [--seconds S] [--json FILE] [NAME…]

Each is tuned as its own documents advise, driven by its own client library in the language it is at home
in, with two worker processes (or goroutines for two cores), no-op jobs of about 120 bytes. What is said of
durability is what the settings used here mean. jobmill itself runs first, over HTTP, with every 2xx and
every shown end fsynced.

    one         submits, one at a time
    many        submits, 64 in flight
    bulk        submits, 1,000 a call
    end         from the submit to the result in the client's hands, jobs a second; the best of 64 and 256
    idle        one job at a time, from the submit to its result: p50 and p99

What a peer needs is installed by `./dev peers` (Debian's packages) and here, into build/peers (npm, PyPI and
the Go proxy through their usual clients). One that cannot be had is named and left out.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))
import measure  # noqa: E402
import mill  # noqa: E402

BUILD = ROOT / "build" / "peers"
ROWS = ("one", "many", "bulk", "end", "idle")


def run(words, **options):
    done = subprocess.run([str(word) for word in words], check=False, capture_output=True, text=True,
                          **options)
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]}: {(done.stderr or done.stdout)[-400:]}")
    return done.stdout


def first_line(*words):
    return run(words).splitlines()[0].strip()


def need(program):
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        raise RuntimeError(f"{program} is not installed")
    return found


class Peer:
    """One queue: how to get it, what runs beside it, and its driver."""

    name = durability = client = ""
    rows = ROWS
    note = ""

    def install(self):
        """Makes what is run below; raises if that cannot be had."""

    def version(self):
        raise NotImplementedError

    def __enter__(self):
        self.programs = []
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="peer-", dir=BUILD))
        mill.running.append(self)
        self.open()
        return self

    def __exit__(self, *_):
        self.stop()

    def open(self):
        """Its server."""

    def start(self, *words, **options):
        program = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, cwd=options.pop("cwd", self.dir), **options)
        self.programs.append(program)
        return program

    def stop(self):
        mill.running.remove(self)
        mill.end_all(self.programs)
        shutil.rmtree(self.dir, ignore_errors=True)

    def start_workers(self):
        """Two processes."""

    def words(self, mode, seconds, in_flight):
        """The driver's command line."""
        raise NotImplementedError

    def drive(self, mode, seconds, in_flight=1):
        return json.loads(run(self.words(mode, seconds, in_flight), cwd=getattr(self, "cwd", self.dir),
                              timeout=30 + 10 * seconds))

    def measure(self, row, seconds):
        if row in ("one", "many"):
            return self.drive("submit", seconds, 1 if row == "one" else 64)
        if row == "bulk":
            return self.drive("bulk", seconds)
        self.start_workers()
        self.drive("end", 0.5, 16)  # both workers are warm
        if row == "idle":
            return self.drive("end", seconds, 1)
        return max((self.drive("end", seconds, n) for n in (64, 256)), key=lambda found: found["rate"])


class Jobmill(Peer):
    name = "jobmill"
    durability = "a 2xx and a shown end are fsynced"
    client = "HTTP, the generator of the bench in C"

    def version(self):
        return first_line(mill.BIN / "jobmill-broker", "--version").split()[-1]

    def measure(self, row, seconds):
        options = {"method": "POST", "path": "/v1/jobs", "body": mill.NOOP}
        if row == "bulk":
            options.update(path="/v1/jobs/batch", body="[" + ",".join([mill.NOOP] * 1000) + "]",
                           connections=2)
        elif row in ("one", "many"):
            options.update(expect=201, connections=1 if row == "one" else 64)
        else:
            options.update(path="/v1/jobs?wait=30")
        server = mill.Mill(2 if row in ("end", "idle") else 0)
        counts = (64, 256) if row == "end" else (1,) if row == "idle" else (options.pop("connections"),)
        found = [measure.load(server, seconds, connections=n, **options) for n in counts]
        server.stop()
        best = max(found, key=lambda figures: figures["rate"])
        return {"rate": best["rate"] * (1000 if row == "bulk" else 1), "p50_ms": best["p50_us"] / 1000,
                "p99_ms": best["p99_us"] / 1000}


class InC(Peer):
    source = ""
    libraries = ()

    def install(self):
        self.program = BUILD / self.source
        run(["cc", "-O2", "-o", self.program, HERE / "c" / f"{self.source}.c", HERE / "c" / "peer.c",
             *self.libraries])

    def start_workers(self):
        for _ in range(2):
            self.start(self.program, self.port, "worker")

    def words(self, mode, seconds, in_flight):
        return [self.program, self.port, mode, seconds, in_flight]


class Gearmand(InC):
    name = "gearmand"
    durability = "none: acknowledged in memory"
    client = "libgearman (C)"
    source = "gearman"
    libraries = ("-lgearman",)
    rows = ("one", "many", "end", "idle")
    note = "submits are background jobs; end to end are foreground ones"

    def version(self):
        return run([need("gearmand"), "--version"]).split()[1]

    def open(self):
        self.port = mill.free_port()
        self.start(need("gearmand"), "--listen=127.0.0.1", f"--port={self.port}",
                   f"--log-file={self.dir}/log")
        mill.wait_until(lambda: mill.answers(self.port), 10, "gearmand serves")


class Beanstalkd(InC):
    name = "beanstalkd"
    durability = "none: acknowledged in memory"
    client = "its text protocol (C), pipelined"
    source = "beanstalk"
    options = ()
    rows = ("one", "many", "end", "idle")
    note = "it keeps no results: the worker answers by a job in another tube"

    def version(self):
        return first_line(need("beanstalkd"), "-v").split()[-1]

    def open(self):
        self.port = mill.free_port()
        log = ["-b", self.dir] if self.options else []
        self.start(need("beanstalkd"), "-l", "127.0.0.1", "-p", self.port, *log, *self.options)
        mill.wait_until(lambda: mill.answers(self.port), 10, "beanstalkd serves")


class BeanstalkdEach(Beanstalkd):
    name = "beanstalkd -f 0"
    durability = "an fsync for each write"
    options = ("-f", "0")


class BeanstalkdOften(Beanstalkd):
    name = "beanstalkd -f 50"
    durability = "an fsync every 50 ms: acknowledged before"
    options = ("-f", "50")


class OnRedis(Peer):
    durability = "acknowledged in memory; Redis with AOF, an fsync every second"

    def open(self):
        self.redis = self.dir / "redis.sock"
        server = shutil.which("redis-server") or need("valkey-server")
        self.start(server, "--port", "0", "--unixsocket", self.redis, "--save", "", "--appendonly",
                   "yes", "--appendfsync", "everysec", "--dir", self.dir)
        mill.wait_until(self.redis.exists, 10, "Redis serves")


class InNode(OnRedis):
    client = "Node"
    script = package = ""

    def install(self):
        self.tree = BUILD / "node"
        shutil.copytree(HERE / "node", self.tree, dirs_exist_ok=True)
        run([need("npm"), "install", "--no-audit", "--no-fund"], cwd=self.tree)

    def version(self):
        package = self.tree / "node_modules" / self.package / "package.json"
        return json.loads(package.read_text())["version"] + ", Node " + first_line("node", "--version")

    def start_workers(self):
        for _ in range(2):
            self.start("node", self.tree / self.script, self.redis, "worker")

    def words(self, mode, seconds, in_flight):
        return ["node", self.tree / self.script, self.redis, mode, seconds, in_flight]


class BullMQ(InNode):
    name, script, package = "BullMQ", "bullmq.js", "bullmq"


class BeeQueue(InNode):
    name, script, package = "bee-queue", "beequeue.js", "bee-queue"


class InPython(OnRedis):
    client = "Python"
    package = ""

    def install(self):
        self.python = BUILD / "venv" / "bin" / "python"
        self.cwd = HERE / "python"
        if not self.python.exists():
            run([sys.executable, "-m", "venv", BUILD / "venv"])
        run([self.python, "-m", "pip", "install", "--quiet", "celery[redis]", "rq"])

    def version(self):
        return first_line(self.python, "-c", f"import importlib.metadata as m; "
                          f"print(m.version('{self.package}'))")


class Celery(InPython):
    name = package = "celery"
    rows = ("one", "many", "end", "idle")

    def start_workers(self):
        self.start(self.python, "-m", "celery", "-A", "celery_peer", "worker", "--concurrency=2",
                   "--without-gossip", "--without-mingle", "--without-heartbeat", cwd=self.cwd,
                   env={**os.environ, "PEER_REDIS": str(self.redis)})

    def words(self, mode, seconds, in_flight):
        return [self.python, "celery_peer.py", self.redis, mode, seconds, in_flight]


class Rq(InPython):
    name, package = "RQ", "rq"

    def start_workers(self):
        for _ in range(2):
            self.start(self.python, "rq_peer.py", self.redis, "worker", cwd=self.cwd)

    def words(self, mode, seconds, in_flight):
        return [self.python, "rq_peer.py", self.redis, mode, seconds, in_flight]


def build_go(name):
    tree = BUILD / "go"
    shutil.copytree(HERE / "go", tree, dirs_exist_ok=True)
    run([need("go"), "mod", "tidy"], cwd=tree)
    run(["go", "build", "-o", BUILD / f"go-{name}", f"./{name}"], cwd=tree)
    return BUILD / f"go-{name}"


def version_go(module):
    return run(["go", "list", "-m", module], cwd=BUILD / "go").split()[-1]


class Asynq(OnRedis):
    name = "asynq"
    client = "Go"
    rows = ("one", "many")
    note = "it has no way to wait for a result, and no bulk submit"

    def install(self):
        self.program = build_go("asynq")

    def version(self):
        return version_go("github.com/hibiken/asynq")

    def words(self, mode, seconds, in_flight):
        return [self.program, self.redis, mode, seconds, in_flight]


class River(Peer):
    name = "River"
    durability = "PostgreSQL, synchronous_commit on: a commit is fsynced"
    client = "Go; client and worker in one process, as its events need"

    def install(self):
        self.program = build_go("river")
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not found:
            raise RuntimeError("postgresql is not installed")
        self.postgres = found[-1].parent

    def version(self):
        return version_go("github.com/riverqueue/river") + ", " + first_line(
            self.postgres / "postgres", "--version")

    def open(self):
        """PostgreSQL does not run as root."""
        user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        self.dir.chmod(0o755)
        data = pathlib.Path(tempfile.mkdtemp(prefix="river-", dir=ROOT / "build"))
        self.data = data
        if user:
            shutil.chown(data, "postgres")
        run([*user, self.postgres / "initdb", "-D", data, "-A", "trust", "-U", "postgres"], cwd="/")
        port = mill.free_port()
        self.start(*user, self.postgres / "postgres", "-D", data, "-p", port, "-k", data, "-c",
                   "listen_addresses=127.0.0.1", "-c", "shared_buffers=256MB", cwd="/")
        mill.wait_until(lambda: subprocess.run(
            [self.postgres / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)],
            check=False).returncode == 0, 30, "PostgreSQL serves")
        self.url = f"postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable"

    def stop(self):
        super().stop()
        shutil.rmtree(self.data, ignore_errors=True)

    def words(self, mode, seconds, in_flight):
        return [self.program, self.url, mode, seconds, in_flight]


PEERS = (Jobmill, Gearmand, Beanstalkd, BeanstalkdOften, BeanstalkdEach, BullMQ, BeeQueue, Celery, Rq, Asynq,
         River)


def run_peer(peer, rounds, seconds):
    figures = {}
    for row in peer.rows:
        found = []
        for _ in range(rounds):
            with peer:
                found.append(peer.measure(row, seconds))
        figures[row] = {key: statistics.median(f[key] for f in found) for key in found[0]}
        print(f"  {row:6} {figures[row]['rate']:>10,.0f} /s   p50 {figures[row]['p50_ms']:.2f}  "
              f"p99 {figures[row]['p99_ms']:.2f} ms", flush=True)
    return figures


def try_peer(peer, options):
    print(peer.name, flush=True)
    try:
        peer.install()
        version = peer.version()
        figures = run_peer(peer, options.rounds, options.seconds)
    except (OSError, RuntimeError, TimeoutError, ValueError, IndexError,
            subprocess.TimeoutExpired) as error:
        print(f"  cannot be had or does not run: {error}", flush=True)
        return {"peer": peer.name, "missing": str(error)}
    rows = {name: figures[row]["rate"] for row, name in (
        ("one", "submit_one"), ("many", "submit_64"), ("bulk", "bulk"), ("end", "end_to_end"))
            if row in figures}
    if "idle" in figures:
        rows.update(idle_p50_ms=figures["idle"]["p50_ms"], idle_p99_ms=figures["idle"]["p99_ms"])
    return {"peer": peer.name, "version": version, "durability": peer.durability, "client": peer.client,
            "note": peer.note, "rows": rows, "command": f"./dev peers {peer.name.split()[0]}"}


def main():
    parser = argparse.ArgumentParser(prog="./dev peers", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "docs" / "benchmarks-peers.json")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(p.name for p in PEERS))
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    chosen = [p() for p in PEERS
              if not options.names or p.name in options.names or p.name.split()[0] in options.names]
    if not chosen:
        parser.error("nobody is called like that")
    found = [try_peer(peer, options) for peer in chosen]
    if options.names and options.json.exists():
        new = {one["peer"] for one in found}
        found = [one for one in json.loads(options.json.read_text()) if one["peer"] not in new] + found
    options.json.parent.mkdir(exist_ok=True)
    options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
