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
    struct buf frames;
    struct store_ref *refs;
    struct store_taken jobs[];
};

static void take_free(struct take *t)
{
    buf_done(&t->frames);
    free(t->refs);
    free(t);
}

static void on_take_returned(struct store_op *op)
{
    take_free(JM_CONTAINER_OF(op, struct take, back.op));
}

/* Gives back to the store the jobs from `first` on, which found no memory here. */
static void take_return(struct take *t, size_t first)
{
    for (size_t i = first; i < t->op.ret_count; i++)
        t->refs[i - first] = (struct store_ref){.id = t->jobs[i].id, .attempt = t->jobs[i].attempt};
    t->back = (struct store_put_back){
        .op = {.kind = STORE_PUT_BACK, .on_done = on_take_returned, .bytes = 64},
        .jobs = t->refs,
        .count = t->op.ret_count - first,
    };
    list_init(&t->back.op.link);
    runner_submit(t->dispatch->core->seams.runner, &t->back.op);
}

static void on_taken(struct store_op *op)
{
    struct take *t = JM_CONTAINER_OF(op, struct take, op.op);
    struct dispatch *d = t->dispatch;
    size_t i;

    t->queue->is_taking = false;
    d->taking_jobs -= t->op.max_jobs;
    d->taking_bytes -= t->op.max_bytes;
    dispatch_mark(d, t->queue);
    dispatch_wake_short(d);
    if (op->status != 0) {
        dispatch_pause_until(d, &d->refused_until_ms);
        take_free(t);
        return;
    }
    for (i = 0; i < t->op.ret_count; i++) {
        struct span frame = span_of(t->frames.data + t->jobs[i].offset, t->jobs[i].len);
        struct dispatch_job *job =
            dispatch_job_new(d, t->queue, t->jobs[i].id, t->jobs[i].attempt, frame);

        if (job == NULL)
            break;
        dispatch_to_outbox(d, job);
    }
    d->stats.taken += i;
    if (i < t->op.ret_count)
        take_return(t, i);
    else
        take_free(t);
}

static void take_some(struct dispatch *d, struct queue *q, size_t jobs, size_t bytes)
{
    struct take *t;

    if (jobs > BATCH_JOBS)
        jobs = BATCH_JOBS;
    if (bytes > BATCH_BYTES)
        bytes = BATCH_BYTES;
    t = calloc(1, sizeof(*t) + jobs * sizeof(struct store_taken));
    if (t == NULL)
        return;
    t->refs = calloc(jobs, sizeof(struct store_ref));
    if (t->refs == NULL) {
        take_free(t);
        return;
    }
    t->dispatch = d;
    t->queue = q;
    buf_init(&t->frames, BATCH_BYTES + JM_FRAME_BYTES);
    t->op = (struct store_take){
        .op = {.kind = STORE_TAKE, .on_done = on_taken, .bytes = 64 * jobs},
        .queue = q->name,
        .node = d->core->conf.node,
        .max_jobs = jobs,
        .max_bytes = bytes,
        .ret_jobs = t->jobs,
        .frames = &t->frames,
    };
    list_init(&t->op.op.link);
    q->is_taking = true;
    d->taking_jobs += jobs;
    d->taking_bytes += bytes;
    runner_submit(d->core->seams.runner, &t->op.op);
}

/* Waits until a good part of the window is free, so that takes come in batches. If it is others
 * that leave no room, the queue is remembered until some is free. */
void dispatch_take_if_room(struct dispatch *d, struct queue *q)
{
    size_t jobs = dispatch_jobs_room(d, q), bytes = dispatch_bytes_room(d, q);

    if (q->is_taking || !dispatch_has_backlog(q) || window_room(&q->window) == 0)
        return;
    if (jobs == 0 || bytes == 0) {
        list_remove(&q->waiting);
        list_push_back(&d->short_of_room, &q->waiting);
        return;
    }
    if (q->window.used > 0 && jobs < q->window.limit / TAKE_SHARE &&
        jobs < (size_t)q->counts.by_state[JOB_QUEUED])
        return;
    take_some(d, q, jobs, bytes);
}
