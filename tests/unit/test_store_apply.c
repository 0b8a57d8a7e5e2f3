/*
 * Events: every kind in every state, the limits, lateness, repeats, and losses that were none.
 */
#include "tests/unit/store_fixture.h"

#include "broker/backoff.h"
#include "broker/job_options.h"
#include "lib/mp.h"

/* Brings a new job `id` into `state` with attempt 1. */
static void make_job(struct fixture *f, uint64_t id, enum job_state state)
{
    struct store_cancel cancel = {.id = id};

    switch (state) {
    case JOB_SCHEDULED:
    case JOB_QUEUED:
    case JOB_DISPATCHED:
        fixture_submit(f, id, "q", state);
        return;
    case JOB_NONE:
        return;
    default:
        fixture_submit(f, id, "q", JOB_DISPATCHED);
    }
    if (state == JOB_RUNNING)
        assert_int_equal(fixture_happen(f, WIRE_RUNNING, id, 1), STORE_APPLIED);
    if (state == JOB_SUCCEEDED)
        assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, id, 1), STORE_APPLIED);
    if (state == JOB_CANCELLED)
        assert_int_equal(fixture_run(f, &cancel.op, STORE_CANCEL), 0);
    if (state == JOB_FAILED) {
        struct store_event event = fixture_event_of(WIRE_FAILED, id, 1);

        event.event.code = span_of_str("bad_args");
        assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
    }
}

enum what {
    RUNS,
    SUCCEEDS,
    FAILS,
    REFUSES_ARGS,
    CRASHES,
    TIMES_OUT,
    IS_KILLED,
    COMES_BACK,
    IS_LOST_UNBEGUN,
    IS_LOST_BEGUN,
    WHAT_COUNT
};

static struct store_event event_of(enum what what, uint64_t id, uint32_t attempt)
{
    static const enum wire_event_kind kinds[] = {WIRE_RUNNING, WIRE_SUCCEEDED,  WIRE_FAILED,
                                                 WIRE_FAILED,  WIRE_CRASHED,    WIRE_TIMED_OUT,
                                                 WIRE_KILLED,  WIRE_HANDED_BACK};
    struct store_event event;

    if (what == IS_LOST_BEGUN || what == IS_LOST_UNBEGUN)
        return fixture_loss_of(id, attempt, what == IS_LOST_BEGUN);
    event = fixture_event_of(kinds[what], id, attempt);
    if (what == REFUSES_ARGS)
        event.event.code = span_of_str("bad_args");
    return event;
}

/* Where a job in that state is after its first event, and with which attempt; what is not here is
 * dropped as late. */
struct expectation {
    enum what what;
    enum job_state from;
    enum job_state to;
    uint32_t attempt;
};

static const struct expectation expectations[] = {
    {SUCCEEDS, JOB_SCHEDULED, JOB_SUCCEEDED, 1},   {RUNS, JOB_DISPATCHED, JOB_RUNNING, 1},
    {SUCCEEDS, JOB_QUEUED, JOB_SUCCEEDED, 1},      {SUCCEEDS, JOB_DISPATCHED, JOB_SUCCEEDED, 1},
    {SUCCEEDS, JOB_RUNNING, JOB_SUCCEEDED, 1},     {FAILS, JOB_DISPATCHED, JOB_SCHEDULED, 2},
    {FAILS, JOB_RUNNING, JOB_SCHEDULED, 2},        {REFUSES_ARGS, JOB_DISPATCHED, JOB_FAILED, 1},
    {REFUSES_ARGS, JOB_RUNNING, JOB_FAILED, 1},    {CRASHES, JOB_DISPATCHED, JOB_QUEUED, 2},
    {CRASHES, JOB_RUNNING, JOB_QUEUED, 2},         {TIMES_OUT, JOB_DISPATCHED, JOB_SCHEDULED, 2},
    {TIMES_OUT, JOB_RUNNING, JOB_SCHEDULED, 2},    {IS_KILLED, JOB_DISPATCHED, JOB_QUEUED, 2},
    {IS_KILLED, JOB_RUNNING, JOB_QUEUED, 2},       {COMES_BACK, JOB_DISPATCHED, JOB_QUEUED, 2},
    {COMES_BACK, JOB_RUNNING, JOB_QUEUED, 2},      {IS_LOST_UNBEGUN, JOB_DISPATCHED, JOB_QUEUED, 2},
    {IS_LOST_UNBEGUN, JOB_RUNNING, JOB_QUEUED, 2}, {IS_LOST_BEGUN, JOB_DISPATCHED, JOB_QUEUED, 2},
    {IS_LOST_BEGUN, JOB_RUNNING, JOB_QUEUED, 2},
};

