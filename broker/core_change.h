/*
 * core_change.h: what people do to jobs that are there already: change one that waits, have one
 * that has finished tried again, and do the same to many. Requests are embedded by the caller and
 * complete exactly once through on_done, never from inside the call. Loop thread only.
 */
#ifndef BROKER_CORE_CHANGE_H
#define BROKER_CORE_CHANGE_H

#include "broker/dispatch.h"
#include "broker/store.h"

struct core;

/* Set op.id, op.what and what that names, and on_done. A job that is with Redis and has not begun
 * is taken back first. Statuses as store_change's; JM_ERUNNING also if Redis can't say whether it
 * has begun. */
struct core_change {
    struct store_change op;
    struct core *core;
    struct dispatch_recall recall;
    unsigned tries;
    void (*on_done)(struct core_change *x, int status);
};
void core_change(struct core *c, struct core_change *x);

/* Set op.id and on_done. Statuses as store_retry's. */
struct core_retry {
    struct store_retry op;
    struct core *core;
    void (*on_done)(struct core_retry *x, int status);
};
void core_retry(struct core *c, struct core_retry *x);

/* Set verb, items with their ids, count and on_done. The items are changed in several commits, a
 * few hundred in each; with a status other than 0 those of the first `ret_done` items are kept. */
struct core_bulk {
    struct store_bulk op;
    struct core *core;
    enum store_bulk_verb verb;
    struct store_bulk_item *items;
    size_t count;
    size_t ret_done; /* items that were looked at */
    size_t ret_changed;
    void (*on_done)(struct core_bulk *x, int status);
};
void core_bulk(struct core *c, struct core_bulk *x);

#endif
