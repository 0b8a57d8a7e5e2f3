/*
 * api_world.h: what test_api.c turns by hand: fakes for everything around a request. Exchanges only
 * note how they were completed, a reader knows one job, a runner and timers wait to be told. The
 * fakes of http_exchange_... and reader_... stand here in place of the library's.
 */
#ifndef TESTS_UNIT_API_WORLD_H
#define TESTS_UNIT_API_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <cmocka.h>

#include "broker/api.h"
#include "broker/call.h"
#include "schema/errors.h"
#include "schema/id.h"

#define JOB_ID UINT64_C(0x123456789abcdef)

struct reader {
    struct job_view job; /* id 0: there is none */
    size_t bytes;
    size_t found; /* by reader_find */
    struct attempt_view attempts[4];
    size_t attempt_count;
};

struct world {
    uv_loop_t loop;
    struct clock clock;
    uint64_t now_ms;
    struct carrier carrier;
    struct runner runner;
    struct list ops;
    struct list gates;
    bool is_synced;
    struct timers timers;
    struct list armed;
    struct core core;
    struct reader reader;
    struct api api;
    bool has_stopped;
};

static struct world *the_world; /* for the fakes of reader_open and the like */

/* ---- exchanges ---- */

struct shot {
    struct http_exchange x;
    unsigned completions;
    int status; /* 0: dropped */
    int error;  /* of a problem */
    char type[64];
    char headers[512];
    const char *asked; /* a header "name: value", or NULL */
    struct http_ruling ruling;
    bool is_unread; /* the client does not read its answer */
    unsigned renewals;
};

static struct shot *shot_of(struct http_exchange *x)
{
    return JM_CONTAINER_OF(x, struct shot, x);
}

bool http_exchange_header(const struct http_exchange *x, const char *name, struct span *ret_value)
{
    const char *asked = JM_CONTAINER_OF(x, const struct shot, x)->asked;
    size_t len = strlen(name);

    if (asked == NULL || strncasecmp(asked, name, len) != 0 || asked[len] != ':')
        return false;
    *ret_value = span_of_str(asked + len + 2);
    return true;
}

struct span http_exchange_field_name(const struct http_exchange *x, size_t n)
{
    const char *asked = JM_CONTAINER_OF(x, const struct shot, x)->asked;

    assert_int_equal(n, 0);
    return span_of(asked, (size_t)(strchr(asked, ':') - asked));
}

struct span http_exchange_field_value(const struct http_exchange *x, size_t n)
{
    const char *asked = JM_CONTAINER_OF(x, const struct shot, x)->asked;

    assert_int_equal(n, 0);
    return span_of_str(strchr(asked, ':') + 2);
}

void http_exchange_add_header(struct http_exchange *x, const char *name, struct span value)
{
    struct shot *s = shot_of(x);
    size_t len = strlen(s->headers);

    snprintf(s->headers + len, sizeof(s->headers) - len, "%s: %.*s\n", name, (int)value.len,
             (const char *)value.data);
}

static void complete_exchange(struct http_exchange *x)
{
    if (x->on_released != NULL && !shot_of(x)->is_unread)
        x->on_released(x->released_owner);
    shot_of(x)->completions++;
}

void http_exchange_answer(struct http_exchange *x, int status, const char *content_type)
{
    struct shot *s = shot_of(x);

    complete_exchange(x);
    s->status = status;
    snprintf(s->type, sizeof(s->type), "%s", content_type != NULL ? content_type : "");
}

void http_exchange_answer_problem(struct http_exchange *x, const struct problem *problem)
{
    shot_of(x)->error = problem->error;
    buf_clear(&x->body_out);
    buf_put_span(&x->body_out, problem->detail);
    http_exchange_answer(x, errors_http_status(problem->error), PROBLEM_MEDIA_TYPE);
}

void http_exchange_answer_error(struct http_exchange *x, int error, const char *fmt, ...)
{
    struct problem problem = {.error = error, .detail = span_of_str(fmt)};

    http_exchange_answer_problem(x, &problem);
}

void http_exchange_begin(struct http_exchange *x, int status, const char *content_type)
{
    struct shot *s = shot_of(x);

    x->is_streamed = true;
    s->status = status;
    snprintf(s->type, sizeof(s->type), "%s", content_type);
}

void http_exchange_push(struct http_exchange *x)
{
    assert_true(x->is_streamed);
}

void http_exchange_finish(struct http_exchange *x)
{
    assert_true(x->is_streamed);
    complete_exchange(x);
}

void http_exchange_renew(struct http_exchange *x)
{
    shot_of(x)->renewals++;
}

void http_exchange_resume(struct http_exchange *x)
{
    x->is_paused = false;
}

void http_exchange_drop(struct http_exchange *x)
{
    complete_exchange(x);
    shot_of(x)->status = 0;
}

/* ---- reader ---- */

int reader_open(const struct store_conf *conf, struct reader **ret_reader)
{
    (void)conf;
    *ret_reader = &the_world->reader;
    return 0;
}

struct reader *reader_close(struct reader *r)
{
    (void)r;
    return NULL;
}

