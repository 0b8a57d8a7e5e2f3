/*
 * The flow of one request through api.c, call.c, show.c and the routes.
 */
#include "tests/unit/api_world.h"

/* ---- tests ---- */

static void a_job_that_has_not_ended_is_shown_at_once(void **state)
{
    struct world *w = *state;
    struct shot s;

    w->is_synced = false;
    get_job(w, &s, "", NULL);
    check(&s, 200, "\"state\":\"queued\"");
}

static void an_end_is_shown_only_when_it_is_on_disk(void **state)
{
    struct world *w = *state;
    struct shot s;
    struct shot list;

    set_state(w, JOB_SUCCEEDED);
    w->is_synced = false;
    get_job(w, &s, "", NULL);
    ask(w, &list, HTTP_GET, "/v1/jobs", NULL, NULL);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    check_open(&s);
    check_open(&list);
    sync_disk(w);
    check(&s, 200, "\"result\":42");
    check(&list, 200, "\"state\":\"succeeded\"");
}

static void a_wait_ends_with_the_job(void **state)
{
    struct world *w = *state;
    struct shot s;

    get_job(w, &s, "?wait=10", NULL);
    check_open(&s);
    pass_time(w, 9999);
    check_open(&s);
    set_state(w, JOB_SUCCEEDED);
    w->is_synced = false; /* by a later commit: the waiter is called behind its own */
    waiters_mark(&w->core.waiters, JOB_ID);
    waiters_turn(&w->core.waiters);
    check(&s, 200, "\"result\":42");
    pass_time(w, 1000);
    assert_int_equal(s.completions, 1);
}

static void a_wait_that_is_over_shows_the_job_as_it_is(void **state)
{
    struct world *w = *state;
    struct shot s;

    get_job(w, &s, "", "Prefer: wait=10");
    check_open(&s);
    pass_time(w, 10000);
    check(&s, 200, "\"state\":\"queued\"");
    assert_non_null(strstr(s.headers, "Preference-Applied: wait=10\n"));
    waiters_mark(&w->core.waiters, JOB_ID);
    waiters_turn(&w->core.waiters);
    assert_int_equal(s.completions, 1);
}

static void a_job_that_has_ended_needs_no_wait(void **state)
{
    struct world *w = *state;
    struct shot s;

    set_state(w, JOB_FAILED);
    get_job(w, &s, "?wait=10", NULL);
    check(&s, 200, "\"state\":\"failed\"");
    w->reader.job.id = 0;
    get_job(w, &s, "?wait=10", NULL);
    check(&s, 404, "there is no job");
}

static void who_goes_away_is_forgotten(void **state)
{
    struct world *w = *state;
    struct shot waiting;
    struct shot gated;

    get_job(w, &waiting, "?wait=10", NULL);
    leave(w, &waiting);
    assert_int_equal(waiting.completions, 1);
    assert_int_equal(waiters_count(&w->core.waiters), 0);
    set_state(w, JOB_SUCCEEDED);
    w->is_synced = false;
    get_job(w, &gated, "", NULL);
    leave(w, &gated);
    assert_int_equal(gated.completions, 1);
    assert_true(list_is_empty(&w->gates));
    pass_time(w, 20000);
    sync_disk(w);
    assert_int_equal(waiting.completions + gated.completions, 2);
    buf_done(&waiting.x.body_out);
    buf_done(&gated.x.body_out);
}

static void a_large_job_is_read_on_the_pool(void **state)
{
    struct world *w = *state;
    struct shot shots[READS_READERS + 3];

    w->reader.bytes = 1 << 20;
    for (size_t i = 0; i < JM_COUNT_OF(shots); i++) {
        get_job(w, &shots[i], "", NULL);
        check_open(&shots[i]);
    }
    leave(w, &shots[0]); /* while it is read: it is answered all the same */
    check_open(&shots[0]);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    for (size_t i = 0; i < JM_COUNT_OF(shots); i++)
        check(&shots[i], 200, "\"state\":\"queued\"");
}

static void a_stop_ends_waits_and_refuses_what_comes(void **state)
{
    struct world *w = *state;
    struct shot get;
    struct shot post;
    struct shot late;

    get_job(w, &get, "?wait=10", NULL);
    ask(w, &post, HTTP_POST, "/v1/jobs?wait=10", "Content-Type: application/json",
        "{\"task\":\"echo\"}");
    run_ops(w, 0);
    w->reader.job.id = w->core.ids.last;
    api_stop(&w->api, w, note_stopped);
    check(&get, 404, "there is no job"); /* the reader has only the one of the submit now */
    check(&post, 202, "\"state\":\"queued\"");
    ask(w, &late, HTTP_GET, "/ping", NULL, NULL);
    check(&late, 503, "shutting down");
}

