"""A row of the bench as it fills: what it prints while it runs, and keeps for the report.

A row is a function that gets a Row. Its lines are medians over the rounds with the least and the most; its
verdicts compare a figure with its target.
"""

import json
import resource
import statistics
import subprocess
import time

import mill
import proc

LATENCIES = (("p50_us", "p50_ms"), ("p99_us", "p99_ms"), ("p999_us", "p999_ms"))


def spread(values):
    """[median, least, most]"""
    return [statistics.median(values), min(values), max(values)]


def number(value):
    """With as many digits as say something."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def children_s():
    """CPU of the programs that we waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Generator:
    """One run of the load generator beside whatever else happens; finish() has its figures: rate, times,
    and for each request or job (`per` of them in a request) the CPU of each part and the bytes that the
    broker has written to the disk."""

    def __init__(self, server, seconds, per=1, **options):
        self.server, self.per = server, per
        words = [mill.BIN / "load", "--port", str(server.port), "--seconds", f"{round(seconds * 1000)}ms"]
        for name, value in {"warmup": 0, **options}.items():
            words += [f"--{name}", str(value)]
        self.before = proc.cpu_s(server.parts)
        self.own_before = children_s()
        self.written_before = proc.written_bytes(server.parts.get("broker", []))
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        mill.running.append(self)

    def finish(self):
        text, error = self.process.communicate()
        mill.running.remove(self)
        if self.process.returncode != 0:
            raise RuntimeError(f"load failed: {text}{error}")
        figures = json.loads(text)
        jobs = figures["good"] * self.per
        figures["rate"] *= self.per
        after = proc.cpu_s(self.server.parts)
        figures["cpu_us"] = {part: (after[part] - self.before.get(part, 0)) * 1e6 / jobs for part in after}
        figures["cpu_us"]["client"] = (children_s() - self.own_before) * 1e6 / jobs
        figures["written"] = (proc.written_bytes(self.server.parts.get("broker", []))
                              - self.written_before) / jobs
        figures["pss_mb"] = {part: proc.pss_mb(pids) for part, pids in self.server.parts.items()}
        return figures

    def stop(self):
        mill.running.remove(self)
        self.process.kill()
        self.process.communicate()


def load(server, seconds, **options):
    return Generator(server, seconds, **options).finish()


