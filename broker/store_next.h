/*
 * store_next.h: what is next in several lanes of the backlog together, by (due, id). A part of the
 * store, for store_backlog.c.
 */
#ifndef BROKER_STORE_NEXT_H
#define BROKER_STORE_NEXT_H

#include "broker/store_inside.h"

struct store_next_job {
    uint64_t id;
    uint32_t attempt;
    int64_t due_ms;
    size_t lane; /* index into the take's lanes */
};

/* The turn's next jobs, in memory that the caller frees. They stay in the backlog. */
int store_next_find(struct store *s, const struct store_take *op, const struct store_turn *turn,
                    struct store_next_job **ret_jobs, size_t *ret_found) JM_MUST_CHECK;

#endif
