/*
 * What people and the clock do to jobs: retry, change, expiry, and the same for many at once.
 */
#include "tests/unit/store_fixture.h"

#include "broker/job_options.h"

static void cancel(struct fixture *f, uint64_t id)
{
    struct store_cancel op = {.id = id};

    assert_int_equal(fixture_run(f, &op.op, STORE_CANCEL), 0);
}

/* Submits `id` with these options. */
static void submit_with(struct fixture *f, uint64_t id, enum job_state state,
                        const struct job_options *options)
{
    struct store_submit op = fixture_submit_of(id, "q", state);
    struct buf record;

    buf_init(&record, JOB_OPTIONS_BYTES);
    job_options_encode(&record, options);
    op.spec.options = buf_span(&record);
    op.spec.limit_key = options->limit_key;
    op.spec.expires_at_ms = options->expires_at_ms;
    op.spec.retain_ms = options->retain_ms;
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    buf_done(&record);
}

/* ---- retry ---- */

static int retry(struct fixture *f, uint64_t id, struct store_retry *ret_op)
{
    *ret_op = (struct store_retry){.id = id};
    return fixture_run(f, &ret_op->op, STORE_RETRY);
}

static void fail_for_good(struct fixture *f, uint64_t id, uint32_t attempt)
{
    struct store_event event = fixture_event_of(WIRE_FAILED, id, attempt);

    event.event.retry = WIRE_RETRY_NEVER;
    assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
    assert_int_equal(event.ret_state, JOB_FAILED);
}

static void a_finished_job_is_tried_again_with_all_budgets_anew(void **state)
{
    struct fixture *f = *state;
    struct store_retry op;
    struct job_view job;
    uint32_t attempt;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    assert_int_equal(fixture_happen(f, WIRE_CRASHED, 1, 1), STORE_APPLIED);
    assert_int_equal(fixture_take(f, "q", &attempt), 1);
    fail_for_good(f, 1, 2);
    f->now_ms += 5000;
    assert_int_equal(retry(f, 1, &op), 0);
    assert_int_equal(op.ret_was, JOB_FAILED);
    assert_int_equal(op.ret_attempt, 3);
    job = fixture_get(f, 1);
    assert_int_equal(job.state, JOB_QUEUED);
    assert_int_equal(job.attempt, 3);
    assert_int_equal(job.failures + job.crashes + job.deaths, 0);
    assert_int_equal(job.due_ms, f->now_ms);
    assert_int_equal(job.finished_at_ms, 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM ends"), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM attempts WHERE attempt = 2"
                                    " AND outcome = 'failed' AND error IS NOT NULL"
                                    " AND ended_at_ms = 1700000000000"),
                     1);
    assert_int_equal(fixture_take(f, "q", &attempt), 1);
    assert_int_equal(attempt, 3);
    assert_int_equal(fixture_happen(f, WIRE_FAILED, 1, 2), STORE_LATE);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 1, 3), STORE_APPLIED);
    fixture_check_counts(f);
}

static void every_end_can_be_tried_again_and_goes_into_the_history(void **state)
{
    struct fixture *f = *state;
    uint64_t expired[1], out[1];
    struct store_expire expire = {.now_ms = f->now_ms + 1,
                                  .max_jobs = 1,
                                  .max_out = 1,
                                  .ret_ids = expired,
                                  .ret_out_ids = out};
    struct store_retry op;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 1, 1), STORE_APPLIED);
    fixture_submit(f, 2, "q", JOB_DISPATCHED);
    fail_for_good(f, 2, 1);
    fixture_submit(f, 3, "q", JOB_QUEUED);
    cancel(f, 3);
    submit_with(f, 4, JOB_QUEUED, &(struct job_options){.expires_at_ms = f->now_ms + 1});
    assert_int_equal(fixture_run(f, &expire.op, STORE_EXPIRE), 0);
    for (uint64_t id = 1; id <= 4; id++) {
        enum job_state was = fixture_get(f, id).state;
        char sql[120];

        assert_int_equal(was, JOB_SUCCEEDED + (int)id - 1);
        assert_int_equal(retry(f, id, &op), 0);
        assert_int_equal(op.ret_was, was);
        assert_int_equal(fixture_get(f, id).state, JOB_QUEUED);
        snprintf(sql, sizeof(sql), "SELECT count(*) FROM attempts WHERE id = %d AND outcome = '%s'",
                 (int)id, job_state_word(was));
        assert_int_equal(fixture_ask(f, sql), 1);
        assert_int_equal(retry(f, id, &op), JM_ENOTFINISHED);
    }
    assert_int_equal(retry(f, 5, &op), JM_ENOJOB);
    fixture_check_counts(f);
}

