/*
 * rfc3339.c: the date is counted from the first of March of the year 0, so that a leap day is the
 * last of its year, and in eras of 400 years, which all have the same number of days.
 */
#include "lib/rfc3339.h"

#define FIRST_MS INT64_C(-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define LAST_MS INT64_C(253402300799999)  /* 9999-12-31T23:59:59.999Z */

enum {
    MS_PER_DAY = 24 * 3600 * 1000,
    DAYS_PER_ERA = 146097,
    DAYS_TO_1970 = 719468, /* from 0000-03-01 */
};

struct date {
    unsigned year;
    unsigned month;
    unsigned day;
};

/* `days` from 0000-03-01 less one era, so that it is never negative. */
static struct date date_of(int64_t days)
{
    int64_t era = days / DAYS_PER_ERA;
    unsigned in_era = (unsigned)(days % DAYS_PER_ERA);
    unsigned year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    unsigned in_year = in_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * in_year + 2) / 153; /* 0 is March */
    struct date d;

    d.day = in_year - (153 * month + 2) / 5 + 1;
    d.month = month < 10 ? month + 3 : month - 9;
    d.year = (unsigned)((era - 1) * 400 + year + (d.month <= 2));
    return d;
}

static char *put(char *at, unsigned value, int digits, char behind)
{
    for (int i = digits - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    at[digits] = behind;
    return at + digits + 1;
}

void rfc3339_format(int64_t wall_ms, char ret_text[RFC3339_BYTES])
{
    int64_t clamped = wall_ms < FIRST_MS ? FIRST_MS : wall_ms > LAST_MS ? LAST_MS : wall_ms;
    int64_t ms = clamped + (int64_t)MS_PER_DAY * (DAYS_TO_1970 + DAYS_PER_ERA);
    unsigned in_day = (unsigned)(ms % MS_PER_DAY);
    struct date d = date_of(ms / MS_PER_DAY);
    char *at = ret_text;

    at = put(at, d.year, 4, '-');
    at = put(at, d.month, 2, '-');
    at = put(at, d.day, 2, 'T');
    at = put(at, in_day / 3600000, 2, ':');
    at = put(at, in_day / 60000 % 60, 2, ':');
    at = put(at, in_day / 1000 % 60, 2, '.');
    at = put(at, in_day % 1000, 3, 'Z');
    *at = '\0';
}
