"""Checks which part may know which: DESIGN section 1's arrows, by reading every #include.

usage: arrows.py [SOURCE ROOT]      prints one line per violation; exit 0 if there is none

A part is a top folder. A library belongs to the few files that wrap it, so that its types and
error codes go no further. To let a file in, name it in the table below and say why in the commit.
"""

import fnmatch
import os
import re
import sys

PARTS = {
    "lib": set(),
    "schema": {"lib"},
    "broker": {"lib", "schema"},
    "worker": {"lib", "schema"},
    "client": {"lib", "schema"},
}

# A header of a library (pattern), and the files that may include it.
LIBRARIES = {
    "sqlite3.h": ["broker/store*.[ch]", "broker/reader*.[ch]", "broker/doctor*.[ch]"],
    "hiredis/*": ["broker/carrier_redis.c", "broker/redis_*.c", "worker/redis.c"],
    "hiredis.h": [],
    "uv.h": ["broker/*", "worker/*", "client/*"],
    "curl/*": ["client/*"],
    "openssl/*": ["broker/*.c", "worker/*.c"],
    "jansson.h": [],
    "cmocka.h": [],
}

# JSON is at the edge: these turn JSON into msgpack and back, and nothing behind them sees it.
JSON_EDGE = {
    "lib": ["lib/json*.[ch]"],
    "broker": ["broker/body.[ch]"],
}

# Connections to clients are read and written in two files of the broker.
STREAM_FILES = ["broker/http_listen.c", "broker/http_conn.c", "broker/http_conn.h", "broker/http_write.c",
                "broker/http_server.c", "broker/http_server.h"]
STREAMS = re.compile(r"\b(uv_(?:read_start|read_stop|write2?|try_write2?|listen|accept|shutdown|"
                     r"stream_\w+|tcp_\w+|pipe_\w+|write_t|shutdown_t|connect_t))\b")

# The core runs in the simulation, which has no loop, no threads and no clock but its own.
CORE = ["broker/core*.c", "broker/dispatch*.c", "broker/results*.c", "broker/hosts*.c",
        "broker/window*.c", "broker/waiters*.c", "broker/queues*.c", "broker/ids*.c",
        "broker/lost*.c", "broker/schedule*.c", "broker/alarm*.c", "broker/expiry*.c",
        "broker/purge*.c", "broker/verdict*.c", "broker/backoff*.c"]
CORE_FORBIDS = re.compile(r"\b(uv_\w+|pthread_\w+|clock_gettime|clock_real|gettimeofday|"
                          r"usleep|nanosleep|time(?=\())\b")
CORE_FORBIDS_HEADERS = ["uv.h", "pthread.h", "sys/time.h"]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
NOT_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def matches(path, patterns):
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def sources(root):
    for part in PARTS:
        for folder, _, names in os.walk(os.path.join(root, part)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def resolve(root, path, name):
    """The included file as a path from the root; compilers look beside the including file first."""
    beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
    if name.startswith(".") or os.path.exists(os.path.join(root, beside)):
        return beside
    return os.path.normpath(name)


def check_own(path, target):
    part, other = path.split("/")[0], target.split("/")[0]
    if other == "tests" or (other in PARTS and other != part and other not in PARTS[part]):
        yield f"{part} must not include {target}"
    if target == "lib/json.h" and not matches(path, JSON_EDGE.get(part, ["*"])):
        yield "only the edge may include lib/json.h (see JSON_EDGE)"


def check_library(path, name):
    for pattern, allowed in LIBRARIES.items():
        if fnmatch.fnmatch(name, pattern) and not matches(path, allowed):
            yield f"must not include {name} (allowed: {', '.join(allowed) or 'nowhere'})"


def check_core(path, target):
    if matches(path, CORE) and target in CORE_FORBIDS_HEADERS:
        yield f"the broker's core must not include {target}"


def check_words(path, text):
    code = NOT_CODE.sub(lambda found: "\n" * found.group().count("\n"), text)
    rules = []
    if path.startswith("broker/") and not matches(path, STREAM_FILES):
        rules.append((STREAMS, "streams belong to http_conn, http_write and http_server"))
    if matches(path, CORE):
        rules.append((CORE_FORBIDS, "the broker's core must not use it"))
    for words, reason in rules:
        for found in words.finditer(code):
            yield code.count("\n", 0, found.start()) + 1, f"{found.group(1)}: {reason}"


def check_file(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        text = file.read()
    for found in INCLUDE.finditer(text):
        line = text.count("\n", 0, found.start(1)) + 1
        name = found.group(2)
        target = resolve(root, path, name)
        for check in (check_own(path, target), check_library(path, name), check_core(path, target)):
            for problem in check:
                yield line, problem
    yield from check_words(path, text)


def check_tree(root):
    problems, files = [], 0
    for path in sources(root):
        files += 1
        problems += [f"{path}:{line}: {problem}" for line, problem in check_file(root, path)]
    return files, problems


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../..")
    files, problems = check_tree(os.path.abspath(root))
    print("\n".join(problems + [f"arrows: {files} files, {len(problems)} violations"]))
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
