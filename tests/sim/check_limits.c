/*
 * check_limits.c: after every step, what the database calls dispatched or running against the
 * limits that are in force: of queues, of keys, of tasks over all queues, and the rates of both
 * kinds. A limit that was lowered counts from the first moment at which it is kept and nothing of
 * an earlier decision is under way. A rate is checked with a bucket of our own, which is full again
 * after each crash and change. And of a paused queue nothing lies in Redis once it has been drawn
 * empty.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/check.h"

enum {
    SLACK = 2, /* tokens: a commit comes a little after the decision that it belongs to */
    WINDOW_KEEP_MS = 2000,
};

struct tokens {
    double level;
    uint64_t at_ns;
};

struct seen_out {
    uint64_t id;
    uint32_t attempt;
    size_t queue;
    size_t key;
    bool is_out;
    bool was_out;
    bool is_claimed;
};

/* The highest of the last while. */
struct peak {
    uint32_t value;
    uint64_t at_ns;
};

/* What is out of a queue and has not begun. */
struct waits {
    uint32_t of[JM_PRIORITY_MAX + 1]; /* but the favoured ones */
    uint32_t favoured;
    uint32_t highest; /* priority of all these; 0: there are none */
};

struct seen_window {
    struct peak limit;
    struct peak slots;
    uint32_t used; /* at the last step */
    struct waits waits;
};

struct sim_check_limits {
    unsigned crashes;
    struct queue_conf confs[SIM_QUEUES]; /* in force at the last step */
    bool is_settled[SIM_QUEUES];
    bool is_rate_settled[SIM_QUEUES];
    uint32_t task_limits[SIM_TASKS];
    bool is_task_settled[SIM_TASKS];
    struct tokens rates[SIM_QUEUES][SIM_KEYS + 1]; /* the last is the queue's own */

    /* counted anew at each step */
    uint32_t out[SIM_QUEUES];
    uint32_t of_key[SIM_QUEUES][SIM_KEYS];
    uint32_t of_task[SIM_TASKS];
    struct seen_out *jobs;
    size_t job_count;
    size_t job_room;
    struct sim_index jobs_by_id;

    struct seen_window windows[SIM_QUEUES];
    unsigned window_crashes;
};

void sim_check_limits_init(struct sim *s)
{
    s->check_limits = calloc(1, sizeof(*s->check_limits));
    assert(s->check_limits != NULL);
}

void sim_check_limits_done(struct sim *s)
{
    free(s->check_limits->jobs);
    sim_index_done(&s->check_limits->jobs_by_id);
    free(s->check_limits);
    s->check_limits = NULL;
}

static size_t index_of(const char *const *names, size_t count, const unsigned char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], (const char *)name) == 0)
            return i;
    abort();
}

/* ---- rates ---- */

static void refill(struct tokens *t, const struct conf_rate *rate, uint64_t now_ns)
{
    double passed_ms = (double)(now_ns - t->at_ns) / 1e6;

    t->at_ns = now_ns;
    if (rate->limit == 0)
        return;
    t->level += passed_ms * (double)rate->limit / (double)rate->period_ms;
    if (t->level > (double)rate->limit)
        t->level = (double)rate->limit;
}

static void fill_up(struct sim_check_limits *c, size_t q)
{
    for (size_t k = 0; k <= SIM_KEYS; k++)
        c->rates[q][k].level =
            (double)(k < SIM_KEYS ? c->confs[q].key_rate : c->confs[q].rate).limit;
}

static void give_back(struct sim_check_limits *c, size_t q, size_t key)
{
    c->rates[q][key].level += 1;
    c->rates[q][SIM_KEYS].level += 1;
}

