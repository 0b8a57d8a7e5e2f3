/*
 * store_tally.h: how many jobs of each queue are in each state, with the changes of the batch that
 * runs kept apart until it is committed. Belongs to the store, on its thread.
 */
#ifndef BROKER_STORE_TALLY_H
#define BROKER_STORE_TALLY_H

#include "broker/store.h"
#include "lib/hash.h"

struct store_queue {
    struct hash_node by_name;
    struct list in_all;
    struct list in_touched; /* while the present or last batch changed it */
    struct store_counts now;
    struct store_counts delta; /* of the batch that runs */
    uint64_t retain_ms;        /* how long its ends are kept; 0: as the broker says */
    uint64_t retain_failed_ms;
    size_t name_len;
    char name[];
};

struct store_tally {
    struct hash by_name;
    struct list all;
    struct list touched;
};

void store_tally_init(struct store_tally *t);
void store_tally_done(struct store_tally *t);

/* The queue of that name, made if need be; NULL without memory. */
struct store_queue *store_tally_need(struct store_tally *t, struct span name);

/* One job of `q` went from one state to another; JOB_NONE is outside. */
void store_tally_move(struct store_tally *t, struct store_queue *q, enum job_state from,
                      enum job_state to);

/* What the queue's counts will be with the changes of this batch. */
void store_tally_new(const struct store_queue *q, struct store_counts *ret_counts);

/* Forgets which queues the last batch touched; counts in what this batch changed; or drops it. */
void store_tally_begin(struct store_tally *t);
void store_tally_commit(struct store_tally *t);
void store_tally_rollback(struct store_tally *t);

static inline struct span store_tally_name(const struct store_queue *q)
{
    return span_of(q->name, q->name_len);
}

#endif
