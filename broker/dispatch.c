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
 * hosts.c is for; and a job that reaches a worker is on disk, but for one whose submitter waits and
 * has been told nothing: a machine that fails then has never heard of it, and drops its end. Its id
 * is not given out again, since the mark for that is synced before.
 */
#include "broker/dispatch_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core.h"
#include "schema/errors.h"
#include "schema/limits.h"

enum {
    REFUSED_PAUSE_MS = 250, /* after Redis, or the disk, said no */
    UNSERVED_SHARE = 8,
};

/* ---- the table ---- */

/* What the limits count of a job that holds a place. */
static void count_in(struct dispatch *d, struct dispatch_job *job)
{
    job->queue->unbegun[job->priority]++;
    job->queue->unbegun_favoured += job->is_favoured;
    job->queue->unbegun_plain += job->is_plain;
    if (job->key != NULL)
        lanes_key_take(&d->lanes, job->key, 1);
    if (job->policy != NULL)
        lanes_policy_take(job->policy, 1);
}

void dispatch_on_room(void *dispatch, struct queue *q)
{
    dispatch_mark(dispatch, q);
}

static void count_begun(const struct dispatch_job *job)
{
    job->queue->unbegun[job->priority]--;
    job->queue->unbegun_favoured -= job->is_favoured;
    job->queue->unbegun_plain -= job->is_plain;
}

static void count_out(struct dispatch *d, struct dispatch_job *job)
{
    if (!job->has_begun)
        count_begun(job);
    if (job->key != NULL)
        lanes_key_give(&d->lanes, job->key, 1);
    if (job->policy != NULL)
        lanes_policy_give(job->policy, 1, d, dispatch_on_room);
}

struct dispatch_job *dispatch_job_new(struct dispatch *d, const struct dispatch_facts *facts,
                                      struct span frame)
{
    struct dispatch_job *job = calloc(1, sizeof(*job) + frame.len);
    struct queue *q = facts->queue;

    if (job == NULL)
        return NULL;
    if (hash_insert(&d->by_id, &job->by_id, hash_of_u64(facts->id)) < 0) {
        free(job);
        return NULL;
    }
    job->queue = q;
    job->id = facts->id;
    job->attempt = facts->attempt;
    job->priority = facts->priority;
    job->key = facts->key;
    job->policy = facts->policy;
    job->is_favoured = facts->is_favoured;
    job->is_plain = facts->key != NULL && facts->key->credit == 0;
    job->frame_len = frame.len;
    memcpy(job->frame, frame.data, frame.len);
    list_push_back(&q->jobs, &job->in_queue);
    list_init(&job->in_batch);
    q->window.used++;
    q->used_bytes += frame.len;
    d->jobs++;
    d->bytes += frame.len;
    count_in(d, job);
    return job;
}

void dispatch_job_free(struct dispatch_job *job)
{
    free(job->progress);
    free(job);
}

/* Gives the place back. The bytes of a job whose push is unanswered belong to the carrier until
 * then. */
void dispatch_job_remove(struct dispatch *d, struct dispatch_job *job)
{
    struct queue *q = job->queue;

    count_out(d, job);
    hash_remove(&d->by_id, &job->by_id);
    list_remove(&job->in_queue);
    q->window.used--;
    q->used_bytes -= job->frame_len;
    d->jobs--;
    d->bytes -= job->frame_len;
    dispatch_mark(d, q);
    dispatch_wake_short(d);
    if (job->place == DISPATCH_PUSHING) {
        job->place = DISPATCH_GONE;
        return;
    }
    list_remove(&job->in_batch);
    dispatch_job_free(job);
}

/* After a person's retry an older attempt, which is_over, may still hold its place. */
struct dispatch_job *dispatch_find(const struct dispatch *d, uint64_t id)
{
    struct hash_node *node = hash_find(&d->by_id, hash_of_u64(id));
    struct dispatch_job *newest = NULL;

    for (; node != NULL; node = hash_find_next(node)) {
        struct dispatch_job *job = JM_CONTAINER_OF(node, struct dispatch_job, by_id);

        if (job->id == id && (newest == NULL || job->attempt > newest->attempt))
            newest = job;
    }
    return newest;
}