static void spend(struct sim *s, size_t q, size_t key)
{
    struct sim_check_limits *c = s->check_limits;

    c->rates[q][key].level -= 1;
    c->rates[q][SIM_KEYS].level -= 1;
    sim_trace(s, "a token of queue %s, key %zu; it has %.2f, of %llu in %llu ms", sim_queues[q],
              key, c->rates[q][SIM_KEYS].level, (unsigned long long)c->confs[q].rate.limit,
              (unsigned long long)c->confs[q].rate.period_ms);
    if (!c->is_rate_settled[q])
        return;
    if (c->confs[q].rate.limit > 0 && c->rates[q][SIM_KEYS].level < -SLACK)
        sim_fail(s, "queue %s has more than its rate of %llu in %llu ms", sim_queues[q],
                 (unsigned long long)c->confs[q].rate.limit,
                 (unsigned long long)c->confs[q].rate.period_ms);
    if (key > 0 && c->confs[q].key_rate.limit > 0 && c->rates[q][key].level < -SLACK)
        sim_fail(s, "key %s of queue %s has more than its rate of %llu in %llu ms", sim_keys[key],
                 sim_queues[q], (unsigned long long)c->confs[q].key_rate.limit,
                 (unsigned long long)c->confs[q].key_rate.period_ms);
}

/* ---- counting ---- */

static struct seen_out *seen_of(struct sim_check_limits *c, uint64_t id, uint32_t attempt)
{
    size_t i = sim_index_find(&c->jobs_by_id, id);

    while (i != SIM_INDEX_NONE && c->jobs[i].attempt != attempt)
        i = sim_index_find_older(&c->jobs_by_id, i);
    if (i != SIM_INDEX_NONE)
        return &c->jobs[i];
    if (c->job_count == c->job_room) {
        c->job_room = c->job_room * 2 + 64;
        c->jobs = realloc(c->jobs, c->job_room * sizeof(*c->jobs));
        assert(c->jobs != NULL);
    }
    sim_index_add(&c->jobs_by_id, id);
    c->jobs[c->job_count] = (struct seen_out){.id = id, .attempt = attempt};
    return &c->jobs[c->job_count++];
}

void sim_limits_count(struct sim *s, sqlite3_stmt *live)
{
    struct sim_check_limits *c = s->check_limits;
    int state = sqlite3_column_int(live, 2);
    struct seen_out *seen;
    size_t q, task, key;

    if (c == NULL || state == JOB_SCHEDULED)
        return;
    seen =
        seen_of(c, (uint64_t)sqlite3_column_int64(live, 0), (uint32_t)sqlite3_column_int(live, 1));
    q = index_of(sim_queues, SIM_QUEUES, sqlite3_column_text(live, 5));
    task = index_of(sim_tasks, SIM_TASKS, sqlite3_column_text(live, 6));
    key = index_of(sim_keys, SIM_KEYS, sqlite3_column_text(live, 7));
    seen->queue = q;
    seen->key = key;
    if (state == JOB_QUEUED) {
        if (seen->was_out) /* the same attempt is back, and its tokens with it */
            give_back(c, q, key);
        seen->is_claimed = false;
        return;
    }
    c->out[q]++;
    c->of_key[q][key]++;
    c->of_task[task]++;
    seen->is_out = true;
    if (!seen->was_out)
        spend(s, q, key);
}

void sim_limits_claimed(struct sim *s, uint64_t id, uint32_t attempt)
{
    if (s->check_limits != NULL)
        seen_of(s->check_limits, id, attempt)->is_claimed = true;
}

void sim_limits_left(struct sim *s, uint64_t id, uint32_t attempt)
{
    struct sim_check_limits *c = s->check_limits;
    const struct seen_out *seen = c != NULL ? seen_of(c, id, attempt) : NULL;

    if (seen != NULL && seen->was_out && !seen->is_claimed)
        give_back(c, seen->queue, seen->key);
}

static void begin_count(struct sim_check_limits *c)
{
    memset(c->out, 0, sizeof(c->out));
    memset(c->of_key, 0, sizeof(c->of_key));
    memset(c->of_task, 0, sizeof(c->of_task));
    for (size_t i = 0; i < c->job_count; i++) {
        c->jobs[i].was_out = c->jobs[i].is_out;
        c->jobs[i].is_out = false;
    }
}

/* ---- limits ---- */

/* Whether a decision by an earlier setting may still be under way. */
static bool is_deciding(const struct queue *q)
{
    if (q->is_taking)
        return true;
    LIST_EACH(node, &q->jobs)
    if (LIST_ENTRY(node, struct dispatch_job, in_queue)->place == DISPATCH_RESERVED)
        return true;
    return false;
}

