/*
 * libjobmill's calls beyond submit, get and list, against a scripted server: what each sends, and
 * what it makes of the answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/jobmill.h"
#include "lib/json.h"
#include "tests/unit/scripted_http.h"

#define JSON "application/json"
#define JOB(state) "{\"id\":\"01\",\"task\":\"fib\",\"queue\":\"default\",\"state\":\"" state "\""
#define QUEUED JOB("queued") "}"
#define ANSWER(code, text)                                                  \
    {                                                                       \
        .kind = SCRIPTED_ANSWER, .status = code, .type = JSON, .body = text \
    }

struct fixture {
    struct scripted_http server;
    struct jobmill *mill;
    struct jobmill_job *job;
    struct jobmill_value *value;
};

static void open_mill(struct fixture *f, const struct scripted_step *steps, size_t count)
{
    struct jobmill_options options = {.size = sizeof(options)};

    memset(f, 0, sizeof(*f));
    memcpy(f->server.steps, steps, count * sizeof(steps[0]));
    scripted_start(&f->server);
    options.url = f->server.url;
    assert_int_equal(jobmill_open(&options, &f->mill), 0);
}

#define OPEN(f, ...)                                    \
    open_mill(f, (struct scripted_step[]){__VA_ARGS__}, \
              sizeof((struct scripted_step[]){__VA_ARGS__}) / sizeof(struct scripted_step))

static void close_mill(struct fixture *f)
{
    jobmill_job_free(f->job);
    jobmill_value_free(f->value);
    jobmill_close(f->mill);
    scripted_stop(&f->server);
}

static size_t request_count(struct fixture *f)
{
    return atomic_load(&f->server.count);
}

/* The n-th request began with `line`, and its body is `json`, which it is sent as msgpack. */
static void assert_sent(struct fixture *f, size_t n, const char *line, const char *json)
{
    const char *sent = f->server.requests[n];
    const char *body = strstr(sent, "\r\n\r\n") + 4;
    const char *length = strcasestr(sent, "content-length:");
    size_t len = length != NULL && length < body ? strtoul(length + 15, NULL, 10) : 0;
    struct buf text;

    assert_true(n < request_count(f));
    if (strncmp(sent, line, strlen(line)) != 0)
        fail_msg("not '%s' but '%.100s'", line, sent);
    buf_init(&text, SIZE_MAX);
    if (len > 0)
        assert_int_equal(json_from_msgpack(span_of(body, len), &text, NULL), JSON_OK);
    buf_put_u8(&text, 0);
    assert_string_equal((const char *)text.data, json);
    buf_done(&text);
}

/* ---- submit ---- */

static void a_submit_sends_every_option(void **state)
{
    static const char *const names[] = {"a", "b"};
    struct jobmill_backoff backoff = {
        .kind = "fixed", .base_ms = -1, .factor = 1.5, .ceiling_ms = 9, .jitter = -1};
    struct jobmill_unique unique = {.key = "k",
                                    .args = names,
                                    .arg_count = 2,
                                    .while_state = "period",
                                    .period_ms = 5,
                                    .on_conflict = "replace"};
    struct jobmill_submit_options options = {.size = sizeof(options),
                                             .task = "t",
                                             .priority = 9,
                                             .delay_ms = 10,
                                             .expires_at = "E",
                                             .grace_ms = -1,
                                             .backoff = &backoff,
                                             .limit_key = "l",
                                             .retain_ms = 7,
                                             .unique = &unique};
    struct fixture f;

    (void)state;
    OPEN(&f, ANSWER(201, QUEUED), ANSWER(201, QUEUED));
    assert_int_equal(jobmill_submit(f.mill, &options, &f.job), 0);
    assert_sent(&f, 0, "POST /v1/jobs HTTP/1.1\r\n",
                "{\"task\":\"t\",\"priority\":9,\"delay_ms\":10,\"expires_at\":\"E\","
                "\"grace_ms\":0,\"backoff\":{\"kind\":\"fixed\",\"base_ms\":0,\"factor\":1.5,"
                "\"ceiling_ms\":9,\"jitter\":0.0},\"limit_key\":\"l\",\"retain_ms\":7,"
                "\"unique\":{\"key\":\"k\",\"args\":[\"a\",\"b\"],\"while\":\"period\","
                "\"period_ms\":5,\"on_conflict\":\"replace\"}}");
    jobmill_job_free(f.job);
    options = (struct jobmill_submit_options){.size = sizeof(options),
                                              .task = "t",
                                              .run_at = "R",
                                              .backoff = &(struct jobmill_backoff){0},
                                              .unique = &(struct jobmill_unique){0}};
    assert_int_equal(jobmill_submit(f.mill, &options, &f.job), 0);
    assert_sent(&f, 1, "POST /v1/jobs ",
                "{\"task\":\"t\",\"run_at\":\"R\",\"backoff\":{},\"unique\":{}}");
    close_mill(&f);
}

