"""The performance gate: how many instructions the broker's own code takes for a fixed script (gate.c),
part by part, under callgrind, compared with what is recorded in counts.json. No clock is read, so a busy
machine changes nothing.

usage: gate.py [--record | --table [PART] | --budget]

A part that takes over 5 % more than is recorded is a failure that names the functions which grew; one that
takes over 5 % less asks to be recorded anew (`./dev gate --record`), so that the gain can't be lost unseen.
Counts depend on the compiler and the libraries: with other versions than the recorded ones nothing is
compared (exit 77). --table shows where the instructions of each part go, or of one in full; --budget what one
job costs step by step (budget.py).
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
COUNTS = HERE / "counts.json"
BIN = pathlib.Path(os.environ.get("JM_BIN", HERE.parent.parent / "build/release/bin")).resolve()
TOLERANCE = 0.05
SKIPPED = 77
KEPT_SHARE = 0.005  # of a part: functions below are not recorded

# One set of string functions on every processor, since what a memcpy costs is counted too.
PLAIN_CPU = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-ERMS,-FSRM,"
                               "-RTM,-BMI2,-AVX_Fast_Unaligned_Load,-MOVBE,-LZCNT,-AVX512CD,-AVX512ER",
             "OPENSSL_ia32cap": "0x0", "UV_THREADPOOL_SIZE": "1"}


def versions():
    out = subprocess.run([BIN / "gate", "versions"], check=True, capture_output=True, text=True).stdout
    found = dict(line.split(" ", 1) for line in out.splitlines())
    return {**found, "machine": os.uname().machine}


def run():
    """What callgrind wrote of each part, in order."""
    with tempfile.TemporaryDirectory(prefix="gate-", dir=BIN.parent) as folder:
        words = ["valgrind", "--tool=callgrind", "--quiet", "--callgrind-out-file=out", BIN / "gate"]
        done = subprocess.run(words, cwd=folder, env={**os.environ, **PLAIN_CPU}, check=False,
                              capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"the script failed under callgrind: {done.stdout}{done.stderr}")
        files = sorted(pathlib.Path(folder).glob("out.*"), key=lambda path: int(path.suffix[1:]))
        texts = [path.read_text() for path in files]
    if not texts:
        sys.exit("callgrind left no counts")
    return texts


# What the compiler adds to the names of its copies of one function, and callgrind to those of recursive ones.
COPY = re.compile(r"(\.(constprop|part|isra|lto_priv|cold)(\.\d+)?)+|'\d+")


class Names:
    """Callgrind's shorthand: (1) name, and later (1) alone."""

    def __init__(self):
        self.known = {}

    def of(self, text):
        number, _, name = text.partition(" ")
        return self.known.setdefault(number, COPY.sub("", name))


def head(text):
    """(name, operations)"""
    trigger = re.search(r"^desc: Trigger: Client Request: (\d+) (.*)$", text, re.MULTILINE)
    return trigger.group(2), int(trigger.group(1))


def read(text):
    """One file of callgrind as name, (operations, {function: instructions}): what each function took itself,
    without what it called. What has no name (libraries without symbols) is summed up by library."""
    functions, objects, costs = Names(), Names(), {}
    function = library = ""
    is_call = False
    for line in text.splitlines():
        key, _, rest = line.partition("=")
        if key == "ob":
            library = os.path.basename(objects.of(rest)).partition(".so")[0]
        elif key == "cob":
            objects.of(rest)
        elif key == "fn":
            function = functions.of(rest)
        elif key == "cfn":
            functions.of(rest)
        elif key == "calls":
            is_call = True
        elif line[:1] in "0123456789+-*" and line:
            name = f"({library})" if function.startswith("0x") else function
            if not is_call:
                costs[name] = costs.get(name, 0) + int(line.split()[1])
            is_call = False
    name, ops = head(text)
    return name, (ops, costs)


def recorded_form(parts):
    form = {}
    for name, (ops, costs) in parts.items():
        total = sum(costs.values())
        form[name] = {"operations": ops, "instructions": total, "functions": {
            function: cost for function, cost in sorted(costs.items(), key=lambda item: -item[1])
            if cost >= total * KEPT_SHARE}}
    return form


def growth(old, costs, ops):
    """The functions that grew most, per operation."""
    grown = sorted(((cost - old["functions"].get(name, 0)) / ops, name) for name, cost in costs.items()
                   if name in old["functions"] or cost >= old["instructions"] * KEPT_SHARE)
    return ", ".join(f"{name} +{more:,.0f}" for more, name in reversed(grown[-5:]) if more >= 1)


def compare(parts, old):
    failures = []
    for name, (ops, costs) in parts.items():
        total = sum(costs.values())
        was = old["parts"].get(name)
        if was is None or was["operations"] != ops:
            failures.append(f"{name}: is not recorded like that")
            continue
        ratio = total / was["instructions"]
        print(f"  {name:34} {was['instructions'] / ops:>10,.0f} → {total / ops:>10,.0f} each  {ratio - 1:+.1%}")
        if ratio > 1 + TOLERANCE:
            failures.append(f"{name}: {ratio - 1:+.1%} instructions; grown: {growth(was, costs, ops)}")
        elif ratio < 1 - TOLERANCE:
            failures.append(f"{name}: {ratio - 1:+.1%}: better than recorded, so that it could get worse again "
                            "unseen: ./dev gate --record")
    failures += [f"{name}: is recorded and no part any more" for name in old["parts"] if name not in parts]
    return failures


def table(parts, wanted):
    for name, (ops, costs) in parts.items():
        if wanted not in (True, name):
            continue
        total = sum(costs.values())
        print(f"{name}: {total / ops:,.0f} instructions each")
        for function, cost in sorted(costs.items(), key=lambda item: -item[1])[:12 if wanted is True else 80]:
            print(f"  {cost / ops:>12,.0f}  {cost / total:6.1%}  {function}")


def show_budget(texts):
    import budget  # needs the bench beside it, which the comparison does not
    for text in texts:
        name, ops = head(text)
        if name in ("submit", "end to end", "drain"):
            budget.print_steps(name, ops, budget.by_step(budget.Lines(text, COPY)))
    budget.print_measured(seconds=4, connections=128)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--budget", action="store_true")
    parser.add_argument("--table", nargs="?", const=True, metavar="PART")
    args = parser.parse_args()
    if not (BIN / "gate").exists() or not shutil.which("valgrind"):
        print("skipped: there is no valgrind here, or there was none when this was configured")
        sys.exit(SKIPPED)
    made_with = versions()
    old = json.loads(COUNTS.read_text()) if COUNTS.exists() else {"made with": {}, "parts": {}}
    shows = args.table or args.budget
    if not args.record and not shows and made_with != old["made with"]:
        other = ", ".join(f"{name} {made_with[name]}, not {old['made with'].get(name)}"
                          for name in made_with if made_with[name] != old["made with"].get(name))
        print(f"skipped: the counts were recorded with other versions: {other}")
        sys.exit(SKIPPED)
    texts = run()
    parts = dict(read(text) for text in texts)
    if args.budget:
        show_budget(texts)
    elif args.table:
        table(parts, args.table)
    elif args.record:
        COUNTS.write_text(json.dumps({"made with": made_with, "parts": recorded_form(parts)}, indent=1) + "\n")
        print(f"recorded {len(parts)} parts in {COUNTS.name}")
    elif failures := compare(parts, old):
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
