#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "broker/query.h"
#include "schema/errors.h"
#include "schema/id.h"
#include "schema/states.h"
#include "tests/unit/guard.h"

enum { ALL = (1 << QUERY_PARAM_COUNT) - 1 };

/* At the end of a guard page, so that a read behind the text is a crash. */
static int parse(const char *text, unsigned allowed, struct query *ret_query, struct fault *ret_f)
{
    struct guard g;
    int rc;

    guard_init(&g);
    rc = query_parse(guard_copy(&g, span_of_str(text)), allowed, ret_query, ret_f);
    guard_done(&g);
    return rc;
}

static void a_wait_is_seconds_with_a_fraction(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms; /* 0: refused */
    } rows[] = {
        {"wait=1", 1000},
        {"wait=60", 60000},
        {"wait=0.5", 500},
        {"wait=2.25", 2250},
        {"wait=0.001", 1},
        {"wait=0.0001", 1},
        {"wait=59.9999", 60000},
        {"wait=%35", 5000},
        {"wait=007", 7000},
        {"wait=60.0", 60000},
        {"wait=0", 0},
        {"wait=0.0", 0},
        {"wait=60.001", 0},
        {"wait=61", 0},
        {"wait=-1", 0},
        {"wait=", 0},
        {"wait", 0},
        {"wait=1.", 0},
        {"wait=.5", 0},
        {"wait=1e1", 0},
        {"wait=+1", 0},
        {"wait= 1", 0},
        {"wait=1.5.5", 0},
        {"wait=99999999999999999999", 0},
    };
    struct query q;
    struct fault f;

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        int rc = parse(rows[i].text, ALL, &q, &f);

        if (rc != (rows[i].ms == 0 ? JM_EQUERY : 0) || (rc == 0 && q.wait_ms != rows[i].ms))
            fail_msg("%s gave %d, %d ms", rows[i].text, rc, (int)q.wait_ms);
    }
}

static void a_wait_above_the_limit_is_refused_with_the_limit(void **state)
{
    struct query q;
    struct fault f;

    (void)state;
    assert_int_equal(parse("wait=61", ALL, &q, &f), JM_EQUERY);
    assert_string_equal(f.field, "wait");
    assert_int_equal(f.limit, 60);
    assert_non_null(strstr(f.detail, "at most 60"));
}

static void an_unknown_parameter_is_refused_by_its_name(void **state)
{
    struct query q;
    struct fault f;

    (void)state;
    assert_int_equal(parse("wait=1&speed=9", ALL, &q, &f), JM_EQUERY);
    assert_string_equal(f.field, "speed");
    assert_int_equal(parse("limit=5", 1u << QUERY_WAIT, &q, &f), JM_EQUERY);
    assert_string_equal(f.field, "limit");
    assert_int_equal(parse("=5", ALL, &q, &f), JM_EQUERY);
    assert_int_equal(parse("Wait=5", ALL, &q, &f), JM_EQUERY);
    assert_int_equal(parse("a-name-that-is-longer-than-any-known-one=1", ALL, &q, &f), JM_EQUERY);
}

static void a_parameter_given_twice_is_refused(void **state)
{
    struct query q;
    struct fault f;

    (void)state;
    assert_int_equal(parse("wait=1&wait=2", ALL, &q, &f), JM_EQUERY);
    assert_string_equal(f.field, "wait");
    assert_non_null(strstr(f.detail, "twice"));
}

static void a_page_is_asked_for_by_filters_limit_and_cursor(void **state)
{
    struct query q;
    struct fault f;

    (void)state;
    assert_int_equal(parse("queue=mail%3Aout&task=send&limit=7&cursor=0000000000010&state=queued,"
                           "failed",
                           ALL, &q, &f),
                     0);
    assert_true(span_is_str(q.filter.queue, "mail:out"));
    assert_true(span_is_str(q.filter.task, "send"));
    assert_int_equal(q.limit, 7);
    assert_int_equal(q.filter.below, 32);
    assert_int_equal(q.filter.states, 1u << JOB_QUEUED | 1u << JOB_DISPATCHED | 1u << JOB_FAILED);
}

