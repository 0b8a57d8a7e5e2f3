/*
 * What an event does to a job, row by row: the budgets of failures, crashes and deaths, what is
 * free of charge, and what a task may say about its next attempt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/verdict.h"
#include "schema/errors.h"

/* A fixed wait without jitter, so that it can be read off. */
static const struct backoff fixed = {.kind = BACKOFF_FIXED, .base_ms = 700};

enum { LOST_BEGUN = 100, LOST_UNBEGUN, REFUSED }; /* beside enum wire_event_kind */

struct row {
    const char *title;
    unsigned what;
    enum wire_retry retry;
    struct verdict_job before; /* attempt and state as in `job` if they are zero */
    enum job_state state;      /* after it */
    uint32_t attempt;
    uint32_t failures;
    uint32_t crashes;
    uint32_t deaths;
    int64_t wait_ms;
    int error;
};

static const struct row rows[] = {
    {"the first failure of three",
     WIRE_FAILED,
     0,
     {.failures = 0},
     JOB_SCHEDULED,
     2,
     1,
     0,
     0,
     700,
     JM_ETASKFAILED},
    {"the last but one",
     WIRE_FAILED,
     0,
     {.failures = 1},
     JOB_SCHEDULED,
     2,
     2,
     0,
     0,
     700,
     JM_ETASKFAILED},
    {"the last one", WIRE_FAILED, 0, {.failures = 2}, JOB_FAILED, 1, 3, 0, 0, 0, JM_ETASKFAILED},
    {"one attempt only",
     WIRE_FAILED,
     0,
     {.max_attempts = 1},
     JOB_FAILED,
     1,
     1,
     0,
     0,
     0,
     JM_ETASKFAILED},
    {"fewer attempts than it has had, after a change",
     WIRE_FAILED,
     0,
     {.max_attempts = 1, .failures = 7},
     JOB_FAILED,
     1,
     8,
     0,
     0,
     0,
     JM_ETASKFAILED},
    {"crashes and deaths are no failures",
     WIRE_FAILED,
     0,
     {.failures = 1, .crashes = 2, .deaths = 4},
     JOB_SCHEDULED,
     2,
     2,
     2,
     4,
     700,
     JM_ETASKFAILED},
    {"a time limit is a failure",
     WIRE_TIMED_OUT,
     0,
     {.failures = 0},
     JOB_SCHEDULED,
     2,
     1,
     0,
     0,
     700,
     JM_EJOBTIMEOUT},
    {"refused arguments", REFUSED, 0, {.failures = 0}, JOB_FAILED, 1, 1, 0, 0, 0, JM_ETASKARGS},
    {"never again",
     WIRE_FAILED,
     WIRE_RETRY_NEVER,
     {.failures = 0},
     JOB_FAILED,
     1,
     1,
     0,
     0,
     0,
     JM_ETASKFAILED},
    {"after a time of its own",
     WIRE_FAILED,
     WIRE_RETRY_AFTER,
     {.failures = 0},
     JOB_SCHEDULED,
     2,
     1,
     0,
     0,
     12345,
     JM_ETASKFAILED},
    {"a time of its own, and no attempt is left",
     WIRE_FAILED,
     WIRE_RETRY_AFTER,
     {.failures = 2},
     JOB_FAILED,
     1,
     3,
     0,
     0,
     0,
     JM_ETASKFAILED},
    {"refused arguments with a time of its own",
     REFUSED,
     WIRE_RETRY_AFTER,
     {.failures = 0},
     JOB_FAILED,
     1,
     1,
     0,
     0,
     0,
     JM_ETASKARGS},
    {"only a task that failed may say so",
     WIRE_TIMED_OUT,
     WIRE_RETRY_NEVER,
     {.failures = 0},
     JOB_SCHEDULED,
     2,
     1,
     0,
     0,
     700,
     JM_EJOBTIMEOUT},
    {"the first crash", WIRE_CRASHED, 0, {.crashes = 0}, JOB_QUEUED, 2, 0, 1, 0, 0, JM_ECRASHED},
    {"the second", WIRE_CRASHED, 0, {.crashes = 1}, JOB_SCHEDULED, 2, 0, 2, 0, 700, JM_ECRASHED},
    {"the third", WIRE_CRASHED, 0, {.crashes = 2}, JOB_FAILED, 1, 0, 3, 0, 0, JM_ECRASHED},
    {"crashes do not count against max_attempts",
     WIRE_CRASHED,
     0,
     {.max_attempts = 1, .crashes = 1},
     JOB_SCHEDULED,
     2,
     0,
     2,
     0,
     700,
     JM_ECRASHED},
    {"the fourth death", LOST_BEGUN, 0, {.deaths = 3}, JOB_QUEUED, 2, 0, 0, 4, 0, JM_EHOSTLOST},
    {"the fifth", LOST_BEGUN, 0, {.deaths = 4}, JOB_FAILED, 1, 0, 0, 5, 0, JM_EHOSTLOST},
    {"lost on its way, for the thousandth time",
     LOST_UNBEGUN,
     0,
     {.attempt = 1000, .deaths = 4},
     JOB_QUEUED,
     1001,
     0,
     0,
     4,
     0,
     JM_ELOST},
    {"handed back, all budgets nearly spent",
     WIRE_HANDED_BACK,
     0,
     {.failures = 2, .crashes = 2, .deaths = 4},
     JOB_QUEUED,
     2,
     2,
     2,
     4,
     0,
     0},
    {"killed by an order that no longer holds",
     WIRE_KILLED,
     0,
     {.failures = 2, .crashes = 2, .deaths = 4},
     JOB_QUEUED,
     2,
     2,
     2,
     4,
     0,
     0},
    {"a success, whatever went before",
     WIRE_SUCCEEDED,
     0,
     {.failures = 2, .crashes = 2, .deaths = 4},
     JOB_SUCCEEDED,
     1,
     2,
     2,
     4,
     0,
     0},
    {"the word that it runs",
     WIRE_RUNNING,
     0,
     {.state = JOB_DISPATCHED},
     JOB_RUNNING,
     1,
     0,
     0,
     0,
     0,
     0},
};

