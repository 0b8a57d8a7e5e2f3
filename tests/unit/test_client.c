/*
 * libjobmill against a scripted server: what it sends, how it reads answers, and above all what it
 * repeats and what never.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <time.h>

#include "client/jobmill.h"
#include "client/jobmill_error.h"
#include "lib/clock.h"
#include "schema/errors.h"
#include "tests/unit/scripted_http.h"

#define JSON "application/json"
#define PROBLEM "application/problem+json"
#define JOB(state) "{\"id\":\"01\",\"task\":\"fib\",\"queue\":\"default\",\"state\":\"" state "\""
#define QUEUED JOB("queued") "}"
#define RUNNING JOB("running") ",\"attempt\":1}"
#define SUCCEEDED JOB("succeeded") ",\"attempt\":2,\"run_us\":7,\"result\":{\"n\":[1,2.5]}}"
#define ANSWER(code, text)                                                  \
    {                                                                       \
        .kind = SCRIPTED_ANSWER, .status = code, .type = JSON, .body = text \
    }

struct fixture {
    struct scripted_http server;
    struct jobmill *mill;
};

static void open_mill(struct fixture *f, const struct jobmill_options *more,
                      const struct scripted_step *steps, size_t count)
{
    struct jobmill_options options = more != NULL ? *more : (struct jobmill_options){0};

    memset(f, 0, sizeof(*f));
    memcpy(f->server.steps, steps, count * sizeof(steps[0]));
    scripted_start(&f->server);
    options.size = sizeof(options);
    options.url = f->server.url;
    assert_int_equal(jobmill_open(&options, &f->mill), 0);
}

#define OPEN(f, options, ...)                                    \
    open_mill(f, options, (struct scripted_step[]){__VA_ARGS__}, \
              sizeof((struct scripted_step[]){__VA_ARGS__}) / sizeof(struct scripted_step))

static void close_mill(struct fixture *f)
{
    jobmill_close(f->mill);
    scripted_stop(&f->server);
}

static int submit(struct fixture *f, const char *key, struct jobmill_job **ret_job)
{
    struct jobmill_submit_options options = {.task = "fib", .idempotency_key = key};

    return jobmill_submit(f->mill, &options, ret_job);
}

static size_t request_count(struct fixture *f)
{
    return atomic_load(&f->server.count);
}

static uint64_t now_ms(void)
{
    return clock_mono_ms(clock_real());
}

/* ---- requests and answers ---- */

static void a_submit_sends_what_was_asked_and_reads_the_job(void **state)
{
    static const char *const tags[] = {"a", "b"};
    static const char body[] = "\x86\xa4task\xa3"
                               "fib\xa4"
                               "args\x81\xa1n\x23\xa5queue\xa1q\xaatimeout_ms\xcd\x03\xe8"
                               "\xacmax_attempts\x02\xa4tags\x92\xa1"
                               "a\xa1"
                               "b";
    struct jobmill_submit_options options = {.size = sizeof(options),
                                             .task = "fib",
                                             .args_json = " {\"n\": 35} ",
                                             .queue = "q",
                                             .timeout_ms = 1000,
                                             .max_attempts = 2,
                                             .tags = tags,
                                             .tag_count = 2,
                                             .wait_ms = 1500};
    struct jobmill_job *job = NULL;
    struct fixture f;
    const char *sent;
    size_t len;

    (void)state;
    OPEN(&f, NULL, ANSWER(200, SUCCEEDED));
    assert_int_equal(jobmill_submit(f.mill, &options, &job), 0);
    sent = f.server.requests[0];
    assert_ptr_equal(strstr(sent, "POST /v1/jobs?wait=1.500 HTTP/1.1\r\n"), sent);
    assert_non_null(strstr(sent, "Content-Type: application/msgpack\r\n"));
    assert_null(strstr(sent, "Idempotency-Key"));
    assert_null(strstr(sent, "Expect"));
    assert_memory_equal(strstr(sent, "\r\n\r\n") + 4, body, sizeof(body) - 1);
    assert_string_equal(jobmill_job_id(job), "01");
    assert_int_equal(jobmill_job_state(job), JOBMILL_SUCCEEDED);
    assert_int_equal(jobmill_job_is_finished(job), 1);
    assert_int_equal(jobmill_job_attempt(job), 2);
    assert_int_equal(jobmill_job_run_us(job), 7);
    assert_int_equal(jobmill_job_max_attempts(job), -1);
    assert_null(jobmill_job_error_code(job));
    assert_null(jobmill_job_args(job));
    assert_string_equal(jobmill_value_json(jobmill_job_result(job)), "{\"n\":[1,2.5]}");
    assert_memory_equal(jobmill_value_msgpack(jobmill_job_result(job), &len), "\x81\xa1n\x92\x01",
                        5);
    assert_int_equal(len, 14);
    assert_string_equal(jobmill_error_text(f.mill), "");
    assert_string_equal(jobmill_error_code(f.mill), "ok");
    jobmill_job_free(job);
    close_mill(&f);
}

