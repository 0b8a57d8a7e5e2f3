/*
 * wall_watch.h: whether the wall clock can be believed in what cannot be undone. A clock that jumps
 * ahead by a year, be it only for a moment, must not take a year's worth of jobs along; so whoever
 * is about to end or remove what is due looks first whether the wall clock still goes along with
 * the monotonic one. After a step of more than a minute it is mistrusted for ten minutes. A machine
 * that sleeps steps its clock too. Loop thread only.
 */
#ifndef BROKER_WALL_WATCH_H
#define BROKER_WALL_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/clock.h"

enum { WALL_LOOK_AGAIN_MS = 10 * 1000 }; /* the time to wait while it is not settled */

struct wall_watch {
    struct clock *clock;
    int64_t offset_ms;        /* of the wall clock to the monotonic one, at the last look */
    uint64_t settle_until_ms; /* monotonic: it has stepped */
};

void wall_watch_init(struct wall_watch *w, struct clock *clock);

/* Looks now. A step is noticed by the first look behind it, and by all that share the watch. */
bool wall_watch_is_settled(struct wall_watch *w);

#endif
