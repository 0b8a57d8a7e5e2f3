/*
 * timer.h: the seam "call me at T". Times are milliseconds of the clock seam's monotonic clock. The
 * program's timers sit on one uv_timer (loop_timer.c), the simulation's on its own clock. Loop
 * thread only.
 */
#ifndef BROKER_TIMER_H
#define BROKER_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/list.h"

struct timer {
    struct list link; /* linked while armed; the seam's */
    uint64_t at_ms;
    void (*on_time)(struct timer *t);
};

struct timers {
    /* Arms `t` for at_ms (in the past: as soon as possible), moving it if it is armed. Never calls
     * on_time from inside. */
    void (*arm)(struct timers *ts, struct timer *t, uint64_t at_ms);
};

static inline void timer_init(struct timer *t, void (*on_time)(struct timer *t))
{
    list_init(&t->link);
    t->at_ms = 0;
    t->on_time = on_time;
}

static inline bool timer_is_armed(const struct timer *t)
{
    return !list_is_empty(&t->link);
}

static inline void timers_arm(struct timers *ts, struct timer *t, uint64_t at_ms)
{
    ts->arm(ts, t, at_ms);
}

static inline void timer_disarm(struct timer *t)
{
    list_remove(&t->link);
}

#endif
