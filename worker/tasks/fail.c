#include "worker/tasks/tasks.h"

#include <inttypes.h>

#include "schema/limits.h"

/* What it was told to say when it fails. */
struct failure {
    char code[JM_TASK_NAME_BYTES + 1];
    char message[JM_ERROR_MESSAGE_BYTES];
    char retry[16];
    uint64_t retry_after_ms;
    uint64_t until_attempt;
};

static int read_args(struct task_call *call, struct failure *f)
{
    int error = 0;

    if (task_has_arg(call, "code"))
        error = task_arg_text(call, "code", f->code, sizeof(f->code));
    if (error == 0 && task_has_arg(call, "message"))
        error = task_arg_text(call, "message", f->message, sizeof(f->message));
    if (error == 0 && task_has_arg(call, "until_attempt"))
        error = task_arg_u64(call, "until_attempt", 1, UINT32_MAX, &f->until_attempt);
    if (error == 0 && task_has_arg(call, "retry"))
        error = task_arg_text(call, "retry", f->retry, sizeof(f->retry));
    if (error == 0 && task_has_arg(call, "retry_after_ms"))
        error =
            task_arg_u64(call, "retry_after_ms", 0, JM_RETRY_AFTER_LIMIT_MS, &f->retry_after_ms);
    if (error == 0 && f->retry[0] != '\0' && strcmp(f->retry, "never") != 0)
        error = task_refuse(call, "parameter 'retry' must be \"never\"");
    return error;
}

static int run(struct task_call *call)
{
    struct failure f = {.code = "task_failed", .message = "it was told to fail"};
    int error = read_args(call, &f);

    if (error != 0)
        return error;
    if (f.until_attempt > 0 && task_attempt(call) >= f.until_attempt) {
        msgpack_pack_uint32(task_result(call), task_attempt(call));
        return 0;
    }
    if (f.retry[0] != '\0')
        return task_fail_for_good(call, f.code, "%s", f.message);
    if (task_has_arg(call, "retry_after_ms"))
        return task_retry_after(call, f.retry_after_ms, f.code, "%s", f.message);
    return task_fail(call, f.code, "%s", f.message);
}

const struct task task_is_fail = {
    .name = "fail",
    .doc = "Fails, with `code` and `message` if given; with `retry` \"never\" for good, with "
           "`retry_after_ms` until then. From attempt `until_attempt` on it succeeds.",
    .run = run,
};
