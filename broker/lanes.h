/*
 * lanes.h: what waits in the backlog and who is next, as the dispatch sees it.
 *
 *     queue ── key (a limit_key in it; one stands for all jobs without) ── turn (what waits of the
 *     key at one priority) ── lane (what waits of one task of those; store_lanes.h)
 *
 * A queue goes by priority first; within one, its keys take turns, the one with the fewest jobs out
 * first; within a turn its lanes together go by (due, id). A turn that may not go now rests aside,
 * so that whoever chooses never looks at it again before something has changed:
 *
 * A key that had nothing to do comes back with a credit of some jobs that may be favoured: they go
 * before what the others have in Redis already, so that a few jobs of one key hardly notice the
 * many of another (as a new flow in fq_codel goes before the old ones: RFC 8290, section 4.2). The
 * queue's favours bound that: each one is earned by a job that was not favoured.
 *
 *     READY ──▶ AT_KEY   its key has as many jobs out as it may; until one of them ends
 *           ──▶ AT_TASK  all its tasks have; until any of these has room and it is first in line
 *           ──▶ AT_RATE  its key's bucket is empty; until it has a token
 *
 * The tasks are of all queues together, and there may be very many turns that wait for one. So
 * nobody wakes them when a task has room: whoever chooses looks who is the first at it
 * (lanes_first_at_task), and wakes only that one.
 *
 * Loop thread only.
 */
#ifndef BROKER_LANES_H
#define BROKER_LANES_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/bucket.h"
#include "broker/conf.h"
#include "broker/store.h"
#include "lib/attr.h"
#include "lib/hash.h"
#include "lib/heap.h"
#include "lib/list.h"

struct queue;

enum {
    LANES_CREDIT = 32,  /* of a key that has had nothing to do */
    LANES_FAVOURS = 64, /* of a queue, at most */
};

/* A task for which something is set. It stays once it is there. */
struct task_policy {
    struct hash_node by_name;
    struct list in_all;
    struct task_conf conf;
    struct list setting; /* core_set_conf.in_line */
    uint32_t out;        /* jobs that hold a place, or are being taken */
    struct list rests;   /* task_rest.in_policy */
    size_t name_len;
    char name[];
};

/* The lanes of one queue and task whose turns are AT_TASK: it is there while there are any. */
struct task_rest {
    struct list in_policy;
    struct list in_queue; /* queue.at_task */
    struct task_policy *policy;
    struct queue *queue;
    struct heap lanes; /* lane.at_task: by priority, then as the turns in queue.ready */
};

struct key {
    struct hash_node by_name;
    struct list in_idle; /* lanes.idle_keys, while it has no job out and none waiting; one without a
                            name is in lanes.kept_keys and stays */
    struct queue *queue;
    uint32_t out;    /* jobs that hold a place, or are being taken */
    uint32_t credit; /* jobs that may still be favoured */
    struct bucket bucket;
    struct list turns; /* turn.in_key */
    size_t name_len;
    char name[]; /* empty for jobs without a limit_key */
};

enum turn_place { TURN_NOWHERE, TURN_READY, TURN_AT_KEY, TURN_AT_TASK, TURN_AT_RATE };

struct turn {
    struct heap_node node;  /* READY: queue.ready[priority]; AT_RATE: queue.resting */
    struct heap_node fresh; /* READY, and its key has credit: queue.fresh */
    enum turn_place place;
    struct key *key;
    struct list in_key;
    struct list in_queue; /* queue.turns */
    uint32_t priority;
    uint64_t order;    /* when it was last given a job, or made: between keys with as many out */
    struct list lanes; /* lane.in_turn */
    /* dispatch_plan.c's, while it chooses */
    struct list in_plan;
    struct list set_aside;
    size_t planned;
    uint32_t before; /* key.out before the first of these */
};

struct lane {
    struct hash_node by_number;
    struct list in_all;
    struct turn *turn;
    struct list in_turn;
    struct task_policy *policy; /* of its task, or NULL */
    struct task_rest *rest;     /* that it is in, or NULL */
    struct heap_node at_task;
    size_t held; /* places of its task that are held while dispatch_plan.c chooses */
    int64_t number;
    uint64_t queued;
    size_t task_len;
    char task[];
};

struct lanes {
    struct hash by_number;
    struct list all;
    struct hash keys;
    struct list idle_keys;
    struct list kept_keys;
    struct hash policies;
    struct list all_policies;
    uint64_t order;  /* the last turn.order */
    uint64_t now_us; /* monotonic; the dispatch sets it before it calls */
};

void lanes_init(struct lanes *ls);
void lanes_done(struct lanes *ls);

/* What the store says of a lane. JM_ENOMEM: its jobs would not be found, so that the caller has to
 * give up. */
int lanes_note(struct lanes *ls, struct queue *q, const struct store_lane_view *view) JM_MUST_CHECK;

/* The key of that name in the queue, made if there is none; NULL without memory. */
struct key *lanes_key(struct lanes *ls, struct queue *q, struct span name);

/* The key, or NULL. */
struct key *lanes_find_key(const struct lanes *ls, const struct queue *q, struct span name);

/* One job more, or less, of the key holds a place. */
void lanes_key_take(struct lanes *ls, struct key *key, uint32_t count);
void lanes_key_give(struct lanes *ls, struct key *key, uint32_t count);

/* So many jobs of the key go out: that is of its credit. */
void lanes_key_spend(struct key *key, uint32_t count);

/* The policy of a task, or NULL if nothing is set for it; made if there is none (NULL without
 * memory). */
struct task_policy *lanes_policy(const struct lanes *ls, struct span task);
struct task_policy *lanes_need_policy(struct lanes *ls, struct span task);

/* So many jobs more, or less, of the task hold a place. If it had no room before, `mark` is told
 * every queue that has something resting at it. */
typedef void (*lanes_mark_cb)(void *owner, struct queue *q);
void lanes_policy_take(struct task_policy *p, uint32_t count);
void lanes_policy_give(struct task_policy *p, uint32_t count, void *owner, lanes_mark_cb mark);

/* Tells `mark` the same, if the task has room: its limit was set anew. */
void lanes_policy_wake(const struct task_policy *p, void *owner, lanes_mark_cb mark);

/* How many more jobs of the task, and of the key, may go out; SIZE_MAX is any number. A key without
 * a name has no limits. */
size_t lanes_policy_room(const struct task_policy *p);
size_t lanes_key_room(const struct key *key);

/* Moves the turn to another place; `until_us` is for AT_RATE. Without memory for AT_TASK it is
 * READY, and whoever chooses has to look at it again later. */
void lanes_enter(struct turn *turn, enum turn_place place, uint64_t until_us);

/* Of the turns of that priority which rest at tasks that have room now, the one that is the first
 * in line; NULL if there is none. */
struct turn *lanes_first_at_task(const struct queue *q, uint32_t priority);

/* Whether a goes before b, both of the same queue and priority. */
bool lanes_is_before(const struct turn *a, const struct turn *b);

/* Whether something of a priority above `above` waits that may go as far as is known. */
bool lanes_has_ready(const struct queue *q, uint32_t above);

/* Makes every turn of the queue ready again: something was set anew. */
void lanes_wake_queue(struct queue *q);

/* Makes those of the key ready that rest at its rate: its bucket has got something back. */
void lanes_wake_key(struct key *key);

/* Makes the turns ready whose rate has a token by now. */
void lanes_wake_rested(struct queue *q, uint64_t now_us);

static inline struct span lanes_key_name(const struct key *key)
{
    return span_of(key->name, key->name_len);
}

#endif
