/*
 * The transcoder against jansson, over a corpus that a seeded generator makes: JSON text is read by
 * both and must mean the same; msgpack is written by ours and read by jansson. Where our rules are
 * other than jansson's, on purpose, the generator avoids the difference or a test names it:
 *   - integers above 2^63-1: jansson refuses them, ours keeps them up to 2^64-1;
 *   - "-0": jansson reads the integer 0, ours the float -0.0;
 *   - NUL in a string: jansson needs JSON_ALLOW_NUL, and refuses it in a member's name;
 *   - a NUL byte right behind a number at the end: jansson overlooks it (refuse.txt has the case).
 * Names that occur twice are refused by both (JSON_REJECT_DUPLICATES). Lone surrogates too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"
#include "lib/json_number.h"
#include "lib/mp.h"
#include "lib/utf8.h"
#include "tests/unit/guard.h"

enum { TEXT_BYTES = 1 << 20, VALUES = 20000, DAMAGED = 40000, DOUBLES = 200000 };
enum { JANSSON_FLAGS = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL };

static const struct json_limits limits = JSON_DEFAULT_LIMITS;
static struct guard guard;
static struct buf text;
static struct buf msgpack;
static uint64_t seed;

/* splitmix64: the same corpus at every run. */
static uint64_t next_random(void)
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static unsigned below(unsigned limit)
{
    return (unsigned)(next_random() % limit);
}

/* Text, as varied as the grammar allows. */

static void put_space(void)
{
    while (below(6) == 0)
        buf_put_u8(&text, (uint8_t) " \n\t\r"[below(4)]);
}

static void put_random_char(void)
{
    uint32_t code;
    uint8_t utf8[UTF8_CHAR_BYTES];

    switch (below(8)) {
    case 0:
        buf_put_u8(&text, '\\');
        buf_put_u8(&text, (uint8_t) "\"\\/bfnrt"[below(8)]);
        return;
    case 1:
        code = below(0xd800 - 1) + 1;
        buf_printf(&text, below(2) == 0 ? "\\u%04x" : "\\u%04X", code);
        return;
    case 2:
        buf_printf(&text, "\\ud%x%02x\\ud%x%02x", 8 + below(4), below(256), 12 + below(4),
                   below(256));
        return;
    case 3:
        do
            code = 0x80 + below(below(2) == 0 ? 0x780 : 0x10ff80);
        while ((code & ~0x7ffu) == 0xd800);
        buf_put(&text, utf8, utf8_format(code, utf8));
        return;
    default:
        code = 0x20 + below(0x5f);
        buf_put_u8(&text, code == '"' || code == '\\' ? 'x' : (uint8_t)code);
        return;
    }
}

static void put_random_string(void)
{
    unsigned len = below(10) == 0 ? below(400) : below(12);

    buf_put_u8(&text, '"');
    for (unsigned i = 0; i < len; i++)
        put_random_char();
    buf_put_u8(&text, '"');
}

static void put_digits(unsigned max)
{
    for (unsigned n = 1 + below(max); n > 0; n--)
        buf_put_u8(&text, (uint8_t)('0' + below(10)));
}

static void put_random_float(void)
{
    if (below(3) == 0)
        buf_put_u8(&text, '-');
    buf_put_u8(&text, (uint8_t)('1' + below(9)));
    if (below(2) == 0)
        put_digits(below(10) == 0 ? 30 : 6);
    if (below(4) != 0) {
        buf_put_u8(&text, '.');
        put_digits(below(10) == 0 ? 900 : 8);
    }
    buf_printf(&text, below(2) == 0 ? "e%d" : "E%+d", (int)below(560) - 290);
}

static void put_random_value(unsigned depth);

static void put_random_object(unsigned depth)
{
    unsigned count = below(20) == 0 ? below(60) : below(5);

    buf_put_u8(&text, '{');
    for (unsigned i = 0; i < count; i++) {
        buf_put_str(&text, i > 0 ? "," : "");
        put_space();
        buf_printf(&text, below(200) == 0 ? "\"\\u006b%u\"" : "\"k%u\"", below(40) == 0 ? 0 : i);
        put_space();
        buf_put_u8(&text, ':');
        put_random_value(depth + 1);
    }
    buf_put_u8(&text, '}');
}

