/*
 * serving.h: which queues a worker serves, and in which order a child asks for each claim.
 *
 *     a,b,c          strict: b has its turn only when a is empty
 *     a:6,b:3,c      weighted: each comes first in so many claims of ten as its weight says; one
 *                    without a weight counts 1. No queue waits for another to be empty.
 *
 * A weight is the digits behind the last ':' of an entry. A queue whose own name ends like that is
 * written with a weight ("tenant:42:1"), or with a last ':' for none ("tenant:42:"). Pure
 * functions.
 */
#ifndef WORKER_SERVING_H
#define WORKER_SERVING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/span.h"

enum { SERVING_QUEUES = 64 /* the most that one worker serves */ };

struct serving_queue {
    struct span name;
    uint32_t weight; /* 0: none was given */
};

/* Reads a list as above; the names borrow from it. False if it is not 1 to SERVING_QUEUES names
 * with weights from 1 to JM_QUEUE_WEIGHT_LIMIT. */
bool serving_parse(const char *list, struct serving_queue ret_queues[SERVING_QUEUES],
                   size_t *ret_count) JM_MUST_CHECK;

/* The order for the next claim, as indexes into `queues`. Where one has a weight it is drawn: each
 * place by the weights of those that are left. `seed` is any number at first, and changes. */
void serving_order(const struct serving_queue *queues, size_t count, uint64_t *seed,
                   size_t ret_order[SERVING_QUEUES]);

#endif
