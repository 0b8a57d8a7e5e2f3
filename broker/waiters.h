/*
 * waiters.h: who waits for the end of which job. An end is marked when its commit is on disk; the
 * waiters are called once per loop turn, all together (as redis's blocked.c does). Loop thread
 * only.
 */
#ifndef BROKER_WAITERS_H
#define BROKER_WAITERS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/hash.h"
#include "lib/list.h"

/* Embedded by whoever waits. on_end is called once; afterwards the waiter is no longer registered.
 */
struct waiter {
    struct hash_node by_id;
    struct list marked; /* linked between mark and call */
    bool is_registered;
    uint64_t id;
    void (*on_end)(struct waiter *w);
};

struct waiters {
    struct hash by_id;
    struct list marked;
};

void waiters_init(struct waiters *ws);
void waiters_done(struct waiters *ws);

/* JM_EBUSYWAIT above JM_WAITERS, JM_ENOMEM. */
int waiters_add(struct waiters *ws, struct waiter *w, uint64_t id) JM_MUST_CHECK;

/* Gives up; on_end will not be called. Does nothing if it isn't registered. */
void waiters_remove(struct waiters *ws, struct waiter *w);

/* The job has ended: marks its waiters. */
void waiters_mark(struct waiters *ws, uint64_t id);

/* Whether waiters_turn has somebody to call. */
bool waiters_has_marked(const struct waiters *ws);

/* Calls the marked ones. */
void waiters_turn(struct waiters *ws);

size_t waiters_count(const struct waiters *ws);

#endif