static void a_failed_job_tells_why(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, NULL,
         ANSWER(200, JOB("failed") ",\"error\":{\"code\":\"crashed\",\"message\":\"signal 11\","
                                   "\"task_code\":\"own\",\"signal\":11},\"stopped\":true,\"new_"
                                   "member\":{}}"));
    assert_int_equal(jobmill_get(f.mill, "01", &job), 0);
    assert_int_equal(jobmill_job_state(job), JOBMILL_FAILED);
    assert_string_equal(jobmill_job_error_code(job), "crashed");
    assert_string_equal(jobmill_job_error_message(job), "signal 11");
    assert_string_equal(jobmill_job_task_code(job), "own");
    assert_string_equal(jobmill_job_stopped(job), "true");
    jobmill_job_free(job);
    close_mill(&f);
}

static void a_list_asks_with_encoded_parameters_and_gives_pages(void **state)
{
    struct jobmill_list_options options = {
        .queue = "a&b/c", .state = "queued", .limit = 2, .cursor = "x=="};
    struct jobmill_page *page = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, NULL, ANSWER(200, "{\"jobs\":[" QUEUED "," RUNNING "],\"next_cursor\":\"y\"}"),
         ANSWER(200, "{\"jobs\":[],\"next_cursor\":null}"));
    assert_int_equal(jobmill_list(f.mill, &options, &page), 0);
    assert_ptr_equal(strstr(f.server.requests[0], "GET /v1/jobs?state=queued&queue=a%26b%2Fc&"
                                                  "cursor=x%3D%3D&limit=2 HTTP/1.1\r\n"),
                     f.server.requests[0]);
    assert_int_equal(jobmill_page_count(page), 2);
    assert_int_equal(jobmill_job_state(jobmill_page_job(page, 1)), JOBMILL_RUNNING);
    assert_null(jobmill_page_job(page, 2));
    assert_string_equal(jobmill_page_next_cursor(page), "y");
    jobmill_page_free(page);
    assert_int_equal(jobmill_list(f.mill, NULL, &page), 0);
    assert_int_equal(jobmill_page_count(page), 0);
    assert_null(jobmill_page_next_cursor(page));
    jobmill_page_free(page);
    assert_int_equal(atomic_load(&f.server.connections), 1);
    close_mill(&f);
}

static void an_id_cannot_reach_another_path(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, NULL, ANSWER(200, QUEUED));
    assert_int_equal(jobmill_get(f.mill, "", &job), JOBMILL_EINVAL);
    assert_int_equal(jobmill_get(f.mill, NULL, &job), JOBMILL_EINVAL);
    assert_int_equal(jobmill_delete(f.mill, ""), JOBMILL_EINVAL);
    assert_int_equal(request_count(&f), 0);
    assert_int_equal(jobmill_get(f.mill, "../x?y#z", &job), 0);
    assert_ptr_equal(strstr(f.server.requests[0], "GET /v1/jobs/..%2Fx%3Fy%23z HTTP/1.1\r\n"),
                     f.server.requests[0]);
    jobmill_job_free(job);
    close_mill(&f);
}

