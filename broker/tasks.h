/*
 * tasks.h: the tasks that the broker has heard of: those that the store remembers and those that
 * the live hosts serve. Brought up to date when somebody asks, at most once a second. Loop thread
 * only.
 */
#ifndef BROKER_TASKS_H
#define BROKER_TASKS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core.h"
#include "lib/buf.h"
#include "lib/hash.h"
#include "lib/list.h"

struct task {
    struct hash_node by_name;
    struct list in_order; /* tasks.all, by first sight */
    struct span name;     /* its own copies, in `copy` */
    struct span kind;
    struct span doc;
    struct buf copy;
    int64_t seen_at_ms; /* as the store says; 0: not stored yet */
    uint32_t hosts;     /* live ones that serve it */
};

struct tasks {
    struct core *core;
    struct reader *reader;
    struct hash by_name;
    struct list all;
    size_t count;
    uint64_t fresh_until_ms; /* monotonic */
};

void tasks_init(struct tasks *ts, struct core *core, struct reader *reader);
void tasks_done(struct tasks *ts);

/* Reads the store and the hosts again if that was a second ago. Returns 0 or JM_E… of the reader.
 */
int tasks_refresh(struct tasks *ts) JM_MUST_CHECK;

/* Whether a live host serves the task or one has served it. */
bool tasks_is_known(struct tasks *ts, struct span name);

/* Walks the tasks: LIST_EACH(node, &ts->all) with this. */
static inline const struct task *tasks_entry(const struct list *node)
{
    return LIST_ENTRY(node, const struct task, in_order);
}

#endif
