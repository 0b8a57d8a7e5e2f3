/*
 * damage.h: what becomes of damage in the database that a read has met. The request is answered
 * with database_corrupt and the others go on: a read changes nothing and promises nothing, and a
 * row that one client asks for must not take the service from all. That it was met is told here, so
 * that somebody runs the doctor. (What the writer meets ends the broker: it could not say any more
 * that what it is given is on disk.) Any thread.
 */
#ifndef BROKER_DAMAGE_H
#define BROKER_DAMAGE_H

#include <stdatomic.h>
#include <stdint.h>

/* Behind a sentence of a problem. */
#define DAMAGE_DETAIL \
    ": it lies in a damaged part of the database; whoever runs the broker needs `jobmill doctor`"

/* Zeroed at first. */
struct damage {
    atomic_uint_fast64_t reads;
    atomic_uint_fast64_t told_ms; /* when the log was told last, by the monotonic clock; or 0 */
};

/* store_conf.on_damage: counts it, and tells the log at once and then once a minute at most. */
void damage_note(void *damage_owner, const char *sentence);

uint64_t damage_reads(const struct damage *d);

#endif
