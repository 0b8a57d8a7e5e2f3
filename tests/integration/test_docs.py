"""What openapi.yaml and PROTOCOL.md say is what the sources say: routes, parameters, fields, members,
codes, states, keys, metrics."""

import json
import re
import sys
import unittest

import harness

sys.path.insert(0, str(harness.SOURCE / "schema"))
import openapi_to_json  # noqa: E402


def read(path):
    return (harness.SOURCE / path).read_text(encoding="utf-8")


def error_rows(end):
    """[(status, code, title)] of errors.def up to a comment."""
    text = read("schema/errors.def").split("/* clang-format off */")[1].partition(end)[0]
    return re.findall(r'X\(JM_\w+,\s*(\d+), "(\w+)",\s*"([^"]+)"\)', text)


def attempt_rows():
    return re.findall(r'X\(JM_\w+,\s*(\d+), "(\w+)",\s*"([^"]+)"\)',
                      read("schema/errors.def").partition("How an attempt")[2])


def number(word):
    """What a number, or a limit of limits.h, is."""
    if word.isdigit():
        return int(word)
    found = re.search(rf"\b{word}(?: =|) (?:INT64_C)?([^,\n/]+)", read("schema/limits.h"))
    return eval(found[1], {})  # "7 * 24 * 3600 * 1000", "1 << 20"


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.api = json.loads(read("schema/openapi.json"))
        cls.schemas = cls.api["components"]["schemas"]
        cls.protocol = read("schema/PROTOCOL.md")

    def section(self, title):
        found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", self.protocol, re.M | re.S)
        self.assertIsNotNone(found, title)
        return found[1]

    def parameters(self, operation, item):
        for node in operation.get("parameters", []) + item.get("parameters", []):
            yield self.api["components"]["parameters"][node["$ref"].rpartition("/")[2]]

    def test_openapi_json_is_made_from_openapi_yaml(self):
        self.assertEqual(read("schema/openapi.json"),
                         openapi_to_json.to_json(read("schema/openapi.yaml")),
                         "run python3 schema/openapi_to_json.py")

    def test_every_reference_of_openapi_leads_somewhere(self):
        def walk(node):
            if isinstance(node, dict):
                if "$ref" in node:
                    target = self.api
                    for step in node["$ref"].removeprefix("#/").split("/"):
                        self.assertIn(step, target, node["$ref"])
                        target = target[step]
                for value in node.values():
                    walk(value)
            elif isinstance(node, list):
                for value in node:
                    walk(value)
        walk(self.api)

    def test_routes_and_their_query_parameters_are_those_of_routes_def(self):
        words = dict(re.findall(r'X\((QUERY_\w+), "(\w+)"\)', read("broker/query.h")))
        # A set that has a name of its own stands for what its definition names.
        sets = dict(re.findall(r"#define (QUERY_FILTERS|\w+_PARAMS)\b((?:.*\\\n)*.*)",
                               read("broker/query.h") + read("broker/route.c")))
        pattern = re.compile("|".join(rf"\b{name}\b" for name in sets))
        source = {}
        rows = re.findall(r'^ROUTE\(HTTP_(\w+),\s*"([^"]+)",\s*\w+,\s*\w+,\s*(.*?), (\w+), ([012])\)',
                          read("broker/routes.def"), re.M)
        self.assertGreater(len(rows), 10)
        for method, path, params, _forms, body in rows:
            while pattern.search(params):
                params = pattern.sub(lambda match: sets[match[0]], params)
            names = re.findall(r"QUERY_\w+", params)
            source[method.lower(), path] = (sorted(words[name] for name in names), body != "0")
        document = {}
        for path, item in self.api["paths"].items():
            for method, operation in item.items():
                if method == "parameters":
                    continue
                names = sorted(p["name"] for p in self.parameters(operation, item) if p["in"] == "query")
                document[method, path] = (names, "requestBody" in operation)
        self.assertEqual(source, document)

    def test_limits_of_parameters_are_those_of_limits_h(self):
        limits = read("schema/limits.h")

        def limit(name):
            return int(re.search(rf"\b{name} = (\d+),", limits)[1])
        parameters = self.api["components"]["parameters"]
        self.assertEqual(parameters["Wait"]["schema"]["maximum"], limit("JM_WAIT_LIMIT_S"))
        self.assertEqual(parameters["Limit"]["schema"]["maximum"], limit("JM_PAGE_LIMIT"))
        self.assertEqual(parameters["Limit"]["schema"]["default"], limit("JM_PAGE_DEFAULT"))
        self.assertEqual(parameters["Tag"]["schema"]["maxLength"], limit("JM_TAG_BYTES"))
        self.assertEqual(parameters["LimitKey"]["schema"]["maxLength"], limit("JM_LIMIT_KEY_BYTES"))
        self.assertEqual(parameters["IdempotencyKey"]["schema"]["maxLength"],
                         limit("JM_IDEMPOTENCY_KEY_BYTES"))
        self.assertEqual(self.schemas["Tags"]["maxItems"], limit("JM_TAGS_PER_JOB"))
        self.assertEqual(self.schemas["Tags"]["items"]["maxLength"], limit("JM_TAG_BYTES"))

    def assert_schema_has_fields(self, schema, rows):
        """`rows`: [(name, type, min, max, item_max)] of job_fields.def."""
        self.assertEqual({name for name, *_ in rows}, set(schema["properties"]))
        for name, kind, low, high, item in rows:
            found = self.schema_of(schema["properties"][name])
            bounds = {"FIELD_U32": ("minimum", "maximum", 1), "FIELD_U64": ("minimum", "maximum", 1),
                      "FIELD_MILLI": ("minimum", "maximum", 1000),
                      "FIELD_TEXT": ("minLength", "maxLength", 1),
                      "FIELD_STRS": ("minItems", "maxItems", 1)}.get(kind)
            if bounds is not None:
                self.assertEqual((found.get(bounds[0], 0) * bounds[2], found[bounds[1]] * bounds[2]),
                                 (number(low), number(high)), name)
            if kind == "FIELD_STRS":
                self.assertEqual(found["items"]["maxLength"], number(item), name)

    def schema_of(self, node):
        node = next(iter(node.get("anyOf", [node])))
        return self.schemas[node["$ref"].rpartition("/")[2]] if "$ref" in node else node

    def test_fields_of_a_submit_are_those_of_job_fields_def(self):
        text = read("broker/job_fields.def")
        rows = re.findall(r"^FIELD\((\w+),\s*(\w+),\s*([01]),\s*(\w+),\s*(\w+),\s*(\w+)", text, re.M)
        self.assertEqual([name for name, _, required, *_ in rows if required == "1"],
                         self.schemas["Submit"]["required"])
        self.assert_schema_has_fields(self.schemas["Submit"],
                                      [(row[0], row[1], *row[3:]) for row in rows])
        rows = re.findall(r"^CHANGE_FIELD\((\w+),\s*(\w+),\s*\w+,\s*(\w+),\s*(\w+),\s*(\w+)", text, re.M)
        self.assert_schema_has_fields(self.schemas["Change"], rows)
        for prefix in "BACKOFF", "UNIQUE":
            rows = re.findall(rf"^{prefix}_FIELD\((\w+),\s*\w+,\s*(\w+),\s*(\w+),\s*(\w+),\s*(\w+)",
                              text, re.M)
            self.assert_schema_has_fields(self.schemas[prefix.capitalize()], rows)

    def test_settings_are_those_of_conf_fields_def(self):
        text = read("broker/conf_fields.def")
        tables = {prefix: [(*row, "0") for row in re.findall(
            rf"^{prefix}_FIELD\((\w+),\s*\w+,\s*(\w+),\s*(\w+),\s*(\w+),", text, re.M)]
            for prefix in ("QUEUE", "TASK", "DEFAULTS", "RATE")}
        self.assertEqual(tables["DEFAULTS"][-1][0], "priority")
        for name, rows in (("QueueSettings", tables["QUEUE"]), ("TaskSettings", tables["TASK"]),
                           ("QueueDefaults", tables["DEFAULTS"]), ("Rate", tables["RATE"]),
                           ("TaskDefaults", tables["DEFAULTS"][:-1])):
            self.assert_schema_has_fields(self.schemas[name], rows)
        for settings, shown in (("QueueSettings", "Queue"), ("TaskSettings", "Task")):
            for name in self.schemas[settings]["properties"]:
                self.assertIn(name, self.schemas[shown]["properties"])

    def test_words_and_defaults_of_fields_are_those_of_the_sources(self):
        words = dict(re.findall(r"job_fields_(\w+)\[\] = \{(.*?), NULL\}", read("broker/job_fields.c")))
        unique = self.schemas["Unique"]["properties"]
        backoff = self.schemas["Backoff"]["properties"]
        for found, name in ((backoff["kind"], "kinds"), (unique["while"], "whiles"),
                            (unique["on_conflict"], "conflicts")):
            self.assertEqual(found["enum"], re.findall(r'"(\w+)"', words[name]))
        submit = self.schemas["Submit"]["properties"]
        for name in "max_attempts", "timeout_ms", "grace_ms", "priority":
            row = f"JM_{name.upper()}_DEFAULT" if not name.endswith("_ms") else \
                f"JM_{name[:-3].upper()}_DEFAULT_MS"
            self.assertEqual(submit[name]["default"], number(row))
        self.assertEqual([backoff[name]["default"] for name in
                          ("base_ms", "factor", "ceiling_ms", "jitter")],
                         [number("JM_BACKOFF_BASE_MS"), number("JM_BACKOFF_FACTOR_MILLI") / 1000,
                          number("JM_BACKOFF_CEILING_MS"), number("JM_BACKOFF_JITTER_MILLI") / 1000])

    def test_members_of_a_job_are_those_that_job_render_writes(self):
        written = set(re.findall(r'render_\w+\(m, "(\w+)"',
                                 read("broker/job_render.c") + read("broker/job_attempts.c")))
        self.assertEqual(written, set(self.schemas["Job"]["properties"]))
        self.assertEqual(written - {"args", "result", "progress", "attempts"},
                         set(self.schemas["JobSummary"]["properties"]))

    def test_members_of_an_error_are_those_that_evidence_writes(self):
        written = set(re.findall(r'"([a-z_]+)", (?:event|errors|tail|task)|pk, "(\w+)"',
                                 read("broker/evidence.c")))
        written = {a or b for a, b in written}
        self.assertEqual(written, set(self.schemas["JobError"]["properties"]))
        for name in written:
            self.assertIn(f"`{name}`", self.section("HTTP"))

    def test_reasons_are_those_of_explain_h(self):
        words = re.findall(r'X\(EXPLAIN_\w+, "(\w+)"\)', read("broker/explain.h"))
        self.assertEqual(words, self.schemas["Reason"]["properties"]["code"]["enum"])
        for word in words:
            self.assertIn(f"`{word}`", self.section("HTTP"))
        self.assertEqual(self.schemas["Explanation"]["properties"]["jobs_before"]["maximum"],
                         number("JM_EXPLAIN_JOBS"))

    def test_codes_are_those_of_errors_def(self):
        rows = error_rows("/* Inside the programs")
        inside = {code: (status, code, title) for status, code, title in error_rows("/* How an")}
        rows += [inside["out_of_memory"], inside["limit"]]
        self.assertEqual([code for _, code, _ in rows], self.schemas["ProblemCode"]["enum"])
        for status, code, title in rows:
            self.assertIn(f"| {status} | `{code}` | {title} |", self.section("HTTP"))
        self.assertEqual([code for _, code, _ in attempt_rows()],
                         self.schemas["AttemptCode"]["enum"])
        for _, code, title in attempt_rows():
            self.assertIn(f"| `{code}` | {title} |", self.section("HTTP"))

    def test_states_and_moves_are_those_of_states_def(self):
        text = read("schema/states.def")
        states = re.findall(r'STATE\((\w+),\s*\d+, "(\w+)",\s*"(\w+)"\)', text)
        words = {name: word for name, word, _ in states}
        shown = list(dict.fromkeys(word for _, _, word in states))
        self.assertEqual(shown, self.schemas["State"]["enum"])
        self.assertEqual(shown, self.schemas["Queue"]["properties"]["jobs"]["required"])
        events = dict(re.findall(r'\[(JOB_ON_\w+)\] = "([^"]+)"', read("schema/states.c")))
        moves = re.findall(r"MOVE\((\w+),\s*(\w+),\s*(\w+),\s*([01])\)", text)
        self.assertGreater(len(moves), 20)
        rows = [f"| {events[event]} | {words[a]} | {words[b]} | {'next' if n == '1' else 'same'} |"
                for event, a, b, n in moves]
        written = [line for line in self.section("States").splitlines()
                   if line.endswith(("| same |", "| next |"))]
        self.assertEqual(rows, written)
        picture = self.section("States").partition("A dispatched job")[0]
        for word in list(words.values()) + list(events.values()):
            self.assertIn(word, picture)

    def test_keys_are_those_of_keys_h(self):
        keys = re.findall(r'"(jm:[^"]+)"', read("schema/keys.h"))
        self.assertGreaterEqual(len(keys), 6)
        for key in keys:
            self.assertIn(f"| `{key}` |", self.section("Redis keys"))

    def test_fields_of_messages_are_those_of_wire_c(self):
        types = {"U32": "uint", "U64": "uint", "I64": "int", "BOOL": "bool", "NAME": "name",
                 "TEXT": "text", "BYTES": "bin", "VALUES": "array"}
        tables = re.findall(r"offsetof\(struct wire_(\w+), member\)\n(.*?)#undef AT",
                            read("schema/wire.c"), re.S)
        self.assertEqual([name for name, _ in tables], ["job", "event", "order", "beat"])
        section = self.section("Messages in Redis")
        for name, table in tables:
            rows = [(key, field, types[kind], "yes" if need == "REQUIRED" else "no")
                    for key, kind, need, field in
                    re.findall(r"\[(\d+)\] = \{RECORD_(\w+), (\w+), AT\((\w+)\)", table)]
            part = re.search(rf"^### {name.capitalize()}\n(.*?)(?=^### |\Z)", section, re.M | re.S)[1]
            self.assertEqual(rows, re.findall(r"^\| (\d+) \| `(\w+)` \| (\w+) \| (yes|no) \|", part, re.M))

    def test_kinds_of_events_are_those_of_wire_h(self):
        rows = re.findall(r'X\(WIRE_\w+, (\d+), "(\w+)"\)', read("schema/wire.h"))
        self.assertEqual(len(rows), 7)
        self.assertEqual(rows, re.findall(r"^\| (\d+) \| `(\w+)` \| [^|]+ \|$",
                                          self.section("Messages in Redis"), re.M))

    def test_findings_are_those_of_the_doctor(self):
        rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", read("docs/doctor.md"), re.M)
        join = lambda text: "".join(re.findall(r'"([^"]*)"', text))
        table = read("broker/doctor_checks.c").partition("struct check checks[]")[2]
        checks = [(code, join(what), join(remedy)) for code, what, remedy in re.findall(
            r'^    \{"(\w+)",\s*((?:"[^"]*"\s*)+),\s*((?:"[^"]*"\s*)+),', table, re.M)]
        self.assertGreater(len(checks), 20)
        self.assertEqual(checks, rows[-len(checks):])
        others = set()
        for name in ("", "_files", "_pages", "_unnamed"):
            others |= set(re.findall(r'doctor_report_add\(\s*&d->report,\s*(?:is_index \? )?"(\w+)"',
                                     read(f"broker/doctor{name}.c")))
        self.assertEqual(others | {"pages"}, {code for code, _, _ in rows[:-len(checks)]})

    def test_metrics_are_those_that_metrics_c_writes(self):
        source = set(re.findall(r'put\w*\(\s*out,\s*"(\w+)"', read("broker/metrics.c")))
        self.assertGreater(len(source), 30)
        document = set(re.findall(r"^\| `jobmill_(\w+)` \|", self.section("HTTP"), re.M))
        self.assertEqual(source, document)


if __name__ == "__main__":
    unittest.main()
