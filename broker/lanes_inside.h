/*
 * lanes_inside.h: what lanes.c and lanes_task.c share. Everybody else uses lanes.h.
 */
#ifndef BROKER_LANES_INSIDE_H
#define BROKER_LANES_INSIDE_H

#include "broker/lanes.h"

/* By priority, then by how many of its key are out. */
static inline uint64_t lanes_rank(const struct turn *turn)
{
    return (uint64_t)(JM_PRIORITY_MAX - turn->priority) << 32 | turn->key->out;
}

/* Puts the turn into the line of each of its tasks; false without memory, and then into none. */
bool lanes_rest_at_tasks(struct turn *turn) JM_MUST_CHECK;

/* Takes it, or one lane of it, out of them. */
void lanes_leave_tasks(struct turn *turn);
void lanes_leave_task(struct lane *lane);

/* Its key.out or order has changed. */
void lanes_reorder_at_tasks(struct turn *turn);

#endif
