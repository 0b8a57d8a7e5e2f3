/*
 * purge.h: lets the store remove what has been kept long enough, in small steps, one at a time.
 *
 * What is due is told by the wall clock. So that a clock that jumps ahead by a year, be it only for
 * a moment, does not take a year's worth of jobs along, a purge looks first whether the wall clock
 * still goes along with the monotonic one; after a step of more than a minute nothing is removed
 * for ten minutes. A machine that sleeps steps its clock too, and waits likewise. Loop thread only.
 */
#ifndef BROKER_PURGE_H
#define BROKER_PURGE_H

#include <stdint.h>

#include "broker/store.h"
#include "broker/timer.h"

struct core;

struct purge_stats {
    uint64_t steps;
    uint64_t rows;
};

struct purge {
    struct core *core;
    struct timer timer;
    struct store_purge op;
    int64_t offset_ms;        /* of the wall clock to the monotonic one, at the last look */
    uint64_t settle_until_ms; /* monotonic: the clock has stepped */
    struct purge_stats stats;
};

void purge_init(struct purge *p, struct core *core);
void purge_start(struct purge *p);

#endif
