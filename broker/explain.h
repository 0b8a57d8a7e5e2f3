/*
 * explain.h: why a job has not begun yet, and what would start it, from what the core knows at this
 * moment. Loop thread only.
 */
#ifndef BROKER_EXPLAIN_H
#define BROKER_EXPLAIN_H

#include "broker/core.h"

/* A test compares the words with openapi.yaml. */
#define EXPLAIN_CODES(X)                              \
    X(EXPLAIN_FINISHED, "finished")                   \
    X(EXPLAIN_RUNNING, "running")                     \
    X(EXPLAIN_DISPATCHED, "dispatched")               \
    X(EXPLAIN_DUE_LATER, "due_later")                 \
    X(EXPLAIN_RETRY_WAIT, "retry_wait")               \
    X(EXPLAIN_PAUSED, "paused")                       \
    X(EXPLAIN_QUEUE_CONCURRENCY, "queue_concurrency") \
    X(EXPLAIN_TASK_CONCURRENCY, "task_concurrency")   \
    X(EXPLAIN_KEY_CONCURRENCY, "key_concurrency")     \
    X(EXPLAIN_QUEUE_RATE, "queue_rate")               \
    X(EXPLAIN_KEY_RATE, "key_rate")                   \
    X(EXPLAIN_REDIS_UNREACHABLE, "redis_unreachable") \
    X(EXPLAIN_NO_WORKER_QUEUE, "no_worker_for_queue") \
    X(EXPLAIN_NO_WORKER_TASK, "no_worker_for_task")   \
    X(EXPLAIN_BEHIND_OTHERS, "behind_others")

enum explain_code {
#define X(name, word) name,
    EXPLAIN_CODES(X)
#undef X
        EXPLAIN_CODE_COUNT
};

struct explain_reason {
    enum explain_code code;
    char message[200]; /* a sentence for people */
    uint64_t limit;    /* that is met, or 0 */
    int64_t until_ms;  /* wall clock: when that may change by itself; 0: not known */
};

struct explanation {
    struct explain_reason reasons[EXPLAIN_CODE_COUNT];
    size_t count;
};

const char *explain_word(enum explain_code code);

/* `job` as a reader sees it now. There is always at least one reason. */
void explain_job(const struct core *c, const struct job_view *job, struct explanation *ret_why);

#endif
