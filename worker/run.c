/*
 * run.c: arguments are found by walking the map each time: they are few, and nothing is built that
 * would have to be freed when a task is killed.
 */
#include "worker/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/mp.h"
#include "schema/errors.h"

enum { RUN_KEEP_BYTES = 64 << 10 /* of a buffer, from job to job */ };

static const uint8_t nil[] = {0xc0};

void run_init(struct task_call *call)
{
    *call = (struct task_call){0};
    buf_init(&call->result, JM_RESULT_BYTES);
    buf_init(&call->stderr_tail, JM_STDERR_TAIL_BYTES);
    msgpack_packer_init(&call->packer, &call->result, buf_write_msgpack);
}

void run_done(struct task_call *call)
{
    buf_done(&call->result);
    buf_done(&call->stderr_tail);
}

void run_open(struct task_call *call, const struct wire_job *job, const char *file_root)
{
    call->job = job;
    call->file_root = file_root;
    call->shm = NULL;
    call->outcome = RUN_SUCCEEDED;
    snprintf(call->name, sizeof(call->name), "%.*s", (int)job->task.len,
             (const char *)job->task.data);
    buf_shrink(&call->result, RUN_KEEP_BYTES);
    buf_clear(&call->stderr_tail);
    call->code[0] = '\0';
    call->message[0] = '\0';
    call->retry = WIRE_RETRY_DEFAULT;
    call->retry_after_ms = 0;
    call->signal = 0;
    call->exit_status = 0;
    call->usage = (struct rusage){0};
}

uint64_t task_job_id(const struct task_call *call)
{
    return call->job->id;
}

uint32_t task_attempt(const struct task_call *call)
{
    return call->job->attempt;
}

const char *task_name(const struct task_call *call)
{
    return call->name;
}

const char *task_file_root(const struct task_call *call)
{
    return call->file_root;
}

struct span task_args(const struct task_call *call)
{
    return call->job->args.len > 0 ? call->job->args : span_of(nil, sizeof(nil));
}

static bool find_arg(const struct task_call *call, const char *name, struct span *ret_value)
{
    struct mp_cursor c;
    struct span key, value;
    uint32_t count;

    mp_open(&c, task_args(call));
    if (!mp_next_map(&c, &count))
        return false;
    while (count-- > 0) {
        bool has_key = mp_next_str(&c, &key);

        if (!has_key && !mp_skip(&c, JM_JSON_DEPTH, &value))
            return false;
        if (!mp_skip(&c, JM_JSON_DEPTH, &value))
            return false;
        if (!has_key || !span_is_str(key, name))
            continue;
        *ret_value = value;
        return true;
    }
    return false;
}

bool task_has_arg(const struct task_call *call, const char *name)
{
    struct span value;

    return find_arg(call, name, &value);
}

int task_arg_value(struct task_call *call, const char *name, struct span *ret_value)
{
    if (!find_arg(call, name, ret_value))
        return task_refuse(call, "parameter '%s' is missing", name);
    return 0;
}

int task_arg_u64(struct task_call *call, const char *name, uint64_t min, uint64_t max,
                 uint64_t *ret_value)
{
    struct mp_cursor c;
    struct span value;
    uint64_t number;
    int error = task_arg_value(call, name, &value);

    if (error != 0)
        return error;
    mp_open(&c, value);
    if (!mp_next_uint(&c, max, &number) || number < min)
        return task_refuse(call, "parameter '%s' must be an integer from %" PRIu64 " to %" PRIu64,
                           name, min, max);
    *ret_value = number;
    return 0;
}

int task_arg_number(struct task_call *call, const char *name, double min, double max,
                    double *ret_value)
{
    struct mp_cursor c;
    struct mp_token token;
    struct span value;
    double number = min - 1;
    int error = task_arg_value(call, name, &value);

    if (error != 0)
        return error;
    mp_open(&c, value);
    if (mp_next(&c, &token)) {
        if (token.type == MP_UINT)
            number = (double)token.u64;
        else if (token.type == MP_INT)
            number = (double)token.i64;
        else if (token.type == MP_FLOAT)
            number = token.number;
    }
    if (!(number >= min && number <= max))
        return task_refuse(call, "parameter '%s' must be a number from %g to %g", name, min, max);
    *ret_value = number;
    return 0;
}

int task_arg_str(struct task_call *call, const char *name, struct span *ret_text)
{
    struct mp_cursor c;
    struct span value;
    int error = task_arg_value(call, name, &value);

    if (error != 0)
        return error;
    mp_open(&c, value);
    if (!mp_next_str(&c, ret_text))
        return task_refuse(call, "parameter '%s' must be a string", name);
    return 0;
}

int task_arg_bytes(struct task_call *call, const char *name, struct span *ret_bytes)
{
    struct mp_cursor c;
    struct span value;
    int error = task_arg_value(call, name, &value);

    if (error != 0)
        return error;
    mp_open(&c, value);
    if (!mp_next_str(&c, ret_bytes) && !mp_next_bin(&c, ret_bytes))
        return task_refuse(call, "parameter '%s' must be a string or bytes", name);
    return 0;
}

