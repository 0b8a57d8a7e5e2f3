#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "broker/ids.h"
#include "schema/errors.h"
#include "schema/id.h"

/* A clock turned by hand, and a runner that keeps the oldest operation until it is answered. */
struct world {
    struct clock clock;
    int64_t wall_ms;
    struct runner runner;
    struct store_op *op;
    int ops;
    struct ids ids;
};

static int64_t wall_ms(struct clock *clock)
{
    return JM_CONTAINER_OF(clock, struct world, clock)->wall_ms;
}

static void submit(struct runner *runner, struct store_op *op)
{
    struct world *w = JM_CONTAINER_OF(runner, struct world, runner);

    if (w->op == NULL)
        w->op = op;
    w->ops++;
}

static void answer(struct world *w, int status)
{
    struct store_op *op = w->op;

    w->op = NULL;
    op->status = status;
    op->on_done(op);
}

static void init(struct world *w, uint64_t stored_high_water)
{
    *w = (struct world){
        .clock = {.wall_ms = wall_ms}, .wall_ms = ID_EPOCH_MS + 1000, .runner = {.submit = submit}};
    ids_init(&w->ids, &w->clock, &w->runner, 5);
    ids_start(&w->ids, stored_high_water);
}

static void they_rise_through_sequences_milliseconds_and_clock_steps(void **state)
{
    struct world w;
    uint64_t last = 0;

    (void)state;
    init(&w, 0);
    for (int i = 0; i < 20000; i++) {
        uint64_t id = ids_next(&w.ids);

        assert_true(id > last);
        assert_int_equal(id_node(id), 5);
        last = id;
        if (i % 1000 == 0)
            w.wall_ms += 1;
        if (i == 10000)
            w.wall_ms -= 500;
    }
}

static void the_mark_is_sent_to_the_store_before_any_id_above_the_old_one(void **state)
{
    struct world w;
    uint64_t id;

    (void)state;
    init(&w, 0);
    id = ids_next(&w.ids);
    assert_int_equal(w.ops, 1);
    assert_int_equal(w.op->kind, STORE_RESERVE_IDS);
    assert_true(JM_CONTAINER_OF(w.op, struct store_reserve_ids, op)->high_water > id);
    answer(&w, 0);
    ids_next(&w.ids);
    assert_int_equal(w.ops, 1); /* not one by one */
    w.wall_ms += 1500;
    ids_next(&w.ids);
    assert_int_equal(w.ops, 2);
}

static void a_start_goes_on_above_the_stored_mark_even_if_the_clock_stepped_back(void **state)
{
    struct world w;
    uint64_t mark = id_make(ID_EPOCH_MS + 90000, 5);

    (void)state;
    init(&w, mark);
    assert_true(ids_next(&w.ids) > mark);
}

/* Its clock would be ahead by the mark's two seconds for each of its lives otherwise. */
static void a_broker_that_is_killed_again_and_again_does_not_run_ahead(void **state)
{
    struct world w;
    uint64_t mark = 0;
    int64_t wall = ID_EPOCH_MS + 1000;

    (void)state;
    for (int life = 0; life < 100; life++) {
        init(&w, mark);
        for (int at = 0; at < 300; at += 50) {
            w.wall_ms = wall + 300 * life + at;
            assert_true(ids_next(&w.ids) != 0);
            if (w.op != NULL)
                answer(&w, 0);
        }
        mark = w.ids.high_water;
    }
    assert_true(id_wall_ms(mark) - w.wall_ms < 1000);
}

static void while_the_mark_cannot_be_stored_it_is_asked_for_again(void **state)
{
    struct world w;
    uint64_t first, second;

    (void)state;
    init(&w, 0);
    first = ids_next(&w.ids);
    answer(&w, JM_EFULL);
    second = ids_next(&w.ids);
    assert_int_equal(w.ops, 2);
    assert_true(second > first);
}

/* The first mark is of 250 ms, and a disk may take longer than that. */
static void ids_go_on_while_the_first_mark_is_on_its_way_for_two_seconds(void **state)
{
    struct world w;
    uint64_t last = 0;

    (void)state;
    init(&w, 0);
    for (int at = 0; at <= 2000; at += 50) {
        uint64_t id = ids_next(&w.ids);

        assert_true(id > last);
        last = id;
        w.wall_ms += 50;
    }
    assert_int_equal(w.ops, IDS_RESERVES);
}

static void a_run_of_ids_is_what_one_after_the_other_would_be(void **state)
{
    struct world one;
    struct world all;
    uint64_t id;

    (void)state;
    init(&one, 0);
    init(&all, 0);
    (void)ids_next(&one.ids);
    (void)ids_next(&all.ids);
    id = ids_take(&all.ids, 100000);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(ids_next(&one.ids), id);
        id = ids_after(id);
    }
    assert_int_equal(ids_next(&all.ids), id);
    assert_int_equal(all.ops, 1); /* a run fits below the mark */
}

static void a_run_that_the_mark_does_not_cover_is_not_given(void **state)
{
    enum { RUN = 3000 * 4096 };
    struct world w;
    uint64_t before;

    (void)state;
    init(&w, 0);
    for (int i = 0; i < IDS_RESERVES; i++)
        assert_true(ids_take(&w.ids, RUN) != 0);
    before = w.ids.last; /* as many marks as may be are on their way */
    assert_int_equal(ids_take(&w.ids, RUN), 0);
    assert_int_equal(ids_next(&w.ids), ids_after(before));
    assert_int_equal(w.ops, IDS_RESERVES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_rise_through_sequences_milliseconds_and_clock_steps),
        cmocka_unit_test(the_mark_is_sent_to_the_store_before_any_id_above_the_old_one),
        cmocka_unit_test(a_start_goes_on_above_the_stored_mark_even_if_the_clock_stepped_back),
        cmocka_unit_test(a_broker_that_is_killed_again_and_again_does_not_run_ahead),
        cmocka_unit_test(while_the_mark_cannot_be_stored_it_is_asked_for_again),
        cmocka_unit_test(ids_go_on_while_the_first_mark_is_on_its_way_for_two_seconds),
        cmocka_unit_test(a_run_of_ids_is_what_one_after_the_other_would_be),
        cmocka_unit_test(a_run_that_the_mark_does_not_cover_is_not_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