static void a_stop_waits_for_what_is_with_the_store(void **state)
{
    struct world *w = *state;
    struct shot s;

    ask(w, &s, HTTP_POST, "/v1/jobs?wait=10", "Content-Type: application/json",
        "{\"task\":\"echo\"}");
    api_stop(&w->api, w, note_stopped);
    pass_time(w, 0);
    assert_false(w->has_stopped);
    w->reader.job.id = w->core.ids.last;
    run_ops(w, 0);
    check(&s, 202, "\"state\":\"queued\"");
}

static const struct store_submit *find_submit(struct world *w)
{
    LIST_EACH(node, &w->ops)
    {
        struct store_op *op = LIST_ENTRY(node, struct store_op, link);

        if (op->kind == STORE_SUBMIT)
            return JM_CONTAINER_OF(op, struct store_submit, op);
    }
    fail_msg("nothing is submitted");
    return NULL;
}

static void a_submit_is_answered_behind_its_commit(void **state)
{
    struct world *w = *state;
    struct shot s;

    ask(w, &s, HTTP_POST, "/v1/jobs", "Content-Type: application/json", "{\"task\":\"echo\"}");
    check_open(&s);
    assert_true(find_submit(w)->op.wants_sync);
    run_ops(w, 0);
    check(&s, 201, "\"task\":\"echo\",\"queue\":\"default\",\"state\":\"queued\"");
    assert_non_null(strstr(s.headers, "Location: /v1/jobs/0"));
    assert_null(strstr(s.headers, "Jobmill-Warning"));
}

/* A submit that waits, committed and not on disk. */
static void submit_unsynced(struct world *w, struct shot *s)
{
    ask(w, s, HTTP_POST, "/v1/jobs?wait=10", "Content-Type: application/json",
        "{\"task\":\"echo\"}");
    assert_false(find_submit(w)->op.wants_sync);
    w->is_synced = false;
    run_ops(w, 0);
    w->reader.job.id = w->core.ids.last;
    check_open(s);
}

static void a_submit_that_waits_is_synced_with_its_end_or_before_it_is_answered(void **state)
{
    struct world *w = *state;
    struct shot ended, timed_out, stopped, gone;

    submit_unsynced(w, &ended);
    set_state(w, JOB_SUCCEEDED);
    w->reader.job.id = w->core.ids.last;
    waiters_mark(&w->core.waiters, w->core.ids.last); /* behind the sync of its end */
    waiters_turn(&w->core.waiters);
    check(&ended, 200, "\"state\":\"succeeded\"");
    set_state(w, JOB_QUEUED);
    submit_unsynced(w, &timed_out);
    pass_time(w, 10000);
    check_open(&timed_out);
    sync_disk(w);
    check(&timed_out, 202, "\"state\":\"queued\"");
    submit_unsynced(w, &gone);
    pass_time(w, 10000);
    leave(w, &gone);
    assert_true(list_is_empty(&w->gates));
    buf_done(&gone.x.body_out);
    submit_unsynced(w, &stopped);
    api_stop(&w->api, w, note_stopped);
    pass_time(w, 0);
    check_open(&stopped);
    assert_false(w->has_stopped);
    sync_disk(w);
    check(&stopped, 202, "\"state\":\"queued\"");
}

static void what_a_submit_that_waits_cannot_show_is_told_behind_the_sync_too(void **state)
{
    struct world *w = *state;
    struct shot s;

    submit_unsynced(w, &s);
    w->reader.job.id = JOB_ID; /* the other one is gone when the wait is over */
    pass_time(w, 10000);
    check_open(&s);
    sync_disk(w);
    check(&s, 200, "\"task\":\"echo\"");
}

