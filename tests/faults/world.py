"""The real programs under fault: a Redis behind a proxy, a broker with its database on a disk of its
own, two worker hosts (one of them in a network of its own), a wall clock that can be stepped.

What needs root (mounts, networks) lies in namespaces that end with the processes in them, so that
nothing is left behind even by a SIGKILL; without root it is left out, and `missing` says why."""

import ctypes
import fcntl
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import uuid

from load import FAULTS, QUEUES, TOOLS, Load, harness

LEASE_S = 3
DISK_BYTES = 1 << 30   # of the image, which is sparse
CLONE_NEWNS = 0x00020000
EXT4_IOC_SHUTDOWN, SHUTDOWN_WITHOUT_LOG_FLUSH = 0x8004587D, 2


def is_root():
    return os.geteuid() == 0


def run(*words):
    """A command of the system; its words on failure are the reason for whatever follows."""
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def enter_mount_namespace():
    """From here on nobody else sees our mounts, and they end with us."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    run("mount", "--make-rprivate", "/")


BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Disk:
    """A small file system for the database: ext4 in a sparse file. What is lost with it would be lost
    with the machine; so when it comes back, the machine seems to have been down."""

    def __init__(self, directory):
        self.boot_id = directory / "boot_id"
        self.image = directory / "disk.img"
        self.at = directory / "disk"
        self.filler = self.at / "filler"
        self.at.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(DISK_BYTES)
        self.boot()
        run("mount", "--bind", self.boot_id, BOOT_ID)
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1", self.image)
        self.mount()

    def mount(self):
        run("mount", "-o", "loop", self.image, self.at)

    def unmount(self):
        run("umount", self.at)

    def close(self):
        self.unmount()
        run("umount", BOOT_ID)

    def fill(self):
        """To the last block; what is already given to a file can still be written over."""
        with open(self.filler, "wb") as file:
            free = os.statvfs(self.at)
            size = free.f_bavail * free.f_frsize
            while size >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
                except OSError:
                    size //= 2

    def free(self):
        self.filler.unlink(missing_ok=True)

    def become_read_only(self):
        """As the kernel does when it meets an error of the device."""
        run("mount", "-o", "remount,abort", self.at)

    def lose_power(self):
        """Nothing reaches the disk from here on; what was not synced is lost."""
        fd = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", SHUTDOWN_WITHOUT_LOG_FLUSH))
        finally:
            os.close(fd)

    def revive(self):
        """Nobody may have a file open on it."""
        self.unmount()
        subprocess.run(["e2fsck", "-p", str(self.image)], capture_output=True, check=False)
        self.boot()
        self.mount()
        self.free()  # that it was freed before may be lost as well

    def boot(self):
        self.boot_id.write_text(f"{uuid.uuid4()}\n")


class Network:
    """A network namespace joined to ours by one cable. Its holder is a process that does nothing."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"],
                                       stdin=subprocess.DEVNULL)
        self.cable = f"jm{os.getpid() % 1000000}x"
        net = f"10.{random.randrange(64, 250)}.{random.randrange(256)}"
        self.here, there = f"{net}.1", f"{net}.2"
        try:
            harness.wait_for(self.is_apart, "a network namespace is there", 5)
            run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "jm0", "netns",
                self.holder.pid)
            run("ip", "addr", "add", f"{self.here}/30", "dev", self.cable)
            run("ip", "link", "set", self.cable, "up")
            run(*self.inside("ip", "addr", "add", f"{there}/30", "dev", "jm0"))
            run(*self.inside("ip", "link", "set", "jm0", "up"))
        except (OSError, harness.Failure):
            self.close()
            raise

    def is_apart(self):
        try:
            return (os.readlink(f"/proc/{self.holder.pid}/ns/net") != os.readlink("/proc/self/ns/net")
                    and pathlib.Path(f"/proc/{self.holder.pid}/comm").read_text() == "sleep\n")
        except OSError:
            return False

    def inside(self, *words):
        return ["nsenter", "-t", str(self.holder.pid), "-n", *words]

    def part(self):
        run("ip", "link", "set", self.cable, "down")

    def heal(self):
        run("ip", "link", "set", self.cable, "up")

    def close(self):
        self.holder.kill()
        self.holder.wait()
        subprocess.run(["ip", "link", "del", self.cable], capture_output=True, check=False)


