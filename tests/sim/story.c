#include "tests/sim/story.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/job_options.h"

static uint8_t args[JM_ARGS_BYTES]; /* zeroes: whatever they mean, nobody looks into them here */

int story_setup(void **state)
{
    struct sim *s = calloc(1, sizeof(*s));

    sim_open(s, 1);
    *state = s;
    return 0;
}

int story_teardown(void **state)
{
    struct sim *s = *state;

    sim_close(s);
    free(s);
    return 0;
}

/* ---- jobs ---- */

struct call {
    struct core_submit submit;
    struct buf options;
    char key[JM_LIMIT_KEY_BYTES + 1];
};

static void on_submitted(struct core_submit *x, int status)
{
    struct call *call = JM_CONTAINER_OF(x, struct call, submit);

    assert_int_equal(status, 0);
    buf_done(&call->options);
    free(call);
}

uint64_t story_submit(struct sim *s, struct story_job job)
{
    struct call *call = calloc(1, sizeof(*call));
    struct core_submit *x = &call->submit;
    struct job_options options = {.limit_key = {.len = 0}};

    assert_non_null(call);
    snprintf(call->key, sizeof(call->key), "%s", job.key != NULL ? job.key : "");
    options.limit_key = span_of_str(call->key);
    if (job.expires_in_ms != 0)
        options.expires_at_ms = clock_wall_ms(&s->clock) + job.expires_in_ms;
    buf_init(&call->options, JOB_OPTIONS_BYTES);
    job_options_encode(&call->options, &options);
    x->op.spec =
        (struct job_spec){.queue = span_of_str(job.queue != NULL ? job.queue : "live"),
                          .task = span_of_str(job.task != NULL ? job.task : "t"),
                          .limit_key = options.limit_key,
                          .options = buf_span(&call->options),
                          .expires_at_ms = options.expires_at_ms,
                          .args = span_of(args, job.bytes > 0 ? job.bytes : 100),
                          .priority = job.priority > 0 ? job.priority : JM_PRIORITY_DEFAULT,
                          .max_attempts = 3,
                          .timeout_ms = 3600000,
                          .grace_ms = 5000};
    x->delay_ms = job.delay_ms;
    x->on_done = on_submitted;
    assert_int_equal(core_submit(s->core, x), 0);
    return x->op.id;
}

uint64_t story_submit_bytes(struct sim *s, const char *queue, size_t bytes)
{
    return story_submit(s, (struct story_job){.queue = queue, .bytes = bytes});
}

static int stopped;

static void on_cancelled(struct core_cancel *x, int status)
{
    if (status == 0) /* else the broker crashed before the answer */
        stopped = (int)x->stopped;
    free(x);
}

int story_stopped(void)
{
    return stopped;
}

void story_cancel(struct sim *s, uint64_t id)
{
    struct core_cancel *x = calloc(1, sizeof(*x));

    assert_non_null(x);
    stopped = -1;
    x->op.id = id;
    x->on_done = on_cancelled;
    core_cancel(s->core, x);
}

/* ---- limits ---- */

static void on_conf(struct core_set_conf *x, int status)
{
    (void)status;
    free(x);
}

void story_ask_queue(struct sim *s, const char *queue, struct queue_conf conf)
{
    struct core_set_conf *x = calloc(1, sizeof(*x));

    assert_non_null(x);
    x->queue_conf = conf;
    x->on_done = on_conf;
    assert_int_equal(core_set_queue_conf(s->core, x, span_of_str(queue)), 0);
}

void story_ask_task(struct sim *s, const char *task, struct task_conf conf)
{
    struct core_set_conf *x = calloc(1, sizeof(*x));

    assert_non_null(x);
    x->task_conf = conf;
    x->on_done = on_conf;
    assert_int_equal(core_set_task_conf(s->core, x, span_of_str(task)), 0);
}

void story_set_queue(struct sim *s, const char *queue, struct queue_conf conf)
{
    story_ask_queue(s, queue, conf);
    sim_run_ms(s, 50);
    assert_memory_equal(&story_queue_of(s, queue)->conf, &conf, sizeof(conf));
}

