#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "broker/waiters.h"
#include "schema/errors.h"
#include "schema/limits.h"

struct called {
    struct waiter waiter;
    struct waiters *ws;
    int ends;
};

static void on_end(struct waiter *w)
{
    struct called *c = JM_CONTAINER_OF(w, struct called, waiter);

    assert_false(w->is_registered);
    c->ends++;
}

static void only_the_waiters_of_the_job_are_called_and_once(void **state)
{
    struct waiters ws;
    struct called a = {.waiter.on_end = on_end}, b = {.waiter.on_end = on_end},
                  other = {.waiter.on_end = on_end};

    (void)state;
    waiters_init(&ws);
    assert_int_equal(waiters_add(&ws, &a.waiter, 7), 0);
    assert_int_equal(waiters_add(&ws, &b.waiter, 7), 0);
    assert_int_equal(waiters_add(&ws, &other.waiter, 8), 0);
    waiters_mark(&ws, 7);
    waiters_mark(&ws, 7);
    assert_int_equal(a.ends + b.ends, 0); /* not before the turn */
    waiters_turn(&ws);
    waiters_turn(&ws);
    assert_int_equal(a.ends, 1);
    assert_int_equal(b.ends, 1);
    assert_int_equal(other.ends, 0);
    assert_int_equal(waiters_count(&ws), 1);
    waiters_remove(&ws, &other.waiter);
    waiters_remove(&ws, &other.waiter);
    assert_int_equal(waiters_count(&ws), 0);
    waiters_done(&ws);
}

static void one_that_gives_up_between_mark_and_turn_is_not_called(void **state)
{
    struct waiters ws;
    struct called a = {.waiter.on_end = on_end};

    (void)state;
    waiters_init(&ws);
    assert_int_equal(waiters_add(&ws, &a.waiter, 7), 0);
    waiters_mark(&ws, 7);
    waiters_remove(&ws, &a.waiter);
    waiters_turn(&ws);
    assert_int_equal(a.ends, 0);
    waiters_done(&ws);
}

static void wait_again(struct waiter *w)
{
    struct called *c = JM_CONTAINER_OF(w, struct called, waiter);

    c->ends++;
    if (c->ends < 3)
        assert_int_equal(waiters_add(c->ws, w, 7), 0);
}

static void a_waiter_may_register_again_from_its_call(void **state)
{
    struct waiters ws;
    struct called a = {.waiter.on_end = wait_again, .ws = &ws};

    (void)state;
    waiters_init(&ws);
    assert_int_equal(waiters_add(&ws, &a.waiter, 7), 0);
    for (int i = 0; i < 5; i++) {
        waiters_mark(&ws, 7);
        waiters_turn(&ws);
    }
    assert_int_equal(a.ends, 3);
    waiters_done(&ws);
}

static void there_is_a_limit(void **state)
{
    struct waiters ws;
    struct called *all = calloc(JM_WAITERS + 1, sizeof(*all));

    (void)state;
    waiters_init(&ws);
    for (size_t i = 0; i < JM_WAITERS; i++)
        assert_int_equal(waiters_add(&ws, &all[i].waiter, i + 1), 0);
    assert_int_equal(waiters_add(&ws, &all[JM_WAITERS].waiter, 1), JM_EBUSYWAIT);
    for (size_t i = 0; i < JM_WAITERS; i++)
        waiters_remove(&ws, &all[i].waiter);
    waiters_done(&ws);
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_waiters_of_the_job_are_called_and_once),
        cmocka_unit_test(one_that_gives_up_between_mark_and_turn_is_not_called),
        cmocka_unit_test(a_waiter_may_register_again_from_its_call),
        cmocka_unit_test(there_is_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