static const struct expectation *find(enum what what, enum job_state from)
{
    for (size_t i = 0; i < JM_COUNT_OF(expectations); i++)
        if (expectations[i].what == what && expectations[i].from == from)
            return &expectations[i];
    return NULL;
}

static void check_one(struct fixture *f, enum what what, enum job_state from, uint64_t id)
{
    const struct expectation *e = find(what, from);
    struct store_event event = event_of(what, id, 1);
    enum store_outcome outcome;

    make_job(f, id, from);
    outcome = fixture_apply(f, &event);
    if (e == NULL) {
        assert_int_equal(outcome, from == JOB_NONE ? STORE_UNKNOWN : STORE_LATE);
        assert_int_equal(event.ret_state, from);
        return;
    }
    assert_int_equal(outcome, STORE_APPLIED);
    assert_int_equal(event.ret_state, e->to);
    assert_int_equal(event.ret_attempt, e->attempt);
    assert_false(event.ret_supersedes);
    assert_int_equal(fixture_get(f, id).state, e->to);
    assert_int_equal(fixture_get(f, id).attempt, e->attempt);
    if (e->to == JOB_SCHEDULED)
        assert_int_equal(event.ret_due_ms, f->now_ms + backoff_ms(&BACKOFF_USUAL, id, 1, 1));
}

static void every_event_in_every_state_does_what_the_table_says(void **state)
{
    struct fixture *f = *state;
    static const enum job_state states[] = {JOB_NONE,    JOB_SCHEDULED, JOB_QUEUED, JOB_DISPATCHED,
                                            JOB_RUNNING, JOB_SUCCEEDED, JOB_FAILED, JOB_CANCELLED};
    uint64_t id = 0;

    for (int what = 0; what < WHAT_COUNT; what++)
        for (size_t i = 0; i < JM_COUNT_OF(states); i++)
            check_one(f, (enum what)what, states[i], ++id);
    fixture_check_counts(f);
}

static void every_event_is_applied_once_however_often_it_comes(void **state)
{
    struct fixture *f = *state;

    for (int what = 0; what < WHAT_COUNT; what++) {
        uint64_t id = (uint64_t)what + 1;
        struct store_event event = event_of((enum what)what, id, 1);
        struct job_view before;
        struct job_view after;

        fixture_submit(f, id, "q", JOB_DISPATCHED);
        assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
        before = fixture_get(f, id);
        for (int again = 0; again < 3; again++) {
            event = event_of((enum what)what, id, 1);
            assert_int_equal(fixture_apply(f, &event), STORE_LATE);
        }
        after = fixture_get(f, id);
        assert_int_equal(before.state, after.state);
        assert_int_equal(before.attempt, after.attempt);
        assert_int_equal(before.failures, after.failures);
        assert_int_equal(before.crashes, after.crashes);
        assert_int_equal(before.deaths, after.deaths);
        assert_int_equal(before.due_ms, after.due_ms);
        assert_int_equal(before.finished_at_ms, after.finished_at_ms);
    }
    fixture_check_counts(f);
}

static void an_event_of_another_attempt_is_late(void **state)
{
    struct fixture *f = *state;
    uint32_t attempt;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    assert_int_equal(fixture_happen(f, WIRE_HANDED_BACK, 1, 1), STORE_APPLIED);
    assert_int_equal(fixture_take(f, "q", &attempt), 1);
    assert_int_equal(attempt, 2);
    for (int what = 0; what < WHAT_COUNT; what++) {
        struct store_event old = event_of((enum what)what, 1, 1);
        struct store_event future = event_of((enum what)what, 1, 3);

        assert_int_equal(fixture_apply(f, &old), STORE_LATE);
        assert_int_equal(old.ret_attempt, 2);
        assert_int_equal(old.ret_state, JOB_DISPATCHED);
        assert_int_equal(fixture_apply(f, &future), STORE_LATE);
    }
    assert_int_equal(fixture_get(f, 1).state, JOB_DISPATCHED);
}

static void a_kind_that_nobody_knows_is_invalid(void **state)
{
    struct fixture *f = *state;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    assert_int_equal(fixture_happen(f, (enum wire_event_kind)99, 1, 1), STORE_INVALID);
    assert_int_equal(fixture_get(f, 1).state, JOB_DISPATCHED);
}

