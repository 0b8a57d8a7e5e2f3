#include "worker/tasks/tasks.h"

#include <time.h>

#include "schema/limits.h"

static uint64_t cpu_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int run(struct task_call *call)
{
    uint64_t ms, start, now;
    int error = task_arg_u64(call, "ms", 0, JM_TIMEOUT_LIMIT_MS, &ms);

    if (error != 0)
        return error;
    start = cpu_ms();
    while ((now = cpu_ms() - start) < ms) {
        task_progress(call, now, ms, NULL);
        for (volatile int i = 0; i < 1000; i++)
            continue;
    }
    return 0;
}

const struct task task_is_spin = {
    .name = "spin",
    .doc = "Burns `ms` milliseconds of CPU time.",
    .run = run,
};
