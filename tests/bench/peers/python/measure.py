"""What the drivers of the peers in Python share: so many threads for so long, and one line of JSON."""

import json
import threading
import time

BODY = {"user": 4711, "name": "somebody", "text": "a body of about 120 bytes, as usual"}


def measure(seconds, in_flight, each, jobs_of_one=1):
    times = []
    begin = time.perf_counter()
    until = begin + seconds

    def lane():
        while time.perf_counter() < until:
            start = time.perf_counter()
            each()
            times.append((time.perf_counter() - start) * 1000)

    threads = [threading.Thread(target=lane) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begin
    times.sort()
    print(json.dumps({"rate": len(times) * jobs_of_one / took, "p50_ms": times[len(times) // 2],
                      "p99_ms": times[len(times) * 99 // 100]}))