/* ---- limits ---- */

/* Lets the job come up again until it is dispatched, whatever it waits for. */
static uint32_t bring_out(struct fixture *f, uint64_t id)
{
    struct store_due due = {.now_ms = INT64_MAX, .max_jobs = 100};
    uint32_t attempt = 0;

    assert_int_equal(fixture_run(f, &due.op, STORE_DUE), 0);
    assert_int_equal(fixture_take(f, "q", &attempt), id);
    return attempt;
}

/* The string under `key` in the job's error map; "" if it has none. */
static const char *error_field(const struct job_view *job, const char *key)
{
    static char text[5000];
    struct mp_cursor c;
    uint32_t count = 0;

    text[0] = '\0';
    mp_open(&c, job->error);
    assert_true(mp_next_map(&c, &count));
    for (uint32_t i = 0; i < count; i++) {
        struct span name;
        struct mp_token value;

        assert_true(mp_next_str(&c, &name));
        assert_true(mp_next(&c, &value));
        if (!span_is_str(name, key))
            continue;
        if (value.type == MP_STR)
            snprintf(text, sizeof(text), "%.*s", (int)value.bytes.len,
                     (const char *)value.bytes.data);
        else
            snprintf(text, sizeof(text), "%llu", (unsigned long long)value.u64);
    }
    assert_true(mp_is_at_end(&c));
    return text;
}

static void failures_are_tried_again_later_and_later_until_the_limit(void **state)
{
    struct fixture *f = *state;
    struct job_view job;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    for (uint32_t attempt = 1; attempt <= JM_MAX_ATTEMPTS_DEFAULT; attempt++) {
        struct store_event event = event_of(attempt == 2 ? TIMES_OUT : FAILS, 1, attempt);

        event.event.message = span_of_str("no luck");
        assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
        if (attempt == JM_MAX_ATTEMPTS_DEFAULT)
            break;
        assert_int_equal(event.ret_state, JOB_SCHEDULED);
        assert_int_equal(event.ret_due_ms,
                         f->now_ms + backoff_ms(&BACKOFF_USUAL, 1, attempt, attempt));
        job = fixture_get(f, 1);
        assert_string_equal(error_field(&job, "code"), attempt == 2 ? "timed_out" : "task_failed");
        assert_int_equal(bring_out(f, 1), attempt + 1);
    }
    job = fixture_get(f, 1);
    assert_int_equal(job.state, JOB_FAILED);
    assert_int_equal(job.attempt, JM_MAX_ATTEMPTS_DEFAULT);
    assert_int_equal(job.failures, JM_MAX_ATTEMPTS_DEFAULT);
    assert_int_equal(job.finished_at_ms, f->now_ms);
    assert_string_equal(error_field(&job, "code"), "task_failed");
    assert_string_equal(error_field(&job, "message"), "no luck");
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM attempts WHERE id = 1"), 2);
    fixture_check_counts(f);
}

static void a_job_waits_by_its_own_backoff(void **state)
{
    struct fixture *f = *state;
    struct store_submit op = fixture_submit_of(1, "q", JOB_DISPATCHED);
    struct job_options options = {
        .backoff = {
            .kind = BACKOFF_EXPONENTIAL, .factor_milli = 3000, .base_ms = 50, .ceiling_ms = 1000}};
    static const int64_t waits_ms[] = {50, 150, 450, 1000, 1000};
    struct buf record;

    buf_init(&record, JOB_OPTIONS_BYTES);
    job_options_encode(&record, &options);
    op.spec.options = buf_span(&record);
    op.spec.max_attempts = 100;
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    buf_done(&record);
    for (uint32_t i = 0; i < JM_COUNT_OF(waits_ms); i++) {
        struct store_event event = event_of(FAILS, 1, i + 1);

        assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
        assert_int_equal(event.ret_due_ms, f->now_ms + waits_ms[i]);
        assert_int_equal(bring_out(f, 1), i + 2);
    }
}

static void an_unknown_task_is_tried_again_with_its_own_code(void **state)
{
    struct fixture *f = *state;
    struct store_event event = fixture_event_of(WIRE_FAILED, 1, 1);
    struct job_view job;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    event.event.code = span_of_str("unknown_task");
    assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
    assert_int_equal(event.ret_state, JOB_SCHEDULED);
    job = fixture_get(f, 1);
    assert_string_equal(error_field(&job, "code"), "unknown_task");
}

