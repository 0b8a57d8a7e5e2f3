"""docs/benchmarks.md and its plots, from the figures in docs/benchmarks.json (and, if it is there, those of
other queues in docs/benchmarks-peers.json). Nothing is measured here."""

import json
import pathlib

import svg
from measure import number

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
FIGURES, PEERS, PAGE = "benchmarks.json", "benchmarks-peers.json", "benchmarks.md"

HEAD = """# Benchmarks

Made by `./dev bench --report`, which runs every row of the bench on one machine, ours and its yardstick in
turn, and keeps the figures in [benchmarks.json](benchmarks.json); `./dev bench --render` writes this page
from them. `./dev bench ROW…` runs some rows again and prints them; with `--report` they replace theirs here.

Durability is always on: a 2xx is fsynced, and an end that is shown is fsynced. The load generator
(`tests/bench/load.c`) runs on the same cores. Figures are medians of the rounds, with the least and the most
in brackets; times count from when a request was due (open loop) or sent (closed loop). CPU is that of each
process or thread on a core, for each request or job: `loop`, `writer`, `checkpoint` and `pool` are the
broker's threads, `parent` and `children` are the worker host's processes, `client` is the load generator.
What the costs consist of, and why a row is missed, if one is: [performance.md](performance.md).
"""

# What the peers' rows stand beside: (title, their field, our row, the line of it)
PEER_ROWS = (
    ("submit, one at a time", "submit_one", "submit", 2),
    ("submit, one job a request, 64 in flight", "submit_64", "submit", 0),
    ("bulk submit", "bulk", "bulk", 1),
    ("end to end, result in the client's hands", "end_to_end", "noop", 2),
)
# What ours must be, times theirs: (field, words of the peer's name, of its durability, factor)
PEER_TARGETS = (
    ("submit_64", "BullMQ", "", 2), ("submit_64", "beanstalkd", "each", 7), ("bulk", "bee-queue", "", 2),
    ("end_to_end", "gearmand", "", 1), ("end_to_end", "BullMQ", "", 3.5), ("end_to_end", "beanstalkd", "each", 15),
)
PEER_FIELDS = ("submit_one", "submit_64", "bulk", "end_to_end", "idle_p50_ms", "idle_p99_ms")


def load_json(path, default):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows] + [""]


def with_spread(figure):
    median, least, most = figure
    if least == most:
        return number(median)
    return f"{number(median)} ({number(least)}–{number(most)})"


def parts_of(line, kind):
    return ", ".join(f"{part} {number(value)}" for part, value in line.get(kind, {}).items() if value >= 0.005)


# ---- one row


def rate_lines(row):
    lines = [line for line in row["lines"] if "rate" in line]
    if not lines:
        return []
    body = []
    for line in lines:
        times = [with_spread(line[name]) if name in line else "" for name in ("p50_ms", "p99_ms", "p999_ms")]
        body.append([line["label"], with_spread(line["rate"]), *times, parts_of(line, "cpu_us"),
                     parts_of(line, "pss_mb")])
    return table(["", "a second", "p50 ms", "p99 ms", "p99.9 ms", "µs CPU each", "MB (PSS)"], body)


def value_lines(row):
    lines = [line for line in row["lines"] if "value" in line]
    return table(["", "", ""], [[line["label"], with_spread(line["value"]), line["unit"]]
                                for line in lines]) if lines else []


def verdict_cells(verdict):
    unit = verdict["unit"] and " " + verdict["unit"]
    return [verdict["what"], f"{verdict['sense']} {verdict['limit']:,}{unit}", number(verdict["value"]) + unit,
            "met" if verdict["is_met"] else "**missed**"]


def row_section(name, row, plots):
    lines = [f"### {name}", "", row["title"][0].upper() + row["title"][1:] + ".", ""]
    if "error" in row:
        return lines + [f"It failed: {row['error']}", ""]
    lines += rate_lines(row) + value_lines(row)
    for one in row["tables"]:
        lines += table(one["head"], one["rows"])
    if row["verdicts"]:
        lines += table(["", "target", "measured", ""], [verdict_cells(v) for v in row["verdicts"]])
    for note in row["notes"]:
        lines += [note[0].upper() + note[1:], ""]
    for curve in row["curves"]:
        file = f"bench-{curve['name']}.svg"
        plots[file] = svg.curves(curve["title"], curve["x"], curve["y"], curve["series"])
        lines += [f"![{curve['title']}]({file})", ""]
    size = f", stores of at most {row['jobs']:,}" if row.get("jobs") else ""
    return lines + [f"`./dev bench {name}`, {row['rounds']} rounds of {row['seconds']:g} s{size}, took "
                    f"{row['took_s']:.0f} s on {row['date']}.", ""]


# ---- all


def verdict_table(rows, kind):
    body = []
    for name, row in rows.items():
        if "error" in row and kind == "target":
            body.append([f"[{name}](#{name})", "", "", "", "**failed**"])
        body += [[f"[{name}](#{name})", *verdict_cells(verdict)] for verdict in row.get("verdicts", ())
                 if verdict["kind"] == kind]
    return table(["row", "", "target", "measured", ""], body)


