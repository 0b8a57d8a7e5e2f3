#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "lib/rfc3339.h"

static void known_times_have_their_text(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {INT64_C(1700000000123), "2023-11-14T22:13:20.123Z"},
        {INT64_C(951782400000), "2000-02-29T00:00:00.000Z"},
        {INT64_C(4107542399999), "2100-02-28T23:59:59.999Z"},
        {INT64_C(4107542400000), "2100-03-01T00:00:00.000Z"},
        {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {INT64_C(-62167219200000), "0000-01-01T00:00:00.000Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
    };
    char text[RFC3339_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rfc3339_format(rows[i].ms, text);
        assert_string_equal(text, rows[i].text);
    }
}

/* The C library is the oracle, for every day of eight centuries. */
static void every_day_is_what_gmtime_says(void **state)
{
    (void)state;
    for (int64_t day = -146097; day < 146097; day++) {
        time_t seconds = (time_t)(day * 86400 + (day & 0xffff));
        char text[RFC3339_BYTES];
        char wanted[64];
        struct tm tm;

        assert_non_null(gmtime_r(&seconds, &tm));
        assert_int_not_equal(strftime(wanted, sizeof(wanted), "%Y-%m-%dT%H:%M:%S.007Z", &tm), 0);
        rfc3339_format((int64_t)seconds * 1000 + 7, text);
        assert_string_equal(text, wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_times_have_their_text),
        cmocka_unit_test(every_day_is_what_gmtime_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