static void filters_are_read_as_a_search_wants_them(void **state)
{
    struct query q;
    struct fault f;

    (void)state;
    assert_int_equal(parse("tag=gr%C3%B6%C3%9Fer&limit_key=customer%2042&worker=0123456789abcDEF&"
                           "error=timed_out&created_after=2026-11-23T09:21:00.123Z&"
                           "created_before=2026-11-23t10:21:00.124%2B01:00&dry_run=true",
                           ALL, &q, &f),
                     0);
    assert_true(span_is_str(q.filter.tag, "größer"));
    assert_true(span_is_str(q.filter.limit_key, "customer 42"));
    assert_true(q.filter.worker == UINT64_C(0x0123456789abcdef));
    assert_true(span_is_str(q.filter.error, "timed_out"));
    assert_int_equal(id_wall_ms(q.filter.from), INT64_C(1795425660123));
    assert_int_equal(q.filter.below, id_make(INT64_C(1795425660124), 0));
    assert_true(q.is_dry_run);
    assert_true((q.given & QUERY_FILTERS) != 0);
    assert_int_equal(parse("limit=5&cursor=0000000000010&dry_run=false", ALL, &q, &f), 0);
    assert_false(q.is_dry_run);
    assert_true((q.given & QUERY_FILTERS) == 0);
}

/* A bound of 0 would be none: what was made before 2020 is nothing, not everything. */
static void times_that_no_id_has_bound_all_the_same(void **state)
{
    static const struct {
        const char *text;
        uint64_t from;
        uint64_t below;
    } rows[] = {
        {"created_before=1970-01-01T00:00:00Z", 0, 1},
        {"created_before=2020-01-01T00:00:00Z", 0, 1},
        {"created_before=2020-01-01T00:00:00.001Z", 0, 1 << 22},
        {"created_before=9999-12-31T23:59:59Z", 0, ID_MAX},
        {"created_after=1970-01-01T00:00:00Z", 0, 0},
        {"created_after=2020-01-01T00:00:00.001Z", 1 << 22, 0},
        {"created_after=9999-12-31T23:59:59Z", ID_MAX, 0},
    };
    struct query q;
    struct fault f;

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++)
        if (parse(rows[i].text, ALL, &q, &f) != 0 || q.filter.from != rows[i].from ||
            q.filter.below != rows[i].below)
            fail_msg("%s", rows[i].text);
}

static void of_a_cursor_and_a_time_the_lower_bound_counts(void **state)
{
    struct query q;
    struct fault f;

    (void)state;
    assert_int_equal(parse("cursor=0000000000010&created_before=2020-01-01T00:00:01Z", ALL, &q, &f),
                     0);
    assert_int_equal(q.filter.below, 32);
    assert_int_equal(parse("created_before=2020-01-01T00:00:01Z&cursor=ZZZZZZZZZZZZ0", ALL, &q, &f),
                     JM_EQUERY);
    assert_int_equal(parse("created_before=2020-01-01T00:00:01Z&cursor=7ZZZZZZZZZZZ0", ALL, &q, &f),
                     0);
    assert_int_equal(q.filter.below, UINT64_C(1000) << 22);
}

/* One byte more than the limit, and the limit in the problem. */
static void a_filter_that_is_too_long_is_refused_with_its_limit(void **state)
{
    static const struct {
        const char *name;
        size_t limit;
    } rows[] = {{"queue", 64}, {"task", 64}, {"tag", 64}, {"limit_key", 128}, {"error", 64}};
    char text[256];
    struct query q;
    struct fault f;

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        int len = snprintf(text, sizeof(text), "%s=", rows[i].name);

        memset(text + len, 'a', rows[i].limit + 1);
        text[(size_t)len + rows[i].limit + 1] = '\0';
        assert_int_equal(parse(text, ALL, &q, &f), JM_EQUERY);
        assert_string_equal(f.field, rows[i].name);
        assert_int_equal(f.limit, rows[i].limit);
        text[(size_t)len + rows[i].limit] = '\0';
        assert_int_equal(parse(text, ALL, &q, &f), 0);
    }
}

