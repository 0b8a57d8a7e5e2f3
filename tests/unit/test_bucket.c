/*
 * Token buckets: what they hold after a while, over many rates and times; that a rate is kept to
 * the job over any length of time; and what becomes of them when the rate is changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/bucket.h"
#include "schema/limits.h"

enum { SECOND = 1000000 }; /* in µs */

static const uint64_t now = UINT64_C(1) << 40;

struct row {
    const char *title;
    struct conf_rate rate;
    uint64_t spent;
    uint64_t returned;
    uint64_t later_us;
    uint64_t room; /* then */
    uint64_t wait_us;
};

static const struct row rows[] = {
    {"a new one is full", {10, 1000}, 0, 0, 0, 10, 0},
    {"one taken", {10, 1000}, 1, 0, 0, 9, 0},
    {"all taken", {10, 1000}, 10, 0, 0, 0, SECOND / 10},
    {"nearly one back", {10, 1000}, 10, 0, SECOND / 10 - 1, 0, 1},
    {"one back", {10, 1000}, 10, 0, SECOND / 10, 1, 0},
    {"half of them back", {10, 1000}, 10, 0, SECOND / 2, 5, 0},
    {"all back", {10, 1000}, 10, 0, SECOND, 10, 0},
    {"never more than it holds", {10, 1000}, 3, 0, 3600 * UINT64_C(1000000), 10, 0},
    {"some unused", {10, 1000}, 10, 4, 0, 4, 0},
    {"all unused", {10, 1000}, 10, 10, 0, 10, 0},
    {"one in a day",
     {1, JM_RATE_PERIOD_LIMIT_MS},
     1,
     0,
     0,
     0,
     JM_RATE_PERIOD_LIMIT_MS *UINT64_C(1000)},
    {"a day but for 1 µs",
     {1, JM_RATE_PERIOD_LIMIT_MS},
     1,
     0,
     JM_RATE_PERIOD_LIMIT_MS *UINT64_C(1000) - 1,
     0,
     1},
    {"the most in a day", {JM_RATE_LIMIT, JM_RATE_PERIOD_LIMIT_MS}, JM_RATE_LIMIT, 0, 0, 0, 86400},
    {"half of the most",
     {JM_RATE_LIMIT, JM_RATE_PERIOD_LIMIT_MS},
     JM_RATE_LIMIT,
     0,
     JM_RATE_PERIOD_LIMIT_MS *UINT64_C(500),
     JM_RATE_LIMIT / 2,
     0},
    {"the most in a ms", {JM_RATE_LIMIT, 1}, JM_RATE_LIMIT, 0, 0, 0, 1},
    {"the most in a ms, half of it",
     {JM_RATE_LIMIT, 1},
     JM_RATE_LIMIT,
     0,
     500,
     JM_RATE_LIMIT / 2,
     0},
    {"three in a second", {3, 1000}, 3, 0, 333333, 0, 1},
    {"three in a second, one back", {3, 1000}, 3, 0, 333334, 1, 0},
};

static void it_holds_what_it_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        struct bucket b = {.full_at_us = 0};

        print_message("  %s\n", row->title);
        bucket_spend(&b, &row->rate, now, row->spent);
        bucket_return(&b, &row->rate, now, row->returned);
        assert_int_equal(bucket_room(&b, &row->rate, now + row->later_us), row->room);
        assert_int_equal(bucket_wait_us(&b, &row->rate, now + row->later_us), row->wait_us);
    }
}

/* As when a job is taken out of Redis again long after it was sent. */
static void what_has_come_back_by_itself_is_not_given_twice(void **state)
{
    static const struct conf_rate rate = {6, 1000};
    struct bucket b = {.full_at_us = 0};

    (void)state;
    bucket_spend(&b, &rate, now, 3);
    bucket_return(&b, &rate, now, 1);
    assert_int_equal(bucket_room(&b, &rate, now), 4);
    bucket_spend(&b, &rate, now + 1500000, 6);
    bucket_return(&b, &rate, now, 2);
    assert_int_equal(bucket_room(&b, &rate, now + 1500000), 0);
    bucket_return(&b, &rate, now + 1500000, 2);
    assert_int_equal(bucket_room(&b, &rate, now + 1500000), 2);
}

