"""Prints how long functions and files are and how much is comment, beside STYLE.md's anchors.

usage: shape.py [SOURCE ROOT]      exit 1 above the hard bounds

A function's length counts its lines from the signature to the closing brace. The style puts a
function's braces into column 0 and nothing else's, so no parser is needed; clang-format, which
runs beside this, keeps that true. A comment line holds a comment and no code; the share is of the
lines that are not blank.
"""

import os
import re
import statistics
import sys

PARTS = ["lib", "schema", "broker", "worker", "client"]
LONGEST_FUNCTION, LARGEST_FILE = 80, 600

COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|("(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')', re.DOTALL)
NAME = re.compile(r"(\w+)\s*\(")


def without_comments(text):
    """The text with its comments blanked out, line for line."""
    return COMMENT.sub(lambda found: found.group(1) or "\n" * found.group().count("\n"), text)


def functions(text):
    """Yields (name, first line, number of lines) of each function in a file."""
    lines = without_comments(text).split("\n")
    signature = None
    for number, line in enumerate(lines, 1):
        if line == "{" and signature:
            start, name = signature
        elif line == "}" and signature:
            yield name, start, number - start + 1
            signature = None
        elif line and not line[0].isspace() and line[0] not in "#{}":
            found = NAME.search(line)
            signature = (number, found.group(1)) if found else signature
            if line.rstrip().endswith(";"):
                signature = None


def comment_lines(text):
    """How many lines hold only comment, and how many are not blank."""
    bare = without_comments(text).split("\n")
    pairs = list(zip(text.split("\n"), bare))
    return (sum(1 for line, code in pairs if line.strip() and not code.strip()),
            sum(1 for line, code in pairs if line.strip()))


def source_files(root):
    for part in PARTS:
        for folder, _, names in os.walk(os.path.join(root, part)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def measure(root):
    found, files, comments, lines = [], [], 0, 0
    for path in source_files(root):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        files.append((text.count("\n"), path))
        only, whole = comment_lines(text)
        comments, lines = comments + only, lines + whole
        if path.endswith(".c"):
            found += [(size, f"{path}:{line} {name}") for name, line, size in functions(text)]
    return found, files, comments, lines


def share_under(found, limit):
    return 100 * sum(1 for size, _ in found if size < limit) / len(found)


def report(found, files, comments, lines):
    sizes = [size for size, _ in found]
    bodies = [count for count, path in files if path.endswith(".c")]
    print(f"{'':26}{'ours':>8}   anchors (STYLE.md)")
    print(f"{'functions, median lines':26}{statistics.median(sizes):8.0f}   12-18")
    print(f"{'  under 30 lines':26}{share_under(found, 30):7.0f}%   75%")
    print(f"{'  under 60 lines':26}{share_under(found, 60):7.0f}%   90%")
    print(f"{'  longest':26}{max(found)[0]:8}   {max(found)[1]}")
    print(f"{'files, median lines':26}{statistics.median(bodies):8.0f}   under 300")
    print(f"{'  largest':26}{max(files)[0]:8}   {max(files)[1]}")
    print(f"{'comment share':26}{100 * comments / lines:7.0f}%   of {lines} lines in {len(files)} files")


def over(found, files):
    return ([f"{where}: {size} lines, a function has at most {LONGEST_FUNCTION}"
             for size, where in found if size > LONGEST_FUNCTION] +
            [f"{path}: {count} lines, a file has at most {LARGEST_FILE}"
             for count, path in files if count > LARGEST_FILE])


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../..")
    found, files, comments, lines = measure(os.path.abspath(root))
    if not found:
        print("shape: found no function; is this the source root?")
        return 1
    report(found, files, comments, lines)
    problems = over(found, files)
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
