#include "worker/tasks/tasks.h"

#include <time.h>

#include "schema/limits.h"

static uint64_t cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int run(struct task_call *call)
{
    uint64_t ms, start, spent;
    int error = task_arg_u64(call, "ms", 0, JM_TIMEOUT_LIMIT_MS, &ms);

    if (error != 0)
        return error;
    start = cpu_ns();
    while ((spent = cpu_ns() - start) < ms * 1000000) {
        task_progress(call, spent / 1000000, ms, NULL);
        for (volatile int i = 0; i < 1000; i++)
            continue;
    }
    return 0;
}

const struct task task_is_spin = {
    .name = "spin",
    .doc = "Burns `ms` milliseconds of CPU time, to the microsecond.",
    .run = run,
};
