/*
 * changes.c: what becomes of jobs that are with Redis or a worker when somebody changes, retries or
 * cancels them, when they expire, and when they have been kept long enough.
 */
#include "tests/sim/story.h"

#include <stdio.h>
#include <stdlib.h>

#include "schema/errors.h"

enum { UNANSWERED = 1 };

static size_t waits_in_redis(struct sim *s)
{
    char key[KEYS_BYTES];

    keys_queue(key, "live", 4);
    return story_length(s, key);
}

static enum job_state state_of(struct sim *s, uint64_t id)
{
    struct job_view job;

    return reader_get(s->reader, id, false, &job) == 0 ? job.state : JOB_NONE;
}

/* A job that waits in Redis. */
static uint64_t submit_out(struct sim *s, int64_t expires_in_ms)
{
    uint64_t id;

    story_beat_for(s, 5, "live", 0);
    id = story_submit(s, (struct story_job){.expires_in_ms = expires_in_ms});
    sim_run_ms(s, 100);
    assert_int_equal(waits_in_redis(s), 1);
    return id;
}

/* ---- words ---- */

static int answer;

static void on_changed(struct core_change *x, int status)
{
    answer = status;
    free(x);
}

static void put_off(struct sim *s, uint64_t id, int64_t in_ms)
{
    struct core_change *x = calloc(1, sizeof(*x));

    assert_non_null(x);
    answer = UNANSWERED;
    x->op.id = id;
    x->op.what = CHANGE_DUE;
    x->op.due_ms = clock_wall_ms(&s->clock) + in_ms;
    x->on_done = on_changed;
    core_change(s->core, x);
    assert_int_equal(answer, UNANSWERED); /* never from inside the call */
}

static void on_retried(struct core_retry *x, int status)
{
    answer = status;
    free(x);
}

static void retry(struct sim *s, uint64_t id)
{
    struct core_retry *x = calloc(1, sizeof(*x));

    assert_non_null(x);
    answer = UNANSWERED;
    x->op.id = id;
    x->on_done = on_retried;
    core_retry(s->core, x);
    sim_run_ms(s, 100);
}

static void on_end(struct waiter *w)
{
    w->id = 0;
}

/* ---- changes ---- */

static void a_job_is_taken_back_from_redis_to_be_changed(void **state)
{
    struct sim *s = *state;
    uint64_t id = submit_out(s, 0);

    put_off(s, id, 10000);
    sim_run_ms(s, 100);
    assert_int_equal(answer, 0);
    assert_int_equal(waits_in_redis(s), 0);
    assert_int_equal(state_of(s, id), JOB_SCHEDULED);
    story_beat_for(s, 12, "live", 0);
    assert_int_equal(waits_in_redis(s), 1);
    assert_int_equal(story_end_all(s, "live"), 1);
    sim_run_ms(s, 200);
    assert_int_equal(state_of(s, id), JOB_SUCCEEDED);
}

static void a_job_that_a_worker_has_is_not_changed(void **state)
{
    struct sim *s = *state;
    uint64_t id = submit_out(s, 0);
    struct story_claimed claimed = story_claim(s, "live");

    put_off(s, id, 10000);
    sim_run_ms(s, 100);
    assert_int_equal(answer, JM_ERUNNING);
    assert_int_equal(state_of(s, id), JOB_DISPATCHED);
    story_end(s, claimed, WIRE_SUCCEEDED);
    sim_run_ms(s, 200);
    put_off(s, id, 10000);
    sim_run_ms(s, 100);
    assert_int_equal(answer, JM_EFINISHED);
}

static void what_redis_cannot_say_counts_as_running(void **state)
{
    struct sim *s = *state;
    uint64_t id = submit_out(s, 0);

    s->redis.is_up = false;
    sim_redis_break_link(s);
    put_off(s, id, 10000);
    sim_run_ms(s, 1000);
    assert_int_equal(answer, JM_ERUNNING);
    s->redis.is_up = true;
    sim_redis_break_link(s); /* it comes up again by itself */
    story_beat_for(s, 5, "live", 0);
    put_off(s, id, 10000);
    sim_run_ms(s, 100);
    assert_int_equal(answer, 0);
}

