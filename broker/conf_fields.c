#include "broker/conf_fields.h"

#include <stddef.h>

#include "broker/job_fields.h"
#include "broker/job_render.h"
#include "schema/limits.h"

static const struct conf_rate no_rate = {.limit = 0};

static const struct field rate_fields[] = {
#define RATE_FIELD(name, member, type, min, max, object) \
    {#name, type, FIELD_REQUIRED, offsetof(struct conf_rate, member), min, max, 0, NULL, object},
#include "broker/conf_fields.def"
};

static const struct field_object rate = {rate_fields, JM_COUNT_OF(rate_fields),
                                         sizeof(struct conf_rate), &no_rate};

static const struct field defaults_fields[] = {
#define DEFAULTS_FIELD(name, member, type, min, max, object)                        \
    {#name, type, FIELD_NULLABLE, offsetof(struct conf_defaults, member), min, max, \
     0,     NULL, object},
#include "broker/conf_fields.def"
};

static const struct field_object queue_defaults = {defaults_fields, JM_COUNT_OF(defaults_fields),
                                                   sizeof(struct conf_defaults), NULL};
static const struct field_object task_defaults = {defaults_fields, JM_COUNT_OF(defaults_fields) - 1,
                                                  sizeof(struct conf_defaults), NULL};

static const struct field queue_fields[] = {
#define QUEUE_FIELD(name, member, type, min, max, object) \
    {#name, type, FIELD_NULLABLE, offsetof(struct queue_conf, member), min, max, 0, NULL, object},
#include "broker/conf_fields.def"
};

static const struct field task_fields[] = {
#define TASK_FIELD(name, member, type, min, max, object) \
    {#name, type, FIELD_NULLABLE, offsetof(struct task_conf, member), min, max, 0, NULL, object},
#include "broker/conf_fields.def"
};

int conf_fields_read_queue(struct span body, struct queue_conf *conf, struct fault *ret_fault)
{
    return fields_read(queue_fields, JM_COUNT_OF(queue_fields), body, conf, NULL, ret_fault);
}

int conf_fields_read_task(struct span body, struct task_conf *conf, struct fault *ret_fault)
{
    return fields_read(task_fields, JM_COUNT_OF(task_fields), body, conf, NULL, ret_fault);
}

/* ---- showing ---- */

static void render_number(struct render_map *m, const char *key, uint64_t value)
{
    if (value != 0)
        render_u64(m, key, value);
}

static void render_rate(struct render_map *m, const char *key, const struct conf_rate *r)
{
    struct render_map inner;

    if (r->limit == 0)
        return;
    render_key(m, key);
    render_open_map(&inner, m->out);
    render_u64(&inner, "limit", r->limit);
    render_u64(&inner, "period_ms", r->period_ms);
    render_close_map(&inner);
}

static void render_defaults(struct render_map *m, const struct conf_defaults *d)
{
    struct render_map inner;

    if (d->priority == 0 && d->max_attempts == 0 && d->timeout_ms == 0 && d->grace_ms == 0 &&
        d->backoff.kind == BACKOFF_DEFAULT)
        return;
    render_key(m, "defaults");
    render_open_map(&inner, m->out);
    render_number(&inner, "priority", d->priority);
    render_number(&inner, "max_attempts", d->max_attempts);
    render_number(&inner, "timeout_ms", d->timeout_ms);
    render_number(&inner, "grace_ms", d->grace_ms);
    job_render_backoff(&inner, &d->backoff);
    render_close_map(&inner);
}

void conf_fields_render_queue(struct render_map *m, const struct queue_conf *conf)
{
    render_bool(m, "paused", conf->is_paused);
    render_rate(m, "rate", &conf->rate);
    render_number(m, "concurrency", conf->concurrency);
    render_rate(m, "key_rate", &conf->key_rate);
    render_number(m, "key_concurrency", conf->key_concurrency);
    render_number(m, "max_queued", conf->max_queued);
    render_defaults(m, &conf->defaults);
    render_number(m, "retain_ms", conf->retain_ms);
    render_number(m, "retain_failed_ms", conf->retain_failed_ms);
}

void conf_fields_render_task(struct render_map *m, const struct task_conf *conf)
{
    render_number(m, "concurrency", conf->concurrency);
    render_defaults(m, &conf->defaults);
}