/* A program that was compiled with the first version has other things behind its struct. */
static void a_struct_without_a_size_ends_where_the_first_version_ended(void **state)
{
    struct jobmill_submit_options options = {
        .task = "t", .priority = 9, .run_at = (const char *)1, .unique = (void *)1};
    struct jobmill_list_options list = {.queue = "q", .tag = (const char *)1};
    struct jobmill_page *page = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, ANSWER(201, QUEUED), ANSWER(200, "{\"jobs\":[]}"));
    assert_int_equal(jobmill_submit(f.mill, &options, &f.job), 0);
    assert_sent(&f, 0, "POST /v1/jobs ", "{\"task\":\"t\"}");
    assert_int_equal(jobmill_list(f.mill, &list, &page), 0);
    assert_sent(&f, 1, "GET /v1/jobs?queue=q ", "");
    jobmill_page_free(page);
    close_mill(&f);
}

static void what_only_a_newer_library_knows_is_refused_in_nested_structs_too(void **state)
{
    struct {
        struct jobmill_backoff known;
        long newer;
    } backoff = {.known = {.size = sizeof(backoff)}, .newer = 1};
    struct jobmill_submit_options submit = {
        .size = sizeof(submit), .task = "t", .backoff = &backoff.known};
    struct jobmill_patch_options patch = {.backoff = &backoff.known};
    struct jobmill_queue_options queue = {.backoff = &backoff.known};
    struct jobmill_task_options task = {.backoff = &backoff.known};
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_END});
    assert_int_equal(jobmill_submit(f.mill, &submit, &f.job), JOBMILL_EINVAL);
    assert_int_equal(jobmill_patch(f.mill, "01", &patch, &f.job), JOBMILL_EINVAL);
    assert_int_equal(jobmill_queue_configure(f.mill, "q", &queue, &f.value), JOBMILL_EINVAL);
    assert_int_equal(jobmill_task_configure(f.mill, "t", &task, &f.value), JOBMILL_EINVAL);
    assert_non_null(strstr(jobmill_error_text(f.mill), "newer than this library"));
    assert_int_equal(request_count(&f), 0);
    close_mill(&f);
}

static void what_cannot_be_meant_sends_nothing(void **state)
{
    struct jobmill_submit_options both = {
        .size = sizeof(both), .task = "t", .run_at = "R", .delay_ms = 1};
    struct jobmill_submit_options past = {.size = sizeof(past), .task = "t", .delay_ms = -1};
    struct jobmill_queue_options half = {.rate_limit = 1};
    struct jobmill_queue_options other_half = {.key_rate_period_ms = 1};
    struct jobmill_patch_options twice = {
        .args_json = "1", .args_msgpack = "\x01", .args_msgpack_bytes = 1};
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_END});
    assert_int_equal(jobmill_submit(f.mill, &both, &f.job), JOBMILL_EINVAL);
    assert_int_equal(jobmill_submit(f.mill, &past, &f.job), JOBMILL_EINVAL);
    assert_int_equal(jobmill_patch(f.mill, "01", &twice, &f.job), JOBMILL_EINVAL);
    assert_int_equal(jobmill_retry(f.mill, "", &f.job), JOBMILL_EINVAL);
    assert_int_equal(jobmill_explain(f.mill, NULL, &f.value), JOBMILL_EINVAL);
    assert_int_equal(jobmill_queue(f.mill, "", &f.value), JOBMILL_EINVAL);
    assert_int_equal(jobmill_queue_configure(f.mill, "q", &half, &f.value), JOBMILL_EINVAL);
    assert_int_equal(jobmill_queue_configure(f.mill, "q", &other_half, &f.value), JOBMILL_EINVAL);
    assert_int_equal(request_count(&f), 0);
    close_mill(&f);
}

