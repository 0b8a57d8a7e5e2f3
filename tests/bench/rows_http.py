"""The front: requests that touch no job, reads, and submits into a queue that nobody serves."""

import tempfile

import web
from measure import Curves, load, ratio, server_cpu
from mill import BIN, NOOP, Mill, Server, wait_until, with_fields


def row_ping(row):
    """GET /ping on 64 connections, against libuv and http-parser with a fixed answer, Gin and FastAPI"""
    servers = {"jobmill /ping": Mill(), "its HTTP front alone": Server("front", BIN / "front")}
    if (BIN / "ceiling").exists():
        servers["ceiling: libuv, http-parser"] = Server("ceiling", BIN / "ceiling")
    else:
        row.note("ceiling: not available, this Debian has no libhttp-parser")
    for name, start in web.SERVERS.items():
        server, why = start()
        if server:
            servers[name] = server
        else:
            row.note(f"{name}: not available, {why}")
    figures = {name: [] for name in servers}
    for _ in range(row.rounds):
        for name, server in servers.items():
            figures[name].append(load(server, row.seconds))
    for name, found in figures.items():
        row.line(name, found)
    ours, ceiling = figures["jobmill /ping"], figures.get("ceiling: libuv, http-parser")
    if ceiling:
        row.verdict("CPU per request against the ceiling's", ratio(ours, ceiling, server_cpu), "≤", 1.10, "×")
        row.verdict("rate against the ceiling's", ratio(ours, ceiling), "≥", 0.9, "×")
    if web.GIN in figures:
        row.verdict("rate against Gin's", ratio(ours, figures[web.GIN]), "≥", 2, "×")


def paced(server, row, path, **options):
    """1,000 a second on 16 connections, whatever the answers do."""
    return load(server, max(row.seconds, 1) * 3, path=path, rate=1000, connections=16, warmup="200ms", **options)


def row_beside(row):
    """/ping and job reads at 1,000 a second on 16 connections (open loop), idle and while both workers \
compute"""
    mill = Mill(2)
    ids = [mill.call("POST", "/v1/jobs?wait=30", {"task": "noop"})["id"] for _ in range(200)]
    figures = {what: {"idle": [], "both workers compute": []} for what in ("/ping", "GET /v1/jobs/ID")}
    with tempfile.NamedTemporaryFile("w", dir=mill.dir) as values:
        values.write("".join(f"{name}\n" for name in ids))
        values.flush()

        def both(state):
            figures["/ping"][state].append(paced(mill, row, "/ping"))
            figures["GET /v1/jobs/ID"][state].append(paced(mill, row, "/v1/jobs/{v}", values=values.name))
        for _ in range(max(1, row.rounds // 2)):
            both("idle")
            computing = [mill.call("POST", "/v1/jobs", {"task": "fib", "args": {"n": 50}})["id"]
                         for _ in range(2)]
            wait_until(lambda: mill.counts()["running"] == 2, 20, "both compute")
            both("both workers compute")
            for job in computing:
                mill.call("POST", f"/v1/jobs/{job}/cancel")
            wait_until(mill.is_empty, 20, "both are stopped")
    for what, states in figures.items():
        lines = [row.line(f"{what}, {state}", found) for state, found in states.items()]
        idle, busy = lines
        row.verdict(f"{what}: p99 while both compute against idle", busy["p99_ms"][0] / idle["p99_ms"][0], "≤", 3,
                    "×")
        row.value(f"{what}: p99.9 while both compute against idle", busy["p999_ms"][0] / idle["p999_ms"][0], "×")


def submit_round(row, slots, **options):
    """With slots the jobs run; without, their queue is paused."""
    mill = Mill(slots)
    if not slots:
        mill.call("POST", "/v1/queues/default/pause")
    figures = load(mill, row.seconds, method="POST", **options)
    mill.stop()
    return figures


def row_submit(row):
    """POST /v1/jobs, one job a request, 64 connections, a new database each round: into a paused queue, \
and with workers on; and one connection alone"""
    def one(slots, **options):
        return submit_round(row, slots, path="/v1/jobs", body=NOOP, expect=201, **options)
    parked, served, alone = [], [], []
    for n in range(row.rounds):
        parked.append(one(0))
        served.append(one(2))
        if n % 3 == 0:
            alone.append(one(0, connections=1))
    line = row.line("a paused queue", parked)
    row.line("2 workers on", served)
    row.line("a paused queue, one connection", alone)
    row.verdict("into a paused queue", line["rate"][0], "≥", 45000, "jobs/s")


def row_bulk(row):
    """POST /v1/jobs/batch, 1,000 jobs a request, 4 connections, against one job a request on 64, into a paused queue"""
    bulk, single = [], []
    for _ in range(row.rounds):
        single.append(submit_round(row, 0, path="/v1/jobs", body=NOOP, expect=201))
        mill = Mill()
        mill.call("POST", "/v1/queues/default/pause")
        found = load(mill, row.seconds, per=1000, method="POST", path="/v1/jobs/batch", body=NOOP, batch=1000,
                     connections=4)
        stored = mill.counts()["queued"]
        assert stored >= found["good"] * 1000, stored
        bulk.append(found)
        mill.stop()
    row.line("one job a request", single)
    line = row.line("1,000 a request (times of one)", bulk)
    row.verdict("bulk submit", line["rate"][0], "≥", 150000, "jobs/s")
    row.value("bulk against one a request", ratio(bulk, single), "×")


def row_connections(row):
    """10 to 9,900 connections (of at most 10,000), all busy: /ping and submit, against the ceiling"""
    curves = Curves("connections")
    for count in (10, 100, 1000, 9900):
        if count > (row.jobs or count):
            continue
        seconds = max(row.seconds, 2) if count > 1000 else row.seconds
        figures = {"/ping": [], "submit": [], "ceiling": []}
        for _ in range(max(1, row.rounds // 3)):
            mill = Mill()
            options = {"connections": count, "warmup": "300ms"}
            figures["/ping"].append(load(mill, seconds, **options))
            figures["submit"].append(load(mill, seconds, **options, method="POST", path="/v1/jobs",
                                          body=with_fields(NOOP, queue="parked"), expect=201))
            mill.stop()
            if (BIN / "ceiling").exists():
                ceiling = Server("ceiling", BIN / "ceiling")
                figures["ceiling"].append(load(ceiling, seconds, **options))
                ceiling.stop()
        for what, found in figures.items():
            if found:
                row.line(f"{what}, {count:,} connections", found)
                curves.add(what, count, found)
        if figures["ceiling"]:  # each socket costs the kernel more when there are many
            row.verdict(f"/ping, {count:,} connections: CPU against the ceiling's",
                        ratio(figures["/ping"], figures["ceiling"], server_cpu), "≤", 1.25, "×", "scale")
    curves.draw(row, but=("ceiling", "/ping"))