/* The delivery that was given up as lost may still be about, and must not pass for the new one. */
static void a_retry_goes_above_every_attempt_that_was_given_out(void **state)
{
    struct fixture *f = *state;
    struct store_retry op;
    uint32_t attempt;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    assert_int_equal(fixture_lose(f, 1, 1, false), STORE_APPLIED);
    assert_int_equal(fixture_take(f, "q", &attempt), 1);
    assert_int_equal(fixture_lose(f, 1, 2, false), STORE_APPLIED);
    assert_int_equal(fixture_take(f, "q", &attempt), 1);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 1, 1), STORE_APPLIED);
    assert_int_equal(fixture_get(f, 1).attempt, 1);
    assert_int_equal(retry(f, 1, &op), 0);
    assert_int_equal(op.ret_attempt, 4);
    assert_int_equal(fixture_ask(f, "SELECT group_concat(outcome) = 'succeeded,lost' FROM"
                                    " (SELECT outcome FROM attempts ORDER BY attempt)"),
                     1);
    assert_int_equal(fixture_take(f, "q", &attempt), 1);
    assert_int_equal(attempt, 4);
    for (uint32_t old = 1; old <= 3; old++)
        assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 1, old), STORE_LATE);
    fixture_check_counts(f);
}

static void a_retry_drops_an_expiry_that_has_passed_and_keeps_another(void **state)
{
    struct fixture *f = *state;
    struct store_retry op;

    submit_with(f, 1, JOB_QUEUED, &(struct job_options){.expires_at_ms = f->now_ms + 10});
    submit_with(
        f, 2, JOB_QUEUED,
        &(struct job_options){.expires_at_ms = f->now_ms + 100000, .limit_key = span_of_str("k")});
    cancel(f, 1);
    cancel(f, 2);
    f->now_ms += 10;
    assert_int_equal(retry(f, 1, &op), 0);
    assert_int_equal(retry(f, 2, &op), 0);
    assert_int_equal(fixture_ask(f, "SELECT expires_at_ms FROM live WHERE id = 1"), 0);
    assert_int_equal(fixture_get(f, 1).spec.expires_at_ms, 0);
    assert_int_equal(fixture_ask(f, "SELECT expires_at_ms FROM live WHERE id = 2"),
                     f->now_ms + 100000 - 10);
    assert_int_equal(fixture_get(f, 2).spec.expires_at_ms, f->now_ms + 100000 - 10);
    assert_true(span_is_str(fixture_get(f, 2).spec.limit_key, "k"));
}

/* ---- change ---- */

