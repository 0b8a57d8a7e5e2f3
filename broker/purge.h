/*
 * purge.h: lets the store remove what has been kept long enough, in small steps, one at a time.
 *
 * What is due is told by the wall clock; behind a step of it nothing is removed for a while
 * (wall_watch.h). While there is more to remove the steps become larger, so that a step waits less
 * often for the commits before it: jobs go as fast as they come. Loop thread only.
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
    size_t step_rows; /* of the next one */
    struct purge_stats stats;
};

void purge_init(struct purge *p, struct core *core);
void purge_start(struct purge *p);

#endif
