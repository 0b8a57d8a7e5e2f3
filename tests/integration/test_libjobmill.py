"""What a user of libjobmill gets: a header for C99 and C++98, two libraries that show nothing but
jobmill_*, and an example that works with either of them."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import harness

HEADER = harness.SOURCE / "client" / "jobmill.h"


def compile_header(compiler, *flags):
    """What the compiler has to say of a file that includes the header twice and nothing else."""
    with tempfile.TemporaryDirectory() as directory:
        source = pathlib.Path(directory) / "user.c"
        source.write_text(f'#include "{HEADER}"\n#include "{HEADER}"\nint main(void) {{ return 0; }}\n')
        run = subprocess.run([compiler, *flags, "-pedantic", "-Wall", "-Wextra", "-Werror",
                              "-fsyntax-only", str(source)], capture_output=True, text=True)
        return run.stderr


def shown_symbols(*command):
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split()[-1] for line in lines if len(line.split()) == 3}


def promised_symbols():
    """The functions that the header declares."""
    text = HEADER.read_text()
    return {word.partition("(")[0].lstrip("*") for line in text.splitlines()
            if line.startswith("JOBMILL_") for word in line.split() if "(" in word}


class Header(unittest.TestCase):
    def test_is_c99(self):
        self.assertEqual(compile_header(shutil.which("cc"), "-std=c99"), "")

    def test_is_cxx98(self):
        compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
        if compiler is None:
            self.skipTest("there is no C++ compiler")
        flags = ("-x", "c++", "-std=c++98", "-Wno-long-long")
        self.assertEqual(compile_header(compiler, *flags), "")


class Libraries(unittest.TestCase):
    def check(self, symbols):
        promised = promised_symbols()
        self.assertIn("jobmill_submit", promised)
        self.assertEqual(promised - symbols, set(), "promised, but not there")
        extra = {name for name in symbols - promised if not name.startswith(("__odr_asan", "_"))}
        self.assertEqual(extra, set(), "shown, but nobody's business")

    def test_the_shared_one_shows_what_the_header_promises_and_no_more(self):
        self.check(shown_symbols("nm", "-D", "--defined-only", harness.BIN / "libjobmill.so"))

    def test_so_does_the_static_one(self):
        self.check(shown_symbols("nm", "-g", "--defined-only", harness.BIN / "libjobmill.a"))


class Example(unittest.TestCase):
    def run_example(self, mill, kind, *args, name="submit"):
        return mill.start("example", harness.BIN / f"example_{name}_{kind}", *args,
                          env={"JOBMILL_URL": f"unix:{mill.socket_path}"})

    def test_submits_waits_and_prints_with_either_library(self):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            mill.start_worker("--test-tasks")
            for kind in ("shared", "archive"):
                example = self.run_example(mill, kind, "fib", '{"n": 20}')
                self.assertEqual(example.wait(), 0)
                self.assertIn("6765", example.out)
                example = self.run_example(mill, kind, "echo", '{"a":', "key")
                example.is_expected_to_fail = True
                self.assertEqual(example.wait(), 1)
                self.assertIn("error -1 (invalid_argument)", example.err)

    def test_a_batch_of_many_jobs_comes_through(self):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            for kind in ("shared", "archive"):
                example = self.run_example(mill, kind, "echo", "20000", name="batch")
                self.assertEqual(example.wait(), 0)
                self.assertEqual(example.out, "20000 jobs are submitted\n")
            example = self.run_example(mill, "shared", "no name", "2", name="batch")
            example.is_expected_to_fail = True
            self.assertEqual(example.wait(), 1)
            self.assertRegex(example.err, r"(?s)job 0: .*job 1: ")

    def test_a_batch_that_is_too_long_is_no_success(self):
        with harness.Mill() as mill:
            mill.start_redis()
            mill.start_broker()
            example = self.run_example(mill, "shared", "echo", "100002", name="batch")
            example.is_expected_to_fail = True
            self.assertEqual(example.wait(), 1)
            self.assertEqual(example.out, "100000 jobs are submitted\n")
            self.assertRegex(example.err, r"(?s)job 100000: .*error -38 \(batch_too_large\)")


if __name__ == "__main__":
    sys.exit(unittest.main())