static void a_waiting_job_is_changed_in_what_is_named_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    static const uint8_t tags[] = {0x92, 0xa1, 'a', 0xa1, 'b'}, new_tags[] = {0x91, 0xa1, 'c'};
    struct store_submit submit = fixture_submit_of(1, "q", JOB_QUEUED);
    struct store_change op = {.id = 1, .now_ms = f->now_ms};
    struct job_options options;
    struct job_view job;

    submit.spec.tags = span_of(tags, sizeof(tags));
    assert_int_equal(fixture_run(f, &submit.op, STORE_SUBMIT), 0);
    op.what = CHANGE_TAGS | CHANGE_ARGS | CHANGE_TIMEOUT | CHANGE_MAX_ATTEMPTS | CHANGE_EXPIRES |
              CHANGE_RETAIN | CHANGE_BACKOFF | CHANGE_PRIORITY;
    op.spec = (struct job_spec){.tags = span_of(new_tags, sizeof(new_tags)),
                                .args = span_of("\x01", 1),
                                .timeout_ms = 77,
                                .max_attempts = 9,
                                .expires_at_ms = f->now_ms + 5,
                                .retain_ms = 88,
                                .priority = 8};
    op.backoff = (struct backoff){.kind = BACKOFF_FIXED, .base_ms = 12};
    assert_int_equal(fixture_run(f, &op.op, STORE_CHANGE), 0);
    assert_int_equal(op.ret_state, JOB_QUEUED);
    job = fixture_get(f, 1);
    assert_true(span_is_equal(job.spec.tags, op.spec.tags));
    assert_true(span_is_equal(job.spec.args, op.spec.args));
    assert_int_equal(job.spec.timeout_ms, 77);
    assert_int_equal(job.spec.max_attempts, 9);
    assert_int_equal(job.spec.expires_at_ms, f->now_ms + 5);
    assert_int_equal(job.spec.retain_ms, 88);
    assert_int_equal(job.spec.priority, 8);
    assert_int_equal(job.spec.grace_ms, JM_GRACE_DEFAULT_MS);
    assert_true(job_options_decode(job.spec.options, &options));
    assert_int_equal(options.backoff.base_ms, 12);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM live WHERE max_attempts = 9"
                                    " AND retain_ms = 88 AND expires_at_ms = 1700000000005"),
                     1);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM tags WHERE tag = 'c'"), 1);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM tags"), 1);

    op = (struct store_change){.id = 1, .now_ms = f->now_ms, .what = CHANGE_MAX_ATTEMPTS};
    op.spec.max_attempts = 2;
    assert_int_equal(fixture_run(f, &op.op, STORE_CHANGE), 0);
    job = fixture_get(f, 1);
    assert_int_equal(job.spec.max_attempts, 2);
    assert_int_equal(job.spec.timeout_ms, 77);
    assert_int_equal(job.spec.retain_ms, 88);
    assert_int_equal(job.spec.args.len, 1);
    assert_true(job_options_decode(job.spec.options, &options));
    assert_int_equal(options.backoff.base_ms, 12);
    fixture_check_counts(f);
}

static void a_changed_time_moves_a_job_between_scheduled_and_queued(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum job_state from;
        int64_t due_in_ms;
        enum job_state to;
        int64_t then_in_ms;
    } rows[] = {
        {JOB_SCHEDULED, 500, JOB_SCHEDULED, 500}, {JOB_SCHEDULED, 0, JOB_QUEUED, 0},
        {JOB_SCHEDULED, -500, JOB_QUEUED, 0},     {JOB_QUEUED, 500, JOB_SCHEDULED, 500},
        {JOB_QUEUED, -500, JOB_QUEUED, -1000}, /* it keeps its place */
    };

    f->now_ms += 1000; /* the fixture's jobs are due at the old time */
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        struct store_change op = {.id = i + 1, .what = CHANGE_DUE, .now_ms = f->now_ms};

        op.due_ms = f->now_ms + rows[i].due_in_ms;
        fixture_submit(f, op.id, "q", rows[i].from);
        assert_int_equal(fixture_run(f, &op.op, STORE_CHANGE), 0);
        assert_int_equal(op.ret_state, rows[i].to);
        assert_int_equal(op.ret_due_ms, f->now_ms + rows[i].then_in_ms);
        assert_int_equal(fixture_get(f, op.id).state, rows[i].to);
        assert_int_equal(fixture_get(f, op.id).due_ms, op.ret_due_ms);
    }
    fixture_check_counts(f);
}