static void put_random_array(unsigned depth)
{
    unsigned count = below(20) == 0 ? below(60) : below(5);

    buf_put_u8(&text, '[');
    for (unsigned i = 0; i < count; i++) {
        buf_put_str(&text, i > 0 ? "," : "");
        put_random_value(depth + 1);
    }
    put_space();
    buf_put_u8(&text, ']');
}

static void put_random_value(unsigned depth)
{
    put_space();
    switch (below(depth > 6 ? 6 : 9)) {
    case 0:
        buf_put_str(&text, below(2) == 0 ? "true" : "false");
        break;
    case 1:
        buf_put_str(&text, "null");
        break;
    case 2:
        buf_printf(&text, "%lld", (long long)(next_random() >> (1 + below(63))) + 1);
        break;
    case 3:
        buf_printf(&text, "-%lld", (long long)(next_random() >> (1 + below(63))) + 1);
        break;
    case 4:
        put_random_float();
        break;
    case 5:
        put_random_string();
        break;
    case 6:
        put_random_array(depth);
        break;
    default:
        put_random_object(depth);
        break;
    }
    put_space();
}

/* Whether the next value of the msgpack is what jansson has. */

static bool is_same(struct mp_cursor *c, const json_t *expected);

static bool is_same_array(struct mp_cursor *c, uint32_t count, const json_t *expected)
{
    if (!json_is_array(expected) || json_array_size(expected) != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!is_same(c, json_array_get(expected, i)))
            return false;
    return true;
}

static bool is_same_object(struct mp_cursor *c, uint32_t count, const json_t *expected)
{
    struct span name;
    char key[8192];

    if (!json_is_object(expected) || json_object_size(expected) != count)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!mp_next_str(c, &name) || name.len >= sizeof(key))
            return false;
        memcpy(key, name.data, name.len);
        key[name.len] = '\0';
        if (!is_same(c, json_object_get(expected, key)))
            return false;
    }
    return true;
}

static bool is_same(struct mp_cursor *c, const json_t *expected)
{
    struct mp_token t;
    double real;

    if (!mp_next(c, &t))
        return false;
    switch (t.type) {
    case MP_NIL:
        return json_is_null(expected);
    case MP_BOOL:
        return json_is_boolean(expected) && json_is_true(expected) == t.boolean;
    case MP_UINT:
        return json_is_integer(expected) && (uint64_t)json_integer_value(expected) == t.u64;
    case MP_INT:
        return json_is_integer(expected) && json_integer_value(expected) == t.i64;
    case MP_FLOAT:
        real = json_real_value(expected);
        if (json_is_integer(expected)) /* "-0" */
            return json_integer_value(expected) == 0 && t.number == 0 && signbit(t.number);
        return json_is_real(expected) && memcmp(&real, &t.number, sizeof(real)) == 0;
    case MP_STR:
        return json_is_string(expected) &&
               span_is_equal(t.bytes,
                             span_of(json_string_value(expected), json_string_length(expected)));
    case MP_ARRAY:
        return is_same_array(c, t.count, expected);
    case MP_MAP:
        return is_same_object(c, t.count, expected);
    default:
        return false;
    }
}

static bool means(struct span bytes, const json_t *expected)
{
    struct mp_cursor c;

    mp_open(&c, bytes);
    return is_same(&c, expected) && mp_is_at_end(&c);
}

static json_t *read_with_jansson(struct span input)
{
    return json_loadb((const char *)input.data, input.len, JANSSON_FLAGS, NULL);
}

