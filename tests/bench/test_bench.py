"""The frame of ./dev bench: a row in small from end to end, and the page that is made of figures."""

import argparse
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import bench  # noqa: E402
import measure  # noqa: E402
import mill  # noqa: E402
import report  # noqa: E402
import svg  # noqa: E402

SMALL = argparse.Namespace(rounds=1, seconds=0.1, jobs=2000)


def quietly(function, *args):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return function(*args)


def example(row):
    """an example of each kind of figure"""
    rounds = [{"rate": rate, "p50_us": 100, "p99_us": 2000, "cpu_us": {"loop": 3, "writer": rate / 1000}}
              for rate in (3000, 1000, 2000)]
    row.line("jobmill", rounds)
    row.value("memory", [4, 5, 6], "MB")
    row.verdict("rate", 2000, "≥", 1500, "jobs/s")
    row.verdict("cost", 2, "≤", 1.5, "×")
    row.table(["what", "n"], [["a|b", "1"]])
    row.note("a note")
    curves = measure.Curves("example", "things")
    for count in (0, 10, 1000):
        curves.add("ours", count, rounds)
    curves.draw(row)


class Rows(unittest.TestCase):
    def tearDown(self):
        mill.stop_all()

    def test_a_row_in_small_has_its_figures(self):
        data = quietly(bench.run_row, "flow", SMALL)
        self.assertNotIn("error", data)
        line, accepted = data["lines"]
        self.assertGreater(line["rate"][0], 0)
        self.assertGreater(accepted["value"][0], 0)
        self.assertTrue({"loop", "writer", "redis", "children", "client"} <= set(line["cpu_us"]), line)
        self.assertGreater(line["cpu_us"]["writer"], 0)
        steps = dict(data["tables"][0]["rows"])
        self.assertGreater(float(steps["one transaction: inserts and ends"].replace(",", "")), 1)
        self.assertIn("one claim by a child", steps)

    def test_a_row_that_fails_is_told_and_leaves_nothing_running(self):
        def broken(_row):
            """a row that breaks"""
            mill.Mill()
            raise RuntimeError("on purpose")
        bench.ROWS["broken"] = broken
        try:
            data = quietly(bench.run_row, "broken", SMALL)
        finally:
            del bench.ROWS["broken"]
        self.assertEqual(data["error"], "RuntimeError: on purpose")
        self.assertEqual(mill.running, [])


class Page(unittest.TestCase):
    def make(self, docs, peers=()):
        row = quietly(measure.Row, "ping", example, SMALL)
        quietly(example, row)
        data = {"machine": {"cores": "2"}, "versions": {"Redis": "7"}, "date": "2030-01-01", "command": "c",
                "rows": {"ping": quietly(row.end), "submit": {"title": "broken", "error": "why"}}}
        (docs / report.FIGURES).write_text(json.dumps(data))
        if peers:
            (docs / report.PEERS).write_text(json.dumps(peers))
        self.assertEqual(report.render(docs), 2)
        return (docs / report.PAGE).read_text()

    def test_lines_are_medians_with_their_spread(self):
        row = quietly(measure.Row, "x", example, SMALL)
        quietly(example, row)
        self.assertEqual(row.data["lines"][0]["rate"], [2000, 1000, 3000])
        self.assertEqual(row.data["lines"][0]["cpu_us"], {"loop": 3, "writer": 2})
        self.assertEqual([v["is_met"] for v in row.data["verdicts"]], [True, False, True])

    def test_the_page_says_what_is_missed_and_what_failed_and_shows_its_plots(self):
        with tempfile.TemporaryDirectory() as folder:
            docs = pathlib.Path(folder)
            (docs / "bench-old.svg").write_text("of a row that is no more")
            page = self.make(docs)
            self.assertIn("| [ping](#ping) | rate | ≥ 1,500 jobs/s | 2,000 jobs/s | met |", page)
            self.assertIn("| [ping](#ping) | cost | ≤ 1.5 × | 2.00 × | **missed** |", page)
            self.assertIn("**failed**", page)
            self.assertIn("2,000 (1,000–3,000)", page)
            self.assertIn("a\\|b", page)
            plots = {path.name for path in docs.glob("*.svg")}
            self.assertEqual(plots, {"bench-ping.svg", "bench-example-rate.svg", "bench-example-cost.svg"})
            for name in plots:
                self.assertIn(f"]({name})", page)
                xml.etree.ElementTree.parse(docs / name)

    def test_peers_stand_beside_ours_if_they_were_measured(self):
        peer = {"peer": "other <queue>", "version": "1", "durability": "RAM", "client": "C", "command": "run it",
                "rows": {"submit_64": 86000, "idle_p50_ms": 0.15}}
        with tempfile.TemporaryDirectory() as folder:
            docs = pathlib.Path(folder)
            self.assertIn("other <queue>", self.make(docs, [peer]))
            self.assertNotIn("Beside other queues", self.make(pathlib.Path(tempfile.mkdtemp(dir=folder))))

    def test_axes_end_at_round_numbers(self):
        self.assertEqual(svg.ticks(100), [0, 25, 50, 75, 100])
        self.assertEqual(svg.ticks(3700)[-1], 4000)
        places = svg.x_places([0, 1, 10, 100], 0, 100)
        self.assertTrue(places[0] < places[1] < places[10] < places[100] <= 100, places)


if __name__ == "__main__":
    unittest.main()
