"""The examples run, and README.md's Python is Python."""

import ast
import json
import re
import signal
import sys
import urllib.error
import urllib.request

import support
from support import harness

EXAMPLES = support.PACKAGE / "examples"


class Examples(support.BrokerCase):
    def start(self, name, *args):
        return self.mill.start(name, sys.executable, "-B", EXAMPLES / f"{name}.py", *args,
                               env={"JOBMILL_URL": self.url, "PYTHONPATH": str(support.PACKAGE)})

    def test_submit_prints_the_result(self):
        example = self.start("submit", "fib", '{"n": 20}', "--key", "k")
        self.assertEqual((example.wait(), example.out), (0, "6765\n"))

    def test_submit_says_why_there_is_none(self):
        example = self.start("submit", "fib", '{"n": "x"}')
        example.is_expected_to_fail = True
        self.assertEqual((example.wait(), example.out), (1, ""))
        self.assertIn("bad_args", example.err)
        example = self.start("submit", "no such name")
        example.is_expected_to_fail = True
        self.assertEqual(example.wait(), 1)
        self.assertIn("422 bad_field", example.err)

    def ask(self, url, body=None):
        """(status, Location, value)"""
        try:
            with urllib.request.urlopen(url, body, timeout=harness.DEADLINE_S) as answer:
                return answer.status, answer.headers["Location"], json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, None, json.load(error)

    def test_web_leaves_its_work_to_jobmill(self):
        web = self.start("web", "0")
        url = harness.wait_for(lambda: web.out.strip(), "the application tells its address")
        # The worker has no --file-root, so the task refuses: an end that can be told all the same.
        status, location, value = self.ask(f"{url}/digests", b'{"path": "README.md"}')
        if status == 202:
            status, _, value = self.ask(url + location)
        self.assertEqual((status, value["state"]), (200, "failed"))
        self.assertIn("bad_args", value["error"])
        self.assertEqual(self.ask(url + location)[::2], (200, value))
        self.assertEqual(self.ask(f"{url}/digests", b"x")[0], 400)
        self.assertEqual(self.ask(f"{url}/digests/0000000000000")[0], 404)
        self.assertEqual(self.ask(f"{url}/nothing")[0], 404)
        web.is_expected_to_fail = True  # it does not mind SIGTERM's status
        web.send(signal.SIGTERM)
        web.wait()


class Readme(support.unittest.TestCase):
    def test_its_python_is_python_with_names_that_are_there(self):
        for path in (support.PACKAGE / "README.md", support.SOURCE / "README.md"):
            blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
            self.assertGreater(len(blocks), 0)
            for node in ast.walk(ast.parse("\n".join(blocks))):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    owner = {"jobmill": support.jobmill, "client": support.jobmill.Client("http://a"),
                             "job": support.jobmill.Job({"id": "A"})}.get(node.value.id)
                    if owner is not None:
                        self.assertIn(node.attr, dir(owner), path)


if __name__ == "__main__":
    support.main()
