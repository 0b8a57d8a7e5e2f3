/*
 * dispatch_take.c: from a queue's backlog in the store to its outbox, as far as the window has
 * room.
 */
#include <stdlib.h>

#include "broker/core.h"
#include "broker/dispatch_inside.h"
#include "lib/crash.h"
#include "schema/errors.h"
#include "schema/limits.h"

enum {
    TAKE_SHARE = 8,       /* a take waits until an eighth of the window is free */
    RESTART_US = 5000,    /* no broker starts, finds its workers and takes within that */
    TAKE_AGAIN_MS = 1000, /* where nothing may begin any more and nothing has expired yet */
};

struct take {
    struct store_take op;
    struct store_put_back back; /* for what there is no memory for */
    struct dispatch *dispatch;
    struct queue *queue;
    struct plan plan;
    size_t policies; /* lanes.policies.len when it was made */
    uint32_t above;  /* jobs of a higher priority go before what is in Redis */
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

static void take_return(struct take *t, size_t count);

/* Nobody else knows of these jobs, so a disk that is full is asked again. */
static void on_take_returned(struct store_op *op)
{
    struct take *t = JM_CONTAINER_OF(op, struct take, back.op);

    if (op->status == JM_EFULL)
        take_return(t, t->back.count);
    else
        take_free(t);
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

/* Where a job stands among those that were taken with it. */
struct standing {
    uint32_t priority;
    uint32_t out; /* jobs of its key that were out before it */
    size_t taken; /* index into ret_jobs */
};

static int compare_standing(const void *left, const void *right)
{
    const struct standing *a = left, *b = right;

    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    if (a->out != b->out)
        return a->out < b->out ? -1 : 1;
    return a->taken < b->taken ? -1 : 1;
}

/* The jobs come turn by turn. They go out as if they had been chosen one by one. */
static struct standing *order_fairly(const struct take *t)
{
    const struct plan_turn *turns = (const struct plan_turn *)(const void *)t->plan.held_turns.data;
    struct standing *order = calloc(t->op.ret_count + 1, sizeof(*order));
    uint32_t of_turn = 0;

    if (order == NULL)
        return NULL;
    for (size_t i = 0; i < t->op.ret_count; i++) {
        const struct plan_turn *turn = &turns[t->jobs[i].turn];

        of_turn = i > 0 && t->jobs[i].turn == t->jobs[i - 1].turn ? of_turn + 1 : 0;
        order[i] = (struct standing){
            .priority = turn->priority, .out = turn->before + of_turn, .taken = i};
    }
    if (t->op.turn_count > 1)
        qsort(order, t->op.ret_count, sizeof(*order), compare_standing);
    return order;
}

/* What is held for the task. If policies have been made since, it may be one of theirs. */
static struct task_policy *policy_of(const struct take *t, const struct store_taken *taken)
{
    const struct plan_lane *lanes = (const struct plan_lane *)(const void *)t->plan.held_lanes.data;
    const struct lanes *ls = &t->dispatch->lanes;
    struct wire_job frame;

    if (lanes[taken->lane].policy != NULL || t->policies == ls->policies.len ||
        wire_decode_job(span_of(t->frames.data + taken->offset, taken->len), &frame) != 0)
        return lanes[taken->lane].policy;
    return lanes_policy(ls, frame.task);
}

static struct dispatch_job *admit(struct take *t, const struct store_taken *taken)
{
    const struct plan_turn *turns = (const struct plan_turn *)(const void *)t->plan.held_turns.data;
    struct dispatch_facts facts = {.queue = t->queue,
                                   .key = turns[taken->turn].key,
                                   .policy = policy_of(t, taken),
                                   .id = taken->id,
                                   .attempt = taken->attempt,
                                   .priority = turns[taken->turn].priority,
                                   .is_favoured = t->plan.is_favoured};

    return dispatch_job_new(t->dispatch, &facts,
                            span_of(t->frames.data + taken->offset, taken->len));
}

/* Gives the taken jobs their places; those that find no memory are left at the end of `jobs`. */
static size_t admit_all(struct take *t)
{
    size_t left = 0;
    struct standing *order = order_fairly(t);

    for (size_t i = 0; i < t->op.ret_count; i++) {
        struct store_taken *taken = &t->jobs[order != NULL ? order[i].taken : i];
        struct dispatch_job *job = admit(t, taken);

        if (job == NULL) {
            t->refs[left++] = (struct store_ref){.id = taken->id, .attempt = taken->attempt};
            continue;
        }
        job->has_token = t->plan.rate.limit > 0;
        job->token_us = t->plan.spent_us;
        job->has_key_token = t->plan.key_rate.limit > 0 && job->key->name_len > 0;
        job->is_urgent = job->is_favoured || job->priority > t->above;
        dispatch_to_outbox(t->dispatch, job);
    }
    free(order);
    return left;
}

/* All that is next should have begun by now. As long as the clock is mistrusted it does not expire
 * (expiry.c), and would be found again and again. */
static void wait_for_expiry(struct take *t)
{
    t->queue->take_at_ms = dispatch_now_ms(t->dispatch) + TAKE_AGAIN_MS;
    expiry_look(&t->dispatch->core->expiry);
}

static void on_taken(struct store_op *op)
{
    struct take *t = JM_CONTAINER_OF(op, struct take, op.op);
    struct dispatch *d = t->dispatch;
    size_t left;

    CRASH_POINT("backlog-taken");
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
    else if (t->op.ret_count == 0)
        wait_for_expiry(t);
    d->stats.taken += t->op.ret_count - left;
    if (left > 0)
        take_return(t, left);
    else
        take_free(t);
}

/* A bucket that will be full sooner than a broker can start needs no row. */
static void write_rate(struct take *t, const struct bucket *b, struct span limit_key)
{
    struct dispatch *d = t->dispatch;
    int64_t ahead_us = clock_wall_ms(d->core->seams.clock) * 1000 - (int64_t)d->lanes.now_us;
    struct store_rate rate = {.limit_key = limit_key,
                              .full_at_us = (int64_t)b->full_at_us + ahead_us};

    if (b->full_at_us > d->lanes.now_us + RESTART_US)
        buf_put(&t->rates, &rate, sizeof(rate));
}

/* The buckets as they are with what this take holds, by the wall clock, which goes on over a
 * restart. */
static void write_rates(struct take *t)
{
    const struct plan_turn *turns = (const struct plan_turn *)(const void *)t->plan.held_turns.data;

    if (t->queue->conf.rate.limit > 0)
        write_rate(t, &t->queue->bucket, span_of(NULL, 0));
    for (size_t i = 0; i < t->op.turn_count && t->queue->conf.key_rate.limit > 0; i++)
        if (turns[i].key->name_len > 0)
            write_rate(t, &turns[i].key->bucket, lanes_key_name(turns[i].key));
    t->op.rates = (const struct store_rate *)(const void *)t->rates.data;
    t->op.rate_count = t->rates.len / sizeof(*t->op.rates);
}

static struct take *take_new(struct dispatch *d, struct queue *q)
{
    struct take *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return NULL;
    t->dispatch = d;
    t->queue = q;
    t->policies = d->lanes.policies.len;
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
    queues_note_served(&d->core->queues, t->queue);
    t->queue->is_taking = true;
    t->queue->taking_jobs = p->jobs;
    d->taking_jobs += p->jobs;
    d->taking_bytes += bytes;
    runner_submit(d->core->seams.runner, &t->op.op);
}

enum take_what {
    TAKE_ANY,      /* those of a higher priority than what waits in Redis go before it */
    TAKE_URGENT,   /* only those */
    TAKE_FAVOURED, /* of keys that have credit, not below what waits there; all go before it */
};

static void take_some(struct dispatch *d, struct queue *q, size_t jobs, size_t bytes,
                      enum take_what what)
{
    struct take *t = take_new(d, q);
    uint32_t above = 0;

    if (t == NULL) {
        dispatch_try_later(d);
        return;
    }
    t->above = dispatch_highest_unbegun(q);
    if (what != TAKE_ANY && t->above > 0)
        above = what == TAKE_URGENT ? t->above : t->above - 1;
    t->plan.is_favoured = what == TAKE_FAVOURED;
    dispatch_plan_make(d, q, jobs < BATCH_JOBS ? jobs : BATCH_JOBS, above, &t->plan);
    if (t->above == 0)
        t->above = JM_PRIORITY_MAX; /* nothing waits there: there is nothing to go before */
    if (t->plan.jobs > 0 && make_room(t)) {
        submit(t, bytes < BATCH_BYTES ? bytes : BATCH_BYTES);
        return;
    }
    if (t->plan.jobs > 0 || dispatch_plan_is_starved(&t->plan))
        dispatch_try_later(d);
    dispatch_plan_settle(d, q, &t->plan, NULL);
    take_free(t);
}

/* An urgent job goes although the window is full, as many as there are slots: it would else wait
 * for the end of a job that has begun before it. */
static bool take_urgent(struct dispatch *d, struct queue *q)
{
    uint32_t above = dispatch_highest_unbegun(q);
    size_t bytes = dispatch_bytes_room(d, q), jobs = q->window.slots,
           room = dispatch_limit_room(d, q);

    if (above == 0 || !lanes_has_ready(q, above) || bytes == 0 || room == 0 ||
        d->jobs + d->taking_jobs >= JM_WINDOW_JOBS)
        return false;
    take_some(d, q, jobs < room ? jobs : room, bytes, TAKE_URGENT);
    return q->is_taking;
}

/* Likewise a favoured job, as long as few of them wait: so they begin soon, and nearly in order. */
static bool take_favoured(struct dispatch *d, struct queue *q)
{
    size_t most = (size_t)q->window.slots * WINDOW_FLOOR_PER_SLOT;
    size_t bytes = dispatch_bytes_room(d, q), room = dispatch_limit_room(d, q);

    if (heap_first(&q->fresh) == NULL || q->favours == 0 || q->unbegun_favoured >= most ||
        q->unbegun_plain == 0 || bytes == 0 || d->jobs + d->taking_jobs >= JM_WINDOW_JOBS)
        return false;
    most -= q->unbegun_favoured;
    take_some(d, q, most < room ? most : room, bytes, TAKE_FAVOURED);
    return q->is_taking;
}

/* Waits until a good part of the window is free, so that takes come in batches. If it is others
 * that leave no room, the queue is remembered until some is free. */
void dispatch_take_if_room(struct dispatch *d, struct queue *q)
{
    size_t jobs = dispatch_jobs_room(d, q), bytes = dispatch_bytes_room(d, q);
    size_t limit = dispatch_limit_room(d, q);

    if (q->is_taking || q->is_drawing || limit == 0 || !lanes_has_ready(q, 0) ||
        dispatch_now_ms(d) < q->take_at_ms || take_urgent(d, q) || dispatch_swap(d, q) ||
        take_favoured(d, q) || window_room(&q->window) == 0)
        return;
    if (jobs == 0 || bytes == 0) {
        list_remove(&q->waiting);
        list_push_back(&d->short_of_room, &q->waiting);
        return;
    }
    if (q->window.used > 0 && jobs < q->window.limit / TAKE_SHARE &&
        jobs < (size_t)q->counts.by_state[JOB_QUEUED])
        return;
    take_some(d, q, jobs < limit ? jobs : limit, bytes, TAKE_ANY);
}
