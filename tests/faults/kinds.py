"""What can go wrong: each kind is one function below that does it to a World and returns how it is
ended, as (seconds to hold, function), or None if there is nothing to end. A new kind is a new
function with its line above it."""

import os
import pathlib
import signal
import time

import world as world_module

from world import harness

LEASE_S = world_module.LEASE_S
LONGEST_STEP_MS = 3_600_000
KINDS = {}


class Kind:
    def __init__(self, begin, name, weight, touches, needs, may_end, reruns):
        self.begin = begin
        self.name = name
        self.weight = weight    # how often it is chosen
        self.touches = touches  # two kinds that touch the same are not done at once
        self.needs = needs      # what has to be there: "disk", "network", "clock"
        self.may_end = may_end  # programs that may end by themselves
        self.reruns = reruns    # whether jobs may be run again because of it


def kind(name, touches, weight=10, needs=None, may_end=(), reruns=True):
    def keep(begin):
        KINDS[name] = Kind(begin, name, weight, set(touches.split()), needs, may_end, reruns)
        return begin
    return keep


# ---- processes -------------------------------------------------------------------------------

def signal_quietly(pid, signum):
    try:
        os.kill(pid, signum)
        return True
    except ProcessLookupError:
        return False


def hold_process(pid, hold_s):
    signal_quietly(pid, signal.SIGSTOP)
    return hold_s, lambda: signal_quietly(pid, signal.SIGCONT)


@kind("child: SIGKILL", "child", weight=80)
def kill_child(world, rng):
    """One, or all of a host at once."""
    children = rng.choice(world.hosts).children()
    for pid in children[:rng.choice((1, 1, len(children)))]:
        world.kills += signal_quietly(pid, signal.SIGKILL)


@kind("child: SIGSTOP", "child")
def stop_child(world, rng):
    children = rng.choice(world.hosts).children()
    return hold_process(rng.choice(children), rng.uniform(0.05, 1.5)) if children else None


@kind("worker host: SIGKILL", "host", weight=30)
def kill_host(world, rng):
    host = rng.choice(world.hosts)
    world.kill(host.program)
    return rng.choice((0, 0, 0.5)), lambda: world.start_host(host)


@kind("worker host: SIGSTOP", "host", weight=6)
def stop_host(world, rng):
    return hold_process(rng.choice(world.hosts).program.pid, rng.choice((0.3, 1, LEASE_S + 2)))


@kind("worker host: drain", "host", weight=6)
def drain_host(world, rng):
    host = rng.choice(world.hosts)
    host.program.is_expected_to_fail = True
    host.program.send(signal.SIGTERM)

    def heal():
        status = host.program.wait()
        if status != 0:
            raise harness.Failure(f"a drain ended with {status}: {host.program.err[-2000:]}")
        world.start_host(host)
    return 0, heal


@kind("broker: SIGKILL", "broker", weight=40, reruns=False)
def kill_broker(world, rng):
    world.kill(world.broker)
    return rng.choice((0, 0, 0, 0.2)), lambda: world.start_broker(waits=False)


@kind("broker: SIGSTOP", "broker", weight=6, reruns=False)
def stop_broker(world, rng):
    return hold_process(world.broker.pid, rng.uniform(0.1, 2))


@kind("broker: restart", "broker", weight=6, reruns=False)
def restart_broker(world, rng):
    broker = world.broker
    broker.is_expected_to_fail = True
    broker.send(signal.SIGTERM)

    def heal():
        status = broker.wait()
        if status != 0:
            raise harness.Failure(f"the broker ended with {status}: {broker.err[-2000:]}")
        world.start_broker(waits=False)
    return 0, heal


@kind("client: SIGKILL", "client", weight=8, reruns=False)
def kill_client(world, rng):
    """Which is no fault of the system, and so not among the kills."""
    world.load.replace_one(rng)


# ---- Redis -----------------------------------------------------------------------------------

@kind("Redis: SIGKILL, empty restart", "redis", weight=20)
def kill_redis(world, rng):
    world.kill(world.redis)
    return rng.choice((0, 0, 0.3, 1)), lambda: world.start_redis_at(world.redis_target)


@kind("Redis: SIGSTOP", "redis", weight=6)
def stop_redis(world, rng):
    return hold_process(world.redis.pid, rng.choice((0.1, 0.5, 2)))


@kind("Redis: FLUSHALL", "redis")
def flush_redis(world, rng):
    world.redis_order("FLUSHALL")


@kind("Redis: swapped for an empty one", "redis link", weight=6)
def swap_redis(world, rng):
    old = world.redis
    point_to(world, world.new_redis_path())
    return 0.2, old.kill


@kind("Redis: an old state comes back", "redis link", weight=4)
def return_redis(world, rng):
    old, old_path = world.redis, world.redis_target
    point_to(world, world.new_redis_path())

    def heal():
        new = world.redis
        world.note(e="stale")
        world.redis = old
        point_to(world, old_path, is_there=True)
        new.kill()
    return rng.uniform(0.2, 3), heal