class Clock:
    """The offset of the wall clock that broker and workers see."""

    def __init__(self, directory):
        self.path = directory / "clock"
        self.path.write_bytes(struct.pack("q", 0))
        self.shim = TOOLS / "clock_shim.so"

    def env(self):
        if not self.shim.exists():
            return {}
        # A sanitizer's runtime wants to be first; the shim calls nothing that it watches.
        return {"LD_PRELOAD": str(self.shim), "JM_CLOCK_FILE": str(self.path),
                "ASAN_OPTIONS": "exitcode=99:abort_on_error=0:detect_leaks=1:"
                                "verify_asan_link_order=0"}

    def step_to(self, offset_ms):
        with open(self.path, "r+b") as file:
            file.write(struct.pack("q", offset_ms))


class Host:
    """A worker host and its way to Redis."""

    def __init__(self, link, address, prefix):
        self.link = link
        self.address = address
        self.prefix = prefix
        self.program = None

    def children(self):
        """Those that run jobs, without programs that they have started."""
        try:
            path = f"/proc/{self.program.pid}/task/{self.program.pid}/children"
            return [int(word) for word in pathlib.Path(path).read_text().split()]
        except OSError:
            return []


class World(harness.Mill):
    def __init__(self, options, seed=1, has_disk=True, has_network=True):
        super().__init__()
        self.options = options
        self.seed = seed
        self.wants = (has_disk, has_network)
        self.disk = self.network = None
        self.missing = {}        # kind of need: why it cannot be had
        self.proxy = None
        self.hosts = []
        self.load = None
        self.complaints = []     # of programs that are gone
        self.redis_count = 0
        self.kills = 0
        self.proxy_lock = threading.Lock()

    # ---- building it ----

    def __enter__(self):
        super().__enter__()
        try:
            self.build()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def build(self):
        self.clock = Clock(self.dir)
        if not self.clock.env():
            self.missing["clock"] = f"{self.clock.shim} is not built"
        self.make_disk()
        self.make_network()
        self.load = Load(self, self.seed, self.socket_path, self.dir / "via-http.sock")
        self.start_proxy()
        self.redis_target = self.new_redis_path()
        self.start_redis_at(self.redis_target)
        self.redis_path = self.link("broker")
        self.start_hosts()
        self.link("http", to=self.socket_path)
        self.start_broker(*self.options)
        self.wait_for_workers(len(self.hosts))
        self.load.set_queues()

    def make_disk(self):
        if not self.wants[0]:
            self.missing["disk"] = "not wanted"
            return
        try:
            if not is_root():
                raise OSError("needs root")
            enter_mount_namespace()
            self.disk = Disk(self.dir)
            self.db_path = self.disk.at / "jobs.db"
        except OSError as reason:
            self.missing["disk"] = str(reason)

    def make_network(self):
        if not self.wants[1]:
            self.missing["network"] = "not wanted"
            return
        try:
            if not is_root():
                raise OSError("needs root")
            self.network = Network()
        except (OSError, harness.Failure) as reason:
            self.missing["network"] = str(reason)

    def start_proxy(self):
        self.proxy = self.start("proxy", sys.executable, "-B", FAULTS / "proxy.py",
                                stdin=subprocess.PIPE)
        self.proxy_out = open(self.proxy.out_path, encoding="utf-8")

    def tell_proxy(self, do, name, **order):
        with self.proxy_lock:
            line = json.dumps({"do": do, "name": name, **order}) + "\n"
            self.proxy.process.stdin.write(line.encode())
            self.proxy.process.stdin.flush()
            answer = ""
            while not answer.endswith("\n"):
                answer += harness.wait_for(self.proxy_out.readline, "the proxy obeys")
            return json.loads(answer)

    def link(self, name, at=None, to=None):
        return self.tell_proxy("listen", name, at=at or str(self.dir / f"via-{name}.sock"),
                               to=str(to or self.redis_target))

    def start_hosts(self):
        self.hosts.append(Host("host1", f"unix:{self.link('host1')}", []))
        if self.network:
            port = self.link("host2", at=[self.network.here, 0])
            self.hosts.append(Host("host2", f"{self.network.here}:{port}", self.network.inside()))
        else:
            self.hosts.append(Host("host2", f"unix:{self.link('host2')}", []))
        for host in self.hosts:
            self.start_host(host)

    # ---- programs, which come and go ----

    def start(self, name, *command, **options):
        self.bury()
        return super().start(name, *command, **options)

    def bury(self):
        """Forgets programs that were killed, after a look at what they said."""
        for program in list(self.programs):
            if program.is_expected_to_fail and not program.is_running():
                complaint = program.complaint()
                if complaint:
                    self.complaints.append(f"{program.name}: {complaint}\n{program.err[-6000:]}")
                self.programs.remove(program)
                program.err_path.unlink(missing_ok=True)
                program.out_path.unlink(missing_ok=True)

    def kill(self, program):
        program.kill()
        self.kills += 1

    def new_redis_path(self):
        self.redis_count += 1
        return self.dir / f"redis-{self.redis_count}.sock"

    def start_redis_at(self, path):
        """Nothing is saved, so a Redis that is started anew is empty."""
        path.unlink(missing_ok=True)
        server = shutil.which("redis-server") or shutil.which("valkey-server")
        self.redis = self.start("redis", server, "--port", "0", "--unixsocket", path, "--save", "",
                                "--appendonly", "no", "--dir", self.dir, "--daemonize", "no")
        return self.redis

    def redis_order(self, *words):
        """At the present Redis itself, past the proxy."""
        path, self.redis_path = self.redis_path, self.redis_target
        try:
            return self.redis_call(*words)
        finally:
            self.redis_path = path

    def start_broker(self, *options, waits=True):
        self.broker = self.start("broker", harness.BIN / "jobmill-broker",
                                 "--listen", f"unix:{self.socket_path}", "--db", self.db_path,
                                 "--redis", f"unix:{self.dir / 'via-broker.sock'}",
                                 "--lease", f"{LEASE_S}s", "--log-level", "info",
                                 *(options or self.options), env=self.clock.env())
        if waits:
            harness.wait_for(self.is_broker_up, "the broker answers")
        return self.broker

    def start_host(self, host):
        host.program = self.start("worker", *host.prefix, harness.BIN / "jobmill-worker",
                                  "--redis", host.address, "--slots", "2", "--queues",
                                  ",".join(f"{name}:{weight}" for name, weight in QUEUES.items()),
                                  "--test-tasks", "--tasks-dir", self.load.tasks,
                                  "--drain-grace", "2s", env=self.clock.env())

    # ---- what runs, and what has ended by itself ----

    def supervise(self, may_end=()):
        """Starts again what is not there. Returns what ended though nobody had killed it."""
        fallen = []
        for program in [self.broker, self.redis, self.proxy, *(host.program for host in self.hosts)]:
            if program.is_running() or program.is_expected_to_fail:
                continue
            status = program.wait()
            program.is_expected_to_fail = True
            if status < 0 or program.name.partition("-")[0] not in may_end:
                fallen.append(f"{program.name} ended with {status}: {program.err[-2000:]}")
        if not self.redis.is_running():
            self.start_redis_at(self.redis_target)
        if not self.broker.is_running():
            self.start_broker(waits=False)
        for host in self.hosts:
            if not host.program.is_running():
                self.start_host(host)
        return fallen

    # ---- the end ----

    def __exit__(self, kind, error, trace):
        if kind is KeyboardInterrupt:
            self.tell = lambda: None
        try:
            super().__exit__(kind, error, trace)
        finally:
            self.leave()

    def stop_all(self, faults):
        """The proxy ends behind the workers, which speak through it. Whoever was stopped goes on."""
        for program in self.programs:
            if program.is_running():
                program.send(signal.SIGCONT)
        last = [program for program in (self.proxy, self.broker, self.redis) if program]
        if self.proxy:
            self.proxy.is_expected_to_fail = True
        self.programs.sort(key=lambda program: program in last)
        super().stop_all(faults)
        faults += self.complaints

    def kill_rest(self, faults):
        if self.network:
            self.network.close()
        super().kill_rest(faults)
        if self.disk:
            try:
                self.disk.close()
            except OSError as reason:
                faults.append(str(reason))

    def leave(self):
        if self.proxy:
            self.proxy_out.close()
            self.proxy.process.stdin.close()
        shutil.rmtree(self.dir, ignore_errors=True)
