/*
 * Reading. An integer is summed up as it is scanned. A float is its digits as one integer m, times
 * a power of ten e. If m is below 2^53 and |e| at most 22, both m and 10^|e| are exact doubles, and
 * one multiplication or division rounds correctly. Else strtod decides, on a copy that has no
 * decimal point ("125e-2"), which is the only thing in it that depends on the locale. 770 digits
 * decide every rounding (the longest halfway point between doubles has 767 that matter), and what
 * is cut off leaves a digit that says "and a little more".
 *
 * Writing. A decimal of up to 15 digits is told by its double: so if m / 10^k gives the same double
 * back, for the smallest k, it is the shortest form. (m = round(x * 10^k) is the right candidate:
 * both roundings together move it by less than a quarter when m < 10^15.) That settles money and
 * measurements in a few divisions. The rest asks printf for all digits and strtod how few suffice.
 */
#include "lib/json_number.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EXACT_POWER = 22,
    DIGITS_KEPT = 770,
    DIGITS_TOLD = 15,            /* of a decimal, that a double can tell from all others */
    DIGITS_ENOUGH = 17,          /* to tell a double from all others */
    EXPONENT_CLAMP = 1000000000, /* beyond any that digits in memory could balance */
};

#define EXACT_INTEGER (UINT64_C(1) << 53)

