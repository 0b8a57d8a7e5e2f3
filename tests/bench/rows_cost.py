"""What jobs cost beside time: memory, system calls, bytes; what an idle mill costs; and what the disk and
SQLite cost by themselves, today and here."""

import os
import re
import signal
import subprocess
import time

import proc
from measure import load, refill
from mill import BIN, NOOP, Mill
from rows_flow import WAITING, flow, run_json
from rows_scale import SUBMIT

MEMORY_COMMANDS = re.compile(r"^used_memory:(\d+)", re.M)


def redis_bytes(mill):
    return int(MEMORY_COMMANDS.search(mill.command("INFO", "memory"))[1])


def row_memory(row):
    """memory: the broker idle and with 1,000,000 jobs waiting, a worker child, Redis with 1,000,000 waiting"""
    jobs = row.size(1000000)
    mill = Mill()
    worker = mill.start_worker(2)
    time.sleep(min(2, row.seconds * 2))  # a beat or two
    broker, redis = proc.pss_mb(mill.parts["broker"]), proc.pss_mb(mill.parts["redis"])
    empty = redis_bytes(mill)
    row.verdict("broker, idle, PSS", broker, "≤", 8, "MB")
    row.verdict("a worker child, private", max(map(proc.private_mb, mill.parts["children"])), "≤", 3, "MB")
    row.value("a worker host's parent, private", proc.private_mb(worker.pid), "MB")
    body = NOOP.replace('"noop"', '"sleep"').replace('"user"', '"ms":60000,"user"')
    refill(mill, jobs, body)
    os.sync()
    row.value("jobs that wait", mill.counts()["queued"], "jobs")
    row.verdict(f"broker with {jobs:,} jobs waiting, PSS", proc.pss_mb(mill.parts["broker"]), "≤", 64, "MB")
    row.verdict(f"Redis with {jobs:,} jobs waiting, above empty, PSS", proc.pss_mb(mill.parts["redis"]) - redis,
                "≤", 32, "MB")
    row.value("Redis, used_memory above empty", (redis_bytes(mill) - empty) / 1e6, "MB")
    mill.end(worker, signal.SIGKILL)
    mill.stop()


def row_idle(row):
    """an idle broker and 2 workers over 60 s, Redis shown apart"""
    seconds = 60 if row.seconds >= 1 else 10 * row.seconds
    mill = Mill(2)
    time.sleep(min(2, row.seconds * 2))
    before = proc.cpu_s(mill.parts)
    time.sleep(seconds)
    share = {part: (value - before[part]) * 100 / seconds for part, value in proc.cpu_s(mill.parts).items()}
    mill.stop()
    for part, percent in share.items():
        row.value(part, percent, "% of a core")
    row.verdict("broker and 2 workers", sum(share.values()) - share["redis"], "≤", 0.5, "% of a core")


def bytes_on_disk(mill):
    """Of the database, after the broker's orderly end."""
    mill.end(mill.broker)
    mill.parts["broker"] = []
    return mill.database.stat().st_size


def redis_bytes_per_job(jobs):
    """Of a job in a queue's list while no child takes any."""
    mill = Mill(2)
    load(mill, 1, **WAITING)  # a window of some size
    for child in mill.parts["children"]:
        os.kill(child, signal.SIGSTOP)
    empty = redis_bytes(mill)
    refill(mill, jobs)
    waiting = int(mill.command("LLEN", "jm:{q:default}"))
    found = (redis_bytes(mill) - empty) / max(1, waiting)
    for child in mill.parts["children"]:
        os.kill(child, signal.SIGCONT)
    mill.stop()
    return found, waiting


