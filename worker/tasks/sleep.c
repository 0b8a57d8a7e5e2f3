#include "worker/tasks/tasks.h"

#include <errno.h>
#include <time.h>

#include "schema/limits.h"

static int read_time(struct task_call *call, uint64_t *ret_ms)
{
    double seconds;
    int error;

    if (!task_has_arg(call, "seconds"))
        return task_arg_u64(call, "ms", 0, JM_TIMEOUT_LIMIT_MS, ret_ms);
    error = task_arg_number(call, "seconds", 0, JM_TIMEOUT_LIMIT_MS / 1000, &seconds);
    if (error == 0)
        *ret_ms = (uint64_t)(seconds * 1000);
    return error;
}

static int run(struct task_call *call)
{
    struct timespec rest;
    uint64_t ms;
    int error = read_time(call, &ms);

    if (error != 0)
        return error;
    rest = (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        continue;
    return 0;
}

const struct task task_is_sleep = {
    .name = "sleep",
    .doc = "Sleeps for `ms` milliseconds or `seconds` (at most 7 days); the result is null.",
    .run = run,
};