/* As if it had not been lost: nobody has been told of another end. */
static void a_success_that_was_given_up_counts_also_if_the_job_was_put_off(void **state)
{
    struct fixture *f = *state;
    struct store_change op = {.id = 1, .what = CHANGE_DUE, .now_ms = f->now_ms};

    op.due_ms = f->now_ms + 1000;
    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    assert_int_equal(fixture_lose(f, 1, 1, false), STORE_APPLIED);
    assert_int_equal(fixture_run(f, &op.op, STORE_CHANGE), 0);
    assert_int_equal(fixture_get(f, 1).state, JOB_SCHEDULED);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 1, 1), STORE_APPLIED);
    assert_int_equal(fixture_get(f, 1).state, JOB_SUCCEEDED);
    fixture_check_counts(f);
}

static int change_args(struct fixture *f, uint64_t id)
{
    struct store_change op = {.id = id, .what = CHANGE_ARGS, .now_ms = f->now_ms};

    op.spec.args = span_of("\x01", 1);
    return fixture_run(f, &op.op, STORE_CHANGE);
}

/* Whatever was sent with the old ones, and however it comes back, does not count. */
static void new_arguments_are_a_new_attempt_free_of_charge(void **state)
{
    struct fixture *f = *state;
    struct job_view job;
    uint32_t attempt;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    assert_int_equal(fixture_lose(f, 1, 1, false), STORE_APPLIED);
    assert_int_equal(change_args(f, 1), 0);
    job = fixture_get(f, 1);
    assert_int_equal(job.attempt, 3);
    assert_int_equal(job.failures + job.crashes + job.deaths, 0);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 1, 1), STORE_LATE); /* it was given up */
    assert_int_equal(fixture_take(f, "q", &attempt), 1);
    assert_int_equal(attempt, 3);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 1, 2), STORE_LATE);
    assert_int_equal(fixture_lose(f, 1, 3, false), STORE_APPLIED);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 1, 2), STORE_LATE);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 1, 3), STORE_APPLIED);
    assert_int_equal(fixture_ask(f, "SELECT group_concat(attempt, '') FROM attempts"), 13);
    fixture_check_counts(f);
}

static void a_time_that_comes_behind_the_expiry_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        unsigned what;
        int64_t due_in_ms, expires_in_ms;
        int status;
    } rows[] = {
        {CHANGE_DUE, 1000, 0, JM_EFIELD},
        {CHANGE_DUE, 999, 0, 0},
        {CHANGE_EXPIRES, 0, 999, JM_EFIELD}, /* it is due by then */
        {CHANGE_PRIORITY, 0, 0, 0},
        {CHANGE_DUE | CHANGE_EXPIRES, 2000, 2000, JM_EFIELD},
        {CHANGE_DUE | CHANGE_EXPIRES, 2000, 2001, 0},
        {CHANGE_DUE, 2001, 0, JM_EFIELD},
    };

    submit_with(f, 1, JOB_QUEUED, &(struct job_options){.expires_at_ms = f->now_ms + 1000});
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        struct store_change op = {.id = 1, .what = rows[i].what, .now_ms = f->now_ms};
        struct job_view before = fixture_get(f, 1), after;

        op.due_ms = f->now_ms + rows[i].due_in_ms;
        op.spec.expires_at_ms = f->now_ms + rows[i].expires_in_ms;
        op.spec.priority = 7;
        assert_int_equal(fixture_run(f, &op.op, STORE_CHANGE), rows[i].status);
        after = fixture_get(f, 1);
        assert_true(rows[i].status == 0 ||
                    (after.due_ms == before.due_ms && after.state == before.state));
        assert_true(after.due_ms < fixture_ask(f, "SELECT expires_at_ms FROM live"));
    }
    fixture_check_counts(f);
}

static void a_changed_priority_is_the_one_by_which_it_is_taken(void **state)
{
    struct fixture *f = *state;
    struct store_change op = {.id = 2, .what = CHANGE_PRIORITY, .now_ms = f->now_ms};
    uint32_t attempt;

    fixture_submit(f, 1, "q", JOB_QUEUED);
    fixture_submit(f, 2, "q", JOB_QUEUED);
    op.spec.priority = JM_PRIORITY_MAX;
    assert_int_equal(fixture_run(f, &op.op, STORE_CHANGE), 0);
    assert_int_equal(fixture_take(f, "q", &attempt), 2);
    assert_int_equal(fixture_take(f, "q", &attempt), 1);
    fixture_check_counts(f);
}