/* Reads the text with both. Returns whether both took it. */
static bool compare_reading(void)
{
    struct span input = guard_copy(&guard, buf_span(&text));
    enum json_problem problem;
    json_t *expected = read_with_jansson(input);
    bool is_taken = expected != NULL;

    buf_clear(&msgpack);
    problem = json_to_msgpack(input, &limits, &msgpack, NULL);
    if ((problem == JSON_OK) != is_taken)
        fail_msg("ours: %s; jansson: %s: %.*s", json_problem_words(problem),
                 is_taken ? "taken" : "refused", (int)input.len, (const char *)input.data);
    if (is_taken && !means(buf_span(&msgpack), expected))
        fail_msg("read as something else: %.*s", (int)input.len, (const char *)input.data);
    json_decref(expected);
    return is_taken;
}

static void random_texts_mean_the_same(void **state)
{
    unsigned taken = 0;

    (void)state;
    seed = 1;
    for (unsigned i = 0; i < VALUES; i++) {
        buf_clear(&text);
        put_random_value(0);
        taken += compare_reading();
    }
    assert_true(taken > VALUES / 2); /* the others have a name twice, or a float too large */
    assert_true(taken < VALUES);
}

static void what_is_written_means_the_same_to_jansson(void **state)
{
    struct buf written;
    json_t *expected;

    (void)state;
    seed = 2;
    buf_init(&written, TEXT_BYTES);
    for (unsigned i = 0; i < VALUES; i++) {
        buf_clear(&text);
        buf_clear(&msgpack);
        buf_clear(&written);
        put_random_value(0);
        if (json_to_msgpack(buf_span(&text), &limits, &msgpack, NULL) != JSON_OK)
            continue;
        assert_int_equal(json_from_msgpack(guard_copy(&guard, buf_span(&msgpack)), &written, NULL),
                         JSON_OK);
        expected = read_with_jansson(buf_span(&written));
        if (expected == NULL || !means(buf_span(&msgpack), expected))
            fail_msg("written as something else: %.*s", (int)written.len, (char *)written.data);
        json_decref(expected);
    }
    buf_done(&written);
}

static bool has_integer_above_int64(struct span bytes)
{
    struct mp_cursor c;
    struct mp_token t;

    for (mp_open(&c, bytes); mp_next(&c, &t);)
        if (t.type == MP_UINT && t.u64 > INT64_MAX)
            return true;
    return false;
}

/* Whether ours took it and jansson refused it for a reason that the head of this file names. */
static bool is_known_difference(enum json_problem problem, const json_t *expected)
{
    return problem == JSON_OK && expected == NULL &&
           (memmem(text.data, text.len, "\\u0000", 6) != NULL ||
            has_integer_above_int64(buf_span(&msgpack)));
}

/* One or a few bytes of a valid text are changed, taken out or doubled. */
static void damage(void)
{
    for (unsigned n = 1 + below(3); n > 0 && text.len > 0; n--) {
        unsigned at = below((unsigned)text.len);

        switch (below(3)) {
        case 0:
            text.data[at] = below(3) == 0 ? (uint8_t)(1 + below(255))
                                          : (uint8_t) "{}[],:\"\\0123456789eE+-.untf "[below(28)];
            break;
        case 1:
            memmove(text.data + at, text.data + at + 1, text.len - at - 1);
            buf_truncate(&text, text.len - 1);
            break;
        default:
            buf_put_u8(&text, 0);
            memmove(text.data + at + 1, text.data + at, text.len - at - 1);
            break;
        }
    }
}

static void damaged_texts_are_refused_by_both_or_mean_the_same(void **state)
{
    unsigned taken = 0;
    unsigned refused = 0;

    (void)state;
    seed = 3;
    for (unsigned i = 0; i < DAMAGED; i++) {
        struct span input;
        json_t *expected;
        enum json_problem problem;

        buf_clear(&text);
        buf_clear(&msgpack);
        put_random_value(2);
        damage();
        input = guard_copy(&guard, buf_span(&text));
        expected = read_with_jansson(input);
        problem = json_to_msgpack(input, &limits, &msgpack, NULL);
        if ((problem == JSON_OK && (expected == NULL || !means(buf_span(&msgpack), expected))) ||
            (problem != JSON_OK && expected != NULL)) {
            if (!is_known_difference(problem, expected))
                fail_msg("ours: %s; jansson: %s: %.*s", json_problem_words(problem),
                         expected != NULL ? "taken" : "refused", (int)text.len, (char *)text.data);
        } else if (problem == JSON_OK) {
            taken++;
        } else {
            refused++;
        }
        json_decref(expected);
    }
    assert_true(taken > DAMAGED / 10 && refused > DAMAGED / 10);
}

