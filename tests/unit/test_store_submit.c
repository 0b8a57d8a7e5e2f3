/*
 * What a submit brings along: unique jobs, tags, and the window of an Idempotency-Key.
 */
#include "tests/unit/store_fixture.h"

enum { DAY_MS = 24 * 3600 * 1000 };

/* ---- unique jobs ---- */

static struct store_submit unique_of(uint64_t id, enum unique_while how,
                                     enum unique_conflict on_conflict)
{
    struct store_submit op = fixture_submit_of(id, "q", JOB_QUEUED);

    op.unique = (struct store_unique){.how = how, .on_conflict = on_conflict};
    op.unique.period_ms = how == UNIQUE_PERIOD ? 10000 : 0;
    memset(op.unique.digest, 7, sizeof(op.unique.digest));
    return op;
}

/* Brings job `id`, which is queued, into `state`. */
static void bring_into(struct fixture *f, uint64_t id, enum job_state state)
{
    struct store_cancel cancel = {.id = id};
    uint32_t attempt;

    if (state == JOB_QUEUED)
        return;
    if (state == JOB_CANCELLED) {
        assert_int_equal(fixture_run(f, &cancel.op, STORE_CANCEL), 0);
        return;
    }
    assert_int_equal(fixture_take(f, "q", &attempt), id);
    if (state == JOB_SCHEDULED)
        assert_int_equal(fixture_happen(f, WIRE_FAILED, id, 1), STORE_APPLIED);
    else if (state != JOB_DISPATCHED)
        assert_int_equal(fixture_happen(f, WIRE_RUNNING, id, 1), STORE_APPLIED);
    if (state == JOB_SUCCEEDED)
        assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, id, 1), STORE_APPLIED);
}

enum answer { MADE, EXISTS, CONFLICT, REPLACES };

struct unique_row {
    enum unique_while how; /* of the holder */
    enum job_state state;  /* in which it is when the other one comes */
    enum answer existing;  /* by what the other one asks */
    enum answer reject;
    enum answer replace;
};

static const struct unique_row unique_rows[] = {
    {UNIQUE_QUEUED, JOB_SCHEDULED, EXISTS, CONFLICT, REPLACES},
    {UNIQUE_QUEUED, JOB_QUEUED, EXISTS, CONFLICT, REPLACES},
    {UNIQUE_QUEUED, JOB_DISPATCHED, EXISTS, CONFLICT, REPLACES},
    {UNIQUE_QUEUED, JOB_RUNNING, MADE, MADE, MADE},
    {UNIQUE_QUEUED, JOB_SUCCEEDED, MADE, MADE, MADE},
    {UNIQUE_UNFINISHED, JOB_SCHEDULED, EXISTS, CONFLICT, REPLACES},
    {UNIQUE_UNFINISHED, JOB_QUEUED, EXISTS, CONFLICT, REPLACES},
    {UNIQUE_UNFINISHED, JOB_DISPATCHED, EXISTS, CONFLICT, REPLACES},
    {UNIQUE_UNFINISHED, JOB_RUNNING, EXISTS, CONFLICT, CONFLICT},
    {UNIQUE_UNFINISHED, JOB_SUCCEEDED, MADE, MADE, MADE},
    {UNIQUE_UNFINISHED, JOB_CANCELLED, MADE, MADE, MADE},
    {UNIQUE_PERIOD, JOB_QUEUED, EXISTS, CONFLICT, REPLACES},
    {UNIQUE_PERIOD, JOB_RUNNING, EXISTS, CONFLICT, CONFLICT},
    {UNIQUE_PERIOD, JOB_SUCCEEDED, EXISTS, CONFLICT, CONFLICT},
    {UNIQUE_PERIOD, JOB_CANCELLED, EXISTS, CONFLICT, CONFLICT},
};

static enum answer answer_of(const struct store_submit *op)
{
    if (op->op.status == JM_EUNIQUE)
        return CONFLICT;
    assert_int_equal(op->op.status, 0);
    if (op->ret_is_existing)
        return EXISTS;
    return op->ret_replaced_id != 0 ? REPLACES : MADE;
}

