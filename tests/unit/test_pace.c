#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "schema/limits.h"
#include "worker/pace.h"

static void note_many(struct pace *pace, uint64_t run_ns, int count)
{
    while (count-- > 0)
        pace_note(pace, run_ns);
}

static unsigned settle(struct pace *pace)
{
    unsigned count = 0;

    for (int i = 0; i < 10; i++)
        count = pace_claim(pace);
    return count;
}

static void unknown_jobs_are_claimed_one_at_a_time(void **state)
{
    struct pace pace = {0};

    (void)state;
    assert_int_equal(settle(&pace), 1);
}

static void long_jobs_are_claimed_one_at_a_time(void **state)
{
    struct pace pace = {0};

    (void)state;
    pace_note(&pace, UINT64_C(3600) * 1000000000);
    assert_int_equal(settle(&pace), 1);
    note_many(&pace, 5000001, 200);
    assert_int_equal(settle(&pace), 1);
}

static void a_claim_holds_five_milliseconds_of_work(void **state)
{
    struct pace pace = {0};

    (void)state;
    note_many(&pace, 1000000, 10);
    assert_int_equal(settle(&pace), 5);
    note_many(&pace, 100000, 200);
    assert_in_range(settle(&pace), 45, 50);
}

static void tiny_jobs_reach_the_limit_by_steps(void **state)
{
    struct pace pace = {0};

    (void)state;
    note_many(&pace, 10, 3);
    assert_int_equal(pace_claim(&pace), 1);
    assert_int_equal(pace_claim(&pace), 4);
    assert_int_equal(pace_claim(&pace), 16);
    assert_int_equal(pace_claim(&pace), 64);
    assert_int_equal(pace_claim(&pace), JM_CLAIM_JOBS);
    assert_int_equal(pace_claim(&pace), JM_CLAIM_JOBS);
}

static void one_long_job_ends_large_claims_at_once(void **state)
{
    struct pace pace = {0};

    (void)state;
    note_many(&pace, 1000, 100);
    assert_int_equal(settle(&pace), JM_CLAIM_JOBS);
    pace_note(&pace, 20000000);
    assert_int_equal(pace_claim(&pace), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_jobs_are_claimed_one_at_a_time),
        cmocka_unit_test(long_jobs_are_claimed_one_at_a_time),
        cmocka_unit_test(a_claim_holds_five_milliseconds_of_work),
        cmocka_unit_test(tiny_jobs_reach_the_limit_by_steps),
        cmocka_unit_test(one_long_job_ends_large_claims_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
