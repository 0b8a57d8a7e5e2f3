/*
 * beat.h: the heartbeat: every second, in this host's field of KEYS_HOSTS, who it is and which jobs
 * it holds. When Redis has confirmed one, the time at which it was *made* goes to all slots: the
 * children claim only while that is young. Loop thread only.
 */
#ifndef WORKER_BEAT_H
#define WORKER_BEAT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "lib/attr.h"
#include "lib/buf.h"
#include "worker/redis.h"

struct host;

struct beat {
    struct host *host;
    uv_timer_t timer;
    struct redis_command command;
    uint64_t seq;
    uint64_t sent_ns; /* of the one in flight */
    int64_t started_at_ms;
    char hostname[256];
    struct buf frame, held, tasks, queues;
};

/* `host` gives the loop and the link. Returns 0 or JM_EIO. */
int beat_open(struct beat *beat, struct host *host) JM_MUST_CHECK;
void beat_close(struct beat *beat);

/* One at once: at start, when the link has come up, when a drain begins. */
void beat_now(struct beat *beat);

/* Takes the field away; `done` is called as redis_line_send says. */
int beat_withdraw(struct beat *beat, struct redis_command *command) JM_MUST_CHECK;

#endif
