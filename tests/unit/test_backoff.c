#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/backoff.h"
#include "schema/limits.h"

static void the_wait_doubles_up_to_the_ceiling_within_ten_percent(void **state)
{
    int64_t middle_ms = JM_BACKOFF_BASE_MS;

    (void)state;
    for (uint32_t nth = 1; nth < 40; nth++) {
        for (uint64_t id = 1; id < 200; id++)
            assert_in_range(backoff_ms(&BACKOFF_USUAL, id, nth, nth), middle_ms - middle_ms / 10,
                            middle_ms + middle_ms / 10);
        middle_ms = middle_ms * 2 < JM_BACKOFF_CEILING_MS ? middle_ms * 2 : JM_BACKOFF_CEILING_MS;
    }
    assert_in_range(backoff_ms(&BACKOFF_USUAL, 1, 1, UINT32_MAX), JM_BACKOFF_CEILING_MS * 9 / 10,
                    JM_BACKOFF_CEILING_MS * 11 / 10);
}

static void the_same_attempt_waits_the_same_and_others_spread_out(void **state)
{
    int64_t low = INT64_MAX;
    int64_t high = 0;

    (void)state;
    for (uint64_t id = 1; id <= 1000; id++) {
        int64_t wait_ms = backoff_ms(&BACKOFF_USUAL, id, 1, 1);

        assert_int_equal(wait_ms, backoff_ms(&BACKOFF_USUAL, id, 1, 1));
        low = wait_ms < low ? wait_ms : low;
        high = wait_ms > high ? wait_ms : high;
    }
    assert_in_range(low, 900, 905);
    assert_in_range(high, 1095, 1100);
    assert_int_not_equal(backoff_ms(&BACKOFF_USUAL, 1, 1, 1), backoff_ms(&BACKOFF_USUAL, 1, 2, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_wait_doubles_up_to_the_ceiling_within_ten_percent),
        cmocka_unit_test(the_same_attempt_waits_the_same_and_others_spread_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