static void check_unique(struct fixture *f, const struct unique_row *row,
                         enum unique_conflict on_conflict, enum answer expected)
{
    struct store_submit first = unique_of(1, row->how, UNIQUE_REJECT);
    struct store_submit second = unique_of(2, row->how, on_conflict);
    struct job_view job;
    bool is_made = expected == MADE || expected == REPLACES;

    assert_int_equal(fixture_run(f, &first.op, STORE_SUBMIT), 0);
    assert_int_equal(answer_of(&first), MADE);
    bring_into(f, 1, row->state);
    (void)fixture_run(f, &second.op, STORE_SUBMIT);
    assert_int_equal(answer_of(&second), expected);
    assert_int_equal(second.op.wants_sync, expected != MADE); /* the others tell of the first */
    assert_int_equal(second.ret_existing_id, is_made ? 0 : 1);
    assert_int_equal(second.ret_existing_state, is_made ? JOB_NONE : row->state);
    assert_int_equal(second.ret_replaced_id, expected == REPLACES ? 1 : 0);
    assert_int_equal(fixture_get(f, 1).state, expected == REPLACES ? JOB_CANCELLED : row->state);
    assert_int_equal(reader_get(fixture_reader(f), 2, true, &job), is_made ? 0 : JM_ENOJOB);
    fixture_check_counts(f);
}

static void a_unique_job_holds_its_place_as_long_as_it_says(void **state)
{
    for (size_t i = 0; i < JM_COUNT_OF(unique_rows); i++)
        for (int how = UNIQUE_EXISTING; how <= UNIQUE_REPLACE; how++) {
            const struct unique_row *row = &unique_rows[i];
            const enum answer expected[] = {row->existing, row->reject, row->replace};

            check_unique(*state, row, (enum unique_conflict)how, expected[how]);
            assert_int_equal(fixture_teardown(state) + fixture_setup(state), 0);
        }
}

static void the_last_one_made_holds_the_place(void **state)
{
    struct fixture *f = *state;

    for (uint64_t id = 1; id <= 5; id++) {
        struct store_submit op = unique_of(id, UNIQUE_UNFINISHED, UNIQUE_REPLACE);

        assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
        assert_int_equal(op.ret_replaced_id, id - 1);
    }
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM uniques"), 1);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM ends WHERE state = 12"), 4);
    fixture_check_counts(f);
}

static void a_period_is_over_to_the_millisecond_and_outlives_its_job(void **state)
{
    struct fixture *f = *state;
    struct store_submit op = unique_of(1, UNIQUE_PERIOD, UNIQUE_EXISTING);

    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    bring_into(f, 1, JOB_SUCCEEDED);
    f->now_ms += 9999;
    op = unique_of(2, UNIQUE_PERIOD, UNIQUE_EXISTING);
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    assert_int_equal(answer_of(&op), EXISTS);
    f->now_ms += 1;
    op = unique_of(2, UNIQUE_PERIOD, UNIQUE_EXISTING);
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    assert_int_equal(answer_of(&op), MADE);
}

static void a_place_can_be_held_by_a_job_that_is_purged(void **state)
{
    struct fixture *f = *state;
    struct store_submit op = unique_of(1, UNIQUE_PERIOD, UNIQUE_EXISTING);
    struct store_purge purge = {.max_rows = 100};

    op.unique.period_ms = 20 * DAY_MS;
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    bring_into(f, 1, JOB_SUCCEEDED);
    f->now_ms += 2 * DAY_MS;
    purge.now_ms = f->now_ms;
    assert_int_equal(fixture_run(f, &purge.op, STORE_PURGE), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 0);
    op = unique_of(2, UNIQUE_PERIOD, UNIQUE_EXISTING);
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    assert_int_equal(answer_of(&op), EXISTS);
    assert_int_equal(op.ret_existing_id, 1);
    assert_int_equal(op.ret_existing_state, JOB_NONE);
}

