#include "worker/tasks/tasks.h"

#include "schema/limits.h"

static int run(struct task_call *call)
{
    char code[JM_TASK_NAME_BYTES + 1] = "task_failed";
    char message[JM_ERROR_MESSAGE_BYTES] = "it was told to fail";
    int error = 0;

    if (task_has_arg(call, "code"))
        error = task_arg_text(call, "code", code, sizeof(code));
    if (error == 0 && task_has_arg(call, "message"))
        error = task_arg_text(call, "message", message, sizeof(message));
    return error != 0 ? error : task_fail(call, code, "%s", message);
}

const struct task task_is_fail = {
    .name = "fail",
    .doc = "Fails, with `code` and `message` if given.",
    .run = run,
};
