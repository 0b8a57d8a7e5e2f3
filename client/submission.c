#include <string.h>
#include <msgpack/pack.h>

#include "client/submission.h"
#include "lib/json.h"
#include "schema/errors.h"
#include "schema/limits.h"

static void put_text(msgpack_packer *pk, const char *text)
{
    size_t len = strlen(text);

    msgpack_pack_str(pk, len);
    msgpack_pack_str_body(pk, text, len);
}

static void put_tags(msgpack_packer *pk, const struct jobmill_submit_options *options)
{
    msgpack_pack_array(pk, options->tag_count);
    for (size_t i = 0; i < options->tag_count; i++)
        put_text(pk, options->tags[i]);
}

static int put_args(const struct jobmill_submit_options *options, struct buf *ret_body,
                    struct jobmill_failure *failure)
{
    struct json_error problem = {0};
    struct span bytes = span_of(options->args_msgpack, options->args_msgpack_bytes);

    if (options->args_json != NULL)
        (void)!json_to_msgpack(span_of_str(options->args_json), &JSON_DEFAULT_LIMITS, ret_body,
                               &problem);
    else if (json_check_msgpack(bytes, &JSON_DEFAULT_LIMITS, &problem) == JSON_OK)
        buf_put_span(ret_body, bytes);
    if (problem.problem != JSON_OK)
        return jobmill_error_set(failure, JM_EINVAL, "args, at byte %zu: %s", problem.offset,
                                 json_problem_words(problem.problem));
    return 0;
}

/* What can't be sent at all; the broker judges the rest. */
static int check(const struct jobmill_submit_options *options, struct jobmill_failure *failure)
{
    const char *key = options->idempotency_key;

    if (options->task == NULL)
        return jobmill_error_set(failure, JM_EINVAL, "a submit needs the name of a task");
    if (options->args_json != NULL && options->args_msgpack != NULL)
        return jobmill_error_set(failure, JM_EINVAL, "args are given twice");
    if (options->timeout_ms < 0)
        return jobmill_error_set(failure, JM_EINVAL, "timeout_ms is negative");
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

int submission_encode(const struct jobmill_submit_options *options, struct buf *ret_body,
                      struct jobmill_failure *failure)
{
    bool has_args = options->args_json != NULL || options->args_msgpack != NULL;
    msgpack_packer pk;
    int error = check(options, failure);

    if (error != 0)
        return error;
    msgpack_packer_init(&pk, ret_body, buf_write_msgpack);
    msgpack_pack_map(&pk, 1U + has_args + (options->queue != NULL) + (options->timeout_ms > 0) +
                              (options->max_attempts > 0) + (options->tag_count > 0));
    put_text(&pk, "task");
    put_text(&pk, options->task);
    if (has_args) {
        put_text(&pk, "args");
        error = put_args(options, ret_body, failure);
    }
    if (options->queue != NULL) {
        put_text(&pk, "queue");
        put_text(&pk, options->queue);
    }
    if (options->timeout_ms > 0) {
        put_text(&pk, "timeout_ms");
        msgpack_pack_int64(&pk, options->timeout_ms);
    }
    if (options->max_attempts > 0) {
        put_text(&pk, "max_attempts");
        msgpack_pack_unsigned_int(&pk, options->max_attempts);
    }
    if (options->tag_count > 0) {
        put_text(&pk, "tags");
        put_tags(&pk, options);
    }
    if (error == 0 && buf_has_failed(ret_body))
        error = jobmill_error_set(failure, JM_ENOMEM, "out of memory");
    return error;
}

void submission_put_encoded(struct buf *ret_target, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL)
            buf_put_u8(ret_target, (uint8_t)*text);
        else
            buf_printf(ret_target, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

void submission_put_wait(struct buf *ret_target, char separator, int64_t wait_ms)
{
    if (wait_ms > 0)
        buf_printf(ret_target, "%cwait=%lld.%03lld", separator, (long long)(wait_ms / 1000),
                   (long long)(wait_ms % 1000));
}