struct dispatch_job *dispatch_find_attempt(const struct dispatch *d, uint64_t id, uint32_t attempt)
{
    struct hash_node *node = hash_find(&d->by_id, hash_of_u64(id));

    for (; node != NULL; node = hash_find_next(node)) {
        struct dispatch_job *job = JM_CONTAINER_OF(node, struct dispatch_job, by_id);

        if (job->id == id && job->attempt == attempt)
            return job;
    }
    return NULL;
}

struct progress dispatch_progress(const struct dispatch *d, uint64_t id)
{
    const struct dispatch_job *job = dispatch_find(d, id);

    return progress_copy(job != NULL ? job->progress : NULL);
}

/* What is free for several queues, as the places of a task, would else always go to the one that
 * hears of it first. */
void dispatch_mark(struct dispatch *d, struct queue *q)
{
    struct list *at = d->marked.prev;

    if (!list_is_empty(&q->marked))
        return;
    while (at != &d->marked && LIST_ENTRY(at, struct queue, marked)->served > q->served)
        at = at->prev;
    list_insert_before(at->next, &q->marked);
}

/* In the same order, and without a search for each queue's place. */
static void mark_all(struct dispatch *d)
{
    LIST_EACH(node, &d->core->queues.by_served)
    {
        struct queue *q = LIST_ENTRY(node, struct queue, in_served);

        list_remove(&q->marked);
        list_push_back(&d->marked, &q->marked);
    }
}

uint64_t dispatch_now_ms(const struct dispatch *d)
{
    return clock_mono_ms(d->core->seams.clock);
}

void dispatch_pause_until(struct dispatch *d, uint64_t *until_ms)
{
    *until_ms = dispatch_now_ms(d) + REFUSED_PAUSE_MS;
    timers_arm(d->core->seams.timers, &d->retry, *until_ms);
}

void dispatch_try_later(struct dispatch *d)
{
    timers_arm(d->core->seams.timers, &d->retry, dispatch_now_ms(d) + REFUSED_PAUSE_MS);
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
    list_init(&d->short_of_room);
    timer_init(&d->retry, on_retry);
    buf_init(&d->scratch, JM_FRAME_BYTES);
    lanes_init(&d->lanes);
}

void dispatch_done(struct dispatch *d)
{
    LIST_EACH(node, &d->core->queues.all)
    {
        struct queue *q = queues_entry(node);
        struct list *in_queue;

        timer_disarm(&q->tokens);
        while ((in_queue = list_pop_front(&q->jobs)) != NULL) {
            struct dispatch_job *job = LIST_ENTRY(in_queue, struct dispatch_job, in_queue);

            count_out(d, job);
            dispatch_job_free(job);
        }
    }
    lanes_done(&d->lanes);
    hash_done(&d->by_id);
    buf_done(&d->scratch);
}

/* ---- places ---- */

static bool can_send(const struct dispatch *d)
{
    return d->is_link_up && dispatch_now_ms(d) >= d->refused_until_ms;
}

/* What all queues may have out together. A queue that nobody serves may use only an eighth of it,
 * so that what waits there for a worker leaves the others their room. */
static size_t share_of(const struct queue *q, size_t limit)
{
    return q->window.slots == 0 ? limit / UNSERVED_SHARE : limit;
}

static size_t left_of(size_t limit, size_t used)
{
    return used < limit ? limit - used : 0;
}

/* A queue that is served and has nothing out always has one place: others cannot stop it. */
static bool has_own_place(const struct queue *q)
{
    return q->window.slots > 0 && q->window.used == 0 && !q->is_taking;
}

size_t dispatch_jobs_room(const struct dispatch *d, const struct queue *q)
{
    size_t room = window_room(&q->window);
    size_t all = left_of(share_of(q, JM_WINDOW_JOBS), d->jobs + d->taking_jobs);

    if (all == 0 && has_own_place(q))
        all = 1;
    return room < all ? room : all;
}

size_t dispatch_bytes_room(const struct dispatch *d, const struct queue *q)
{
    size_t all = left_of(share_of(q, JM_WINDOW_BYTES), d->bytes + d->taking_bytes);

    return all == 0 && has_own_place(q) ? 1 : all;
}

void dispatch_wake_short(struct dispatch *d)
{
    struct list *node;

    while ((node = list_pop_front(&d->short_of_room)) != NULL)
        dispatch_mark(d, LIST_ENTRY(node, struct queue, waiting));
}