static void a_problem_becomes_number_code_and_sentence(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, NULL,
         {.kind = SCRIPTED_ANSWER,
          .status = 404,
          .type = PROBLEM,
          .body = "{\"code\":\"no_such_job\",\"title\":\"T\",\"detail\":\"No job 01\"}"},
         {.kind = SCRIPTED_ANSWER,
          .status = 418,
          .type = PROBLEM,
          .body = "{\"code\":\"teapot\",\"title\":\"A teapot\"}"},
         {.kind = SCRIPTED_ANSWER, .status = 500, .type = PROBLEM, .body = "{}"});
    assert_int_equal(jobmill_get(f.mill, "01", &job), JOBMILL_ENOJOB);
    assert_string_equal(jobmill_error_code(f.mill), "no_such_job");
    assert_string_equal(jobmill_error_text(f.mill), "No job 01");
    assert_int_equal(jobmill_error_http_status(f.mill), 404);
    assert_int_equal(jobmill_get(f.mill, "01", &job), JOBMILL_EREFUSED);
    assert_string_equal(jobmill_error_code(f.mill), "teapot");
    assert_string_equal(jobmill_error_text(f.mill), "A teapot");
    assert_int_equal(jobmill_get(f.mill, "01", &job), JOBMILL_EBROKER);
    assert_string_equal(jobmill_error_code(f.mill), "http_500");
    assert_null(job);
    close_mill(&f);
}

static void an_answer_that_is_none_is_told_so(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, &(struct jobmill_options){.retry_ms = -1},
         {.kind = SCRIPTED_ANSWER, .status = 200, .type = "text/html", .body = "<html>"},
         ANSWER(200, "{\"id\":"), ANSWER(200, "{\"id\":\"01\"}"), ANSWER(200, "[1]"),
         {.kind = SCRIPTED_ANSWER,
          .status = 200,
          .type = "application/msgpack; charset=binary",
          .body = "\x92\x01"},
         {.kind = SCRIPTED_RAW, .body = "SSH-2.0-OpenSSH_9.2\r\n"});
    for (int i = 0; i < 6; i++) {
        assert_int_equal(jobmill_get(f.mill, "01", &job), JOBMILL_EANSWER);
        assert_string_equal(jobmill_error_code(f.mill), "bad_answer");
    }
    assert_null(job);
    close_mill(&f);
}

static void an_answer_larger_than_the_limit_is_refused_by_name(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, &(struct jobmill_options){.max_answer_bytes = sizeof(QUEUED) - 2},
         ANSWER(200, QUEUED));
    assert_int_equal(jobmill_get(f.mill, "01", &job), JOBMILL_ELIMIT);
    assert_non_null(strstr(jobmill_error_text(f.mill), "larger than"));
    close_mill(&f);
}

static void arguments_that_cannot_be_sent_send_nothing(void **state)
{
    static const struct jobmill_submit_options wrong[] = {
        {.task = NULL},
        {.task = "t", .args_json = "{\"a\":1,}"},
        {.task = "t", .args_json = "1 2"},
        {.task = "t", .args_msgpack = "\xc1", .args_msgpack_bytes = 1},
        {.task = "t", .args_json = "1", .args_msgpack = "\x01", .args_msgpack_bytes = 1},
        {.task = "t", .idempotency_key = ""},
        {.task = "t", .idempotency_key = "a\r\nX-Evil: 1"},
        {.task = "t", .idempotency_key = "a b"},
        {.task = "t", .timeout_ms = -1},
    };
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, NULL, {.kind = SCRIPTED_END});
    for (size_t i = 0; i < JM_COUNT_OF(wrong); i++) {
        assert_int_equal(jobmill_submit(f.mill, &wrong[i], &job), JOBMILL_EINVAL);
        assert_string_not_equal(jobmill_error_text(f.mill), "");
    }
    assert_int_equal(request_count(&f), 0);
    close_mill(&f);
}

