"""A good client: submits, waits, reads, over and over, on a connection that it keeps for a while, until
its input ends. Says "ready" behind its first round, and at the end one line of JSON: how many rounds,
what went wrong, and how long a round took.

    good.py SOCKET_OR_HOST:PORT ROUNDS_PER_SECOND
"""

import http.client
import json
import pathlib
import select
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "integration"))

import harness  # noqa: E402

ROUNDS_PER_CONNECTION = 20


def connect(address):
    if "/" in address:
        return harness.UnixConnection(address, 60)
    host, _, port = address.partition(":")
    return http.client.HTTPConnection(host, int(port), timeout=60)


def call(connection, method, path, body=None):
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def one_round(connection, number):
    status, body = call(connection, "POST", "/v1/jobs?wait=30",
                        json.dumps({"task": "echo", "args": number}))
    if status != 200:
        return f"submit: {status} {body[:200]!r}"
    job = json.loads(body)
    if job["state"] != "succeeded":
        return f"state: {job['state']}"
    status, body = call(connection, "GET", f"/v1/jobs/{job['id']}/result")
    return None if (status, json.loads(body)) == (200, number) else f"result: {status} {body[:200]!r}"


def main():
    address, rate = sys.argv[1], float(sys.argv[2])
    times, errors = [], []
    connection = None
    due = time.monotonic()
    while not select.select([sys.stdin], [], [], max(0, due - time.monotonic()))[0]:
        due = max(due + 1 / rate, time.monotonic() - 1)
        if len(times) % ROUNDS_PER_CONNECTION == 0 and connection:
            connection.close()
            connection = None
        connection = connection or connect(address)
        began = time.monotonic()
        try:
            error = one_round(connection, len(times))
        except (OSError, http.client.HTTPException) as broken:
            error = repr(broken)
        if error:
            errors.append(error)
            connection.close()
            connection = None
        times.append(time.monotonic() - began)
        if len(times) == 1:
            print("ready", flush=True)
    times.sort()

    def at(part):
        return round(times[min(len(times) - 1, int(len(times) * part))] * 1000, 2) if times else None
    print(json.dumps({"count": len(times), "errors": errors[:5], "error_count": len(errors),
                      "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1)}))


if __name__ == "__main__":
    main()