static void integers_above_int64_are_kept_where_jansson_refuses_them(void **state)
{
    struct mp_cursor c;
    uint64_t number;

    (void)state;
    seed = 4;
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t expected = next_random() | UINT64_C(1) << 63;

        buf_clear(&text);
        buf_clear(&msgpack);
        buf_printf(&text, "%llu", (unsigned long long)expected);
        assert_null(read_with_jansson(buf_span(&text)));
        assert_int_equal(json_to_msgpack(buf_span(&text), &limits, &msgpack, NULL), JSON_OK);
        mp_open(&c, buf_span(&msgpack));
        assert_true(mp_next_uint(&c, UINT64_MAX, &number) && mp_is_at_end(&c));
        assert_true(number == expected);
    }
}

static void numbers_out_of_range_are_refused_by_both(void **state)
{
    static const char *const cases[] = {"1e309", "-1e309", "18446744073709551616",
                                        "-9223372036854775809", "1e999999999"};

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(cases); i++) {
        buf_clear(&text);
        buf_put_str(&text, cases[i]);
        assert_false(compare_reading());
    }
}

/* The shortest form: it reads back as the same double, by strtod, and no form with fewer digits
 * that printf can make does. */
static void assert_is_shortest(double real)
{
    char ours[JSON_NUMBER_BYTES + 1] = "";
    char shorter[64];
    double back;
    int digits = 0;

    ours[json_number_format(real, ours)] = '\0';
    back = strtod(ours, NULL);
    assert_memory_equal(&back, &real, sizeof(real));
    assert_true(strpbrk(ours, ".e") != NULL);
    for (const char *at = ours; *at != '\0' && *at != 'e'; at++)
        digits += *at >= '0' && *at <= '9' && (digits > 0 || *at != '0');
    for (const char *at = strcspn(ours, "e") + ours - 1; digits > 0 && strchr(".0", *at); at--)
        digits -= *at == '0';
    if (digits > 1) {
        snprintf(shorter, sizeof(shorter), "%.*e", digits - 2, real);
        if (strtod(shorter, NULL) == real)
            fail_msg("%s is longer than %s", ours, shorter);
    }
}

static void floats_are_written_in_their_shortest_form(void **state)
{
    (void)state;
    seed = 5;
    for (unsigned i = 0; i < DOUBLES; i++) {
        uint64_t bits = next_random();
        double real;

        if (i % 4 == 1) /* decimals of people */
            real =
                (double)(int64_t)(bits >> (11 + below(50))) / (double[]){1, 10, 100, 1e6}[below(4)];
        else if (i % 4 == 2) /* powers of two */
            memcpy(&real, &(uint64_t){(bits >> 53) << 52}, sizeof(real));
        else if (i % 4 == 3) /* denormals */
            memcpy(&real, &(uint64_t){bits >> (12 + below(52))}, sizeof(real));
        else
            memcpy(&real, &bits, sizeof(real));
        if (real - real == 0) /* finite */
            assert_is_shortest(real);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_texts_mean_the_same),
        cmocka_unit_test(what_is_written_means_the_same_to_jansson),
        cmocka_unit_test(damaged_texts_are_refused_by_both_or_mean_the_same),
        cmocka_unit_test(integers_above_int64_are_kept_where_jansson_refuses_them),
        cmocka_unit_test(numbers_out_of_range_are_refused_by_both),
        cmocka_unit_test(floats_are_written_in_their_shortest_form),
    };
    int failed;

    guard_init(&guard);
    buf_init(&text, TEXT_BYTES);
    buf_init(&msgpack, TEXT_BYTES);
    failed = cmocka_run_group_tests_name("json_oracle", tests, NULL, NULL);
    buf_done(&text);
    buf_done(&msgpack);
    guard_done(&guard);
    return failed;
}
