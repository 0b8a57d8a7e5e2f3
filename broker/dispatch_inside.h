/*
 * dispatch_inside.h: what the files of dispatch share. Everybody else uses dispatch.h.
 */
#ifndef BROKER_DISPATCH_INSIDE_H
#define BROKER_DISPATCH_INSIDE_H

#include "broker/dispatch.h"

enum {
    BATCH_JOBS = 1000,     /* in one push, take or return */
    BATCH_BYTES = 1 << 20, /* likewise */
};

/* ---- dispatch.c ---- */

/* What has to be known of a job that gets a place. */
struct dispatch_facts {
    struct queue *queue;
    struct key *key;
    struct task_policy *policy;
    uint64_t id;
    uint32_t attempt;
    uint32_t priority;
    bool is_favoured;
};

/* Adds a job to the table (place RESERVED) and to its queue's window; NULL without memory. */
struct dispatch_job *dispatch_job_new(struct dispatch *d, const struct dispatch_facts *facts,
                                      struct span frame);

/* Gives the place back. The bytes of a job whose push is unanswered belong to the carrier until
 * then; it stays as DISPATCH_GONE, in no table any more, and is freed with the answer. */
void dispatch_job_remove(struct dispatch *d, struct dispatch_job *job);

/* Frees a job that is in no table and no list. */
void dispatch_job_free(struct dispatch_job *job);

/* For a push at the end of the turn; a job that is_over goes instead. */
void dispatch_to_outbox(struct dispatch *d, struct dispatch_job *job);

uint64_t dispatch_now_ms(const struct dispatch *d);

/* Sets one of the "not before" times; the timer makes every queue be looked at again then. */
void dispatch_pause_until(struct dispatch *d, uint64_t *until_ms);

/* There was no memory for what a queue needs: all of them are looked at again soon. */
void dispatch_try_later(struct dispatch *d);

bool dispatch_has_backlog(const struct queue *q);

/* Free places of the queue's window and of all together; bytes of all together. */
size_t dispatch_jobs_room(const struct dispatch *d, const struct queue *q);
size_t dispatch_bytes_room(const struct dispatch *d, const struct queue *q);

/* A lanes_mark_cb that marks the queue. */
void dispatch_on_room(void *dispatch, struct queue *q);

/* Room has become free: the queues that found none are looked at again. */
void dispatch_wake_short(struct dispatch *d);

/* The highest priority of a job that is out and not known to have begun; 0: there is none. */
uint32_t dispatch_highest_unbegun(const struct queue *q);

/* The queue's limits: how many more jobs may go out; SIZE_MAX is any number. */
size_t dispatch_limit_room(struct dispatch *d, struct queue *q);

/* ---- dispatch_plan.c ---- */

/* Which turns a take brings, and what it holds of their limits until it is over. */
struct plan_turn {
    struct key *key;
    uint32_t priority;
    uint32_t count;  /* jobs */
    uint32_t before; /* jobs of the key that were out before the first of them */
};

struct plan_lane {
    struct task_policy *policy;
    uint32_t count;
};

struct plan {
    struct buf turns;      /* struct store_turn */
    struct buf lanes;      /* struct store_turn_lane */
    struct buf held_turns; /* struct plan_turn, one for each turn */
    struct buf held_lanes; /* struct plan_lane, one for each lane */
    size_t jobs;           /* of all turns together */
    struct conf_rate rate; /* by which tokens are held; none: limit 0 */
    struct conf_rate key_rate;
    uint64_t spent_us; /* when they were taken; monotonic */
    bool is_favoured;  /* the jobs are to go before what is in Redis */
};

void dispatch_plan_init(struct plan *p);
void dispatch_plan_done(struct plan *p);

/* Chooses up to `max_jobs` of what waits in the queue with a priority above `above`, and holds
 * their places at keys, tasks and buckets. Without memory it chooses less. If p->is_favoured is
 * set, only of keys that have credit, and by the queue's favours. */
void dispatch_plan_make(struct dispatch *d, struct queue *q, size_t max_jobs, uint32_t above,
                        struct plan *p);

/* Whether it chose less for want of memory. */
bool dispatch_plan_is_starved(const struct plan *p);

/* Gives back what is held; `brought` (one for each turn; NULL: none) jobs have come of it and keep
 * their tokens. */
void dispatch_plan_settle(struct dispatch *d, struct queue *q, struct plan *p,
                          const uint32_t *brought);

/* Sees to it that the queue is looked at when there is a token for what waits for one, and when a
 * swap may be due. */
void dispatch_watch_tokens(struct dispatch *d, struct queue *q);

/* ---- dispatch_pause.c ---- */

/* If the paused queue wants_draw: takes its jobs back from Redis, as far as no worker has claimed
 * them. */
void dispatch_draw(struct dispatch *d, struct queue *q);

/* Takes back up to `count` of the youngest that lie there. False if that could not be begun. */
bool dispatch_draw_some(struct dispatch *d, struct queue *q, uint32_t count);

/* ---- dispatch_swap.c ---- */

/* If jobs wait in Redis for long, and one of a higher priority than some of them is ready, takes
 * those back, so that all go out again in order. True if it does; else q->swap_at_ms says when to
 * look again. */
bool dispatch_swap(struct dispatch *d, struct queue *q);

/* Whether a new job of that priority would have to lie between others in Redis, where they wait for
 * long: then it goes to the backlog, and from there by a swap. */
bool dispatch_is_amid_others(struct dispatch *d, const struct queue *q, uint32_t priority);

/* ---- dispatch_push.c ---- */

/* Empties the outboxes into pushes; what finds no memory stays. */
void dispatch_push_outbox(struct dispatch *d, struct queue *q);

/* Gives jobs that are surely not in Redis back to the backlog. */
void dispatch_put_back(struct dispatch *d, struct list *jobs);

/* ---- dispatch_take.c ---- */

/* Asks the store for more, if there is a backlog and a good part of the window is free. */
void dispatch_take_if_room(struct dispatch *d, struct queue *q);

#endif