static void a_job_in_the_backlog_is_changed_at_once(void **state)
{
    struct sim *s = *state;
    uint64_t id = story_submit(s, (struct story_job){.delay_ms = 60000});

    sim_run_ms(s, 100);
    put_off(s, id, 0);
    sim_run_ms(s, 100);
    assert_int_equal(answer, 0);
    assert_int_not_equal(state_of(s, id), JOB_SCHEDULED);
    put_off(s, 12345, 0);
    sim_run_ms(s, 100);
    assert_int_equal(answer, JM_ENOJOB);
}

/* ---- retries ---- */

/* The attempt that was cancelled still holds its place, and is told from the new one. */
static void a_cancelled_job_that_still_runs_is_tried_again(void **state)
{
    struct sim *s = *state;
    uint64_t id = submit_out(s, 0);
    struct story_claimed old = story_claim(s, "live"), fresh;

    story_cancel(s, id);
    sim_run_ms(s, 100);
    retry(s, id);
    assert_int_equal(answer, 0);
    sim_run_ms(s, 200);
    assert_int_equal(s->core->dispatch.jobs, 2);
    fresh = story_claim(s, "live");
    assert_int_equal(fresh.id, id);
    assert_int_equal(fresh.attempt, old.attempt + 1);
    story_end(s, old, WIRE_SUCCEEDED);
    sim_run_ms(s, 200);
    assert_int_equal(state_of(s, id), JOB_DISPATCHED);
    assert_int_equal(s->core->dispatch.jobs, 1);
    story_end(s, fresh, WIRE_SUCCEEDED);
    sim_run_ms(s, 200);
    assert_int_equal(state_of(s, id), JOB_SUCCEEDED);
    assert_int_equal(s->core->dispatch.jobs, 0);
}

static void on_bulk(struct core_bulk *x, int status)
{
    assert_int_equal(status, 0);
    assert_int_equal(x->ret_done, x->count);
    answer = (int)x->ret_changed;
    free(x->items);
    free(x);
}

static void many_are_cancelled_in_several_commits_and_taken_back(void **state)
{
    enum { JOBS = 600 };
    struct sim *s = *state;
    struct core_bulk *x = calloc(1, sizeof(*x));
    struct waiter waiter = {.on_end = on_end};

    assert_non_null(x);
    x->items = calloc(JOBS, sizeof(*x->items));
    assert_non_null(x->items);
    story_beat_for(s, 5, "live", 0);
    for (size_t i = 0; i < JOBS; i++)
        x->items[i].id = story_submit(s, (struct story_job){.queue = "live"});
    assert_int_equal(core_wait(s->core, &waiter, x->items[JOBS - 1].id), 0);
    sim_run_ms(s, 500);
    assert_true(waits_in_redis(s) > 0);
    x->verb = BULK_CANCEL;
    x->count = JOBS;
    x->on_done = on_bulk;
    core_bulk(s->core, x);
    story_beat_for(s, 3, "live", 0);
    assert_int_equal(answer, JOBS);
    assert_int_equal(waits_in_redis(s), 0);
    assert_int_equal(s->core->dispatch.jobs, 0);
    assert_int_equal(story_count(s, "live", JOB_CANCELLED), JOBS);
    assert_int_equal(waiter.id, 0);
}

static void note_attempt(void *owner, const struct attempt_view *attempt)
{
    struct attempt_view *kept = owner;

    assert_int_equal(kept->attempt, 0); /* there is but one */
    *kept = *attempt;
}

