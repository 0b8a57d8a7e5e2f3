"""Jobs from end to end: rates, times and CPU with workers on."""

import datetime
import json
import statistics
import subprocess
import time

import proc
import web
from measure import Generator, load, number, quantile, ratio, refill
from mill import BIN, NOOP, Mill, wait_until

WAITING = {"method": "POST", "path": "/v1/jobs?wait=30", "body": NOOP}


def row_noop(row):
    """POST /v1/jobs?wait=30 of a no-op, 64 to 256 in flight: the result in every client's hands, both ends \
on disk"""
    best = 0
    for connections in (64, 128, 256):
        mill = Mill(2)
        load(mill, min(row.seconds, 0.5), connections=connections, **WAITING)  # the window grows
        rounds = [load(mill, row.seconds, connections=connections, **WAITING) for _ in range(row.rounds)]
        mill.stop()
        best = max(best, row.line(f"{connections} in flight", rounds)["rate"][0])
    row.verdict("the best of them", best, "≥", 25000, "jobs/s")


def row_single(row):
    """one job at idle: submit with wait until its result is there, both ends on disk, beside the disk's own \
time"""
    mill = Mill(2)
    seconds = max(row.seconds, 1)
    figures = {"one after the other": [], "50 a second, at rest between": []}
    for _ in range(max(1, row.rounds // 2)):
        figures["one after the other"].append(load(mill, seconds, connections=1, **WAITING))
        figures["50 a second, at rest between"].append(load(mill, 2 * seconds, connections=4, rate=50, **WAITING))
    mill.stop()
    disk = run_json(BIN / "disk_bench", "1000")
    for what, found in figures.items():
        line = row.line(what, found)
        row.verdict(f"{what}: p50", line["p50_ms"][0], "≤", 0.75, "ms")
        row.verdict(f"{what}: p99", line["p99_ms"][0], "≤", 2, "ms")
    row.value("two overwrites of the disk, p50", 2 * disk["overwrite"]["p50_us"] / 1000, "ms")


def run_json(*words):
    text = subprocess.run([str(word) for word in words], cwd=BIN.parent, check=True, capture_output=True,
                          text=True).stdout
    return json.loads(text)


# ---- bulk from end to end


def ended(mill, queue="default"):
    return mill.counts(queue)["succeeded"]


def flow(mill, jobs):
    """Bulk submits of so many no-ops beside the workers: figures from the first submit to the last end."""
    before, base = mill.metrics(), ended(mill)
    calls = mill.redis_calls()
    cpu, began = proc.cpu_s(mill.parts), time.monotonic()
    generator = Generator(mill, 60, per=1000, method="POST", path="/v1/jobs/batch", body=NOOP, batch=1000,
                          connections=4, requests=jobs // 1000)
    wait_until(lambda: ended(mill) - base >= jobs, 120, "all jobs end")
    took = time.monotonic() - began
    submitted = generator.finish()
    used = {part: (value - cpu[part]) * 1e6 / jobs for part, value in proc.cpu_s(mill.parts).items()}
    after, calls_after = mill.metrics(), mill.redis_calls()
    return {"rate": jobs / took, "submit_rate": submitted["rate"],
            "cpu_us": {**used, "client": submitted["cpu_us"]["client"]},
            "pss_mb": {part: proc.pss_mb(pids) for part, pids in mill.parts.items()},
            "batches": batches(jobs, before, after, calls, calls_after)}


def batches(jobs, before, after, calls, calls_after):
    """{step: (jobs at once, how many times)}; the workers' commands are counted by Redis."""
    def grown(name):
        return after[name] - before[name]

    def called(*names):
        return sum(calls_after.get(name, 0) - calls.get(name, 0) for name in names)
    pushes = grown("dispatch_pushes_total")
    steps = {
        "one transaction: inserts and ends": grown("store_batches_total") / 2,
        "one fsync: inserts and ends": grown("store_fsyncs_total") / 2,
        "one LPUSH to a queue": pushes,
        "one claim by a child": called("blmpop", "lmpop"),
        "one LPUSH of results by a child": called("lpush") - pushes,
        "one list of results taken": grown("results_lists_total"),
        "one slice of results applied": grown("results_slices_total"),
    }
    return {step: [jobs / times, times] for step, times in steps.items() if times > 0}


def show_batches(row, rounds):
    """{step: jobs at once}"""
    steps = {step: statistics.median(r["batches"][step][0] for r in rounds if step in r["batches"])
             for step in rounds[-1]["batches"]}
    row.table(["at once, at each step", "jobs"], [[step, number(size)] for step, size in steps.items()])
    return steps


def row_flow(row):
    """no-ops end to end with bulk submit (1,000 a request, 4 connections), 2 workers, results in SQLite"""
    jobs = row.size(200000) // 1000 * 1000
    mill = Mill(2)
    flow(mill, jobs)
    rounds = [flow(mill, jobs) for _ in range(max(1, row.rounds // 2))]
    mill.stop()
    line = row.line(f"{jobs:,} jobs, first submit to last end", rounds)
    row.value("they were all accepted at", [r["submit_rate"] for r in rounds], "jobs/s")
    row.verdict("end to end", line["rate"][0], "≥", 70000, "jobs/s")
    row.verdict("the smallest batch at any step", min(show_batches(row, rounds).values()), "≥", 100, "jobs")


# ---- computing


def row_fib(row):
    """fib(35) through HTTP and the queue, 2 workers, 8 clients, against plain C on two cores, Gin and \
FastAPI"""
    mill = Mill(2)
    seconds = max(row.seconds, 1)
    servers, figures = {}, {"jobmill": [], "plain C, two processes": []}
    for name, start in web.SERVERS.items():
        server, why = start()
        if server:
            servers[name], figures[name] = server, []
        else:
            row.note(f"{name}: not available, {why}")
    for n in range(row.rounds):
        figures["jobmill"].append(load(
            mill, seconds, connections=8, warmup="200ms", method="POST", path="/v1/jobs?wait=60",
            body='{"task":"fib","args":{"n":35}}'))
        figures["plain C, two processes"].append(
            run_json(BIN / "plain_fib", 35, 2, round(seconds * 1000)))
        for name, server in servers.items():
            if name == web.GIN:
                figures[name].append(load(server, seconds, connections=8, warmup="200ms", path="/fib/35"))
            elif n == 0:  # half a call a second: each client has one
                figures[name].append(load(server, 60, connections=8, requests=8, path="/fib/35"))
    mill.stop()
    for name, found in figures.items():
        row.line(name, found)
    ours = figures["jobmill"]
    row.verdict("rate against plain C", ratio(ours, figures["plain C, two processes"]), "≥", 0.95, "×")
    if web.GIN in figures:
        row.verdict("rate against Gin's", ratio(ours, figures[web.GIN]), "≥", 2.3, "×")


def burn(mill, jobs, ms):
    """CPU outside the task, in percent of the task's own, of so many jobs that burn so many ms each."""
    base, before = ended(mill), proc.cpu_s(mill.parts)
    figures, calls = mill.metrics(), mill.redis_calls()
    body = '{"task":"spin","args":{"ms":%d}}' % ms
    load(mill, 60, method="POST", path="/v1/jobs/batch", body=body, batch=jobs, connections=1, requests=1)
    end = time.monotonic() + 120
    while ended(mill) - base < jobs:
        assert time.monotonic() < end, "the jobs do not end"
        time.sleep(0.05)  # a look costs the broker something too
    used = {part: value - before[part] for part, value in proc.cpu_s(mill.parts).items()}
    own = jobs * ms / 1000
    outside = {**used, "children": used["children"] - own}
    return {"share": sum(outside.values()) * 100 / own,
            "cpu_us": {part: s * 1e6 / jobs for part, s in outside.items()},
            "batches": batches(jobs, figures, mill.metrics(), calls, mill.redis_calls())}


def row_overhead(row):
    """CPU outside the task for bulk-submitted jobs of 1 ms and of 10 ms, 2 workers"""
    mill = Mill()
    mill.start_worker(2, "--test-tasks")
    found = {1: [], 10: []}
    for _ in range(max(1, row.rounds // 2)):
        for ms, rounds in found.items():
            rounds.append(burn(mill, max(20, round(4000 * min(row.seconds, 1) / ms)), ms))
    mill.stop()
    for ms, rounds in found.items():
        share = row.value(f"outside jobs of {ms} ms", [r["share"] for r in rounds], "% of the task's CPU")
        parts = {part: statistics.median(r["cpu_us"][part] for r in rounds) for part in rounds[0]["cpu_us"]}
        show_batches(row, rounds)
        row.note(f"µs a job of {ms} ms: " + ", ".join(f"{part} {us:.1f}" for part, us in parts.items()))
        row.verdict(f"jobs of {ms} ms", share, "≤", 8 if ms == 1 else 1.5, "%")


# ---- latency


def row_latency(row):
    """submit and wait-for-result at 50 % and 80 % of what each can do (closed loop, 64 connections, \
measured first), in open loop on 256 connections"""
    whats = {"submit": (0, {"method": "POST", "path": "/v1/jobs", "body": NOOP, "expect": 201}),
             "wait for the result": (2, WAITING)}
    seconds, rounds = max(row.seconds, 1), max(1, row.rounds // 3)
    for what, (slots, options) in whats.items():
        mill = Mill(slots)
        load(mill, min(row.seconds, 0.5), **options)
        capacity = row.line(f"{what}: capacity", [load(mill, seconds, **options)
                                                  for _ in range(rounds)])["rate"][0]
        for percent in (50, 80):
            rate = max(1, round(capacity * percent / 100))
            found = [load(mill, seconds, connections=256, rate=rate, warmup="300ms", **options)
                     for _ in range(rounds)]
            row.line(f"{what}: {percent} %, {rate:,} a second", found)
        mill.stop()


def job_times(job):
    def at(name):
        return datetime.datetime.fromisoformat(job[name].replace("Z", "+00:00")).timestamp() * 1000
    return at("begun_at") - at("created_at")


def urgent_times(mill, trials, backlog=0, body=NOOP):
    """[(start, result)] in ms from the submit of urgent no-ops, each with that many others waiting."""
    times = []
    for _ in range(trials):
        waiting = mill.counts()["queued"]
        if waiting < backlog:
            refill(mill, 3 * backlog - waiting, body)
        begin = time.perf_counter()
        job = mill.call("POST", "/v1/jobs?wait=30", {"task": "noop", "priority": 9})
        assert job["state"] == "succeeded", job
        times.append((job_times(job), (time.perf_counter() - begin) * 1000))
    return times


def row_urgent(row):
    """a job of priority 9: until it starts and until its result is there, at full load with a deep \
backlog, against an idle mill"""
    trials = 20 * max(1, row.rounds // 2)
    mill = Mill(2)
    sleeps, noops = row.size(5000), row.size(100000)
    found = {"idle": urgent_times(mill, trials),
             f"behind jobs of 10 ms, {sleeps:,} and more": urgent_times(
                 mill, trials, sleeps, '{"task":"sleep","args":{"ms":10}}')}
    mill.stop()
    mill = Mill(2)
    found[f"behind no-ops, {noops:,} and more"] = urgent_times(mill, trials, noops)
    mill.stop()
    rows = []
    for name, pairs in found.items():
        for what, times in zip(("start", "result"), zip(*pairs)):
            rows.append([f"{name}: {what}", *(f"{quantile(times, share):.2f}" for share in (0.5, 0.99, 1))])
    row.table(["ms", "p50", "p99", "most"], rows)
    row.note("The design: it overtakes all but about 100 ms of work; its result comes behind those that ended "
             "before.")
