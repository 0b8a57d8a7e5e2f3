/* The buffer: its hard maximum, and a failure that stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "lib/buf.h"

static struct buf b;

static int set_up(void **state)
{
    (void)state;
    buf_init(&b, 1000);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_done(&b);
    return 0;
}

static void fill(size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_put_u8(&b, (uint8_t)i);
}

static void a_new_buffer_is_empty_and_has_nothing_allocated(void **state)
{
    (void)state;
    assert_int_equal(b.len, 0);
    assert_null(b.data);
    assert_false(buf_has_failed(&b));
    assert_int_equal(buf_span(&b).len, 0);
}

static void appends_lie_behind_one_another(void **state)
{
    (void)state;
    buf_put(&b, "ab", 2);
    buf_put_u8(&b, 'c');
    buf_put_str(&b, "de");
    buf_put_span(&b, span_of("fgh", 2));
    buf_printf(&b, "%d%s", 12, "x");
    buf_put(&b, NULL, 0);
    assert_true(span_is_str(buf_span(&b), "abcdefg12x"));
}

static void it_grows_to_exactly_its_maximum(void **state)
{
    (void)state;
    fill(1000);
    assert_false(buf_has_failed(&b));
    assert_int_equal(b.len, 1000);
    assert_true(b.cap <= 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(b.data[i], (uint8_t)i);
}

static void a_byte_above_the_maximum_fails_and_keeps_what_was_there(void **state)
{
    (void)state;
    fill(1000);
    buf_put_u8(&b, 'x');
    assert_true(buf_has_failed(&b));
    assert_int_equal(b.len, 1000);
    assert_int_equal(b.data[999], (uint8_t)999);
}

static void below_what_there_is_a_lowered_maximum_fails_the_next_append(void **state)
{
    uint8_t much[1000] = {0};

    (void)state;
    fill(500);
    b.max = 100;
    buf_put(&b, much, sizeof(much));
    assert_true(buf_has_failed(&b));
    assert_int_equal(b.len, 500);
}

static void an_append_that_does_not_fit_is_not_made_in_part(void **state)
{
    uint8_t much[20] = {0};

    (void)state;
    fill(990);
    buf_put(&b, much, sizeof(much));
    assert_true(buf_has_failed(&b));
    assert_int_equal(b.len, 990);
}

static void after_a_failure_what_would_fit_is_ignored_too(void **state)
{
    uint8_t much[1001] = {0};

    (void)state;
    buf_put_str(&b, "kept");
    buf_put(&b, much, sizeof(much));
    buf_put_str(&b, "lost");
    buf_put_u8(&b, 'x');
    buf_printf(&b, "%d", 1);
    assert_null(buf_reserve(&b, 1));
    assert_int_equal(buf_write_msgpack(&b, "x", 1), -1);
    assert_true(span_is_str(buf_span(&b), "kept"));
    buf_truncate(&b, 2);
    assert_true(buf_has_failed(&b));
}

static void a_length_that_would_overflow_fails(void **state)
{
    (void)state;
    buf_put_str(&b, "kept");
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_true(buf_has_failed(&b));
    assert_int_equal(b.len, 4);
}

static void clearing_forgets_the_failure_and_keeps_the_memory(void **state)
{
    uint8_t *data;

    (void)state;
    fill(1001);
    data = b.data;
    buf_clear(&b);
    assert_false(buf_has_failed(&b));
    assert_int_equal(b.len, 0);
    buf_put_str(&b, "again");
    assert_ptr_equal(b.data, data);
    assert_true(span_is_str(buf_span(&b), "again"));
}

static void shrinking_gives_back_only_what_is_too_much(void **state)
{
    (void)state;
    fill(1000);
    buf_shrink(&b, 1000);
    assert_non_null(b.data);
    assert_int_equal(b.len, 0);
    fill(1001);
    buf_shrink(&b, 999);
    assert_null(b.data);
    assert_false(buf_has_failed(&b));
    fill(1000);
    assert_false(buf_has_failed(&b)); /* the maximum is still there */
}

static void reserved_room_counts_once_it_is_advanced(void **state)
{
    uint8_t *at;

    (void)state;
    buf_put_str(&b, "a");
    at = buf_reserve(&b, 500);
    assert_non_null(at);
    memcpy(at, "bc", 2);
    assert_int_equal(b.len, 1);
    buf_advance(&b, 2);
    assert_true(span_is_str(buf_span(&b), "abc"));
}

static void consuming_moves_the_rest_to_the_front(void **state)
{
    (void)state;
    buf_put_str(&b, "abcdef");
    buf_consume(&b, 0);
    buf_consume(&b, 4);
    assert_true(span_is_str(buf_span(&b), "ef"));
    buf_consume(&b, 2);
    assert_int_equal(b.len, 0);
}

static void truncating_cuts_the_end_off(void **state)
{
    (void)state;
    buf_put_str(&b, "abcdef");
    buf_truncate(&b, 6);
    buf_truncate(&b, 2);
    assert_true(span_is_str(buf_span(&b), "ab"));
}

static void printing_may_fill_all_but_the_byte_that_printf_needs(void **state)
{
    (void)state;
    fill(990);
    buf_printf(&b, "%s", "123456789");
    assert_false(buf_has_failed(&b));
    assert_int_equal(b.len, 999);
    buf_printf(&b, "%s", "1");
    assert_true(buf_has_failed(&b));
    assert_int_equal(b.len, 999);
}

static void a_zeroed_buffer_can_be_done_with_and_holds_nothing(void **state)
{
    struct buf zeroed = {0};

    (void)state;
    buf_put_u8(&zeroed, 1);
    assert_true(buf_has_failed(&zeroed));
    buf_done(&zeroed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_buffer_is_empty_and_has_nothing_allocated),
        cmocka_unit_test(appends_lie_behind_one_another),
        cmocka_unit_test(it_grows_to_exactly_its_maximum),
        cmocka_unit_test(a_byte_above_the_maximum_fails_and_keeps_what_was_there),
        cmocka_unit_test(below_what_there_is_a_lowered_maximum_fails_the_next_append),
        cmocka_unit_test(an_append_that_does_not_fit_is_not_made_in_part),
        cmocka_unit_test(after_a_failure_what_would_fit_is_ignored_too),
        cmocka_unit_test(a_length_that_would_overflow_fails),
        cmocka_unit_test(clearing_forgets_the_failure_and_keeps_the_memory),
        cmocka_unit_test(shrinking_gives_back_only_what_is_too_much),
        cmocka_unit_test(reserved_room_counts_once_it_is_advanced),
        cmocka_unit_test(consuming_moves_the_rest_to_the_front),
        cmocka_unit_test(truncating_cuts_the_end_off),
        cmocka_unit_test(printing_may_fill_all_but_the_byte_that_printf_needs),
        cmocka_unit_test(a_zeroed_buffer_can_be_done_with_and_holds_nothing),
    };
    struct CMUnitTest with_buffer[JM_COUNT_OF(tests)];

    for (size_t i = 0; i < JM_COUNT_OF(tests); i++) {
        with_buffer[i] = tests[i];
        with_buffer[i].setup_func = set_up;
        with_buffer[i].teardown_func = tear_down;
    }
    return cmocka_run_group_tests_name("buf", with_buffer, NULL, NULL);
}
