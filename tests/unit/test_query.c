#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "broker/query.h"
#include "schema/errors.h"
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
    assert_true(span_is_str(q.queue, "mail:out"));
    assert_true(span_is_str(q.task, "send"));
    assert_int_equal(q.limit, 7);
    assert_int_equal(q.below, 32);
    assert_int_equal(q.states, 1u << JOB_QUEUED | 1u << JOB_DISPATCHED | 1u << JOB_FAILED);
}

static void without_parameters_a_page_has_fifty_jobs_of_any_kind(void **state)
{
    struct query q;
    struct fault f;

    (void)state;
    assert_int_equal(parse("", ALL, &q, &f), 0);
    assert_int_equal(q.limit, 50);
    assert_int_equal(q.states, 0);
    assert_int_equal(q.queue.len, 0);
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
        cmocka_unit_test(without_parameters_a_page_has_fifty_jobs_of_any_kind),
        cmocka_unit_test(wrong_values_are_refused),
        cmocka_unit_test(a_preference_is_read_and_what_is_malformed_is_ignored),
        cmocka_unit_test(decoding_refuses_what_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