int task_arg_text(struct task_call *call, const char *name, char *ret_text, size_t size)
{
    struct span text;
    int error = task_arg_str(call, name, &text);

    if (error != 0)
        return error;
    if (text.len == 0 || text.len >= size || memchr(text.data, '\0', text.len) != NULL)
        return task_refuse(call, "parameter '%s' must have 1 to %zu bytes, none of them NUL", name,
                           size - 1);
    memcpy(ret_text, text.data, text.len);
    ret_text[text.len] = '\0';
    return 0;
}

void task_progress(struct task_call *call, uint64_t done, uint64_t total, const char *fmt, ...)
{
    char message[SHM_MESSAGE_BYTES + 1] = "";
    va_list args;

    if (call->shm == NULL)
        return;
    if (fmt != NULL) {
        va_start(args, fmt);
        vsnprintf(message, sizeof(message), fmt, args);
        va_end(args);
    }
    shm_report(call->shm, call->position, done, total, span_of_str(message));
}

msgpack_packer *task_result(struct task_call *call)
{
    return &call->packer;
}

void task_put_result(struct task_call *call, struct span value)
{
    buf_put_span(&call->result, value);
}

static int fail(struct task_call *call, const char *code, const char *fmt, va_list args)
    JM_PRINTF(3, 0);

static int fail(struct task_call *call, const char *code, const char *fmt, va_list args)
{
    const char *default_code = errors_code(JM_ETASKFAILED);

    call->outcome = RUN_FAILED;
    call->retry = WIRE_RETRY_DEFAULT;
    call->retry_after_ms = 0;
    snprintf(call->code, sizeof(call->code), "%s", code != NULL ? code : default_code);
    vsnprintf(call->message, sizeof(call->message), fmt, args);
    return JM_ETASKFAILED;
}

int task_fail(struct task_call *call, const char *code, const char *fmt, ...)
{
    va_list args;
    int error;

    va_start(args, fmt);
    error = fail(call, code, fmt, args);
    va_end(args);
    return error;
}

int task_fail_for_good(struct task_call *call, const char *code, const char *fmt, ...)
{
    va_list args;
    int error;

    va_start(args, fmt);
    error = fail(call, code, fmt, args);
    va_end(args);
    call->retry = WIRE_RETRY_NEVER;
    return error;
}

int task_retry_after(struct task_call *call, uint64_t ms, const char *code, const char *fmt, ...)
{
    va_list args;
    int error;

    va_start(args, fmt);
    error = fail(call, code, fmt, args);
    va_end(args);
    call->retry = WIRE_RETRY_AFTER;
    call->retry_after_ms = ms < JM_RETRY_AFTER_LIMIT_MS ? ms : JM_RETRY_AFTER_LIMIT_MS;
    return error;
}

int task_refuse(struct task_call *call, const char *fmt, ...)
{
    va_list args;
    int error;

    va_start(args, fmt);
    error = fail(call, errors_code(JM_ETASKARGS), fmt, args);
    va_end(args);
    return error;
}

void run_check_result(struct task_call *call)
{
    struct mp_cursor c;
    struct span value;

    if (call->outcome != RUN_SUCCEEDED)
        return;
    if (call->result.len == 0)
        buf_put(&call->result, nil, sizeof(nil));
    if (buf_is_starved(&call->result)) {
        (void)task_fail(call, errors_code(JM_ENOMEM), "no memory for the result");
        return;
    }
    if (buf_has_failed(&call->result)) {
        (void)task_fail(call, errors_code(JM_ERESULTSIZE),
                        "the result is larger than the limit of %d bytes", JM_RESULT_BYTES);
        return;
    }
    mp_open(&c, buf_span(&call->result));
    if (!mp_skip(&c, JM_JSON_DEPTH, &value) || !mp_is_at_end(&c))
        (void)task_fail(call, errors_code(JM_ETASKRESULT),
                        "the result is not one msgpack value nested at most %d deep",
                        JM_JSON_DEPTH);
}

void run_native(struct task_call *call, const struct task *task)
{
    int error = task->run(call);

    if (error != 0 && call->outcome == RUN_SUCCEEDED)
        (void)task_fail(call, NULL, "the task returned %d without a reason", error);
    else if (error == 0)
        call->outcome = RUN_SUCCEEDED;
    run_check_result(call);
}

static uint64_t to_us(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
}

void run_describe(const struct task_call *call, struct wire_event *ret_event)
{
    *ret_event = (struct wire_event){
        .id = call->job->id,
        .attempt = call->job->attempt,
        .has_begun = true,
        .user_us = to_us(call->usage.ru_utime),
        .system_us = to_us(call->usage.ru_stime),
        .maxrss_bytes = (uint64_t)call->usage.ru_maxrss * 1024,
        .stderr_tail = buf_span(&call->stderr_tail),
    };
    if (call->outcome == RUN_SUCCEEDED) {
        ret_event->kind = WIRE_SUCCEEDED;
        ret_event->result = buf_span(&call->result);
        return;
    }
    ret_event->kind = call->outcome == RUN_CRASHED ? WIRE_CRASHED : WIRE_FAILED;
    ret_event->signal = (uint32_t)call->signal;
    ret_event->exit_status = (uint32_t)call->exit_status;
    ret_event->message = span_of_str(call->message);
    if (call->outcome != RUN_FAILED)
        return;
    ret_event->code = span_of_str(call->code);
    ret_event->retry = call->retry;
    ret_event->retry_after_ms = call->retry_after_ms;
}