/* Takes all there is each `step_us`, for `us`. */
static uint64_t drain_for(struct bucket *b, const struct conf_rate *rate, uint64_t us,
                          uint64_t step_us)
{
    uint64_t count = 0;

    for (uint64_t t = 0; t <= us; t += step_us) {
        uint64_t room = bucket_room(b, rate, now + t);

        bucket_spend(b, rate, now + t, room);
        count += room;
    }
    return count;
}

/* The burst, then the rate: never more, and hardly less, whether it is asked often or seldom. */
static void over_any_time_it_gives_its_rate_and_one_burst(void **state)
{
    static const struct conf_rate rates[] = {{1, 1000},  {3, 1000},  {7, 1000},    {10, 100},
                                             {100, 999}, {999, 997}, {5000, 1000}, {2, 86400000}};

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rates); i++)
        for (uint64_t step_us = 700; step_us < 700000; step_us *= 3) {
            struct bucket b = {.full_at_us = 0};
            uint64_t us = 20 * SECOND, period_us = rates[i].period_ms * 1000;
            uint64_t in_full = rates[i].limit + us * rates[i].limit / period_us;
            uint64_t count = drain_for(&b, &rates[i], us, step_us);

            assert_true(count <= in_full);
            /* Each draw rounds by less than 1 µs, and a full bucket loses what comes. */
            if (step_us < period_us)
                assert_true(count + 2 + rates[i].limit * step_us / period_us +
                                us / step_us * rates[i].limit / period_us >=
                            in_full);
        }
}

static void one_that_waits_as_long_as_it_is_told_finds_a_token(void **state)
{
    struct conf_rate rate = {.limit = 1, .period_ms = 1};

    (void)state;
    for (; rate.limit < JM_RATE_LIMIT / 20; rate.limit = rate.limit * 3 + 1)
        for (rate.period_ms = 1; rate.period_ms < JM_RATE_PERIOD_LIMIT_MS;
             rate.period_ms = rate.period_ms * 5 + 2) {
            struct bucket b = {.full_at_us = 0};
            uint64_t wait_us;

            bucket_spend(&b, &rate, now, rate.limit);
            wait_us = bucket_wait_us(&b, &rate, now);
            assert_true(wait_us > 0);
            assert_int_equal(bucket_room(&b, &rate, now + wait_us - 1), 0);
            assert_true(bucket_room(&b, &rate, now + wait_us) >= 1);
        }
}

static void a_rate_that_is_changed_leaves_a_bucket_that_works(void **state)
{
    static const struct conf_rate slow = {1, 1000000}, quick = {100, 1000};
    struct bucket b = {.full_at_us = 0};

    (void)state;
    bucket_spend(&b, &slow, now, 1);
    assert_int_equal(bucket_room(&b, &quick, now), 0); /* empty, and no more than that … */
    assert_int_equal(bucket_wait_us(&b, &quick, now), 10000);
    assert_int_equal(bucket_room(&b, &quick, now + 990 * SECOND), 0);
    bucket_spend(&b, &quick, now + 999 * SECOND + SECOND / 2, 50);
    assert_int_equal(bucket_room(&b, &quick, now + 1000 * SECOND), 50); /* … but for its debt */
    b = (struct bucket){.full_at_us = 0};
    bucket_spend(&b, &quick, now, 100);
    assert_int_equal(bucket_room(&b, &slow, now), 0);
    assert_int_equal(bucket_room(&b, &slow, now + SECOND), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_come_back_by_itself_is_not_given_twice),
        cmocka_unit_test(it_holds_what_it_should),
        cmocka_unit_test(over_any_time_it_gives_its_rate_and_one_burst),
        cmocka_unit_test(one_that_waits_as_long_as_it_is_told_finds_a_token),
        cmocka_unit_test(a_rate_that_is_changed_leaves_a_bucket_that_works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