static void a_unique_submit_tells_which_job_it_met(void **state)
{
    struct jobmill_submit_options options = {.task = "t", .wait_ms = -1};
    struct fixture f;

    (void)state;
    OPEN(&f, ANSWER(201, JOB("queued") ",\"replaced\":\"00\"}"),
         ANSWER(202, JOB("queued") ",\"is_existing\":true}"), ANSWER(200, JOB("succeeded") "}"));
    assert_int_equal(jobmill_submit(f.mill, &(struct jobmill_submit_options){.task = "t"}, &f.job),
                     0);
    assert_int_equal(jobmill_job_is_existing(f.job), 0);
    assert_string_equal(jobmill_job_replaced(f.job), "00");
    jobmill_job_free(f.job);
    assert_int_equal(jobmill_submit(f.mill, &options, &f.job), 0);
    assert_int_equal(jobmill_job_state(f.job), JOBMILL_SUCCEEDED);
    assert_int_equal(jobmill_job_is_existing(f.job), 1);
    assert_null(jobmill_job_replaced(f.job));
    close_mill(&f);
}

/* Under an idempotency key the body is always the same. */
static void what_a_submit_tells_beside_the_body_is_read_too(void **state)
{
    struct jobmill_submit_options options = {.task = "t", .wait_ms = 1000};
    struct fixture f;

    (void)state;
    OPEN(&f,
         {.kind = SCRIPTED_ANSWER,
          .status = 202,
          .type = JSON "\r\nJobmill-Replaced: 00\r\nJobmill-Warning: no one\r\n"
                       "Idempotency-Replayed: true",
          .body = QUEUED},
         ANSWER(200, JOB("succeeded") "}"), ANSWER(201, QUEUED));
    assert_int_equal(jobmill_submit(f.mill, &options, &f.job), 0);
    assert_int_equal(jobmill_job_state(f.job), JOBMILL_SUCCEEDED);
    assert_string_equal(jobmill_job_replaced(f.job), "00");
    assert_string_equal(jobmill_job_warning(f.job), "no one");
    assert_int_equal(jobmill_job_is_replay(f.job), 1);
    jobmill_job_free(f.job);
    options.wait_ms = 0;
    assert_int_equal(jobmill_submit(f.mill, &options, &f.job), 0);
    assert_null(jobmill_job_replaced(f.job));
    assert_null(jobmill_job_warning(f.job));
    assert_int_equal(jobmill_job_is_replay(f.job), 0);
    close_mill(&f);
}

/* ---- what a job tells ---- */

static void a_job_tells_its_new_members(void **state)
{
    struct fixture f;

    (void)state;
    OPEN(&f,
         ANSWER(200, JOB("running") ",\"priority\":9,\"due_at\":\"D\",\"expires_at\":\"E\","
                                    "\"limit_key\":\"k\",\"progress\":{\"done\":2,"
                                    "\"total\":4.5,\"message\":\"m\"}}"),
         ANSWER(200, JOB("running") ",\"progress\":null,\"attempts\":null}"));
    assert_int_equal(jobmill_get(f.mill, "01", &f.job), 0);
    assert_int_equal(jobmill_job_priority(f.job), 9);
    assert_string_equal(jobmill_job_due_at(f.job), "D");
    assert_string_equal(jobmill_job_expires_at(f.job), "E");
    assert_string_equal(jobmill_job_limit_key(f.job), "k");
    assert_true(jobmill_job_progress_done(f.job) == 2);
    assert_true(jobmill_job_progress_total(f.job) == 4.5);
    assert_string_equal(jobmill_job_progress_message(f.job), "m");
    jobmill_job_free(f.job);
    assert_int_equal(jobmill_get(f.mill, "01", &f.job), 0);
    assert_int_equal(jobmill_job_priority(f.job), -1);
    assert_null(jobmill_job_due_at(f.job));
    assert_true(jobmill_job_progress_done(f.job) == -1);
    assert_null(jobmill_job_progress_message(f.job));
    assert_int_equal(jobmill_job_history_count(f.job), 0);
    close_mill(&f);
}

