/*
 * expiry.h: jobs that should have begun by a certain time and have not: they end as expired. What
 * is with Redis is taken back first; what has begun meanwhile goes on. Behind a step of the wall
 * clock nothing ends for a while (wall_watch.h). Loop thread only.
 */
#ifndef BROKER_EXPIRY_H
#define BROKER_EXPIRY_H

#include <stdint.h>

#include "broker/alarm.h"
#include "broker/store.h"

enum { EXPIRY_JOBS = 256 }; /* in one operation */

struct expiry {
    struct alarm alarm;
    struct store_expire op;
    size_t withdrawals;        /* under way */
    struct store_expiry after; /* how far the walk over those with Redis has come */
    uint64_t ids[EXPIRY_JOBS];
    uint64_t out_ids[EXPIRY_JOBS];
};

void expiry_init(struct expiry *x, struct core *core);

/* Looks now: at a start, and when it is not known what has become of the next time. */
void expiry_look(struct expiry *x);

/* A job that waits or is out expires then; 0: never. */
void expiry_note(struct expiry *x, int64_t expires_at_ms);

#endif
