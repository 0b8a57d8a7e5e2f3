/*
 * store_lanes.h: the lanes of the backlog. A lane is what waits of one queue, task, priority and
 * limit_key, in the order (due, id); each live job is in one, by its number. The dispatch chooses
 * between lanes (lanes.h); the store only knows how many jobs wait in each, with the changes of the
 * batch that runs kept apart until it is committed. A lane's row is written with its first job and
 * goes when it has had none for a while. Belongs to the store, on its thread.
 */
#ifndef BROKER_STORE_LANES_H
#define BROKER_STORE_LANES_H

#include "broker/store_tally.h"
#include "lib/hash.h"

struct store_lane {
    struct hash_node by_name;
    struct hash_node by_number;
    struct list in_all;
    struct list in_touched; /* while the present or last batch changed it */
    struct list in_idle;    /* while it has no jobs; the longest idle first */
    int64_t number;
    struct store_queue *queue;
    uint32_t priority;
    bool is_stored; /* its row is there, or was written by the batch that runs */
    bool is_stored_by_batch;
    int64_t live;       /* jobs in it, in whatever state */
    int64_t live_delta; /* of the batch that runs */
    int64_t queued;     /* of them in the backlog */
    int64_t queued_delta;
    int64_t idle_since_ms; /* wall clock, while it is in the list */
    size_t task_len;
    size_t key_len;
    char texts[]; /* task, then key */
};

struct store_lanes {
    struct hash by_name;
    struct hash by_number;
    struct list all;
    struct list touched;
    struct list idle;
    int64_t next_number;
};

void store_lanes_init(struct store_lanes *ls);
void store_lanes_done(struct store_lanes *ls);

/* The lane of that name, made if need be (its row is not written by this); NULL without memory. */
struct store_lane *store_lanes_need(struct store_lanes *ls, struct store_queue *queue,
                                    struct span task, uint32_t priority, struct span key);

/* One that the database names, with its own number; NULL without memory. */
struct store_lane *store_lanes_restore(struct store_lanes *ls, int64_t number,
                                       struct store_queue *queue, struct span task,
                                       uint32_t priority, struct span key);

struct store_lane *store_lanes_find(const struct store_lanes *ls, int64_t number);

/* Takes a lane without jobs out of the tables and frees it. */
void store_lanes_remove(struct store_lanes *ls, struct store_lane *lane);

/* One job of the lane went from one state to another; JOB_NONE is outside of `live`, and so is
 * every terminal state. */
void store_lanes_move(struct store_lanes *ls, struct store_lane *lane, enum job_state from,
                      enum job_state to);

/* Forgets which lanes the last batch touched; counts in what this batch changed; or drops it. */
void store_lanes_begin(struct store_lanes *ls);
void store_lanes_commit(struct store_lanes *ls, int64_t now_ms);
void store_lanes_rollback(struct store_lanes *ls);

/* At start: lanes without jobs count as idle from now on. */
void store_lanes_note_idle(struct store_lanes *ls, int64_t now_ms);

static inline struct span store_lane_task(const struct store_lane *lane)
{
    return span_of(lane->texts, lane->task_len);
}

static inline struct span store_lane_key(const struct store_lane *lane)
{
    return span_of(lane->texts + lane->task_len, lane->key_len);
}

#endif
