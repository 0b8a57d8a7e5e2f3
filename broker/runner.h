/*
 * runner.h: the seam "when X is done". The core hands store operations to a runner and gets each
 * back through its on_done, exactly once, in the order given, never from inside runner_submit. The
 * program's runner is the writer thread (writer.h); the simulation's runs batches when its seed
 * says so.
 */
#ifndef BROKER_RUNNER_H
#define BROKER_RUNNER_H

#include "broker/store.h"

/* A wait until everything that is committed now is on disk. Embedded by the caller. */
struct runner_gate {
    struct list link;
    uint64_t seq;
    void (*on_open)(struct runner_gate *gate);
};

struct runner {
    void (*submit)(struct runner *r, struct store_op *op);
    bool (*is_synced)(struct runner *r);
    void (*wait_synced)(struct runner *r, struct runner_gate *gate);
};

static inline void runner_submit(struct runner *r, struct store_op *op)
{
    r->submit(r, op);
}

/* Whether all that a reader can see at this moment is on disk. Asked after the read. */
static inline bool runner_is_synced(struct runner *r)
{
    return r->is_synced(r);
}

/* Calls on_open once all that is committed at this moment is on disk; never from inside this call.
 * To give a gate up, list_remove(&gate->link). */
static inline void runner_wait_synced(struct runner *r, struct runner_gate *gate)
{
    r->wait_synced(r, gate);
}

#endif
