/*
 * How long things are kept: by the default, by a job's or a queue's own time, by the order in which
 * jobs end; and that a purge goes in steps, touches nothing else, and gives space back.
 */
#include "tests/unit/store_fixture.h"

#include <sys/stat.h>

#include "broker/conf.h"
#include "schema/id.h"

enum { HOUR_MS = 3600 * 1000, DAY_MS = 24 * HOUR_MS, MINUTE_MS = 60 * 1000 };

/* An id as it is given at this moment, the `nth` of its millisecond. */
static uint64_t id_now(struct fixture *f, unsigned nth)
{
    return id_make(f->now_ms, 0) + nth;
}

static void succeed(struct fixture *f, uint64_t id)
{
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, id, 1), STORE_APPLIED);
}

static void fail_for_good(struct fixture *f, uint64_t id)
{
    struct store_event event = fixture_event_of(WIRE_FAILED, id, 1);

    event.event.retry = WIRE_RETRY_NEVER;
    assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
}

static uint64_t submit_now(struct fixture *f, unsigned nth)
{
    uint64_t id = id_now(f, nth);

    fixture_submit(f, id, "q", JOB_DISPATCHED);
    return id;
}

static struct store_purge purge(struct fixture *f, size_t max_rows)
{
    struct store_purge op = {.now_ms = f->now_ms, .max_rows = max_rows};

    assert_int_equal(fixture_run(f, &op.op, STORE_PURGE), 0);
    return op;
}

/* Steps until there is nothing more to do; returns the rows removed. */
static size_t purge_all(struct fixture *f)
{
    size_t rows = 0;

    for (int step = 0; step < 1000; step++) {
        struct store_purge op = purge(f, 100);

        rows += op.ret_rows;
        if (op.ret_next_ms < 0 || op.ret_next_ms > f->now_ms)
            return rows;
    }
    fail_msg("the purge never ends");
    return rows;
}

static bool is_there(struct fixture *f, uint64_t id)
{
    struct job_view job;

    return reader_get(fixture_reader(f), id, false, &job) == 0;
}

/* ---- how long ---- */

static void an_end_is_kept_for_its_time_to_the_millisecond(void **state)
{
    struct fixture *f = *state;
    uint64_t good = submit_now(f, 0), bad = submit_now(f, 1);
    uint64_t cancelled = submit_now(f, 2), live = submit_now(f, 3);
    struct store_cancel cancel = {.id = cancelled};
    struct store_submit submit = fixture_submit_of(id_now(f, 4), "q", JOB_DISPATCHED);
    int64_t start_ms = f->now_ms;

    submit.spec.retain_ms = 5000;
    assert_int_equal(fixture_run(f, &submit.op, STORE_SUBMIT), 0);
    succeed(f, good);
    fail_for_good(f, bad);
    assert_int_equal(fixture_run(f, &cancel.op, STORE_CANCEL), 0);
    fail_for_good(f, submit.id);
    for (int round = 0; round < 3; round++) {
        static const int64_t ages_ms[] = {5000, DAY_MS, 7 * (int64_t)DAY_MS};
        size_t expected[] = {1, 2, 1};

        f->now_ms = start_ms + ages_ms[round] - 1;
        assert_int_equal(purge_all(f), 0);
        f->now_ms++;
        assert_int_equal(purge_all(f), expected[round]);
        assert_false(is_there(f, submit.id));
        assert_int_equal(is_there(f, good), round < 1);
        assert_int_equal(is_there(f, cancelled), round < 1);
        assert_int_equal(is_there(f, bad), round < 2);
        fixture_check_counts(f);
    }
    assert_true(is_there(f, live));
}

static void no_index_row_is_written_for_an_end_that_is_kept_by_default(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 100; i++) {
        f->now_ms += 7;
        succeed(f, submit_now(f, 0));
    }
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM ends WHERE purge_at_ms > 0"), 0);
    f->now_ms += DAY_MS + 1;
    assert_int_equal(purge_all(f), 100);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM ends"), 0);
}

