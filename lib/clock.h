/*
 * clock.h: time as a seam. Whoever needs time is given a struct clock; programs pass the real one,
 * tests and the simulation one that they turn by hand.
 */
#ifndef LIB_CLOCK_H
#define LIB_CLOCK_H

#include <stdint.h>

struct clock {
    /* Nanoseconds of a clock that never steps; its zero means nothing. */
    uint64_t (*mono_ns)(struct clock *clock);
    /* Milliseconds since 1970 UTC; may step in either direction. */
    int64_t (*wall_ms)(struct clock *clock);
};

/* The machine's own CLOCK_MONOTONIC and CLOCK_REALTIME. Any thread may use it. */
struct clock *clock_real(void);

static inline uint64_t clock_mono_ns(struct clock *clock)
{
    return clock->mono_ns(clock);
}

static inline uint64_t clock_mono_ms(struct clock *clock)
{
    return clock->mono_ns(clock) / 1000000;
}

static inline int64_t clock_wall_ms(struct clock *clock)
{
    return clock->wall_ms(clock);
}

#endif
