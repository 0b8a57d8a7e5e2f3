/*
 * starved_core.c: the n-th allocation of the broker's core and its store fails, for every n, in the
 * simulated world, which has memory enough: the same short life of a few queues each time. Whatever
 * is missing, the core says so or gives up and is started again; then it goes on, and every job
 * that was accepted comes to its end. What SQLite allocates is its own (torture.py has that).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/story.h"
#include "tests/torture/starve.h"

enum { JOBS = 32, LIFE_S = 9, START_MS = 3000 };

struct submit {
    struct core_submit core;
    bool is_open;
};

struct life {
    struct sim *sim;
    struct submit submits[JOBS];
    size_t count;
    uint64_t accepted[JOBS];
    size_t accepted_count;
    bool has_ended[JOBS]; /* those, in that order */
    unsigned turns;       /* of the worker */
};

static struct life *life;
static unsigned ends; /* of the broker, in all lives */

static void on_submitted(struct core_submit *x, int status)
{
    struct submit *submit = JM_CONTAINER_OF(x, struct submit, core);

    submit->is_open = false;
    if (status == 0)
        life->accepted[life->accepted_count++] = x->op.id;
}

static void submit(const char *queue, const char *task, const char *key, uint64_t delay_ms)
{
    struct submit *s = &life->submits[life->count++];

    if (life->sim->core == NULL)
        return;
    s->core.op.spec = (struct job_spec){.queue = span_of_str(queue),
                                        .task = span_of_str(task),
                                        .limit_key = span_of_str(key),
                                        .args = span_of("\xc0", 1),
                                        .priority = JM_PRIORITY_DEFAULT,
                                        .max_attempts = 3,
                                        .timeout_ms = 3600000,
                                        .grace_ms = 5000};
    s->core.delay_ms = delay_ms;
    s->core.on_done = on_submitted;
    s->is_open = core_submit(life->sim->core, &s->core) == 0;
}

static void on_limited(struct core_set_conf *x, int status)
{
    (void)status;
    free(x);
}

/* Refused where there is no memory, and then nobody comes back to it. */
static void limit(int (*set)(struct core *c, struct core_set_conf *x, struct span name),
                  const char *name)
{
    struct core_set_conf *x;

    if (life->sim->core == NULL)
        return;
    x = calloc(1, sizeof(*x));
    assert_non_null(x);
    x->task_conf.concurrency = 1;
    x->queue_conf.key_concurrency = 1;
    x->on_done = on_limited;
    if (set(life->sim->core, x, span_of_str(name)) != 0)
        free(x);
}

static bool claim(const char *queue, struct story_claimed *ret_claimed)
{
    char key[KEYS_BYTES];
    struct sim_blob *blob;
    struct wire_job job;

    keys_queue(key, queue, strlen(queue));
    blob = sim_redis_rpop(life->sim, key);
    if (blob == NULL)
        return false;
    assert_int_equal(wire_decode_job(span_of(blob->bytes, blob->len), &job), 0);
    *ret_claimed = (struct story_claimed){.id = job.id, .attempt = job.attempt};
    free(blob);
    return true;
}

/* The worker's part: what is there is done; every third job fails once and is tried again. */
static void work(void)
{
    static const char *const queues[] = {"live", "keyed"};
    bool was_spared = starve_spare(true);

    for (size_t i = 0; i < JM_COUNT_OF(queues); i++) {
        struct story_claimed claimed;

        story_beat(life->sim, queues[i], 0);
        while (claim(queues[i], &claimed))
            story_end(life->sim, claimed,
                      claimed.attempt == 1 && ++life->turns % 3 == 0 ? WIRE_FAILED
                                                                     : WIRE_SUCCEEDED);
    }
    (void)starve_spare(was_spared);
}

/* What has succeeded stays for a while only. */
static void look(void)
{
    bool was_spared = starve_spare(true);

    for (size_t i = 0; i < life->accepted_count && life->sim->core != NULL; i++) {
        struct job_view job;

        if (life->has_ended[i])
            continue;
        assert_int_equal(reader_get(life->sim->reader, life->accepted[i], false, &job), 0);
        life->has_ended[i] = job.state == JOB_SUCCEEDED;
    }
    (void)starve_spare(was_spared);
}

static void live(unsigned seconds)
{
    for (unsigned i = 0; i < 4 * seconds; i++) {
        sim_run_ms(life->sim, 250);
        work();
        look();
    }
}

static void ask(void)
{
    static const char *const keys[] = {"", "a", "b"};

    limit(core_set_task_conf, "slow");
    limit(core_set_queue_conf, "keyed");
    sim_run_ms(life->sim, 20);
    for (unsigned i = 0; i < 12; i++)
        submit(i % 2 == 0 ? "live" : "keyed", i % 4 == 0 ? "slow" : "quick", keys[i % 3],
               i % 6 == 5 ? 700 : 0);
}

static void check(void)
{
    assert_string_equal(life->sim->failure, "");
    assert_non_null(life->sim->core);
    for (size_t i = 0; i < life->count; i++)
        assert_false(life->submits[i].is_open);
    for (size_t i = 0; i < life->accepted_count; i++)
        assert_true(life->has_ended[i]);
    assert_true(sim_is_idle(life->sim));
}

static void live_once(void)
{
    struct life one = {.sim = calloc(1, sizeof(*one.sim))};

    assert_non_null(one.sim);
    life = &one;
    (void)starve_spare(true);
    sim_open(one.sim, 1);
    one.sim->may_starve = true;
    story_beat_for(one.sim, 4, "live", 0);
    (void)starve_spare(false);
    ask();
    live(LIFE_S);
    check();
    sim_broker_crash(one.sim);
    sim_broker_start_soon(one.sim, 1);
    sim_run_ms(one.sim, START_MS);
    (void)starve_spare(true);
    ask();
    live(LIFE_S);
    check();
    assert_true(one.accepted_count >= 12); /* the second dozen was asked for with memory */
    ends += one.sim->crashes;
    sim_close(one.sim);
    free(one.sim);
}

static void a_core_without_memory_forgets_no_job(void **state)
{
    size_t allocations = starve_every(live_once);

    (void)state;
    printf("%zu allocations failed, the broker ended %u times\n", allocations, ends);
    assert_in_range(allocations, 100, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_core_without_memory_forgets_no_job),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
