#!/usr/bin/env python3
"""A web application that leaves its hard work to jobmill: WSGI, and nothing but the standard library.

    ./web.py 8000
    curl -i localhost:8000/digests -d '{"path": "README.md"}'     # 202, Location: /digests/ID
    curl -i localhost:8000/digests/ID                             # 200 and the digest, or 202: not yet

`application` runs under any WSGI server as well. The broker is $JOBMILL_URL, or
http://127.0.0.1:7878; its worker needs a --file-root.
"""

import json
import sys
from socketserver import ThreadingMixIn
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import jobmill

Answer = Tuple[str, List[Tuple[str, str]], Any]

# One for the whole process, for all threads; made before a server forks, it serves the children, too.
client = jobmill.Client(timeout=5, retries=3)
LONGEST_BODY = 10_000
PATIENCE_S = 2.0  # a short job is worth a short wait: it saves the browser a second request


def start(body: bytes) -> Answer:
    path = json.loads(body)["path"]
    job = client.submit("sha256", {"path": path}, tags=["web"], timeout=60, wait=PATIENCE_S)
    return show(job)


def show(job: jobmill.Job) -> Answer:
    where = [("Location", f"/digests/{job.id}")]
    if not job.is_finished:
        return "202 Accepted", [*where, ("Retry-After", "1")], {"state": job.state}
    try:
        return "200 OK", where, {"state": job.state, "digest": job.result(0)}
    except jobmill.JobFailed as failed:
        return "200 OK", where, {"state": job.state, "error": str(failed)}


def route(method: str, path: str, body: bytes) -> Answer:
    try:
        if method == "POST" and path == "/digests":
            return start(body)
        if method == "GET" and path.startswith("/digests/"):
            return show(client.wait(path[len("/digests/"):], PATIENCE_S))
        return "404 Not Found", [], {"error": "there is nothing here"}
    except (ValueError, KeyError, TypeError):
        return "400 Bad Request", [], {"error": "the body has to be {\"path\": …}"}
    except jobmill.NotFound:
        return "404 Not Found", [], {"error": "there is no such digest"}
    except (jobmill.TooMany, jobmill.Unavailable, jobmill.ConnectionFailed):
        return "503 Service Unavailable", [("Retry-After", "5")], {"error": "try again"}


def application(environ: Dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    size = min(int(environ.get("CONTENT_LENGTH") or 0), LONGEST_BODY)
    status, fields, value = route(environ["REQUEST_METHOD"], environ["PATH_INFO"],
                                  environ["wsgi.input"].read(size))
    body = json.dumps(value).encode() + b"\n"
    start_response(status, [("Content-Type", "application/json"),
                            ("Content-Length", str(len(body))), *fields])
    return [body]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def main(port: Optional[str] = None) -> None:
    with make_server("127.0.0.1", int(port or 8000), application, Server, Quiet) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
