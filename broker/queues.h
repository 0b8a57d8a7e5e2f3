/*
 * queues.h: the queues that the broker knows, by name, with what it keeps in memory about each. A
 * queue comes into being with its first job and stays. Loop thread only.
 */
#ifndef BROKER_QUEUES_H
#define BROKER_QUEUES_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/bucket.h"
#include "broker/carrier.h"
#include "broker/conf.h"
#include "broker/store.h"
#include "broker/timer.h"
#include "broker/window.h"
#include "lib/hash.h"
#include "lib/heap.h"
#include "lib/list.h"

struct dispatch;
struct key;

struct queue {
    struct hash_node by_name;
    struct list in_order;  /* queues.all, by first use */
    struct list in_served; /* queues.by_served */
    struct span name;      /* its own copy */
    char key[KEYS_BYTES];  /* of its list in Redis */

    struct store_counts counts; /* as of the last commit */
    struct queue_conf conf;     /* what people have set */
    struct list setting;        /* core_set_conf.in_line: who changes that, in order */

    /* lanes.c's: what waits */
    struct list turns;                      /* turn.in_queue: all of them */
    uint32_t turn_count;                    /* so many */
    uint32_t turns_at[JM_PRIORITY_MAX + 1]; /* of each priority */
    struct heap ready[JM_PRIORITY_MAX + 1]; /* turns that may go, by priority */
    struct heap fresh;   /* those of them whose keys have credit, by priority and then likewise */
    uint32_t favours;    /* jobs that may be favoured, until others have earned more */
    struct heap resting; /* turns whose rate has no token, by time */
    struct list at_task; /* task_rest.in_queue: turns whose tasks have no room */
    struct key *unkeyed; /* of jobs without a limit_key; NULL before the first */

    /* dispatch.c's */
    struct window window;
    size_t used_bytes;          /* of the frames that are out */
    uint32_t submits_queued;    /* on their way to the backlog: they count for "is it empty" */
    uint32_t submits_scheduled; /* on their way to wait for their time */
    struct list jobs;           /* dispatch_job.in_queue: all that are out */
    struct list outbox; /* dispatch_job.in_batch: committed, and pushed at the end of this turn */
    struct list urgent; /* likewise, to go before all that is in the list already */
    uint32_t unbegun[JM_PRIORITY_MAX + 1]; /* jobs that are out and not known to have begun */
    uint32_t unbegun_favoured;             /* of them */
    uint32_t unbegun_plain;                /* likewise */
    struct bucket bucket;                  /* of conf.rate */
    struct timer tokens;                   /* when there may be one again */
    struct dispatch *dispatch;             /* that the timer marks it at */
    struct list marked;  /* linked while something may be to do at the end of this turn */
    uint64_t served;     /* queues.served at its last take; 0: none yet */
    struct list waiting; /* dispatch.short_of_room */
    bool is_taking;      /* a STORE_TAKE is under way */
    uint64_t take_at_ms; /* monotonic: no other before, unless the backlog changes; the last one
                            found only what should have begun by now */
    size_t taking_jobs;  /* that may bring so many */
    bool wants_draw;     /* paused, and there may be something in Redis to take back */
    uint64_t swap_at_ms; /* monotonic: no swap of what lies in Redis before (dispatch_swap.c) */
    bool is_drawing;     /* that is being done */
};

struct queues {
    struct hash by_name;
    struct list all;
    struct list by_served; /* who was served longest ago is the first */
    uint64_t served;       /* takes so far */
};

void queues_init(struct queues *qs);
void queues_done(struct queues *qs);

/* The queue of that name, or NULL. */
struct queue *queues_find(const struct queues *qs, struct span name);

/* The same, made if there is none; NULL above JM_QUEUES or without memory. */
struct queue *queues_need(struct queues *qs, struct span name);

/* Something is taken out of its backlog now: of all queues it is the last to be looked at again. */
void queues_note_served(struct queues *qs, struct queue *q);

size_t queues_count(const struct queues *qs);

/* Walks all queues: LIST_EACH(node, &qs->all) with this. */
static inline struct queue *queues_entry(struct list *node)
{
    return LIST_ENTRY(node, struct queue, in_order);
}

#endif