static void a_tasks_own_code_is_kept_beside_ours(void **state)
{
    static const struct {
        const char *said, *code, *task_code;
    } rows[] = {
        {"no_such_user", "task_failed", "no_such_user"},
        {"task_failed", "task_failed", ""},
        {"", "task_failed", ""},
        {"bad_result", "bad_result", ""},
        {"overloaded", "task_failed", "overloaded"},
        {"crashed", "task_failed", "crashed"},
        {"no name", "task_failed", ""},
    };
    struct fixture *f = *state;
    struct job_view job;

    for (uint64_t i = 0; i < JM_COUNT_OF(rows); i++) {
        struct store_event event = fixture_event_of(WIRE_FAILED, i + 1, 1);

        fixture_submit(f, i + 1, "q", JOB_DISPATCHED);
        event.event.code = span_of_str(rows[i].said);
        assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
        job = fixture_get(f, i + 1);
        assert_string_equal(error_field(&job, "code"), rows[i].code);
        assert_string_equal(error_field(&job, "task_code"), rows[i].task_code);
    }
}

static void crashes_are_counted_apart_and_end_with_evidence(void **state)
{
    struct fixture *f = *state;
    static const enum job_state expected[] = {JOB_QUEUED, JOB_SCHEDULED, JOB_FAILED};
    struct job_view job;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    for (uint32_t i = 0; i < JM_CRASH_LIMIT; i++) {
        struct store_event event = event_of(CRASHES, 1, i + 1);

        event.event.signal = 11;
        event.event.maxrss_bytes = 4096000;
        event.event.stderr_tail = span_of_str("segfault\xff here");
        assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
        assert_int_equal(event.ret_state, expected[i]);
        if (expected[i] != JOB_FAILED)
            assert_int_equal(bring_out(f, 1), i + 2);
    }
    job = fixture_get(f, 1);
    assert_int_equal(job.crashes, JM_CRASH_LIMIT);
    assert_int_equal(job.failures, 0);
    assert_string_equal(error_field(&job, "code"), "crashed");
    assert_string_equal(error_field(&job, "signal"), "11");
    assert_string_equal(error_field(&job, "maxrss_bytes"), "4096000");
    assert_string_equal(error_field(&job, "stderr"), "segfault\xef\xbf\xbd here");
}

static void host_deaths_end_a_job_only_if_it_had_begun(void **state)
{
    struct fixture *f = *state;
    struct job_view job;
    uint32_t attempt = 1;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(fixture_lose(f, 1, attempt, false), STORE_APPLIED);
        attempt = bring_out(f, 1);
    }
    for (int i = 1; i < JM_DEATH_LIMIT; i++) {
        assert_int_equal(fixture_lose(f, 1, attempt, true), STORE_APPLIED);
        attempt = bring_out(f, 1);
    }
    assert_int_equal(fixture_lose(f, 1, attempt, true), STORE_APPLIED);
    job = fixture_get(f, 1);
    assert_int_equal(job.state, JOB_FAILED);
    assert_int_equal(job.deaths, JM_DEATH_LIMIT);
    assert_int_equal(job.failures + job.crashes, 0);
    assert_string_equal(error_field(&job, "code"), "host_lost");
    fixture_check_counts(f);
}

static void handing_back_costs_nothing_and_keeps_the_place(void **state)
{
    struct fixture *f = *state;
    struct job_view job;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    fixture_submit(f, 2, "q", JOB_QUEUED);
    for (uint32_t attempt = 1; attempt <= 50; attempt++) {
        assert_int_equal(fixture_happen(f, WIRE_HANDED_BACK, 1, attempt), STORE_APPLIED);
        assert_int_equal(bring_out(f, 1), attempt + 1); /* before job 2 */
    }
    job = fixture_get(f, 1);
    assert_int_equal(job.failures + job.crashes + job.deaths, 0);
    assert_int_equal(job.error.len, 0);
}

static void of_a_long_history_the_newest_are_kept(void **state)
{
    struct fixture *f = *state;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    fixture_submit(f, 2, "q", JOB_DISPATCHED);
    assert_int_equal(fixture_happen(f, WIRE_FAILED, 2, 1), STORE_APPLIED);
    for (uint32_t attempt = 1; attempt <= JM_ATTEMPTS_KEPT + 5; attempt++) {
        uint32_t next = 0;

        assert_int_equal(fixture_happen(f, WIRE_HANDED_BACK, 1, attempt), STORE_APPLIED);
        assert_int_equal(fixture_take(f, "q", &next), 1);
    }
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM attempts WHERE id = 1"),
                     JM_ATTEMPTS_KEPT);
    assert_int_equal(fixture_ask(f, "SELECT min(attempt) FROM attempts WHERE id = 1"), 6);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM attempts WHERE id = 2"), 1);
}

