"""`./dev faults`: tries to make jobmill lose a job, and tells in one table how it went.

    ./dev faults [--minutes N] [--seed S] [--sim SEEDS] [--flavour F] [--markdown FILE] [PART…]

Without a part it is chaos: the real programs under load, killed and hurt for N minutes; those of the
release, or of a flavour with a sanitizer, whose first complaint ends the program. A part is a row of
PARTS: a function that gets the options and returns its outcome,

    rows         {kind of fault: {"injected": times, "recovery_s": longest, "in_flight_s": longest}}
    ledger       {what: how many}
    violations   [what was wrong]

or a program whose exit status is 0 if all was well and whose last line of output may be such an
outcome as JSON. Exit status 1 on any violation."""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile

FAULTS = pathlib.Path(__file__).resolve().parent
TESTS = FAULTS.parent
ROOT = TESTS.parent
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
SUMMED = ("accepted", "finished", "running", "queued", "lost", "kills")  # of a plain summary
ENDS = ("succeeded", "failed", "cancelled", "expired")


def say(*words):
    print(*words, flush=True)


def run_chaos(options):
    if options.flavour:
        quiet_build(options.flavour)
        tree = ROOT / "build" / options.flavour
        os.environ.update(JM_BIN=str(tree / "bin"), JM_BUILD=str(tree))
    import chaos
    kept = pathlib.Path(tempfile.gettempdir()) / f"jobmill-faults-{options.seed}"
    return chaos.run(options.minutes, options.seed, options.kind, say=say,
                     kept=options.keep or kept)


def program(name, flavour, *command, counts_jobs=True):
    """A part that is a program of its own, of the build of that flavour."""
    def run(options):
        quiet_build(flavour)
        bin_dir = ROOT / "build" / flavour / "bin"
        places = {"bin": bin_dir, "tests": TESTS, "python": sys.executable, **vars(options)}
        words = [word.format(**places) for word in command]
        lines = []
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "JM_BIN": str(bin_dir)}) as running:
            for line in running.stdout:
                lines.append(line)
                if not line.startswith("{"):
                    say(line.rstrip("\n"))
        outcome = read_outcome(name, lines, counts_jobs)
        if running.returncode != 0 and not outcome["violations"]:
            outcome["violations"] = [f"{' '.join(words)} ended with {running.returncode}"]
        return outcome
    return run