bool dispatch_has_backlog(const struct queue *q)
{
    return q->counts.by_state[JOB_QUEUED] > 0;
}

/* ---- limits ---- */

static void set_now(struct dispatch *d)
{
    d->lanes.now_us = clock_mono_ns(d->core->seams.clock) / 1000;
}

size_t dispatch_limit_room(struct dispatch *d, struct queue *q)
{
    const struct queue_conf *conf = &q->conf;
    size_t room = SIZE_MAX;

    if (conf->is_paused)
        return 0;
    if (conf->concurrency > 0)
        room = left_of(conf->concurrency, q->window.used + q->taking_jobs);
    if (conf->rate.limit > 0) {
        size_t tokens = (size_t)bucket_room(&q->bucket, &conf->rate, d->lanes.now_us);

        room = tokens < room ? tokens : room;
    }
    return room;
}

static bool is_limited(const struct dispatch_job *job)
{
    return job->queue->conf.concurrency > 0 ||
           (job->key != NULL && lanes_key_room(job->key) != SIZE_MAX) ||
           lanes_policy_room(job->policy) != SIZE_MAX;
}

/* Others that wait for the task, in whatever queue, go before it. */
static bool is_admitted_by_task(const struct task_policy *p)
{
    return p == NULL || (lanes_policy_room(p) > 0 && list_is_empty(&p->rests));
}

/* A job that would need a token of a bucket waits for it in the backlog. */
static bool is_admitted(struct dispatch *d, struct queue *q, const struct dispatch_facts *facts)
{
    const struct queue_conf *conf = &q->conf;

    if (conf->is_paused || conf->rate.limit > 0 ||
        (conf->key_rate.limit > 0 && facts->key->name_len > 0))
        return false;
    return dispatch_limit_room(d, q) > 0 && lanes_key_room(facts->key) > 0 &&
           is_admitted_by_task(facts->policy);
}

uint32_t dispatch_highest_unbegun(const struct queue *q)
{
    uint32_t priority = JM_PRIORITY_MAX;

    while (priority > 0 && q->unbegun[priority] == 0)
        priority--;
    return priority;
}

void dispatch_note_begun(struct dispatch *d, struct dispatch_job *job)
{
    if (job->has_begun)
        return;
    job->has_begun = true;
    count_begun(job);
    dispatch_mark(d, job->queue); /* something urgent may go now */
}

int dispatch_note_lane(struct dispatch *d, struct queue *q, const struct store_lane_view *lane)
{
    q->take_at_ms = 0;
    return lanes_note(&d->lanes, q, lane);
}

/* The key of jobs without a limit_key is looked up once. */
static struct key *key_of(struct dispatch *d, struct queue *q, struct span name)
{
    if (name.len > 0)
        return lanes_key(&d->lanes, q, name);
    if (q->unkeyed == NULL)
        q->unkeyed = lanes_key(&d->lanes, q, name);
    return q->unkeyed;
}

/* ---- reserving ---- */

struct dispatch_job *dispatch_reserve(struct dispatch *d, struct queue *q, uint64_t id,
                                      const struct job_spec *spec)
{
    struct dispatch_facts facts = {.queue = q, .id = id, .attempt = 1, .priority = spec->priority};
    struct wire_job frame = {.node = d->core->conf.node,
                             .id = id,
                             .attempt = 1,
                             .timeout_ms = spec->timeout_ms,
                             .grace_ms = spec->grace_ms,
                             .queue = spec->queue,
                             .task = spec->task,
                             .args = spec->args};

    if (!can_send(d) || dispatch_has_backlog(q) || q->submits_queued > 0 ||
        dispatch_jobs_room(d, q) == 0 || dispatch_bytes_room(d, q) < spec->args.len ||
        dispatch_is_amid_others(d, q, spec->priority))
        return NULL;
    facts.key = key_of(d, q, spec->limit_key);
    facts.policy = lanes_policy(&d->lanes, spec->task);
    if (facts.key == NULL || !is_admitted(d, q, &facts))
        return NULL;
    buf_clear(&d->scratch);
    wire_encode_job(&d->scratch, &frame);
    if (buf_has_failed(&d->scratch))
        return NULL;
    lanes_key_spend(facts.key, 1);
    return dispatch_job_new(d, &facts, buf_span(&d->scratch)); /* place RESERVED, which is 0 */
}