/* ---- broken connections ---- */

static void a_submit_whose_connection_breaks_is_of_unknown_fate_and_not_repeated(void **state)
{
    static const enum scripted_kind ways[] = {SCRIPTED_CLOSE, SCRIPTED_RESET, SCRIPTED_HALF};

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(ways); i++) {
        struct jobmill_job *job = NULL;
        struct fixture f;

        OPEN(&f, NULL, {.kind = ways[i], .status = 201, .type = JSON, .body = QUEUED},
             ANSWER(201, QUEUED));
        assert_int_equal(submit(&f, NULL, &job), JOBMILL_EFATE);
        assert_string_equal(jobmill_error_code(f.mill), "unknown_fate");
        assert_null(job);
        assert_int_equal(request_count(&f), 1);
        /* The handle goes on. */
        assert_int_equal(submit(&f, NULL, &job), 0);
        jobmill_job_free(job);
        close_mill(&f);
    }
}

/* libcurl itself would send the POST again here, on a new connection. */
static void a_submit_on_a_kept_connection_that_dies_is_not_repeated_either(void **state)
{
    static const enum scripted_kind ways[] = {SCRIPTED_CLOSE, SCRIPTED_RESET};

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(ways); i++) {
        struct jobmill_job *job = NULL;
        struct fixture f;

        OPEN(&f, NULL, ANSWER(200, QUEUED), {.kind = ways[i]}, ANSWER(201, QUEUED));
        assert_int_equal(jobmill_get(f.mill, "01", &job), 0);
        jobmill_job_free(job);
        assert_int_equal(submit(&f, NULL, &job), JOBMILL_EFATE);
        assert_int_equal(request_count(&f), 2);
        close_mill(&f);
    }
}

static void a_cancel_and_a_delete_are_not_repeated(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, NULL, {.kind = SCRIPTED_CLOSE}, {.kind = SCRIPTED_RESET});
    assert_int_equal(jobmill_cancel(f.mill, "01", &job), JOBMILL_EFATE);
    assert_int_equal(jobmill_delete(f.mill, "01"), JOBMILL_EFATE);
    assert_int_equal(request_count(&f), 2);
    close_mill(&f);
}

static void a_submit_with_a_key_is_repeated_with_the_same_key_and_body(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, NULL, {.kind = SCRIPTED_RESET}, {.kind = SCRIPTED_CLOSE},
         {.kind = SCRIPTED_HALF, .status = 201, .type = JSON, .body = QUEUED},
         {.kind = SCRIPTED_ANSWER, .status = 503, .type = PROBLEM, .body = "{}"},
         ANSWER(201, QUEUED));
    assert_int_equal(submit(&f, "k-1", &job), 0);
    assert_int_equal(request_count(&f), 5);
    for (int i = 0; i < 5; i++) {
        assert_non_null(strstr(f.server.requests[i], "Idempotency-Key: k-1\r\n"));
        assert_string_equal(f.server.requests[i], f.server.requests[0]);
    }
    jobmill_job_free(job);
    close_mill(&f);
}

static void a_repeat_comes_no_sooner_than_the_broker_asks_for(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;
    uint64_t begin_ms = now_ms();

    (void)state;
    OPEN(&f, NULL,
         {.kind = SCRIPTED_ANSWER,
          .status = 503,
          .type = PROBLEM "\r\nRetry-After: 1",
          .body = "{}"},
         {.kind = SCRIPTED_ANSWER,
          .status = 429,
          .type = PROBLEM "\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT",
          .body = "{}"},
         ANSWER(201, QUEUED));
    assert_int_equal(submit(&f, "k", &job), 0);
    assert_true(now_ms() - begin_ms >= 1000);
    jobmill_job_free(job);
    close_mill(&f);
}