static void a_delayed_submit_is_scheduled_by_the_time_in_its_id(void **state)
{
    static const struct {
        const char *when;
        const char *state;
        int64_t due_ms; /* 0: so long after the time in the id as `delay_ms` says */
        int64_t delay_ms;
    } rows[] = {
        {"\"delay_ms\":5000", "\"scheduled\"", 0, 5000},
        {"\"delay_ms\":0", "\"queued\"", INT64_C(1800000000000), 0},
        {"\"run_at\":\"2033-05-18T03:33:20Z\"", "\"scheduled\"", INT64_C(2000000000000), 0},
        {"\"run_at\":\"2001-09-09T01:46:40Z\"", "\"queued\"", INT64_C(1800000000000), 0},
    };
    struct world *w = *state;
    char body[128];
    struct shot s;

    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        const struct store_submit *op;

        snprintf(body, sizeof(body), "{\"task\":\"echo\",%s}", rows[i].when);
        ask(w, &s, HTTP_POST, "/v1/jobs", "Content-Type: application/json", body);
        op = find_submit(w);
        assert_int_equal(op->due_ms, rows[i].due_ms != 0 ? rows[i].due_ms
                                                         : id_wall_ms(op->id) + rows[i].delay_ms);
        assert_int_equal(op->state, rows[i].state[1] == 's' ? JOB_SCHEDULED : JOB_QUEUED);
        run_ops(w, 0);
        check(&s, 201, rows[i].state);
    }
    assert_true(w->core.schedule.alarm.at_ms > 0);
}

/* The newest job is above the mark, as behind a disk that was full. */
static void a_start_goes_on_above_the_newest_job(void **state)
{
    struct world *w = *state;

    assert_int_equal(w->core.ids.last, 9);
    assert_int_equal(w->core.ids.high_water, 9);
}

/* The ids go on from where the clock was; what a job waits for is the clock. */
static void where_ids_are_ahead_of_the_clock_a_delay_counts_from_now(void **state)
{
    static const char *const whens[] = {"\"delay_ms\":5000", "\"run_at\":\"2027-01-15T08:00:05Z\""};
    const int64_t now_ms = INT64_C(1800000000000), hour_ms = 3600 * 1000;
    struct world *w = *state;
    char body[128];
    struct shot s;

    for (size_t i = 0; i < JM_COUNT_OF(whens); i++) {
        const struct store_submit *op;

        ids_start(&w->core.ids, id_make(now_ms + hour_ms, 0));
        snprintf(body, sizeof(body), "{\"task\":\"echo\",%s}", whens[i]);
        ask(w, &s, HTTP_POST, "/v1/jobs", "Content-Type: application/json", body);
        op = find_submit(w);
        assert_true(id_wall_ms(op->id) > now_ms + hour_ms - 10);
        assert_int_equal(op->due_ms, now_ms + 5000);
        assert_int_equal(op->state, JOB_SCHEDULED);
        run_ops(w, 0);
        check(&s, 201, "");
    }
}

static void a_task_nobody_serves_is_warned_of(void **state)
{
    struct world *w = *state;
    struct shot s;

    ask(w, &s, HTTP_POST, "/v1/jobs", "Content-Type: application/json", "{\"task\":\"ecko\"}");
    run_ops(w, 0);
    check(&s, 201, "\"warnings\":[\"no worker serves this task yet\"]");
    assert_non_null(strstr(s.headers, "Jobmill-Warning: no worker serves"));
}

static void a_refused_commit_is_told(void **state)
{
    static const struct {
        int error;
        int status;
    } rows[] = {{JM_EFULL, 507},   {JM_ESTORE, 500}, {JM_EIDEMPOTENCY, 422}, {JM_EQUEUEFULL, 429},
                {JM_EUNIQUE, 409}, {JM_EFIELD, 422}, {JM_EOVERLOAD, 503}};
    struct world *w = *state;
    struct shot s;

    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        ask(w, &s, HTTP_POST, "/v1/jobs?wait=5", "Content-Type: application/json",
            "{\"task\":\"echo\"}");
        run_ops(w, rows[i].error);
        check(&s, rows[i].status, "");
        assert_int_equal(s.error, rows[i].error);
        assert_int_equal(strstr(s.headers, "Retry-After: 1\n") != NULL,
                         rows[i].status == 429 || rows[i].status == 503);
        assert_int_equal(strstr(s.headers, "Location: ") != NULL, rows[i].status == 409);
    }
    assert_int_equal(waiters_count(&w->core.waiters), 0);
}