/* The only attempt so far began, in STORY_HOST, as long ago as that says in story_beat. */
static void check_killed(struct sim *s, uint64_t id)
{
    struct attempt_view attempt = {.attempt = 0};

    assert_int_equal(state_of(s, id), JOB_CANCELLED);
    retry(s, id);
    assert_int_equal(answer, 0);
    assert_int_equal(reader_attempts(s->reader, id, &attempt, note_attempt), 0);
    assert_int_equal(attempt.attempt, 1);
    assert_int_equal(attempt.host, STORY_HOST);
    assert_in_range(attempt.ended_at_ms - attempt.begun_at_ms, 60000, 61000);
}

/* Its word that it runs was lost with Redis. */
static void a_job_of_which_only_heartbeats_say_that_it_runs_was_killed_by_a_cancel(void **state)
{
    struct sim *s = *state;
    uint64_t id = submit_out(s, 0);

    (void)story_claim(s, "live");
    story_beat_for(s, 2, "live", id);
    assert_int_equal(state_of(s, id), JOB_DISPATCHED);
    story_cancel(s, id);
    sim_run_ms(s, 100);
    check_killed(s, id);
}

static void so_was_one_of_many(void **state)
{
    struct sim *s = *state;
    struct core_bulk *x = calloc(1, sizeof(*x));
    uint64_t id = submit_out(s, 0);

    assert_non_null(x);
    (void)story_claim(s, "live");
    story_beat_for(s, 2, "live", id);
    *x = (struct core_bulk){.verb = BULK_CANCEL, .count = 1, .on_done = on_bulk};
    x->items = calloc(1, sizeof(*x->items));
    assert_non_null(x->items);
    x->items[0].id = id;
    core_bulk(s->core, x);
    sim_run_ms(s, 100);
    assert_int_equal(answer, 1);
    check_killed(s, id);
}

/* ---- the end of the broker ---- */

static int recalls;

static void on_recalled(struct dispatch_recall *r)
{
    (void)r;
    recalls++;
}

struct ending {
    struct store_probe probe;
    struct dispatch *dispatch;
    uint64_t ids[2];
    struct dispatch_recall recalls[2];
};

static void on_probed(struct store_op *op)
{
    struct ending *e = JM_CONTAINER_OF(op, struct ending, probe.op);

    assert_int_equal(op->status, JM_ESTORE);
    for (size_t i = 0; i < JM_COUNT_OF(e->ids); i++) {
        struct dispatch_job *job = dispatch_find(e->dispatch, e->ids[i]);

        e->recalls[i].on_done = on_recalled;
        if (i == 0)
            job->place = DISPATCH_RETURNING; /* as if it were on its way back to the backlog */
        assert_int_equal(dispatch_withdraw(e->dispatch, job, &e->recalls[i]), 0);
    }
    assert_int_equal(recalls, 0);
}

/* One of a job that is at home waits for a turn that does not come any more, and one of a job that
 * is out would ask a Redis to which there is no link. */
static void a_recall_that_begins_while_the_broker_ends_is_completed_too(void **state)
{
    struct sim *s = *state;
    struct ending e = {.dispatch = &s->core->dispatch};

    recalls = 0;
    story_beat_for(s, 5, "live", 0);
    for (size_t i = 0; i < JM_COUNT_OF(e.ids); i++)
        e.ids[i] = story_submit(s, (struct story_job){.queue = "live"});
    sim_run_ms(s, 100);
    e.probe.op = (struct store_op){.kind = STORE_PROBE, .on_done = on_probed};
    list_init(&e.probe.op.link);
    runner_submit(s->core->seams.runner, &e.probe.op);
    sim_broker_crash(s);
    assert_int_equal(recalls, 2);
    sim_broker_start(s);
}

/* ---- expiry ---- */

