#include "worker/tasks/tasks.h"

#include <errno.h>
#include <time.h>

#include "schema/limits.h"

enum { SLEEP_STEP_MS = 500 /* between two reports of progress */ };

static void sleep_until(struct timespec start, uint64_t ms)
{
    uint64_t ns = (uint64_t)start.tv_nsec + ms % 1000 * 1000000;
    struct timespec end = {.tv_sec = start.tv_sec + (time_t)(ms / 1000 + ns / 1000000000),
                           .tv_nsec = (long)(ns % 1000000000)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
        continue;
}

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
    struct timespec start;
    uint64_t ms, done = 0;
    int error = read_time(call, &ms);

    if (error != 0)
        return error;
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    while (done < ms) {
        done = ms - done > SLEEP_STEP_MS ? done + SLEEP_STEP_MS : ms;
        sleep_until(start, done);
        task_progress(call, done, ms, NULL);
    }
    return 0;
}

const struct task task_is_sleep = {
    .name = "sleep",
    .doc = "Sleeps for `ms` milliseconds or `seconds` (at most 7 days); the result is null.",
    .run = run,
};
