/*
 * dispatch.h: the jobs that are out. One place for every policy of what goes to Redis, and when.
 *
 * What a dispatch_job is: one attempt of one job that has a place in its queue's window: from the
 * moment the place is reserved (at submit, before the commit) until the attempt's end is applied,
 * however it ends. It keeps the bytes that were sent, so that it can be recalled by value.
 *
 *        submit, window open                       take from the backlog
 *              │                                            │ (committed as dispatched)
 *              ▼            committed                       ▼
 *          RESERVED ──────────────────────────────▶ OUTBOX ──▶ PUSHING ──▶ OUT ──▶ (gone: an end)
 *              │ refused                               ▲          │ refused, link down
 *              ▼                                       │          ▼
 *           (gone)                                     └──── RETURNING ──▶ (gone: back in the
 * backlog)
 *
 * `is_over`: the job has been cancelled, or its other attempt has succeeded: nothing more is wanted
 * of this one, it only holds its place until it is known to be stopped. Loop thread only.
 */
#ifndef BROKER_DISPATCH_H
#define BROKER_DISPATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/carrier.h"
#include "broker/lanes.h"
#include "broker/progress.h"
#include "broker/queues.h"
#include "broker/reader.h"
#include "broker/runner.h"
#include "broker/timer.h"
#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/hash.h"
#include "lib/list.h"

struct core;

enum dispatch_place {
    DISPATCH_RESERVED,  /* the insert is on its way to the store */
    DISPATCH_OUTBOX,    /* committed; pushed at the end of this turn */
    DISPATCH_PUSHING,   /* the push is on its way to Redis */
    DISPATCH_OUT,       /* in Redis, with a worker, or lost */
    DISPATCH_RETURNING, /* surely not in Redis; on its way back to the backlog */
    DISPATCH_GONE,      /* it ended while its push was still unanswered; freed with that answer */
};

struct dispatch_job {
    struct hash_node by_id;
    struct list in_queue; /* queue.jobs */
    struct list in_batch; /* queue.outbox, or the push or return it is part of */
    struct queue *queue;
    uint64_t id;
    uint32_t attempt;
    enum dispatch_place place;
    bool is_over;
    bool is_urgent;   /* it goes before all that is in the list already */
    bool is_favoured; /* because its key had little to do (lanes.h) */
    bool has_token;   /* of its queue's rate; likewise of its key's */
    bool has_key_token;
    uint64_t token_us; /* when they were taken; monotonic */
    bool is_plain;     /* its key had no credit left: those with credit may go before it */
    uint32_t priority;
    struct key *key;            /* of its limit_key */
    struct task_policy *policy; /* of its task, if something is set for it */
    uint64_t pushed_ms;         /* monotonic; when it went out, or was found at start */
    bool is_restored;           /* found at start: it went out before */

    /* hosts.c's: the search for what is nowhere (see there) */
    uint64_t host;       /* that named it last, or announced it; 0 is nobody */
    bool has_begun;      /* as the host said */
    uint64_t run_ms;     /* likewise, at its last beat */
    uint64_t named_poll; /* the last poll in which a fresh beat named it; 0 is never */
    uint64_t left_poll;  /* the poll that saw that it has left its list; 0 is not yet */
    uint64_t read_mark;  /* the results read that has to be complete first; 0 is not asked yet */
    uint64_t asked_poll; /* the poll whose search of the list looks for it */
    uint64_t seen_poll;  /* the last such search that found it */
    uint64_t search_gap; /* polls until the next one; grows while it is found */
    bool is_judged;      /* its loss is on its way to the store */

    struct progress *progress; /* that its host told of, or NULL; see dispatch_progress */

    size_t frame_len;
    uint8_t frame[]; /* the bytes that are in Redis */
};

struct dispatch_stats {
    uint64_t pushes; /* commands */
    uint64_t pushed; /* jobs */
    uint64_t refused;
    uint64_t unknown_pushes;
    uint64_t recalled;
    uint64_t taken;
};

struct dispatch {
    struct core *core;
    struct hash by_id;
    struct list marked;        /* queue.marked: looked at in the next dispatch_turn */
    struct list short_of_room; /* queue.waiting: have a backlog, and others leave no room */
    size_t jobs;
    size_t bytes;
    size_t taking_jobs; /* what the takes under way may bring at most */
    size_t taking_bytes;
    bool is_link_up;
    uint64_t refused_until_ms; /* no pushes before: Redis said no (out of memory, read-only, …) */
    uint64_t returns_refused_until_ms; /* no returns to the backlog before: the disk is full */
    struct timer retry;                /* for these times */
    struct list recalled; /* recalls of jobs that had not gone out: answered next turn */
    struct buf scratch;   /* a frame before its size is known */
    struct lanes lanes;
    struct dispatch_stats stats;
};

