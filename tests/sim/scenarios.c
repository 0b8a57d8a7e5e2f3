/*
 * scenarios.c: single situations of the core, told step by step. Each was once a defect.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { HOST = 7, SLOTS = 4 };

static uint8_t args[JM_ARGS_BYTES]; /* zeroes: whatever they mean, nobody looks into them here */

static int setup(void **state)
{
    struct sim *s = calloc(1, sizeof(*s));

    sim_open(s, 1);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct sim *s = *state;

    sim_close(s);
    free(s);
    return 0;
}

/* ---- words of the stories ---- */

static void on_submitted(struct core_submit *x, int status)
{
    assert_int_equal(status, 0);
    free(x);
}

static uint64_t submit(struct sim *s, const char *queue, size_t bytes)
{
    struct core_submit *x = calloc(1, sizeof(*x));

    x->op.spec = (struct job_spec){.queue = span_of_str(queue),
                                   .task = span_of_str("t"),
                                   .args = span_of(args, bytes),
                                   .priority = 5,
                                   .max_attempts = 3,
                                   .timeout_ms = 3600000,
                                   .grace_ms = 5000};
    x->on_done = on_submitted;
    assert_int_equal(core_submit(s->core, x), 0);
    return x->op.id;
}

static void on_cancelled(struct core_cancel *x, int status)
{
    (void)status; /* the broker may crash before the answer */
    free(x);
}

static void cancel(struct sim *s, uint64_t id)
{
    struct core_cancel *x = calloc(1, sizeof(*x));

    x->op.id = id;
    x->on_done = on_cancelled;
    core_cancel(s->core, x);
}

