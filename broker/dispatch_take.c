/*
 * dispatch_take.c: from a queue's backlog in the store to its outbox, as far as the window has
 * room.
 */
#include <stdlib.h>

#include "broker/core.h"
#include "broker/dispatch_inside.h"
#include "schema/limits.h"

enum { TAKE_SHARE = 8 }; /* a take waits until an eighth of the window is free */

struct take {
    struct store_take op;
    struct store_put_back back; /* for what there is no memory for */
    struct dispatch *dispatch;
    struct queue *queue;
    struct plan plan;
    uint32_t above; /* jobs of a higher priority go before what is in Redis */
    struct buf frames;
    struct buf rates; /* struct store_rate */
    struct store_ref *refs;
    uint32_t *brought; /* jobs of each turn */
    struct store_taken *jobs;
};

static void take_free(struct take *t)
{
    dispatch_plan_done(&t->plan);
    buf_done(&t->frames);
    buf_done(&t->rates);
    free(t->refs);
    free(t->brought);
    free(t->jobs);
    free(t);
}

static void on_take_returned(struct store_op *op)
{
    take_free(JM_CONTAINER_OF(op, struct take, back.op));
}

/* Gives back to the store the jobs in `refs`, which found no memory here. */
static void take_return(struct take *t, size_t count)
{
    t->back = (struct store_put_back){
        .op = {.kind = STORE_PUT_BACK, .on_done = on_take_returned, .bytes = 64},
        .jobs = t->refs,
        .count = count,
    };
    list_init(&t->back.op.link);
    runner_submit(t->dispatch->core->seams.runner, &t->back.op);
}

/* The turns' jobs come one turn after the other; they go out one job of each turn after the other.
 */
static void order_fairly(const struct take *t, size_t turns, size_t *ret_order)
{
    size_t count = t->op.ret_count, n = 0;

    for (size_t round = 0; n < count; round++) {
        size_t at = 0;

        for (size_t turn = 0; turn < turns; turn++) {
            if (round < t->brought[turn])
                ret_order[n++] = at + round;
            at += t->brought[turn];
        }
    }
}

static struct dispatch_job *admit(struct take *t, const struct store_taken *taken)
{
    const struct plan_turn *turns = (const struct plan_turn *)(const void *)t->plan.held_turns.data;
    const struct plan_lane *lanes = (const struct plan_lane *)(const void *)t->plan.held_lanes.data;
    struct dispatch_facts facts = {.queue = t->queue,
                                   .key = turns[taken->turn].key,
                                   .policy = lanes[taken->lane].policy,
                                   .id = taken->id,
                                   .attempt = taken->attempt,
                                   .priority = turns[taken->turn].priority,
                                   .expires_at_ms = taken->expires_at_ms};

    return dispatch_job_new(t->dispatch, &facts,
                            span_of(t->frames.data + taken->offset, taken->len));
}

/* Gives the taken jobs their places; those that find no memory are left at the end of `jobs`. */
static size_t admit_all(struct take *t)
{
    size_t turns = t->op.turn_count, count = t->op.ret_count, left = 0;
    size_t *order = calloc(count + 1, sizeof(*order));

    if (order != NULL)
        order_fairly(t, turns, order);
    for (size_t i = 0; i < count; i++) {
        struct store_taken *taken = &t->jobs[order != NULL ? order[i] : i];
        struct dispatch_job *job = admit(t, taken);

        if (job == NULL) {
            t->refs[left++] = (struct store_ref){.id = taken->id, .attempt = taken->attempt};
            continue;
        }
        job->is_urgent = job->priority > t->above;
        dispatch_to_outbox(t->dispatch, job);
    }
    free(order);
    return left;
}

static void on_taken(struct store_op *op)
{
    struct take *t = JM_CONTAINER_OF(op, struct take, op.op);
    struct dispatch *d = t->dispatch;
    size_t left;

    t->queue->is_taking = false;
    t->queue->taking_jobs = 0;
    d->taking_jobs -= t->plan.jobs;
    d->taking_bytes -= t->op.max_bytes;
    if (op->status != 0)
        t->op.ret_count = 0;
    for (size_t i = 0; i < t->op.ret_count; i++)
        t->brought[t->jobs[i].turn]++;
    left = admit_all(t); /* before the holds are given back: a limit is never free in between */
    dispatch_plan_settle(d, t->queue, &t->plan, t->brought);
    dispatch_mark(d, t->queue);
    dispatch_wake_short(d);
    if (op->status != 0)
        dispatch_pause_until(d, &d->refused_until_ms);
    d->stats.taken += t->op.ret_count - left;
    if (left > 0)
        take_return(t, left);
    else
        take_free(t);
}

/* The buckets as they are with what this take holds, by the wall clock, which goes on over a
 * restart. */
static void write_rates(struct take *t)
{
    struct dispatch *d = t->dispatch;
    const struct plan_turn *turns = (const struct plan_turn *)(const void *)t->plan.held_turns.data;
    int64_t ahead_us = clock_wall_ms(d->core->seams.clock) * 1000 - (int64_t)d->lanes.now_us;
    struct store_rate rate = {.full_at_us = (int64_t)t->queue->bucket.full_at_us + ahead_us};

    if (t->queue->conf.rate.limit > 0)
        buf_put(&t->rates, &rate, sizeof(rate));
    for (size_t i = 0; i < t->op.turn_count && t->queue->conf.key_rate.limit > 0; i++) {
        rate.limit_key = lanes_key_name(turns[i].key);
        rate.full_at_us = (int64_t)turns[i].key->bucket.full_at_us + ahead_us;
        if (rate.limit_key.len > 0)
            buf_put(&t->rates, &rate, sizeof(rate));
    }
    t->op.rates = (const struct store_rate *)(const void *)t->rates.data;
    t->op.rate_count = t->rates.len / sizeof(rate);
}

