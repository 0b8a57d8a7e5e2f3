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
 *     READY ──▶ AT_KEY   its key has as many jobs out as it may; until one of them ends
 *           ──▶ AT_TASK  all its tasks have; until one of them ends
 *           ──▶ AT_RATE  its key's bucket is empty; until it has a token
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
#include "lib/hash.h"
#include "lib/heap.h"
#include "lib/list.h"

struct queue;

/* A task for which something is set. It stays once it is there. */
struct task_policy {
    struct hash_node by_name;
    struct list in_all;
    struct task_conf conf;
    struct task_conf asked; /* likewise, of which the commit may be under way */
    uint32_t out;           /* jobs that hold a place */
    struct list turns;      /* turn.rest: AT_TASK */
    size_t name_len;
    char name[];
};

struct key {
    struct hash_node by_name;
    struct list in_idle; /* lanes.idle_keys, while it has no job out and none waiting; one without a
                            name is in lanes.kept_keys and stays */
    struct queue *queue;
    uint32_t out; /* jobs that hold a place, or are being taken */
    struct bucket bucket;
    struct list turns; /* turn.in_key */
    size_t name_len;
    char name[]; /* empty for jobs without a limit_key */
};

enum turn_place { TURN_NOWHERE, TURN_READY, TURN_AT_KEY, TURN_AT_TASK, TURN_AT_RATE };

struct turn {
    struct heap_node node; /* READY: queue.ready[priority]; AT_RATE: queue.resting */
    enum turn_place place;
    struct list rest; /* AT_TASK: task_policy.turns */
    struct key *key;
    struct list in_key;
    uint32_t priority;
    struct list lanes;   /* lane.in_turn */
    uint64_t queued;     /* jobs that wait in its lanes */
    struct list in_plan; /* dispatch_plan.c's */
    size_t planned;
};

struct lane {
    struct hash_node by_number;
    struct list in_all;
    struct turn *turn;
    struct list in_turn;
    struct task_policy *policy; /* of its task, or NULL */
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
    uint64_t order;  /* rises with each turn that was given */
    uint64_t now_us; /* monotonic; the dispatch sets it before it calls */
};

void lanes_init(struct lanes *ls);
void lanes_done(struct lanes *ls);

/* What the store says of a lane. Without memory it is as if the jobs were not there, until the
 * store speaks of the lane again. */
void lanes_note(struct lanes *ls, struct queue *q, const struct store_lane_view *view);

/* The key of that name in the queue, made if there is none; NULL without memory. */
struct key *lanes_key(struct lanes *ls, struct queue *q, struct span name);

/* The key, or NULL. */
struct key *lanes_find_key(const struct lanes *ls, const struct queue *q, struct span name);

/* One job more, or less, of the key holds a place. */
void lanes_key_take(struct lanes *ls, struct key *key, uint32_t count);
void lanes_key_give(struct lanes *ls, struct key *key, uint32_t count);

/* The policy of a task, or NULL if nothing is set for it; made if there is none (NULL without
 * memory). */
struct task_policy *lanes_policy(const struct lanes *ls, struct span task);
struct task_policy *lanes_need_policy(struct lanes *ls, struct span task);

/* One job more, or less, of the task holds a place. Whose turns may go now is told by giving
 * `mark` the queue. */
void lanes_policy_take(struct task_policy *p, uint32_t count);
void lanes_policy_give(struct lanes *ls, struct task_policy *p, uint32_t count, void *owner,
                       void (*mark)(void *owner, struct queue *q));

/* How many more jobs of the task, and of the key, may go out; SIZE_MAX is any number. A key without
 * a name has no limits. */
size_t lanes_policy_room(const struct task_policy *p);
size_t lanes_key_room(const struct key *key);

/* Moves the turn to another place. */
void lanes_enter(struct lanes *ls, struct turn *turn, enum turn_place place, uint64_t until_us,
                 struct task_policy *at);

/* Makes every turn of the queue ready again: something was set anew. */
void lanes_wake_queue(struct lanes *ls, struct queue *q);

/* Makes the turns ready whose rate has a token by now. */
void lanes_wake_rested(struct lanes *ls, struct queue *q, uint64_t now_us);

static inline struct span lanes_key_name(const struct key *key)
{
    return span_of(key->name, key->name_len);
}

#endif