void dispatch_to_outbox(struct dispatch *d, struct dispatch_job *job)
{
    job->place = DISPATCH_OUTBOX;
    list_remove(&job->in_batch);
    if (job->is_over) { /* cancelled while it was on a way that failed */
        dispatch_job_remove(d, job);
        return;
    }
    list_push_back(job->is_urgent ? &job->queue->urgent : &job->queue->outbox, &job->in_batch);
    dispatch_mark(d, job->queue);
}

/* Whether others wait in Redis, all of a lower priority. */
static bool is_before_others(const struct dispatch_job *job)
{
    uint32_t *mine = &job->queue->unbegun[job->priority], highest;

    --*mine;
    highest = dispatch_highest_unbegun(job->queue);
    ++*mine;
    return highest > 0 && highest < job->priority;
}

void dispatch_commit(struct dispatch *d, struct dispatch_job *job)
{
    assert(job->place == DISPATCH_RESERVED);
    job->is_urgent = is_before_others(job);
    dispatch_to_outbox(d, job);
}

void dispatch_release(struct dispatch *d, struct dispatch_job *job)
{
    dispatch_job_remove(d, job);
}

int dispatch_restore(struct dispatch *d, const struct job_view *view, struct span frame)
{
    struct queue *q = queues_need(&d->core->queues, view->spec.queue);
    struct dispatch_facts facts = {
        .queue = q, .id = view->id, .attempt = view->attempt, .priority = view->spec.priority};
    struct dispatch_job *job;

    if (q == NULL)
        return JM_ENOMEM;
    facts.key = key_of(d, q, view->spec.limit_key);
    facts.policy = lanes_policy(&d->lanes, view->spec.task);
    job = dispatch_job_new(d, &facts, frame);
    if (job == NULL)
        return JM_ENOMEM;
    job->place = DISPATCH_OUT;
    job->pushed_ms = dispatch_now_ms(d);
    job->is_restored = true;
    job->host = view->host;
    if (view->state == JOB_RUNNING)
        dispatch_note_begun(d, job);
    return 0;
}

void dispatch_on_link(struct dispatch *d, bool is_up)
{
    d->is_link_up = is_up;
    mark_all(d);
    if (!is_up)
        return;
    LIST_EACH(node, &d->core->queues.all)
    queues_entry(node)->wants_draw =
        queues_entry(node)->conf.is_paused && queues_entry(node)->window.used > 0;
}

bool dispatch_on_end(struct dispatch *d, uint64_t id, uint32_t attempt, uint64_t run_us)
{
    struct dispatch_job *job = dispatch_find_attempt(d, id, attempt);
    uint64_t now = dispatch_now_ms(d), out_ms;
    bool was_limited;

    if (job == NULL)
        return false;
    was_limited = is_limited(job);
    out_ms = now - job->pushed_ms;
    if (job->pushed_ms > 0 && out_ms >= run_us / 1000)
        window_on_end(&job->queue->window, out_ms - run_us / 1000, now);
    dispatch_job_remove(d, job);
    return was_limited;
}

/* ---- the turn ---- */

static void turn_queue(struct dispatch *d, struct queue *q)
{
    if (!can_send(d) || q->conf.is_paused) {
        if (dispatch_now_ms(d) >= d->returns_refused_until_ms) {
            dispatch_put_back(d, &q->urgent);
            dispatch_put_back(d, &q->outbox);
        }
        if (can_send(d))
            dispatch_draw(d, q);
        return;
    }
    dispatch_push_outbox(d, q);
    lanes_wake_rested(q, d->lanes.now_us);
    dispatch_take_if_room(d, q);
    dispatch_watch_tokens(d, q);
}

void dispatch_turn(struct dispatch *d)
{
    struct list *node;

    if (list_is_empty(&d->recalled) && list_is_empty(&d->marked))
        return;
    set_now(d);
    while (dispatch_finish_one(d))
        continue;
    while ((node = list_pop_front(&d->marked)) != NULL)
        turn_queue(d, LIST_ENTRY(node, struct queue, marked));
}