static void a_job_tells_the_attempts_that_have_ended(void **state)
{
    const struct jobmill_attempt *attempt;
    struct fixture f;

    (void)state;
    OPEN(&f,
         ANSWER(200, JOB("failed") ",\"attempts\":[{\"attempt\":1,\"outcome\":\"crashed\","
                                   "\"worker\":\"w\",\"begun_at\":\"B\",\"ended_at\":\"E\","
                                   "\"run_us\":5,\"error\":{\"code\":\"c\",\"message\":\"m\","
                                   "\"task_code\":\"own\"}},"
                                   "{\"attempt\":2,\"error\":null}]}"),
         ANSWER(200, JOB("failed") ",\"attempts\":[1]}"));
    assert_int_equal(jobmill_get(f.mill, "01", &f.job), 0);
    assert_int_equal(jobmill_job_history_count(f.job), 2);
    attempt = jobmill_job_history(f.job, 0);
    assert_int_equal(jobmill_attempt_number(attempt), 1);
    assert_string_equal(jobmill_attempt_outcome(attempt), "crashed");
    assert_string_equal(jobmill_attempt_worker(attempt), "w");
    assert_string_equal(jobmill_attempt_begun_at(attempt), "B");
    assert_string_equal(jobmill_attempt_ended_at(attempt), "E");
    assert_int_equal(jobmill_attempt_run_us(attempt), 5);
    assert_string_equal(jobmill_attempt_error_code(attempt), "c");
    assert_string_equal(jobmill_attempt_error_message(attempt), "m");
    assert_string_equal(jobmill_attempt_task_code(attempt), "own");
    attempt = jobmill_job_history(f.job, 1);
    assert_int_equal(jobmill_attempt_number(attempt), 2);
    assert_int_equal(jobmill_attempt_run_us(attempt), -1);
    assert_null(jobmill_attempt_outcome(attempt));
    assert_null(jobmill_attempt_error_code(attempt));
    assert_null(jobmill_attempt_task_code(attempt));
    assert_null(jobmill_job_history(f.job, 2));
    jobmill_job_free(f.job);
    f.job = NULL;
    assert_int_equal(jobmill_get(f.mill, "01", &f.job), JOBMILL_EANSWER);
    close_mill(&f);
}

/* ---- changing one job ---- */

static void a_patch_sends_what_changes_and_a_retry_nothing(void **state)
{
    static const char *const tags[] = {"x"};
    struct jobmill_patch_options all = {.size = sizeof(all),
                                        .priority = 1,
                                        .run_at = "R",
                                        .args_json = "[1]",
                                        .expires_at = "E",
                                        .timeout_ms = 2,
                                        .max_attempts = 3,
                                        .tags = tags,
                                        .tag_count = 1,
                                        .retain_ms = 5,
                                        .backoff = &(struct jobmill_backoff){.base_ms = 4}};
    struct jobmill_patch_options few = {.delay_ms = -1,
                                        .tags = tags,
                                        .expires_at = "",
                                        .retain_ms = -1,
                                        .backoff = &(struct jobmill_backoff){.kind = ""}};
    struct fixture f;

    (void)state;
    OPEN(&f, ANSWER(200, QUEUED), ANSWER(200, QUEUED), ANSWER(200, QUEUED));
    assert_int_equal(jobmill_patch(f.mill, "01", &all, &f.job), 0);
    assert_sent(&f, 0, "PATCH /v1/jobs/01 HTTP/1.1\r\n",
                "{\"priority\":1,\"run_at\":\"R\",\"args\":[1],\"expires_at\":\"E\","
                "\"timeout_ms\":2,\"max_attempts\":3,\"tags\":[\"x\"],\"retain_ms\":5,"
                "\"backoff\":{\"base_ms\":4}}");
    jobmill_job_free(f.job);
    assert_int_equal(jobmill_patch(f.mill, "01", &few, &f.job), 0);
    assert_sent(
        &f, 1, "PATCH /v1/jobs/01 ",
        "{\"delay_ms\":0,\"expires_at\":null,\"tags\":[],\"retain_ms\":null,\"backoff\":null}");
    jobmill_job_free(f.job);
    assert_int_equal(jobmill_retry(f.mill, "0/1", &f.job), 0);
    assert_sent(&f, 2, "POST /v1/jobs/0%2F1/retry HTTP/1.1\r\n", "");
    close_mill(&f);
}

