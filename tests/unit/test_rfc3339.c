/* Times as text; timegm(3) and gmtime_r(3) are the oracle for the calendar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <time.h>

#include "lib/rfc3339.h"
#include "tests/unit/guard.h"

static struct guard guard;

static void assert_formats(int64_t ms, const char *expected)
{
    char text[RFC3339_BYTES];

    rfc3339_format(ms, text);
    assert_string_equal(text, expected);
}

static void writes_known_times(void **state)
{
    (void)state;
    assert_formats(0, "1970-01-01T00:00:00.000Z");
    assert_formats(-1, "1969-12-31T23:59:59.999Z");
    assert_formats(1700000000123, "2023-11-14T22:13:20.123Z");
    assert_formats(1795425660123, "2026-11-23T09:21:00.123Z");
    assert_formats(4107542399999, "2100-02-28T23:59:59.999Z");
    assert_formats(951782400000, "2000-02-29T00:00:00.000Z");
    assert_formats(4107542400000, "2100-03-01T00:00:00.000Z");
    assert_formats(-62167219200000, "0000-01-01T00:00:00.000Z");
    assert_formats(253402300799999, "9999-12-31T23:59:59.999Z");
}

static void writes_the_nearest_time_there_is_when_the_year_has_no_four_digits(void **state)
{
    (void)state;
    assert_formats(INT64_MIN, "0000-01-01T00:00:00.000Z");
    assert_formats(INT64_MAX, "9999-12-31T23:59:59.999Z");
}

static void agrees_with_the_c_library_from_the_year_0_to_9999(void **state)
{
    (void)state;
    /* every day of eight centuries around 1970, every 37th of the others */
    for (int64_t day = -719528; day < 2932897; day += day < -146097 || day > 146097 ? 37 : 1) {
        time_t second = (time_t)(day * 86400 + (day * 7919 % 86400 + 86400) % 86400);
        struct tm tm;
        char expected[64];
        char text[RFC3339_BYTES];
        int64_t back;

        gmtime_r(&second, &tm);
        snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d.042Z",
                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        rfc3339_format((int64_t)second * 1000 + 42, text);
        assert_string_equal(text, expected);
        assert_true(rfc3339_parse(span_of_str(text), &back));
        assert_int_equal(back, (int64_t)second * 1000 + 42);
    }
}

static void reads_what_the_rfc_allows(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1970-01-01T00:00:00+00:00", 0},
        {"1970-01-01T00:00:00-00:00", 0},
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T18:30:00-05:30", 0},
        {"1970-01-01T23:59:00+23:59", 0},
        {"1970-01-01T00:00:00.5Z", 500},
        {"1970-01-01T00:00:00.25Z", 250},
        {"1970-01-01T00:00:00.001Z", 1},
        {"1970-01-01T00:00:00.0019999999999999999999999Z", 1},
        {"1969-12-31T23:59:59.999Z", -1},
        {"1985-04-12T23:20:50.52Z", 482196050520},
        {"1996-12-19T16:39:57-08:00", 851042397000},
        {"1990-12-31T23:59:60Z", 662688000000},
        {"1990-12-31T15:59:60-08:00", 662688000000},
        {"2000-02-29T00:00:00Z", 951782400000},
        {"2400-02-29T00:00:00Z", 13574563200000},
        {"0000-01-01T00:00:00Z", -62167219200000},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(cases); i++) {
        int64_t ms = 77;

        if (!rfc3339_parse(guard_copy(&guard, span_of_str(cases[i].text)), &ms))
            fail_msg("%s is refused", cases[i].text);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void refuses_everything_else(void **state)
{
    static const char *const cases[] = {
        "",
        "1970",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01 00:00:00Z",
        "1970-01-01T00:00Z",
        "1970-01-01T00:00:00Zx",
        " 1970-01-01T00:00:00Z",
        "1970-00-01T00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-01-00T00:00:00Z",
        "1970-01-32T00:00:00Z",
        "1970-04-31T00:00:00Z",
        "1970-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:61Z",
        "1970-01-01T00:00:60Z",
        "1990-12-31T23:59:60-08:00",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00,5Z",
        "1970-01-01T00:00:00+0100",
        "1970-01-01T00:00:00+01",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+01:60",
        "197-01-01T00:00:00Z",
        "19700-01-01T00:00:00Z",
        "-970-01-01T00:00:00Z",
        "1970-1-01T00:00:00Z",
        "1970/01/01T00:00:00Z",
        ("\x91"
         "970-01-01T00:00:00Z"),
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(cases); i++) {
        int64_t ms = 77;

        if (rfc3339_parse(guard_copy(&guard, span_of_str(cases[i])), &ms))
            fail_msg("%s is taken", cases[i]);
        assert_int_equal(ms, 77);
    }
}

static void every_prefix_of_a_time_is_refused(void **state)
{
    static const char text[] = "1996-12-19T16:39:57.25-08:00";
    int64_t ms;

    (void)state;
    for (size_t n = 0; n < sizeof(text) - 1; n++)
        assert_false(rfc3339_parse(guard_copy(&guard, span_of(text, n)), &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_known_times),
        cmocka_unit_test(writes_the_nearest_time_there_is_when_the_year_has_no_four_digits),
        cmocka_unit_test(agrees_with_the_c_library_from_the_year_0_to_9999),
        cmocka_unit_test(reads_what_the_rfc_allows),
        cmocka_unit_test(refuses_everything_else),
        cmocka_unit_test(every_prefix_of_a_time_is_refused),
    };
    int failed;

    guard_init(&guard);
    failed = cmocka_run_group_tests_name("rfc3339", tests, NULL, NULL);
    guard_done(&guard);
    return failed;
}
