"""rq_peer.py REDIS_SOCKET worker | submit SECONDS IN_FLIGHT | bulk SECONDS | end SECONDS IN_FLIGHT
The worker is SimpleWorker, which does not fork for each job; the result comes by a blocking read."""

import sys

import redis
import rq

from measure import BODY, measure


def noop(_body):
    return None


if __name__ == "__main__":
    path, mode, *rest = sys.argv[1:]
    connection = redis.Redis(unix_socket_path=path)
    import rq_peer  # so that the worker finds the function by its module

    if mode == "worker":
        rq.SimpleWorker(["jobs"], connection=connection).work(logging_level="ERROR")
    elif mode == "end":
        jobs = rq.Queue("jobs", connection=connection)
        measure(float(rest[0]), int(rest[1]),
                lambda: jobs.enqueue(rq_peer.noop, BODY, result_ttl=60).latest_result(timeout=30))
    else:
        parked = rq.Queue("parked", connection=connection)
        many = [rq.Queue.prepare_data(rq_peer.noop, args=(BODY,)) for _ in range(1000)]
        if mode == "bulk":
            measure(float(rest[0]), 1, lambda: parked.enqueue_many(many), 1000)
        else:
            measure(float(rest[0]), int(rest[1]), lambda: parked.enqueue(rq_peer.noop, BODY))
