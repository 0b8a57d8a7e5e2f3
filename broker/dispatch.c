/*
 * dispatch.c: what goes to Redis, and when.
 *
 * Everything that changes the picture (a commit, an end, a link, new counts) only *marks* a queue;
 * dispatch_turn looks at each marked queue once, at the end of the loop turn: it pushes what is in
 * its outbox in as few commands as possible, then takes from its backlog as much as the window has
 * room for.
 *
 * Order of a job that waits: committed as dispatched, then pushed. So a crash between the two
 * leaves a job that the store calls dispatched and that is nowhere, which is what the search in
 * hosts.c is for; and no job reaches a worker whose acceptance is not on disk.
 */
#include "broker/dispatch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core.h"
#include "schema/errors.h"
#include "schema/limits.h"

enum {
    BATCH_JOBS = 1000,      /* in one push, take or return */
    BATCH_BYTES = 1 << 20,  /* likewise */
    REFUSED_PAUSE_MS = 250, /* after Redis said no */
    TAKE_SHARE = 8,         /* a take waits until an eighth of the window is free */
};

/* ---- the table ---- */

static struct dispatch_job *job_new(struct dispatch *d, struct queue *q, uint64_t id,
                                    uint32_t attempt, struct span frame)
{
    struct dispatch_job *job = calloc(1, sizeof(*job) + frame.len);

    if (job == NULL)
        return NULL;
    if (hash_insert(&d->by_id, &job->by_id, hash_of_u64(id)) < 0) {
        free(job);
        return NULL;
    }
    job->queue = q;
    job->id = id;
    job->attempt = attempt;
    job->frame_len = frame.len;
    memcpy(job->frame, frame.data, frame.len);
    list_push_back(&q->jobs, &job->in_queue);
    list_init(&job->in_batch);
    q->window.used++;
    q->used_bytes += frame.len;
    d->jobs++;
    d->bytes += frame.len;
    return job;
}

/* Gives the place back. The bytes of a job whose push is unanswered belong to the carrier until
 * then. */
static void job_remove(struct dispatch *d, struct dispatch_job *job)
{
    struct queue *q = job->queue;

    hash_remove(&d->by_id, &job->by_id);
    list_remove(&job->in_queue);
    q->window.used--;
    q->used_bytes -= job->frame_len;
    d->jobs--;
    d->bytes -= job->frame_len;
    dispatch_mark(d, q);
    if (job->place == DISPATCH_PUSHING) {
        job->place = DISPATCH_GONE;
        return;
    }
    list_remove(&job->in_batch);
    free(job);
}

struct dispatch_job *dispatch_find(const struct dispatch *d, uint64_t id)
{
    struct hash_node *node = hash_find(&d->by_id, hash_of_u64(id));

    for (; node != NULL; node = hash_find_next(node)) {
        struct dispatch_job *job = JM_CONTAINER_OF(node, struct dispatch_job, by_id);

        if (job->id == id)
            return job;
    }
    return NULL;
}

void dispatch_mark(struct dispatch *d, struct queue *q)
{
    if (list_is_empty(&q->marked))
        list_push_back(&d->marked, &q->marked);
}

static void mark_all(struct dispatch *d)
{
    LIST_EACH(node, &d->core->queues.all)
    dispatch_mark(d, queues_entry(node));
}

static uint64_t now_ms(const struct dispatch *d)
{
    return clock_mono_ms(d->core->seams.clock);
}

/* Sets one of the "not before" times; the timer makes every queue be looked at again then. */
static void pause_until(struct dispatch *d, uint64_t *until_ms)
{
    *until_ms = now_ms(d) + REFUSED_PAUSE_MS;
    timers_arm(d->core->seams.timers, &d->retry, *until_ms);
}

static void on_retry(struct timer *t)
{
    mark_all(JM_CONTAINER_OF(t, struct dispatch, retry));
}

void dispatch_init(struct dispatch *d, struct core *core)
{
    *d = (struct dispatch){.core = core};
    list_init(&d->marked);
    list_init(&d->recalled);
    timer_init(&d->retry, on_retry);
    buf_init(&d->scratch, JM_FRAME_BYTES);
}

void dispatch_done(struct dispatch *d)
{
    LIST_EACH(node, &d->core->queues.all)
    {
        struct queue *q = queues_entry(node);
        struct list *in_queue;

        while ((in_queue = list_pop_front(&q->jobs)) != NULL)
            free(LIST_ENTRY(in_queue, struct dispatch_job, in_queue));
    }
    hash_done(&d->by_id);
    buf_done(&d->scratch);
}

/* ---- places ---- */

static bool can_send(const struct dispatch *d)
{
    return d->is_link_up && now_ms(d) >= d->refused_until_ms;
}