static void set_queue(struct fixture *f, uint64_t retain_ms, uint64_t retain_failed_ms)
{
    struct queue_conf conf = {.retain_ms = retain_ms, .retain_failed_ms = retain_failed_ms};
    struct store_set_conf op = {.name = span_of_str("q")};
    struct buf record;

    buf_init(&record, CONF_BYTES);
    conf_encode_queue(&record, &conf);
    op.record = buf_span(&record);
    assert_int_equal(fixture_run(f, &op.op, STORE_SET_CONF), 0);
    buf_done(&record);
}

static void a_queue_has_its_own_times_also_after_a_restart(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 2; round++) {
        uint64_t good, bad;

        set_queue(f, 1000, 3000);
        if (round == 1) {
            fixture_close(f);
            fixture_open(f);
        }
        f->now_ms += MINUTE_MS;
        good = submit_now(f, 0);
        bad = submit_now(f, 1);
        succeed(f, good);
        fail_for_good(f, bad);
        f->now_ms += 1000;
        assert_int_equal(purge_all(f), 1);
        assert_false(is_there(f, good));
        f->now_ms += 2000;
        assert_int_equal(purge_all(f), 1);
        assert_false(is_there(f, bad));
    }
    set_queue(f, 0, 0); /* the broker's again */
    f->now_ms += MINUTE_MS;
    succeed(f, submit_now(f, 0));
    f->now_ms += DAY_MS - 1;
    assert_int_equal(purge_all(f), 0);
}

/* ---- the walk ---- */

static void a_job_that_ran_for_long_keeps_nobody(void **state)
{
    struct fixture *f = *state;
    uint64_t slow = submit_now(f, 0), quick;
    int64_t start_ms = f->now_ms;

    f->now_ms += 1;
    quick = submit_now(f, 0);
    succeed(f, quick);
    f->now_ms = start_ms + DAY_MS - HOUR_MS;
    succeed(f, slow);
    f->now_ms = start_ms + DAY_MS + MINUTE_MS;   /* slack of the walk */
    assert_int_equal(purge(f, 100).ret_rows, 2); /* the slow one got a time of its own */
    assert_false(is_there(f, quick));
    assert_true(is_there(f, slow));
    f->now_ms = start_ms + 2 * (int64_t)DAY_MS - HOUR_MS - 1;
    assert_int_equal(purge_all(f), 0);
    f->now_ms++;
    assert_int_equal(purge_all(f), 1);
    assert_false(is_there(f, slow));
}

static void a_job_that_ends_behind_the_walk_gets_a_time_of_its_own(void **state)
{
    struct fixture *f = *state;
    uint64_t slow = submit_now(f, 0), late;

    f->now_ms++;
    succeed(f, submit_now(f, 0));
    f->now_ms += DAY_MS;
    assert_int_equal(purge_all(f), 1);
    succeed(f, slow);
    assert_int_equal(fixture_ask(f, "SELECT purge_at_ms FROM ends"), f->now_ms + DAY_MS);
    late = submit_now(f, 0);
    succeed(f, late);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM ends WHERE purge_at_ms = 0"), 1);
    f->now_ms += DAY_MS;
    assert_int_equal(purge_all(f), 2);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 0);
}

static void the_walk_goes_on_after_a_restart(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 20; i++) {
        f->now_ms++;
        succeed(f, submit_now(f, 0));
    }
    f->now_ms += DAY_MS;
    assert_int_equal(purge(f, 7).ret_rows, 7);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(purge_all(f), 13);
}

static void a_step_is_bounded_and_says_that_there_is_more(void **state)
{
    struct fixture *f = *state;
    struct store_purge op;

    for (unsigned i = 0; i < 25; i++) {
        f->now_ms++;
        succeed(f, submit_now(f, 0));
    }
    f->now_ms += DAY_MS;
    for (int left = 25; left > 5; left -= 10) {
        op = purge(f, 10);
        assert_int_equal(op.ret_rows, 10);
        assert_int_equal(op.ret_next_ms, f->now_ms);
    }
    op = purge(f, 10);
    assert_int_equal(op.ret_rows, 5);
    assert_true(op.ret_next_ms < 0 || op.ret_next_ms > f->now_ms);
    fixture_check_counts(f);
}

