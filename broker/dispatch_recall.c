/*
 * dispatch_recall.c: takes back what is out and no longer wanted.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/core.h"
#include "broker/dispatch_inside.h"
#include "schema/errors.h"

/* A job that was taken out of its list. What was cancelled meanwhile is not put back, whoever took
 * it out. */
static void settle(struct dispatch *d, struct dispatch_job *job, bool is_withdrawal)
{
    struct list jobs;

    if (job->place == DISPATCH_RETURNING)
        return; /* it was on its way back already */
    if (!is_withdrawal || job->is_over) {
        dispatch_job_remove(d, job);
        return;
    }
    list_init(&jobs);
    list_remove(&job->in_batch);
    list_push_back(&jobs, &job->in_batch);
    dispatch_put_back(d, &jobs);
    if (!list_is_empty(&jobs)) { /* no memory: the search finds that it is nowhere */
        list_remove(&job->in_batch);
        job->place = DISPATCH_OUT;
    }
}

/* Its number is known. */
static void finish_recall(struct dispatch_recall *r)
{
    struct dispatch *d = r->dispatch;
    struct dispatch_job *job = dispatch_find_attempt(d, r->id, r->attempt);

    if (r->number == 1) {
        d->stats.recalled++;
        if (job != NULL)
            settle(d, job, r->is_withdrawal);
    }
    free((void *)(uintptr_t)r->value.data);
    r->value = (struct span){0};
    r->on_done(r);
}

bool dispatch_finish_one(struct dispatch *d)
{
    struct list *node = list_pop_front(&d->recalled);

    if (node != NULL)
        finish_recall(LIST_ENTRY(node, struct dispatch_recall, link));
    return node != NULL;
}

static void on_recalled(struct carrier_req *req)
{
    struct dispatch_recall *r = JM_CONTAINER_OF(req, struct dispatch_recall, req);

    r->number = req->status == 0 ? (int)req->number : -1;
    finish_recall(r);
}

/* A job that has not gone out yet needs no word with Redis; it only may not be answered from here.
 */
static void recall_at_home(struct dispatch_recall *r, struct dispatch_job *job)
{
    r->number = 1;
    list_push_back(&r->dispatch->recalled, &r->link);
    if (job->place == DISPATCH_OUTBOX)
        settle(r->dispatch, job, r->is_withdrawal);
    else
        dispatch_mark(r->dispatch,
                      job->queue); /* RETURNING: the store passes it over, on_put_back frees it */
}

static int take_back(struct dispatch *d, struct dispatch_job *job, struct dispatch_recall *r)
{
    uint8_t *copy = malloc(job->frame_len);

    if (copy == NULL)
        return JM_ENOMEM;
    memcpy(copy, job->frame, job->frame_len);
    r->dispatch = d;
    r->id = job->id;
    r->attempt = job->attempt;
    r->value = span_of(copy, job->frame_len);
    list_init(&r->link);
    if (job->place == DISPATCH_OUTBOX || job->place == DISPATCH_RETURNING) {
        recall_at_home(r, job);
        return 0;
    }
    r->req = (struct carrier_req){
        .verb = CARRIER_RECALL, .values = &r->value, .value_count = 1, .on_done = on_recalled};
    memcpy(r->req.key, job->queue->key, sizeof(r->req.key));
    list_init(&r->req.link);
    carrier_send(d->core->seams.carrier, &r->req);
    return 0;
}

int dispatch_recall(struct dispatch *d, struct dispatch_job *job, struct dispatch_recall *r)
{
    r->is_withdrawal = false;
    job->is_over = true;
    return take_back(d, job, r);
}

int dispatch_withdraw(struct dispatch *d, struct dispatch_job *job, struct dispatch_recall *r)
{
    r->is_withdrawal = true;
    return take_back(d, job, r);
}

static void on_stopped(struct dispatch_recall *r)
{
    struct dispatch_job *job = dispatch_find_attempt(r->dispatch, r->id, r->attempt);

    if (r->number != 1)
        hosts_order_kill(&r->dispatch->core->hosts, job != NULL ? job->host : 0, r->id, r->attempt);
    free(r);
}

void dispatch_stop(struct dispatch *d, struct dispatch_job *job)
{
    struct dispatch_recall *r = calloc(1, sizeof(*r));

    job->is_over = true; /* without memory for a recall the heartbeats see to it */
    if (r == NULL)
        return;
    r->on_done = on_stopped;
    if (dispatch_recall(d, job, r) != 0)
        free(r);
}