static size_t jobs_room(const struct dispatch *d, const struct queue *q)
{
    size_t room = window_room(&q->window);
    size_t all = d->jobs < JM_WINDOW_JOBS ? JM_WINDOW_JOBS - d->jobs : 0;

    return room < all ? room : all;
}

static size_t bytes_room(const struct dispatch *d)
{
    return d->bytes < JM_WINDOW_BYTES ? JM_WINDOW_BYTES - d->bytes : 0;
}

static bool has_backlog(const struct queue *q)
{
    return q->counts.by_state[JOB_QUEUED] > 0;
}

struct dispatch_job *dispatch_reserve(struct dispatch *d, struct queue *q, uint64_t id,
                                      const struct job_spec *spec)
{
    struct wire_job frame = {.node = d->core->conf.node,
                             .id = id,
                             .attempt = 1,
                             .timeout_ms = spec->timeout_ms,
                             .grace_ms = spec->grace_ms,
                             .queue = spec->queue,
                             .task = spec->task,
                             .args = spec->args};

    if (!can_send(d) || has_backlog(q) || q->submits_queued > 0 || jobs_room(d, q) == 0 ||
        bytes_room(d) < spec->args.len)
        return NULL;
    buf_clear(&d->scratch);
    wire_encode_job(&d->scratch, &frame);
    if (buf_has_failed(&d->scratch))
        return NULL;
    return job_new(d, q, id, 1, buf_span(&d->scratch)); /* place RESERVED, which is 0 */
}

static void to_outbox(struct dispatch *d, struct dispatch_job *job)
{
    job->place = DISPATCH_OUTBOX;
    list_remove(&job->in_batch);
    list_push_back(&job->queue->outbox, &job->in_batch);
    dispatch_mark(d, job->queue);
}

void dispatch_commit(struct dispatch *d, struct dispatch_job *job)
{
    assert(job->place == DISPATCH_RESERVED);
    to_outbox(d, job);
}

void dispatch_release(struct dispatch *d, struct dispatch_job *job)
{
    job_remove(d, job);
}

int dispatch_restore(struct dispatch *d, const struct job_view *view, struct span frame)
{
    struct queue *q = queues_need(&d->core->queues, view->spec.queue);
    struct dispatch_job *job;

    if (q == NULL)
        return JM_ENOMEM;
    job = job_new(d, q, view->id, view->attempt, frame);
    if (job == NULL)
        return JM_ENOMEM;
    job->place = DISPATCH_OUT;
    job->host = view->host;
    job->has_begun = view->state == JOB_RUNNING;
    return 0;
}

void dispatch_on_link(struct dispatch *d, bool is_up)
{
    d->is_link_up = is_up;
    mark_all(d);
}

void dispatch_on_end(struct dispatch *d, uint64_t id, uint32_t attempt, uint64_t run_us)
{
    struct dispatch_job *job = dispatch_find(d, id);
    uint64_t now = now_ms(d), out_ms;

    if (job == NULL || job->attempt != attempt)
        return;
    out_ms = now - job->pushed_ms;
    if (job->pushed_ms > 0 && out_ms >= run_us / 1000)
        window_on_end(&job->queue->window, out_ms - run_us / 1000, now);
    job_remove(d, job);
}

/* ---- back to the backlog ---- */

struct back {
    struct store_put_back op;
    struct dispatch *dispatch;
    struct list jobs;
    struct store_ref refs[];
};

static void on_put_back(struct store_op *op)
{
    struct back *b = JM_CONTAINER_OF(op, struct back, op.op);
    struct list *node;

    if (op->status != 0)
        pause_until(b->dispatch, &b->dispatch->returns_refused_until_ms);
    while ((node = list_pop_front(&b->jobs)) != NULL) {
        struct dispatch_job *job = LIST_ENTRY(node, struct dispatch_job, in_batch);

        if (op->status == 0)
            job_remove(b->dispatch, job);
        else
            to_outbox(b->dispatch,
                      job); /* the disk is full: they keep their places and wait here */
    }
    free(b);
}

/* Takes up to BATCH_JOBS of `jobs`, all surely not in Redis. Without memory they stay where they
 * are, and the next turn tries again. */
static bool put_back_some(struct dispatch *d, struct list *jobs)
{
    struct back *b = calloc(1, sizeof(*b) + BATCH_JOBS * sizeof(struct store_ref));

    if (b == NULL)
        return false;
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

static void put_back(struct dispatch *d, struct list *jobs)
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
            free(job);
        else if (is_sent)
            job->place = DISPATCH_OUT;
        else
            to_outbox(p->dispatch,
                      job); /* dispatch_turn takes it from there to the backlog, in order */
    }
}

