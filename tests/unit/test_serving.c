/* Which queues are served, and how often each comes first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "schema/limits.h"
#include "worker/serving.h"

enum { DRAWS = 100000 };

static void names_and_weights_are_read(void **state)
{
    struct serving_queue queues[SERVING_QUEUES];
    size_t count;

    (void)state;
    assert_true(serving_parse("critical:6,default,low:1000,v2,a:b", queues, &count));
    assert_int_equal(count, 5);
    assert_true(span_is_str(queues[0].name, "critical") && queues[0].weight == 6);
    assert_true(span_is_str(queues[1].name, "default") && queues[1].weight == 0);
    assert_true(span_is_str(queues[2].name, "low") && queues[2].weight == 1000);
    assert_true(span_is_str(queues[3].name, "v2") && queues[3].weight == 0);
    assert_true(span_is_str(queues[4].name, "a:b") && queues[4].weight == 0);
    assert_true(serving_parse("tenant:42:1,tenant:43:,7", queues, &count));
    assert_int_equal(count, 3);
    assert_true(span_is_str(queues[0].name, "tenant:42") && queues[0].weight == 1);
    assert_true(span_is_str(queues[1].name, "tenant:43") && queues[1].weight == 0);
    assert_true(span_is_str(queues[2].name, "7") && queues[2].weight == 0);
}

static void what_is_no_list_is_refused(void **state)
{
    static const char *const wrong[] = {"",     ",",      "a,,b", "a,",     "a b", "a:0",
                                        "a:00", "a:1001", ":5",   "a:1, b", ":",   "a:99999999999"};
    struct serving_queue queues[SERVING_QUEUES];
    char list[4 * SERVING_QUEUES + 8] = "q";
    size_t count = 99;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (serving_parse(wrong[i], queues, &count))
            fail_msg("taken: %s", wrong[i]);
    assert_int_equal(count, 99);
    for (size_t i = 1; i < SERVING_QUEUES; i++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), ",q:1");
    assert_true(serving_parse(list, queues, &count));
    assert_int_equal(count, SERVING_QUEUES);
    snprintf(list + strlen(list), sizeof(list) - strlen(list), ",q");
    assert_false(serving_parse(list, queues, &count));
}

static size_t parse(const char *list, struct serving_queue queues[SERVING_QUEUES])
{
    size_t count;

    assert_true(serving_parse(list, queues, &count));
    return count;
}

static void without_weights_the_order_is_that_of_the_list(void **state)
{
    struct serving_queue queues[SERVING_QUEUES];
    size_t order[SERVING_QUEUES], count = parse("c,a,b", queues);
    uint64_t seed = 1;

    (void)state;
    for (int n = 0; n < 1000; n++) {
        serving_order(queues, count, &seed, order);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(order[i], i);
    }
}

static void assert_near(uint64_t times, double share)
{
    double found = (double)times / DRAWS;

    if (found < share - 0.01 || found > share + 0.01)
        fail_msg("%f of the draws instead of %f", found, share);
}

/* With weights 6, 3 and 1 the order x, y, z has the chance w(x)/10 * w(y)/(10 - w(x)). */
static void each_order_comes_as_often_as_the_weights_say(void **state)
{
    static const double weights[] = {6, 3, 1};
    struct serving_queue queues[SERVING_QUEUES];
    size_t order[SERVING_QUEUES], count = parse("a:6,b:3,c", queues);
    uint64_t seed = 20240229, times[3][3] = {{0}};

    (void)state;
    for (int n = 0; n < DRAWS; n++) {
        serving_order(queues, count, &seed, order);
        assert_int_equal(1 << order[0] | 1 << order[1] | 1 << order[2], 7);
        times[order[0]][order[1]]++;
    }
    for (size_t x = 0; x < 3; x++)
        for (size_t y = 0; y < 3; y++)
            assert_near(times[x][y], x == y ? 0 : weights[x] / 10 * weights[y] / (10 - weights[x]));
}

static void equal_weights_give_equal_turns_to_many(void **state)
{
    struct serving_queue queues[SERVING_QUEUES];
    size_t order[SERVING_QUEUES];
    uint64_t seed = 7, first[SERVING_QUEUES] = {0}, last[SERVING_QUEUES] = {0};

    (void)state;
    for (size_t i = 0; i < SERVING_QUEUES; i++)
        queues[i] =
            (struct serving_queue){.name = span_of_str("q"), .weight = JM_QUEUE_WEIGHT_LIMIT};
    for (int n = 0; n < DRAWS; n++) {
        uint64_t met = 0;

        serving_order(queues, SERVING_QUEUES, &seed, order);
        for (size_t i = 0; i < SERVING_QUEUES; i++)
            met |= UINT64_C(1) << order[i];
        assert_true(met == UINT64_MAX);
        first[order[0]]++;
        last[order[SERVING_QUEUES - 1]]++;
    }
    for (size_t i = 0; i < SERVING_QUEUES; i++) {
        assert_in_range(first[i], DRAWS / 64 * 8 / 10, DRAWS / 64 * 12 / 10);
        assert_in_range(last[i], DRAWS / 64 * 8 / 10, DRAWS / 64 * 12 / 10);
    }
}

static void children_with_other_seeds_draw_other_orders(void **state)
{
    struct serving_queue queues[SERVING_QUEUES];
    size_t order[2][SERVING_QUEUES], count = parse("a:1,b:1", queues);
    uint64_t seeds[2] = {1, 2};
    unsigned different = 0;

    (void)state;
    for (int n = 0; n < 1000; n++) {
        for (int i = 0; i < 2; i++)
            serving_order(queues, count, &seeds[i], order[i]);
        different += order[0][0] != order[1][0];
    }
    assert_in_range(different, 400, 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_weights_are_read),
        cmocka_unit_test(what_is_no_list_is_refused),
        cmocka_unit_test(without_weights_the_order_is_that_of_the_list),
        cmocka_unit_test(each_order_comes_as_often_as_the_weights_say),
        cmocka_unit_test(equal_weights_give_equal_turns_to_many),
        cmocka_unit_test(children_with_other_seeds_draw_other_orders),
    };

    return cmocka_run_group_tests_name("serving", tests, NULL, NULL);
}