static void an_overload_names_its_limit(void **state)
{
    static const struct {
        size_t submits;
        size_t bytes;
        int error; /* of the commit, if it comes to one */
        const char *words;
    } rows[] = {{JM_SUBMITS, 0, 0, "50000 submits"},
                {0, JM_SUBMITS_BYTES, 0, "134217728 bytes"},
                {0, 0, JM_EOVERLOAD, "250000 kinds of jobs"}};
    struct world *w = *state;
    struct shot s;

    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        w->core.submits = rows[i].submits;
        w->core.submits_bytes = rows[i].bytes;
        ask(w, &s, HTTP_POST, "/v1/jobs", "Content-Type: application/json", "{\"task\":\"echo\"}");
        run_ops(w, rows[i].error);
        check(&s, 503, rows[i].words);
        w->core.submits = w->core.submits_bytes = 0;
    }
}

static void too_many_waiters_are_refused_before_anything_is_stored(void **state)
{
    struct world *w = *state;
    struct waiter *others = calloc(JM_WAITERS, sizeof(*others));
    struct shot s;

    for (size_t i = 0; i < JM_WAITERS; i++)
        assert_int_equal(waiters_add(&w->core.waiters, &others[i], i + 1), 0);
    ask(w, &s, HTTP_POST, "/v1/jobs?wait=5", "Content-Type: application/json",
        "{\"task\":\"echo\"}");
    check(&s, 429, "at most 10000");
    assert_true(list_is_empty(&w->ops));
    get_job(w, &s, "?wait=5", NULL);
    check(&s, 429, "at most 10000");
    for (size_t i = 0; i < JM_WAITERS; i++)
        waiters_remove(&w->core.waiters, &others[i]);
    free(others);
}

static void readiness_is_probed_once_for_all_who_ask_in_one_second(void **state)
{
    struct world *w = *state;
    struct shot a;
    struct shot b;
    struct shot c;

    ask(w, &a, HTTP_GET, "/readyz", NULL, NULL);
    ask(w, &b, HTTP_GET, "/readyz", NULL, NULL);
    assert_ptr_equal(w->ops.next->next, &w->ops); /* one operation */
    run_ops(w, 0);
    check(&a, 200, "\"status\":\"degraded\",\"store\":\"up\",\"redis\":\"down\"");
    check(&b, 200, "degraded");
    ask(w, &c, HTTP_GET, "/readyz", NULL, NULL);
    check(&c, 200, "degraded");
    pass_time(w, 1000);
    ask(w, &a, HTTP_GET, "/readyz", NULL, NULL);
    check_open(&a);
    run_ops(w, JM_EFULL);
    check(&a, 503, "\"status\":\"failing\",\"store\":\"storage_full\"");
}

static void a_disk_that_hangs_fails_readiness(void **state)
{
    struct world *w = *state;
    struct shot s;

    ask(w, &s, HTTP_GET, "/readyz", NULL, NULL);
    pass_time(w, 4999);
    check_open(&s);
    pass_time(w, 1);
    check(&s, 503, "failing");
    run_ops(w, 0); /* it comes back after all */
    ask(w, &s, HTTP_GET, "/readyz", NULL, NULL);
    check(&s, 200, "degraded");
}

static void routes_have_their_classes_and_limits(void **state)
{
    struct world *w = *state;
    struct shot s;

    ask(w, &s, HTTP_POST, "/v1/jobs", NULL, "{}");
    assert_int_equal(s.ruling.overlap, HTTP_SUBMITS);
    assert_true(s.ruling.needs_body);
    assert_int_equal(s.ruling.max_body_bytes, 1 << 20);
    check(&s, 415, "Content-Type");
    ask(w, &s, HTTP_HEAD, "/ping", NULL, NULL);
    assert_int_equal(s.ruling.overlap, HTTP_READS);
    assert_int_equal(s.ruling.max_body_bytes, 0);
    check(&s, 200, "pong");
}

static void what_has_no_route_is_refused_behind_its_head(void **state)
{
    struct world *w = *state;
    struct shot s;

    ask(w, &s, HTTP_GET, "/v1/job", NULL, NULL);
    check(&s, 404, "nothing at this path");
    ask(w, &s, HTTP_DELETE, "/v1/jobs", NULL, NULL);
    check(&s, 405, "");
    assert_string_equal(s.headers, "Allow: POST, GET, HEAD, OPTIONS\n");
    ask(w, &s, HTTP_OTHER, "/ping", NULL, NULL);
    check(&s, 405, "");
    ask(w, &s, HTTP_OPTIONS, "/v1/jobs/x/cancel", NULL, NULL);
    check(&s, 204, "");
    assert_string_equal(s.headers, "Allow: POST, OPTIONS\n");
    ask(w, &s, HTTP_OPTIONS, "*", NULL, NULL);
    check(&s, 204, "");
}

