"""Whether the cost of a job depends on how much else there is: finished, waiting, waiters, queues, keys."""

import random
import statistics
import time

import history
import proc
from measure import Curves, Generator, load, quantile, ratio, refill, server_cpu
from mill import NOOP, Mill, wait_until, with_fields

SUBMIT = {"method": "POST", "path": "/v1/jobs", "expect": 201}
END_TO_END = {"method": "POST", "path": "/v1/jobs?wait=30"}


def few(row):
    """Rounds of what is many points of a curve."""
    return max(1, row.rounds // 3)


def drain(mill, jobs, first, queue="default"):
    """Figures of the jobs that end between `first` and `jobs` of them from now on. The worker starts here,
    and the time until it runs at full speed is what `first` leaves out."""
    def look():
        return mill.counts(queue)["succeeded"] - before
    before = mill.counts(queue)["succeeded"]
    worker = mill.start_worker(2, "--queues", queue)
    low = wait_until(lambda: (count := look()) >= first and count, 60, "jobs end")
    begin, cpu = time.monotonic(), proc.cpu_s(mill.parts)
    high = wait_until(lambda: (count := look()) >= jobs and count, 60, "jobs end")
    took = time.monotonic() - begin
    used = {part: (value - cpu[part]) * 1e6 / (high - low) for part, value in proc.cpu_s(mill.parts).items()}
    mill.end(worker)
    return {"rate": (high - low) / took, "cpu_us": used}


def drain_rest(mill):
    while not mill.is_empty():
        worker = mill.start_worker(2)
        wait_until(mill.is_empty, 60, "the rest ends")
        mill.end(worker)


def row_history(row):
    """up to 10,000,000 finished jobs in the store: submit and end to end, against an empty store, in turn"""
    sizes = [0, *row.sizes(100000, 1000000, 10000000)]
    mills = {size: Mill(2, size) for size in sizes}
    kinds = {"submit": {**SUBMIT, "body": with_fields(NOOP, queue="parked")},
             "end to end": {**END_TO_END, "body": NOOP}}
    figures = {kind: {size: [] for size in sizes} for kind in kinds}
    for _ in range(max(1, row.rounds // 2)):
        for kind, options in kinds.items():
            for size, mill in mills.items():
                figures[kind][size].append(load(mill, row.seconds, **options))
    for mill in mills.values():
        mill.stop()
    curves = Curves("finished", "finished jobs")
    for kind, of_size in figures.items():
        for size, found in of_size.items():
            row.line(f"{kind}, {size:,} finished", found)
            curves.add(kind, size, found)
        row.verdict(f"{kind}: rate with {sizes[-1]:,} finished against none",
                    ratio(of_size[sizes[-1]], of_size[0]), "≥", 0.9, "×")
    curves.draw(row)


def row_deep(row):
    """up to 1,000,000 jobs waiting in one queue: how fast it drains, and another queue's end to end beside \
it, against a small backlog and none, in turn"""
    sizes = row.sizes(50000, 200000, 1000000)
    run = min(50000, sizes[0])
    rounds = few(row) if len(sizes) > 1 else 1
    mills, curves = {0: Mill()}, Curves("waiting", "waiting jobs")
    for size in sizes:
        mills[size] = Mill()
        refill(mills[size], size)
    beside(row, mills, rounds, curves)
    drains = {size: [] for size in sizes}
    for n in range(rounds):
        for size in sizes:
            if n > 0:
                refill(mills[size], run)
            drains[size].append(drain(mills[size], run * 8 // 10, run // 5))
            if size == run:
                drain_rest(mills[size])
    for mill in mills.values():
        mill.stop()
    for size, found in drains.items():
        row.line(f"drain, {size:,} waiting", found)
        curves.add("drain", size, found)
    row.verdict(f"drain with {sizes[-1]:,} waiting against {run:,}", ratio(drains[sizes[-1]], drains[run]),
                "≥", 0.75, "×")
    curves.draw(row)


def beside(row, mills, rounds, curves):
    """End to end in another queue, in turn in all the mills."""
    workers = {size: mill.start_worker(2, "--queues", "other") for size, mill in mills.items()}
    found = {size: [] for size in mills}
    for _ in range(rounds):
        for size, mill in mills.items():
            found[size].append(load(mill, row.seconds, body=with_fields(NOOP, queue="other"), **END_TO_END))
    for size, worker in workers.items():
        mills[size].end(worker)
        row.line(f"another queue beside {size:,} waiting", found[size])
        curves.add("another queue, end to end", size, found[size])
    most = max(mills)
    row.verdict(f"another queue's end to end beside {most:,} waiting", ratio(found[most], found[0]), "≥", 0.9,
                "×")


def row_waiters(row):
    """0 to 9,900 clients that wait for jobs of a paused queue: end to end of others beside them"""
    curves = Curves("waiters")
    points = [count for count in (0, 10, 100, 1000, 9900) if count <= (row.jobs or 9900)]
    for count in points:
        mill = Mill(2)
        mill.call("POST", "/v1/queues/parked/pause")
        crowd = None
        if count:
            crowd = Generator(mill, 60, method="POST", path="/v1/jobs?wait=60", connections=count,
                              body=with_fields(NOOP, queue="parked"))
            wait_until(lambda n=count, m=mill: m.metrics()["waiters"] >= n, 30, "they wait")
        found = [load(mill, row.seconds, body=NOOP, **END_TO_END) for _ in range(few(row))]
        if crowd:
            crowd.stop()
        mill.stop()
        row.line(f"end to end beside {count:,} waiters", found)
        curves.add("end to end", count, found)
    curves.draw(row)


def row_queues(row):
    """1 to 1,000 queues: submits spread over all of them, and end to end in one beside jobs that wait in all"""
    curves = Curves("queues")
    points = [count for count in (1, 10, 100, 1000) if count <= (row.jobs or 1000)]
    for count in points:
        mill = Mill()
        body = with_fields(NOOP, queue="queue-{n%%%d}" % count)
        refill(mill, 10000, body)
        submits = [load(mill, row.seconds, body=body, **SUBMIT) for _ in range(few(row))]
        mill.start_worker(2)
        ends = [load(mill, row.seconds, body=NOOP, **END_TO_END) for _ in range(few(row))]
        mill.stop()
        row.line(f"submit over {count:,} queues", submits)
        row.value(f"written to the disk, {count:,} queues", [found["written"] for found in submits], "B a job")
        row.line(f"end to end beside {count:,} queues", ends)
        curves.add("submit over all", count, submits)
        curves.add("end to end in one more", count, ends)
    curves.draw(row)


def row_keys(row):
    """0 to 100,000 limit keys of one queue: bulk submit of 200,000 jobs that take turns among them, and their \
drain"""
    jobs = row.size(200000)
    curves = Curves("keys", "limit keys")
    for keys in [0, *row.sizes(100, 1000, 10000, 100000)]:
        body = with_fields(NOOP, limit_key="customer {n%%%d}" % keys) if keys else NOOP
        submits, drains = [], []
        for _ in range(few(row)):
            mill = Mill()
            submits.append(load(mill, 60, per=1000, method="POST", path="/v1/jobs/batch", body=body, batch=1000,
                                connections=4, requests=jobs // 1000))
            drains.append(drain(mill, jobs * 9 // 10, jobs // 5))
            mill.stop()
        for what, found in (("bulk submit", submits), ("drain", drains)):
            row.line(f"{what}, {keys:,} keys", found)
            curves.add(what, keys, found)
        row.value(f"written to the disk, bulk submit, {keys:,} keys",
                  [found["written"] for found in submits], "B a job")
    curves.draw(row)


def row_limits(row):
    """submit and drain of a queue without limits, with limits that are set high, with keys, and with \
both"""
    high = {"concurrency": 1000000, "rate": {"limit": 1000000, "period_ms": 1000},
            "max_queued": 1000000000}
    high_keys = {**high, "key_concurrency": 1000000, "key_rate": {"limit": 1000000, "period_ms": 1000}}
    keyed = with_fields(NOOP, limit_key="customer {n%100}")
    variants = {"no limits": ({}, NOOP), "limits set high": (high, NOOP), "100 keys": ({}, keyed),
                "100 keys, all limits": (high_keys, keyed)}
    submits, drains = ({name: [] for name in variants} for _ in range(2))
    jobs = row.size(100000)
    for _ in range(few(row)):
        for name, (limits, body) in variants.items():
            mill = Mill()
            mill.call("PATCH", "/v1/queues/default", limits)
            submits[name].append(load(mill, row.seconds, body=body, **SUBMIT))
            refill(mill, jobs, body)
            drains[name].append(drain(mill, jobs * 9 // 10, jobs // 5))
            mill.stop()
    for what, found in (("submit", submits), ("drain", drains)):
        for name, rounds in found.items():
            row.line(f"{what}, {name}", rounds)
        for name in list(variants)[1:]:
            row.value(f"{what}, {name}: rate to no limits", ratio(found[name], found["no limits"]), "×")
            row.value(f"{what}, {name}: broker CPU", ratio(found[name], found["no limits"], server_cpu), "×")


FILTERS = (
    "", "state=failed", "state=succeeded", "state=cancelled", "state=running", "tag=red", "tag=needle",
    "tag=red&state=failed", "tag=red&queue=rare", "error=timed_out", "error=timed_out&queue=rare",
    "queue=bulk", "queue=rare", "queue=nobody", "queue=rare&state=failed", "task=send",
    "limit_key=customer042", "limit_key=nobody", "worker=1122334455660003", "worker=00000000000000ff")


def random_place():
    """A moment within what the history holds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ",
                         time.gmtime(time.time() - random.uniform(600, history.SPAN_MS / 1000)))


def find_pages(mill, name, count):
    """([ms], [jobs on the page]) of pages by one filter from random places."""
    times, shown = [], []
    for _ in range(count):
        path = f"/v1/jobs?{name}{name and '&'}created_before={random_place()}"
        begin = time.perf_counter()
        shown.append(len(mill.call("GET", path)["jobs"]))
        times.append((time.perf_counter() - begin) * 1000)
    return times, shown


def row_find(row):
    """GET /v1/jobs by each filter from random places of 10,000,000 finished jobs: one page"""
    finished = row.size(10000000)
    mill = Mill(0, finished)
    random.seed(7)
    worst, rows = 0, []
    for name in FILTERS:
        times, shown = find_pages(mill, name, 20 * row.rounds)
        worst = max(worst, quantile(times, 0.99))
        rows.append([name or "(none)", f"{statistics.mean(shown):.1f}",
                     *(f"{quantile(times, share):.2f}" for share in (0.5, 0.99, 1))])
    mill.stop()
    row.table([f"filter, of {finished:,} finished", "jobs", "p50 ms", "p99 ms", "most ms"], rows)
    row.verdict("the worst p99 of a page", worst, "≤", 50, "ms")
