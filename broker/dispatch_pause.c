/*
 * dispatch_pause.c: what people set for queues and tasks, and what follows from it at once. A queue
 * that is paused gets back what waits in Redis: its list is drawn empty from the young end, in
 * pieces; what was drawn is in no worker's hands, so it goes back to the backlog. If the answer is
 * lost on its way, the search for what is nowhere (hosts.h) finds those jobs, free of charge; so it
 * does those of another broker that were drawn along.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/core.h"
#include "broker/dispatch_inside.h"
#include "lib/crash.h"
#include "schema/errors.h"

enum { DRAW_JOBS = 500 };

struct draw {
    struct carrier_req req;
    struct dispatch *dispatch;
    struct queue *queue;
    uint32_t count; /* in one piece; 0: all there is, of a queue that is paused */
};

static void draw_some(struct draw *draw);

/* Those that ended or were cancelled meanwhile have only held their places. What has begun is with
 * a worker, and its frame came back to the list with an older state of Redis; by the same way one
 * frame may be in the list twice. */
static void settle(struct dispatch *d, struct span frame, struct list *back)
{
    struct wire_job wire;
    struct dispatch_job *job;

    if (wire_decode_job(frame, &wire) != 0)
        return;
    job = dispatch_find(d, wire.id);
    if (job == NULL || job->attempt != wire.attempt || job->place != DISPATCH_OUT ||
        job->has_begun || !list_is_empty(&job->in_batch))
        return;
    d->stats.recalled++;
    if (job->is_over)
        dispatch_job_remove(d, job);
    else
        list_push_back(back, &job->in_batch);
}

static void on_drawn(struct carrier_req *req)
{
    struct draw *draw = JM_CONTAINER_OF(req, struct draw, req);
    struct dispatch *d = draw->dispatch;
    struct list back;

    CRASH_POINT("drawn");
    list_init(&back);
    for (size_t i = 0; req->status == 0 && i < req->item_count; i++)
        settle(d, req->items[i], &back);
    dispatch_put_back(d, &back);
    while (!list_is_empty(&back)) /* no memory: they are nowhere, which the search finds out */
        (void)list_pop_front(&back);
    if (req->status == 0 && req->item_count > 0 && draw->queue->conf.is_paused) {
        draw->count = 0;
        draw_some(draw);
        return;
    }
    if (req->status == JM_EREFUSED &&
        draw->queue->conf.is_paused) { /* it waits there until Redis lets it be taken out */
        draw->queue->wants_draw = true;
        dispatch_pause_until(d, &d->refused_until_ms);
    }
    draw->queue->is_drawing = false;
    dispatch_mark(d, draw->queue);
    free(draw);
}

static void draw_some(struct draw *draw)
{
    draw->req = (struct carrier_req){.verb = CARRIER_DRAW,
                                     .first = draw->count != 0 ? draw->count : DRAW_JOBS,
                                     .on_done = on_drawn};
    memcpy(draw->req.key, draw->queue->key, sizeof(draw->req.key));
    list_init(&draw->req.link);
    carrier_send(draw->dispatch->core->seams.carrier, &draw->req);
}

bool dispatch_draw_some(struct dispatch *d, struct queue *q, uint32_t count)
{
    struct draw *draw = calloc(1, sizeof(*draw));

    if (draw == NULL)
        return false;
    draw->dispatch = d;
    draw->queue = q;
    draw->count = count < DRAW_JOBS ? count : DRAW_JOBS;
    q->is_drawing = true;
    draw_some(draw);
    return true;
}

/* Without memory its next mark tries again. */
void dispatch_draw(struct dispatch *d, struct queue *q)
{
    if (q->wants_draw && !q->is_drawing && dispatch_draw_some(d, q, 0))
        q->wants_draw = false;
}

void dispatch_set_queue(struct dispatch *d, struct queue *q, const struct queue_conf *conf)
{
    q->conf = *conf;
    q->wants_draw = conf->is_paused && q->window.used > 0;
    lanes_wake_queue(q);
    dispatch_mark(d, q);
}

/* Jobs that are out already know nothing of a policy that is new. */
static void count_policy(struct dispatch *d, struct task_policy *p)
{
    LIST_EACH(node, &d->core->queues.all)
    {
        LIST_EACH(in_queue, &queues_entry(node)->jobs)
        {
            struct dispatch_job *job = LIST_ENTRY(in_queue, struct dispatch_job, in_queue);
            struct wire_job wire;

            if (wire_decode_job(span_of(job->frame, job->frame_len), &wire) != 0 ||
                !span_is_equal(wire.task, span_of(p->name, p->name_len)))
                continue;
            job->policy = p;
            p->out++;
        }
    }
}

struct task_policy *dispatch_need_task(struct dispatch *d, struct span task)
{
    struct task_policy *p = lanes_policy(&d->lanes, task);

    if (p != NULL)
        return p;
    p = lanes_need_policy(&d->lanes, task);
    if (p != NULL)
        count_policy(d, p);
    return p;
}

void dispatch_set_task(struct dispatch *d, struct task_policy *p, const struct task_conf *conf)
{
    p->conf = *conf;
    lanes_policy_wake(p, d, dispatch_on_room);
}

void dispatch_note_rate(struct dispatch *d, struct queue *q, const struct store_rate *rate)
{
    struct clock *clock = d->core->seams.clock;
    const struct conf_rate *conf = rate->limit_key.len > 0 ? &q->conf.key_rate : &q->conf.rate;
    int64_t debt_us = rate->full_at_us - clock_wall_ms(clock) * 1000;
    int64_t period_us = (int64_t)conf->period_ms * 1000;
    struct key *key;

    if (debt_us <= 0 || conf->limit == 0)
        return;
    if (debt_us > period_us)
        debt_us = period_us; /* the clock was set back meanwhile */
    key = rate->limit_key.len > 0 ? lanes_key(&d->lanes, q, rate->limit_key) : NULL;
    if (rate->limit_key.len == 0)
        q->bucket.full_at_us = clock_mono_ns(clock) / 1000 + (uint64_t)debt_us;
    else if (key != NULL)
        key->bucket.full_at_us = clock_mono_ns(clock) / 1000 + (uint64_t)debt_us;
}
