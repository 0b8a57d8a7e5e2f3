"""Runs torture_link or torture_outbox against a real Redis, with the shim that makes allocations fail."""

import sys

import area
import scenarios  # finds the harness
import harness


def main():
    name = sys.argv[1]
    with scenarios.Mill(name) as mill:
        mill.start_redis()
        program = mill.start(name, harness.BIN / f"torture_{name}", mill.redis_path)
        code = program.wait()
        print(program.out, end="", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main() if area.SHIM.exists() else 77)
