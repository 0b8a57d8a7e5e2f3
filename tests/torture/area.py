"""The page that the shim shares with us; see area.h, whose layout this is."""

import errno
import mmap
import os
import pathlib
import struct

SHIM = (pathlib.Path(os.environ.get("JM_BIN", "build/asan/bin")).resolve().parent /
        "lib/torture_shim.so")
SUPPRESSIONS = pathlib.Path(__file__).resolve().with_name("lsan.supp")

STACKS = 1 << 15
HEAD_BYTES, STACK = 4096, struct.Struct("<QQ")
AREA_BYTES = HEAD_BYTES + STACKS * STACK.size
AT_KIND, AT_ERROR, AT_AT, AT_SEEN, AT_FIRED, AT_ROLE, AT_STACK, AT_ORDER = 0, 4, 8, 16, 24, 32, 40, 48

KINDS = {name: number for number, name in enumerate(
    ("alloc", "file_write", "sync", "file_read", "receive", "send", "connect", "open", "handle",
     "accept", "poll", "thread", "fork", "exec", "map", "lock", "size", "name", "pipe"), 1)}

# With what a call of the kind fails.
ERRORS = {
    "alloc": ["ENOMEM"],
    "file_write": ["ENOSPC", "EIO"],
    "sync": ["EIO"],
    "file_read": ["EIO"],
    "receive": ["ECONNRESET"],
    "send": ["EPIPE"],
    "connect": ["ECONNREFUSED"],
    "open": ["EMFILE"],
    "handle": ["EMFILE"],
    "accept": ["EMFILE"],
    "poll": ["ENOSPC"],
    "thread": ["EAGAIN"],
    "fork": ["EAGAIN"],
    "exec": ["ENOMEM"],
    "map": ["ENOMEM"],
    "lock": ["EIO"],
    "size": ["ENOSPC"],
    "name": ["EIO"],
    "pipe": ["EPIPE"],
}

EVERY_PROGRAM, PARENT, CHILD = range(3)


class Area:
    def __init__(self, directory, role=EVERY_PROGRAM):
        self.path = directory / "torture"
        self.path.write_bytes(bytes(AREA_BYTES))
        with open(self.path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), AREA_BYTES)
        self.put("<I", AT_ROLE, role)

    def env(self):
        options = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0")))
        return {"LD_PRELOAD": str(SHIM), "JM_TORTURE_AREA": str(self.path),
                "LSAN_OPTIONS": f"print_suppressions=0:suppressions={SUPPRESSIONS}",
                "ASAN_OPTIONS": "exitcode=99:abort_on_error=0:detect_leaks=1:"
                                "allocator_may_return_null=1:" + options}

    def put(self, form, at, value):
        self.page[at:at + struct.calcsize(form)] = struct.pack(form, value)

    def get(self, form, at):
        return struct.unpack(form, self.page[at:at + struct.calcsize(form)])[0]

    def arm(self, kind, error, n, stack=0):
        """From now on the n-th call of the kind fails, or the n-th from that stack of callers; with 0
        they are only counted, each stack for itself."""
        self.disarm()
        trace = self.path.with_suffix(".trace")
        trace.unlink(missing_ok=True)
        if n == 0:
            self.page[HEAD_BYTES:] = bytes(AREA_BYTES - HEAD_BYTES)
            self.put("<Q", AT_ORDER, 0)
        self.put("<Q", AT_STACK, stack)
        self.put("<Q", AT_SEEN, 0)
        self.put("<Q", AT_FIRED, 0)
        self.put("<Q", AT_AT, n)
        self.put("<I", AT_ERROR, getattr(errno, error))
        self.put("<I", AT_KIND, KINDS[kind])

    def disarm(self):
        self.put("<I", AT_KIND, 0)

    @property
    def seen(self):
        return self.get("<Q", AT_SEEN)

    @property
    def fired(self):
        return self.get("<Q", AT_FIRED)

    def stacks(self):
        """{stack: calls from there} of the last count."""
        found = {stack: calls for stack, calls in STACK.iter_unpack(self.page[HEAD_BYTES:]) if stack}
        if len(found) != self.get("<Q", AT_ORDER):
            raise ValueError("more stacks than the area has places for")
        return found

    def trace(self):
        """Where the call was that failed."""
        path = self.path.with_suffix(".trace")
        return path.read_text("utf-8", "replace") if path.exists() else ""
