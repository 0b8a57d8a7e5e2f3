#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "broker/window.h"
#include "schema/limits.h"

static void an_empty_window_offers_its_first_limit(void **state)
{
    struct window w;

    (void)state;
    window_init(&w);
    window_set_slots(&w, 2);
    assert_int_equal(window_room(&w), WINDOW_FIRST_JOBS);
    w.used = WINDOW_FIRST_JOBS + 5; /* restored at a start: more than the limit */
    assert_int_equal(window_room(&w), 0);
}

static void a_queue_that_nobody_serves_gets_only_a_few(void **state)
{
    struct window w;

    (void)state;
    window_init(&w);
    assert_int_equal(window_room(&w), WINDOW_UNSERVED_JOBS);
    window_set_slots(&w, 1);
    assert_int_equal(window_room(&w), WINDOW_FIRST_JOBS);
    window_set_slots(&w, 0);
    w.used = WINDOW_UNSERVED_JOBS;
    assert_int_equal(window_room(&w), 0);
}

static void starving_doubles_it_up_to_the_maximum(void **state)
{
    struct window w;

    (void)state;
    window_init(&w);
    window_on_starved(&w);
    assert_int_equal(w.limit, 2 * WINDOW_FIRST_JOBS);
    for (int i = 0; i < 40; i++)
        window_on_starved(&w);
    assert_int_equal(w.limit, JM_WINDOW_JOBS);
}

/* Ends one job each 10 ms for a second, each having waited `wait_ms`. */
static void end_for_a_second(struct window *w, uint64_t wait_ms, uint64_t *now_ms)
{
    for (int i = 0; i < 100; i++)
        window_on_end(w, wait_ms, *now_ms += 10);
}

static void long_waits_shrink_it_to_the_floor_of_the_slots(void **state)
{
    struct window w;
    uint64_t now_ms = 1000;

    (void)state;
    window_init(&w);
    window_set_slots(&w, 3);
    end_for_a_second(&w, 5000, &now_ms);
    assert_int_equal(w.limit, 3 * WINDOW_FLOOR_PER_SLOT);
}

static void it_shrinks_by_half_at_most_in_one_interval(void **state)
{
    struct window w;

    (void)state;
    window_init(&w);
    window_set_slots(&w, 1);
    window_on_end(&w, 100000, WINDOW_INTERVAL_MS);
    assert_int_equal(w.limit, WINDOW_FIRST_JOBS / 2);
}

static void short_waits_leave_it_alone(void **state)
{
    struct window w;
    uint64_t now_ms = 1000;

    (void)state;
    window_init(&w);
    window_set_slots(&w, 2);
    end_for_a_second(&w, WINDOW_AIM_MS, &now_ms);
    assert_int_equal(w.limit, WINDOW_FIRST_JOBS);
}

static void one_lucky_job_in_an_interval_keeps_it(void **state)
{
    struct window w;

    (void)state;
    window_init(&w);
    window_set_slots(&w, 1);
    window_on_end(&w, 1, 10);
    window_on_end(&w, 100000, 20);
    window_on_end(&w, 100000, 10 + WINDOW_INTERVAL_MS);
    assert_int_equal(w.limit, WINDOW_FIRST_JOBS);
}

static void more_slots_raise_it_at_once(void **state)
{
    struct window w;

    (void)state;
    window_init(&w);
    window_set_slots(&w, 100);
    assert_int_equal(w.limit, 100 * WINDOW_FLOOR_PER_SLOT);
    window_set_slots(&w, 0);
    assert_int_equal(w.floor, WINDOW_FIRST_JOBS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_window_offers_its_first_limit),
        cmocka_unit_test(a_queue_that_nobody_serves_gets_only_a_few),
        cmocka_unit_test(starving_doubles_it_up_to_the_maximum),
        cmocka_unit_test(long_waits_shrink_it_to_the_floor_of_the_slots),
        cmocka_unit_test(it_shrinks_by_half_at_most_in_one_interval),
        cmocka_unit_test(short_waits_leave_it_alone),
        cmocka_unit_test(one_lucky_job_in_an_interval_keeps_it),
        cmocka_unit_test(more_slots_raise_it_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