static void a_job_that_waits_in_redis_is_taken_back_and_expires(void **state)
{
    struct sim *s = *state;
    uint64_t id = submit_out(s, 3000);
    struct waiter waiter = {.on_end = on_end};

    assert_int_equal(core_wait(s->core, &waiter, id), 0);
    story_beat_for(s, 2, "live", 0);
    assert_int_equal(state_of(s, id), JOB_DISPATCHED);
    story_beat_for(s, 2, "live", 0);
    assert_int_equal(state_of(s, id), JOB_EXPIRED);
    assert_int_equal(waits_in_redis(s), 0);
    assert_int_equal(waiter.id, 0);
    assert_int_equal(s->core->dispatch.jobs, 0);
}

static void a_job_that_has_begun_in_time_does_not_expire(void **state)
{
    struct sim *s = *state;
    uint64_t id = submit_out(s, 3000);
    struct story_claimed claimed = story_claim(s, "live");

    story_beat_for(s, 5, "live", id);
    assert_int_equal(state_of(s, id), JOB_DISPATCHED);
    story_end(s, claimed, WIRE_HANDED_BACK);
    sim_run_ms(s, 500);
    assert_int_equal(state_of(s, id), JOB_EXPIRED); /* the next attempt has not begun in time */
}

static void what_expired_while_the_broker_was_away_expires_at_its_start(void **state)
{
    struct sim *s = *state;
    uint64_t waiting =
        story_submit(s, (struct story_job){.delay_ms = 60000, .expires_in_ms = 70000});
    uint64_t out = submit_out(s, 8000);

    s->wall_ms += 80000;
    sim_broker_crash(s);
    sim_broker_start(s);
    story_beat_for(s, 8, "live", 0);
    assert_int_equal(state_of(s, waiting), JOB_EXPIRED);
    assert_int_equal(state_of(s, out), JOB_EXPIRED);
}

/* More of them than are looked at in one go are with workers that have not said so yet. */
static void jobs_that_cannot_be_taken_back_keep_no_other_from_expiring(void **state)
{
    enum { QUEUES = 1 + EXPIRY_JOBS / WINDOW_UNSERVED_JOBS };
    struct sim *s = *state;
    char name[8];
    uint64_t id;

    sim_run_ms(s, 3000); /* until the link is up */
    for (unsigned i = 0; i < QUEUES * WINDOW_UNSERVED_JOBS; i++) {
        snprintf(name, sizeof(name), "q%u", i % QUEUES);
        (void)story_submit(s, (struct story_job){.queue = name, .expires_in_ms = 1000});
        sim_run_ms(s, 1);
    }
    sim_run_ms(s, 200);
    for (unsigned i = 0; i < QUEUES * WINDOW_UNSERVED_JOBS; i++) {
        snprintf(name, sizeof(name), "q%u", i % QUEUES);
        assert_int_not_equal(story_claim(s, name).id, 0);
    }
    id = story_submit(s, (struct story_job){.queue = "live", .expires_in_ms = 1200});
    sim_run_ms(s, 200);
    assert_int_equal(waits_in_redis(s), 1);
    sim_run_ms(s, 1800);
    assert_int_equal(state_of(s, id), JOB_EXPIRED);
}

static void a_clock_that_jumps_ahead_for_a_while_ends_no_job(void **state)
{
    const int64_t year_ms = INT64_C(365) * 24 * 3600 * 1000;
    struct sim *s = *state;
    uint64_t id =
        story_submit(s, (struct story_job){.delay_ms = 3600000, .expires_in_ms = 3600000 + 300000});

    sim_run_ms(s, 1000);
    s->wall_ms += year_ms;
    expiry_look(&s->core->expiry);
    sim_run_ms(s, 300000);
    assert_true(state_of(s, id) == JOB_QUEUED); /* it is due, and not sent */
    s->wall_ms -= year_ms;
    sim_run_ms(s, 3600000 - 302000);
    assert_true(state_of(s, id) != JOB_EXPIRED);
    sim_run_ms(s, 303000);
    assert_int_equal(state_of(s, id), JOB_EXPIRED);
}

