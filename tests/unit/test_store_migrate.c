/*
 * A database of an older version is brought to the present schema with everything that is in it.
 */
#include "tests/unit/damage_fixture.h"

#include "schema/migrations.h"
#include "tests/unit/fault_vfs.h"

enum { LARGE = 300000 };

static const char version_1_rows[] =
    "INSERT INTO jobs (id, queue, task, priority, max_attempts, timeout_ms, grace_ms, tags, args)"
    " VALUES (1, 'a', 'fib', 5, 3, 1000, 50, NULL, x'01'),"
    "        (2, 'a', 'fib', 5, 3, 1000, 50, NULL, x'02'),"
    "        (3, 'a', 'fib', 9, 3, 1000, 50, x'94a174d9027575da000176a174', x'03'),"
    "        (4, 'b', 'echo', 5, 3, 1000, 50, x'dc0001d928"
    "78787878787878787878787878787878787878787878787878787878787878787878787878787878', x'04'),"
    "        (5, 'b', 'echo', 5, 7, 1000, 50, NULL, x'05'),"
    "        (6, 'b', 'echo', 5, 3, 1000, 50, NULL, x'06'),"
    "        (7, 'a', 'fib', 5, 3, 1000, 50, NULL, x'07'),"
    "        (8, 'b', 'echo', 5, 3, 1000, 50, NULL, x'08'),"
    "        (9, 'a', 'fib', 5, 3, 1000, 50, NULL, x'09');"
    "INSERT INTO live (id, queue, state, priority, due_ms, attempt, max_attempts, failures, "
    "crashes,"
    "                  deaths, lost_from, host, begun_at_ms)"
    " VALUES (1, 'a', 1, 5, 1700000005000, 2, 3, 1, 0, 0, 0, 0, 0),"
    "        (2, 'a', 2, 5, 1700000000000, 1, 3, 0, 0, 0, 0, 0, 0),"
    "        (3, 'a', 2, 9, 1700000000001, 1, 3, 0, 0, 0, 0, 0, 0),"
    "        (4, 'b', 3, 5, 1700000000002, 3, 3, 0, 1, 1, 2, 0, 0),"
    "        (5, 'b', 4, 5, 1700000000003, 1, 7, 0, 0, 0, 0, -77, 1700000000100);"
    "INSERT INTO ends (id, state, attempt, failures, crashes, deaths, due_ms, host, begun_at_ms,"
    "                  finished_at_ms, run_us, error, result)"
    " VALUES (6, 10, 1, 0, 0, 0, 1, 77, 2, 1700000000000, 4, NULL, zeroblob(300000)),"
    "        (7, 11, 3, 3, 0, 0, 1, 77, 2, 1700000000000, 4, x'80', NULL),"
    "        (8, 10, 1, 0, 0, 0, 1, 77, 2, 1700000000000, 4, NULL, x'2a'),"
    "        (9, 12, 2, 0, 0, 0, 1, 0, 0, 1700000000000, 0, NULL, NULL);"
    "INSERT INTO attempts (id, attempt, outcome, host, begun_at_ms, ended_at_ms, run_us, error)"
    " VALUES (1, 1, 'failed', 77, 1, 2, 3, x'80'), (4, 1, 'crashed', 77, 1, 2, 3, x'80'),"
    "        (4, 2, 'lost', 0, 0, 2, 0, x'80'), (7, 1, 'failed', 77, 1, 2, 3, x'80'),"
    "        (7, 2, 'failed', 77, 1, 2, 3, x'80'), (8, 1, 'lost', 0, 0, 2, 0, x'80'),"
    "        (8, 2, 'lost', 0, 0, 2, 0, x'80'), (9, 1, 'handed_back', 77, 1, 2, 3, NULL);"
    "INSERT INTO idem (key, fingerprint, id, created_at_ms)"
    " VALUES ('key', zeroblob(32), 9, 1700000000000);"
    "INSERT INTO counts VALUES ('a', 1, 2, 0, 0, 0, 1, 1, 0), ('b', 0, 0, 1, 1, 2, 0, 0, 0);"
    "INSERT INTO tasks VALUES ('fib', 'builtin', 'Computes.', 5);"
    "INSERT INTO meta VALUES ('last_taken', 12), ('id_high_water', 345);"
    "PRAGMA user_version = 1";