static void on_pushed(struct carrier_req *req)
{
    struct push *p = JM_CONTAINER_OF(req, struct push, req);
    struct dispatch *d = p->dispatch;

    switch (req->status) {
    case 0:
        d->stats.pushed += req->value_count;
        if ((size_t)req->number <= req->value_count && has_backlog(p->queue))
            window_on_starved(&p->queue->window);
        settle_push(p, true);
        break;
    case JM_EUNKNOWN:
        d->stats.unknown_pushes += req->value_count;
        settle_push(p, true);
        break;
    default: /* refused, or never sent */
        d->stats.refused += req->value_count;
        pause_until(d, &d->refused_until_ms);
        settle_push(p, false);
        break;
    }
    dispatch_mark(d, p->queue);
    free(p);
}

static bool push_some(struct dispatch *d, struct queue *q)
{
    struct push *p = calloc(1, sizeof(*p) + BATCH_JOBS * sizeof(struct span));
    size_t bytes = 0;

    if (p == NULL)
        return false;
    list_init(&p->jobs);
    while (!list_is_empty(&q->outbox) && p->req.value_count < BATCH_JOBS && bytes < BATCH_BYTES) {
        struct dispatch_job *job =
            LIST_ENTRY(list_pop_front(&q->outbox), struct dispatch_job, in_batch);

        job->place = DISPATCH_PUSHING;
        job->pushed_ms = now_ms(d);
        list_push_back(&p->jobs, &job->in_batch);
        p->values[p->req.value_count++] = span_of(job->frame, job->frame_len);
        bytes += job->frame_len;
    }
    p->dispatch = d;
    p->queue = q;
    p->req.verb = CARRIER_PUSH;
    memcpy(p->req.key, q->key, sizeof(p->req.key));
    p->req.values = p->values;
    p->req.on_done = on_pushed;
    list_init(&p->req.link);
    carrier_send(d->core->seams.carrier, &p->req);
    return true;
}

/* ---- take from the backlog ---- */

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
    if (op->status != 0) {
        pause_until(d, &d->refused_until_ms);
        take_free(t);
        return;
    }
    for (i = 0; i < t->op.ret_count; i++) {
        struct span frame = span_of(t->frames.data + t->jobs[i].offset, t->jobs[i].len);
        struct dispatch_job *job = job_new(d, t->queue, t->jobs[i].id, t->jobs[i].attempt, frame);

        if (job == NULL)
            break;
        to_outbox(d, job);
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
    runner_submit(d->core->seams.runner, &t->op.op);
}

/* Waits until a good part of the window is free, so that takes come in batches. */
static void take_if_room(struct dispatch *d, struct queue *q)
{
    size_t jobs = jobs_room(d, q), bytes = bytes_room(d);

    if (q->is_taking || !has_backlog(q) || jobs == 0 || bytes == 0)
        return;
    if (q->window.used > 0 && jobs < q->window.limit / TAKE_SHARE &&
        jobs < (size_t)q->counts.by_state[JOB_QUEUED])
        return;
    take_some(d, q, jobs, bytes);
}

/* ---- recall ---- */

static void finish_recall(struct dispatch_recall *r)
{
    struct dispatch *d = r->dispatch;
    struct dispatch_job *job = dispatch_find(d, r->id);

    if (r->number == 1) {
        d->stats.recalled++;
        if (job != NULL && job->attempt == r->attempt)
            job_remove(d, job);
    }
    free((void *)(uintptr_t)r->value.data);
    r->value = (struct span){0};
    r->on_done(r);
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
        job_remove(r->dispatch, job);
    else
        dispatch_mark(r->dispatch,
                      job->queue); /* RETURNING: the store passes it over, on_put_back frees it */
}

int dispatch_recall(struct dispatch *d, struct dispatch_job *job, struct dispatch_recall *r)
{
    uint8_t *copy = malloc(job->frame_len);

    if (copy == NULL)
        return JM_ENOMEM;
    memcpy(copy, job->frame, job->frame_len);
    job->is_over = true;
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

static void on_stopped(struct dispatch_recall *r)
{
    struct dispatch_job *job = dispatch_find(r->dispatch, r->id);

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

/* ---- the turn ---- */

static void turn_queue(struct dispatch *d, struct queue *q)
{
    if (!can_send(d)) {
        if (now_ms(d) >= d->returns_refused_until_ms)
            put_back(d, &q->outbox);
        return;
    }
    while (!list_is_empty(&q->outbox) && push_some(d, q))
        continue;
    take_if_room(d, q);
}

void dispatch_turn(struct dispatch *d)
{
    struct list *node;

    while ((node = list_pop_front(&d->recalled)) != NULL)
        finish_recall(LIST_ENTRY(node, struct dispatch_recall, link));
    while ((node = list_pop_front(&d->marked)) != NULL)
        turn_queue(d, LIST_ENTRY(node, struct queue, marked));
}
