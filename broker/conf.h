/*
 * conf.h: what people set for a queue and for a task, as structs, and as the records in which the
 * store keeps them. Zero is "not set" everywhere. Pure functions.
 */
#ifndef BROKER_CONF_H
#define BROKER_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/backoff.h"
#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/span.h"

enum { CONF_BYTES = 512 }; /* no record is longer */

/* `limit` tokens that come back evenly over `period_ms`: after a quiet time so many jobs at once.
 */
struct conf_rate {
    uint64_t limit; /* 0: none */
    uint64_t period_ms;
};

/* What a job gets that does not say it itself. A job's own word goes before its task's, that before
 * its queue's, that before the built-in one. */
struct conf_defaults {
    uint32_t priority; /* a queue's only */
    uint32_t max_attempts;
    uint64_t timeout_ms;
    uint64_t grace_ms;
    struct backoff backoff;
};

struct queue_conf {
    bool is_paused;
    struct conf_rate rate;     /* of the queue */
    struct conf_rate key_rate; /* of each limit_key in it */
    uint32_t concurrency;      /* jobs of the queue that are out at once */
    uint32_t key_concurrency;  /* likewise of each limit_key in it */
    uint64_t max_queued;       /* jobs that have not begun; more are refused */
    struct conf_defaults defaults;
    uint64_t retain_ms;        /* how long an end is kept */
    uint64_t retain_failed_ms; /* likewise that of a failed job */
};

struct task_conf {
    uint32_t concurrency; /* jobs of the task that are out at once, in all queues together */
    struct conf_defaults defaults;
};

void conf_encode_queue(struct buf *out, const struct queue_conf *conf);
void conf_encode_task(struct buf *out, const struct task_conf *conf);

/* False if it is no such record: the database is damaged. */
bool conf_decode_queue(struct span record, struct queue_conf *ret_conf) JM_MUST_CHECK;
bool conf_decode_task(struct span record, struct task_conf *ret_conf) JM_MUST_CHECK;

#endif
