/*
 * core.h: the broker's core: everything that decides, and nothing that does I/O. It runs on one
 * thread and reaches the world through four seams: the clock (lib/clock.h), the store's file layer
 * (a SQLite VFS, below store.h and runner.h), the carrier (carrier.h), and "call me at T / when X
 * is done" (timer.h, runner.h). The program wires real ones (main.c); tests/sim wires fakes that it
 * replays from a seed.
 *
 *     core ─┬─ ids        gives job ids
 *           ├─ queues     name → counts, window, backlog
 *           ├─ confs      what people have set for queues and tasks
 *           ├─ dispatch   jobs that are out: reserve, push, recall, take from the backlog, put back
 *           ├─ results    takes the results lists and applies them
 *           ├─ hosts      heartbeats, leases, epochs, and the verdict "lost"
 *           ├─ schedule   the next due time; expiry: the next time by which a job has to begin;
 *           │             purge: what has been kept long enough
 *           └─ waiters    who waits for the end of which job
 *
 * All functions are for the loop thread. Requests are embedded by the caller and complete exactly
 * once through their callback, never from inside the call.
 */
#ifndef BROKER_CORE_H
#define BROKER_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/carrier.h"
#include "broker/core_close.h"
#include "broker/confs.h"
#include "broker/core_change.h"
#include "broker/dispatch.h"
#include "broker/expiry.h"
#include "broker/hosts.h"
#include "broker/ids.h"
#include "broker/purge.h"
#include "broker/queues.h"
#include "broker/reader.h"
#include "broker/results.h"
#include "broker/runner.h"
#include "broker/schedule.h"
#include "broker/timer.h"
#include "broker/waiters.h"
#include "broker/wall_watch.h"
#include "lib/attr.h"
#include "lib/clock.h"

struct core_conf {
    unsigned node; /* 0 … JM_NODES - 1 */
    uint64_t heartbeat_ms;
    uint64_t lease_ms;
    uint64_t seed; /* of random words; from getrandom in the program */
};

struct core_seams {
    struct clock *clock;
    struct carrier *carrier;
    struct runner *runner;
    struct timers *timers;
};

/* Submits that were turned away before anything was stored. */
struct core_stats {
    uint64_t queue_full;
    uint64_t overloaded;
};

struct core {
    struct core_conf conf;
    struct core_seams seams;
    struct ids ids;
    struct queues queues;
    struct dispatch dispatch;
    struct results results;
    struct hosts hosts;
    struct schedule schedule;
    struct expiry expiry;
    struct purge purge;
    struct wall_watch wall;
    struct core_close close;
    struct waiters waiters;
    size_t submits; /* on their way to the store */
    size_t submits_bytes;
    struct core_stats stats;
    struct reader *reader; /* borrowed; for single, small reads */
    uint64_t random_state;
};

/* Makes the core and sets the carrier's callbacks. `c` is the caller's memory. 0 or JM_ENOMEM. */
int core_init(struct core *c, const struct core_conf *conf,
              const struct core_seams *seams) JM_MUST_CHECK;

/* Reads from the store what a start has to know (reader.h) and begins to work. Returns 0 or JM_E….
 */
int core_start(struct core *c, struct reader *reader) JM_MUST_CHECK;

/* The carrier, the runner and the timers are closed: completes what is left (core_close.h), and
 * frees what the core holds. */
void core_done(struct core *c);

/* What is done once per loop turn: pushes in one command per queue, takes from the backlog, wakes
 * waiters. The program calls it when all callbacks of a turn have run. */
void core_turn(struct core *c);

/* The next number of the core's own generator: for words that only have to differ. */
uint64_t core_random(struct core *c);

/* The runner's word about a queue's counts and about a lane, before the on_done of the operations
 * that changed them. JM_ENOMEM: jobs would be forgotten, so that the broker has to end; the next
 * start reads it all. */
int core_on_counts(struct core *c, struct span queue,
                   const struct store_counts *counts) JM_MUST_CHECK;
int core_on_lane(struct core *c, const struct store_lane_view *lane) JM_MUST_CHECK;

