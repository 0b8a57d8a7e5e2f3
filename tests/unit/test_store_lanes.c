/*
 * The store's lanes: their counts over batches that are committed or refused, their rows, and that
 * those without jobs go.
 */
#include "tests/unit/store_fixture.h"

#include "broker/store_inside.h"

static struct store_lanes *lanes_of(struct fixture *f)
{
    return &f->store->lanes;
}

static struct store_submit keyed(uint64_t id, const char *key, uint32_t priority)
{
    struct store_submit op = fixture_submit_of(id, "q", JOB_QUEUED);

    op.spec.limit_key = span_of_str(key);
    op.spec.priority = priority;
    return op;
}

static void submit_keyed(struct fixture *f, uint64_t id, const char *key, uint32_t priority)
{
    struct store_submit op = keyed(id, key, priority);

    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
}

static void cancel(struct fixture *f, uint64_t id)
{
    struct store_cancel op = {.id = id};

    assert_int_equal(fixture_run(f, &op.op, STORE_CANCEL), 0);
}

/* What the store says has changed, as "key/priority:queued " for each lane. */
struct told {
    char text[256];
};

static void on_lane(void *owner, const struct store_lane_view *lane)
{
    struct told *told = owner;
    size_t len = strlen(told->text);

    snprintf(told->text + len, sizeof(told->text) - len, "%.*s/%u:%u ", (int)lane->limit_key.len,
             (const char *)lane->limit_key.data, lane->priority, (unsigned)lane->queued);
}

static void assert_told(struct fixture *f, const char *expected)
{
    struct told told = {.text = ""};

    store_changed_lanes(f->store, &told, on_lane);
    assert_string_equal(told.text, expected);
}

static void each_kind_of_job_has_its_lane_and_the_changes_are_told(void **state)
{
    struct fixture *f = *state;
    uint32_t attempt;

    submit_keyed(f, 1, "a", 5);
    assert_told(f, "a/5:1 ");
    submit_keyed(f, 2, "a", 5);
    assert_told(f, "a/5:2 ");
    submit_keyed(f, 3, "a", 7);
    assert_told(f, "a/7:1 ");
    submit_keyed(f, 4, "", 5);
    assert_told(f, "/5:1 ");
    assert_int_equal(fixture_take(f, "q", &attempt), 3);
    assert_told(f, "a/7:0 ");
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 3, 1), STORE_APPLIED);
    assert_told(f, ""); /* it was not in the backlog any more */
    cancel(f, 1);
    assert_told(f, "a/5:1 ");
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM lanes"), 3);
}

/* The database may not grow any more, so that a large job is refused, with its whole batch. */
static void refuse(struct fixture *f, uint64_t id, const char *key)
{
    static uint8_t args[400 << 10];
    struct store_submit small = keyed(id, key, 5), large = keyed(id + 1, "large", 5);
    struct list ops;

    assert_int_equal(sqlite3_exec(f->store->db, "PRAGMA max_page_count = 1", NULL, NULL, NULL), 0);
    large.spec.args = span_of(args, sizeof(args));
    list_init(&ops);
    small.op.kind = large.op.kind = STORE_SUBMIT;
    list_push_back(&ops, &small.op.link);
    list_push_back(&ops, &large.op.link);
    assert_int_equal(store_run(f->store, &ops), JM_EFULL);
    list_remove(&small.op.link);
    list_remove(&large.op.link);
    assert_int_equal(
        sqlite3_exec(f->store->db, "PRAGMA max_page_count = 1000000", NULL, NULL, NULL), 0);
}

static void a_refused_batch_leaves_no_lane_and_no_count(void **state)
{
    struct fixture *f = *state;
    struct store_lane *lane;

    submit_keyed(f, 1, "a", 5);
    assert_int_equal(lanes_of(f)->by_name.len, 1);
    lane = LIST_ENTRY(lanes_of(f)->all.next, struct store_lane, in_all);
    refuse(f, 10, "never");
    assert_int_equal(lanes_of(f)->by_name.len, 1);
    assert_int_equal(lanes_of(f)->by_number.len, 1);
    refuse(f, 10, "a");
    assert_int_equal(lane->live, 1);
    assert_int_equal(lane->queued, 1);
    assert_int_equal(lane->live_delta, 0);
    assert_told(f, "");
    submit_keyed(f, 12, "never", 5); /* its row is written now */
    assert_told(f, "never/5:1 ");
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM lanes"), 2);
    fixture_check_counts(f);
}

static void purge(struct fixture *f)
{
    struct store_purge op = {.now_ms = f->now_ms, .max_rows = 1000};

    assert_int_equal(fixture_run(f, &op.op, STORE_PURGE), 0);
}

static void a_lane_without_jobs_goes_after_a_while_and_comes_back(void **state)
{
    struct fixture *f = *state;

    submit_keyed(f, 1, "a", 5);
    submit_keyed(f, 2, "b", 5);
    cancel(f, 1);
    purge(f);
    assert_int_equal(lanes_of(f)->by_name.len, 2);
    f->now_ms += 61 * 1000;
    purge(f);
    assert_int_equal(lanes_of(f)->by_name.len, 1);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM lanes"), 1);
    submit_keyed(f, 3, "a", 5);
    assert_told(f, "a/5:1 ");
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM lanes"), 2);
}

static void a_start_finds_the_lanes_as_they_were(void **state)
{
    struct fixture *f = *state;
    struct store_lane *lane;
    uint32_t attempt;

    for (uint64_t id = 1; id <= 6; id++)
        submit_keyed(f, id, id <= 3 ? "a" : "b", 5);
    assert_int_equal(fixture_take(f, "q", &attempt), 1);
    for (uint64_t id = 4; id <= 6; id++)
        cancel(f, id);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(lanes_of(f)->by_name.len, 2);
    f->now_ms += 61 * 1000;
    purge(f);
    assert_int_equal(lanes_of(f)->by_name.len, 1); /* b's has no jobs */
    lane = LIST_ENTRY(lanes_of(f)->all.next, struct store_lane, in_all);
    assert_int_equal(lane->live, 3);
    assert_int_equal(lane->queued, 2);
    submit_keyed(f, 7, "c", 5);
    assert_true(LIST_ENTRY(lanes_of(f)->all.prev, struct store_lane, in_all)->number >
                lane->number);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_kind_of_job_has_its_lane_and_the_changes_are_told,
                                        fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_refused_batch_leaves_no_lane_and_no_count, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_lane_without_jobs_goes_after_a_while_and_comes_back,
                                        fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_start_finds_the_lanes_as_they_were, fixture_setup,
                                        fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
