#!/usr/bin/env python3
"""A task in Python: counts the words of a text.

Put this file into the directory of `jobmill-worker --tasks-dir` and submit:

    jobmill submit wordcount text="to be or not to be" --wait

Arguments come as JSON on stdin, the result goes as JSON to stdout. A message on stderr and an exit
status other than 0 fail the job with that message.
"""

import collections
import json
import sys


def main():
    args = json.load(sys.stdin)
    text = args.get("text") if isinstance(args, dict) else None
    if not isinstance(text, str):
        print("parameter 'text' must be a string", file=sys.stderr)
        return 2
    words = text.split()
    most = collections.Counter(words).most_common(10)
    json.dump({"words": len(words), "lines": len(text.splitlines()), "most": most}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
