"""Runs torture_link (link.c) against a real Redis, with the shim that makes allocations fail."""

import sys

import area
import scenarios  # finds the harness
import harness


def main():
    with scenarios.Mill("link") as mill:
        mill.start_redis()
        program = mill.start("link", harness.BIN / "torture_link", mill.redis_path)
        code = program.wait()
        print(program.out, end="", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main() if area.SHIM.exists() else 77)