/* ---- losses that were none ---- */

static void a_success_after_a_loss_counts(void **state)
{
    struct fixture *f = *state;
    struct store_event event = fixture_event_of(WIRE_SUCCEEDED, 1, 1);
    struct job_view job;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    assert_int_equal(fixture_lose(f, 1, 1, false), STORE_APPLIED);
    assert_int_equal(bring_out(f, 1), 2);
    assert_int_equal(fixture_lose(f, 1, 2, true), STORE_APPLIED);
    assert_int_equal(bring_out(f, 1), 3);
    event.event.result = span_of("\x2a", 1);
    assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
    assert_true(event.ret_supersedes);
    assert_int_equal(event.ret_state, JOB_SUCCEEDED);
    assert_int_equal(event.ret_attempt, 3);
    job = fixture_get(f, 1);
    assert_int_equal(job.state, JOB_SUCCEEDED);
    assert_int_equal(job.attempt, 1);
    assert_true(span_is_equal(job.result, span_of("\x2a", 1)));
    for (uint32_t attempt = 1; attempt <= 3; attempt++)
        assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 1, attempt), STORE_LATE);
    fixture_check_counts(f);
}

static void only_a_success_may_come_after_a_loss(void **state)
{
    struct fixture *f = *state;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    assert_int_equal(fixture_lose(f, 1, 1, false), STORE_APPLIED);
    for (int what = 0; what < WHAT_COUNT; what++) {
        struct store_event event = event_of((enum what)what, 1, 1);

        if (what != SUCCEEDS)
            assert_int_equal(fixture_apply(f, &event), STORE_LATE);
    }
    assert_int_equal(fixture_get(f, 1).state, JOB_QUEUED);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 1, 1), STORE_APPLIED);
}

static void another_end_in_between_fences_the_lost_attempt(void **state)
{
    struct fixture *f = *state;
    static const enum what ends[] = {FAILS, CRASHES, TIMES_OUT, COMES_BACK, IS_KILLED};

    for (size_t i = 0; i < JM_COUNT_OF(ends); i++) {
        uint64_t id = i + 1;
        struct store_event event = event_of(ends[i], id, 2);
        struct store_cancel cancel = {.id = id};

        fixture_submit(f, id, "q", JOB_DISPATCHED);
        assert_int_equal(fixture_lose(f, id, 1, false), STORE_APPLIED);
        assert_int_equal(bring_out(f, id), 2);
        assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
        assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, id, 1), STORE_LATE);
        assert_int_equal(bring_out(f, id), 3);
        /* A new loss begins a run of its own. */
        assert_int_equal(fixture_lose(f, id, 3, false), STORE_APPLIED);
        assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, id, 1), STORE_LATE);
        assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, id, 2), STORE_LATE);
        assert_int_equal(fixture_run(f, &cancel.op, STORE_CANCEL), 0);
        assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, id, 3), STORE_LATE);
    }
    fixture_check_counts(f);
}

/* ---- what is kept ---- */

static void running_is_shown_with_its_host(void **state)
{
    struct fixture *f = *state;
    struct store_event event = fixture_event_of(WIRE_RUNNING, 1, 1);
    struct job_view job;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    event.event.host = UINT64_C(0xfedcba9876543210);
    event.event.begun_at_ms = 1234;
    assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
    job = fixture_get(f, 1);
    assert_int_equal(job.state, JOB_RUNNING);
    assert_true(job.host == UINT64_C(0xfedcba9876543210));
    assert_int_equal(job.begun_at_ms, 1234);
    event = fixture_event_of(WIRE_SUCCEEDED, 1, 1);
    event.event.host = 0;
    event.event.run_us = 55;
    assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
    job = fixture_get(f, 1);
    assert_true(job.host == UINT64_C(0xfedcba9876543210));
    assert_int_equal(job.begun_at_ms, 1234);
    assert_int_equal(job.run_us, 55);
}