/* ---- what is kept ---- */

/* The world's broker keeps an end for 20 s. */
static uint64_t succeed_one(struct sim *s)
{
    uint64_t id = submit_out(s, 0);

    assert_int_equal(story_end_all(s, "live"), 1);
    sim_run_ms(s, 500);
    assert_int_equal(state_of(s, id), JOB_SUCCEEDED);
    return id;
}

static void an_end_goes_when_its_time_is_over(void **state)
{
    struct sim *s = *state;
    uint64_t id = succeed_one(s);

    sim_run_ms(s, 18000);
    assert_int_equal(state_of(s, id), JOB_SUCCEEDED);
    sim_run_ms(s, 15000);
    assert_int_equal(state_of(s, id), JOB_NONE);
}

static void a_clock_that_jumps_ahead_for_a_while_takes_nothing_along(void **state)
{
    const int64_t year_ms = INT64_C(365) * 24 * 3600 * 1000;
    struct sim *s = *state;
    uint64_t id = succeed_one(s);

    s->wall_ms += year_ms;
    sim_run_ms(s, 300000);
    assert_int_equal(state_of(s, id), JOB_SUCCEEDED);
    s->wall_ms -= year_ms;
    sim_run_ms(s, 300000);
    assert_int_equal(state_of(s, id), JOB_SUCCEEDED); /* long over, but the clock has to settle */
    sim_run_ms(s, 400000);
    assert_int_equal(state_of(s, id), JOB_NONE);
}

/* A step that waits for the commits before it has to bring more than they do. */
static void a_purge_that_has_much_to_do_takes_larger_steps(void **state)
{
    enum { JOBS = 2000 };
    struct sim *s = *state;
    struct purge_stats *stats = &s->core->purge.stats;
    uint64_t steps, ended = 0;

    story_beat_for(s, 5, "live", 0);
    for (size_t i = 0; i < JOBS; i++)
        (void)story_submit(s, (struct story_job){.queue = "live"});
    for (size_t i = 0; ended < JOBS && i < 1000; i++) {
        sim_run_ms(s, 10);
        ended += story_end_all(s, "live");
    }
    assert_int_equal(ended, JOBS);
    sim_run_ms(s, 18000); /* kept for 20 s */
    assert_int_equal(stats->rows, 0);
    steps = stats->steps;
    sim_run_ms(s, 15000);
    assert_int_equal(stats->rows, JOBS);
    assert_in_range(stats->steps - steps, 5, 14);    /* some find nothing yet, or any more */
    assert_int_equal(s->core->purge.step_rows, 128); /* small again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_job_is_taken_back_from_redis_to_be_changed),
        STORY(a_job_that_a_worker_has_is_not_changed),
        STORY(what_redis_cannot_say_counts_as_running),
        STORY(a_job_in_the_backlog_is_changed_at_once),
        STORY(a_cancelled_job_that_still_runs_is_tried_again),
        STORY(many_are_cancelled_in_several_commits_and_taken_back),
        STORY(a_job_of_which_only_heartbeats_say_that_it_runs_was_killed_by_a_cancel),
        STORY(so_was_one_of_many),
        STORY(a_recall_that_begins_while_the_broker_ends_is_completed_too),
        STORY(a_job_that_waits_in_redis_is_taken_back_and_expires),
        STORY(a_job_that_has_begun_in_time_does_not_expire),
        STORY(what_expired_while_the_broker_was_away_expires_at_its_start),
        STORY(jobs_that_cannot_be_taken_back_keep_no_other_from_expiring),
        STORY(a_clock_that_jumps_ahead_for_a_while_ends_no_job),
        STORY(an_end_goes_when_its_time_is_over),
        STORY(a_purge_that_has_much_to_do_takes_larger_steps),
        STORY(a_clock_that_jumps_ahead_for_a_while_takes_nothing_along),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
