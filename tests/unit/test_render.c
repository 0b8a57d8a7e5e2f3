#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "broker/digest.h"
#include "broker/job_render.h"
#include "broker/progress.h"
#include "broker/render.h"
#include "lib/json.h"

static void check_json(struct buf *msgpack, const char *wanted)
{
    struct buf text;

    assert_false(buf_has_failed(msgpack));
    buf_init(&text, 1 << 16);
    assert_int_equal(json_from_msgpack(buf_span(msgpack), &text, NULL), JSON_OK);
    buf_put_u8(&text, 0);
    assert_string_equal((const char *)text.data, wanted);
    buf_done(&text);
}

static void maps_and_arrays_count_what_is_put_into_them(void **state)
{
    struct buf out;
    struct render_map m;
    struct render_map inner;
    struct render_array a;

    (void)state;
    buf_init(&out, 1 << 16);
    render_open_map(&m, &out);
    render_u64(&m, "big", UINT64_MAX);
    render_i64(&m, "small", INT64_MIN);
    render_bool(&m, "yes", true);
    render_nil(&m, "none");
    render_time(&m, "time", INT64_C(1700000000123));
    render_key(&m, "list");
    render_open_array(&a, &out);
    render_item_str(&a, span_of_str("x"));
    render_item(&a);
    render_open_map(&inner, &out);
    render_close_map(&inner);
    render_close_array(&a);
    render_close_map(&m);
    check_json(&out, "{\"big\":18446744073709551615,\"small\":-9223372036854775808,\"yes\":true,"
                     "\"none\":null,\"time\":\"2023-11-14T22:13:20.123Z\",\"list\":[\"x\",{}]}");
    buf_done(&out);
}

static void a_full_buffer_only_fails(void **state)
{
    (void)state;
    for (size_t max = 0; max < 40; max++) {
        struct buf out;
        struct render_map m;
        struct render_array a;

        buf_init(&out, max);
        render_open_map(&m, &out);
        render_key(&m, "list");
        render_open_array(&a, &out);
        render_item_str(&a, span_of_str("0123456789012345678901234567"));
        render_close_array(&a);
        render_close_map(&m);
        assert_true(buf_has_failed(&out));
        buf_done(&out);
    }
}

static struct job_view some_job(void)
{
    static const uint8_t args[] = {0x81, 0xa1, 'n', 0x05};
    static const uint8_t tags[] = {0x91, 0xa1, 't'};
    static const uint8_t result[] = {0x05};

    return (struct job_view){
        .id = 1,
        .spec = {.queue = span_of_str("q"),
                 .task = span_of_str("fib"),
                 .args = span_of(args, sizeof(args)),
                 .tags = span_of(tags, sizeof(tags)),
                 .priority = 5,
                 .max_attempts = 3,
                 .timeout_ms = 1000},
        .state = JOB_SUCCEEDED,
        .attempt = 2,
        .failures = 1,
        .due_ms = 1,
        .host = 0xabc,
        .begun_at_ms = 1000,
        .finished_at_ms = 2000,
        .run_us = 1000000,
        .result = span_of(result, 1),
    };
}

static void a_finished_job_is_shown_whole(void **state)
{
    struct job_view job = some_job();
    struct buf out;
    struct render_map m;

    (void)state;
    buf_init(&out, 1 << 16);
    render_open_map(&m, &out);
    job_render(&m, &job, true);
    render_close_map(&m);
    check_json(&out,
               "{\"id\":\"0000000000001\",\"task\":\"fib\",\"queue\":\"q\",\"state\":\"succeeded\","
               "\"attempt\":2,\"failures\":1,\"crashes\":0,\"worker_deaths\":0,\"priority\":5,"
               "\"max_attempts\":3,\"timeout_ms\":1000,\"grace_ms\":0,\"tags\":[\"t\"],"
               "\"created_at\":\"2020-01-01T00:00:00.000Z\","
               "\"begun_at\":\"1970-01-01T00:00:01.000Z\","
               "\"finished_at\":\"1970-01-01T00:00:02.000Z\",\"run_us\":1000000,"
               "\"worker\":\"0000000000000abc\",\"args\":{\"n\":5},\"result\":5}");
    buf_done(&out);
}

static void a_job_that_waits_in_redis_is_shown_as_queued_and_without_an_end(void **state)
{
    struct job_view job = some_job();
    struct buf out;
    struct render_map m;

    (void)state;
    job.state = JOB_DISPATCHED;
    job.result = span_of(NULL, 0);
    job.spec.tags = span_of(NULL, 0);
    job.host = 0;
    job.begun_at_ms = 0;
    buf_init(&out, 1 << 16);
    render_open_map(&m, &out);
    job_render(&m, &job, false);
    render_close_map(&m);
    check_json(
        &out,
        "{\"id\":\"0000000000001\",\"task\":\"fib\",\"queue\":\"q\","
        "\"state\":\"queued\",\"attempt\":2,\"failures\":1,\"crashes\":0,"
        "\"worker_deaths\":0,\"priority\":5,\"max_attempts\":3,\"timeout_ms\":1000,\"grace_ms\":0,"
        "\"created_at\":\"2020-01-01T00:00:00.000Z\"}");
    buf_done(&out);
}

