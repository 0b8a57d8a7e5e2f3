#include "worker/tasks/tasks.h"

static int run(struct task_call *call)
{
    task_put_result(call, task_args(call));
    return 0;
}

const struct task task_is_echo = {
    .name = "echo",
    .doc = "The result is the arguments.",
    .run = run,
};