/* The queue of that name, made if there is none; NULL above JM_QUEUES or without memory. One that
 * is new learns at once who serves it. */
struct queue *core_need_queue(struct core *c, struct span name);

/* ---- submit ---- */

/* Give spec (spans stay until on_done), key and fingerprint (or an empty key), unique, run_at_ms or
 * delay_ms, on_done. */
struct core_submit {
    struct store_submit op;
    int64_t run_at_ms;  /* wall clock; in the past, as 0 is: at once */
    uint64_t delay_ms;  /* from the time it is made; 0: none */
    bool is_told_later; /* nobody is told of a new job in on_done: it may not be on disk then, and
                           whoever tells of it asks the runner first */
    struct core *core;
    struct queue *queue;
    struct dispatch_job *job; /* its reserved place, or NULL */
    uint64_t ret_limit;       /* with JM_EQUEUEFULL: how many may wait in the queue; with
                                 JM_EOVERLOAD: which of the limits of limits.h, or 0 */
    void (*on_done)(struct core_submit *s, int status);
};
/* After on_done with 0: op.id is the job's id, or, if op.ret_is_repeat, op.ret_existing_id that of
 * the first submit with this key; likewise, if op.ret_is_existing, that of the unique job that is
 * there already, see struct store_submit. Other statuses: JM_EIDEMPOTENCY, JM_EUNIQUE, JM_EFIELD
 * (it expires before it is due), JM_EQUEUEFULL, JM_EFULL, JM_ESTORE. Returns 0; or JM_EQUEUEFULL
 * (the queue's max_queued) or JM_EOVERLOAD (too many queues, or more submits under way than
 * JM_SUBMITS or JM_SUBMITS_BYTES), and on_done is not called. JM_EOVERLOAD may come later too, for
 * want of lanes. */
int core_submit(struct core *c, struct core_submit *s) JM_MUST_CHECK;

/* Whether as many submits are under way as may be. */
bool core_is_overloaded(const struct core *c);

/* When the job is due, if it was made at that time. 0: at once. Its answer is told from the time in
 * its id, so that a repeat is told the same; in truth it was made then or, where the ids are ahead
 * of a clock that was set back, now. */
int64_t core_submit_due_ms(const struct core_submit *s, int64_t made_ms);
int64_t core_submit_made_ms(uint64_t id, int64_t now_ms);

/* For core_batch.c: whether only the store can tell if a submit is to make a job; whether a queue
 * holds as many jobs as it may, with what is on its way; and what is to be done with a job that was
 * cancelled for a new one. */
bool core_may_be_known(const struct core_submit *s);
bool core_is_queue_full(const struct queue *q);
void core_stop_replaced(struct core *c, uint64_t id);

/* ---- cancel ---- */

enum core_stopped { CORE_STOPPED_YES, CORE_STOPPED_NO, CORE_STOPPED_UNKNOWN };

struct core_cancel {
    struct store_cancel op;
    struct core *core;
    enum core_stopped stopped; /* YES: it does not run and will not. NO: it ran, a kill is ordered.
                                  UNKNOWN: Redis did not say; a kill is ordered */
    struct dispatch_recall recall;
    void (*on_done)(struct core_cancel *x, int status);
};
/* What heartbeats have told of the job's attempt that is out: its word that it runs may be on its
 * way still, or lost with Redis. */
struct store_begun core_begun(const struct core *c, uint64_t id);

/* Set op.id and on_done. Statuses as store_cancel's. */
void core_cancel(struct core *c, struct core_cancel *x);

/* ---- wait ---- */

/* Somebody looks for the end of a job: ends that are in Redis already are not left there to gather
 * (results.h). */
void core_look(struct core *c);

/* Calls w->on_end once, in core_turn, when the job has ended (behind the fsync). Register first,
 * then read the job: if it has ended already, waiters_remove and answer. */
int core_wait(struct core *c, struct waiter *w, uint64_t id) JM_MUST_CHECK; /* JM_EBUSYWAIT */

#endif