static void a_broker_that_asks_for_longer_than_repeats_last_is_not_waited_for(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, NULL,
         {.kind = SCRIPTED_ANSWER,
          .status = 429,
          .type = PROBLEM "\r\nRetry-After: 3600",
          .body = "{\"code\":\"queue_full\"}"});
    assert_int_equal(submit(&f, "k", &job), JOBMILL_EQUEUEFULL);
    assert_int_equal(request_count(&f), 1);
    close_mill(&f);
}

static void a_submit_with_a_key_that_never_gets_an_answer_is_of_unknown_fate(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, &(struct jobmill_options){.retry_ms = -1}, {.kind = SCRIPTED_RESET});
    assert_int_equal(submit(&f, "k", &job), JOBMILL_EFATE);
    assert_int_equal(request_count(&f), 1);
    close_mill(&f);
}

static void a_read_is_repeated(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, NULL, {.kind = SCRIPTED_RESET}, {.kind = SCRIPTED_CLOSE}, ANSWER(200, RUNNING));
    assert_int_equal(jobmill_get(f.mill, "01", &job), 0);
    assert_int_equal(request_count(&f), 3);
    jobmill_job_free(job);
    close_mill(&f);
}

static void repeats_end_with_their_time(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;
    uint64_t start_ms;

    (void)state;
    OPEN(&f, &(struct jobmill_options){.retry_ms = 100}, {.kind = SCRIPTED_CLOSE},
         {.kind = SCRIPTED_CLOSE}, {.kind = SCRIPTED_CLOSE}, {.kind = SCRIPTED_CLOSE},
         {.kind = SCRIPTED_CLOSE}, {.kind = SCRIPTED_CLOSE}, {.kind = SCRIPTED_CLOSE},
         {.kind = SCRIPTED_CLOSE});
    start_ms = now_ms();
    assert_int_equal(jobmill_get(f.mill, "01", &job), JOBMILL_ECONNECT);
    assert_in_range(now_ms() - start_ms, 0, 5000);
    assert_in_range(request_count(&f), 2, 7);
    close_mill(&f);
}

static void a_broker_that_is_not_there_is_told_so_and_nothing_was_done(void **state)
{
    struct jobmill_options options = {.url = "unix:/nonexistent/socket", .retry_ms = 60};
    struct jobmill *mill = NULL;
    struct jobmill_job *job = NULL;
    struct jobmill_submit_options task = {.task = "t"};

    (void)state;
    assert_int_equal(jobmill_open(&options, &mill), 0);
    assert_int_equal(jobmill_submit(mill, &task, &job), JOBMILL_ECONNECT);
    assert_string_equal(jobmill_error_code(mill), "broker_unreachable");
    assert_int_equal(jobmill_error_http_status(mill), 0);
    jobmill_close(mill);
}

static void a_slow_answer_is_a_timeout_for_a_read_and_unknown_fate_for_a_submit(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, &(struct jobmill_options){.request_timeout_ms = 50}, {.kind = SCRIPTED_SILENT},
         {.kind = SCRIPTED_SILENT}, {.kind = SCRIPTED_SILENT});
    assert_int_equal(jobmill_get(f.mill, "01", &job), JOBMILL_ETIMEDOUT);
    assert_int_equal(submit(&f, NULL, &job), JOBMILL_EFATE);
    assert_int_equal(submit(&f, "key", &job), JOBMILL_EFATE);
    assert_int_equal(request_count(&f), 3);
    close_mill(&f);
}

/* ---- waiting ---- */

