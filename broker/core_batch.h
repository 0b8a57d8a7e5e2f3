/*
 * core_batch.h: many new jobs in one commit, or none of them (store.h, struct store_submit_all).
 * They go to the backlog, whatever room the window has: the commit is long, and places that were
 * reserved for it would stand empty. Loop thread only, but for two callbacks.
 */
#ifndef BROKER_CORE_BATCH_H
#define BROKER_CORE_BATCH_H

#include "broker/core.h"

/* What has become of one job, as far as its submitter is told. */
struct core_outcome {
    int status;     /* 0, or JM_E…, and nothing of the following */
    bool is_replay; /* by its key */
    bool is_existing;
    bool has_key;
    bool may_be_known; /* has a key or is unique */
    enum job_state state;
    uint64_t id; /* the new one's, or that of the job that was there */
    uint64_t replaced_id;
    struct queue *queue; /* of a batch: where it belongs; set by the caller, as may_be_known is */
    uint64_t full_at;    /* likewise: so many may wait there, and do; 0: there is room */
};

/* All but what is of a batch. */
void core_outcome_set(struct core_outcome *o, const struct core_submit *s, int status);

struct core_batch {
    /* Given by the caller. */
    struct core_outcome *outcomes; /* one for each, with its queue and may_be_known */
    size_t count;
    /* Called by the thread that runs the store, for each job in turn: gives it filled in as for
     * core_submit, or fails with JM_E…. It is left alone until the next call. */
    int (*next)(struct core_batch *b, struct core_submit **ret_submit);
    /* By the same thread: the store refused one (its outcome has the status). */
    void (*on_refused)(struct core_batch *b, const struct core_submit *s, int status);
    void (*on_done)(struct core_batch *b, int status);

    struct store_submit_all op;
    struct core *core;
    struct core_submit *present;
    size_t at;
    uint64_t id; /* of the next one */
    int64_t now_ms;
    int64_t first_due_ms; /* of those that were stored; 0: none */
    int64_t first_expires_ms;
};

/* on_done comes with 0 if all are stored; JM_EBATCH if one was refused, and none is; else JM_EFULL,
 * JM_ESTORE, or what `next` failed with. Returns 0; or JM_EOVERLOAD, or JM_EBATCH if there is no
 * room in a queue for one of them (its outcome says so), and on_done is not called. */
int core_batch_submit(struct core *c, struct core_batch *b) JM_MUST_CHECK;

#endif