static void a_job_that_is_out_or_over_is_not_changed(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum job_state state;
        int status;
    } rows[] = {{JOB_DISPATCHED, JM_ERUNNING},
                {JOB_RUNNING, JM_ERUNNING},
                {JOB_SUCCEEDED, JM_EFINISHED},
                {JOB_NONE, JM_ENOJOB}};

    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        struct store_change op = {.id = i + 1, .what = CHANGE_PRIORITY, .spec.priority = 9};

        if (rows[i].state != JOB_NONE)
            fixture_submit(f, op.id, "q", JOB_DISPATCHED);
        if (rows[i].state == JOB_RUNNING)
            assert_int_equal(fixture_happen(f, WIRE_RUNNING, op.id, 1), STORE_APPLIED);
        if (rows[i].state == JOB_SUCCEEDED)
            assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, op.id, 1), STORE_APPLIED);
        assert_int_equal(fixture_run(f, &op.op, STORE_CHANGE), rows[i].status);
        assert_int_equal(op.ret_state, rows[i].state);
        if (rows[i].state != JOB_NONE)
            assert_int_equal(fixture_get(f, op.id).spec.priority, JM_PRIORITY_DEFAULT);
    }
}

/* ---- expiry ---- */

static struct store_expire expire(struct fixture *f, size_t max_jobs)
{
    static uint64_t ids[16], out[16];
    struct store_expire op = {.now_ms = f->now_ms,
                              .max_jobs = max_jobs,
                              .max_out = max_jobs,
                              .ret_ids = ids,
                              .ret_out_ids = out};

    assert_int_equal(fixture_run(f, &op.op, STORE_EXPIRE), 0);
    return op;
}

static void what_has_not_begun_by_its_time_expires(void **state)
{
    struct fixture *f = *state;
    struct store_expire op;
    int64_t start_ms = f->now_ms;

    for (uint64_t id = 1; id <= 4; id++)
        submit_with(f, id, id % 2 == 0 ? JOB_QUEUED : JOB_SCHEDULED,
                    &(struct job_options){.expires_at_ms = start_ms + (int64_t)id * 10});
    fixture_submit(f, 5, "q", JOB_QUEUED);
    op = expire(f, 16);
    assert_int_equal(op.ret_count, 0);
    assert_int_equal(op.ret_next_ms, start_ms + 10);
    f->now_ms += 30;
    op = expire(f, 2);
    assert_int_equal(op.ret_count, 2);
    assert_int_equal(op.ret_ids[0], 1);
    assert_int_equal(op.ret_ids[1], 2);
    assert_int_equal(op.ret_next_ms, start_ms + 30); /* there is more */
    op = expire(f, 2);
    assert_int_equal(op.ret_count, 1);
    assert_int_equal(op.ret_next_ms, start_ms + 40);
    assert_int_equal(fixture_get(f, 3).state, JOB_EXPIRED);
    assert_int_equal(fixture_get(f, 3).finished_at_ms, f->now_ms);
    assert_int_equal(fixture_get(f, 4).state, JOB_QUEUED);
    f->now_ms += 10;
    op = expire(f, 2);
    assert_int_equal(op.ret_count, 1);
    assert_int_equal(op.ret_next_ms, -1);
    assert_int_equal(fixture_get(f, 5).state, JOB_QUEUED);
    fixture_check_counts(f);
}

