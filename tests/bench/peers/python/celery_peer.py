"""celery_peer.py REDIS_SOCKET submit SECONDS IN_FLIGHT | end SECONDS IN_FLIGHT; the worker is
`celery -A celery_peer worker` with PEER_REDIS set. Tuned as "Optimizing" in Celery's guide says for many
short tasks: a high prefetch multiplier, no rate limits, no events, results in Redis."""

import os
import sys

import celery

from measure import BODY, measure

path = sys.argv[1] if __name__ == "__main__" else os.environ["PEER_REDIS"]
app = celery.Celery("peer", broker=f"redis+socket://{path}", backend=f"redis+socket://{path}")
app.conf.update(worker_prefetch_multiplier=128, worker_disable_rate_limits=True, task_acks_late=False,
                broker_pool_limit=64, worker_send_task_events=False, result_expires=600)


@app.task(name="noop")
def noop(_body):
    return None


@app.task(name="parked", queue="parked", ignore_result=True)
def parked(_body):
    return None


if __name__ == "__main__":
    mode, seconds, in_flight = sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    if mode == "end":
        measure(seconds, in_flight, lambda: noop.delay(BODY).get(timeout=30))
    else:
        measure(seconds, in_flight, lambda: parked.apply_async((BODY,), queue="parked"))
