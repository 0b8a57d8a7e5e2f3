#include <string.h>

#include "client/map.h"
#include "client/options.h"
#include "client/submission.h"
#include "lib/json.h"
#include "schema/errors.h"
#include "schema/limits.h"

/* The arguments, in whichever of the two forms they are. */
struct args {
    const char *json;
    struct span msgpack;
};

static int put_args(struct map *map, struct args args, struct jobmill_failure *failure)
{
    struct json_error problem = {0};

    if (args.json == NULL && args.msgpack.data == NULL)
        return 0;
    if (args.json != NULL && args.msgpack.data != NULL)
        return jobmill_error_set(failure, JM_EINVAL, "args are given twice");
    map_name(map, "args");
    if (args.json != NULL)
        (void)!json_to_msgpack(span_of_str(args.json), &JSON_DEFAULT_LIMITS, map->out, &problem);
    else if (json_check_msgpack(args.msgpack, &JSON_DEFAULT_LIMITS, &problem) == JSON_OK)
        buf_put_span(map->out, args.msgpack);
    if (problem.problem != JSON_OK)
        return jobmill_error_set(failure, JM_EINVAL, "args, at byte %zu: %s", problem.offset,
                                 json_problem_words(problem.problem));
    return 0;
}

static int check_key(const char *key, struct jobmill_failure *failure)
{
    if (key == NULL)
        return 0;
    if (*key == '\0' || strlen(key) > JM_IDEMPOTENCY_KEY_BYTES)
        return jobmill_error_set(failure, JM_EINVAL, "an idempotency key has 1 to %d characters",
                                 JM_IDEMPOTENCY_KEY_BYTES);
    /* Anything else could end the header line and begin another. */
    for (; *key != '\0'; key++)
        if (*key <= ' ' || *key > '~')
            return jobmill_error_set(failure, JM_EINVAL,
                                     "an idempotency key has visible ASCII characters only");
    return 0;
}

static int check_known(const struct jobmill_backoff *backoff, const struct jobmill_unique *unique,
                       struct jobmill_failure *failure)
{
    if (options_are_known(backoff, sizeof(*backoff)) && options_are_known(unique, sizeof(*unique)))
        return 0;
    return jobmill_error_set(failure, JM_EINVAL,
                             "an option is newer than this library, " JM_VERSION);
}

/* What can't be sent at all; the broker judges the rest. */
static int check(const struct jobmill_submit_options *options, struct jobmill_failure *failure)
{
    int error;

    if (options->task == NULL)
        return jobmill_error_set(failure, JM_EINVAL, "a submit needs the name of a task");
    if (options->timeout_ms < 0)
        return jobmill_error_set(failure, JM_EINVAL, "timeout_ms is negative");
    if (options->delay_ms < 0)
        return jobmill_error_set(failure, JM_EINVAL, "delay_ms is negative");
    if (options->run_at != NULL && options->delay_ms > 0)
        return jobmill_error_set(failure, JM_EINVAL, "a job has run_at or delay_ms, not both");
    error = check_known(options->backoff, options->unique, failure);
    return error != 0 ? error : check_key(options->idempotency_key, failure);
}

static void put_unique(struct map *map, const struct jobmill_unique *unique)
{
    struct map inner;

    if (unique == NULL)
        return;
    map_name(map, "unique");
    map_open(&inner, map->out);
    map_text(&inner, "key", unique->key);
    if (unique->args != NULL)
        map_texts(&inner, "args", unique->args, unique->arg_count);
    map_text(&inner, "while", unique->while_state);
    map_time(&inner, "period_ms", unique->period_ms);
    map_text(&inner, "on_conflict", unique->on_conflict);
    map_close(&inner);
}

/* All but task and args. */
static void put_options(struct map *map, const struct jobmill_submit_options *options)
{
    map_text(map, "queue", options->queue);
    map_time(map, "timeout_ms", options->timeout_ms);
    map_time(map, "max_attempts", options->max_attempts);
    if (options->tag_count > 0)
        map_texts(map, "tags", options->tags, options->tag_count);
    map_time(map, "priority", options->priority);
    map_text(map, "run_at", options->run_at);
    map_time(map, "delay_ms", options->delay_ms);
    map_text(map, "expires_at", options->expires_at);
    map_time(map, "grace_ms", options->grace_ms);
    map_backoff(map, "backoff", options->backoff);
    map_text(map, "limit_key", options->limit_key);
    map_time(map, "retain_ms", options->retain_ms);
    put_unique(map, options->unique);
}

static int end_body(struct map *map, int error, struct jobmill_failure *failure)
{
    map_close(map);
    if (error == 0 && buf_has_failed(map->out))
        error = jobmill_error_set(failure, JM_ENOMEM, "out of memory");
    return error;
}

int submission_encode(const struct jobmill_submit_options *options, const char *item_key,
                      struct buf *ret_body, struct jobmill_failure *failure)
{
    struct args args = {options->args_json,
                        span_of(options->args_msgpack, options->args_msgpack_bytes)};
    struct map map;
    int error = check(options, failure);

    if (error != 0)
        return error;
    map_open(&map, ret_body);
    map_text(&map, "task", options->task);
    error = put_args(&map, args, failure);
    put_options(&map, options);
    map_text(&map, "idempotency_key", item_key);
    return end_body(&map, error, failure);
}

int submission_encode_patch(const struct jobmill_patch_options *options, struct buf *ret_body,
                            struct jobmill_failure *failure)
{
    struct args args = {options->args_json,
                        span_of(options->args_msgpack, options->args_msgpack_bytes)};
    struct map map;
    int error = check_known(options->backoff, NULL, failure);

    if (error != 0)
        return error;
    map_open(&map, ret_body);
    map_time(&map, "priority", options->priority);
    map_text(&map, "run_at", options->run_at);
    map_time(&map, "delay_ms", options->delay_ms);
    error = put_args(&map, args, failure);
    map_text_or_null(&map, "expires_at", options->expires_at);
    map_time(&map, "timeout_ms", options->timeout_ms);
    map_time(&map, "max_attempts", options->max_attempts);
    if (options->tags != NULL)
        map_texts(&map, "tags", options->tags, options->tag_count);
    map_limit(&map, "retain_ms", options->retain_ms);
    map_backoff(&map, "backoff", options->backoff);
    return end_body(&map, error, failure);
}