static void a_patch_and_a_retry_are_not_repeated(void **state)
{
    struct jobmill_patch_options options = {.priority = 1};
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_CLOSE}, {.kind = SCRIPTED_RESET});
    assert_int_equal(jobmill_patch(f.mill, "01", &options, &f.job), JOBMILL_EFATE);
    assert_int_equal(jobmill_retry(f.mill, "01", &f.job), JOBMILL_EFATE);
    assert_int_equal(request_count(&f), 2);
    close_mill(&f);
}

static void an_explanation_is_a_value(void **state)
{
    struct fixture f;

    (void)state;
    OPEN(&f, ANSWER(200, "{\"id\":\"01\",\"reasons\":[]}"));
    assert_int_equal(jobmill_explain(f.mill, "01", &f.value), 0);
    assert_sent(&f, 0, "GET /v1/jobs/01/explain HTTP/1.1\r\n", "");
    assert_string_equal(jobmill_value_json(f.value), "{\"id\":\"01\",\"reasons\":[]}");
    close_mill(&f);
}

/* ---- many jobs ---- */

static void a_list_takes_every_filter(void **state)
{
    struct jobmill_list_options options = {.size = sizeof(options),
                                           .state = "failed",
                                           .tag = "a b",
                                           .limit_key = "k",
                                           .worker = "w",
                                           .error = "crashed",
                                           .created_after = "A+1",
                                           .created_before = "B"};
    struct jobmill_page *page = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, ANSWER(200, "{\"jobs\":[]}"));
    assert_int_equal(jobmill_list(f.mill, &options, &page), 0);
    assert_sent(&f, 0,
                "GET /v1/jobs?state=failed&tag=a%20b&limit_key=k&worker=w&error=crashed&"
                "created_after=A%2B1&created_before=B HTTP/1.1\r\n",
                "");
    jobmill_page_free(page);
    close_mill(&f);
}

static void a_change_by_filter_goes_on_to_the_last_cursor(void **state)
{
    struct jobmill_list_options filter = {
        .size = sizeof(filter), .queue = "q", .cursor = "ignored", .limit = 7};
    uint64_t matched = 0, changed = 0;
    struct fixture f;

    (void)state;
    OPEN(&f, ANSWER(200, "{\"matched\":10,\"changed\":9,\"dry_run\":false,\"next_cursor\":\"c=\"}"),
         ANSWER(200, "{\"matched\":2,\"changed\":1,\"dry_run\":false,\"next_cursor\":null}"),
         ANSWER(200, "{\"matched\":5,\"changed\":0,\"dry_run\":true,\"next_cursor\":null}"),
         ANSWER(200, "{\"matched\":1,\"changed\":1,\"dry_run\":false}"));
    assert_int_equal(jobmill_cancel_all(f.mill, &filter, 0, &matched, &changed), 0);
    assert_sent(&f, 0, "POST /v1/jobs/cancel?queue=q HTTP/1.1\r\n", "");
    assert_sent(&f, 1, "POST /v1/jobs/cancel?queue=q&cursor=c%3D HTTP/1.1\r\n", "");
    assert_int_equal(matched, 12);
    assert_int_equal(changed, 10);
    assert_int_equal(jobmill_retry_all(f.mill, &filter, 1, &matched, NULL), 0);
    assert_sent(&f, 2, "POST /v1/jobs/retry?queue=q&dry_run=true HTTP/1.1\r\n", "");
    assert_int_equal(matched, 5);
    assert_int_equal(jobmill_delete_all(f.mill, &filter, 0, NULL, &changed), 0);
    assert_sent(&f, 3, "POST /v1/jobs/delete?queue=q HTTP/1.1\r\n", "");
    assert_int_equal(changed, 1);
    close_mill(&f);
}