def quiet_build(flavour):
    done = subprocess.run([ROOT / "dev", "build", flavour], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise SystemExit(f"the flavour {flavour} does not build:\n{done.stdout}{done.stderr}")


def first_count(told, *names):
    for name in names:
        if name in told:
            return told[name] if isinstance(told[name], int) else len(told[name])
    return 0


def read_outcome(name, lines, counts_jobs):
    """The last line, if it is an outcome; a plain summary will do, too."""
    told = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    violations = told.get("violations") or []
    if not isinstance(violations, list):
        violations = [f"{name}: {violations} violations"]
    rows = told.get("rows")
    if rows is None:
        kinds = told.get("faults_by_kind") or {"all": first_count(told, "kills", "cases", "seeds")}
        rows = {f"{name}: {kind}": {"injected": count} for kind, count in kinds.items()}
    ledger = told.get("ledger") or {what: told[what] for what in SUMMED if what in told}
    if "accepted" in ledger:
        ledger.setdefault("finished", sum(told.get(state, 0) for state in ENDS))
    return {"rows": rows, "ledger": ledger if counts_jobs else {}, "violations": violations}


# name: what it runs. One whose file is not there is not offered.
PARTS = {
    "chaos": (FAULTS / "chaos.py", run_chaos),
    "crash": (FAULTS / "crash.py",
              program("crash points", "crash", "{python}", "-B", "{tests}/faults/crash.py",
                      "--seed={seed}")),
    "hostile": (TESTS / "hostile" / "hostile.py",
                program("hostile", "release", "{python}", "-B", "{tests}/hostile/hostile.py")),
    "torture": (TESTS / "torture" / "torture.py",
                program("torture", "asan", "{python}", "-B", "{tests}/torture/torture.py",
                        "--seed={seed}", counts_jobs=False)),
    "damage": (FAULTS / "damage.py",
               program("damaged databases", "release", "{python}", "-B", "{tests}/faults/damage.py",
                       "--seed={seed}", counts_jobs=False)),
    "sim": (TESTS / "sim" / "plants",
            program("simulated", "release", "{bin}/jobmill-sim", "--seeds={sim}", "--from={seed}",
                    "--jobs=2", counts_jobs=False)),
}


def parts():
    return {name: run for name, (path, run) in PARTS.items() if path.exists()}


# ---- the table -------------------------------------------------------------------------------

def seconds(value):
    return "" if value is None else f"{value:.1f} s"


def table(outcome):
    """Rows of four cells, the first two of which are the head."""
    rows = [("fault", "times", "until a fresh job is done", "until all in flight is done"),
            ("", "", "(longest)", "(longest)")]
    for kind, row in sorted(outcome["rows"].items()):
        rows.append((kind, f"{row['injected']:,}", seconds(row.get("recovery_s")),
                     seconds(row.get("in_flight_s") or None)))
    for what, count in outcome["ledger"].items():
        rows.append((f"jobs: {what}" if what != "kills" else "kills", f"{count:,}", "", ""))
    rows.append(("violations", f"{len(outcome['violations']):,}", "", ""))
    return rows


def as_text(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip()
                     for a, b, c, d in rows) + "\n"


def as_markdown(rows):
    head = " | ".join(f"{one} {two}".strip() for one, two in zip(rows[0], rows[1]))
    lines = [f"| {head} |", "|---|--:|--:|--:|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows[2:]]) + "\n"


def write_markdown(path, text):
    """Between the marks, if the file has them; else the whole file."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if BEGIN in old and END in old:
        head, _, rest = old.partition(BEGIN)
        text = f"{head}{BEGIN}\n{text}{END}{rest.partition(END)[2]}"
    path.write_text(text, encoding="utf-8")


def merge(outcomes):
    whole = {"rows": {}, "ledger": {}, "violations": []}
    for outcome in outcomes:
        whole["rows"].update(outcome["rows"])
        whole["violations"] += outcome["violations"]
        for what, count in outcome["ledger"].items():
            whole["ledger"][what] = whole["ledger"].get(what, 0) + count
    return whole


# ---- the command -----------------------------------------------------------------------------

def read_options():
    parser = argparse.ArgumentParser(prog="./dev faults", description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=5, help="of each part (default 5)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31),
                        help="of the schedule of faults")
    parser.add_argument("--kind", action="append", metavar="FAULT",
                        help="of chaos only faults of this kind, by its name in the table; may be "
                             "given more than once")
    parser.add_argument("--flavour", choices=("debug", "asan", "tsan"),
                        help="of the programs of chaos (default: as built for ./dev run)")
    parser.add_argument("--sim", type=int, default=0, metavar="SEEDS",
                        help="so many simulated histories; nothing else unless parts are named")
    parser.add_argument("--markdown", type=pathlib.Path,
                        help="writes the table into this file, between its marks if it has them")
    parser.add_argument("--keep", type=pathlib.Path,
                        help="where the history is kept if something is wrong")
    parser.add_argument("part", nargs="*", help=", ".join(parts()))
    options = parser.parse_args()
    options.part = options.part or ([] if options.sim else ["chaos"])
    if options.sim and "sim" not in options.part:
        options.part.append("sim")
    options.sim = options.sim or 1000
    for part in options.part:
        if part not in parts():
            parser.error(f"there is no part '{part}'; there are: {', '.join(parts())}")
    return options


def end_by_exception(signum, frame):
    """So that everything that was started is ended; a second signal changes nothing."""
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def main():
    options = read_options()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, end_by_exception)
    say(f"seed {options.seed}")
    try:
        outcome = merge(parts()[part](options) for part in options.part)
    except KeyboardInterrupt:
        say("stopped before the end")
        return 130
    rows = table(outcome)
    say("\n" + as_text(rows))
    for violation in outcome["violations"]:
        say(f"VIOLATION {violation}")
    if options.markdown:
        write_markdown(options.markdown, as_markdown(rows))
    return 1 if outcome["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
