/*
 * The functions of jobmill.h about the places that jobs go through: queues, workers, tasks.
 */
#include "client/jobmill_call.h"
#include "client/map.h"
#include "client/options.h"
#include "client/target.h"
#include "schema/errors.h"

static int get_list(struct jobmill *mill, const char *path, struct jobmill_value **ret_value)
{
    struct buf target;

    target_init(&target, path);
    return jobmill_call_for_value(mill, "GET", &target, NULL, ret_value);
}

int jobmill_queues(struct jobmill *mill, struct jobmill_value **ret_value)
{
    return get_list(mill, "/v1/queues", ret_value);
}

int jobmill_workers(struct jobmill *mill, struct jobmill_value **ret_value)
{
    return get_list(mill, "/v1/workers", ret_value);
}

int jobmill_tasks(struct jobmill *mill, struct jobmill_value **ret_value)
{
    return get_list(mill, "/v1/tasks", ret_value);
}

/* One request about the queue or task `name`; `body` may be NULL and is used up. An empty name
 * would be the list. */
static int call_named(struct jobmill *mill, const char *method, const char *path, const char *name,
                      const char *rest, struct buf *body, struct jobmill_value **ret_value)
{
    /* None of them adds to what is set. */
    struct transport_request request = {.has_body = body != NULL, .is_idempotent = true};
    struct buf target;
    int error;

    if (name == NULL || *name == '\0') {
        error = jobmill_error_set(&mill->failure, JM_EINVAL, "a name is missing");
    } else if (body != NULL && buf_has_failed(body)) {
        error = jobmill_error_set(&mill->failure, JM_ENOMEM, "out of memory");
    } else {
        if (body != NULL)
            request.body = buf_span(body);
        target_init(&target, path);
        target_put_encoded(&target, name);
        buf_put_str(&target, rest);
        error = jobmill_call_for_value(mill, method, &target, &request, ret_value);
    }
    if (body != NULL)
        buf_done(body);
    return error;
}

int jobmill_queue(struct jobmill *mill, const char *name, struct jobmill_value **ret_value)
{
    return call_named(mill, "GET", "/v1/queues/", name, "", NULL, ret_value);
}

int jobmill_queue_pause(struct jobmill *mill, const char *name, struct jobmill_value **ret_value)
{
    return call_named(mill, "POST", "/v1/queues/", name, "/pause", NULL, ret_value);
}

int jobmill_queue_resume(struct jobmill *mill, const char *name, struct jobmill_value **ret_value)
{
    return call_named(mill, "POST", "/v1/queues/", name, "/resume", NULL, ret_value);
}

/* ---- configuring ---- */

static void put_rate(struct map *map, const char *name, int64_t limit, int64_t period_ms)
{
    struct map inner;

    if (limit < 0)
        map_null(map, name);
    if (limit <= 0)
        return;
    map_name(map, name);
    map_open(&inner, map->out);
    map_number(&inner, "limit", limit);
    map_number(&inner, "period_ms", period_ms);
    map_close(&inner);
}

/* What queues and tasks have defaults for; a task knows no priority. */
static void put_defaults(struct map *map, int64_t priority,
                         const struct jobmill_task_options *options)
{
    struct map inner;

    if (priority == 0 && options->max_attempts == 0 && options->timeout_ms == 0 &&
        options->grace_ms == 0 && options->backoff == NULL)
        return;
    map_name(map, "defaults");
    map_open(&inner, map->out);
    map_limit(&inner, "priority", priority);
    map_limit(&inner, "max_attempts", options->max_attempts);
    map_limit(&inner, "timeout_ms", options->timeout_ms);
    map_limit(&inner, "grace_ms", options->grace_ms);
    map_backoff(&inner, "backoff", options->backoff);
    map_close(&inner);
}

static void encode_queue(const struct jobmill_queue_options *options, struct buf *ret_body)
{
    struct jobmill_task_options defaults = {.max_attempts = options->max_attempts,
                                            .timeout_ms = options->timeout_ms,
                                            .grace_ms = options->grace_ms,
                                            .backoff = options->backoff};
    struct map map;

    map_open(&map, ret_body);
    put_rate(&map, "rate", options->rate_limit, options->rate_period_ms);
    map_limit(&map, "concurrency", options->concurrency);
    put_rate(&map, "key_rate", options->key_rate_limit, options->key_rate_period_ms);
    map_limit(&map, "key_concurrency", options->key_concurrency);
    map_limit(&map, "max_queued", options->max_queued);
    map_limit(&map, "retain_ms", options->retain_ms);
    map_limit(&map, "retain_failed_ms", options->retain_failed_ms);
    put_defaults(&map, options->priority, &defaults);
    map_close(&map);
}

static bool is_half_a_rate(int64_t limit, int64_t period_ms)
{
    return (limit > 0) != (period_ms > 0);
}

int jobmill_queue_configure(struct jobmill *mill, const char *name,
                            const struct jobmill_queue_options *options,
                            struct jobmill_value **ret_value)
{
    struct jobmill_queue_options own = {0};
    struct buf body;

    if (!options_copy(&own, sizeof(own), sizeof(own), options) ||
        !options_are_known(own.backoff, sizeof(*own.backoff)))
        return jobmill_call_refuse_newer(mill);
    if (is_half_a_rate(own.rate_limit, own.rate_period_ms) ||
        is_half_a_rate(own.key_rate_limit, own.key_rate_period_ms))
        return jobmill_error_set(&mill->failure, JM_EINVAL, "a rate is a number and a period");
    buf_init(&body, SIZE_MAX);
    encode_queue(&own, &body);
    return call_named(mill, "PATCH", "/v1/queues/", name, "", &body, ret_value);
}

int jobmill_task_configure(struct jobmill *mill, const char *name,
                           const struct jobmill_task_options *options,
                           struct jobmill_value **ret_value)
{
    struct jobmill_task_options own = {0};
    struct buf body;
    struct map map;

    if (!options_copy(&own, sizeof(own), sizeof(own), options) ||
        !options_are_known(own.backoff, sizeof(*own.backoff)))
        return jobmill_call_refuse_newer(mill);
    buf_init(&body, SIZE_MAX);
    map_open(&map, &body);
    map_limit(&map, "concurrency", own.concurrency);
    put_defaults(&map, 0, &own);
    map_close(&map);
    return call_named(mill, "PATCH", "/v1/tasks/", name, "", &body, ret_value);
}