static void large_values_end_a_step_early(void **state)
{
    struct fixture *f = *state;
    static uint8_t result[JM_RESULT_BYTES - 16];

    for (unsigned i = 0; i < 12; i++) {
        uint64_t id = submit_now(f, i);
        struct store_event event = fixture_event_of(WIRE_SUCCEEDED, id, 1);

        event.event.result = span_of(result, sizeof(result));
        assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
    }
    f->now_ms += DAY_MS;
    assert_in_range(purge(f, 100).ret_rows, 4, 5);
    assert_int_equal(purge_all(f) > 0, true);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 0);
}

static void a_purge_that_finds_nothing_due_writes_nothing(void **state)
{
    struct fixture *f = *state;
    size_t before;

    for (unsigned i = 0; i < 10; i++)
        succeed(f, submit_now(f, i));
    f->now_ms += HOUR_MS;
    assert_int_equal(purge(f, 100).ret_rows, 0); /* the lane goes, which has no job any more */
    before = store_wal_bytes(f->store);
    for (int i = 0; i < 10; i++)
        assert_int_equal(purge(f, 100).ret_rows, 0);
    assert_int_equal(store_wal_bytes(f->store), before);
}

static void it_says_when_to_come_again(void **state)
{
    struct fixture *f = *state;
    struct store_submit submit = fixture_submit_of(id_now(f, 0), "q", JOB_DISPATCHED);
    int64_t start_ms = f->now_ms;

    assert_int_equal(purge(f, 100).ret_next_ms, -1);
    submit.spec.retain_ms = 5000;
    assert_int_equal(fixture_run(f, &submit.op, STORE_SUBMIT), 0);
    succeed(f, submit.id);
    f->now_ms += 10;
    succeed(f, submit_now(f, 0));
    assert_int_equal(purge(f, 100).ret_next_ms, start_ms + 5000);
    f->now_ms = start_ms + 5000;
    assert_int_equal(purge_all(f), 1);
    assert_int_equal(purge(f, 100).ret_next_ms, start_ms + 10 + 60000); /* its empty lane */
    f->now_ms = start_ms + 10 + 60000;
    assert_int_equal(purge(f, 100).ret_next_ms, start_ms + 10 + DAY_MS);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM lanes"), 0);
}

/* ---- a clock that was wrong ---- */

static void an_end_from_a_clock_that_was_ahead_holds_nobody_up(void **state)
{
    struct fixture *f = *state;
    uint64_t ahead, after;

    f->now_ms += 365 * (int64_t)DAY_MS;
    ahead = submit_now(f, 0);
    succeed(f, ahead);
    f->now_ms -= 365 * (int64_t)DAY_MS;
    after = ahead + 1; /* ids only rise */
    fixture_submit(f, after, "q", JOB_DISPATCHED);
    succeed(f, after);
    assert_int_equal(purge(f, 100).ret_rows, 1); /* kept from now on */
    f->now_ms += DAY_MS - 1;
    assert_int_equal(purge_all(f), 0);
    f->now_ms += 1;
    assert_int_equal(purge_all(f), 2);
    assert_false(is_there(f, ahead) || is_there(f, after));
}

/* ---- what goes along ---- */

