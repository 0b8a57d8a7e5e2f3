#include "lib/clock.h"

#include <time.h>

static uint64_t read_ns(clockid_t which)
{
    struct timespec now;

    clock_gettime(which, &now); /* cannot fail for the two clocks used here */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t real_mono_ns(struct clock *clock)
{
    (void)clock;
    return read_ns(CLOCK_MONOTONIC);
}

static int64_t real_wall_ms(struct clock *clock)
{
    (void)clock;
    return (int64_t)(read_ns(CLOCK_REALTIME) / 1000000u);
}

struct clock *clock_real(void)
{
    static struct clock real = {.mono_ns = real_mono_ns, .wall_ms = real_wall_ms};

    return &real;
}
