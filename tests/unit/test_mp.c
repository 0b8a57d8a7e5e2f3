/* The msgpack cursor, against bytes written by hand from spec.md and against msgpack-c's packer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <msgpack.h>

#include "lib/buf.h"
#include "lib/mp.h"
#include "tests/unit/guard.h"

#define BYTES(text) span_of(text, sizeof(text) - 1)

static struct guard guard;

static struct mp_token only_token(struct span input)
{
    struct mp_cursor c;
    struct mp_token t;

    mp_open(&c, guard_copy(&guard, input));
    assert_true(mp_next(&c, &t));
    assert_true(mp_is_at_end(&c));
    return t;
}

static void reads_integers_of_every_width_as_one_type(void **state)
{
    static const struct {
        struct span input;
        uint64_t value;
    } cases[] = {
        {{(const uint8_t *)"\x00", 1}, 0},
        {{(const uint8_t *)"\x7f", 1}, 127},
        {{(const uint8_t *)"\xcc\xff", 2}, 255},
        {{(const uint8_t *)"\xcd\x01\x00", 3}, 256},
        {{(const uint8_t *)"\xce\xff\xff\xff\xff", 5}, UINT32_MAX},
        {{(const uint8_t *)"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9}, UINT64_MAX},
        {{(const uint8_t *)"\xd0\x05", 2}, 5},
        {{(const uint8_t *)"\xd1\x7f\xff", 3}, 32767},
        {{(const uint8_t *)"\xd2\x00\x00\x00\x01", 5}, 1},
        {{(const uint8_t *)"\xd3\x7f\xff\xff\xff\xff\xff\xff\xff", 9}, INT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(cases); i++) {
        struct mp_token t = only_token(cases[i].input);

        assert_int_equal(t.type, MP_UINT);
        assert_int_equal(t.u64, cases[i].value);
    }
}

static void reads_negative_integers_of_every_width(void **state)
{
    static const struct {
        struct span input;
        int64_t value;
    } cases[] = {
        {{(const uint8_t *)"\xff", 1}, -1},
        {{(const uint8_t *)"\xe0", 1}, -32},
        {{(const uint8_t *)"\xd0\x80", 2}, -128},
        {{(const uint8_t *)"\xd1\x80\x00", 3}, INT16_MIN},
        {{(const uint8_t *)"\xd2\x80\x00\x00\x00", 5}, INT32_MIN},
        {{(const uint8_t *)"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9}, INT64_MIN},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(cases); i++) {
        struct mp_token t = only_token(cases[i].input);

        assert_int_equal(t.type, MP_INT);
        assert_int_equal(t.i64, cases[i].value);
    }
}

static void reads_nil_booleans_and_floats(void **state)
{
    (void)state;
    assert_int_equal(only_token(BYTES("\xc0")).type, MP_NIL);
    assert_int_equal(only_token(BYTES("\xc2")).type, MP_BOOL);
    assert_false(only_token(BYTES("\xc2")).boolean);
    assert_true(only_token(BYTES("\xc3")).boolean);
    assert_int_equal(only_token(BYTES("\xca\x3f\xc0\x00\x00")).type, MP_FLOAT);
    assert_true(only_token(BYTES("\xca\x3f\xc0\x00\x00")).number == 1.5);
    assert_true(only_token(BYTES("\xcb\xc0\x04\x00\x00\x00\x00\x00\x00")).number == -2.5);
}

static void reads_strings_and_binaries_of_every_length_form(void **state)
{
    static const struct {
        struct span input;
        enum mp_type type;
    } cases[] = {
        {{(const uint8_t *)"\xa2hi", 3}, MP_STR},
        {{(const uint8_t *)"\xd9\x02hi", 4}, MP_STR},
        {{(const uint8_t *)"\xda\x00\x02hi", 5}, MP_STR},
        {{(const uint8_t *)"\xdb\x00\x00\x00\x02hi", 7}, MP_STR},
        {{(const uint8_t *)"\xc4\x02hi", 4}, MP_BIN},
        {{(const uint8_t *)"\xc5\x00\x02hi", 5}, MP_BIN},
        {{(const uint8_t *)"\xc6\x00\x00\x00\x02hi", 7}, MP_BIN},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(cases); i++) {
        struct mp_token t = only_token(cases[i].input);

        assert_int_equal(t.type, cases[i].type);
        assert_true(span_is_str(t.bytes, "hi"));
    }
}

static void reads_container_heads_and_leaves_the_items(void **state)
{
    static const struct {
        struct span input;
        enum mp_type type;
        uint32_t count;
    } cases[] = {
        {{(const uint8_t *)"\x90", 1}, MP_ARRAY, 0},
        {{(const uint8_t *)"\x9f", 1}, MP_ARRAY, 15},
        {{(const uint8_t *)"\xdc\x01\x00", 3}, MP_ARRAY, 256},
        {{(const uint8_t *)"\xdd\xff\xff\xff\xff", 5}, MP_ARRAY, UINT32_MAX},
        {{(const uint8_t *)"\x80", 1}, MP_MAP, 0},
        {{(const uint8_t *)"\x8f", 1}, MP_MAP, 15},
        {{(const uint8_t *)"\xde\x00\x03", 3}, MP_MAP, 3},
        {{(const uint8_t *)"\xdf\x00\x01\x00\x00", 5}, MP_MAP, 65536},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(cases); i++) {
        struct mp_token t = only_token(cases[i].input);

        assert_int_equal(t.type, cases[i].type);
        assert_int_equal(t.count, cases[i].count);
    }
}

static void reads_ext_values_with_their_type(void **state)
{
    static const struct {
        struct span input;
        size_t len;
    } cases[] = {
        {{(const uint8_t *)"\xd4\xfe_", 3}, 1},
        {{(const uint8_t *)"\xd5\xfe__", 4}, 2},
        {{(const uint8_t *)"\xd6\xfe____", 6}, 4},
        {{(const uint8_t *)"\xd7\xfe________", 10}, 8},
        {{(const uint8_t *)"\xd8\xfe________________", 18}, 16},
        {{(const uint8_t *)"\xc7\x03\xfe___", 6}, 3},
        {{(const uint8_t *)"\xc8\x00\x03\xfe___", 7}, 3},
        {{(const uint8_t *)"\xc9\x00\x00\x00\x00\xfe", 6}, 0},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(cases); i++) {
        struct mp_token t = only_token(cases[i].input);

        assert_int_equal(t.type, MP_EXT);
        assert_int_equal(t.ext_type, -2);
        assert_int_equal(t.bytes.len, cases[i].len);
    }
}

static void refuses_every_prefix_of_a_value_and_stays_there(void **state)
{
    static const struct span whole[] = {
        {(const uint8_t *)"\xcc\xff", 2},
        {(const uint8_t *)"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9},
        {(const uint8_t *)"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", 9},
        {(const uint8_t *)"\xca\x3f\xc0\x00\x00", 5},
        {(const uint8_t *)"\xa5hello", 6},
        {(const uint8_t *)"\xd9\x05hello", 7},
        {(const uint8_t *)"\xdb\x00\x00\x00\x05hello", 10},
        {(const uint8_t *)"\xc6\x00\x00\x00\x05hello", 10},
        {(const uint8_t *)"\xdd\x00\x00\x00\x05", 5},
        {(const uint8_t *)"\xdf\x00\x00\x00\x05", 5},
        {(const uint8_t *)"\xd6\x01hell", 6},
        {(const uint8_t *)"\xc7\x05\x01hello", 8},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(whole); i++) {
        for (size_t len = 0; len < whole[i].len; len++) {
            struct span input = guard_copy(&guard, span_of(whole[i].data, len));
            struct mp_cursor c;
            struct mp_token t;

            mp_open(&c, input);
            assert_false(mp_next(&c, &t));
            assert_ptr_equal(c.at, input.data);
        }
    }
}

static void refuses_the_reserved_byte(void **state)
{
    struct mp_cursor c;
    struct mp_token t;

    (void)state;
    mp_open(&c, BYTES("\xc1"));
    assert_false(mp_next(&c, &t));
    assert_false(mp_is_at_end(&c));
}

static void takes_an_empty_input_without_a_pointer(void **state)
{
    struct mp_cursor c;
    struct mp_token t;
    struct span value;

    (void)state;
    mp_open(&c, span_of(NULL, 0));
    assert_true(mp_is_at_end(&c));
    assert_false(mp_next(&c, &t));
    assert_false(mp_skip(&c, 100, &value));
}

static void skips_one_whole_value_and_gives_its_bytes(void **state)
{
    struct mp_cursor c;
    struct span value;
    struct mp_token t;

    (void)state;
    mp_open(&c, BYTES("\x82\xa1k\x93\x01\xc0\x80\xa1l\x91\xa2hi\x07"));
    assert_true(mp_skip(&c, 3, &value));
    assert_int_equal(value.len, 13);
    assert_true(mp_next(&c, &t));
    assert_int_equal(t.u64, 7);
    assert_true(mp_is_at_end(&c));
}

static void skips_to_the_depth_allowed_and_no_deeper(void **state)
{
    uint8_t nested[MP_DEPTH_LIMIT + 1];
    struct mp_cursor c;
    struct span value;

    (void)state;
    memset(nested, 0x91, sizeof(nested));
    for (unsigned depth = 0; depth <= MP_DEPTH_LIMIT; depth++) {
        nested[depth] = 0xc0;
        mp_open(&c, guard_copy(&guard, span_of(nested, depth + 1)));
        assert_true(mp_skip(&c, depth, &value));
        assert_int_equal(value.len, depth + 1);
        assert_true(mp_is_at_end(&c));
        if (depth > 0) {
            mp_open(&c, span_of(nested, depth + 1));
            assert_false(mp_skip(&c, depth - 1, &value));
            assert_ptr_equal(c.at, nested);
        }
        nested[depth] = 0x91;
    }
}

static void does_not_skip_a_container_that_promises_too_much(void **state)
{
    struct mp_cursor c;
    struct span value;

    (void)state;
    mp_open(&c, guard_copy(&guard, BYTES("\xdf\xff\xff\xff\xff\x01\x02")));
    assert_false(mp_skip(&c, 100, &value));
    mp_open(&c, guard_copy(&guard, BYTES("\x81\x01")));
    assert_false(mp_skip(&c, 100, &value));
    mp_open(&c, guard_copy(&guard, BYTES("\x92\x01\xc1")));
    assert_false(mp_skip(&c, 100, &value));
}

static void typed_reads_leave_the_cursor_at_another_type(void **state)
{
    struct mp_cursor c;
    uint64_t number = 77;
    uint32_t count = 77;
    bool flag = true;
    struct span bytes = span_of_str("kept");

    (void)state;
    mp_open(&c, BYTES("\xcd\x01\x00\xc2\xa1s\xc4\x01"
                      "b\x91\x81"));
    assert_false(mp_next_uint(&c, 255, &number));
    assert_int_equal(number, 77);
    assert_false(mp_next_bool(&c, &flag));
    assert_true(flag);
    assert_true(mp_next_uint(&c, 256, &number));
    assert_int_equal(number, 256);
    assert_true(mp_next_bool(&c, &flag));
    assert_false(flag);
    assert_false(mp_next_bin(&c, &bytes));
    assert_true(span_is_str(bytes, "kept"));
    assert_true(mp_next_str(&c, &bytes));
    assert_true(span_is_str(bytes, "s"));
    assert_false(mp_next_str(&c, &bytes));
    assert_true(mp_next_bin(&c, &bytes));
    assert_true(span_is_str(bytes, "b"));
    assert_false(mp_next_map(&c, &count));
    assert_int_equal(count, 77);
    assert_true(mp_next_array(&c, &count));
    assert_false(mp_next_array(&c, &count));
    assert_true(mp_next_map(&c, &count));
    assert_int_equal(count, 1);
    assert_true(mp_is_at_end(&c));
}

/* Every boundary of the integer encodings, as msgpack-c writes them. */
static void reads_back_what_the_packer_wrote(void **state)
{
    struct buf out;
    msgpack_packer pk;
    struct mp_cursor c;
    struct mp_token t;

    (void)state;
    buf_init(&out, 1 << 16);
    msgpack_packer_init(&pk, &out, buf_write_msgpack);
    for (unsigned bit = 0; bit < 64; bit++) {
        assert_int_equal(msgpack_pack_uint64(&pk, UINT64_C(1) << bit), 0);
        assert_int_equal(msgpack_pack_uint64(&pk, (UINT64_C(1) << bit) - 1), 0);
        assert_int_equal(msgpack_pack_int64(&pk, -(INT64_MAX >> bit) - 1), 0);
    }
    mp_open(&c, guard_copy(&guard, buf_span(&out)));
    for (unsigned bit = 0; bit < 64; bit++) {
        assert_true(mp_next(&c, &t) && t.type == MP_UINT && t.u64 == UINT64_C(1) << bit);
        assert_true(mp_next(&c, &t) && t.type == MP_UINT && t.u64 == (UINT64_C(1) << bit) - 1);
        assert_true(mp_next(&c, &t) && t.type == MP_INT && t.i64 == -(INT64_MAX >> bit) - 1);
    }
    assert_true(mp_is_at_end(&c));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_integers_of_every_width_as_one_type),
        cmocka_unit_test(reads_negative_integers_of_every_width),
        cmocka_unit_test(reads_nil_booleans_and_floats),
        cmocka_unit_test(reads_strings_and_binaries_of_every_length_form),
        cmocka_unit_test(reads_container_heads_and_leaves_the_items),
        cmocka_unit_test(reads_ext_values_with_their_type),
        cmocka_unit_test(refuses_every_prefix_of_a_value_and_stays_there),
        cmocka_unit_test(refuses_the_reserved_byte),
        cmocka_unit_test(takes_an_empty_input_without_a_pointer),
        cmocka_unit_test(skips_one_whole_value_and_gives_its_bytes),
        cmocka_unit_test(skips_to_the_depth_allowed_and_no_deeper),
        cmocka_unit_test(does_not_skip_a_container_that_promises_too_much),
        cmocka_unit_test(typed_reads_leave_the_cursor_at_another_type),
        cmocka_unit_test(reads_back_what_the_packer_wrote),
    };
    int failed;

    guard_init(&guard);
    failed = cmocka_run_group_tests_name("mp", tests, NULL, NULL);
    guard_done(&guard);
    return failed;
}
