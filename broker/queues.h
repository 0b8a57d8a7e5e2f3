/*
 * queues.h: the queues that the broker knows, by name, with what it keeps in memory about each. A
 * queue comes into being with its first job and stays. Loop thread only.
 */
#ifndef BROKER_QUEUES_H
#define BROKER_QUEUES_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/carrier.h"
#include "broker/store.h"
#include "broker/window.h"
#include "lib/hash.h"
#include "lib/list.h"

struct queue {
    struct hash_node by_name;
    struct list in_order; /* queues.all, by first use */
    struct span name;     /* its own copy */
    char key[KEYS_BYTES]; /* of its list in Redis */

    struct store_counts counts; /* as of the last commit */

    /* dispatch.c's */
    struct window window;
    size_t used_bytes; /* of the frames that are out */
    uint32_t
        submits_queued;  /* on their way to the backlog: they count for "is the backlog empty" */
    struct list jobs;    /* dispatch_job.in_queue: all that are out */
    struct list outbox;  /* dispatch_job.in_outbox: committed, and pushed at the end of this turn */
    struct list marked;  /* linked while something may be to do at the end of this turn */
    struct list waiting; /* dispatch.short_of_room */
    bool is_taking;      /* a STORE_TAKE is under way */
};

struct queues {
    struct hash by_name;
    struct list all;
};

void queues_init(struct queues *qs);
void queues_done(struct queues *qs);

/* The queue of that name, or NULL. */
struct queue *queues_find(const struct queues *qs, struct span name);

/* The same, made if there is none; NULL above JM_QUEUES or without memory. */
struct queue *queues_need(struct queues *qs, struct span name);

size_t queues_count(const struct queues *qs);

/* Walks all queues: LIST_EACH(node, &qs->all) with this. */
static inline struct queue *queues_entry(struct list *node)
{
    return LIST_ENTRY(node, struct queue, in_order);
}

#endif