static void a_change_by_filter_that_fails_on_the_way_leaves_the_counts_alone(void **state)
{
    struct jobmill_list_options filter = {.queue = "q"};
    uint64_t matched = 77, changed = 78;
    struct fixture f;

    (void)state;
    OPEN(&f, ANSWER(200, "{\"matched\":10,\"changed\":9,\"next_cursor\":\"c\"}"),
         {.kind = SCRIPTED_CLOSE}, ANSWER(200, "{}"), ANSWER(200, "[]"));
    assert_int_equal(jobmill_cancel_all(f.mill, &filter, 0, &matched, &changed), JOBMILL_EFATE);
    assert_int_equal(jobmill_cancel_all(f.mill, &filter, 0, &matched, &changed), JOBMILL_EANSWER);
    assert_int_equal(jobmill_cancel_all(f.mill, &filter, 0, &matched, &changed), JOBMILL_EANSWER);
    assert_int_equal(matched, 77);
    assert_int_equal(changed, 78);
    close_mill(&f);
}

/* ---- queues and tasks ---- */

static void a_queue_is_shown_paused_and_resumed(void **state)
{
    struct fixture f;

    (void)state;
    OPEN(&f, ANSWER(200, "{\"name\":\"q\"}"), ANSWER(200, "{\"paused\":true}"),
         ANSWER(200, "{\"paused\":false}"));
    assert_int_equal(jobmill_queue(f.mill, "a/b", &f.value), 0);
    assert_sent(&f, 0, "GET /v1/queues/a%2Fb HTTP/1.1\r\n", "");
    jobmill_value_free(f.value);
    assert_int_equal(jobmill_queue_pause(f.mill, "q", &f.value), 0);
    assert_sent(&f, 1, "POST /v1/queues/q/pause HTTP/1.1\r\n", "");
    assert_string_equal(jobmill_value_json(f.value), "{\"paused\":true}");
    jobmill_value_free(f.value);
    assert_int_equal(jobmill_queue_resume(f.mill, "q", &f.value), 0);
    assert_sent(&f, 2, "POST /v1/queues/q/resume HTTP/1.1\r\n", "");
    close_mill(&f);
}

/* Set twice is as set once. */
static void what_sets_a_queue_or_a_task_is_repeated(void **state)
{
    struct jobmill_queue_options queue = {.concurrency = 5};
    struct jobmill_task_options task = {.concurrency = 5};
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_CLOSE}, ANSWER(200, "{}"), {.kind = SCRIPTED_RESET},
         ANSWER(200, "{}"), {.kind = SCRIPTED_CLOSE}, ANSWER(503, "{}"), ANSWER(200, "{}"));
    assert_int_equal(jobmill_queue_configure(f.mill, "q", &queue, &f.value), 0);
    assert_string_equal(f.server.requests[1], f.server.requests[0]);
    jobmill_value_free(f.value);
    assert_int_equal(jobmill_queue_pause(f.mill, "q", &f.value), 0);
    assert_string_equal(f.server.requests[3], f.server.requests[2]);
    jobmill_value_free(f.value);
    assert_int_equal(jobmill_task_configure(f.mill, "t", &task, &f.value), 0);
    assert_string_equal(f.server.requests[6], f.server.requests[4]);
    close_mill(&f);
}