static struct verdict judge(const struct row *row, struct verdict_job job)
{
    struct store_event event = {.source = STORE_FROM_WORKER};
    struct verdict v;

    event.event.id = 5;
    event.event.attempt = job.attempt;
    event.event.retry = row->retry;
    event.event.retry_after_ms = row->retry == WIRE_RETRY_AFTER ? 12345 : 0;
    event.event.kind = row->what == REFUSED ? WIRE_FAILED : (enum wire_event_kind)row->what;
    if (row->what == REFUSED)
        event.event.code = span_of_str("bad_args");
    if (row->what == LOST_BEGUN || row->what == LOST_UNBEGUN) {
        event.source = STORE_LOST;
        event.event.has_begun = row->what == LOST_BEGUN;
    }
    verdict_of(&job, &fixed, &event, &v);
    return v;
}

static struct verdict_job before(const struct row *row)
{
    struct verdict_job job = row->before;

    if (job.state == JOB_NONE)
        job.state = JOB_RUNNING;
    if (job.attempt == 0)
        job.attempt = 1;
    if (job.max_attempts == 0)
        job.max_attempts = 3;
    return job;
}

static void check(const struct row *row, const struct verdict *v)
{
    bool is_good = v->outcome == STORE_APPLIED && v->after.state == row->state &&
                   v->after.attempt == row->attempt && v->after.failures == row->failures &&
                   v->after.crashes == row->crashes && v->after.deaths == row->deaths &&
                   v->error == row->error &&
                   (row->state != JOB_SCHEDULED || v->wait_ms == row->wait_ms);

    if (!is_good)
        fail_msg(
            "%s: state %d, attempt %u, %u failures, %u crashes, %u deaths, wait %lld, error %d",
            row->title, v->after.state, v->after.attempt, v->after.failures, v->after.crashes,
            v->after.deaths, (long long)v->wait_ms, v->error);
}

static void each_row_holds_where_the_job_runs_and_where_it_is_not_known_to(void **state)
{
    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        struct verdict_job job = before(&rows[i]);
        struct verdict v = judge(&rows[i], job);

        check(&rows[i], &v);
        if (rows[i].before.state != JOB_NONE)
            continue;
        job.state = JOB_DISPATCHED;
        v = judge(&rows[i], job);
        check(&rows[i], &v);
    }
}

static void of_another_attempt_every_row_is_late(void **state)
{
    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        struct verdict_job job = before(&rows[i]);
        struct store_event event = {.source = STORE_FROM_WORKER};
        struct verdict v;

        if (rows[i].what >= LOST_BEGUN)
            continue;
        event.event.kind = (enum wire_event_kind)rows[i].what;
        event.event.attempt = job.attempt + 1;
        verdict_of(&job, &fixed, &event, &v);
        assert_int_equal(v.outcome, STORE_LATE);
        job.attempt += 2;
        event.event.attempt = job.attempt - 1;
        verdict_of(&job, &fixed, &event, &v);
        assert_int_equal(v.outcome, STORE_LATE);
    }
}

static void a_job_that_asks_for_no_backoff_gets_the_usual_one(void **state)
{
    static const struct backoff none = {.kind = BACKOFF_DEFAULT};
    struct verdict_job job = {.state = JOB_RUNNING, .attempt = 2, .max_attempts = 9, .failures = 1};
    struct store_event event = {.source = STORE_FROM_WORKER};
    struct verdict v;

    (void)state;
    event.event = (struct wire_event){.kind = WIRE_FAILED, .id = 7, .attempt = 2};
    assert_true(verdict_needs_backoff(&event));
    verdict_of(&job, &none, &event, &v);
    assert_int_equal(v.wait_ms, backoff_ms(&BACKOFF_USUAL, 7, 2, 2));
    assert_in_range(v.wait_ms, 1800, 2200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_holds_where_the_job_runs_and_where_it_is_not_known_to),
        cmocka_unit_test(of_another_attempt_every_row_is_late),
        cmocka_unit_test(a_job_that_asks_for_no_backoff_gets_the_usual_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