static void a_person_who_deletes_a_unique_job_frees_its_place(void **state)
{
    struct fixture *f = *state;
    struct store_submit op = unique_of(1, UNIQUE_PERIOD, UNIQUE_REJECT);
    struct store_delete delete = {.id = 1};

    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    bring_into(f, 1, JOB_SUCCEEDED);
    assert_int_equal(fixture_run(f, &delete.op, STORE_DELETE), 0);
    op = unique_of(2, UNIQUE_PERIOD, UNIQUE_REJECT);
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    assert_int_equal(answer_of(&op), MADE);
}

static void a_repeated_key_goes_before_a_unique_place(void **state)
{
    struct fixture *f = *state;

    for (uint64_t id = 1; id <= 2; id++) {
        struct store_submit op = unique_of(id, UNIQUE_UNFINISHED, UNIQUE_REJECT);

        op.key = span_of_str("key");
        assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
        assert_int_equal(op.ret_is_repeat, id == 2);
        assert_int_equal(op.ret_existing_id, id - 1);
    }
}

static void of_two_in_one_batch_the_second_finds_the_first(void **state)
{
    struct fixture *f = *state;
    struct store_submit ops[2] = {unique_of(1, UNIQUE_UNFINISHED, UNIQUE_EXISTING),
                                  unique_of(2, UNIQUE_UNFINISHED, UNIQUE_EXISTING)};
    struct list list;

    list_init(&list);
    list_push_back(&list, &ops[0].op.link);
    list_push_back(&list, &ops[1].op.link);
    assert_int_equal(store_run(f->store, &list), 0);
    assert_int_equal(answer_of(&ops[0]), MADE);
    assert_int_equal(answer_of(&ops[1]), EXISTS);
    assert_int_equal(ops[1].ret_existing_id, 1);
    fixture_check_counts(f);
}

static void a_submit_that_fails_replaces_nothing(void **state)
{
    struct fixture *f = *state;
    struct store_submit op = unique_of(1, UNIQUE_UNFINISHED, UNIQUE_REJECT);

    fixture_submit(f, 2, "q", JOB_QUEUED);
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    op = unique_of(2, UNIQUE_UNFINISHED, UNIQUE_REPLACE);
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), JM_EINTERNAL); /* its id is taken */
    assert_int_equal(fixture_get(f, 1).state, JOB_QUEUED);
    op = unique_of(3, UNIQUE_UNFINISHED, UNIQUE_EXISTING);
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    assert_int_equal(op.ret_existing_id, 1);
}

/* ---- tags ---- */

static void each_tag_has_one_row_until_the_job_is_deleted(void **state)
{
    struct fixture *f = *state;
    static const uint8_t tags[] = {0x93, 0xa1, 'a', 0xa2, 'b', 'c', 0xa1, 'a'};
    struct store_submit op = fixture_submit_of(1, "q", JOB_QUEUED);
    struct store_cancel cancel = {.id = 1};
    struct store_delete delete = {.id = 1};

    op.spec.tags = span_of(tags, sizeof(tags));
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    op = fixture_submit_of(2, "q", JOB_QUEUED);
    op.spec.tags = span_of(tags, sizeof(tags));
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM tags WHERE id = 1"), 2);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM tags WHERE tag = 'bc'"), 2);
    assert_int_equal(fixture_run(f, &cancel.op, STORE_CANCEL), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM tags WHERE id = 1"), 2);
    assert_int_equal(fixture_run(f, &delete.op, STORE_DELETE), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM tags WHERE id = 1"), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM tags"), 2);
}

/* ---- the window of a key ---- */

static bool is_repeat(struct fixture *f, uint64_t id, uint8_t print)
{
    struct store_submit op = fixture_submit_of(id, "q", JOB_QUEUED);

    op.key = span_of_str("key");
    memset(op.fingerprint, print, sizeof(op.fingerprint));
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    return op.ret_is_repeat;
}

static void a_key_is_known_for_its_window_and_no_longer(void **state)
{
    struct fixture *f = *state;

    assert_false(is_repeat(f, 1, 1));
    f->now_ms += DAY_MS - 1;
    assert_true(is_repeat(f, 2, 1));
    f->now_ms += 1;
    assert_false(is_repeat(f, 2, 2)); /* also with another body */
    f->now_ms += DAY_MS - 1;
    assert_true(is_repeat(f, 3, 2)); /* its own window */
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM idem"), 1);
}

