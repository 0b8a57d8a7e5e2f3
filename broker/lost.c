#include "broker/lost.h"

#include <stdlib.h>
#include <string.h>

#include "broker/core.h"
#include "lib/crash.h"
#include "lib/mp.h"
#include "schema/errors.h"

enum {
    FRESH_POLLS = 3,    /* a beat vouches for its jobs that long, then its host is silent */
    FIRST_POLLS = 2,    /* after a new count, so that hosts can show themselves */
    VERDICT_JOBS = 256, /* in one operation */
    SEARCH_GAP = 8,     /* polls between two looks for a job that waits long in its list, at most */
};

static bool is_fresh(const struct hosts *hs, const struct host *h)
{
    return h->beat_poll[0] + FRESH_POLLS > hs->poll;
}

/* A host runs what this broker does not know to be out: a job that was cancelled before the broker
 * was started again, or deleted. (One that has only just ended is named for a beat or so, and one
 * that was given up as lost may still succeed.) */
static void stop_if_ended(struct hosts *hs, const struct host *h, const struct wire_held *held)
{
    struct job_view job;
    int status;

    if (h->beat_poll[0] != hs->poll || !held->has_begun ||
        held->run_ms < 2 * hs->core->conf.heartbeat_ms)
        return;
    status = reader_get(hs->core->reader, held->id, false, &job);
    if (status == JM_ENOJOB || (status == 0 && job_state_is_terminal(job.state)))
        hosts_order_kill(hs, h->id, held->id, held->attempt);
}

static void note_held(struct hosts *hs, struct host *h, const struct wire_held *held)
{
    struct dispatch *d = &hs->core->dispatch;
    struct dispatch_job *job = dispatch_find_attempt(d, held->id, held->attempt);

    if (job == NULL && dispatch_find(d, held->id) == NULL)
        stop_if_ended(hs, h, held);
    if (job == NULL)
        return;
    job->named_poll = hs->poll;
    job->host = h->id;
    if (held->has_begun)
        dispatch_note_begun(&hs->core->dispatch, job);
    job->run_ms = held->run_ms;
    progress_keep(&job->progress, held);
    job->left_poll = 0;
    job->read_mark = 0;
    if (job->is_over && h->beat_poll[0] == hs->poll)
        hosts_order_kill(hs, h->id, held->id, held->attempt);
}

void lost_note_beat(struct hosts *hs, struct host *h)
{
    struct mp_cursor c;
    struct wire_held held;

    if (!is_fresh(hs, h))
        return;
    wire_open_list(h->beat.held, &c);
    while (wire_next_held(&c, &held))
        if (held.node == hs->core->conf.node)
            note_held(hs, h, &held);
}

void lost_forget_counts(struct hosts *hs)
{
    LIST_EACH(node, &hs->core->queues.all)
    {
        LIST_EACH(in_queue, &queues_entry(node)->jobs)
        {
            struct dispatch_job *job = LIST_ENTRY(in_queue, struct dispatch_job, in_queue);

            job->left_poll = 0;
            job->read_mark = 0;
            job->search_gap = 0;
        }
    }
}

/* Out for longer than a beat, and in no fresh beat: where is it? */
static bool is_unvouched(const struct hosts *hs, const struct dispatch_job *job, uint64_t now_ms)
{
    return job->place == DISPATCH_OUT && !job->is_judged && job->named_poll != hs->poll &&
           hs->poll >= job->seen_poll + job->search_gap &&
           (job->is_restored || now_ms - job->pushed_ms >= hs->core->conf.heartbeat_ms);
}

/* ---- step 1: has it left its list? ---- */

struct search {
    struct carrier_req req;
    struct hosts *hosts;
    struct queue *queue;
    uint64_t poll;
};

static void mark_found(struct search *s, const struct span *items, size_t n)
{
    struct wire_job frame;

    for (size_t i = 0; i < n; i++) {
        struct dispatch_job *job;

        if (wire_decode_job(items[i], &frame) != 0)
            continue;
        job = dispatch_find_attempt(&s->hosts->core->dispatch, frame.id, frame.attempt);
        if (job == NULL)
            continue;
        job->seen_poll = s->poll;
        job->search_gap = job->search_gap * 2 < SEARCH_GAP ? job->search_gap * 2 + 1 : SEARCH_GAP;
        if (job->is_over)
            dispatch_stop(&s->hosts->core->dispatch, job); /* its recall had been cut off */
    }
}

static void on_searched(struct carrier_req *req)
{
    struct search *s = JM_CONTAINER_OF(req, struct search, req);
    bool counts = req->status == 0 && s->poll >= s->hosts->since_poll;

    if (counts)
        mark_found(s, req->items, req->item_count);
    LIST_EACH(node, &s->queue->jobs)
    {
        struct dispatch_job *job = LIST_ENTRY(node, struct dispatch_job, in_queue);

        if (counts && job->asked_poll == s->poll && job->seen_poll != s->poll &&
            job->named_poll < s->poll)
            job->left_poll = s->hosts->poll;
    }
    free(s);
}

