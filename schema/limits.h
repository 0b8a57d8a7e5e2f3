/*
 * limits.h: every size and time that has a limit or a default, in one place. Each limit that a
 * client can meet is named in the error that it gets.
 */
#ifndef SCHEMA_LIMITS_H
#define SCHEMA_LIMITS_H

#include <stdint.h>

enum {
    /* Names: a queue, a task, a tag, an Idempotency-Key. */
    JM_QUEUE_NAME_BYTES = 64, /* letters, digits, '_', '-', '.', ':' */
    JM_TASK_NAME_BYTES = 64,  /* likewise */
    JM_TAG_BYTES = 64,        /* any printable UTF-8 */
    JM_TAGS_PER_JOB = 16,
    JM_LIMIT_KEY_BYTES = 128,       /* any printable UTF-8 */
    JM_UNIQUE_KEY_BYTES = 255,      /* likewise */
    JM_UNIQUE_ARGS = 32,            /* names of arguments that make a job unique */
    JM_UNIQUE_ARG_BYTES = 64,       /* of such a name */
    JM_IDEMPOTENCY_KEY_BYTES = 255, /* visible ASCII */
    JM_QUEUES = 4096,               /* distinct queue names that a broker keeps */

    /* Values. */
    JM_BODY_BYTES = 1 << 20, /* a request body; option --max-body */
    JM_ARGS_BYTES = 1 << 20,
    JM_RESULT_BYTES = 1 << 20,
    JM_JSON_DEPTH = 100,
    JM_JSON_MEMBERS = 1024,
    JM_ERROR_MESSAGE_BYTES = 1024, /* of a task's failure; longer ones are cut */
    JM_ERROR_CODE_BYTES = 64,
    JM_STDERR_TAIL_BYTES = 4096,
    JM_PROGRESS_MESSAGE_BYTES = 256, /* longer ones are cut */

    /* A job's life. */
    JM_MAX_ATTEMPTS_DEFAULT = 3,
    JM_MAX_ATTEMPTS_LIMIT = 1000,
    JM_ATTEMPTS_KEPT = 100, /* of a job's history, the newest */
    JM_CRASH_LIMIT = 3,     /* crashes of the process that ran the job */
    JM_DEATH_LIMIT = 5,     /* deaths of its worker host while it ran */
    JM_BACKOFF_BASE_MS = 1000,
    JM_BACKOFF_BASE_LIMIT_MS = 7 * 24 * 3600 * 1000,
    JM_BACKOFF_FACTOR_MILLI = 2000, /* thousandths */
    JM_BACKOFF_FACTOR_LIMIT_MILLI = 100 * 1000,
    JM_BACKOFF_CEILING_MS = 3600 * 1000,
    JM_BACKOFF_JITTER_MILLI = 100, /* ± that part of the wait */
    JM_TIMEOUT_DEFAULT_MS = 3600 * 1000,
    JM_TIMEOUT_LIMIT_MS = 7 * 24 * 3600 * 1000,
    JM_RETRY_AFTER_LIMIT_MS = 7 * 24 * 3600 * 1000, /* that a task may ask for */
    JM_GRACE_DEFAULT_MS = 5000,
    JM_GRACE_LIMIT_MS = 600 * 1000,
    JM_RETAIN_DEFAULT_MS = 24 * 3600 * 1000,
    JM_RETAIN_FAILED_MS = 7 * 24 * 3600 * 1000,
    JM_IDEMPOTENCY_WINDOW_MS = 24 * 3600 * 1000,
    JM_PRIORITY_MIN = 1,
    JM_PRIORITY_DEFAULT = 5,
    JM_PRIORITY_MAX = 9,