static void what_is_out_is_only_named_and_what_runs_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct store_ref ref = {.id = 1, .attempt = 1};
    struct store_put_back back = {.jobs = &ref, .count = 1};
    struct store_expire op;

    for (uint64_t id = 1; id <= 3; id++)
        submit_with(f, id, JOB_DISPATCHED,
                    &(struct job_options){.expires_at_ms = f->now_ms + (id == 3 ? 500 : 10)});
    assert_int_equal(fixture_happen(f, WIRE_RUNNING, 2, 1), STORE_APPLIED);
    op = expire(f, 16);
    assert_int_equal(op.ret_count + op.ret_out_count, 0);
    assert_int_equal(op.ret_next_ms, f->now_ms + 10);
    f->now_ms += 10;
    op = expire(f, 16);
    assert_int_equal(op.ret_count, 0);
    assert_int_equal(op.ret_out_count, 1);
    assert_int_equal(op.ret_out_ids[0], 1);
    assert_int_equal(op.ret_next_ms, f->now_ms + 490);
    assert_int_equal(fixture_get(f, 1).state, JOB_DISPATCHED);
    assert_int_equal(fixture_run(f, &back.op, STORE_PUT_BACK), 0);
    op = expire(f, 16);
    assert_int_equal(op.ret_count, 1);
    assert_int_equal(op.ret_ids[0], 1);
    assert_int_equal(fixture_get(f, 2).state, JOB_RUNNING);
    fixture_check_counts(f);
}

/* Whatever becomes of the first ones, the others are named in their turn. */
static void a_walk_over_what_is_out_goes_on_where_it_was(void **state)
{
    struct fixture *f = *state;
    uint64_t out[2];
    struct store_expire op = {.now_ms = f->now_ms + 10, .max_out = 2, .ret_out_ids = out};
    static const struct {
        size_t count;
        uint64_t first;
    } rows[] = {{2, 1}, {2, 3}, {1, 5}, {2, 1}};

    for (uint64_t id = 1; id <= 5; id++)
        submit_with(f, id, JOB_DISPATCHED,
                    &(struct job_options){.expires_at_ms = f->now_ms + 4 + (int64_t)id / 3});
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        assert_int_equal(fixture_run(f, &op.op, STORE_EXPIRE), 0);
        assert_int_equal(op.ret_out_count, rows[i].count);
        assert_int_equal(out[0], rows[i].first);
        assert_int_equal(op.ret_out_after.id, rows[i].count == 2 ? out[1] : 0);
        op.out_after = op.ret_out_after;
    }
}

static void what_has_expired_is_not_taken(void **state)
{
    struct fixture *f = *state;
    uint32_t attempt;

    submit_with(f, 1, JOB_QUEUED, &(struct job_options){.expires_at_ms = f->now_ms + 10});
    submit_with(f, 2, JOB_QUEUED, &(struct job_options){.expires_at_ms = f->now_ms + 11});
    f->now_ms += 10;
    assert_int_equal(fixture_take(f, "q", &attempt), 0); /* one is asked for, and that is over */
    assert_int_equal(expire(f, 16).ret_count, 1);
    assert_int_equal(fixture_take(f, "q", &attempt), 2);
    assert_int_equal(fixture_take(f, "q", &attempt), 0);
    fixture_check_counts(f);
}

static void an_event_tells_when_what_waits_again_expires(void **state)
{
    struct fixture *f = *state;
    struct store_event event = fixture_event_of(WIRE_HANDED_BACK, 1, 1);
    struct store_expire op;

    submit_with(f, 1, JOB_DISPATCHED, &(struct job_options){.expires_at_ms = f->now_ms + 10});
    f->now_ms += 10;
    assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
    assert_int_equal(event.ret_expires_at_ms, f->now_ms);
    op = expire(f, 16);
    assert_int_equal(op.ret_count, 1);
    assert_int_equal(fixture_get(f, 1).state, JOB_EXPIRED);
    assert_int_equal(fixture_get(f, 1).attempt, 2);
}

/* ---- many ---- */

enum { BULK_JOBS = 6 };