static void a_known_etag_is_answered_with_304_and_no_body(void **state)
{
    struct world *w = *state;
    char header[128];
    struct shot s;

    get_job(w, &s, "", NULL);
    snprintf(header, sizeof(header), "If-None-Match: %.*s", CALL_ETAG_BYTES - 4,
             strchr(s.headers, '"'));
    check(&s, 200, "queued");
    get_job(w, &s, "", header);
    assert_int_equal(s.x.body_out.len, 0);
    check(&s, 304, "");
    set_state(w, JOB_RUNNING);
    get_job(w, &s, "", header);
    check(&s, 200, "running");
}

/* ---- attempts ---- */

/* What the attempts of the job are shown as, with `ended` for that of its end. */
static void check_attempts(struct world *w, enum job_state state, const char *shown)
{
    struct shot s;

    set_state(w, state);
    w->reader.job.attempt = 3;
    w->reader.job.may_have_attempts = true;
    w->reader.job.begun_at_ms = 0;
    get_job(w, &s, "", NULL);
    check(&s, 200, shown);
}

static void attempts_are_told_by_what_became_of_them(void **state)
{
#define AT ",\"ended_at\":\"1970-01-01T00:00:00.000Z\",\"run_us\":0}"
#define FIRST "{\"attempt\":1,\"outcome\":\"failed\"" AT
    struct world *w = *state;

    w->reader.attempts[0] = (struct attempt_view){.attempt = 1, .outcome = span_of_str("failed")};
    w->reader.attempts[1] =
        (struct attempt_view){.attempt = 2, .outcome = span_of_str("cancelled")};
    w->reader.attempts[2] = (struct attempt_view){.attempt = 3, .outcome = span_of_str("lost")};
    w->reader.attempt_count = 2;
    check_attempts(w, JOB_QUEUED, "\"attempts\":[" FIRST "]");
    check_attempts(w, JOB_EXPIRED, "\"attempts\":[" FIRST "]");
    check_attempts(w, JOB_CANCELLED, "\"attempts\":[" FIRST "]");
    check_attempts(w, JOB_FAILED,
                   "\"attempts\":[" FIRST ",{\"attempt\":3,\"outcome\":\"failed\"" AT "]");
    w->reader.attempts[1].begun_at_ms = 1;
    check_attempts(w, JOB_QUEUED, "{\"attempt\":2,\"outcome\":\"killed\",\"begun_at\":");
    w->reader.attempts[1].begun_at_ms = 0;
    w->reader.attempt_count = 3; /* the third was given up as lost, and has succeeded after all */
    check_attempts(w, JOB_SUCCEEDED,
                   "\"attempts\":[" FIRST ",{\"attempt\":3,\"outcome\":\"succeeded\"" AT "]");
    check_attempts(w, JOB_QUEUED,
                   "\"attempts\":[" FIRST ",{\"attempt\":3,\"outcome\":\"lost\"" AT "]");
}

/* ---- changes ---- */

static void a_change_is_answered_with_the_job_behind_its_commit(void **state)
{
    struct world *w = *state;
    struct shot s;

    ask(w, &s, HTTP_PATCH, "/v1/jobs/028T5CY4TQKFF", "Content-Type: application/json",
        "{\"priority\":9}");
    check_open(&s);
    run_ops(w, 0);
    check(&s, 200, "\"state\":\"queued\"");
    ask(w, &s, HTTP_POST, "/v1/jobs/028T5CY4TQKFF/retry", NULL, NULL);
    check_open(&s);
    run_ops(w, 0);
    check(&s, 200, "\"state\":\"queued\"");
}

static void a_change_that_is_refused_says_why(void **state)
{
    static const struct {
        int error;
        int status;
        const char *words;
    } rows[] = {{JM_ENOJOB, 404, "there is no job 028T5CY4TQKFF"},
                {JM_ERUNNING, 409, "a worker holds it"},
                {JM_EFIELD, 422, "later than the job is due"},
                {JM_EFULL, 507, "nothing was changed"},
                {JM_EOVERLOAD, 503, "nothing was changed"}};
    struct world *w = *state;
    struct shot s;

    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        ask(w, &s, HTTP_PATCH, "/v1/jobs/028T5CY4TQKFF", "Content-Type: application/json", "{}");
        run_ops(w, rows[i].error);
        check(&s, rows[i].status, rows[i].words);
        assert_int_equal(s.error, rows[i].error);
    }
}

