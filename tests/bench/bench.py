"""./dev bench: what it costs, each row beside its yardstick in the same run.

usage: bench.py [--rounds N] [--seconds S] [--jobs N] [--json FILE | --report | --render | --list] [ROW…]

A row is a function named row_… in one of rows_*.py. Programs come from JM_BIN; nothing leaves this machine,
and durability is on as it is in use: a 2xx is fsynced.
"""

import argparse
import json
import os
import pathlib
import sys
import traceback

import machine
import mill
import report
import rows_cost
import rows_flow
import rows_http
import rows_recovery
import rows_scale
import web
from measure import Row

ORDER = ("ping", "beside", "submit", "bulk", "noop", "flow", "single", "latency", "fib", "overhead", "urgent",
         "memory", "idle", "cost", "deep", "connections", "waiters", "queues", "keys", "limits", "child", "host",
         "history", "restart", "find", "disk", "store")
MODULES = (rows_http, rows_flow, rows_scale, rows_recovery, rows_cost)
ROWS = {name[4:]: function for module in MODULES for name, function in vars(module).items()
        if name.startswith("row_")}
assert set(ROWS) == set(ORDER)


def run_row(name, options):
    row = Row(name, ROWS[name], options)
    try:
        ROWS[name](row)
    except Exception as error:  # the others are worth having
        traceback.print_exc()
        row.data["error"] = f"{type(error).__name__}: {error}"[:300]
    mill.stop_all()
    return row.end()


def merge(path, rows, command):
    """Puts the rows into a file of figures, beside those that it has, in the order of all."""
    data = report.load_json(path, {"rows": {}})
    known = {**data["rows"], **rows}
    data = {**machine.facts(), "command": command, "rows": {name: known[name] for name in ORDER if name in known}}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def parse():
    parser = argparse.ArgumentParser(prog="./dev bench", description="Ours and the yardsticks in turn. "
                                     "./dev bench --list names the rows.")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1, help="of one round of most rows")
    parser.add_argument("--jobs", type=int, metavar="N", help="how large stores are at most, for a quick look")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="keep the figures there")
    parser.add_argument("--report", action="store_true",
                        help="keep them in docs/benchmarks.json and write docs/benchmarks.md")
    parser.add_argument("--render", action="store_true", help="only write docs/benchmarks.md, measure nothing")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="all of them if none is named")
    options = parser.parse_args()
    for name in options.rows:
        if name not in ROWS:
            parser.error(f"there is no row '{name}'; there are {', '.join(ORDER)}")
    return options


def main():
    options = parse()
    if options.list:
        for name in ORDER:
            print(f"{name:12} {ROWS[name].__doc__}")
        return 0
    if options.render:
        print(f"docs/{report.PAGE}: {report.render()} rows")
        return 0
    names = options.rows or ORDER
    if {"ping", "fib"} & set(names):
        web.prepare()
    print(f"{os.cpu_count()} cores, {options.rounds} rounds of {options.seconds:g} s, the generator on the same "
          "cores")
    files = [options.json] * bool(options.json) + [report.DOCS / report.FIGURES] * options.report
    failed = []
    for name in names:
        found = run_row(name, options)
        failed += [name] * ("error" in found)
        for path in files:  # at once, so that nothing is lost if it is stopped
            merge(path, {name: found}, " ".join(["./dev bench", *sys.argv[1:]]))
    if options.report:
        report.render()
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