static void search_queue(struct hosts *hs, struct queue *q)
{
    struct search *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return;
    s->hosts = hs;
    s->queue = q;
    s->poll = hs->poll;
    s->req =
        (struct carrier_req){.verb = CARRIER_READ, .first = 0, .last = -1, .on_done = on_searched};
    memcpy(s->req.key, q->key, sizeof(q->key));
    list_init(&s->req.link);
    carrier_send(hs->core->seams.carrier, &s->req);
}

void lost_search(struct hosts *hs)
{
    uint64_t now_ms = clock_mono_ms(hs->core->seams.clock);

    LIST_EACH(node, &hs->core->queues.all)
    {
        struct queue *q = queues_entry(node);
        bool is_needed = false;

        LIST_EACH(in_queue, &q->jobs)
        {
            struct dispatch_job *job = LIST_ENTRY(in_queue, struct dispatch_job, in_queue);

            if (job->left_poll != 0 || !is_unvouched(hs, job, now_ms))
                continue;
            job->asked_poll = hs->poll;
            is_needed = true;
        }
        if (is_needed)
            search_queue(hs, q);
    }
}

/* ---- steps 2 and 3 ---- */

static bool has_every_host_beaten_twice(const struct hosts *hs, uint64_t since_poll)
{
    LIST_EACH(node, &hs->all)
    if (hosts_entry(node)->beat_poll[1] <= since_poll)
        return false;
    return hs->poll > since_poll + 1 && hs->poll >= hs->since_poll + FIRST_POLLS;
}

struct verdict {
    struct store_apply op;
    struct hosts *hosts;
    struct store_event events[VERDICT_JOBS];
};

static void on_verdict(struct store_op *op)
{
    struct verdict *v = JM_CONTAINER_OF(op, struct verdict, op.op);
    struct core *core = v->hosts->core;

    CRASH_POINT("verdict-back");
    if (op->status == 0) {
        results_follow(core, v->events, v->op.event_count);
    } else {
        for (size_t i = 0; i < v->op.event_count; i++) {
            const struct wire_event *event = &v->events[i].event;
            struct dispatch_job *job =
                dispatch_find_attempt(&core->dispatch, event->id, event->attempt);

            if (job != NULL)
                job->is_judged = false; /* the store refused: judged again */
        }
    }
    free(v);
}

static void speak(struct verdict *v)
{
    v->op.events = v->events;
    v->op.op = (struct store_op){.kind = STORE_APPLY,
                                 .on_done = on_verdict,
                                 .wants_sync = true,
                                 .bytes = 128 * v->op.event_count};
    list_init(&v->op.op.link);
    runner_submit(v->hosts->core->seams.runner, &v->op.op);
}

/* The death of a host is charged to what it ran; a result that an emptied Redis took away is
 * nobody's fault. A job that no beat ever named was claimed, and not held for a second: if a host
 * died meanwhile it may well have died of this job, and one that kills its host at once would else
 * be sent for ever. */
static bool is_charged(const struct hosts *hs, const struct dispatch_job *job)
{
    if (job->host != 0)
        return job->has_begun && hosts_find(hs, job->host) == NULL;
    return hs->died_ms != 0 && hs->died_ms >= job->pushed_ms;
}

static void add_loss(struct verdict *v, struct dispatch_job *job)
{
    struct hosts *hs = v->hosts;
    bool charges = is_charged(hs, job);

    job->is_judged = true;
    v->events[v->op.event_count++] = (struct store_event){.source = STORE_LOST,
                                                          .event = {.id = job->id,
                                                                    .attempt = job->attempt,
                                                                    .host = job->host,
                                                                    .has_begun = charges,
                                                                    .run_us = job->run_ms * 1000}};
    if (charges)
        hs->stats.lost_charged++;
    else
        hs->stats.lost_free++;
}

static bool is_lost(struct hosts *hs, struct dispatch_job *job)
{
    if (job->place != DISPATCH_OUT || job->is_judged || job->left_poll == 0 ||
        !has_every_host_beaten_twice(hs, job->left_poll))
        return false;
    if (job->read_mark == 0)
        job->read_mark = results_mark(&hs->core->results);
    if (results_has_read(&hs->core->results, job->read_mark))
        return true;
    hs->awaits_read = true;
    return false;
}

static void judge_queue(struct hosts *hs, struct queue *q, struct verdict **v)
{
    LIST_EACH_SAFE(node, &q->jobs)
    {
        struct dispatch_job *job = LIST_ENTRY(node, struct dispatch_job, in_queue);

        if (!is_lost(hs, job))
            continue;
        if (job->is_over) {
            dispatch_release(&hs->core->dispatch, job);
            continue;
        }
        if (*v == NULL)
            *v = calloc(1, sizeof(**v));
        if (*v == NULL)
            return; /* the next poll tries again */
        (*v)->hosts = hs;
        add_loss(*v, job);
        if ((*v)->op.event_count == VERDICT_JOBS) {
            speak(*v);
            *v = NULL;
        }
    }
}

void lost_judge(struct hosts *hs)
{
    struct verdict *v = NULL;

    hs->awaits_read = false;
    LIST_EACH(node, &hs->core->queues.all)
    judge_queue(hs, queues_entry(node), &v);
    if (v != NULL)
        speak(v);
}