static void without_parameters_a_page_has_fifty_jobs_of_any_kind(void **state)
{
    struct query q;
    struct fault f;

    (void)state;
    assert_int_equal(parse("", ALL, &q, &f), 0);
    assert_int_equal(q.limit, 50);
    assert_int_equal(q.filter.states, 0);
    assert_int_equal(q.filter.queue.len, 0);
    assert_int_equal(q.wait_ms, 0);
    assert_int_equal(parse("&&", ALL, &q, &f), 0);
}

static void wrong_values_are_refused(void **state)
{
    static const char *const texts[] = {
        "limit=0",
        "limit=1001",
        "limit=",
        "limit=x",
        "limit=-1",
        "state=",
        "state=done",
        "state=queued,",
        "state=,queued",
        "state=dispatched",
        "queue=",
        "queue=a%20b",
        "queue=a/b",
        "queue=%",
        "queue=%4",
        "queue=%zz",
        "cursor=",
        "cursor=12",
        "cursor=0000000000000",
        "cursor=ZZZZZZZZZZZZZ",
        "queue=%00",
        "tag=",
        "tag=a%0Ab",
        "tag=%FF",
        "limit_key=",
        "limit_key=%7F",
        "limit_key=%C3",
        "worker=",
        "worker=0",
        "worker=0000000000000000",
        "worker=0123456789abcdeg",
        "worker=0123456789abcde",
        "worker=0123456789abcdef0",
        "error=",
        "error=it%20failed",
        "created_after=",
        "created_after=2026-11-23",
        "created_after=1795425660123",
        "created_before=2026-11-23T10:21:00+01:00%20",
        "created_before=2026-02-30T00:00:00Z",
        "dry_run=",
        "dry_run=1",
        "dry_run=True",
    };
    struct query q;
    struct fault f;

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(texts); i++)
        if (parse(texts[i], ALL, &q, &f) != JM_EQUERY)
            fail_msg("%s was taken", texts[i]);
}

static void a_preference_is_read_and_what_is_malformed_is_ignored(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {
        {"wait=10", 10000},
        {"respond-async, wait=10", 10000},
        {"wait = 10 ; foo=bar", 10000},
        {"Wait=\"10\"", 10000},
        {"wait=100", 60000},
        {"wait=3, wait=5", 3000},
        {"wait=0", 0},
        {"wait=1.5", 0},
        {"wait=x", 0},
        {"wait", 0},
        {"return=minimal", 0},
        {"", 0},
        {",,;=", 0},
        {"wait=99999999999999999999", 0},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        uint64_t ms = query_parse_prefer(span_of_str(rows[i].text));

        if (ms != rows[i].ms)
            fail_msg("%s gave %d ms", rows[i].text, (int)ms);
    }
}

static void decoding_refuses_what_does_not_fit(void **state)
{
    char text[4];

    (void)state;
    assert_int_equal(query_decode(span_of_str("a%62c"), sizeof(text), text), 3);
    assert_memory_equal(text, "abc", 3);
    assert_int_equal(query_decode(span_of_str("abcd"), sizeof(text), text), 4);
    assert_int_equal(query_decode(span_of_str("abcde"), sizeof(text), text), -1);
    assert_int_equal(query_decode(span_of_str("%F"), sizeof(text), text), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_is_seconds_with_a_fraction),
        cmocka_unit_test(a_wait_above_the_limit_is_refused_with_the_limit),
        cmocka_unit_test(an_unknown_parameter_is_refused_by_its_name),
        cmocka_unit_test(a_parameter_given_twice_is_refused),
        cmocka_unit_test(a_page_is_asked_for_by_filters_limit_and_cursor),
        cmocka_unit_test(filters_are_read_as_a_search_wants_them),
        cmocka_unit_test(times_that_no_id_has_bound_all_the_same),
        cmocka_unit_test(of_a_cursor_and_a_time_the_lower_bound_counts),
        cmocka_unit_test(a_filter_that_is_too_long_is_refused_with_its_limit),
        cmocka_unit_test(without_parameters_a_page_has_fifty_jobs_of_any_kind),
        cmocka_unit_test(wrong_values_are_refused),
        cmocka_unit_test(a_preference_is_read_and_what_is_malformed_is_ignored),
        cmocka_unit_test(decoding_refuses_what_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
