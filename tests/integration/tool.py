"""The command-line tool for tests: how it is run, its exit codes, and a broker that follows a script."""

import json
import os
import re
import socket
import subprocess
import threading
import unittest

import harness
import mp

OK, BAD_END, USAGE, UNREACHABLE, REFUSED, UNFINISHED, FATE, FAILED = range(8)
TOOL = harness.BIN / "jobmill"


def environment(url):
    options = os.environ.get("ASAN_OPTIONS", "")
    return {**os.environ, "JOBMILL_URL": url, "ASAN_OPTIONS": f"exitcode=99:{options}"}


def run_tool(url, *args, deadline_s=60):
    return subprocess.run([TOOL, *args], env=environment(url), capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=deadline_s * harness.SLOWNESS)


class ToolTest(unittest.TestCase):
    url = None

    def tool(self, *args, status=OK, err=""):
        """Runs it, checks exit status and stderr (a pattern), and returns stdout."""
        run = run_tool(self.url, *args)
        self.assertEqual(run.returncode, status, f"{args}: {run.stdout!r} {run.stderr!r}")
        self.assertRegex(run.stderr, re.compile(err) if err else r"\A\Z")
        return run.stdout


class BrokerTest(ToolTest):
    """With a real broker and a real worker, which all tests of the class share."""

    worker_options = ("--test-tasks",)

    @classmethod
    def setUpClass(cls):
        cls.mill = harness.Mill()
        cls.mill.__enter__()
        cls.addClassCleanup(cls.close_mill)
        cls.prepare(cls.mill.dir)
        cls.mill.start_redis()
        cls.mill.start_broker()
        cls.mill.start_worker(*cls.worker_options)
        cls.mill.wait_for_workers()
        cls.url = f"unix:{cls.mill.socket_path}"

    @classmethod
    def prepare(cls, directory):
        """Lays down what the worker needs in its directory."""

    @classmethod
    def close_mill(cls):
        cls.mill.__exit__(None, None, None)

    def submit(self, *args, **expected):
        return self.tool("submit", *args, **expected).strip()

    def get(self, job_id):
        return json.loads(self.tool("get", job_id, "--json"))

    def listed(self, *filters):
        """The ids of all jobs that the filters match."""
        out = self.tool("jobs", "--json", "--all", *filters)
        return [job["id"] for line in out.splitlines() for job in json.loads(line)["jobs"]]

    def batch(self, lines, *args):
        return subprocess.run([TOOL, "batch", "-", *args], env=environment(self.url), input=lines,
                              capture_output=True, text=True, timeout=60)


class ScriptedBroker:
    """Answers each request with the next of the answers, the last one for ever, or closes the
    connection (None)."""

    def __init__(self, *answers, content_type="application/json", status=200):
        self.answers = [answer and (
            f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(answer.encode())}\r\nConnection: close\r\n\r\n{answer}").encode()
            for answer in answers]
        self.requests = []

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                data = self.read(connection)
                answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
                self.requests.append(data)
                if answer and self.is_whole(data):
                    connection.sendall(answer)

    def read(self, connection):
        """One request, or what there is of it when the client goes away."""
        data = b""
        while not self.is_whole(data):
            piece = connection.recv(65536)
            if not piece:
                break
            data += piece
        return data

    @staticmethod
    def is_whole(data):
        head, end, body = data.partition(b"\r\n\r\n")
        if not end:
            return False
        if b"transfer-encoding: chunked" in head.lower():
            return body.endswith(b"0\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        return len(body) >= (int(length.group(1)) if length else 0)

    def asked(self, number=-1):
        """A request as "METHOD TARGET" and what its msgpack body says (None: it has none)."""
        head, _, body = self.requests[number].partition(b"\r\n\r\n")
        return (" ".join(head.decode().split(" ")[:2]), mp.unpack(body) if body else None)