def targets(rows):
    return ["## Targets", "", *verdict_table(rows, "target"), "## Cost against scale", "",
            "The dearest point of each curve below against its first.", "", *verdict_table(rows, "scale")]


def line_bars(row, ours):
    return [(line["label"], *line["rate"], ours in line["label"]) for line in row["lines"] if "rate" in line]


def line_of(rows, name, index):
    lines = [line for line in rows.get(name, {}).get("lines", ()) if "rate" in line]
    return lines[min(index, len(lines) - 1)] if lines else None


def yardstick_plots(rows, plots):
    lines = []
    for name, unit, title in (("ping", "/s", "GET /ping"), ("fib", "/s", "fib(35), 8 clients, 2 cores")):
        if rows.get(name, {}).get("lines"):
            plots[f"bench-{name}.svg"] = svg.bars(title, unit, line_bars(rows[name], "jobmill"))
            lines += [f"![{title}](bench-{name}.svg)", ""]
    return lines


def peer_plots(rows, peers, plots):
    lines = []
    for title, field, name, index in PEER_ROWS:
        ours = line_of(rows, name, index)
        bars = [("jobmill (durable)", *ours["rate"], True)] if ours else []
        bars += sorted(((f"{peer['peer']} ({peer.get('durability', '')})"[:44], peer["rows"][field],
                         peer["rows"][field], peer["rows"][field], False)
                        for peer in peers if peer["rows"].get(field)), key=lambda bar: -bar[1])
        if len(bars) > 1:
            file = f"bench-peers-{field.replace('_', '-')}.svg"
            plots[file] = svg.bars(f"{title}, no-op jobs", "/s", bars)
            lines += [f"![{title}]({file})", ""]
    return lines


def peer_targets(rows, peers):
    """Ours against those that TARGETS.md names, as far as they were measured."""
    body = []
    places = {field: (title, line_of(rows, name, index)) for title, field, name, index in PEER_ROWS}
    for field, words, durability, factor in PEER_TARGETS:
        title, ours = places[field]
        theirs = [peer["rows"][field] for peer in peers if words.lower() in peer["peer"].lower()
                  and durability in peer.get("durability", "") and peer["rows"].get(field)]
        if ours and theirs:
            value = ours["rate"][0] / max(theirs)
            body.append(["", f"{title}: against {words}{durability and ', fsync each write'}", f"≥ {factor} ×",
                         f"{number(value)} ×", "met" if value >= factor else "**missed**"])
    return table(["", "", "target", "measured", ""], body) if body else []


def our_cells(rows):
    cells = [line_of(rows, name, index) for _, _, name, index in PEER_ROWS]
    single = line_of(rows, "single", 0)
    return ["**jobmill**", "", "fsync before each answer", "HTTP, `load.c`"] + [
        f"**{number(line['rate'][0])}**" if line else "" for line in cells] + [
        f"**{number(single[name][0])}**" if single else "" for name in ("p50_ms", "p99_ms")]


def peer_section(rows, peers, plots):
    if not peers:
        return []
    head = ["", "version", "durability", "client", "submit, one at a time", "submit, 64 in flight", "bulk submit",
            "end to end", "one job at idle, p50 ms", "p99 ms"]
    body = [[*(peer.get(field, "") for field in ("peer", "version", "durability", "client")),
             *(number(peer["rows"][field]) if peer["rows"].get(field) else "–" for field in PEER_FIELDS)]
            for peer in peers]
    commands = sorted({peer["command"] for peer in peers if peer.get("command")})
    return ["## Beside other queues", "",
            "No-op jobs a second, each tuned as its own documents advise ([benchmarks-peers.json]"
            "(benchmarks-peers.json)).", "",
            *table(head, [our_cells(rows), *body]), *peer_targets(rows, peers), *peer_plots(rows, peers, plots),
            "By " + ", ".join(f"`{command}`" for command in commands) + ".", ""]


def facts_section(data):
    minutes = sum(row.get("took_s", 0) for row in data["rows"].values()) / 60
    return ["## Where it was measured", "", *table(["", ""], [
        ["date", data["date"]], *([name, value] for name, value in data["machine"].items()),
        *([name, value] for name, value in data["versions"].items()),
        ["command", f"`{data['command']}`"], ["all rows took", f"{minutes:.0f} minutes"]])]


def render(docs=DOCS):
    """Writes the page; returns how many rows it has."""
    data, peers = load_json(docs / FIGURES, None), load_json(docs / PEERS, [])
    if data is None:
        raise SystemExit(f"there is no docs/{FIGURES}; ./dev bench --report makes it")
    plots, rows = {}, data["rows"]
    lines = [HEAD, *targets(rows), *yardstick_plots(rows, plots), *peer_section(rows, peers, plots),
             *facts_section(data), "## The rows", ""]
    for name, row in rows.items():
        lines += row_section(name, row, plots)
    for old in docs.glob("bench-*.svg"):
        if old.name not in plots:
            old.unlink()
    for file, picture in plots.items():
        (docs / file).write_text(picture, encoding="utf-8")
    (docs / PAGE).write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return len(rows)
