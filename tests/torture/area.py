"""The page that the shim shares with us; see area.h, whose layout this is."""

import errno
import mmap
import os
import pathlib
import struct

SHIM = (pathlib.Path(os.environ.get("JM_BIN", "build/asan/bin")).resolve().parent /
        "lib/torture_shim.so")
SUPPRESSIONS = pathlib.Path(__file__).resolve().with_name("lsan.supp")

AREA_BYTES = 4096
AT_KIND, AT_ERROR, AT_AT, AT_SEEN, AT_FIRED, AT_ROLE = 0, 4, 8, 16, 24, 32

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

    def arm(self, kind, error, n):
        """From now on the n-th call of the kind fails; with 0 they are only counted."""
        self.disarm()
        trace = self.path.with_suffix(".trace")
        trace.unlink(missing_ok=True)
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

    def trace(self):
        """Where the call was that failed."""
        path = self.path.with_suffix(".trace")
        return path.read_text("utf-8", "replace") if path.exists() else ""