void reader_begin(struct reader *r)
{
    (void)r;
}

void reader_end(struct reader *r)
{
    (void)r;
}

int reader_get(struct reader *r, uint64_t id, bool with_blobs, struct job_view *ret_job)
{
    (void)with_blobs;
    if (id != r->job.id)
        return JM_ENOJOB;
    *ret_job = r->job;
    return 0;
}

int reader_get_small(struct reader *r, uint64_t id, size_t max_bytes, struct job_view *ret_job,
                     bool *ret_is_small)
{
    int rc = reader_get(r, id, true, ret_job);

    *ret_is_small = r->bytes <= max_bytes;
    return rc;
}

int reader_list(struct reader *r, const struct job_filter *filter,
                const struct reader_bounds *bounds, void *owner, reader_job_cb on_job,
                uint64_t *ret_next)
{
    (void)filter;
    (void)bounds;
    if (r->job.id != 0)
        on_job(owner, &r->job);
    *ret_next = 0;
    return 0;
}

/* As many as it is told to. */
int reader_find(struct reader *r, const struct job_filter *filter,
                const struct reader_bounds *bounds, void *owner, reader_id_cb on_id,
                uint64_t *ret_next)
{
    (void)filter;
    assert_true(r->found <= bounds->jobs);
    for (size_t i = 0; i < r->found; i++)
        on_id(owner, JOB_ID + i);
    *ret_next = r->found == bounds->jobs ? JOB_ID : 0;
    return 0;
}

int reader_attempts(struct reader *r, uint64_t id, void *owner, reader_attempt_cb on_attempt)
{
    for (size_t i = 0; id == r->job.id && i < r->attempt_count; i++)
        on_attempt(owner, &r->attempts[i]);
    return 0;
}

int reader_before(struct reader *r, uint64_t id, size_t limit, size_t *ret_count)
{
    (void)r;
    (void)id;
    *ret_count = limit;
    return 0;
}

int reader_tasks(struct reader *r, void *owner, reader_task_cb on_task)
{
    const struct wire_task echo = {.name = span_of_str("echo"), .kind = span_of_str("builtin")};

    (void)r;
    on_task(owner, &echo, 1);
    return 0;
}

int reader_dispatched(struct reader *r, unsigned node, void *owner, reader_dispatched_cb on_job)
{
    (void)r;
    (void)node;
    (void)owner;
    (void)on_job;
    return 0;
}

int reader_counts(struct reader *r, void *owner, store_counts_cb on_queue)
{
    (void)r;
    (void)owner;
    (void)on_queue;
    return 0;
}

int reader_confs(struct reader *r, void *owner, reader_conf_cb on_conf)
{
    (void)r;
    (void)owner;
    (void)on_conf;
    return 0;
}

int reader_lanes(struct reader *r, void *owner, store_lane_cb on_lane)
{
    (void)r;
    (void)owner;
    (void)on_lane;
    return 0;
}

int reader_rates(struct reader *r, void *owner, reader_rate_cb on_rate)
{
    (void)r;
    (void)owner;
    (void)on_rate;
    return 0;
}

int reader_start(struct reader *r, struct reader_start *ret_start)
{
    (void)r;
    *ret_start = (struct reader_start){.next_due_ms = -1, .id_high_water = 8, .last_id = 9};
    return 0;
}

/* ---- seams ---- */

static uint64_t fake_mono_ns(struct clock *clock)
{
    return JM_CONTAINER_OF(clock, struct world, clock)->now_ms * 1000000;
}

static int64_t fake_wall_ms(struct clock *clock)
{
    return INT64_C(1800000000000) + (int64_t)JM_CONTAINER_OF(clock, struct world, clock)->now_ms;
}

static void fake_send(struct carrier *c, struct carrier_req *req)
{
    (void)c;
    (void)req;
    fail_msg("nothing is sent while the link is down");
}

static void fake_submit(struct runner *r, struct store_op *op)
{
    struct world *w = JM_CONTAINER_OF(r, struct world, runner);

    list_push_back(&w->ops, &op->link);
}

static bool fake_is_synced(struct runner *r)
{
    return JM_CONTAINER_OF(r, struct world, runner)->is_synced;
}

static void fake_wait_synced(struct runner *r, struct runner_gate *gate)
{
    struct world *w = JM_CONTAINER_OF(r, struct world, runner);

    assert_false(w->is_synced);
    list_push_back(&w->gates, &gate->link);
}

static void fake_arm(struct timers *ts, struct timer *t, uint64_t at_ms)
{
    struct world *w = JM_CONTAINER_OF(ts, struct world, timers);

    list_remove(&t->link);
    t->at_ms = at_ms;
    list_push_back(&w->armed, &t->link);
}

/* Completes the operations that were handed over, each with `status`. */
static void run_ops(struct world *w, int status)
{
    struct list *node;

    while ((node = list_pop_front(&w->ops)) != NULL) {
        struct store_op *op = LIST_ENTRY(node, struct store_op, link);

        op->status = status;
        op->on_done(op);
    }
}

