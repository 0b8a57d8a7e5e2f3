/*
 * clients.c: submits of all sorts, limits and pauses, and what was promised. A call that is open
 * when the broker crashes has an unknown fate; with an Idempotency-Key it is made again.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core_batch.h"
#include "broker/job_options.h"
#include "schema/errors.h"
#include "tests/sim/sim.h"

enum { BATCH_JOBS = 5 };

struct sim_call {
    struct sim_request request;
    struct core_submit submit;
    struct core_set_conf set;
    char key[24]; /* empty: none */
    struct buf options;
    struct core_batch batch;
    struct core_outcome outcomes[BATCH_JOBS];
    bool is_bad; /* two of its jobs cannot both be stored */
};

const char *const sim_queues[SIM_QUEUES] = {"a", "b"};
const char *const sim_tasks[SIM_TASKS] = {"noop", "other"};
const char *const sim_keys[SIM_KEYS] = {"", "x", "y"};

static void submit(struct sim *s, const char *key);

void sim_request_init(struct sim *s, struct sim_request *r)
{
    *r = (struct sim_request){.sim = s, .is_calling = true};
    list_push_back(&s->calls, &r->link);
}

void sim_request_back(struct sim_request *r)
{
    if (r->is_back)
        sim_fail(r->sim, "a request came back twice");
    if (r->is_calling)
        sim_fail(r->sim, "a request came back from inside its call");
    r->is_back = true;
}

void sim_request_done(struct sim_request *r)
{
    list_remove(&r->link);
}

static struct sim_call *call_new(struct sim *s)
{
    struct sim_call *call = calloc(1, sizeof(*call));

    assert(call != NULL);
    sim_request_init(s, &call->request);
    buf_init(&call->options, JOB_OPTIONS_BYTES);
    return call;
}

static void call_free(struct sim_call *call)
{
    sim_request_done(&call->request);
    buf_done(&call->options);
    free(call);
}

/* The call was made; or refused, and nobody comes back to it. */
static void called(struct sim_call *call, int status)
{
    call->request.is_calling = false;
    if (status != 0)
        call_free(call);
}

struct sim_promise *sim_clients_find(struct sim *s, uint64_t id)
{
    for (size_t i = 0; i < s->promise_count; i++)
        if (s->promises[i].id == id)
            return &s->promises[i];
    return NULL;
}

void sim_clients_note_cancelled(struct sim *s, uint64_t id)
{
    struct sim_promise *p = sim_clients_find(s, id);
    uint32_t attempt;

    if (p == NULL)
        return;
    p->is_cancelled = p->retrying == 0 && sim_check_kept(s, id, &attempt) == JOB_CANCELLED;
    if (!p->is_cancelled && p->retries == 0) /* else somebody had it tried again meanwhile */
        sim_fail(s, "the cancel of job %llu was told before it was on disk",
                 (unsigned long long)id);
}

void sim_clients_promise(struct sim *s, uint64_t id)
{
    uint32_t attempt;

    if (sim_clients_find(s, id) != NULL)
        return; /* the repeat of a key, or a unique job that is there already */
    if (sim_check_kept(s, id, &attempt) == JOB_NONE)
        sim_fail(s, "job %llu was accepted before it was on disk", (unsigned long long)id);
    s->promises = realloc(s->promises, (s->promise_count + 1) * sizeof(*s->promises));
    assert(s->promises != NULL);
    s->promises[s->promise_count++] = (struct sim_promise){.id = id};
}

static void again(struct sim *s, void *arg)
{
    char *key = arg;

    if (!sim_broker_is_up(s))
        return sim_at_owned(s, 100 * SIM_MS, again, key);
    submit(s, key);
    free(key);
}

static void tell(struct sim *s, const struct core_submit *x)
{
    if (x->op.ret_is_repeat || x->op.ret_is_existing)
        sim_clients_promise(s, x->op.ret_existing_id);
    else if (x->is_told_later)
        sim_clients_wait(s, x->op.id);
    else
        sim_clients_promise(s, x->op.id);
}

static void on_submitted(struct core_submit *x, int status)
{
    struct sim_call *call = JM_CONTAINER_OF(x, struct sim_call, submit);
    struct sim *s = call->request.sim;

    sim_request_back(&call->request);
    if (status == 0)
        tell(s, x);
    if (status == 0 && x->op.ret_replaced_id != 0)
        sim_clients_note_cancelled(s, x->op.ret_replaced_id);
    if (status == JM_EIDEMPOTENCY)
        sim_fail(s, "the same submit was taken for another one");
    if (status == JM_ESTORE && call->key[0] != '\0')
        sim_at_owned(s, 500 * SIM_MS, again, strdup(call->key));
    call_free(call);
}