static void a_wait_polls_until_the_job_has_finished(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, NULL, ANSWER(200, QUEUED), ANSWER(200, RUNNING), {.kind = SCRIPTED_RESET},
         {.kind = SCRIPTED_ANSWER, .status = 429, .type = PROBLEM, .body = "{}"},
         ANSWER(200, SUCCEEDED));
    assert_int_equal(jobmill_wait(f.mill, "01", -1, &job), 0);
    assert_int_equal(jobmill_job_is_finished(job), 1);
    assert_int_equal(request_count(&f), 5);
    assert_non_null(strstr(f.server.requests[0], "GET /v1/jobs/01?wait=30.000 HTTP/1.1\r\n"));
    jobmill_job_free(job);
    close_mill(&f);
}

static void a_wait_ends_with_its_time_and_gives_the_job_as_it_is(void **state)
{
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, NULL, ANSWER(200, RUNNING), ANSWER(200, RUNNING), ANSWER(200, RUNNING),
         ANSWER(200, RUNNING), ANSWER(200, RUNNING), ANSWER(200, RUNNING), ANSWER(200, RUNNING));
    assert_int_equal(jobmill_wait(f.mill, "01", 120, &job), 0);
    assert_int_equal(jobmill_job_is_finished(job), 0);
    assert_in_range(request_count(&f), 1, 6);
    jobmill_job_free(job);
    close_mill(&f);
}

static void a_submit_with_a_long_wait_goes_on_by_polls(void **state)
{
    struct jobmill_submit_options options = {.task = "fib", .wait_ms = -1};
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, NULL, ANSWER(202, RUNNING), ANSWER(200, SUCCEEDED));
    assert_int_equal(jobmill_submit(f.mill, &options, &job), 0);
    assert_int_equal(jobmill_job_is_finished(job), 1);
    assert_non_null(strstr(f.server.requests[0], "POST /v1/jobs?wait=60.000 "));
    assert_non_null(strstr(f.server.requests[1], "GET /v1/jobs/01?wait=30.000 "));
    jobmill_job_free(job);
    close_mill(&f);
}

/* ---- the contract of the header ---- */

static void only_addresses_of_the_two_forms_open_a_handle(void **state)
{
    static const char *const wrong[] = {
        "",
        "localhost:7878",
        "ftp://h",
        "http://",
        "http:///x",
        "http://h/ x",
        "http://h?x",
        "unix:",
        "unix:/"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaa"};
    struct jobmill *mill = NULL;

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(wrong); i++) {
        struct jobmill_options options = {.url = wrong[i]};

        assert_int_equal(jobmill_open(&options, &mill), JOBMILL_EINVAL);
        assert_null(mill);
    }
    jobmill_close(NULL);
}

static void an_option_of_a_newer_library_is_refused_if_it_is_used(void **state)
{
    struct {
        struct jobmill_options known;
        long newer;
    } options = {.known = {.size = sizeof(options)}};
    struct jobmill *mill = NULL;

    (void)state;
    assert_int_equal(jobmill_open(&options.known, &mill), 0);
    jobmill_close(mill);
    mill = NULL;
    options.newer = 1;
    assert_int_equal(jobmill_open(&options.known, &mill), JOBMILL_EINVAL);
    assert_null(mill);
}

