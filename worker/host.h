/*
 * host.h: a worker host: the parent process with all it owns. One thread, one loop; it never runs
 * task code.
 *
 *     host ─┬─ link ──── outbox (events), beat (heartbeat), CLIENT UNBLOCK of a drain
 *           ├─ orders ── a link of its own, blocked on the control list
 *           ├─ slots[] ─ a child, its shared memory, its stderr
 *           ├─ wake ──── the pipe on which children end the parent's sleep
 *           └─ tick ──── the one timer: when the first slot wants to be looked at
 */
#ifndef WORKER_HOST_H
#define WORKER_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "lib/attr.h"
#include "worker/beat.h"
#include "worker/orders.h"
#include "worker/outbox.h"
#include "worker/redis.h"
#include "worker/registry.h"
#include "worker/slot.h"

/* The program's options. */
struct host_conf {
    const char *redis;
    const char *queues;
    const char *tasks_dir;
    const char *file_root;
    uint64_t slots; /* 0: as many as there are CPUs */
    uint64_t nice;
    uint64_t drain_grace_ms;
    unsigned log_level; /* index into the words of the option */
    bool has_test_tasks;
};

enum host_state {
    HOST_SERVING,
    HOST_DRAINING, /* claims have stopped; jobs may end */
    HOST_EVICTING, /* the grace is over; what runs is killed */
    HOST_FLUSHING, /* no child is left; events go out */
    HOST_LEAVING,  /* the heartbeat is withdrawn */
    HOST_CLOSED,
};

struct host {
    const struct host_conf *conf;
    enum host_state state;
    uv_loop_t loop;
    struct redis_line *link;
    struct outbox outbox;
    struct beat beat;
    struct orders orders;
    struct registry registry;
    struct slot_env env;
    struct slot *slots;
    uint32_t slot_count;

    uv_timer_t tick;
    uv_timer_t drain; /* the next deadline of a drain */
    uv_timer_t watchdog;
    uv_poll_t wake;
    int wake_fds[2];
    uv_signal_t on_term, on_int, on_child;
    struct redis_command withdrawal; /* HDEL of the heartbeat */
};

/* Opens everything and starts the children. Returns 0, or an error that it has logged. */
int host_open(struct host *host, const struct host_conf *conf) JM_MUST_CHECK;

/* Serves until a signal has drained it. Returns the exit code. */
int host_run(struct host *host) JM_MUST_CHECK;

/* Frees all; also after a failed host_open. */
void host_close(struct host *host);

/* Stops claiming and lets running jobs end within the grace time; asked again, ends it at once. */
void host_drain(struct host *host);

#endif