static void expect_progress(const struct job_view *job, const char *json)
{
    struct buf out, text;
    struct render_map m;

    buf_init(&out, 1 << 16);
    buf_init(&text, 1 << 16);
    render_open_map(&m, &out);
    job_render(&m, job, false);
    render_close_map(&m);
    assert_int_equal(json_from_msgpack(buf_span(&out), &text, NULL), JSON_OK);
    buf_put_u8(&text, 0);
    if (json == NULL)
        assert_null(strstr((const char *)text.data, "progress"));
    else
        assert_non_null(strstr((const char *)text.data, json));
    buf_done(&out);
    buf_done(&text);
}

static void progress_is_shown_of_the_attempt_that_runs(void **state)
{
    struct progress progress = {.attempt = 2, .done = 3};
    struct job_view job = some_job();

    (void)state;
    job.progress = &progress;
    expect_progress(&job, NULL); /* it has ended */
    job.state = JOB_RUNNING;
    expect_progress(&job, "\"progress\":{\"done\":3}");
    progress = (struct progress){
        .attempt = 2, .done = UINT64_MAX, .total = 7, .message = "half", .message_len = 4};
    expect_progress(&job, "\"progress\":{\"done\":18446744073709551615,\"total\":7,"
                          "\"message\":\"half\"}");
    progress.attempt = 1;
    expect_progress(&job, NULL);
    job.progress = NULL;
    expect_progress(&job, NULL);
}

static void the_version_changes_with_progress(void **state)
{
    struct progress steps[] = {{.attempt = 1},
                               {.attempt = 2, .done = 1},
                               {.attempt = 2, .done = 2},
                               {.attempt = 2, .done = 2, .total = 1},
                               {.attempt = 2, .done = 1, .total = 2},
                               {.attempt = 2, .done = 1, .message = "a", .message_len = 1},
                               {.attempt = 2, .done = 1, .message = "b", .message_len = 1}};
    uint64_t versions[JM_COUNT_OF(steps)];
    struct job_view job = some_job();

    (void)state;
    job.state = JOB_RUNNING;
    for (size_t i = 0; i < JM_COUNT_OF(steps); i++) {
        job.progress = &steps[i];
        versions[i] = job_render_version(&job);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(versions[i], versions[j]);
    }
    job.progress = NULL;
    assert_int_equal(job_render_version(&job), versions[0]);
}

static void the_version_changes_with_every_part_that_can(void **state)
{
    const struct job_view base = some_job();
    struct job_view other[15];

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(other); i++)
        other[i] = base;
    other[0].state = JOB_FAILED;
    other[1].attempt++;
    other[2].failures++;
    other[3].crashes++;
    other[4].deaths++;
    other[5].host++;
    other[6].begun_at_ms++;
    other[7].finished_at_ms++;
    other[8].due_ms++;
    other[9].spec.priority++;
    other[10].spec.max_attempts++;
    other[11].spec.timeout_ms++;
    other[12].spec.options = span_of_str("o");
    other[13].spec.tags = span_of(NULL, 0);
    other[14].spec.args = span_of_str("\x01");
    assert_int_equal(job_render_version(&base), job_render_version(&base));
    for (size_t i = 0; i < JM_COUNT_OF(other); i++)
        assert_int_not_equal(job_render_version(&base), job_render_version(&other[i]));
}

static void a_digest_tells_lists_of_parts_apart(void **state)
{
    const struct span one[] = {span_of_str("ab"), span_of_str("c")};
    const struct span two[] = {span_of_str("a"), span_of_str("bc")};
    /* sha256 of eight zero bytes: one empty part, as `head -c8 /dev/zero | sha256sum` has it */
    static const uint8_t known[] = {0xaf, 0x55, 0x70, 0xf5, 0xa1, 0x81, 0x0b, 0x7a};
    const struct span empty = span_of(NULL, 0);
    struct digest *d = digest_new();
    uint8_t a[DIGEST_BYTES];
    uint8_t b[DIGEST_BYTES];

    (void)state;
    assert_non_null(d);
    assert_int_equal(digest_parts(d, one, 2, a), 0);
    assert_int_equal(digest_parts(d, two, 2, b), 0);
    assert_memory_not_equal(a, b, DIGEST_BYTES);
    assert_int_equal(digest_parts(d, one, 2, b), 0);
    assert_memory_equal(a, b, DIGEST_BYTES);
    assert_int_equal(digest_parts(d, &empty, 1, a), 0);
    assert_memory_equal(a, known, sizeof(known));
    digest_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_and_arrays_count_what_is_put_into_them),
        cmocka_unit_test(a_full_buffer_only_fails),
        cmocka_unit_test(a_finished_job_is_shown_whole),
        cmocka_unit_test(a_job_that_waits_in_redis_is_shown_as_queued_and_without_an_end),
        cmocka_unit_test(progress_is_shown_of_the_attempt_that_runs),
        cmocka_unit_test(the_version_changes_with_progress),
        cmocka_unit_test(the_version_changes_with_every_part_that_can),
        cmocka_unit_test(a_digest_tells_lists_of_parts_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