def refill(server, jobs, body=mill.NOOP):
    """Bulk submits, as fast as they go."""
    for count, batch in ((jobs // 1000, 1000), (jobs % 1000, 1)):
        if count:
            load(server, 120, method="POST", path="/v1/jobs/batch", body=body, batch=batch, connections=2,
                 requests=count)


def server_cpu(figures, but=("client", "redis", "parent", "children")):
    """µs of the server itself: all its threads, without what stands beside it."""
    return sum(value for part, value in figures["cpu_us"].items() if part not in but)


class Row:
    def __init__(self, name, function, options):
        self.name = name
        self.rounds, self.seconds, self.jobs = options.rounds, options.seconds, options.jobs
        self.data = {"title": function.__doc__.strip(), "lines": [], "verdicts": [], "notes": [], "curves": [],
                     "tables": [], "rounds": self.rounds, "seconds": self.seconds, "jobs": self.jobs}
        self.began = time.monotonic()
        print(f"\n{name}: {self.data['title']}", flush=True)

    def size(self, default):
        """How large a store is to be: --jobs, if given, is the most."""
        return min(default, self.jobs) if self.jobs else default

    def sizes(self, *defaults):
        return sorted({self.size(value) for value in defaults})

    def line(self, label, rounds):
        """Medians of several rounds of figures; returns them."""
        line = {"label": label, "rate": spread([r["rate"] for r in rounds])}
        for source, target in LATENCIES:
            if source in rounds[0]:
                line[target] = spread([r[source] / 1000 for r in rounds])
        for kind in ("cpu_us", "pss_mb"):
            if kind in rounds[0]:
                line[kind] = {part: statistics.median(r[kind].get(part, 0) for r in rounds)
                              for part in rounds[-1][kind]}
        self.data["lines"].append(line)
        median, least, most = line["rate"]
        times = "  ".join(f"{name[:-3].replace('p999', 'p99.9')} {line[name][0]:.2f}" for _, name in LATENCIES
                          if name in line)
        print(f"  {label:38} {number(median):>9} /s  ({number(least)} to {number(most)})  {times}"
              f"{' ms' if times else ''}")
        for kind, unit in (("cpu_us", "µs CPU each"), ("pss_mb", "MB")):
            if line.get(kind):
                print(f"  {'':38} {unit}: " + ", ".join(
                    f"{part} {number(value)}" for part, value in line[kind].items() if value >= 0.005),
                    flush=True)
        return line

    def value(self, label, values, unit):
        """A figure that is no rate; returns its median."""
        found = spread(values if isinstance(values, list) else [values])
        self.data["lines"].append({"label": label, "value": found, "unit": unit})
        ends = f"  ({number(found[1])} to {number(found[2])})" if found[1] != found[2] else ""
        print(f"  {label:38} {number(found[0]):>9} {unit}{ends}", flush=True)
        return found[0]

    def verdict(self, what, value, sense, limit, unit="", kind="target"):
        """kind: "target", or "scale" for what says that a curve is flat."""
        is_met = value >= limit if sense == "≥" else value <= limit
        self.data["verdicts"].append({"what": what, "value": value, "sense": sense, "limit": limit,
                                      "unit": unit, "is_met": is_met, "kind": kind})
        print(f"  {'met:   ' if is_met else 'MISSED:'} {what}: {number(value)}{unit and ' ' + unit} "
              f"(target {sense} {limit:,})", flush=True)

    def note(self, text):
        self.data["notes"].append(text)
        print(f"  {text}", flush=True)

    def table(self, head, rows):
        """Strings, the first of each a label."""
        self.data["tables"].append({"head": head, "rows": rows})
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        for row in [head, *rows]:
            print("  " + row[0].ljust(widths[0]) + "".join(
                "  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:])), flush=True)

    def curve(self, name, title, x, y, series):
        """series: {label: [[x, median, least, most]]}; x is drawn by its logarithm."""
        self.data["curves"].append({"name": name, "title": title, "x": x, "y": y, "series": series})

    def end(self):
        self.data["took_s"] = round(time.monotonic() - self.began, 1)
        self.data["date"] = time.strftime("%Y-%m-%d")
        print(f"  took {self.data['took_s']:.0f} s", flush=True)
        return self.data


def ratio(rounds, others, of=lambda figures: figures["rate"]):
    """The median of ratios of rounds that were run in turn."""
    return statistics.median(of(a) / of(b) for a, b in zip(rounds, others))


class Curves:
    """Rate and the broker's CPU against one thing that grows; flat is what they should be."""

    def __init__(self, name, x=None):
        self.name, self.x = name, x or name
        self.points = {"rate": {}, "cost": {}}

    def add(self, label, x, rounds):
        for kind, of in (("rate", lambda figures: figures["rate"]), ("cost", server_cpu)):
            self.points[kind].setdefault(label, []).append([x, *spread([of(r) for r in rounds])])

    def draw(self, row, limit=1.25, but=()):
        row.curve(f"{self.name}-rate", f"rate against {self.x}", self.x, "a second", self.points["rate"])
        row.curve(f"{self.name}-cost", f"the broker's CPU against {self.x}", self.x, "µs each",
                  self.points["cost"])
        for label, points in self.points["cost"].items():
            if label in but:
                continue
            dearest = max(points[1:] or points, key=lambda point: point[1])
            row.verdict(f"{label}: broker CPU with {dearest[0]:,} {self.x} against {points[0][0]:,}",
                        dearest[1] / points[0][1], "≤", limit, "×", "scale")