/* 1 scheduled, 2 queued, 3 dispatched, 4 running, 5 succeeded, 6 failed. */
static void make_all_sorts(struct fixture *f)
{
    fixture_submit(f, 1, "q", JOB_SCHEDULED);
    fixture_submit(f, 2, "q", JOB_QUEUED);
    for (uint64_t id = 3; id <= BULK_JOBS; id++)
        fixture_submit(f, id, "q", JOB_DISPATCHED);
    assert_int_equal(fixture_happen(f, WIRE_RUNNING, 4, 1), STORE_APPLIED);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 5, 1), STORE_APPLIED);
    fail_for_good(f, 6, 1);
}

static void many_are_changed_at_once_and_what_does_not_fit_is_passed_over(void **state)
{
    static const struct {
        enum store_bulk_verb verb;
        bool is_changed[BULK_JOBS + 1];
        enum job_state after; /* of those */
    } rows[] = {
        {BULK_CANCEL, {true, true, true, true, false, false, false}, JOB_CANCELLED},
        {BULK_RETRY, {false, false, false, false, true, true, false}, JOB_QUEUED},
        {BULK_DELETE, {false, false, false, false, true, true, false}, JOB_NONE},
    };

    for (size_t r = 0; r < JM_COUNT_OF(rows); r++) {
        struct fixture *f = *state;
        struct store_bulk_item items[BULK_JOBS + 1];
        struct store_bulk op = {.verb = rows[r].verb, .items = items, .count = BULK_JOBS + 1};
        enum job_state before[BULK_JOBS + 1] = {JOB_NONE};
        struct job_view job;
        size_t changed = 0;

        make_all_sorts(f);
        for (size_t i = 0; i <= BULK_JOBS; i++) {
            items[i] = (struct store_bulk_item){.id = i + 1}; /* the last one is none */
            if (i < BULK_JOBS)
                before[i] = fixture_get(f, i + 1).state;
        }
        assert_int_equal(fixture_run(f, &op.op, STORE_BULK), 0);
        for (size_t i = 0; i <= BULK_JOBS; i++) {
            int status = reader_get(fixture_reader(f), i + 1, false, &job);
            enum job_state expected = rows[r].is_changed[i] ? rows[r].after : before[i];

            assert_int_equal(items[i].ret_is_changed, rows[r].is_changed[i]);
            assert_int_equal(status == 0 ? job.state : JOB_NONE, expected);
            if (items[i].ret_is_changed)
                assert_int_equal(items[i].ret_was, before[i]);
            changed += items[i].ret_is_changed;
        }
        assert_int_equal(op.ret_changed, changed);
        fixture_check_counts(f);
        assert_int_equal(fixture_teardown(state) + fixture_setup(state), 0);
    }
}

#define LIFE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE_TEST(a_finished_job_is_tried_again_with_all_budgets_anew),
        LIFE_TEST(every_end_can_be_tried_again_and_goes_into_the_history),
        LIFE_TEST(a_retry_goes_above_every_attempt_that_was_given_out),
        LIFE_TEST(a_retry_drops_an_expiry_that_has_passed_and_keeps_another),
        LIFE_TEST(a_waiting_job_is_changed_in_what_is_named_and_nothing_else),
        LIFE_TEST(a_changed_time_moves_a_job_between_scheduled_and_queued),
        LIFE_TEST(a_success_that_was_given_up_counts_also_if_the_job_was_put_off),
        LIFE_TEST(new_arguments_are_a_new_attempt_free_of_charge),
        LIFE_TEST(a_time_that_comes_behind_the_expiry_is_refused),
        LIFE_TEST(a_changed_priority_is_the_one_by_which_it_is_taken),
        LIFE_TEST(a_job_that_is_out_or_over_is_not_changed),
        LIFE_TEST(what_has_not_begun_by_its_time_expires),
        LIFE_TEST(what_is_out_is_only_named_and_what_runs_is_left_alone),
        LIFE_TEST(a_walk_over_what_is_out_goes_on_where_it_was),
        LIFE_TEST(what_has_expired_is_not_taken),
        LIFE_TEST(an_event_tells_when_what_waits_again_expires),
        LIFE_TEST(many_are_changed_at_once_and_what_does_not_fit_is_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
