/*
 * ids.h: gives out job ids (schema/id.h): each larger than every one before it, whatever the clock
 * does and across crashes. Ids are given only up to a high-water mark that is stored ahead: the
 * operation that raises it goes to the store before the first insert that uses an id above the old
 * mark, so it is in the same commit or an earlier one; a start goes on above the mark, and above
 * the largest id that is there.
 */
#ifndef BROKER_IDS_H
#define BROKER_IDS_H

#include <stddef.h>
#include <stdint.h>

#include "broker/runner.h"
#include "lib/clock.h"

enum { IDS_RESERVES = 4 }; /* on their way at a time: 250, 500, 1000 and 2000 ms after a start */

struct ids;

struct ids_reserve {
    struct store_reserve_ids reserve;
    struct ids *ids;
    bool is_open; /* on its way */
};

struct ids {
    struct clock *clock;
    struct runner *runner;
    unsigned node;
    uint64_t last;
    uint64_t high_water;
    uint64_t reserve_ms; /* of ids, when the mark was last raised */
    struct ids_reserve reserves[IDS_RESERVES];
};

void ids_init(struct ids *ids, struct clock *clock, struct runner *runner, unsigned node);

/* Goes on above `highest`, the stored mark or an id above it (0 in a new database). */
void ids_start(struct ids *ids, uint64_t highest);

/* The next id; 0 while none can be given, because the mark could not be raised (a full disk). */
uint64_t ids_next(struct ids *ids);

/* The first of `count` (at least 1) ids, each of which is the ids_after of the one before; 0 as
 * above. */
uint64_t ids_take(struct ids *ids, size_t count);

/* Pure; `id` has this node. */
uint64_t ids_after(uint64_t id);

#endif
