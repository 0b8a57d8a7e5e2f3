#!/usr/bin/env python3
"""Submits one job, waits for its end and prints the result.

    ./submit.py fib '{"n": 35}'
    ./submit.py report '{"id": 4711}' --key report-4711 --timeout 600

The broker is $JOBMILL_URL, or http://127.0.0.1:7878. Exit status: 0 and the result as JSON on stdout,
or 1 and a sentence on stderr.
"""

import argparse
import json
import sys

import jobmill


def main() -> int:
    parser = argparse.ArgumentParser(description="submit a job and print its result")
    parser.add_argument("task")
    parser.add_argument("args", nargs="?", type=json.loads, help="as JSON")
    parser.add_argument("--queue")
    # The same for the same intent and different for another: then the whole command can be repeated
    # without making a second job. Within one run the client sees to that by itself.
    parser.add_argument("--key", help="an idempotency key")
    parser.add_argument("--timeout", type=float, help="seconds to wait for the result")
    options = parser.parse_args()

    try:
        with jobmill.Client() as client:
            job = client.submit(options.task, options.args, queue=options.queue,
                                idempotency_key=options.key)
            for warning in job.warnings:
                print(f"warning: {warning}", file=sys.stderr)
            print(json.dumps(job.result(options.timeout)))
            return 0
    except jobmill.JobFailed as failed:
        print(failed, file=sys.stderr)
        if failed.error and failed.error.stderr:
            print(failed.error.stderr, file=sys.stderr)
    except jobmill.JobmillError as error:
        print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