static void a_queue_gets_limits_and_defaults_and_loses_them(void **state)
{
    struct jobmill_queue_options set = {.rate_limit = 100,
                                        .rate_period_ms = 1000,
                                        .concurrency = 5,
                                        .key_rate_limit = 1,
                                        .key_rate_period_ms = 60000,
                                        .key_concurrency = 2,
                                        .max_queued = 3,
                                        .retain_ms = 4,
                                        .retain_failed_ms = 6,
                                        .priority = 7,
                                        .max_attempts = 8,
                                        .timeout_ms = 9,
                                        .grace_ms = 10,
                                        .backoff = &(struct jobmill_backoff){.kind = "fixed"}};
    struct jobmill_queue_options clear = {.rate_limit = -1,
                                          .concurrency = -1,
                                          .key_rate_limit = -1,
                                          .max_queued = -1,
                                          .priority = -1,
                                          .backoff = &(struct jobmill_backoff){.kind = ""}};
    struct fixture f;

    (void)state;
    OPEN(&f, ANSWER(200, "{}"), ANSWER(200, "{}"), ANSWER(200, "{}"));
    assert_int_equal(jobmill_queue_configure(f.mill, "q", &set, &f.value), 0);
    assert_sent(&f, 0, "PATCH /v1/queues/q HTTP/1.1\r\n",
                "{\"rate\":{\"limit\":100,\"period_ms\":1000},\"concurrency\":5,"
                "\"key_rate\":{\"limit\":1,\"period_ms\":60000},\"key_concurrency\":2,"
                "\"max_queued\":3,\"retain_ms\":4,\"retain_failed_ms\":6,"
                "\"defaults\":{\"priority\":7,\"max_attempts\":8,\"timeout_ms\":9,"
                "\"grace_ms\":10,\"backoff\":{\"kind\":\"fixed\"}}}");
    jobmill_value_free(f.value);
    assert_int_equal(jobmill_queue_configure(f.mill, "q", &clear, &f.value), 0);
    assert_sent(&f, 1, "PATCH /v1/queues/q ",
                "{\"rate\":null,\"concurrency\":null,\"key_rate\":null,\"max_queued\":null,"
                "\"defaults\":{\"priority\":null,\"backoff\":null}}");
    jobmill_value_free(f.value);
    assert_int_equal(jobmill_queue_configure(f.mill, "q", NULL, &f.value), 0);
    assert_sent(&f, 2, "PATCH /v1/queues/q ", "{}");
    close_mill(&f);
}

static void a_task_is_configured_likewise(void **state)
{
    struct jobmill_task_options options = {.concurrency = 2, .grace_ms = -1};
    struct fixture f;

    (void)state;
    OPEN(&f, ANSWER(200, "{}"));
    assert_int_equal(jobmill_task_configure(f.mill, "t", &options, &f.value), 0);
    assert_sent(&f, 0, "PATCH /v1/tasks/t HTTP/1.1\r\n",
                "{\"concurrency\":2,\"defaults\":{\"grace_ms\":null}}");
    close_mill(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_submit_sends_every_option),
        cmocka_unit_test(a_struct_without_a_size_ends_where_the_first_version_ended),
        cmocka_unit_test(what_only_a_newer_library_knows_is_refused_in_nested_structs_too),
        cmocka_unit_test(what_cannot_be_meant_sends_nothing),
        cmocka_unit_test(a_unique_submit_tells_which_job_it_met),
        cmocka_unit_test(what_a_submit_tells_beside_the_body_is_read_too),
        cmocka_unit_test(a_job_tells_its_new_members),
        cmocka_unit_test(a_job_tells_the_attempts_that_have_ended),
        cmocka_unit_test(a_patch_sends_what_changes_and_a_retry_nothing),
        cmocka_unit_test(a_patch_and_a_retry_are_not_repeated),
        cmocka_unit_test(an_explanation_is_a_value),
        cmocka_unit_test(a_list_takes_every_filter),
        cmocka_unit_test(a_change_by_filter_goes_on_to_the_last_cursor),
        cmocka_unit_test(a_change_by_filter_that_fails_on_the_way_leaves_the_counts_alone),
        cmocka_unit_test(a_queue_is_shown_paused_and_resumed),
        cmocka_unit_test(what_sets_a_queue_or_a_task_is_repeated),
        cmocka_unit_test(a_queue_gets_limits_and_defaults_and_loses_them),
        cmocka_unit_test(a_task_is_configured_likewise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