/* Completes one slice of a change of many, all of whose items are changed. */
static void run_slice(struct world *w, int status)
{
    struct store_op *op = LIST_ENTRY(list_pop_front(&w->ops), struct store_op, link);
    struct store_bulk *bulk = JM_CONTAINER_OF(op, struct store_bulk, op);

    assert_int_equal(op->kind, STORE_BULK);
    assert_true(op->wants_sync);
    op->status = status;
    bulk->ret_changed = bulk->count;
    op->on_done(op);
}

static void many_jobs_are_changed_in_slices(void **state)
{
    struct world *w = *state;
    struct shot s;
    size_t slices = 0;

    w->reader.found = JM_BULK_JOBS;
    ask(w, &s, HTTP_POST, "/v1/jobs/retry?queue=q", NULL, NULL);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    for (; !list_is_empty(&w->ops); slices++) {
        check_open(&s);
        run_slice(w, 0);
    }
    assert_true(slices > 10);
    check(&s, 200,
          "\"matched\":10000,\"changed\":10000,\"dry_run\":false,"
          "\"next_cursor\":\"028T5CY4TQKFF\"");
}

static void a_slice_that_fails_ends_it_and_says_how_many_are_kept(void **state)
{
    struct world *w = *state;
    struct shot s;

    w->reader.found = 1000;
    ask(w, &s, HTTP_POST, "/v1/jobs/delete?queue=q", NULL, NULL);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    run_slice(w, 0);
    run_slice(w, JM_EFULL);
    check(&s, 507, "256 jobs were changed before");
    assert_true(list_is_empty(&w->ops));
}

static void a_dry_run_and_one_that_finds_nothing_store_nothing(void **state)
{
    struct world *w = *state;
    struct shot s;

    w->reader.found = 7;
    ask(w, &s, HTTP_POST, "/v1/jobs/cancel?queue=q&dry_run=true", NULL, NULL);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    check(&s, 200, "\"matched\":7,\"changed\":0,\"dry_run\":true,\"next_cursor\":null");
    ask(w, &s, HTTP_POST, "/v1/jobs/cancel?state=failed", NULL, NULL);
    check(&s, 200, "\"matched\":0");
    w->reader.found = 0;
    ask(w, &s, HTTP_POST, "/v1/jobs/cancel?queue=q", NULL, NULL);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    check(&s, 200, "\"matched\":0");
    assert_true(list_is_empty(&w->ops));
}

static void a_change_of_many_comes_to_its_end_when_the_client_goes_or_the_broker_stops(void **state)
{
    struct world *w = *state;
    struct shot gone;
    struct shot s;

    w->reader.found = 300;
    ask(w, &gone, HTTP_POST, "/v1/jobs/cancel?queue=q", NULL, NULL);
    leave(w, &gone);
    ask(w, &s, HTTP_POST, "/v1/jobs/cancel?queue=q", NULL, NULL);
    api_stop(&w->api, w, note_stopped);
    pass_time(w, 0);
    assert_false(w->has_stopped);
    run_ops(w, 0); /* what the core does by itself */
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    while (!list_is_empty(&w->ops))
        run_slice(w, 0);
    check(&s, 200, "\"changed\":300");
    check(&gone, 200, "\"changed\":300");
}

static void only_so_many_changes_of_many_are_under_way_at_a_time(void **state)
{
    struct world *w = *state;
    struct shot shots[JM_BULKS];
    struct shot s;

    w->reader.found = 1;
    for (size_t i = 0; i < JM_BULKS; i++)
        ask(w, &shots[i], HTTP_POST, "/v1/jobs/delete?queue=q", NULL, NULL);
    ask(w, &s, HTTP_POST, "/v1/jobs/delete?queue=q&dry_run=true", NULL, NULL);
    check(&s, 503, "at most 16");
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    while (!list_is_empty(&w->ops))
        run_slice(w, 0);
    for (size_t i = 0; i < JM_BULKS; i++)
        check(&shots[i], 200, "\"changed\":1");
    ask(w, &s, HTTP_POST, "/v1/jobs/delete?queue=q&dry_run=true", NULL, NULL);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    check(&s, 200, "\"matched\":1");
    assert_int_equal(w->api.bulks, 0);
}