def cost_of(slots, run):
    """(system calls, CPU, bytes written and bytes kept) of each job that run(mill) → (jobs, CPU) sees to."""
    mill = Mill(slots)
    run(mill)
    size = mill.database.stat().st_size
    done = sum(mill.counts().get(state, 0) for state in ("queued", "succeeded"))
    calls, written = proc.Syscalls(mill.parts), proc.written_bytes(mill.parts["broker"])
    if calls.tool:
        calls.start()
        time.sleep(0.3)
    jobs, cpu = run(mill)
    counts = {part: count / jobs for part, count in calls.stop().items() if count is not None} \
        if calls.tool else {}
    written = (proc.written_bytes(mill.parts["broker"]) - written) / jobs
    all_jobs = done + jobs
    kept = bytes_on_disk(mill)
    mill.stop()
    return {"calls": counts, "cpu": cpu, "written": written, "kept": kept / all_jobs, "size": size,
            "tool": calls.tool}


def cost_runs(row):
    seconds, jobs = max(row.seconds, 0.5), row.size(100000) // 1000 * 1000

    def submit(mill):
        figures = load(mill, seconds, body=NOOP, **SUBMIT)
        return figures["good"], figures["cpu_us"]

    def wait(mill):
        figures = load(mill, seconds, connections=64, **WAITING)
        return figures["good"], figures["cpu_us"]

    def alone(mill):
        figures = load(mill, seconds, connections=1, **WAITING)
        return figures["good"], figures["cpu_us"]

    def bulk(mill):
        return jobs, flow(mill, jobs)["cpu_us"]
    return {"submit, one a request, 64 connections": (0, submit), "end to end, 64 in flight": (2, wait),
            "end to end, one at a time": (2, alone), "end to end, bulk": (2, bulk)}


def row_cost(row):
    """one no-op job: CPU by process and thread, system calls by process, bytes on disk and in Redis"""
    found = {name: cost_of(*run) for name, run in cost_runs(row).items()}
    for kind, what in (("cpu", "µs of CPU"), ("calls", "system calls")):
        parts = sorted({part for cost in found.values() for part in cost[kind]})
        if parts:
            row.table([what, *parts], [[name, *(f"{cost[kind].get(part, 0):.2f}" for part in parts)]
                                       for name, cost in found.items()])
    tool = next(iter(found.values()))["tool"]
    row.note(f"System calls were counted with {tool}." if tool else
             "System calls: not available, there is neither perf nor strace.")
    row.table(["bytes of a job", "written to the disk", "in the database"],
              [[name, f"{cost['written']:,.0f}", f"{cost['kept']:,.0f}"] for name, cost in found.items()])
    each, waiting = redis_bytes_per_job(row.size(20000))
    row.value(f"bytes in Redis, {waiting:,} jobs in a list", each, "a job")


# ---- yardsticks


def row_disk(row):
    """fdatasync of 4 KiB appended to a file, and written over what is there"""
    rounds = [run_json(BIN / "disk_bench", max(100, round(500 * row.seconds)))
              for _ in range(max(1, row.rounds // 3))]
    for kind in ("append", "overwrite"):
        for name in ("p50_us", "p99_us"):
            row.value(f"{kind}, {name[:-3]}", [r[kind][name] for r in rounds], "µs")


def store_figures(jobs, *options):
    """{what: (µs CPU, µs wall)}"""
    run = subprocess.run([BIN / "store_bench", str(jobs), "100", *options], cwd=BIN.parent, check=True,
                         capture_output=True, text=True)
    return {what.strip(): (float(cpu), float(wall)) for what, cpu, wall in
            re.findall(r"^(.*?) +([\d.]+) us CPU +([\d.]+) us wall", run.stdout, re.M)}


def row_store(row):
    """the store by itself, batches of 100, against a bare SQLite table (insert and later update), without \
and with a sync of each batch"""
    jobs = max(1000, row.size(100000))
    for label, options in (("NORMAL", ()), ("FULL", ("sync",))):
        rounds = [store_figures(jobs, *options) for _ in range(max(1, row.rounds // 3))]
        for what in rounds[0]:
            for index, kind in enumerate(("CPU", "wall")):
                row.value(f"{label}: {what}, {kind}", [r[what][index] for r in rounds], "µs a job")