static uint32_t most_of_a_key(const struct sim_check_limits *c, size_t q)
{
    uint32_t most = 0;

    for (size_t k = 1; k < SIM_KEYS; k++)
        most = c->of_key[q][k] > most ? c->of_key[q][k] : most;
    return most;
}

static void check_queue(struct sim *s, size_t i, const struct queue *q)
{
    struct sim_check_limits *c = s->check_limits;
    const struct queue_conf *conf = &q->conf;
    bool is_kept = (conf->concurrency == 0 || c->out[i] <= conf->concurrency) &&
                   (conf->key_concurrency == 0 || most_of_a_key(c, i) <= conf->key_concurrency);

    if (c->is_settled[i] && !is_kept)
        sim_fail(s, "queue %s has %u jobs out, with up to %u of a key; its limits are %u and %u",
                 sim_queues[i], c->out[i], most_of_a_key(c, i), conf->concurrency,
                 conf->key_concurrency);
    c->is_settled[i] = c->is_settled[i] || (is_kept && !is_deciding(q));
}

static void check_task(struct sim *s, size_t i)
{
    struct sim_check_limits *c = s->check_limits;
    bool is_kept = c->task_limits[i] == 0 || c->of_task[i] <= c->task_limits[i];

    if (c->is_task_settled[i] && !is_kept)
        sim_fail(s, "task %s has %u jobs out; its limit is %u", sim_tasks[i], c->of_task[i],
                 c->task_limits[i]);
    if (c->is_task_settled[i] || !is_kept)
        return;
    LIST_EACH(node, &s->core->queues.all)
    if (is_deciding(queues_entry(node)))
        return;
    c->is_task_settled[i] = true;
}

static bool is_pushing(const struct queue *q)
{
    LIST_EACH(node, &q->jobs)
    if (LIST_ENTRY(node, struct dispatch_job, in_queue)->place == DISPATCH_PUSHING)
        return true;
    return false;
}

static void check_pause(struct sim *s, const struct queue *q)
{
    if (!q->conf.is_paused || q->wants_draw || q->is_drawing || is_pushing(q) ||
        !s->core->dispatch.is_link_up || s->redis.has_pushed_late)
        return;
    LIST_EACH(node, &sim_redis_key(s, q->key)->blobs)
    {
        const struct sim_blob *blob = LIST_ENTRY(node, struct sim_blob, link);
        struct dispatch_job *job;
        struct wire_job frame;

        if (wire_decode_job(span_of(blob->bytes, blob->len), &frame) != 0)
            continue;
        job = dispatch_find(&s->core->dispatch, frame.id);
        if (job != NULL && job->attempt == frame.attempt && !job->is_over)
            sim_fail(s, "queue %.*s is paused, and job %llu is in Redis", (int)q->name.len,
                     (const char *)q->name.data, (unsigned long long)job->id);
    }
}

/* ---- the window ---- */

static uint32_t peak(const struct sim *s, struct peak *p, uint32_t value)
{
    if (value >= p->value || s->now_ns - p->at_ns > WINDOW_KEEP_MS * SIM_MS)
        *p = (struct peak){.value = value, .at_ns = s->now_ns};
    return p->value;
}

static uint32_t limit_of(const struct window *w)
{
    return w->slots == 0 && w->limit > WINDOW_UNSERVED_JOBS ? WINDOW_UNSERVED_JOBS : w->limit;
}

static struct waits waits_of(const struct queue *q)
{
    struct waits waits = {.favoured = 0};

    LIST_EACH(node, &q->jobs)
    {
        const struct dispatch_job *job = LIST_ENTRY(node, struct dispatch_job, in_queue);

        if (job->has_begun)
            continue;
        if (job->is_favoured)
            waits.favoured++;
        else
            waits.of[job->priority]++;
        if (job->priority > waits.highest)
            waits.highest = job->priority;
    }
    return waits;
}

/* What may go although the window is full, be it ever so much too full (dispatch_take.c): jobs
 * above all that waits, as many as there are slots, so that each such take needs a higher priority
 * than the one before; and favoured ones, as long as few of them wait. */