/* What is in a program that was compiled years ago. */
static void the_public_numbers_stay_as_they_are(void **state)
{
    static const struct {
        int number;
        const char *code;
    } rows[] = {
        {-1, "invalid_argument"},
        {-2, "out_of_memory"},
        {-3, "broker_unreachable"},
        {-4, "unknown_fate"},
        {-5, "client_timeout"},
        {-6, "bad_answer"},
        {-7, "limit"},
        {-20, "bad_request"},
        {-21, "internal"},
        {-22, "no_such_job"},
        {-22, "bad_id"},
        {-23, "not_finished"},
        {-24, "already_finished"},
        {-25, "no_result"},
        {-26, "bad_field"},
        {-27, "unknown_field"},
        {-28, "missing_field"},
        {-29, "idempotency_mismatch"},
        {-30, "body_too_large"},
        {-31, "too_many_waiters"},
        {-32, "overloaded"},
        {-33, "shutting_down"},
        {-34, "storage_full"},
        {-35, "job_running"},
        {-36, "unique_conflict"},
        {-37, "queue_full"},
        {-38, "batch_too_large"},
        {-39, "batch_refused"},
        {-40, "no_such_queue"},
        {-41, "no_such_task"},
        {-42, "no_filter"},
        {-20, "bad_query"},
        {-21, "storage_failed"},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        assert_int_not_equal(errors_parse_code(rows[i].code), 0);
        assert_int_equal(jobmill_error_from_schema(errors_parse_code(rows[i].code)),
                         rows[i].number);
        assert_string_not_equal(jobmill_error_title(rows[i].number), "");
    }
    assert_int_equal(JOBMILL_EFATE, -4);
    assert_int_equal(JOBMILL_SUCCEEDED, 4);
    assert_int_equal(JOBMILL_EXPIRED, 7);
}

static void *use_a_handle(void *context)
{
    struct fixture f;
    struct jobmill_job *job = NULL;

    (void)context;
    OPEN(&f, NULL, {.kind = SCRIPTED_RESET}, ANSWER(200, SUCCEEDED));
    assert_int_equal(jobmill_wait(f.mill, "01", -1, &job), 0);
    jobmill_job_free(job);
    close_mill(&f);
    return NULL;
}

static void threads_with_a_handle_each_do_not_meet(void **state)
{
    pthread_t threads[8];

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_a_handle, NULL), 0);
    for (size_t i = 0; i < JM_COUNT_OF(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_submit_sends_what_was_asked_and_reads_the_job),
        cmocka_unit_test(a_failed_job_tells_why),
        cmocka_unit_test(a_list_asks_with_encoded_parameters_and_gives_pages),
        cmocka_unit_test(an_id_cannot_reach_another_path),
        cmocka_unit_test(a_problem_becomes_number_code_and_sentence),
        cmocka_unit_test(an_answer_that_is_none_is_told_so),
        cmocka_unit_test(an_answer_larger_than_the_limit_is_refused_by_name),
        cmocka_unit_test(arguments_that_cannot_be_sent_send_nothing),
        cmocka_unit_test(a_submit_whose_connection_breaks_is_of_unknown_fate_and_not_repeated),
        cmocka_unit_test(a_submit_on_a_kept_connection_that_dies_is_not_repeated_either),
        cmocka_unit_test(a_cancel_and_a_delete_are_not_repeated),
        cmocka_unit_test(a_submit_with_a_key_is_repeated_with_the_same_key_and_body),
        cmocka_unit_test(a_repeat_comes_no_sooner_than_the_broker_asks_for),
        cmocka_unit_test(a_broker_that_asks_for_longer_than_repeats_last_is_not_waited_for),
        cmocka_unit_test(a_submit_with_a_key_that_never_gets_an_answer_is_of_unknown_fate),
        cmocka_unit_test(a_read_is_repeated),
        cmocka_unit_test(repeats_end_with_their_time),
        cmocka_unit_test(a_broker_that_is_not_there_is_told_so_and_nothing_was_done),
        cmocka_unit_test(a_slow_answer_is_a_timeout_for_a_read_and_unknown_fate_for_a_submit),
        cmocka_unit_test(a_wait_polls_until_the_job_has_finished),
        cmocka_unit_test(a_wait_ends_with_its_time_and_gives_the_job_as_it_is),
        cmocka_unit_test(a_submit_with_a_long_wait_goes_on_by_polls),
        cmocka_unit_test(only_addresses_of_the_two_forms_open_a_handle),
        cmocka_unit_test(an_option_of_a_newer_library_is_refused_if_it_is_used),
        cmocka_unit_test(the_public_numbers_stay_as_they_are),
        cmocka_unit_test(threads_with_a_handle_each_do_not_meet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