static struct fixture *make_version_1(void)
{
    struct fixture *f = fixture_new();
    sqlite3 *db = NULL;
    size_t count;

    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, migrations_all(&count)[0].sql, NULL, NULL, NULL), SQLITE_OK);
    if (sqlite3_exec(db, version_1_rows, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    sqlite3_close(db);
    return f;
}

static int setup_version_1(void **state)
{
    struct fixture *f = make_version_1();

    fixture_open(f);
    *state = f;
    return 0;
}

static void check_jobs(struct fixture *f)
{
    static const struct {
        enum job_state state;
        uint32_t attempt;
        uint32_t failures;
        int64_t due_ms;
    } rows[] = {
        {JOB_SCHEDULED, 2, 1, 1700000005000},
        {JOB_QUEUED, 1, 0, 1700000000000},
        {JOB_QUEUED, 1, 0, 1700000000001},
        {JOB_DISPATCHED, 3, 0, 1700000000002},
        {JOB_RUNNING, 1, 0, 1700000000003},
        {JOB_SUCCEEDED, 1, 0, 1},
        {JOB_FAILED, 3, 3, 1},
        {JOB_SUCCEEDED, 1, 0, 1},
        {JOB_CANCELLED, 2, 0, 1},
    };

    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        struct job_view job = fixture_get(f, i + 1);

        assert_int_equal(job.state, rows[i].state);
        assert_int_equal(job.attempt, rows[i].attempt);
        assert_int_equal(job.failures, rows[i].failures);
        assert_int_equal(job.due_ms, rows[i].due_ms);
        assert_int_equal(job.spec.args.len, 1);
        assert_int_equal(job.spec.args.data[0], i + 1);
        assert_int_equal(job.spec.timeout_ms, 1000);
        assert_int_equal(job.spec.grace_ms, 50);
    }
    assert_int_equal(fixture_get(f, 6).result.len, LARGE);
    assert_int_equal(fixture_get(f, 3).spec.tags.len, 13);
    assert_int_equal(fixture_get(f, 3).spec.priority, 9);
    assert_int_equal(fixture_get(f, 5).begun_at_ms, 1700000000100);
    assert_true(fixture_get(f, 5).host == (uint64_t)-77);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM attempts"), 8);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM tags WHERE tag IN ('t', 'uu', 'v')"
                                    " AND id = 3"),
                     3);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM tags WHERE id = 4 AND"
                                    " length(tag) = 40"),
                     1);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM tags"), 4);
    fixture_check_counts(f);
}

static void every_job_is_there_as_it_was(void **state)
{
    check_jobs(*state);
}

static void what_a_start_needs_is_there(void **state)
{
    struct fixture *f = *state;
    struct reader_start start;
    size_t newest;

    (void)migrations_all(&newest);
    assert_int_equal(fixture_ask(f, "PRAGMA user_version"), newest);
    assert_int_equal(reader_start(fixture_reader(f), &start), 0);
    assert_int_equal(start.next_due_ms, 1700000005000);
    assert_int_equal(start.last_taken, 12);
    assert_int_equal(start.id_high_water, 345);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM pragma_integrity_check"
                                    " WHERE integrity_check = 'ok'"),
                     1);
}

static void its_jobs_live_on(void **state)
{
    struct fixture *f = *state;
    struct store_retry retry = {.id = 8};
    struct store_due due = {.now_ms = 1700000005000, .max_jobs = 10};
    struct store_submit submit = fixture_submit_of(10, "a", JOB_QUEUED);
    uint32_t attempt;

    assert_int_equal(fixture_take(f, "a", &attempt), 3); /* priority 9 */
    assert_int_equal(fixture_take(f, "a", &attempt), 2);
    assert_int_equal(fixture_take(f, "a", &attempt), 0);
    assert_int_equal(fixture_run(f, &due.op, STORE_DUE), 0);
    assert_int_equal(fixture_take(f, "a", &attempt), 1);
    assert_int_equal(attempt, 2);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 4, 2), STORE_APPLIED); /* lost, and came */
    assert_int_equal(fixture_happen(f, WIRE_FAILED, 5, 1), STORE_APPLIED);
    assert_int_equal(fixture_run(f, &retry.op, STORE_RETRY), 0);
    assert_int_equal(retry.ret_attempt, 4); /* 2 was lost too, and 3 was on its way */
    submit.key = span_of_str("key");
    assert_int_equal(fixture_run(f, &submit.op, STORE_SUBMIT), 0);
    assert_true(submit.ret_is_repeat);
    assert_int_equal(submit.ret_existing_id, 9);
    fixture_check_counts(f);
}

static void its_ends_are_kept_as_long_as_new_ones(void **state)
{
    struct fixture *f = *state;
    static const int64_t day_ms = 24 * 3600 * 1000;
    static const struct {
        int64_t age_ms;
        size_t left;
    } rows[] = {{1, 4}, {day_ms, 1}, {7 * day_ms - 1, 1}, {7 * day_ms, 0}};

    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        struct store_purge op = {.now_ms = f->now_ms + rows[i].age_ms, .max_rows = 100};

        for (int step = 0; step < 3; step++)
            assert_int_equal(fixture_run(f, &op.op, STORE_PURGE), 0);
        assert_int_equal(fixture_ask(f, "SELECT count(*) FROM ends"), rows[i].left);
    }
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 5);
    fixture_check_counts(f);
}

