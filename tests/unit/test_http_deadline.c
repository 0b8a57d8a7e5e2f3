#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/http_deadline.h"

static void init(struct http_deadlines *all, struct http_deadline *d, unsigned count)
{
    http_deadline_init_all(all);
    all->limit_ms[HTTP_WAIT_IDLE] = 100;
    all->limit_ms[HTTP_WAIT_HEAD] = 10;
    for (unsigned i = 0; i < count; i++)
        http_deadline_init(&d[i]);
}

static void the_next_end_is_the_earliest_of_all_kinds(void **state)
{
    struct http_deadlines all;
    struct http_deadline d[3];

    (void)state;
    init(&all, d, 3);
    assert_true(http_deadline_next(&all) == HTTP_DEADLINE_NEVER);
    http_deadline_set(&all, &d[0], HTTP_WAIT_IDLE, 1000);
    assert_int_equal(http_deadline_next(&all), 1100);
    http_deadline_set(&all, &d[1], HTTP_WAIT_HEAD, 1005);
    assert_int_equal(http_deadline_next(&all), 1015);
    http_deadline_clear(&d[1]);
    assert_int_equal(http_deadline_next(&all), 1100);
    http_deadline_set(&all, &d[0], HTTP_WAIT_IDLE, 1050); /* anew */
    assert_int_equal(http_deadline_next(&all), 1150);
    http_deadline_clear(&d[0]);
    http_deadline_clear(&d[0]); /* again is nothing */
    assert_true(http_deadline_next(&all) == HTTP_DEADLINE_NEVER);
}

static void each_is_taken_once_when_its_time_is_over(void **state)
{
    struct http_deadlines all;
    struct http_deadline d[3];
    enum http_wait wait = HTTP_WAIT_NONE;

    (void)state;
    init(&all, d, 3);
    http_deadline_set(&all, &d[0], HTTP_WAIT_IDLE, 0);
    http_deadline_set(&all, &d[1], HTTP_WAIT_IDLE, 1);
    http_deadline_set(&all, &d[2], HTTP_WAIT_HEAD, 95);
    assert_null(http_deadline_take_due(&all, 99, &wait));
    assert_ptr_equal(http_deadline_take_due(&all, 100, &wait), &d[0]);
    assert_int_equal(wait, HTTP_WAIT_IDLE);
    assert_int_equal(d[0].wait, HTTP_WAIT_NONE);
    assert_null(http_deadline_take_due(&all, 100, &wait));
    assert_ptr_equal(http_deadline_take_due(&all, 105, &wait), &d[1]);
    assert_ptr_equal(http_deadline_take_due(&all, 105, &wait), &d[2]);
    assert_int_equal(wait, HTTP_WAIT_HEAD);
    assert_null(http_deadline_take_due(&all, 1000000, &wait));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_end_is_the_earliest_of_all_kinds),
        cmocka_unit_test(each_is_taken_once_when_its_time_is_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
