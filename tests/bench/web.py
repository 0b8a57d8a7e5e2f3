"""The web frameworks that the bench stands beside: Gin and FastAPI, each with GET /ping and GET /fib/N.
Both are optional: they are built in the build tree by their usual clients, once. A start returns (Server,
None), or (None, why not)."""

import os
import pathlib
import shutil
import subprocess
import sys

from mill import BIN, Server

HERE = pathlib.Path(__file__).resolve().parent
GIN = "Gin, 2 procs"
FASTAPI = "FastAPI, uvicorn, 2 workers"
GIN_PROGRAM = BIN.parent / "bench-gin"
VENV = BIN.parent / "bench-fastapi"
failures = {}  # of a build, so that it is tried once


def build(name, result, *commands):
    """None, or why it is not there."""
    if result.exists():
        return None
    for words, folder in commands:
        if name in failures:
            break
        run = subprocess.run([str(word) for word in words], cwd=folder, check=False, capture_output=True,
                             text=True)
        if run.returncode != 0:
            failures[name] = (run.stderr.strip().splitlines() or ["its build failed"])[-1]
            shutil.rmtree(result, ignore_errors=True)
    return failures.get(name)


def build_gin():
    if shutil.which("go") is None:
        return "there is no go"
    return build("gin", GIN_PROGRAM, (["go", "build", "-o", GIN_PROGRAM, "."], HERE / "gin"))


def build_fastapi():
    return build("fastapi", VENV, ([sys.executable, "-m", "venv", VENV], HERE),
                 ([VENV / "bin/pip", "install", "-q", "fastapi", "uvicorn[standard]"], HERE))


def start_gin():
    if why := build_gin():
        return None, why
    return Server("gin", GIN_PROGRAM, env={**os.environ, "GOMAXPROCS": "2", "GIN_MODE": "release"}), None


def start_fastapi():
    if why := build_fastapi():
        return None, why
    return Server("fastapi", VENV / "bin/uvicorn", "--app-dir", HERE, "fastapi_app:app", "--workers", "2",
                  "--log-level", "warning", "--no-access-log", "--timeout-worker-healthcheck", "60", "--port"), None


def prepare():
    """Builds what can be built, so that it is in no row's time."""
    for name, make in ((GIN, build_gin), (FASTAPI, build_fastapi)):
        if why := make():
            print(f"{name}: not available, {why}")


SERVERS = {GIN: start_gin, FASTAPI: start_fastapi}


def versions():
    """Of what has been built."""
    found = {}
    if GIN_PROGRAM.exists() and shutil.which("go"):
        text = subprocess.run(["go", "version", "-m", GIN_PROGRAM], check=False,
                              capture_output=True, text=True).stdout
        lines = [line.split() for line in text.splitlines()]
        found["Gin"] = next((words[2] for words in lines if len(words) > 2 and words[1].endswith("/gin")), "?")
        found["Go"] = lines[0][-1] if lines else "?"
    pip = VENV / "bin/pip"
    if pip.exists():
        text = subprocess.run([pip, "list", "--format", "freeze"], check=False, capture_output=True,
                              text=True).stdout
        rows = dict(line.split("==") for line in text.split() if "==" in line)
        found.update({name: rows[name] for name in ("fastapi", "uvicorn", "uvloop") if name in rows})
    return found