void dispatch_init(struct dispatch *d, struct core *core);
void dispatch_done(struct dispatch *d);

/* At start: a job that the store says is dispatched or running. 0 or JM_ENOMEM. */
int dispatch_restore(struct dispatch *d, const struct job_view *job,
                     struct span frame) JM_MUST_CHECK;

/* A place for a job that is being submitted, if its queue's backlog is empty, Redis is up and the
 * window has room; else NULL, and the job goes to the backlog. */
struct dispatch_job *dispatch_reserve(struct dispatch *d, struct queue *q, uint64_t id,
                                      const struct job_spec *spec);
/* Its insert is committed: to the outbox. Or it was refused: the place is free again. */
void dispatch_commit(struct dispatch *d, struct dispatch_job *job);
void dispatch_release(struct dispatch *d, struct dispatch_job *job);

/* The newest attempt of that job that is out; or that very one. NULL if there is none. */
struct dispatch_job *dispatch_find(const struct dispatch *d, uint64_t id);
struct dispatch_job *dispatch_find_attempt(const struct dispatch *d, uint64_t id, uint32_t attempt);

/* How far the job is, if it is out and that is known. */
struct progress dispatch_progress(const struct dispatch *d, uint64_t id);
/* It is known to have begun. */
void dispatch_note_begun(struct dispatch *d, struct dispatch_job *job);

/* What the store says of a lane's backlog; as lanes_note. */
int dispatch_note_lane(struct dispatch *d, struct queue *q,
                       const struct store_lane_view *lane) JM_MUST_CHECK;

/* At start: how far a bucket is spent. */
void dispatch_note_rate(struct dispatch *d, struct queue *q, const struct store_rate *rate);

/* What people have set: holds from now on. A queue that is paused now gets back what waits in
 * Redis. */
void dispatch_set_queue(struct dispatch *d, struct queue *q, const struct queue_conf *conf);
void dispatch_set_task(struct dispatch *d, struct task_policy *p, const struct task_conf *conf);

/* The policy of a task, made if there is none; NULL without memory, or above JM_TASKS. */
struct task_policy *dispatch_need_task(struct dispatch *d, struct span task);

/* Something about the queue changed (backlog, room, link): look at it at the end of this turn. */
void dispatch_mark(struct dispatch *d, struct queue *q);

/* The link to Redis went up or down. */
void dispatch_on_link(struct dispatch *d, bool is_up);

/* The end of attempt `attempt`: frees the place if that is the attempt that holds it. `run_us` of
 * the end tells how long it had waited. Returns whether a limit of concurrency has counted it, so
 * that others may wait for its place. */
bool dispatch_on_end(struct dispatch *d, uint64_t id, uint32_t attempt, uint64_t run_us);

/* The job has not begun and goes back to the backlog: what it has of rates goes back too. */
void dispatch_return_tokens(struct dispatch_job *job);

/* Completes one of the recalls of jobs that had not gone out; false if there is none. */
bool dispatch_finish_one(struct dispatch *d);

/* Completes those, pushes the outboxes, takes from the backlogs. */
void dispatch_turn(struct dispatch *d);

/* Takes back a job that is out and no longer wanted. Marks it is_over. `number` then is 1: it was
 * still in the list; 0: it was not; -1: Redis did not say. Completes exactly once, never inside the
 * call. */
struct dispatch_recall {
    struct carrier_req req;
    struct list link; /* dispatch.recalled */
    struct dispatch *dispatch;
    struct span value; /* a copy of the frame, since the job may go before the answer comes */
    uint64_t id;
    uint32_t attempt;
    bool is_withdrawal;
    int number;
    void (*on_done)(struct dispatch_recall *r);
};
int dispatch_recall(struct dispatch *d, struct dispatch_job *job,
                    struct dispatch_recall *r) JM_MUST_CHECK; /* JM_ENOMEM */

/* The same for a job that is wanted, but not yet: with `number` 1 it is on its way back to the
 * backlog (that operation is with the runner before on_done is called), else nothing has changed.
 */
int dispatch_withdraw(struct dispatch *d, struct dispatch_job *job,
                      struct dispatch_recall *r) JM_MUST_CHECK; /* JM_ENOMEM */

/* As dispatch_recall, for when nobody waits for the answer: what has left its list is ordered to be
 * killed. */
void dispatch_stop(struct dispatch *d, struct dispatch_job *job);

#endif