static void a_key_that_met_a_unique_job_is_answered_with_it_for_its_window(void **state)
{
    struct fixture *f = *state;
    struct store_cancel cancel = {.id = 1};

    for (uint64_t id = 1; id <= 4; id++) {
        struct store_submit op = unique_of(id, UNIQUE_UNFINISHED, UNIQUE_EXISTING);

        op.key = id == 1 ? span_of(NULL, 0) : span_of_str("key");
        assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
        assert_int_equal(op.ret_is_existing, id == 2 || id == 3);
        assert_int_equal(op.ret_is_repeat, id == 3);
        assert_int_equal(op.ret_existing_id, id == 2 || id == 3 ? 1 : 0);
        assert_int_equal(op.ret_existing_state, id == 2   ? JOB_QUEUED
                                                : id == 3 ? JOB_CANCELLED
                                                          : JOB_NONE);
        if (id == 2)
            assert_int_equal(fixture_run(f, &cancel.op, STORE_CANCEL), 0);
        if (id == 3)
            f->now_ms += DAY_MS;
    }
}

static void a_key_outlives_its_job(void **state)
{
    struct fixture *f = *state;
    struct store_delete delete = {.id = 1};
    struct job_view job;

    assert_false(is_repeat(f, 1, 1));
    bring_into(f, 1, JOB_CANCELLED);
    assert_int_equal(fixture_run(f, &delete.op, STORE_DELETE), 0);
    assert_true(is_repeat(f, 2, 1));
    assert_int_equal(reader_get(fixture_reader(f), 1, true, &job), JM_ENOJOB);
}

static void a_key_from_a_clock_that_was_far_ahead_is_forgotten(void **state)
{
    struct fixture *f = *state;

    f->now_ms += 400 * (int64_t)DAY_MS;
    assert_false(is_repeat(f, 1, 1));
    f->now_ms -= DAY_MS;
    assert_true(is_repeat(f, 2, 1)); /* a small step forgets nothing */
    f->now_ms -= 399 * (int64_t)DAY_MS;
    assert_false(is_repeat(f, 2, 2));
}

/* The batch with the mark was refused, for want of room, and a later one with a job was not. */
static void the_mark_of_ids_is_never_below_a_job(void **state)
{
    struct fixture *f = *state;
    struct store_reserve_ids reserve = {.high_water = 7};
    struct store_submit op;

    assert_int_equal(fixture_run(f, &reserve.op, STORE_RESERVE_IDS), 0);
    op = fixture_submit_of(5, "q", JOB_QUEUED);
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    assert_int_equal(fixture_ask(f, "SELECT value FROM meta WHERE name = 'id_high_water'"), 7);
    op = fixture_submit_of(9, "q", JOB_QUEUED);
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    assert_int_equal(fixture_ask(f, "SELECT value FROM meta WHERE name = 'id_high_water'"), 9);
}

#define SUBMIT_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SUBMIT_TEST(a_unique_job_holds_its_place_as_long_as_it_says),
        SUBMIT_TEST(the_last_one_made_holds_the_place),
        SUBMIT_TEST(a_period_is_over_to_the_millisecond_and_outlives_its_job),
        SUBMIT_TEST(a_place_can_be_held_by_a_job_that_is_purged),
        SUBMIT_TEST(a_person_who_deletes_a_unique_job_frees_its_place),
        SUBMIT_TEST(a_repeated_key_goes_before_a_unique_place),
        SUBMIT_TEST(of_two_in_one_batch_the_second_finds_the_first),
        SUBMIT_TEST(a_submit_that_fails_replaces_nothing),
        SUBMIT_TEST(each_tag_has_one_row_until_the_job_is_deleted),
        SUBMIT_TEST(a_key_is_known_for_its_window_and_no_longer),
        SUBMIT_TEST(a_key_that_met_a_unique_job_is_answered_with_it_for_its_window),
        SUBMIT_TEST(a_key_outlives_its_job),
        SUBMIT_TEST(a_key_from_a_clock_that_was_far_ahead_is_forgotten),
        SUBMIT_TEST(the_mark_of_ids_is_never_below_a_job),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
