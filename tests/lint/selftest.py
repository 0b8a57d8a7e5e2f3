"""Plants violations in a temporary tree and sees that arrows.py and shape.py find each of them."""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import arrows  # noqa: E402
import shape  # noqa: E402

CLEAN = {
    "lib/buf.h": "#include <stddef.h>\n",
    "lib/json.h": '#include "lib/buf.h"\n',
    "lib/buf.c": '#include "buf.h"\n',
    "schema/wire.h": '#include "lib/buf.h"\n',
    "broker/store_write.c": '#include <sqlite3.h>\n#include "schema/wire.h"\n',
    "broker/carrier_redis.c": "#include <hiredis/hiredis.h>\n#include <uv.h>\n",
    "broker/http_conn.c": "#include <uv.h>\nvoid f(void) { uv_read_start(0, 0, 0); }\n",
    "broker/notes.c": "/* uv_write() is called\n in http_conn.c */\nchar s[] = \"uv_write\";\n",
    "worker/main.c": '#include "schema/wire.h"\n',
    "client/jobmill.c": "#include <curl/curl.h>\n",
}

VIOLATIONS = [
    ("lib/bad.c", '#include "schema/wire.h"\n', "lib must not include schema/wire.h"),
    ("lib/bad.c", "#include <uv.h>\n", "must not include uv.h"),
    ("schema/bad.h", '#include "../broker/store.h"\n', "schema must not include broker/store.h"),
    ("broker/bad.c", '#include "worker/pool.h"\n', "broker must not include worker/pool.h"),
    ("worker/bad.c", '  #  include "client/jobmill.h"\n', "worker must not include client/jobmill.h"),
    ("client/bad.c", '#include "broker/store.h"\n', "client must not include broker/store.h"),
    ("client/tool/bad.c", '#include "../../worker/pool.h"\n', "must not include worker/pool.h"),
    ("broker/bad.c", '#include "tests/fake.h"\n', "broker must not include tests/fake.h"),
    ("broker/bad.c", "#include <sqlite3.h>\n", "must not include sqlite3.h"),
    ("worker/store.c", "#include <sqlite3.h>\n", "must not include sqlite3.h"),
    ("broker/bad.c", "#include <hiredis/async.h>\n", "must not include hiredis/async.h"),
    ("worker/child.c", "#include <hiredis/hiredis.h>\n", "must not include hiredis/hiredis.h"),
    ("broker/bad.c", '\nint f(void)\n{\n    return uv_try_write(0, 0, 0);\n}\n',
     "bad.c:4: uv_try_write"),
    ("broker/bad.h", "struct a { uv_tcp_t tcp; };\n", "uv_tcp_t"),
    ("broker/handler_jobs.c", '#include "lib/json.h"\n', "only the edge may include lib/json.h"),
    ("broker/dispatch.c", "#include <uv.h>\n", "core must not include uv.h"),
    ("broker/results.c", "long f(void) { return clock_gettime(0, 0); }\n", "clock_gettime"),
    ("broker/bad.c", "#include <jansson.h>\n", "must not include jansson.h"),
]


def plant(root, files):
    for path, text in files.items():
        path = os.path.join(root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def function(name, lines):
    return f"static int {name}(int a,\n    int b)\n{{\n" + "    a++;\n" * (lines - 4) + "}\n"


class Arrows(unittest.TestCase):
    def test_a_clean_tree_has_no_violation(self):
        with tempfile.TemporaryDirectory() as root:
            plant(root, CLEAN)
            self.assertEqual(arrows.check_tree(root), (len(CLEAN), []))

    def test_each_planted_violation_is_found_and_named(self):
        for path, text, expected in VIOLATIONS:
            with self.subTest(path=path, text=text), tempfile.TemporaryDirectory() as root:
                plant(root, CLEAN | {path: text})
                _, problems = arrows.check_tree(root)
                self.assertEqual(len(problems), 1, problems)
                self.assertIn(expected, problems[0])
                self.assertTrue(problems[0].startswith(path), problems)


class Shape(unittest.TestCase):
    def test_functions_are_counted_from_signature_to_brace(self):
        text = ("struct a {\n    int b;\n};\nint f(void);\n" + function("one", 7) +
                "static const int t[] = {\n    1,\n};\n\n" + function("two", 30))
        self.assertEqual([(name, size) for name, _, size in shape.functions(text)],
                         [("one", 7), ("two", 30)])

    def test_a_function_and_a_file_over_the_bounds_are_found(self):
        with tempfile.TemporaryDirectory() as root:
            plant(root, {"lib/a.c": function("fits", 80), "broker/b.c": function("long", 81),
                         "worker/c.h": "int a;\n" * 601, "client/d.h": "int a;\n" * 600})
            found, files, _, _ = shape.measure(root)
            problems = shape.over(found, files)
            self.assertEqual(len(problems), 2, problems)
            self.assertIn("broker/b.c:1 long: 81 lines", problems[0])
            self.assertIn("worker/c.h: 601 lines", problems[1])

    def test_comment_lines_hold_no_code(self):
        text = '/* one\n * two */\nint a; // not this\nchar s[] = "/* no */";\n\n// three\n'
        self.assertEqual(shape.comment_lines(text), (3, 5))


if __name__ == "__main__":
    unittest.main()