static void a_second_start_finds_nothing_to_do(void **state)
{
    struct fixture *f = *state;
    int64_t tables = fixture_ask(f, "SELECT count(*) FROM sqlite_schema");

    fixture_close(f);
    fixture_open(f);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM sqlite_schema"), tables);
    assert_int_equal(fixture_get(f, 6).result.len, LARGE);
    fixture_check_counts(f);
}

/* The same tables and indexes, column by column, whichever way it came. */
static void it_is_the_schema_of_a_new_database(void **state)
{
    struct fixture *f = *state, *fresh = fixture_new();
    char sql[1000];

    fixture_open(fresh);
    snprintf(sql, sizeof(sql), "ATTACH '%s' AS fresh", fresh->path);
    for (int i = 0; i < 2; i++) {
        sqlite3 *db = NULL;
        sqlite3_stmt *stmt = NULL;
        const char *from = i == 0 ? "main" : "fresh", *to = i == 0 ? "fresh" : "main";
        char ask[400];

        assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
        snprintf(ask, sizeof(ask),
                 "SELECT count(*) FROM (SELECT name, sql FROM %s.sqlite_schema EXCEPT"
                 " SELECT name, sql FROM %s.sqlite_schema)",
                 from, to);
        assert_int_equal(sqlite3_prepare_v2(db, ask, -1, &stmt, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        assert_int_equal(sqlite3_column_int(stmt, 0), 0);
        sqlite3_finalize(stmt);
        sqlite3_close(db);
    }
    fixture_free(fresh);
}

/* ---- a start that dies while it migrates ---- */

/* What a power cut leaves of a file is what was last synced. */
static void keep_synced(const char *path)
{
    char kept[420];

    snprintf(kept, sizeof(kept), "%s.kept", path);
    damage_copy(path, kept);
}

static int die_at;
static bool is_power_cut;

static void migrate_and_die(struct fixture *f)
{
    f->vfs = "fault";
    fault_plan.die_at = die_at;
    fault_plan.on_synced = is_power_cut ? keep_synced : NULL;
    fixture_open(f);
}

/* Returns whether it died before the end, with the database at `ret_version` then. */
static int die_once(int at, bool has_power_cut)
{
    struct fixture *f = make_version_1();
    int version;

    die_at = at;
    is_power_cut = has_power_cut;
    damage_save(f, false); /* what is there is on disk */
    damage_live(f, migrate_and_die);
    if (is_power_cut)
        damage_save(f, true);
    damage_forget(f);
    version = (int)fixture_ask(f, "PRAGMA user_version");
    if (version == 1) /* not a trace of the step */
        assert_int_equal(fixture_ask(f, "SELECT count(*) FROM sqlite_schema WHERE name = 'lanes'"
                                        " OR name LIKE 'new_%'"),
                         0);
    fixture_open(f);
    check_jobs(f);
    fixture_free(f);
    return version;
}

/* Every change of a file at the beginning, some on the way (they are all alike: a frame of the
 * log), and beyond the commit. */
static void die_everywhere(bool has_power_cut)
{
    int before = 0, deaths = 0, behind = 0;

    for (int at = 1; behind < 6; at += at < 12 ? 1 : 17) {
        int version = die_once(at, has_power_cut);

        deaths++;
        before += version == 1;
        behind += version != 1;
    }
    print_message("%d deaths, %d of them before the commit\n", deaths, before);
    assert_in_range(before, 12, 200);
}

static void a_start_that_dies_in_it_leaves_the_old_or_the_new(void **state)
{
    die_everywhere(false);
    (void)state;
}

static void a_power_cut_in_it_leaves_the_old_or_the_new(void **state)
{
    die_everywhere(true);
    (void)state;
}

#define MIGRATE_TEST(name) cmocka_unit_test_setup_teardown(name, setup_version_1, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MIGRATE_TEST(every_job_is_there_as_it_was),
        MIGRATE_TEST(what_a_start_needs_is_there),
        MIGRATE_TEST(its_jobs_live_on),
        MIGRATE_TEST(its_ends_are_kept_as_long_as_new_ones),
        MIGRATE_TEST(a_second_start_finds_nothing_to_do),
        MIGRATE_TEST(it_is_the_schema_of_a_new_database),
        cmocka_unit_test(a_start_that_dies_in_it_leaves_the_old_or_the_new),
        cmocka_unit_test(a_power_cut_in_it_leaves_the_old_or_the_new),
    };

    if (fault_vfs_register() != SQLITE_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