static const double powers[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                               1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                               1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* A number as scanned: runs of digits in the text, and their sum as long as it is exact. */
struct scan {
    bool is_negative;
    bool is_float;
    bool is_overflown; /* `sum` has lost digits */
    uint64_t sum;
    const uint8_t *digits; /* of the integer part and the fraction, a point between */
    const uint8_t *digits_end;
    int64_t fraction_digits;
    int64_t exponent;
};

static bool is_digit(uint8_t c)
{
    return (uint8_t)(c - '0') < 10;
}

static enum json_problem problem_at(const uint8_t *at, const uint8_t *end)
{
    return at == end ? JSON_TRUNCATED : JSON_SYNTAX;
}

static const uint8_t *scan_digits(const uint8_t *at, const uint8_t *end, struct scan *s)
{
    for (; at < end && is_digit(*at); at++) {
        uint64_t digit = *at - (uint64_t)'0';

        if (s->sum > (UINT64_MAX - digit) / 10)
            s->is_overflown = true;
        else if (!s->is_overflown)
            s->sum = s->sum * 10 + digit;
    }
    return at;
}

static enum json_problem scan_fraction(const uint8_t **at, const uint8_t *end, struct scan *s)
{
    const uint8_t *first = *at + 1; /* behind the point */

    s->is_float = true;
    *at = scan_digits(first, end, s);
    s->fraction_digits = *at - first;
    return *at == first ? problem_at(*at, end) : JSON_OK;
}

static enum json_problem scan_exponent(const uint8_t **at, const uint8_t *end, struct scan *s)
{
    bool is_negative = false;
    const uint8_t *first;
    int64_t exponent = 0;

    s->is_float = true;
    (*at)++;
    if (*at < end && (**at == '+' || **at == '-'))
        is_negative = *(*at)++ == '-';
    for (first = *at; *at < end && is_digit(**at); (*at)++)
        if (exponent < EXPONENT_CLAMP)
            exponent = exponent * 10 + (**at - '0');
    s->exponent = is_negative ? -exponent : exponent;
    return *at == first ? problem_at(*at, end) : JSON_OK;
}

static enum json_problem scan_number(const uint8_t **at, const uint8_t *end, struct scan *s)
{
    enum json_problem problem = JSON_OK;

    if (*at < end && **at == '-') {
        s->is_negative = true;
        (*at)++;
    }
    s->digits = *at;
    *at = scan_digits(*at, end, s);
    if (*at == s->digits)
        return problem_at(*at, end);
    if (*s->digits == '0' && *at - s->digits > 1) {
        *at = s->digits + 1;
        return JSON_SYNTAX; /* a leading zero */
    }
    if (*at < end && **at == '.')
        problem = scan_fraction(at, end, s);
    s->digits_end = *at;
    if (problem == JSON_OK && *at < end && (**at | 0x20) == 'e')
        problem = scan_exponent(at, end, s);
    return problem;
}

/* The number as text without a point: significant digits, 'e', exponent. */
static void copy_for_strtod(const struct scan *s, int64_t exponent, char *ret_text)
{
    size_t kept = 0;
    bool has_more = false;

    for (const uint8_t *at = s->digits; at < s->digits_end; at++) {
        if (*at == '.' || (kept == 0 && *at == '0'))
            continue;
        if (kept < DIGITS_KEPT) {
            ret_text[kept++] = (char)*at;
        } else {
            has_more = has_more || *at != '0';
            exponent++;
        }
    }
    if (kept == 0)
        ret_text[kept++] = '0';
    if (has_more) {
        ret_text[kept++] = '1';
        exponent--;
    }
    sprintf(ret_text + kept, "e%" PRId64, exponent);
}

static enum json_problem to_float(const struct scan *s, double *ret_real)
{
    int64_t exponent = s->exponent - s->fraction_digits;
    char text[DIGITS_KEPT + 32];
    double real;

    if (!s->is_overflown && s->sum <= EXACT_INTEGER && exponent >= -EXACT_POWER &&
        exponent <= EXACT_POWER) {
        real =
            exponent < 0 ? (double)s->sum / powers[-exponent] : (double)s->sum * powers[exponent];
    } else {
        copy_for_strtod(s, exponent, text);
        real = strtod(text, NULL);
    }
    if (isinf(real))
        return JSON_NUMBER;
    *ret_real = s->is_negative ? -real : real;
    return JSON_OK;
}

static enum json_problem to_integer(const struct scan *s, struct json_number *ret_number)
{
    if (s->is_overflown || (s->is_negative && s->sum > (uint64_t)INT64_MAX + 1))
        return JSON_RANGE;
    if (!s->is_negative)
        *ret_number = (struct json_number){.type = JSON_NUMBER_UINT, .u64 = s->sum};
    else if (s->sum == 0)
        *ret_number = (struct json_number){.type = JSON_NUMBER_FLOAT, .real = -0.0};
    else
        *ret_number = (struct json_number){.type = JSON_NUMBER_INT, .i64 = (int64_t)(0 - s->sum)};
    return JSON_OK;
}

enum json_problem json_number_parse(const uint8_t **at, const uint8_t *end,
                                    struct json_number *ret_number)
{
    const uint8_t *first = *at;
    struct scan s = {0};
    enum json_problem problem = scan_number(at, end, &s);
    double real = 0;

    if (problem != JSON_OK)
        return problem;
    problem = s.is_float ? to_float(&s, &real) : to_integer(&s, ret_number);
    if (problem != JSON_OK)
        *at = first;
    else if (s.is_float)
        *ret_number = (struct json_number){.type = JSON_NUMBER_FLOAT, .real = real};
    return problem;
}

/* The value digits * 10^exponent. */
struct decimal {
    uint64_t digits;
    int exponent;
};

/* Writes the digits of `number` from `at` on; where they end. */
static char *put_digits(char *at, uint64_t number)
{
    char digits[20];
    size_t n = 0;

    do {
        digits[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (n > 0)
        *at++ = digits[--n];
    return at;
}

static bool is_same(struct decimal d, double real)
{
    char text[48];
    char *at = put_digits(text, d.digits);

    *at++ = 'e';
    if (d.exponent < 0)
        *at++ = '-';
    at = put_digits(at, (uint64_t)abs(d.exponent));
    *at = '\0';
    return strtod(text, NULL) == real;
}

/* The 17 digits nearest to `real`, which always suffice. printf writes "d.ddde+xx", with the
 * locale's point. */
static struct decimal full_decimal(double real)
{
    char text[64];
    struct decimal d = {0, 0};
    const char *at = text;

    snprintf(text, sizeof(text), "%.*e", DIGITS_ENOUGH - 1, real);
    for (; *at != 'e'; at++)
        if (is_digit((uint8_t)*at))
            d.digits = d.digits * 10 + (uint64_t)(*at - '0');
    d.exponent = (int)strtol(at + 1, NULL, 10) - (DIGITS_ENOUGH - 1);
    return d;
}

/* If any decimal of `count` digits reads back as `real`, then the next one below or above does. */
static bool try_digits(struct decimal full, int count, double real, struct decimal *ret_decimal)
{
    struct decimal d = {full.digits, full.exponent + DIGITS_ENOUGH - count};
    struct decimal other;
    uint64_t unit = 1;
    bool is_upper_nearer;

    for (int i = count; i < DIGITS_ENOUGH; i++)
        unit *= 10;
    d.digits = full.digits / unit;
    is_upper_nearer = full.digits % unit >= unit / 2;
    other = d;
    d.digits += is_upper_nearer;
    other.digits += !is_upper_nearer;
    if (!is_same(d, real) && !is_same(d = other, real))
        return false;
    *ret_decimal = d;
    return true;
}

/* For what takes more than 15 digits or a large exponent. Where n digits suffice, n + 1 do, so the
 * number of digits is found by halving. Fifteen fit in every normal double, and only the denormals
 * have to begin lower. */
static struct decimal search_decimal(double real)
{
    struct decimal full = full_decimal(real);
    struct decimal best = full;
    int low = isnormal(real) ? DIGITS_TOLD : 1;
    int high = DIGITS_ENOUGH;

    while (low < high) {
        int middle = (low + high) / 2;

        if (try_digits(full, middle, real, &best))
            high = middle;
        else
            low = middle + 1;
    }
    return best;
}

static struct decimal shortest_decimal(double real)
{
    for (int k = 0; k <= EXACT_POWER; k++) {
        double scaled = real * powers[k];

        if (scaled >= 1e15)
            break;
        if (rint(scaled) / powers[k] == real)
            return (struct decimal){(uint64_t)rint(scaled), -k};
    }
    return search_decimal(real);
}

/* Lays out `count` digits, of which the first counts 10^magnitude: plain between 1e-5 and 1e16. */
static size_t lay_out(const char *digits, int count, int magnitude, char *ret_text)
{
    char *at = ret_text;

    if (magnitude < -5 || magnitude > 15) {
        *at++ = digits[0];
        if (count > 1)
            *at++ = '.';
        for (int i = 1; i < count; i++)
            *at++ = digits[i];
        return (size_t)(at - ret_text) + (size_t)sprintf(at, "e%+d", magnitude);
    }
    if (magnitude < 0)
        *at++ = '0';
    for (int i = 0; i <= magnitude; i++)
        *at++ = i < count ? digits[i] : '0';
    *at++ = '.';
    for (int i = magnitude + 1; i < 0; i++)
        *at++ = '0';
    for (int i = magnitude < 0 ? 0 : magnitude + 1; i < count; i++)
        *at++ = digits[i];
    if (magnitude >= count - 1)
        *at++ = '0';
    return (size_t)(at - ret_text);
}

size_t json_number_format(double real, char ret_text[JSON_NUMBER_BYTES])
{
    struct decimal d;
    char digits[24];
    size_t sign = signbit(real) ? 1 : 0;
    int count;

    assert(isfinite(real));
    ret_text[0] = '-';
    if (real == 0) {
        memcpy(ret_text + sign, "0.0", 3);
        return sign + 3;
    }
    d = shortest_decimal(fabs(real));
    for (; d.digits % 10 == 0; d.digits /= 10)
        d.exponent++;
    count = (int)(put_digits(digits, d.digits) - digits);
    return sign + lay_out(digits, count, d.exponent + count - 1, ret_text + sign);
}