/* What only some jobs ask. */
static void choose_options(struct sim *s, struct sim_call *call, struct job_options *options)
{
    struct store_unique *unique = &call->submit.op.unique;
    int64_t wall_ms = clock_wall_ms(&s->clock);

    if (sim_chance(s, 20))
        call->submit.delay_ms = sim_random(s, 8000);
    if (sim_chance(s, 20))
        options->expires_at_ms =
            wall_ms + (int64_t)(call->submit.delay_ms + 1000 + sim_random(s, 20000));
    if (sim_chance(s, 20))
        options->backoff = (struct backoff){.kind = BACKOFF_FIXED, .base_ms = sim_random(s, 2000)};
    if (sim_chance(s, 15)) {
        unique->how = sim_chance(s, 50) ? UNIQUE_QUEUED : UNIQUE_UNFINISHED;
        unique->on_conflict = (enum unique_conflict)sim_random(s, 3);
        unique->digest[0] = 1 + (uint8_t)sim_random(s, 2);
    }
}

static void submit(struct sim *s, const char *key)
{
    struct sim_call *call = call_new(s);
    struct job_options options = {.limit_key = {.len = 0}};
    uint64_t kind = key[0] != '\0' ? hash_of_span(span_of_str(key)) : sim_random(s, UINT32_MAX);

    options.limit_key = span_of_str(sim_keys[kind / 4 % SIM_KEYS]);
    choose_options(s, call, &options);
    job_options_encode(&call->options, &options);
    snprintf(call->key, sizeof(call->key), "%s", key);
    call->submit.op.key = span_of_str(call->key);
    call->submit.op.spec = (struct job_spec){.queue = span_of_str(sim_queues[kind % SIM_QUEUES]),
                                             .task = span_of_str(sim_tasks[kind / 2 % SIM_TASKS]),
                                             .limit_key = options.limit_key,
                                             .options = buf_span(&call->options),
                                             .expires_at_ms = options.expires_at_ms,
                                             .args = span_of("\xc0", 1),
                                             .priority = 4 + (uint32_t)(kind / 16 % 3),
                                             .max_attempts = 3,
                                             .timeout_ms = 3600000,
                                             .grace_ms = 5000};
    call->submit.on_done = on_submitted;
    call->submit.is_told_later = sim_chance(s, 30);
    called(call, core_submit(s->core, &call->submit));
}

/* ---- batches that are stored as a whole ---- */

static int next_of_batch(struct core_batch *b, struct core_submit **ret_submit)
{
    struct sim_call *call = JM_CONTAINER_OF(b, struct sim_call, batch);

    /* The first and the last want one place. */
    if (call->is_bad && (b->at == 0 || b->at == b->count - 1))
        call->submit.op.unique =
            (struct store_unique){.how = UNIQUE_UNFINISHED, .on_conflict = UNIQUE_REJECT};
    else
        call->submit.op.unique.how = UNIQUE_NOT;
    call->submit.delay_ms = b->at % 3 == 1 ? 700 : 0;
    *ret_submit = &call->submit;
    return 0;
}

static void ignore_refusal(struct core_batch *b, const struct core_submit *x, int status)
{
    (void)b;
    (void)x;
    (void)status;
}

/* False if the disk cannot be read. */
static bool count_stored(struct sim *s, const struct sim_call *call, size_t *ret_count)
{
    *ret_count = 0;
    for (size_t i = 0; i < call->batch.count; i++) {
        struct job_view job;
        int rc = call->outcomes[i].id != 0
                     ? reader_get(s->reader, call->outcomes[i].id, false, &job)
                     : JM_ENOJOB;

        if (rc != 0 && rc != JM_ENOJOB)
            return false;
        *ret_count += rc == 0;
    }
    return true;
}

/* The broker crashed, and what became of the batch is not known: but it is one or the other. */
static void judge_batch(struct sim *s, void *arg)
{
    struct sim_call *call = arg;
    size_t stored;

    if (!sim_broker_is_up(s) || !count_stored(s, call, &stored)) {
        sim_at(s, 100 * SIM_MS, judge_batch, call);
        return;
    }
    if (stored != 0 && (stored != call->batch.count || call->is_bad))
        sim_fail(s, "of a batch of %zu jobs %zu are there", call->batch.count, stored);
    call_free(call);
}

static void on_batch(struct core_batch *b, int status)
{
    struct sim_call *call = JM_CONTAINER_OF(b, struct sim_call, batch);
    struct sim *s = call->request.sim;

    sim_request_back(&call->request);
    for (size_t i = 0; i < b->count && status == 0; i++)
        sim_clients_promise(s, b->outcomes[i].id);
    if (status == 0 ? call->is_bad : status == JM_EBATCH && !call->is_bad)
        sim_fail(s, "a batch came to the wrong end");
    judge_batch(s, call);
}