/* One heartbeat of HOST: it serves `queue`, and holds attempt 1 of `id`, unless that is 0. */
static void beat(struct sim *s, const char *queue, uint64_t id)
{
    static uint64_t seq;
    struct wire_held held = {.id = id, .attempt = 1, .has_begun = true, .run_ms = 60000};
    struct wire_beat b = {.host = HOST,
                          .seq = ++seq,
                          .pid = 1,
                          .started_at_ms = 1,
                          .slots = SLOTS,
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
    sim_redis_beat(s, HOST, buf_span(&out));
    buf_done(&helds);
    buf_done(&tasks);
    buf_done(&queues);
    buf_done(&out);
}

static void beat_for(struct sim *s, unsigned seconds, const char *queue, uint64_t id)
{
    for (unsigned i = 0; i < seconds; i++) {
        beat(s, queue, id);
        sim_run_ms(s, 1000);
    }
}

static struct queue *queue_of(struct sim *s, const char *name)
{
    struct queue *q = queues_find(&s->core->queues, span_of_str(name));

    assert_non_null(q);
    return q;
}

static int64_t count(struct sim *s, const char *queue, enum job_state state)
{
    return queue_of(s, queue)->counts.by_state[state];
}

static size_t length(struct sim *s, const char *key)
{
    size_t n = 0;

    LIST_EACH(node, &sim_redis_key(s, key)->blobs)
    n++;
    return n;
}

/* A worker of no particular host takes what is in the queue's list and ends it well. */
static void end_all(struct sim *s, const char *queue)
{
    struct sim_blob *blob;

    while ((blob = sim_redis_rpop(s, queue_of(s, queue)->key)) != NULL) {
        struct wire_event end = {.kind = WIRE_SUCCEEDED,
                                 .host = HOST,
                                 .has_begun = true,
                                 .begun_at_ms = 1,
                                 .result = span_of("\xc0", 1)};
        struct wire_job job;
        char key[KEYS_BYTES];
        struct buf out;

        assert_int_equal(wire_decode_job(span_of(blob->bytes, blob->len), &job), 0);
        end.id = job.id;
        end.attempt = job.attempt;
        buf_init(&out, 4096);
        wire_encode_event(&out, &end);
        keys_results(key, 0);
        sim_redis_lpush(s, key, buf_span(&out));
        buf_done(&out);
        free(blob);
    }
}

/* ---- the stories ---- */

static void a_queue_that_nobody_serves_leaves_the_others_their_room(void **state)
{
    struct sim *s = *state;

    beat_for(s, 5, "live", 0);
    for (int i = 0; i < 20; i++)
        submit(s, "dead", JM_ARGS_BYTES);
    beat_for(s, 2, "live", 0);
    for (int i = 0; i < 5; i++)
        submit(s, "live", 100);
    beat_for(s, 2, "live", 0);
    assert_int_equal(count(s, "live", JOB_QUEUED), 0);
    assert_int_equal(count(s, "live", JOB_DISPATCHED), 5);
    assert_true(s->core->dispatch.bytes <= JM_WINDOW_BYTES / 4);
}

static void a_queue_that_found_no_room_goes_on_when_others_leave_some(void **state)
{
    struct sim *s = *state;

    beat_for(s, 5, "live", 0);
    for (int i = 0; i < 20; i++)
        submit(s, "live", JM_ARGS_BYTES);
    beat_for(s, 2, "live", 0);
    for (int i = 0; i < 3; i++)
        submit(s, "other", 100);
    beat_for(s, 2, "live", 0);
    assert_int_equal(count(s, "other", JOB_QUEUED), 3);
    for (int i = 0; i < 5; i++) {
        end_all(s, "live");
        beat_for(s, 1, "live", 0);
    }
    assert_int_equal(count(s, "live", JOB_SUCCEEDED), 20);
    assert_int_equal(count(s, "other", JOB_DISPATCHED), 3);
}

static void takes_under_way_count_as_taken_room(void **state)
{
    struct sim *s = *state;
    size_t most_bytes = 0;

    sim_run_ms(s, 3500);
    s->redis.is_up = false;
    sim_redis_break_link(s);
    for (int q = 0; q < 200; q++) {
        char *name = malloc(16);

        snprintf(name, 16, "q%d", q);
        for (int i = 0; i < 8; i++)
            submit(s, name, 256 << 10);
        sim_run_ms(s, 10); /* the spans of a submit have to stay until it is done */
        free(name);
    }
    s->redis.is_up = true;
    sim_redis_break_link(s);
    for (uint64_t end_ns = s->now_ns + 20000 * SIM_MS; s->now_ns < end_ns && sim_step(s);)
        if (s->core->dispatch.bytes > most_bytes)
            most_bytes = s->core->dispatch.bytes;
    assert_true(most_bytes > 0);
    assert_true(most_bytes <= JM_WINDOW_BYTES);
}

static void a_host_that_is_slow_to_come_back_to_an_emptied_redis_keeps_its_lease(void **state)
{
    struct sim *s = *state;
    uint64_t id;

    beat_for(s, 5, "live", 0);
    id = submit(s, "live", 100);
    sim_run_ms(s, 100);
    free(sim_redis_rpop(s, queue_of(s, "live")->key));
    beat_for(s, 5, "live", id);
    sim_redis_restart(s);
    sim_run_ms(s, 14000);
    assert_int_equal(hosts_count(&s->core->hosts), 1);
    assert_int_equal(s->core->hosts.stats.lost_charged + s->core->hosts.stats.lost_free, 0);
    beat_for(s, 5, "live", id);
    assert_int_equal(count(s, "live", JOB_DISPATCHED), 1);
    sim_run_ms(s, 30000); /* and now it is dead */
    assert_int_equal(hosts_count(&s->core->hosts), 0);
    assert_int_equal(s->core->hosts.stats.lost_charged, 1);
}

static void a_job_that_kills_its_host_before_any_beat_is_charged_in_the_end(void **state)
{
    struct sim *s = *state;

    beat_for(s, 5, "live", 0);
    submit(s, "live", 100);
    for (int i = 0; i < JM_DEATH_LIMIT; i++) {
        sim_run_ms(s, 100);
        free(sim_redis_rpop(s, queue_of(s, "live")->key));
        sim_run_ms(s, 20000); /* its host is silent from now on */
        beat_for(s, 3, "live", 0);
    }
    assert_int_equal(count(s, "live", JOB_FAILED), 1);
}

static void a_new_queue_learns_at_once_who_serves_it(void **state)
{
    struct sim *s = *state;

    beat_for(s, 5, "new", 0);
    submit(s, "new", 100);
    sim_run_ms(s, 100);
    assert_int_equal(queue_of(s, "new")->window.floor, SLOTS * WINDOW_FLOOR_PER_SLOT);
}

static void a_cancel_that_a_restart_forgot_is_ordered_by_the_heartbeats(void **state)
{
    struct sim *s = *state;
    char orders[KEYS_BYTES];
    uint64_t id;

    beat_for(s, 5, "live", 0);
    id = submit(s, "live", 100);
    sim_run_ms(s, 100);
    free(sim_redis_rpop(s, queue_of(s, "live")->key));
    beat_for(s, 3, "live", id);
    cancel(s, id);
    while (list_is_empty(&s->runner.committed))
        assert_true(sim_step(s));
    sim_broker_crash(s); /* between the commit and the order to kill */
    sim_broker_start(s);
    beat_for(s, 10, "live", id);
    keys_control(orders, HOST);
    assert_true(length(s, orders) > 0);
}

static void a_recall_that_was_cut_off_is_done_again(void **state)
{
    struct sim *s = *state;
    uint64_t id;

    beat_for(s, 5, "live", 0);
    id = submit(s, "live", 100);
    sim_run_ms(s, 100);
    assert_int_equal(length(s, queue_of(s, "live")->key), 1);
    s->redis.refuses = true;
    cancel(s, id);
    sim_run_ms(s, 500);
    s->redis.refuses = false;
    assert_int_equal(length(s, queue_of(s, "live")->key), 1);
    beat_for(s, 30, "live", 0);
    assert_int_equal(length(s, queue_of(s, "live")->key), 0);
    assert_int_equal(s->core->dispatch.jobs, 0);
}

#define SCENARIO(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENARIO(a_queue_that_nobody_serves_leaves_the_others_their_room),
        SCENARIO(a_queue_that_found_no_room_goes_on_when_others_leave_some),
        SCENARIO(takes_under_way_count_as_taken_room),
        SCENARIO(a_host_that_is_slow_to_come_back_to_an_emptied_redis_keeps_its_lease),
        SCENARIO(a_job_that_kills_its_host_before_any_beat_is_charged_in_the_end),
        SCENARIO(a_new_queue_learns_at_once_who_serves_it),
        SCENARIO(a_cancel_that_a_restart_forgot_is_ordered_by_the_heartbeats),
        SCENARIO(a_recall_that_was_cut_off_is_done_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