void story_set_task(struct sim *s, const char *task, struct task_conf conf)
{
    story_ask_task(s, task, conf);
    sim_run_ms(s, 50);
    assert_int_equal(lanes_policy(&s->core->dispatch.lanes, span_of_str(task))->conf.concurrency,
                     conf.concurrency);
}

/* ---- hosts ---- */

void story_beat(struct sim *s, const char *queue, uint64_t id)
{
    static uint64_t seq;
    struct wire_held held = {.id = id, .attempt = 1, .has_begun = true, .run_ms = 60000};
    struct wire_beat b = {.host = STORY_HOST,
                          .seq = ++seq,
                          .pid = 1,
                          .started_at_ms = 1,
                          .slots = STORY_SLOTS,
                          .hostname = span_of_str("h"),
                          .version = span_of_str("0")};
    struct buf helds, tasks, queues, out;

    buf_init(&helds, 4096);
    buf_init(&tasks, 4096);
    buf_init(&queues, 4096);
    buf_init(&out, 65536);
    wire_encode_list(&helds, id != 0);
    if (id != 0)
        wire_encode_held(&helds, &held);
    wire_encode_list(&tasks, 0);
    wire_encode_list(&queues, 1);
    wire_encode_name(&queues, span_of_str(queue));
    b.held = buf_span(&helds);
    b.tasks = buf_span(&tasks);
    b.queues = buf_span(&queues);
    wire_encode_beat(&out, &b);
    sim_redis_beat(s, STORY_HOST, buf_span(&out));
    buf_done(&helds);
    buf_done(&tasks);
    buf_done(&queues);
    buf_done(&out);
}

void story_beat_for(struct sim *s, unsigned seconds, const char *queue, uint64_t id)
{
    for (unsigned i = 0; i < seconds; i++) {
        story_beat(s, queue, id);
        sim_run_ms(s, 1000);
    }
}

struct queue *story_queue_of(struct sim *s, const char *name)
{
    struct queue *q = queues_find(&s->core->queues, span_of_str(name));

    assert_non_null(q);
    return q;
}

int64_t story_count(struct sim *s, const char *queue, enum job_state state)
{
    return story_queue_of(s, queue)->counts.by_state[state];
}

size_t story_length(struct sim *s, const char *key)
{
    size_t n = 0;

    LIST_EACH(node, &sim_redis_key(s, key)->blobs)
    n++;
    return n;
}

struct story_claimed story_claim(struct sim *s, const char *queue)
{
    struct sim_blob *blob = sim_redis_rpop(s, story_queue_of(s, queue)->key);
    struct story_claimed claimed = {.id = 0};
    struct wire_job job;

    if (blob == NULL)
        return claimed;
    assert_int_equal(wire_decode_job(span_of(blob->bytes, blob->len), &job), 0);
    claimed = (struct story_claimed){.id = job.id, .attempt = job.attempt};
    free(blob);
    return claimed;
}

static void push_end(struct sim *s, struct story_claimed claimed, enum wire_event_kind kind,
                     uint64_t run_us)
{
    struct wire_event end = {.kind = kind,
                             .run_us = run_us,
                             .id = claimed.id,
                             .attempt = claimed.attempt,
                             .host = STORY_HOST,
                             .has_begun = true,
                             .begun_at_ms = 1,
                             .result = span_of("\xc0", 1),
                             .code = span_of_str("task_failed"),
                             .message = span_of_str("so it goes")};
    char key[KEYS_BYTES];
    struct buf out;

    buf_init(&out, 4096);
    wire_encode_event(&out, &end);
    keys_results(key, 0);
    sim_redis_lpush(s, key, buf_span(&out));
    buf_done(&out);
}

void story_end(struct sim *s, struct story_claimed claimed, enum wire_event_kind kind)
{
    push_end(s, claimed, kind, 0);
}

void story_end_after(struct sim *s, struct story_claimed claimed, uint64_t run_us)
{
    push_end(s, claimed, WIRE_SUCCEEDED, run_us);
}

size_t story_end_all(struct sim *s, const char *queue)
{
    struct story_claimed claimed;
    size_t count = 0;

    for (; (claimed = story_claim(s, queue)).id != 0; count++)
        story_end(s, claimed, WIRE_SUCCEEDED);
    return count;
}
