#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "broker/loop_timer.h"

struct rung {
    struct timer timer;
    struct loop_timer *lt;
    int times;
    uint64_t at_ms;
};

static void on_time(struct timer *t)
{
    struct rung *r = JM_CONTAINER_OF(t, struct rung, timer);

    r->times++;
    r->at_ms = clock_mono_ms(clock_real());
    assert_false(timer_is_armed(t));
}

static void on_closed(void *owner)
{
    *(int *)owner += 1;
}

/* Runs until nothing is armed any more, then closes. */
static void run_and_close(uv_loop_t *loop, struct loop_timer *lt, struct rung *last)
{
    int closed = 0;

    while (last->times == 0)
        assert_true(uv_run(loop, UV_RUN_ONCE) >= 0);
    loop_timer_close(lt, &closed, on_closed);
    assert_int_equal(uv_run(loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(closed, 1);
    assert_int_equal(uv_loop_close(loop), 0);
}

static void each_rings_once_and_not_before_its_time(void **state)
{
    static const unsigned delays_ms[] = {0, 1, 5, 5, 30, 31, 90};
    struct rung rungs[JM_COUNT_OF(delays_ms)] = {{.times = 0}};
    uv_loop_t loop;
    struct loop_timer lt;
    uint64_t now_ms;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(loop_timer_init(&lt, &loop, clock_real()), 0);
    now_ms = clock_mono_ms(clock_real());
    for (size_t i = JM_COUNT_OF(delays_ms); i-- > 0;) {
        timer_init(&rungs[i].timer, on_time);
        timers_arm(&lt.timers, &rungs[i].timer, now_ms + delays_ms[i]);
    }
    run_and_close(&loop, &lt, &rungs[JM_COUNT_OF(delays_ms) - 1]);
    for (size_t i = 0; i < JM_COUNT_OF(delays_ms); i++) {
        assert_int_equal(rungs[i].times, 1);
        assert_true(rungs[i].at_ms >= now_ms + delays_ms[i]);
    }
}

static void one_that_is_disarmed_or_moved_does_not_ring_at_its_old_time(void **state)
{
    struct rung gone = {.times = 0}, moved = {.times = 0}, last = {.times = 0};
    uv_loop_t loop;
    struct loop_timer lt;
    uint64_t now_ms;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(loop_timer_init(&lt, &loop, clock_real()), 0);
    now_ms = clock_mono_ms(clock_real());
    timer_init(&gone.timer, on_time);
    timer_init(&moved.timer, on_time);
    timer_init(&last.timer, on_time);
    timers_arm(&lt.timers, &gone.timer, now_ms + 5);
    timers_arm(&lt.timers, &moved.timer, now_ms + 5);
    timers_arm(&lt.timers, &moved.timer, now_ms + 40);
    timers_arm(&lt.timers, &last.timer, now_ms + 60);
    timer_disarm(&gone.timer);
    run_and_close(&loop, &lt, &last);
    assert_int_equal(gone.times, 0);
    assert_int_equal(moved.times, 1);
    assert_true(moved.at_ms >= now_ms + 40);
}

static void one_a_turn_of_the_wheel_away_waits_for_its_own_turn(void **state)
{
    struct rung near = {.times = 0}, far = {.times = 0};
    uv_loop_t loop;
    struct loop_timer lt;
    uint64_t now_ms;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(loop_timer_init(&lt, &loop, clock_real()), 0);
    now_ms = clock_mono_ms(clock_real());
    timer_init(&near.timer, on_time);
    timer_init(&far.timer, on_time);
    timers_arm(&lt.timers, &far.timer, now_ms + 20 + LOOP_TIMER_SLOTS);
    timers_arm(&lt.timers, &near.timer, now_ms + 20);
    while (near.times == 0)
        assert_true(uv_run(&loop, UV_RUN_ONCE) >= 0);
    assert_int_equal(far.times, 0);
    run_and_close(&loop, &lt, &far);
    assert_true(far.at_ms >= now_ms + 20 + LOOP_TIMER_SLOTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rings_once_and_not_before_its_time),
        cmocka_unit_test(one_that_is_disarmed_or_moved_does_not_ring_at_its_old_time),
        cmocka_unit_test(one_a_turn_of_the_wheel_away_waits_for_its_own_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
