#include "worker/tasks/tasks.h"

static int run(struct task_call *call)
{
    (void)call;
    return 0;
}

const struct task task_is_noop = {
    .name = "noop",
    .doc = "Does nothing with any arguments; the result is null.",
    .run = run,
};