static void texts_of_a_bad_end_are_cut(void **state)
{
    struct fixture *f = *state;
    static char message[JM_ERROR_MESSAGE_BYTES + 100];
    static char tail[JM_STDERR_TAIL_BYTES + 100];
    struct store_event event = event_of(REFUSES_ARGS, 1, 1);
    struct job_view job;

    memset(message, 'm', sizeof(message));
    memset(tail, 's', sizeof(tail));
    tail[sizeof(tail) - 1] = 'E';
    event.event.message = span_of(message, sizeof(message));
    event.event.stderr_tail = span_of(tail, sizeof(tail));
    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
    job = fixture_get(f, 1);
    assert_int_equal(strlen(error_field(&job, "message")), JM_ERROR_MESSAGE_BYTES);
    assert_int_equal(strlen(error_field(&job, "stderr")), JM_STDERR_TAIL_BYTES);
    assert_int_equal(error_field(&job, "stderr")[JM_STDERR_TAIL_BYTES - 1], 'E');
}

static void the_quarantine_is_bounded_and_its_entries_are_cut(void **state)
{
    struct fixture *f = *state;
    static uint8_t noise[JM_QUARANTINE_ENTRY_BYTES * 2];
    struct span bad[300];
    struct store_apply op = {.bad = bad, .bad_count = JM_COUNT_OF(bad)};

    for (size_t i = 0; i < JM_COUNT_OF(bad); i++)
        bad[i] = span_of(noise, i % 2 == 0 ? sizeof(noise) : i == 1 ? 0 : 3);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fixture_run(f, &op.op, STORE_APPLY), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM quarantine"), JM_QUARANTINE_ENTRIES);
    assert_int_equal(fixture_ask(f, "SELECT max(length(bytes)) FROM quarantine"),
                     JM_QUARANTINE_ENTRY_BYTES);
    assert_int_equal(fixture_ask(f, "SELECT max(length_bytes) FROM quarantine"), sizeof(noise));
    assert_int_equal(fixture_ask(f, "SELECT max(number) FROM quarantine"), 1500);
}

static void a_results_list_that_is_applied_twice_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct span bad = span_of("xx", 2);
    struct reader_start start;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    fixture_submit(f, 2, "q", JOB_DISPATCHED);
    for (int round = 0; round < 3; round++) {
        struct store_event events[] = {event_of(SUCCEEDS, 1, 1), event_of(CRASHES, 2, 1)};
        struct store_apply op = {
            .events = events, .event_count = 2, .taken = 7, .bad = &bad, .bad_count = 1};

        assert_int_equal(fixture_run(f, &op.op, STORE_APPLY), 0);
        assert_int_equal(events[0].ret_outcome, round == 0 ? STORE_APPLIED : STORE_LATE);
        assert_int_equal(events[1].ret_outcome, round == 0 ? STORE_APPLIED : STORE_LATE);
        fixture_close(f);
        fixture_open(f);
        assert_int_equal(reader_start(fixture_reader(f), &start), 0);
        assert_int_equal(start.last_taken, 7);
    }
    assert_int_equal(fixture_get(f, 2).crashes, 1);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM quarantine"), 1);
    fixture_check_counts(f);
}

#define APPLY_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        APPLY_TEST(every_event_in_every_state_does_what_the_table_says),
        APPLY_TEST(every_event_is_applied_once_however_often_it_comes),
        APPLY_TEST(an_event_of_another_attempt_is_late),
        APPLY_TEST(a_kind_that_nobody_knows_is_invalid),
        APPLY_TEST(failures_are_tried_again_later_and_later_until_the_limit),
        APPLY_TEST(a_job_waits_by_its_own_backoff),
        APPLY_TEST(an_unknown_task_is_tried_again_with_its_own_code),
        APPLY_TEST(a_tasks_own_code_is_kept_beside_ours),
        APPLY_TEST(crashes_are_counted_apart_and_end_with_evidence),
        APPLY_TEST(host_deaths_end_a_job_only_if_it_had_begun),
        APPLY_TEST(handing_back_costs_nothing_and_keeps_the_place),
        APPLY_TEST(of_a_long_history_the_newest_are_kept),
        APPLY_TEST(a_success_after_a_loss_counts),
        APPLY_TEST(only_a_success_may_come_after_a_loss),
        APPLY_TEST(another_end_in_between_fences_the_lost_attempt),
        APPLY_TEST(running_is_shown_with_its_host),
        APPLY_TEST(texts_of_a_bad_end_are_cut),
        APPLY_TEST(the_quarantine_is_bounded_and_its_entries_are_cut),
        APPLY_TEST(a_results_list_that_is_applied_twice_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
