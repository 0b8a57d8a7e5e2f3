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
    struct list link;
    struct sim *sim;
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

static struct sim_call *call_new(struct sim *s)
{
    struct sim_call *call = calloc(1, sizeof(*call));

    assert(call != NULL);
    call->sim = s;
    buf_init(&call->options, JOB_OPTIONS_BYTES);
    list_push_back(&s->calls, &call->link);
    return call;
}

static void call_free(struct sim_call *call)
{
    list_remove(&call->link);
    buf_done(&call->options);
    free(call);
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

    if (p != NULL)
        p->is_cancelled = true;
}

static void promise(struct sim *s, uint64_t id)
{
    if (sim_clients_find(s, id) != NULL)
        return; /* the repeat of a key, or a unique job that is there already */
    s->promises = realloc(s->promises, (s->promise_count + 1) * sizeof(*s->promises));
    assert(s->promises != NULL);
    s->promises[s->promise_count++] = (struct sim_promise){.id = id};
}

static void again(struct sim *s, void *arg)
{
    char *key = arg;

    if (s->core == NULL)
        return sim_at_owned(s, 100 * SIM_MS, again, key);
    submit(s, key);
    free(key);
}

static void on_submitted(struct core_submit *x, int status)
{
    struct sim_call *call = JM_CONTAINER_OF(x, struct sim_call, submit);
    struct sim *s = call->sim;

    if (status == 0)
        promise(s, x->op.ret_is_repeat || x->op.ret_is_existing ? x->op.ret_existing_id : x->op.id);
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
    if (core_submit(s->core, &call->submit) != 0)
        call_free(call);
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

static size_t count_stored(struct sim *s, const struct sim_call *call)
{
    size_t count = 0;

    for (size_t i = 0; i < call->batch.count; i++) {
        struct job_view job;

        count += call->outcomes[i].id != 0 &&
                 reader_get(s->reader, call->outcomes[i].id, false, &job) == 0;
    }
    return count;
}

/* The broker crashed, and what became of the batch is not known: but it is one or the other. */
static void judge_batch(struct sim *s, void *arg)
{
    struct sim_call *call = arg;
    size_t stored;

    if (s->core == NULL) {
        sim_at(s, 100 * SIM_MS, judge_batch, call);
        return;
    }
    stored = count_stored(s, call);
    if (stored != 0 && (stored != call->batch.count || call->is_bad))
        sim_fail(s, "of a batch of %zu jobs %zu are there", call->batch.count, stored);
    call_free(call);
}

static void on_batch(struct core_batch *b, int status)
{
    struct sim_call *call = JM_CONTAINER_OF(b, struct sim_call, batch);
    struct sim *s = call->sim;

    for (size_t i = 0; i < b->count && status == 0; i++)
        promise(s, b->outcomes[i].id);
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
    if (core_batch_submit(s->core, &call->batch) != 0)
        call_free(call);
}

/* ---- limits and pauses ---- */

static void on_set(struct core_set_conf *x, int status)
{
    (void)status;
    call_free(JM_CONTAINER_OF(x, struct sim_call, set));
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
    if (core_set_queue_conf(s->core, &call->set, span_of_str(queue)) != 0)
        call_free(call);
}

static void set_task(struct sim *s, const char *task, uint32_t concurrency)
{
    struct sim_call *call = call_new(s);

    call->set.on_done = on_set;
    call->set.task_conf = (struct task_conf){.concurrency = concurrency};
    if (core_set_task_conf(s->core, &call->set, span_of_str(task)) != 0)
        call_free(call);
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
    if (s->core != NULL && is_paused(s))
        for (size_t i = 0; i < SIM_QUEUES; i++) {
            const struct queue *q = queues_find(&s->core->queues, span_of_str(sim_queues[i]));
            struct queue_conf conf = q != NULL ? q->conf : (struct queue_conf){.is_paused = false};

            conf.is_paused = false;
            set_queue(s, sim_queues[i], &conf);
        }
    if (s->core == NULL || s->faults_on || is_paused(s))
        sim_at(s, 1000 * SIM_MS, resume_all, NULL);
}

/* ---- all ---- */

static void act(struct sim *s, void *arg)
{
    char key[24] = "";

    (void)arg;
    if (s->to_submit == 0) {
        resume_all(s, NULL);
        return;
    }
    sim_at(s, sim_random(s, 600) * SIM_MS, act, NULL);
    if (s->core == NULL)
        return;
    if (sim_chance(s, 15)) {
        sim_clients_change(s);
        return;
    }
    if (sim_chance(s, 5)) {
        limit_something(s);
        return;
    }
    if (sim_chance(s, 5)) {
        submit_batch(s);
        return;
    }
    if (sim_chance(s, 50))
        snprintf(key, sizeof(key), "key-%zu", s->to_submit);
    s->to_submit--;
    submit(s, key);
}

void sim_clients_init(struct sim *s)
{
    sim_at(s, 100 * SIM_MS, act, NULL);
}