static bool may_go_beyond(const struct waits *before, const struct waits *now, uint32_t slots)
{
    uint32_t above = 0;

    for (uint32_t priority = JM_PRIORITY_MIN; priority <= JM_PRIORITY_MAX; priority++)
        if (priority > before->highest)
            above += now->of[priority];
        else if (now->of[priority] > before->of[priority])
            return false;
    return above <= slots && now->favoured <= slots * WINDOW_FLOOR_PER_SLOT;
}

/* More go out than the window allows only if that has shrunk since a short while, or was read at a
 * start: what is on its way from the store was decided before. */
static void check_window(struct sim *s, size_t i, const struct queue *q)
{
    struct sim_check_limits *c = s->check_limits;
    struct seen_window *w = &c->windows[i];
    uint32_t limit = peak(s, &w->limit, limit_of(&q->window));
    uint32_t slots = peak(s, &w->slots, q->window.slots);
    struct waits now = waits_of(q);

    if (c->window_crashes == s->crashes && q->window.used > w->used && q->window.used > limit &&
        !may_go_beyond(&w->waits, &now, slots))
        sim_fail(s, "queue %s has %u jobs out, and its window is %u", sim_queues[i], q->window.used,
                 q->window.limit);
    w->used = q->window.used;
    w->waits = now;
    if (i == SIM_QUEUES - 1)
        c->window_crashes = s->crashes;
}

/* What lies in Redis and still counts has its place in the window. */
static void check_redis(struct sim *s)
{
    const struct dispatch *d = &s->core->dispatch;

    if (d->bytes > JM_WINDOW_BYTES || d->jobs > JM_WINDOW_JOBS)
        sim_fail(s, "%zu jobs of %zu bytes are out, which is more than the window", d->jobs,
                 d->bytes);
}

/* ---- what is in force ---- */

static void note_queue(struct sim *s, size_t i, const struct queue *q)
{
    struct sim_check_limits *c = s->check_limits;

    for (size_t k = 0; k <= SIM_KEYS; k++)
        refill(&c->rates[i][k], k < SIM_KEYS ? &c->confs[i].key_rate : &c->confs[i].rate,
               s->now_ns);
    if (memcmp(&c->confs[i], &q->conf, sizeof(q->conf)) != 0 || c->crashes != s->crashes) {
        c->confs[i] = q->conf;
        c->is_settled[i] = false;
        c->is_rate_settled[i] = false;
    }
    if (!c->is_rate_settled[i])
        fill_up(c, i);
    c->is_rate_settled[i] = c->is_rate_settled[i] || !is_deciding(q);
}

static void note_task(struct sim *s, size_t i)
{
    struct sim_check_limits *c = s->check_limits;
    const struct task_policy *p = lanes_policy(&s->core->dispatch.lanes, span_of_str(sim_tasks[i]));
    uint32_t limit = p != NULL ? p->conf.concurrency : 0;

    if (limit == c->task_limits[i] && c->crashes == s->crashes)
        return;
    c->task_limits[i] = limit;
    c->is_task_settled[i] = false;
}

static void note_all(struct sim *s, const struct queue *queues[SIM_QUEUES])
{
    for (size_t i = 0; i < SIM_QUEUES; i++) {
        queues[i] = queues_find(&s->core->queues, span_of_str(sim_queues[i]));
        if (queues[i] != NULL)
            note_queue(s, i, queues[i]);
    }
    for (size_t i = 0; i < SIM_TASKS; i++)
        note_task(s, i);
    s->check_limits->crashes = s->crashes;
}

void sim_limits_begin(struct sim *s)
{
    const struct queue *queues[SIM_QUEUES];

    if (s->check_limits == NULL)
        return;
    note_all(s, queues);
    begin_count(s->check_limits);
}

void sim_check_limits_step(struct sim *s)
{
    const struct queue *queues[SIM_QUEUES];

    if (s->core == NULL)
        return;
    note_all(s, queues);
    for (size_t i = 0; i < SIM_QUEUES; i++)
        if (queues[i] != NULL) {
            check_queue(s, i, queues[i]);
            check_pause(s, queues[i]);
            check_window(s, i, queues[i]);
        }
    for (size_t i = 0; i < SIM_TASKS; i++)
        check_task(s, i);
    check_redis(s);
}