static struct take *take_new(struct dispatch *d, struct queue *q)
{
    struct take *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return NULL;
    t->dispatch = d;
    t->queue = q;
    dispatch_plan_init(&t->plan);
    buf_init(&t->frames, BATCH_BYTES + JM_FRAME_BYTES);
    buf_init(&t->rates, BATCH_JOBS * sizeof(struct store_rate) * 2);
    return t;
}

static bool make_room(struct take *t)
{
    size_t jobs = t->plan.jobs, turns = t->plan.turns.len / sizeof(struct store_turn);

    t->refs = calloc(jobs + 1, sizeof(*t->refs));
    t->jobs = calloc(jobs + 1, sizeof(*t->jobs));
    t->brought = calloc(turns + 1, sizeof(*t->brought));
    return t->refs != NULL && t->jobs != NULL && t->brought != NULL;
}

static void submit(struct take *t, size_t bytes)
{
    struct dispatch *d = t->dispatch;
    struct plan *p = &t->plan;

    t->op = (struct store_take){
        .op = {.kind = STORE_TAKE, .on_done = on_taken, .bytes = 64 * p->jobs},
        .queue = t->queue->name,
        .node = d->core->conf.node,
        .turns = (const struct store_turn *)(const void *)p->turns.data,
        .turn_count = p->turns.len / sizeof(struct store_turn),
        .lanes = (const struct store_turn_lane *)(const void *)p->lanes.data,
        .max_bytes = bytes,
        .ret_jobs = t->jobs,
        .frames = &t->frames,
    };
    write_rates(t);
    list_init(&t->op.op.link);
    t->queue->is_taking = true;
    t->queue->taking_jobs = p->jobs;
    d->taking_jobs += p->jobs;
    d->taking_bytes += bytes;
    runner_submit(d->core->seams.runner, &t->op.op);
}

/* `above`: jobs of a higher priority only, and they go before what is in Redis; else any, and those
 * of a higher priority than what waits there go before it. */
static void take_some(struct dispatch *d, struct queue *q, size_t jobs, size_t bytes,
                      bool is_urgent)
{
    struct take *t = take_new(d, q);

    if (t == NULL)
        return;
    t->above = dispatch_highest_unbegun(q);
    dispatch_plan_make(d, q, jobs < BATCH_JOBS ? jobs : BATCH_JOBS, is_urgent ? t->above : 0,
                       &t->plan);
    if (t->above == 0)
        t->above = JM_PRIORITY_MAX; /* nothing waits there: there is nothing to go before */
    if (t->plan.jobs > 0 && make_room(t)) {
        submit(t, bytes < BATCH_BYTES ? bytes : BATCH_BYTES);
        return;
    }
    if (t->plan.jobs > 0) {
        uint32_t *none = calloc(t->plan.turns.len / sizeof(struct store_turn), sizeof(*none));

        if (none != NULL)
            dispatch_plan_settle(d, q, &t->plan, none);
        free(none);
    }
    take_free(t);
}

static bool is_anybody_ready(const struct queue *q)
{
    for (uint32_t priority = JM_PRIORITY_MIN; priority <= JM_PRIORITY_MAX; priority++)
        if (heap_first(&q->ready[priority]) != NULL)
            return true;
    return false;
}

/* An urgent job goes although the window is full, as many as there are slots: it would else wait
 * for the end of a job that has begun before it. */
static bool take_urgent(struct dispatch *d, struct queue *q)
{
    uint32_t above = dispatch_highest_unbegun(q);
    size_t bytes = dispatch_bytes_room(d, q), jobs = q->window.slots,
           room = dispatch_limit_room(d, q);
    bool is_waiting = false;

    for (uint32_t priority = above + 1; above > 0 && priority <= JM_PRIORITY_MAX; priority++)
        is_waiting = is_waiting || heap_first(&q->ready[priority]) != NULL;
    if (!is_waiting || bytes == 0 || room == 0 || d->jobs + d->taking_jobs >= JM_WINDOW_JOBS)
        return false;
    take_some(d, q, jobs < room ? jobs : room, bytes, true);
    return q->is_taking;
}

/* Waits until a good part of the window is free, so that takes come in batches. If it is others
 * that leave no room, the queue is remembered until some is free. */
void dispatch_take_if_room(struct dispatch *d, struct queue *q)
{
    size_t jobs = dispatch_jobs_room(d, q), bytes = dispatch_bytes_room(d, q);
    size_t limit = dispatch_limit_room(d, q);

    if (q->is_taking || limit == 0 || !is_anybody_ready(q) || take_urgent(d, q) ||
        window_room(&q->window) == 0)
        return;
    if (jobs == 0 || bytes == 0) {
        list_remove(&q->waiting);
        list_push_back(&d->short_of_room, &q->waiting);
        return;
    }
    if (q->window.used > 0 && jobs < q->window.limit / TAKE_SHARE &&
        jobs < (size_t)q->counts.by_state[JOB_QUEUED])
        return;
    take_some(d, q, jobs < limit ? jobs : limit, bytes, false);
}
