/*
 * dispatch_push.c: outboxes to Redis, many jobs in one command; and what Redis surely does not have
 * back to the backlog.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/core.h"
#include "broker/dispatch_inside.h"
#include "lib/crash.h"
#include "schema/errors.h"

/* ---- back to the backlog ---- */

struct back {
    struct store_put_back op;
    struct dispatch *dispatch;
    struct list jobs;
    struct store_ref refs[];
};

/* The jobs are in the order of `refs`, but some may have gone meanwhile: `at` is where to look. */
static bool is_back(const struct back *b, const struct dispatch_job *job, size_t *at)
{
    while (*at < b->op.count) {
        const struct store_ref *ref = &b->refs[(*at)++];

        if (ref->id == job->id && ref->attempt == job->attempt)
            return ref->ret_is_back;
    }
    return false;
}

/* One that the store passed over runs, or has ended: the search (hosts.h) finds out. On a full disk
 * they keep their places and wait here. */
static void on_put_back(struct store_op *op)
{
    struct back *b = JM_CONTAINER_OF(op, struct back, op.op);
    struct list *node;
    size_t at = 0;

    CRASH_POINT("put-back");
    if (op->status != 0)
        dispatch_pause_until(b->dispatch, &b->dispatch->returns_refused_until_ms);
    while ((node = list_pop_front(&b->jobs)) != NULL) {
        struct dispatch_job *job = LIST_ENTRY(node, struct dispatch_job, in_batch);
        bool is_kept = op->status == 0 && is_back(b, job, &at);

        if (is_kept)
            dispatch_return_tokens(job);
        if (op->status != 0)
            dispatch_to_outbox(b->dispatch, job);
        else if (job->is_over || is_kept)
            dispatch_job_remove(b->dispatch, job);
        else
            job->place = DISPATCH_OUT;
    }
    free(b);
}

/* Takes up to BATCH_JOBS of `jobs`, all surely not in Redis. Without memory they stay where they
 * are, and the next turn tries again. */
static bool put_back_some(struct dispatch *d, struct list *jobs)
{
    struct back *b = calloc(1, sizeof(*b) + BATCH_JOBS * sizeof(struct store_ref));

    if (b == NULL) {
        dispatch_try_later(d);
        return false;
    }
    list_init(&b->jobs);
    while (!list_is_empty(jobs) && b->op.count < BATCH_JOBS) {
        struct dispatch_job *job = LIST_ENTRY(list_pop_front(jobs), struct dispatch_job, in_batch);

        job->place = DISPATCH_RETURNING;
        list_push_back(&b->jobs, &job->in_batch);
        b->refs[b->op.count++] = (struct store_ref){.id = job->id, .attempt = job->attempt};
    }
    b->dispatch = d;
    b->op.jobs = b->refs;
    b->op.op = (struct store_op){
        .kind = STORE_PUT_BACK, .on_done = on_put_back, .bytes = 64 * b->op.count};
    list_init(&b->op.op.link);
    runner_submit(d->core->seams.runner, &b->op.op);
    return true;
}

void dispatch_put_back(struct dispatch *d, struct list *jobs)
{
    while (!list_is_empty(jobs) && put_back_some(d, jobs))
        continue;
}

/* ---- push ---- */

struct push {
    struct carrier_req req;
    struct dispatch *dispatch;
    struct queue *queue;
    struct list jobs;
    struct span values[];
};

/* Sorts the jobs of an answered push: those that ended meanwhile go, the others are out, or, if
 * `is_sent` is false, go back. */
static void settle_push(struct push *p, bool is_sent)
{
    struct list *node;

    while ((node = list_pop_front(&p->jobs)) != NULL) {
        struct dispatch_job *job = LIST_ENTRY(node, struct dispatch_job, in_batch);

        if (job->place == DISPATCH_GONE)
            dispatch_job_free(job);
        else if (is_sent)
            job->place = DISPATCH_OUT;
        else
            dispatch_to_outbox(
                p->dispatch, job); /* dispatch_turn takes it from there to the backlog, in order */
    }
}

/* Whether more could have been there, if the window had let it: what waits for a limit could not.
 */
static bool is_wanting(struct dispatch *d, struct queue *q)
{
    return dispatch_has_backlog(q) && lanes_has_ready(q, 0) && dispatch_limit_room(d, q) > 0;
}

static void on_pushed(struct carrier_req *req)
{
    struct push *p = JM_CONTAINER_OF(req, struct push, req);
    struct dispatch *d = p->dispatch;

    CRASH_POINT("after-push");
    switch (req->status) {
    case 0:
        d->stats.pushes++;
        d->stats.pushed += req->value_count;
        if ((size_t)req->number <= req->value_count && is_wanting(d, p->queue))
            window_on_starved(&p->queue->window);
        settle_push(p, true);
        break;
    case JM_EUNKNOWN:
        d->stats.unknown_pushes += req->value_count;
        settle_push(p, true);
        break;
    default: /* refused, or never sent */
        d->stats.refused += req->value_count;
        dispatch_pause_until(d, &d->refused_until_ms);
        settle_push(p, false);
        break;
    }
    dispatch_mark(d, p->queue);
    free(p);
}

/* In one command the last value of an urgent push goes first, so they are put in reverse. */
static void reverse(struct span *values, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct span other = values[count - 1 - i];

        values[count - 1 - i] = values[i];
        values[i] = other;
    }
}

static bool push_some(struct dispatch *d, struct queue *q, struct list *outbox)
{
    struct push *p = calloc(1, sizeof(*p) + BATCH_JOBS * sizeof(struct span));
    size_t bytes = 0;

    if (p == NULL) {
        dispatch_try_later(d);
        return false;
    }
    list_init(&p->jobs);
    while (!list_is_empty(outbox) && p->req.value_count < BATCH_JOBS && bytes < BATCH_BYTES) {
        struct dispatch_job *job =
            LIST_ENTRY(list_pop_front(outbox), struct dispatch_job, in_batch);

        job->place = DISPATCH_PUSHING;
        job->pushed_ms = dispatch_now_ms(d);
        job->is_restored = false;
        list_push_back(&p->jobs, &job->in_batch);
        p->values[p->req.value_count++] = span_of(job->frame, job->frame_len);
        bytes += job->frame_len;
    }
    p->dispatch = d;
    p->queue = q;
    p->req.verb = outbox == &q->urgent ? CARRIER_PUSH_NEXT : CARRIER_PUSH;
    if (outbox == &q->urgent)
        reverse(p->values, p->req.value_count);
    memcpy(p->req.key, q->key, sizeof(p->req.key));
    p->req.values = p->values;
    p->req.on_done = on_pushed;
    list_init(&p->req.link);
    CRASH_POINT("before-push");
    carrier_send(d->core->seams.carrier, &p->req);
    return true;
}

void dispatch_push_outbox(struct dispatch *d, struct queue *q)
{
    while (!list_is_empty(&q->outbox) && push_some(d, q, &q->outbox))
        continue;
    while (!list_is_empty(&q->urgent) && push_some(d, q, &q->urgent))
        continue;
}