def point_to(world, path, is_there=False):
    world.redis_target = path
    if not is_there:
        world.start_redis_at(path)
    harness.wait_for(lambda: world.redis_order("PING") == b"PONG", "Redis answers")
    for name in ("broker", *(host.link for host in world.hosts)):
        world.tell_proxy("to", name, to=str(path))


@kind("Redis: slow", "link", weight=6)
def slow_redis(world, rng):
    names, ms = some_links(world, rng), rng.choice((5, 30, 150))
    for name in names:
        world.tell_proxy("slow", name, ms=ms)
    return rng.uniform(0.3, 2), lambda: [world.tell_proxy("slow", name, ms=0) for name in names]


@kind("Redis: refuses writes", "redis", weight=6)
def fill_redis(world, rng):
    world.redis_order("CONFIG", "SET", "maxmemory", "1")
    return rng.uniform(0.1, 1.5), lambda: world.redis_order("CONFIG", "SET", "maxmemory", "0")


# ---- links -----------------------------------------------------------------------------------

def some_links(world, rng):
    names = ["broker", *(host.link for host in world.hosts)]
    return rng.sample(names, rng.randint(1, len(names)))


@kind("link to Redis: cut in mid-word", "link", weight=20)
def cut_link(world, rng):
    for name in some_links(world, rng):
        way = rng.choice(("up", "down"))
        world.tell_proxy("cut", name, after=rng.randrange(0, 400), way=way)


@kind("link to Redis: all closed", "link")
def close_link(world, rng):
    for name in some_links(world, rng):
        world.tell_proxy("cut", name)


@kind("link to Redis: nothing passes", "link", weight=4)
def hold_link(world, rng):
    names = some_links(world, rng)
    for name in names:
        world.tell_proxy("hold", name, on=True)
    return (rng.choice((0.3, 1, LEASE_S + 2)),
            lambda: [world.tell_proxy("hold", name, on=False) for name in names])


@kind("link to Redis: refused", "link", weight=4)
def refuse_link(world, rng):
    names = some_links(world, rng)
    for name in names:
        world.tell_proxy("refuse", name, on=True)
        world.tell_proxy("cut", name)
    return rng.uniform(0.1, 1), lambda: [world.tell_proxy("refuse", name, on=False)
                                         for name in names]


@kind("network: partition", "link host", weight=6, needs="network")
def part_network(world, rng):
    world.network.part()
    return rng.choice((0.5, 1.5, LEASE_S + 2)), world.network.heal


@kind("HTTP: cut in mid-word", "http", weight=20, reruns=False)
def cut_http(world, rng):
    for _ in range(3):
        world.tell_proxy("cut", "http", after=rng.randrange(0, 2000),
                         way=rng.choice(("up", "down")))
        time.sleep(0.02)


# ---- disk ------------------------------------------------------------------------------------

@kind("disk: full", "disk broker", weight=5, needs="disk", may_end=("broker",))
def fill_disk(world, rng):
    world.disk.fill()
    return rng.uniform(0.2, 2), world.disk.free


def freeze(pid):
    """Stops a process and waits until each thread stands still. An fdatasync of an appended block that
    is under way while ext4 is shut down says 0 and has not written it (tried without jobmill: 6 of 66
    times), so none may be."""
    def stands():
        try:
            states = [path.read_text().rpartition(")")[2].split()[0]
                      for path in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")]
        except OSError:
            return True
        return all(state in "TtZX" for state in states)
    signal_quietly(pid, signal.SIGSTOP)
    harness.wait_for(stands, "the broker stands still")


@kind("disk: becomes read-only", "disk broker", weight=4, needs="disk", may_end=("broker",))
def lock_disk(world, rng):
    freeze(world.broker.pid)
    world.disk.become_read_only()
    world.note(e="stale")  # that a job was sent is not synced; it may be sent again as it was
    signal_quietly(world.broker.pid, signal.SIGCONT)
    return rng.uniform(0.1, 1), lambda: revive_disk(world)


@kind("disk: power cut", "disk broker", weight=6, needs="disk", may_end=("broker",))
def cut_power(world, rng):
    freeze(world.broker.pid)
    world.disk.lose_power()
    world.note(e="stale")
    world.kills += 1
    return rng.choice((0, 0.05, 0.3)), lambda: revive_disk(world)


def revive_disk(world):
    world.broker.kill()
    world.disk.revive()
    world.start_broker(waits=False)


# ---- clocks ----------------------------------------------------------------------------------

@kind("wall clock: steps there and back", "clock", weight=8, needs="clock", reruns=False)
def step_clock(world, rng):
    step_to(world, rng.choice((-1, 1)) * rng.choice((900, 5000, 90_000, LONGEST_STEP_MS)))
    return rng.uniform(0.1, 2), lambda: step_to(world, 0)


def step_to(world, offset_ms):
    world.clock.step_to(offset_ms)
    world.note(e="clock")
