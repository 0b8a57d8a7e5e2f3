"""Where and with what it was measured."""

import os
import pathlib
import platform
import re
import shutil
import subprocess
import time

import web
from mill import BIN


def output(*words):
    """The first line of what a program says, or nothing if it is not there."""
    if shutil.which(words[0]) is None:
        return ""
    run = subprocess.run(words, check=False, capture_output=True, text=True)
    return (run.stdout.strip().splitlines() or [""])[0]


def field(path, name):
    try:
        found = re.search(rf"^{name}\s*:\s*(.*)$", pathlib.Path(path).read_text(encoding="utf-8"), re.M)
    except OSError:
        return ""
    return found[1] if found else ""


def memory_gib():
    return f"{int(field('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.0f} GiB"


def system():
    return platform.freedesktop_os_release().get("PRETTY_NAME", "") if hasattr(
        platform, "freedesktop_os_release") else ""


def machine():
    return {"cores": str(len(os.sched_getaffinity(0))),
            "CPU": field("/proc/cpuinfo", "model name") or platform.machine(),
            "memory": memory_gib(), "kernel": platform.release(), "system": system(),
            "file system of the database": output("stat", "-f", "-c", "%T", str(BIN.parent))}


def versions():
    redis = output("redis-server", "--version") or output("valkey-server", "--version")
    found = {"Redis": re.sub(r"^(\S+) server v=(\S+).*", r"\2", redis),
             "SQLite": output("pkg-config", "--modversion", "sqlite3"),
             "libuv": output("pkg-config", "--modversion", "libuv"),
             "hiredis": output("pkg-config", "--modversion", "hiredis"),
             "compiler": output("cc", "--version"),
             "jobmill": output("git", "describe", "--always", "--dirty", "--exclude=*"),
             **web.versions()}
    return {name: version for name, version in found.items() if version}


def facts():
    return {"machine": machine(), "versions": versions(), "date": time.strftime("%Y-%m-%d")}
