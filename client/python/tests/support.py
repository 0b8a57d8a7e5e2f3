"""What the tests share: the harness with a broker, Redis and a worker for each class; the question
whether the broker has a route or a field yet; and a server that follows a script."""

import contextlib
import os
import pathlib
import socket
import sys
import threading
import unittest

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
SOURCE = pathlib.Path(os.environ.get("JM_SOURCE", PACKAGE.parents[1])).resolve()
os.environ.setdefault("JM_BIN", str(SOURCE / "build" / "release" / "bin"))
sys.path[:0] = [str(PACKAGE), str(SOURCE / "tests" / "integration")]

import harness  # noqa: E402
import jobmill  # noqa: E402
import openapi  # noqa: E402

NEVER = jobmill.Retry(retries=0)
AT_ONCE = jobmill.Retry(retries=3, base_s=0.0)


class BrokerCase(unittest.TestCase):
    """Redis, a broker and a worker with the test tasks, for all tests of a class; each test keeps to
    queues and tags of its own. Queues besides `queues` are served by nobody."""

    queues = ("default",)

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        cls.mill = cls.stack.enter_context(harness.Mill())
        cls.mill.start_redis()
        cls.mill.start_broker()
        cls.mill.start_worker("--test-tasks", "--slots", "2",
                              "--queues", ",".join(cls.queues))
        cls.mill.wait_for_workers()
        cls.url = f"unix:{cls.mill.socket_path}"
        cls.client = cls.stack.enter_context(jobmill.Client(cls.url))
        cls.document = openapi.Document(cls.mill.get("/openapi.json").body)

    def needs_route(self, method, path):
        """Skips the test as long as the broker's document does not have the route."""
        if method.lower() not in self.document.root["paths"].get(path, {}):
            self.skipTest(f"the broker has no {method} {path} yet")

    def needs_field(self, schema, *fields):
        there = set(self.properties(self.document.root["components"]["schemas"].get(schema, {})))
        for field in fields:
            if field not in there:
                self.skipTest(f"the broker's {schema} has no {field} yet")

    def properties(self, node):
        node = self.document.resolve(node)
        yield from node.get("properties", {})
        for part in node.get("allOf", []):
            yield from self.properties(part)

    def needs_parameter(self, *names, method="get", path="/v1/jobs"):
        operation = self.document.root["paths"][path][method]
        there = [self.document.resolve(node)["name"] for node in operation.get("parameters", [])]
        for name in names:
            if name not in there:
                self.skipTest(f"the broker's {method.upper()} {path} has no parameter {name} yet")


def answer(status, body=b"", content_type="application/json", **fields):
    """The bytes of an answer."""
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: {content_type}\r\n"
    head += "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


JOB = answer(200, b'{"id":"0SAKD9DQR0000","task":"echo","queue":"default","state":"succeeded",'
                  b'"result":7}')


def problem(status, code, **fields):
    body = f'{{"status":{status},"code":"{code}","title":"T","detail":"D"}}'.encode()
    return answer(status, body, "application/problem+json", **fields)


class Peer:
    """The server's side of one connection."""

    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")

    def head(self):
        """The head of the next request: (request line, fields by lower-case name)."""
        line = self.file.readline().decode().rstrip("\r\n")
        fields = {}
        while True:
            field = self.file.readline().decode().rstrip("\r\n")
            if not field:
                return line, fields
            name, _, value = field.partition(":")
            fields[name.lower()] = value.strip()

    def request(self):
        """The next request, whole: (request line, fields, body)."""
        line, fields = self.head()
        if fields.get("transfer-encoding") == "chunked":
            return line, fields, b"".join(iter(self.chunk, b""))
        return line, fields, self.file.read(int(fields.get("content-length", 0)))

    def chunk(self):
        data = self.file.read(int(self.file.readline(), 16) + 2)
        return data[:-2]

    def send(self, data):
        self.sock.sendall(data)

    def reset(self):
        """Ends the connection, answer or no answer."""
        self.file.close()
        self.sock.close()


class ScriptedServer:
    """A server on a unix socket that serves one connection after the other, each by the next function
    of its script, which gets a Peer. What the functions returned is in .seen; an exception in one of
    them fails the test at the end of the block."""

    def __init__(self, directory, *script):
        self.path = os.path.join(directory, "scripted.sock")
        self.url = f"unix:{self.path}"
        self.script = script
        self.seen = []
        self.error = None

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)

    def accept(self):
        return self.listener.accept()[0]

    def __enter__(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.listen()
        self.listener.listen()
        self.listener.settimeout(harness.DEADLINE_S)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def run(self):
        try:
            for step in self.script:
                sock = self.accept()
                sock.settimeout(harness.DEADLINE_S)
                peer = Peer(sock)
                try:
                    self.seen.append(step(peer))
                finally:
                    peer.reset()
        except Exception as error:  # told to the test by __exit__
            self.error = error
        finally:
            self.listener.close()  # who comes now is refused, and need not wait

    def __exit__(self, kind, error, trace):
        self.thread.join()
        if kind is None and self.error is not None:
            raise self.error


class TcpServer(ScriptedServer):
    """The same on a free port, with TLS if it gets a context."""

    def __init__(self, directory, *script, host="127.0.0.1", tls=None):
        super().__init__(directory, *script)
        self.host = host
        self.tls = tls

    def listen(self):
        self.listener = socket.create_server(
            (self.host, 0), family=socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        port = self.listener.getsockname()[1]
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"http{'s' if self.tls else ''}://{host}:{port}"

    def accept(self):
        sock, _ = self.listener.accept()
        sock.settimeout(harness.DEADLINE_S)
        return self.tls.wrap_socket(sock, server_side=True) if self.tls else sock


def says(*answers):
    """A step: for each answer one request is read; what was read is returned."""
    def step(peer):
        seen = []
        for one in answers:
            seen.append(peer.request())
            peer.send(one)
        return seen
    return step


def cuts(peer):
    """A step: the request is read and the connection ends without an answer."""
    return [peer.request()]


def main():
    """Runs the tests of the file and names those that were skipped."""
    program = unittest.main(module="__main__", exit=False)
    for test, reason in program.result.skipped:
        print(f"skipped: {test.id()}: {reason}")
    sys.exit(not program.result.wasSuccessful())
