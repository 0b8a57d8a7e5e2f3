/*
 * rfc3339.c: the date is counted from the first of March of the year 0, so that a leap day is the
 * last of its year, and in eras of 400 years, which all have the same number of days.
 */
#include "lib/rfc3339.h"

#define FIRST_MS INT64_C(-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define LAST_MS INT64_C(253402300799999)  /* 9999-12-31T23:59:59.999Z */

enum {
    S_PER_DAY = 24 * 3600,
    MS_PER_DAY = S_PER_DAY * 1000,
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

/* The reverse of date_of, in days since 1970. */
static int64_t days_of(struct date d)
{
    int64_t year = (int64_t)d.year + 400 - (d.month <= 2); /* one era more: never negative */
    int64_t in_year = (153 * ((d.month + 9) % 12) + 2) / 5 + d.day - 1;

    return year * 365 + year / 4 - year / 100 + year / 400 + in_year -
           (DAYS_TO_1970 + DAYS_PER_ERA);
}

struct text {
    const uint8_t *at;
    const uint8_t *end;
};

/* Takes one character that must be `c`; letters in either case. */
static bool take(struct text *t, char c)
{
    if (t->at == t->end || (*t->at != c && (c < 'A' || *t->at != (c | 0x20))))
        return false;
    t->at++;
    return true;
}

static bool take_number(struct text *t, int digits, unsigned max, unsigned *ret_number)
{
    unsigned number = 0;

    for (int i = 0; i < digits; i++, t->at++) {
        if (t->at == t->end || *t->at < '0' || *t->at > '9')
            return false;
        number = number * 10 + (unsigned)(*t->at - '0');
    }
    *ret_number = number;
    return number <= max;
}

static int64_t month_days(const struct date *d)
{
    struct date first = {d->year, d->month, 1};
    struct date next = {d->year + (d->month == 12), d->month % 12 + 1, 1};

    return days_of(next) - days_of(first);
}

static bool take_date(struct text *t, struct date *ret_date)
{
    return take_number(t, 4, 9999, &ret_date->year) && take(t, '-') &&
           take_number(t, 2, 12, &ret_date->month) && ret_date->month > 0 && take(t, '-') &&
           take_number(t, 2, 31, &ret_date->day) && ret_date->day > 0 &&
           ret_date->day <= month_days(ret_date);
}

/* The second may be 60. */
static bool take_time(struct text *t, unsigned *ret_second_of_day, bool *ret_is_leap)
{
    unsigned hour;
    unsigned minute;
    unsigned second;

    if (!take_number(t, 2, 23, &hour) || !take(t, ':') || !take_number(t, 2, 59, &minute) ||
        !take(t, ':') || !take_number(t, 2, 60, &second))
        return false;
    *ret_second_of_day = hour * 3600 + minute * 60 + second;
    *ret_is_leap = second == 60;
    return true;
}

/* A point and at least one digit, or nothing. */
static bool take_fraction(struct text *t, unsigned *ret_ms)
{
    unsigned weight = 100;
    unsigned digit;

    *ret_ms = 0;
    if (!take(t, '.'))
        return true;
    if (!take_number(t, 1, 9, &digit))
        return false;
    do {
        *ret_ms += digit * weight;
        weight /= 10;
    } while (take_number(t, 1, 9, &digit));
    return true;
}

static bool take_offset(struct text *t, int64_t *ret_offset_s)
{
    unsigned hours;
    unsigned minutes;
    bool is_west;

    *ret_offset_s = 0;
    if (take(t, 'Z'))
        return true;
    is_west = take(t, '-');
    if (!is_west && !take(t, '+'))
        return false;
    if (!take_number(t, 2, 23, &hours) || !take(t, ':') || !take_number(t, 2, 59, &minutes))
        return false;
    *ret_offset_s = (int64_t)(hours * 3600 + minutes * 60) * (is_west ? -1 : 1);
    return true;
}

bool rfc3339_parse(struct span text, int64_t *ret_wall_ms)
{
    struct text t = {text.data, text.data};
    struct date date;
    unsigned second_of_day;
    unsigned ms;
    int64_t offset_s;
    int64_t second;
    bool is_leap;

    if (text.len > 0)
        t.end += text.len;
    if (!take_date(&t, &date) || !take(&t, 'T') || !take_time(&t, &second_of_day, &is_leap) ||
        !take_fraction(&t, &ms) || !take_offset(&t, &offset_s) || t.at != t.end)
        return false;
    second = days_of(date) * S_PER_DAY + second_of_day - offset_s;
    if (is_leap && second % S_PER_DAY != 0)
        return false;
    *ret_wall_ms = second * 1000 + ms;
    return true;
}