static void submit_batch(struct sim *s)
{
    struct sim_call *call = call_new(s);
    struct span queue = span_of_str(sim_queues[sim_random(s, SIM_QUEUES)]);

    call->is_bad = sim_chance(s, 30);
    call->submit.op.spec = (struct job_spec){.queue = queue,
                                             .task = span_of_str(sim_tasks[0]),
                                             .args = span_of("\xc0", 1),
                                             .priority = 5,
                                             .max_attempts = 3,
                                             .timeout_ms = 3600000,
                                             .grace_ms = 5000};
    call->batch = (struct core_batch){.outcomes = call->outcomes,
                                      .count = 2 + sim_random(s, BATCH_JOBS - 1),
                                      .next = next_of_batch,
                                      .on_refused = ignore_refusal,
                                      .on_done = on_batch};
    for (size_t i = 0; i < call->batch.count; i++)
        call->outcomes[i].queue = core_need_queue(s->core, queue);
    called(call, core_batch_submit(s->core, &call->batch));
}

/* ---- limits and pauses ---- */

static void on_set(struct core_set_conf *x, int status)
{
    struct sim_call *call = JM_CONTAINER_OF(x, struct sim_call, set);
    struct sim *s = call->request.sim;

    sim_request_back(&call->request);
    if (status == 0 && !runner_is_synced(&s->runner.runner))
        sim_fail(s, "a setting was confirmed before it was on disk");
    call_free(call);
}

static uint32_t maybe(struct sim *s, uint32_t most)
{
    return sim_chance(s, 50) ? 0 : 1 + (uint32_t)sim_random(s, most);
}

static struct conf_rate pick_rate(struct sim *s)
{
    struct conf_rate rate = {.limit = maybe(s, 10)};

    rate.period_ms = rate.limit > 0 ? 100 + sim_random(s, 3000) : 0;
    return rate;
}

static void set_queue(struct sim *s, const char *queue, const struct queue_conf *conf)
{
    struct sim_call *call = call_new(s);

    call->set.on_done = on_set;
    call->set.queue_conf = *conf;
    called(call, core_set_queue_conf(s->core, &call->set, span_of_str(queue)));
}

static void set_task(struct sim *s, const char *task, uint32_t concurrency)
{
    struct sim_call *call = call_new(s);

    call->set.on_done = on_set;
    call->set.task_conf = (struct task_conf){.concurrency = concurrency};
    called(call, core_set_task_conf(s->core, &call->set, span_of_str(task)));
}

static void limit_something(struct sim *s)
{
    struct queue_conf conf = {.is_paused = sim_chance(s, 25),
                              .rate = pick_rate(s),
                              .key_rate = pick_rate(s),
                              .concurrency = maybe(s, 4),
                              .key_concurrency = maybe(s, 3)};

    if (sim_chance(s, 30))
        set_task(s, sim_tasks[sim_random(s, SIM_TASKS)], maybe(s, 3));
    else
        set_queue(s, sim_queues[sim_random(s, SIM_QUEUES)], &conf);
}

static bool is_paused(const struct sim *s)
{
    LIST_EACH(node, &s->core->queues.all)
    if (queues_entry(node)->conf.is_paused)
        return true;
    return false;
}

/* Nothing would end in a queue that stays paused; the other limits stay. */
static void resume_all(struct sim *s, void *arg)
{
    (void)arg;
    if (sim_broker_is_up(s) && is_paused(s))
        for (size_t i = 0; i < SIM_QUEUES; i++) {
            const struct queue *q = queues_find(&s->core->queues, span_of_str(sim_queues[i]));
            struct queue_conf conf = q != NULL ? q->conf : (struct queue_conf){.is_paused = false};

            conf.is_paused = false;
            set_queue(s, sim_queues[i], &conf);
        }
    sim_at(s, 1000 * SIM_MS, resume_all, NULL); /* a pause may be under way */
}

/* ---- all ---- */

static void submit_one(struct sim *s)
{
    char key[24] = "";

    if (sim_chance(s, 50))
        snprintf(key, sizeof(key), "key-%llu", (unsigned long long)s->acts);
    submit(s, key);
}

/* Out of 100. */
static const struct {
    unsigned share;
    void (*act)(struct sim *s);
} acts[] = {{55, submit_one},
            {15, sim_clients_change},
            {15, sim_clients_read},
            {8, limit_something},
            {7, submit_batch}};

static void act(struct sim *s, void *arg)
{
    uint64_t percent = sim_random(s, 100);

    (void)arg;
    if (s->acts >= s->max_acts) {
        s->is_closing = true;
        resume_all(s, NULL);
        return;
    }
    sim_at(s, sim_random(s, 400) * SIM_MS, act, NULL);
    if (!sim_broker_is_up(s))
        return;
    s->acts++;
    for (size_t i = 0; i < JM_COUNT_OF(acts); i++) {
        if (percent < acts[i].share) {
            acts[i].act(s);
            return;
        }
        percent -= acts[i].share;
    }
}

void sim_clients_init(struct sim *s)
{
    sim_at(s, 100 * SIM_MS, act, NULL);
}