    /* What people set for queues and tasks. */
    JM_CONCURRENCY_LIMIT = 1000000,
    JM_RATE_LIMIT = 1000000, /* jobs in one period */
    JM_RATE_PERIOD_LIMIT_MS = 24 * 3600 * 1000,
    JM_QUEUED_LIMIT = 1000000000, /* of max_queued */
    JM_LANES = 250000,            /* lanes (queue, task, priority, limit_key) that have live jobs */
    JM_LIMIT_KEYS = 250000, /* keys that a broker keeps; above it those that are idle longest go */

    /* On their way to the disk; whoever comes then is turned away. */
    JM_SUBMITS = 50000,
    JM_SUBMITS_BYTES = 128 << 20,

    /* Changes of many. */
    JM_BULK_JOBS = 10000, /* changed by one cancel, retry or delete by filter */
    JM_BULKS = 16,        /* such requests at a time */

    /* A batch of submits. */
    JM_BATCH_ITEMS = 100000,
    JM_BATCHES = 64,                   /* under way at a time */
    JM_BATCH_IN_FLIGHT = 2000,         /* items of all of them that wait for the disk */
    JM_BATCH_FLIGHT_BYTES = 4 << 20,   /* likewise, of one batch, and one item more */
    JM_BATCH_SPOOL_BYTES = 256 << 20,  /* that an atomic one is kept in until its end */
    JM_BATCH_SPOOLS_BYTES = 1 << 30,   /* of all of them */
    JM_BATCH_GAP_BYTES = 65536,        /* between two items: white space, empty lines */
    JM_BATCH_DISCARD_BYTES = 64 << 20, /* read behind an error, so that the answer is read */

    /* Waiting and listing. */
    JM_EXPLAIN_JOBS = 10000, /* counted before one that waits */
    JM_WAIT_LIMIT_S = 60,
    JM_WAITERS = 10000,
    JM_CONNECTIONS = 10000,
    JM_PAGE_DEFAULT = 50,
    JM_PAGE_LIMIT = 1000,

    /* Workers. */
    JM_BEAT_BYTES = 8 << 20, /* one heartbeat, with all that it names */
    JM_HEARTBEAT_MS = 1000,
    JM_LEASE_MS = 15000,
    JM_RUNNING_AFTER_MS = 50, /* a job that runs longer is announced as running */
    JM_CLAIM_WORK_MS = 5,     /* how much work one claim aims at */
    JM_CLAIM_JOBS = 256,      /* the most jobs in one claim */
    JM_SLOTS = 256,           /* children of one worker host */
    JM_TASKS = 4096,          /* that one worker host serves */
    JM_TASK_KIND_BYTES = 16,
    JM_TASK_DOC_BYTES = 1024,
    JM_HOSTNAME_BYTES = 255,
    JM_VERSION_BYTES = 64,        /* of a program: "0.1.0" */
    JM_QUEUE_WEIGHT_LIMIT = 1000, /* in a worker's list of queues */
    JM_HOSTS = 1024,              /* worker hosts that a broker follows */

    /* Redis. */
    JM_WINDOW_BYTES = 16 << 20, /* dispatched and not yet ended, all queues together */
    JM_WINDOW_JOBS = 20000,     /* likewise */
    JM_NODES = 1024,
    JM_FRAME_BYTES = JM_ARGS_BYTES + 4096,    /* one message in a list */
    JM_EVENT_BYTES = JM_RESULT_BYTES + 16384, /* likewise, from a worker */
    JM_EVENTS_BYTES = 4 << 20,                /* of them, kept of one answer of Redis */
    JM_ORDERS = 1000,                         /* in one host's control list */
    JM_QUARANTINE_ENTRIES = 1000,
    JM_QUARANTINE_ENTRY_BYTES = 4096, /* kept of one entry */
};

/* What does not fit an int. */
#define JM_DELAY_LIMIT_MS INT64_C(315360000000) /* ten years: run_at, expires_at, retain_ms */
#define JM_BACKOFF_CEILING_LIMIT_MS INT64_C(31536000000) /* a year */
#define JM_UNIQUE_PERIOD_LIMIT_MS INT64_C(31536000000)

#endif