static void sync_disk(struct world *w)
{
    struct list *node;

    w->is_synced = true;
    while ((node = list_pop_front(&w->gates)) != NULL) {
        struct runner_gate *gate = LIST_ENTRY(node, struct runner_gate, link);

        gate->on_open(gate);
    }
}

static struct timer *next_due(struct world *w)
{
    LIST_EACH(node, &w->armed)
    {
        struct timer *t = LIST_ENTRY(node, struct timer, link);

        if (t->at_ms <= w->now_ms)
            return t;
    }
    return NULL;
}

static void pass_time(struct world *w, uint64_t ms)
{
    struct timer *t;

    w->now_ms += ms;
    while ((t = next_due(w)) != NULL) {
        timer_disarm(t);
        t->on_time(t);
    }
}

/* ---- requests ---- */

static void ask(struct world *w, struct shot *s, enum http_method method, const char *target,
                const char *header, const char *body)
{
    const struct http_handler *handler = api_handler(&w->api);
    const char *query = strchr(target, '?');

    memset(s, 0, sizeof(*s));
    s->asked = header;
    s->x.head.field_count = header != NULL;
    s->x.method = method;
    s->x.path = span_of(target, query != NULL ? (size_t)(query - target) : strlen(target));
    s->x.query = query != NULL ? span_of_str(query + 1) : span_of(NULL, 0);
    s->x.body = body != NULL ? span_of_str(body) : span_of(NULL, 0);
    list_init(&s->x.link);
    buf_init(&s->x.body_out, 1 << 20);
    s->ruling.max_body_bytes = 1 << 20;
    handler->on_head(handler->owner, &s->x, &s->ruling);
    if (s->completions == 0)
        handler->on_request(handler->owner, &s->x);
}

static void get_job(struct world *w, struct shot *s, const char *tail, const char *header)
{
    char target[128];
    char id[ID_TEXT_BYTES];

    id_format(JOB_ID, id);
    snprintf(target, sizeof(target), "/v1/jobs/%s%s", id, tail);
    ask(w, s, HTTP_GET, target, header, NULL);
}

static void leave(struct world *w, struct shot *s)
{
    const struct http_handler *handler = api_handler(&w->api);

    s->x.is_gone = true;
    handler->on_gone(handler->owner, &s->x);
}

static void check(struct shot *s, int status, const char *words)
{
    buf_put_u8(&s->x.body_out, 0);
    if (s->completions != 1 || s->status != status ||
        strstr((const char *)s->x.body_out.data, words) == NULL)
        fail_msg("%u completions, %d: %s", s->completions, s->status, s->x.body_out.data);
    buf_done(&s->x.body_out);
}

static void check_open(const struct shot *s)
{
    assert_int_equal(s->completions, 0);
}

static void set_state(struct world *w, enum job_state state)
{
    static const uint8_t args[] = {0xc0};
    static const uint8_t result[] = {0x2a};

    w->reader.job = (struct job_view){
        .id = JOB_ID,
        .spec = {.queue = span_of_str("default"),
                 .task = span_of_str("echo"),
                 .args = span_of(args, 1),
                 .priority = 5,
                 .max_attempts = 3,
                 .timeout_ms = 1000},
        .state = state,
        .attempt = 1,
        .result = span_of(result, state == JOB_SUCCEEDED ? 1 : 0),
    };
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    const struct core_conf core_conf = {.heartbeat_ms = 1000, .lease_ms = 15000};
    struct core_seams seams;
    struct api_conf conf;

    the_world = w;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->clock = (struct clock){.mono_ns = fake_mono_ns, .wall_ms = fake_wall_ms};
    w->carrier.send = fake_send;
    w->runner = (struct runner){fake_submit, fake_is_synced, fake_wait_synced};
    w->timers.arm = fake_arm;
    w->is_synced = true;
    list_init(&w->ops);
    list_init(&w->gates);
    list_init(&w->armed);
    seams = (struct core_seams){&w->clock, &w->carrier, &w->runner, &w->timers};
    assert_int_equal(core_init(&w->core, &core_conf, &seams), 0);
    assert_int_equal(core_start(&w->core, &w->reader), 0);
    conf = (struct api_conf){.core = &w->core, .reader = &w->reader, .loop = &w->loop};
    assert_int_equal(api_init(&w->api, &conf), 0);
    assert_int_equal(api_start(&w->api), 0);
    set_state(w, JOB_QUEUED);
    *state = w;
    return 0;
}

static void note_stopped(void *owner)
{
    ((struct world *)owner)->has_stopped = true;
}

/* Every test ends with an orderly stop, so none may leave a request open. */
static int teardown(void **state)
{
    struct world *w = *state;

    if (!w->api.is_stopping)
        api_stop(&w->api, w, note_stopped);
    assert_false(w->has_stopped);
    pass_time(w, 0);
    assert_true(w->has_stopped);
    assert_int_equal(waiters_count(&w->core.waiters), 0);
    assert_true(list_is_empty(&w->gates));
    api_done(&w->api);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    core_done(&w->core);
    free(w);
    return 0;
}

#endif