static void run_op(struct world *w, int status)
{
    struct store_op *op = LIST_ENTRY(list_pop_front(&w->ops), struct store_op, link);

    op->status = status;
    op->on_done(op);
}

static void what_is_set_is_in_force_when_it_is_answered(void **state)
{
    struct world *w = *state;
    struct shot s;

    ask(w, &s, HTTP_PATCH, "/v1/queues/q", "Content-Type: application/json",
        "{\"defaults\":{\"priority\":7},\"max_queued\":1}");
    check_open(&s);
    run_ops(w, 0);
    check(&s, 200, "\"max_queued\":1,\"defaults\":{\"priority\":7}");
    ask(w, &s, HTTP_POST, "/v1/jobs", "Content-Type: application/json",
        "{\"task\":\"echo\",\"queue\":\"q\"}");
    assert_int_equal(find_submit(w)->spec.priority, 7);
    run_ops(w, 0);
    check(&s, 201, "queued");
    ask(w, &s, HTTP_POST, "/v1/queues/q/pause", NULL, NULL);
    run_ops(w, JM_EFULL);
    check(&s, 507, "nothing was changed");
    ask(w, &s, HTTP_GET, "/v1/queues/q", NULL, NULL);
    check(&s, 200, "\"paused\":false");
}

/* The disk is full for the first and has room for the second, which so does not hold what the first
 * asked for. */
static void a_setting_that_was_refused_is_no_part_of_the_next(void **state)
{
    struct world *w = *state;
    struct shot a, b;

    ask(w, &a, HTTP_POST, "/v1/queues/q/pause", NULL, NULL);
    ask(w, &b, HTTP_PATCH, "/v1/queues/q", "Content-Type: application/json", "{\"max_queued\":7}");
    check_open(&a);
    run_op(w, JM_EFULL);
    check(&a, 507, "nothing was changed");
    check_open(&b);
    run_op(w, 0);
    check(&b, 200, "\"paused\":false,\"max_queued\":7");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_job_that_has_not_ended_is_shown_at_once),
        TEST(an_end_is_shown_only_when_it_is_on_disk),
        TEST(a_wait_ends_with_the_job),
        TEST(a_wait_that_is_over_shows_the_job_as_it_is),
        TEST(a_job_that_has_ended_needs_no_wait),
        TEST(who_goes_away_is_forgotten),
        TEST(a_large_job_is_read_on_the_pool),
        TEST(a_stop_ends_waits_and_refuses_what_comes),
        TEST(a_stop_waits_for_what_is_with_the_store),
        TEST(a_submit_is_answered_behind_its_commit),
        TEST(a_submit_that_waits_is_synced_with_its_end_or_before_it_is_answered),
        TEST(what_a_submit_that_waits_cannot_show_is_told_behind_the_sync_too),
        TEST(a_delayed_submit_is_scheduled_by_the_time_in_its_id),
        TEST(a_start_goes_on_above_the_newest_job),
        TEST(where_ids_are_ahead_of_the_clock_a_delay_counts_from_now),
        TEST(a_task_nobody_serves_is_warned_of),
        TEST(a_refused_commit_is_told),
        TEST(an_overload_names_its_limit),
        TEST(too_many_waiters_are_refused_before_anything_is_stored),
        TEST(readiness_is_probed_once_for_all_who_ask_in_one_second),
        TEST(a_disk_that_hangs_fails_readiness),
        TEST(routes_have_their_classes_and_limits),
        TEST(what_has_no_route_is_refused_behind_its_head),
        TEST(a_known_etag_is_answered_with_304_and_no_body),
        TEST(attempts_are_told_by_what_became_of_them),
        TEST(a_change_is_answered_with_the_job_behind_its_commit),
        TEST(a_change_that_is_refused_says_why),
        TEST(many_jobs_are_changed_in_slices),
        TEST(a_slice_that_fails_ends_it_and_says_how_many_are_kept),
        TEST(a_dry_run_and_one_that_finds_nothing_store_nothing),
        TEST(a_change_of_many_comes_to_its_end_when_the_client_goes_or_the_broker_stops),
        TEST(only_so_many_changes_of_many_are_under_way_at_a_time),
        TEST(what_is_set_is_in_force_when_it_is_answered),
        TEST(a_setting_that_was_refused_is_no_part_of_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