static void all_that_belongs_to_a_job_goes_and_its_key_has_its_own_time(void **state)
{
    struct fixture *f = *state;
    static const uint8_t tags[] = {0x91, 0xa1, 'a'};
    struct store_submit submit = fixture_submit_of(id_now(f, 0), "q", JOB_DISPATCHED);
    uint32_t attempt;

    submit.spec.retain_ms = 1000;
    submit.spec.tags = span_of(tags, sizeof(tags));
    submit.key = span_of_str("key");
    submit.unique.how = UNIQUE_PERIOD;
    submit.unique.period_ms = 5000;
    assert_int_equal(fixture_run(f, &submit.op, STORE_SUBMIT), 0);
    assert_int_equal(fixture_happen(f, WIRE_HANDED_BACK, submit.id, 1), STORE_APPLIED);
    assert_int_equal(fixture_take(f, "q", &attempt), submit.id);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, submit.id, 2), STORE_APPLIED);
    f->now_ms += 1000;
    assert_int_equal(purge_all(f), 1);
    assert_int_equal(fixture_ask(f, "SELECT (SELECT count(*) FROM jobs)"
                                    " + (SELECT count(*) FROM ends)"
                                    " + (SELECT count(*) FROM attempts)"
                                    " + (SELECT count(*) FROM tags)"),
                     0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM uniques"), 1); /* the period goes on */
    f->now_ms += 4000;
    assert_int_equal(purge_all(f), 1);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM uniques"), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM idem"), 1);
    f->now_ms += DAY_MS - 5001;
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM idem"), 1);
    f->now_ms += 1;
    (void)purge_all(f);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM idem"), 0);
    fixture_check_counts(f);
}

static void the_key_of_a_live_job_goes_and_the_job_stays(void **state)
{
    struct fixture *f = *state;
    struct store_submit submit = fixture_submit_of(id_now(f, 0), "q", JOB_DISPATCHED);

    submit.key = span_of_str("key");
    assert_int_equal(fixture_run(f, &submit.op, STORE_SUBMIT), 0);
    f->now_ms += DAY_MS;
    assert_true(purge_all(f) >= 1);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM idem"), 0);
    assert_int_equal(fixture_get(f, submit.id).state, JOB_DISPATCHED);
}

/* ---- space ---- */

static void space_is_given_back_when_much_is_free(void **state)
{
    struct fixture *f = *state;
    static uint8_t result[JM_RESULT_BYTES - 16];
    struct stat before, after;

    for (unsigned i = 0; i < 40; i++) {
        uint64_t id = submit_now(f, i);
        struct store_event event = fixture_event_of(WIRE_SUCCEEDED, id, 1);

        event.event.result = span_of(result, sizeof(result));
        assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
    }
    assert_int_equal(store_checkpoint(f->store, true), 0);
    assert_int_equal(stat(f->path, &before), 0);
    f->now_ms += DAY_MS;
    (void)purge_all(f);
    for (int i = 0; i < 120; i++)
        (void)purge(f, 100);
    assert_int_equal(store_checkpoint(f->store, true), 0);
    assert_int_equal(stat(f->path, &after), 0);
    assert_true(before.st_size > 40 << 20);
    assert_in_range(after.st_size, 1, 18 << 20); /* what is left is used again soon */
    fixture_check_counts(f);
}

#define PURGE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PURGE_TEST(an_end_is_kept_for_its_time_to_the_millisecond),
        PURGE_TEST(no_index_row_is_written_for_an_end_that_is_kept_by_default),
        PURGE_TEST(a_queue_has_its_own_times_also_after_a_restart),
        PURGE_TEST(a_job_that_ran_for_long_keeps_nobody),
        PURGE_TEST(a_job_that_ends_behind_the_walk_gets_a_time_of_its_own),
        PURGE_TEST(the_walk_goes_on_after_a_restart),
        PURGE_TEST(a_step_is_bounded_and_says_that_there_is_more),
        PURGE_TEST(large_values_end_a_step_early),
        PURGE_TEST(a_purge_that_finds_nothing_due_writes_nothing),
        PURGE_TEST(it_says_when_to_come_again),
        PURGE_TEST(an_end_from_a_clock_that_was_ahead_holds_nobody_up),
        PURGE_TEST(all_that_belongs_to_a_job_goes_and_its_key_has_its_own_time),
        PURGE_TEST(the_key_of_a_live_job_goes_and_the_job_stays),
        PURGE_TEST(space_is_given_back_when_much_is_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
