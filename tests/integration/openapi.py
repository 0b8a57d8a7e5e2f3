"""Checks answers against schema/openapi.yaml: the part of OpenAPI 3.1 and of JSON Schema that it
uses, and nothing else; a keyword that is not known here is an error, so that nothing goes unchecked.
"""

import json
import re

IGNORED = {"description", "default", "format", "example", "summary"}


class Mismatch(AssertionError):
    """An answer is not what the document says."""


class Document:
    def __init__(self, text):
        self.root = json.loads(text)

    def resolve(self, node):
        while isinstance(node, dict) and "$ref" in node:
            target = self.root
            for step in node["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            rest = {key: value for key, value in node.items() if key != "$ref"}
            node = {**target, **rest} if isinstance(target, dict) else target
        return node

    def operation(self, method, path):
        """The operation for a request's path; a template's {…} is one segment."""
        method = "get" if method == "HEAD" else method.lower()
        path = path.partition("?")[0]
        for template, item in self.root["paths"].items():
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) and method in item:
                return item[method]
        raise Mismatch(f"{method} {path} is not in the document")

    def check_answer(self, method, path, answer):
        operation = self.operation(method, path)
        responses = operation["responses"]
        response = self.resolve(responses.get(str(answer.status), responses.get("default")))
        known = {name.lower() for name in response.get("headers", {})}
        for name in answer.headers:
            if name.lower() not in known | {"date", "content-length", "content-type", "connection",
                                            "allow", "transfer-encoding"}:
                raise Mismatch(f"{method} {path}: {answer.status} has an undocumented {name}")
        content = response.get("content")
        if content is None:
            if answer.body:
                raise Mismatch(f"{method} {path}: {answer.status} should have no body")
            return
        if answer.type not in content:
            raise Mismatch(f"{method} {path}: {answer.status} as {answer.type}")
        schema = content[answer.type].get("schema")
        if schema is None or method == "HEAD":
            return
        if answer.type == "application/x-ndjson":
            for i, line in enumerate(answer.body.splitlines()):
                self.check(schema, json.loads(line), f"${i}")
        elif answer.type.endswith("json"):
            self.check(schema, answer.value, "$")
        elif answer.type == "text/plain":
            self.check(schema, answer.body.decode(), "$")

    def check(self, schema, value, at):
        schema = self.resolve(schema)
        for key, rule in schema.items():
            if key in IGNORED:
                continue
            checker = getattr(self, "check_" + key, None)
            if checker is None:
                raise Mismatch(f"{at}: the keyword {key} is not known to openapi.py")
            if not checker(rule, value, at, schema):
                raise Mismatch(f"{at}: {value!r:.200} against {key}: {rule!r:.200}")

    def check_type(self, rule, value, _at, _schema):
        names = rule if isinstance(rule, list) else [rule]
        kinds = {"string": str, "object": dict, "array": list, "null": type(None), "boolean": bool}
        for name in names:
            if name in ("integer", "number"):
                accepted = int if name == "integer" else (int, float)
                if isinstance(value, accepted) and not isinstance(value, bool):
                    return True
            elif isinstance(value, kinds[name]):
                return True
        return False

    def check_properties(self, rule, value, at, _schema):
        for name, schema in rule.items():
            if isinstance(value, dict) and name in value:
                self.check(schema, value[name], f"{at}.{name}")
        return True

    def check_additionalProperties(self, rule, value, _at, schema):
        assert rule is False
        return not isinstance(value, dict) or set(value) <= set(schema.get("properties", {}))

    def check_required(self, rule, value, _at, _schema):
        return not isinstance(value, dict) or set(rule) <= set(value)

    def check_items(self, rule, value, at, _schema):
        for i, item in enumerate(value if isinstance(value, list) else []):
            self.check(rule, item, f"{at}[{i}]")
        return True

    def check_minItems(self, rule, value, _at, _schema):
        return not isinstance(value, list) or len(value) >= rule

    def check_maxItems(self, rule, value, _at, _schema):
        return not isinstance(value, list) or len(value) <= rule

    def check_anyOf(self, rule, value, at, _schema):
        for schema in rule:
            try:
                self.check(schema, value, at)
                return True
            except Mismatch:
                continue
        return False

    def check_enum(self, rule, value, _at, _schema):
        return any(value == one and type(value) is type(one) for one in rule)

    def check_const(self, rule, value, _at, _schema):
        return value == rule

    def check_pattern(self, rule, value, _at, _schema):
        return not isinstance(value, str) or re.search(rule, value) is not None

    def check_minLength(self, rule, value, _at, _schema):
        return not isinstance(value, str) or len(value) >= rule

    def check_maxLength(self, rule, value, _at, _schema):
        return not isinstance(value, str) or len(value) <= rule

    def check_minimum(self, rule, value, _at, _schema):
        return not isinstance(value, (int, float)) or value >= rule

    def check_maximum(self, rule, value, _at, _schema):
        return not isinstance(value, (int, float)) or value <= rule

    def check_exclusiveMinimum(self, rule, value, _at, _schema):
        return not isinstance(value, (int, float)) or value > rule
