#include "broker/conf.h"

#include <stddef.h>

#include "schema/limits.h"
#include "schema/record.h"

/* The fields of conf_defaults, from the key `first` on. */
#define DEFAULTS(first)                                                                           \
    [first] = {RECORD_U32, RECORD_OPTIONAL, AT(defaults.priority), JM_PRIORITY_MAX, NULL},        \
    [first + 1] = {RECORD_U32, RECORD_OPTIONAL, AT(defaults.max_attempts), JM_MAX_ATTEMPTS_LIMIT, \
                   NULL},                                                                         \
    [first + 2] = {RECORD_U64, RECORD_OPTIONAL, AT(defaults.timeout_ms), JM_TIMEOUT_LIMIT_MS,     \
                   NULL},                                                                         \
    [first + 3] = {RECORD_U64, RECORD_OPTIONAL, AT(defaults.grace_ms), JM_GRACE_LIMIT_MS, NULL},  \
    [first + 4] = {RECORD_U32, RECORD_OPTIONAL, AT(defaults.backoff.kind), BACKOFF_EXPONENTIAL,   \
                   NULL},                                                                         \
    [first + 5] = {RECORD_U32, RECORD_OPTIONAL, AT(defaults.backoff.jitter_milli), 1000, NULL},   \
    [first + 6] = {RECORD_U32, RECORD_OPTIONAL, AT(defaults.backoff.factor_milli),                \
                   JM_BACKOFF_FACTOR_LIMIT_MILLI, NULL},                                          \
    [first + 7] = {RECORD_U64, RECORD_OPTIONAL, AT(defaults.backoff.base_ms),                     \
                   JM_BACKOFF_BASE_LIMIT_MS, NULL},                                               \
    [first + 8] = {RECORD_U64, RECORD_OPTIONAL, AT(defaults.backoff.ceiling_ms),                  \
                   JM_BACKOFF_CEILING_LIMIT_MS, NULL}

#define AT(member) offsetof(struct queue_conf, member)
static const struct record_field queue_fields[] = {
    [1] = {RECORD_BOOL, RECORD_OPTIONAL, AT(is_paused), 1, NULL},
    [2] = {RECORD_U64, RECORD_OPTIONAL, AT(rate.limit), JM_RATE_LIMIT, NULL},
    [3] = {RECORD_U64, RECORD_OPTIONAL, AT(rate.period_ms), JM_RATE_PERIOD_LIMIT_MS, NULL},
    [4] = {RECORD_U64, RECORD_OPTIONAL, AT(key_rate.limit), JM_RATE_LIMIT, NULL},
    [5] = {RECORD_U64, RECORD_OPTIONAL, AT(key_rate.period_ms), JM_RATE_PERIOD_LIMIT_MS, NULL},
    [6] = {RECORD_U32, RECORD_OPTIONAL, AT(concurrency), JM_CONCURRENCY_LIMIT, NULL},
    [7] = {RECORD_U32, RECORD_OPTIONAL, AT(key_concurrency), JM_CONCURRENCY_LIMIT, NULL},
    [8] = {RECORD_U64, RECORD_OPTIONAL, AT(max_queued), JM_QUEUED_LIMIT, NULL},
    [9] = {RECORD_U64, RECORD_OPTIONAL, AT(retain_ms), JM_DELAY_LIMIT_MS, NULL},
    [10] = {RECORD_U64, RECORD_OPTIONAL, AT(retain_failed_ms), JM_DELAY_LIMIT_MS, NULL},
    DEFAULTS(11),
};
#undef AT

#define AT(member) offsetof(struct task_conf, member)
static const struct record_field task_fields[] = {
    [1] = {RECORD_U32, RECORD_OPTIONAL, AT(concurrency), JM_CONCURRENCY_LIMIT, NULL},
    DEFAULTS(2),
};
#undef AT

static const struct record queue_record = {queue_fields, JM_COUNT_OF(queue_fields), 1};
static const struct record task_record = {task_fields, JM_COUNT_OF(task_fields), 1};

void conf_encode_queue(struct buf *out, const struct queue_conf *conf)
{
    record_encode(out, &queue_record, conf);
}

void conf_encode_task(struct buf *out, const struct task_conf *conf)
{
    record_encode(out, &task_record, conf);
}

/* Both or none. */
static bool is_rate(const struct conf_rate *rate)
{
    return (rate->limit == 0) == (rate->period_ms == 0);
}

bool conf_decode_queue(struct span record, struct queue_conf *ret_conf)
{
    struct queue_conf conf = {.is_paused = false};

    if (!record_decode(record, &queue_record, &conf) || !is_rate(&conf.rate) ||
        !is_rate(&conf.key_rate))
        return false;
    *ret_conf = conf;
    return true;
}

bool conf_decode_task(struct span record, struct task_conf *ret_conf)
{
    struct task_conf conf = {.concurrency = 0};

    if (!record_decode(record, &task_record, &conf))
        return false;
    *ret_conf = conf;
    return true;
}
