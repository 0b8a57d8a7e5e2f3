"""msgpack (github.com/msgpack/msgpack, spec.md) and the messages of schema/wire.h, written a second
time and apart from the C sources, so that both sides of a test do not share one mistake."""

import struct


def pack(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return pack_int(value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        return head(len(data), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + data
    if isinstance(value, bytes):
        return head(len(value), 0, 0, (0xC4, 0xC5, 0xC6)) + value
    if isinstance(value, (list, tuple)):
        return head(len(value), 0x90, 16, (None, 0xDC, 0xDD)) + b"".join(map(pack, value))
    if isinstance(value, dict):
        items = b"".join(pack(k) + pack(v) for k, v in value.items())
        return head(len(value), 0x80, 16, (None, 0xDE, 0xDF)) + items
    raise TypeError(type(value))


def head(count, fix, fix_limit, kinds):
    if count < fix_limit:
        return bytes([fix | count])
    for kind, code, limit in zip(kinds, ">B >H >I".split(), (1 << 8, 1 << 16, 1 << 32)):
        if kind is not None and count < limit:
            return bytes([kind]) + struct.pack(code, count)
    raise ValueError("too long")


def pack_int(value):
    if -32 <= value < 128:
        return struct.pack(">b", value)
    if value >= 0:
        for kind, code in ((0xCC, ">B"), (0xCD, ">H"), (0xCE, ">I"), (0xCF, ">Q")):
            if value < 1 << (8 * struct.calcsize(code)):
                return bytes([kind]) + struct.pack(code, value)
    return b"\xd3" + struct.pack(">q", value)


def unpack(data):
    value, end = read(data, 0)
    if end != len(data):
        raise ValueError("bytes behind the value")
    return value


def unpack_all(data):
    """Values that stand one behind the other."""
    values = []
    at = 0
    while at < len(data):
        value, at = read(data, at)
        values.append(value)
    return values


FIXED = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
         0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
SIZED = {0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xC6: ("bin", ">I"),
         0xD9: ("str", ">B"), 0xDA: ("str", ">H"), 0xDB: ("str", ">I"),
         0xDC: ("array", ">H"), 0xDD: ("array", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I")}


def read(data, at):
    first = data[at]
    at += 1
    if first < 0x80 or first >= 0xE0:
        return (first if first < 0x80 else first - 256), at
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if first in FIXED:
        return struct.unpack_from(FIXED[first], data, at)[0], at + struct.calcsize(FIXED[first])
    if first in SIZED:
        kind, code = SIZED[first]
        return read_sized(data, at + struct.calcsize(code), kind, struct.unpack_from(code, data, at)[0])
    if first < 0x90:
        return read_sized(data, at, "map", first & 15)
    if first < 0xA0:
        return read_sized(data, at, "array", first & 15)
    if first < 0xC0:
        return read_sized(data, at, "str", first & 31)
    raise ValueError(f"byte {first:#x}")


def read_sized(data, at, kind, count):
    if kind in ("bin", "str"):
        if at + count > len(data):
            raise ValueError("ends too early")
        content = data[at:at + count]
        return (content if kind == "bin" else content.decode()), at + count
    items = []
    for _ in range(count * (2 if kind == "map" else 1)):
        item, at = read(data, at)
        items.append(item)
    return (items if kind == "array" else dict(zip(items[::2], items[1::2]))), at


# ---- wire.h ----

KINDS = {1: "running", 2: "succeeded", 3: "failed", 4: "crashed", 5: "timed_out", 6: "killed",
         7: "handed_back"}
EVENT = ["version", "kind", "id", "attempt", "host", "slot", "pid", "has_begun", "begun_at_ms",
         "run_us", "result", "code", "message", "stderr_tail", "signal", "exit_status", "user_us",
         "system_us", "maxrss_bytes", "retry", "retry_after_ms"]
BEAT = ["version", "host", "seq", "pid", "is_draining", "started_at_ms", "slots", "hostname",
        "version_text", "held", "tasks", "queues"]
HELD = ["node", "id", "attempt", "has_begun", "run_ms", "slot", "done", "total", "message"]


def job(job_id, task, args=None, attempt=1, node=1, timeout_ms=60000, grace_ms=1000,
        queue="default"):
    return pack({0: 1, 1: node, 2: job_id, 3: attempt, 4: timeout_ms, 5: grace_ms, 6: queue,
                 7: task, 8: pack(args)})


def kill_order(job_id, attempt=1):
    return pack({0: 1, 1: 1, 2: job_id, 3: attempt})


def drain_order():
    return pack({0: 1, 1: 2})


def event(frame):
    """The message as a dict by field names; fields that were left out are None."""
    fields = unpack(frame)
    found = {name: fields.get(i) for i, name in enumerate(EVENT)}
    found["kind"] = KINDS[found["kind"]]
    found["has_begun"] = bool(found["has_begun"])
    if found["result"] is not None:
        found["result"] = unpack(found["result"])
    return found


def beat(frame):
    fields = unpack(frame)
    found = {name: fields.get(i) for i, name in enumerate(BEAT)}
    found["held"] = [dict(zip(HELD, held)) for held in found["held"] or []]
    return found
