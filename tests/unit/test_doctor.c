/*
 * The doctor: each kind of finding is planted by SQL, found, mended, and is then gone; a healthy
 * database is healthy, and a repair loses no job unseen.
 */
#include "tests/unit/damage_fixture.h"

#include <dirent.h>

#include "broker/doctor.h"

/* Its report, as it is printed. */
static char report[1 << 16];

static int doctor(struct fixture *f, bool is_repair)
{
    struct doctor_conf conf = {.db = f->path, .is_repair = is_repair};
    char name[400];
    int saved = dup(STDOUT_FILENO), fd, exit;
    ssize_t n;

    damage_name(f, ".report", name);
    fflush(stdout);
    fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && saved >= 0);
    assert_true(dup2(fd, STDOUT_FILENO) >= 0);
    exit = doctor_run(&conf);
    fflush(stdout);
    assert_true(dup2(saved, STDOUT_FILENO) >= 0);
    n = pread(fd, report, sizeof(report) - 1, 0);
    assert_true(n >= 0);
    report[n] = '\0';
    close(fd);
    close(saved);
    (void)unlink(name);
    return exit;
}

/* Returns how many copies of files there were. */
static int remove_backups(const struct fixture *f)
{
    DIR *dir = opendir(f->dir);
    struct dirent *entry;
    char name[600];
    int count = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        if (strstr(entry->d_name, ".before-") != NULL) {
            snprintf(name, sizeof(name), "%s/%s", f->dir, entry->d_name);
            assert_int_equal(unlink(name), 0);
            count++;
        }
    closedir(dir);
    return count;
}

enum { LARGE_BYTES = 3000 };

static void submit(struct fixture *f, uint64_t id, const char *queue, enum job_state state)
{
    static const uint8_t tags[] = {0x92, 0xa3, 'r', 'e', 'd', 0xa1, 't'};
    static uint8_t args[LARGE_BYTES] = {0xc5, (LARGE_BYTES - 3) >> 8, (LARGE_BYTES - 3) & 0xff};
    struct store_submit op = fixture_submit_of(id, queue, state);

    op.spec.args = span_of(args, sizeof(args));
    if (id % 2 == 0)
        op.spec.tags = span_of(tags, sizeof(tags));
    if (id == 4) {
        op.key = span_of_str("a-key");
        op.unique = (struct store_unique){.how = UNIQUE_UNFINISHED, .digest = {7}};
    }
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
}

/* Jobs 1 to 20 in every state, with a history. */
static void live(struct fixture *f)
{
    struct store_reserve_ids ids = {.high_water = 1000};
    struct store_set_conf conf = {.name = span_of_str("q"), .record = span_of("\x81\x00\x01", 3)};

    assert_int_equal(fixture_run(f, &ids.op, STORE_RESERVE_IDS), 0);
    assert_int_equal(fixture_run(f, &conf.op, STORE_SET_CONF), 0);
    for (uint64_t id = 1; id <= 20; id++)
        submit(f, id, id % 3 == 0 ? "p" : "q",
               id % 4 == 0   ? JOB_QUEUED
               : id % 4 == 1 ? JOB_SCHEDULED
                             : JOB_DISPATCHED);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 2, 1), STORE_APPLIED);
    assert_int_equal(fixture_happen(f, WIRE_FAILED, 3, 1), STORE_APPLIED);
    assert_int_equal(fixture_happen(f, WIRE_RUNNING, 6, 1), STORE_APPLIED);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 10, 1), STORE_APPLIED);
    assert_int_equal(store_sync(f->store), 0);
}

static int setup(void **state)
{
    struct fixture *f = fixture_new();

    f->now_ms = clock_wall_ms(clock_real());
    fixture_open(f);
    live(f);
    fixture_close(f);
    damage_save(f, false);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    (void)remove_backups(*state);
    damage_forget(*state);
    return fixture_teardown(state);
}

static void a_healthy_database_is_healthy_and_left_alone(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(doctor(f, i == 1), DOCTOR_HEALTHY);
        assert_non_null(strstr(report, "is healthy"));
        assert_int_equal(remove_backups(f), 0);
    }
    fixture_open(f);
    fixture_check_counts(f);
}

static void it_does_not_run_beside_a_broker(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    assert_int_equal(doctor(f, true), DOCTOR_CANNOT_RUN);
}

/* Of the jobs that are planted upon, what becomes of them. */
static const struct {
    const char *code;
    const char *sql;
    const char *expect; /* a query that gives 1 behind the repair */
} plants[] = {
    {"two_fates", "INSERT INTO ends SELECT 1, 10, 1, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0, NULL, NULL",
     "SELECT count(*) FROM ends WHERE id = 1 AND state = 10"},
    {"no_request", "DELETE FROM jobs WHERE id = 4",
     "SELECT count(*) FROM ends e JOIN jobs j USING (id) WHERE id = 4 AND e.state = 11 AND j.queue"
     " = 'q' AND hex(e.error) LIKE '%6C6F7374%'"},
    {"no_request_of_end", "DELETE FROM jobs WHERE id = 2",
     "SELECT count(*) FROM ends e JOIN jobs j USING (id) WHERE id = 2 AND e.state = 10 AND j.queue"
     " = 'lost'"},
    {"no_fate", "DELETE FROM live WHERE id = 7",
     "SELECT count(*) FROM ends WHERE id = 7 AND state = 11"},
    {"no_fate", "DELETE FROM ends WHERE id = 2",
     "SELECT count(*) FROM ends WHERE id = 2 AND state = 11"},
    {"state", "UPDATE live SET state = 77 WHERE id = 5",
     "SELECT count(*) FROM live WHERE id = 5 AND state = 2 AND attempt = 2"},
    {"end_state", "UPDATE ends SET state = 99 WHERE id = 10",
     "SELECT count(*) FROM ends WHERE id = 10 AND state = 11"},
    {"names", "UPDATE jobs SET queue = x'' || 'a b' WHERE id = 8",
     "SELECT count(*) FROM ends WHERE id = 8 AND state = 11"},
    {"numbers", "UPDATE jobs SET priority = 12, timeout_ms = -4 WHERE id = 2",
     "SELECT count(*) FROM jobs WHERE id = 2 AND priority = 9 AND timeout_ms = 1"},
    {"live_numbers", "UPDATE live SET failures = -1, due_ms = 1 << 61 WHERE id = 1",
     "SELECT count(*) FROM live WHERE id = 1 AND failures = 0 AND due_ms < 1 << 50"},
    {"options", "UPDATE jobs SET options = x'c1' WHERE id = 1",
     "SELECT count(*) FROM jobs WHERE id = 1 AND options IS NULL"},
    {"args", "UPDATE jobs SET args = x'92' WHERE id = 12",
     "SELECT count(*) FROM ends WHERE id = 12 AND state = 11"},
    {"results", "UPDATE ends SET result = x'92' WHERE id = 2",
     "SELECT count(*) FROM ends WHERE id = 2 AND state = 10 AND result IS NULL"},
    {"attempts", "INSERT INTO attempts VALUES (500, 1, 'failed', 0, 0, 0, 0, NULL)",
     "SELECT count(*) = 0 FROM attempts WHERE id = 500"},
    {"attempt", "INSERT INTO attempts VALUES (1, 6, 'failed', 0, 0, 0, 0, NULL)",
     "SELECT count(*) FROM live WHERE id = 1 AND attempt = 7"},
    {"lanes_twice",
     "INSERT INTO lanes (queue, task, priority, limit_key) SELECT queue, task,"
     " priority, limit_key FROM lanes",
     "SELECT count(*) = 2 FROM lanes"},
    {"lanes", "DELETE FROM lanes WHERE queue = 'p'", "SELECT count(*) = 2 FROM lanes"},
    {"lanes", "UPDATE live SET lane = (SELECT lane FROM lanes WHERE queue = 'p') WHERE id = 1",
     "SELECT a.queue = 'q' FROM live l JOIN lanes a USING (lane) WHERE id = 1"},
    {"tag_arrays", "UPDATE jobs SET tags = x'9301' WHERE id = 8",
     "SELECT tags IS NULL FROM jobs WHERE id = 8"},
    {"tags", "DELETE FROM tags WHERE id = 8 AND tag = 'red'",
     "SELECT count(*) = 2 FROM tags WHERE id = 8"},
    {"tags", "INSERT INTO tags VALUES ('green', 700)", "SELECT count(*) = 20 FROM tags"},
    {"tags", "UPDATE tags SET tag = 'rfd' WHERE id = 8 AND tag = 'red'",
     "SELECT count(*) FROM tags WHERE id = 8 AND tag = 'red'"},
    {"idempotency", "UPDATE idem SET fingerprint = x'00'", "SELECT count(*) = 0 FROM idem"},
    {"uniques", "UPDATE uniques SET how = 9", "SELECT count(*) = 0 FROM uniques"},
    {"uniques", "UPDATE uniques SET id = 999", "SELECT count(*) = 0 FROM uniques"},
    {"rates", "INSERT INTO rates VALUES ('q', '', 1 << 62)", "SELECT count(*) = 0 FROM rates"},
    {"settings", "UPDATE queue_confs SET conf = x'c1'", "SELECT count(*) = 0 FROM queue_confs"},
    {"ids", "UPDATE meta SET value = 3 WHERE name = 'id_high_water'",
     "SELECT value > 20 FROM meta WHERE name = 'id_high_water'"},
    {"ids", "UPDATE meta SET value = value | 1 << 62 WHERE name = 'id_high_water'",
     "SELECT value BETWEEN 20 AND 1 << 61 FROM meta WHERE name = 'id_high_water'"},
    {"numbers_kept", "INSERT INTO meta VALUES ('last_taken', -7)",
     "SELECT count(*) = 0 FROM meta WHERE name = 'last_taken'"},
    {"purge", "UPDATE ends SET purge_at_ms = -1 WHERE id = 2",
     "SELECT purge_at_ms = 0 FROM ends WHERE id = 2"},
    {"counts", "UPDATE counts SET failed = failed + 3 WHERE queue = 'q'",
     "SELECT failed = 0 FROM counts WHERE queue = 'q'"},
    {"counts", "DELETE FROM counts", "SELECT count(*) = 2 FROM counts"},
    {"schema", "DROP INDEX live_backlog",
     "SELECT count(*) FROM sqlite_schema WHERE name = 'live_backlog'"},
    {"schema", "DROP TABLE rates", "SELECT count(*) FROM sqlite_schema WHERE name = 'rates'"},
    {"head", "PRAGMA application_id = 7",
     "SELECT application_id = 1246579020 FROM pragma_application_id"},
    {"version", "PRAGMA user_version = 1", "SELECT user_version = 2 FROM pragma_user_version"},
};

static void every_finding_is_found_mended_and_gone(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < JM_COUNT_OF(plants); i++) {
        char words[80];

        damage_exec(f, plants[i].sql);
        snprintf(words, sizeof(words), "FOUND   %s: ", plants[i].code);
        if (doctor(f, false) != DOCTOR_FINDINGS || strstr(report, words) == NULL)
            fail_msg("%s: %s", plants[i].code, report);
        assert_int_equal(remove_backups(f), 0);
        if (doctor(f, true) != DOCTOR_HEALTHY)
            fail_msg("%s is not mended: %s", plants[i].code, report);
        assert_true(remove_backups(f) >= 1);
        if (fixture_ask(f, plants[i].expect) != 1)
            fail_msg("behind the repair not: %s (%s)", plants[i].expect, report);
        if (doctor(f, false) != DOCTOR_HEALTHY)
            fail_msg("%s is not gone: %s", plants[i].code, report);
        fixture_open(f);
        fixture_check_counts(f);
        assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 20);
        fixture_close(f);
        damage_save(f, true);
    }
}

static void an_index_that_lacks_a_row_is_made_anew(void **state)
{
    struct fixture *f = *state;

    damage_exec(f, "PRAGMA writable_schema = ON;"
                   "UPDATE sqlite_schema SET sql = replace(sql, '= 2', '= 9')"
                   " WHERE name = 'live_backlog'");
    damage_exec(f, "UPDATE live SET due_ms = due_ms + 1 WHERE id = 8");
    damage_exec(f, "PRAGMA writable_schema = ON;"
                   "UPDATE sqlite_schema SET sql = replace(sql, '= 9', '= 2')"
                   " WHERE name = 'live_backlog'");
    assert_int_equal(doctor(f, false), DOCTOR_FINDINGS);
    assert_non_null(strstr(report, "FOUND   index: "));
    assert_int_equal(doctor(f, true), DOCTOR_HEALTHY);
    assert_int_equal(doctor(f, false), DOCTOR_HEALTHY);
    fixture_open(f);
    fixture_check_counts(f);
}

static void jobs_that_left_no_name_are_counted(void **state)
{
    struct fixture *f = *state;

    damage_exec(f,
                "DELETE FROM jobs WHERE id IN (5, 9, 13); DELETE FROM live WHERE id IN (5, 9, 13)");
    assert_int_equal(doctor(f, false), DOCTOR_FINDINGS);
    assert_non_null(strstr(report, "FOUND   unnamed: 3 jobs were counted of which nothing is left "
                                   "that names them; their queues: q (2), p (1).\n"));
    assert_int_equal(doctor(f, true), DOCTOR_HEALTHY);
    assert_non_null(strstr(report, "mended  unnamed: "));
    assert_non_null(
        strstr(report, "lost    3 jobs besides, of which not even the id can be read\n"));
    assert_int_equal(doctor(f, false), DOCTOR_HEALTHY);
    fixture_open(f);
    fixture_check_counts(f);
}

/* ---- a salvage ---- */

/* The leaf of `jobs` in which a job is, by the text of its row. */
static int64_t page_of(struct fixture *f, const char *sql)
{
    return fixture_ask(f, sql);
}

static void damage_page(struct fixture *f, int64_t page)
{
    char name[400];
    uint8_t noise[4096];
    int fd;

    memset(noise, 0xa5, sizeof(noise));
    damage_name(f, "", name);
    fd = open(name, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, noise, sizeof(noise), (page - 1) * 4096), sizeof(noise));
    close(fd);
}

static void a_damaged_page_costs_only_what_was_on_it(void **state)
{
    struct fixture *f = *state;
    int64_t ids;

    /* The root of `live`, with all its rows: everything that waits or runs. */
    damage_page(f, page_of(f, "SELECT rootpage FROM sqlite_schema WHERE name = 'live'"));
    damage_refused(f, "is damaged");
    assert_int_equal(doctor(f, false), DOCTOR_FINDINGS);
    assert_non_null(strstr(report, "FOUND   pages: "));
    if (doctor(f, true) != DOCTOR_HEALTHY)
        fail_msg("%s", report);
    assert_non_null(strstr(report, "of 18 jobs something could not be read: "));
    assert_true(remove_backups(f) >= 1);
    assert_int_equal(doctor(f, false), DOCTOR_HEALTHY);
    fixture_open(f);
    fixture_check_counts(f);
    ids = fixture_ask(f, "SELECT count(*) FROM jobs");
    assert_int_equal(ids, 20);
    assert_int_equal(fixture_get(f, 2).state, JOB_SUCCEEDED);
    assert_int_equal(fixture_get(f, 8).state, JOB_FAILED);
    submit(f, 30, "q", JOB_QUEUED);
}

/* Byte 18 of the head says how the file is written: SQLite reads a file that says 3, and no
 * more. */
static void a_head_of_an_unknown_format_is_no_lack_of_permission(void **state)
{
    struct fixture *f = *state;

    damage_flip(f, "", 18, 1);
    damage_refused(f, "is damaged");
    assert_int_equal(doctor(f, false), DOCTOR_FINDINGS);
    assert_non_null(strstr(report, "FOUND   pages: SQLite does not write to it"));
    assert_int_equal(doctor(f, true), DOCTOR_HEALTHY);
    assert_int_equal(doctor(f, false), DOCTOR_HEALTHY);
    fixture_open(f);
    fixture_check_counts(f);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 20);
}

static void without_the_counts_nobody_knows_who_is_gone(void **state)
{
    struct fixture *f = *state;

    damage_exec(f, "DELETE FROM jobs WHERE id = 5; DELETE FROM live WHERE id = 5");
    damage_page(f, page_of(f, "SELECT rootpage FROM sqlite_schema WHERE name = 'counts'"));
    assert_int_equal(doctor(f, true), DOCTOR_HEALTHY);
    assert_null(strstr(report, "unnamed"));
    assert_non_null(strstr(report, "Whether jobs are gone without a name cannot be told"));
    fixture_open(f);
    fixture_check_counts(f);
}

/* SQLite opens it no more; the doctor does, and what it calls mended is. */
static void a_cut_database_is_salvaged(void **state)
{
    struct fixture *f = *state;

    damage_cut(f, "", damage_size(f, "") - 3 * 4096);
    damage_refused(f, "is damaged");
    assert_int_equal(doctor(f, false), DOCTOR_FINDINGS);
    assert_int_equal(doctor(f, true), DOCTOR_HEALTHY);
    assert_int_equal(doctor(f, false), DOCTOR_HEALTHY);
    fixture_open(f);
    fixture_check_counts(f);
}

static void requests_on_a_damaged_page_are_told_one_by_one(void **state)
{
    struct fixture *f = *state;
    int64_t size = damage_size(f, "") / 4096, with_loss = 0, impossible = 0;

    /* Whichever page of the file it is. */
    for (int64_t page = 2; page <= size; page++) {
        int exit;

        damage_page(f, page);
        exit = doctor(f, true);
        if (exit == DOCTOR_HEALTHY) {
            fixture_open(f);
            fixture_check_counts(f);
            if (fixture_ask(f, "SELECT count(*) FROM jobs") != 20)
                fail_msg("page %d: %s", (int)page, report);
            with_loss += strstr(report, "something could not be read") != NULL;
            fixture_close(f);
        } else if (exit == DOCTOR_CANNOT_RUN) {
            impossible++; /* it tells which tables there are */
            damage_refused(f, "is damaged");
        } else {
            fail_msg("page %d of %d: %d, %s", (int)page, (int)size, exit, report);
        }
        (void)remove_backups(f);
        damage_save(f, true);
    }
    assert_true(with_loss > 5);
    assert_in_range(impossible, 0, 3);
}

static void set_repairing(const struct fixture *f)
{
    char lock[400];
    int fd;

    damage_name(f, ".lock", lock);
    fd = open(lock, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "repairing", 9, 16), 9);
    close(fd);
}

static void a_repair_that_was_interrupted_is_ended(void **state)
{
    struct fixture *f = *state;
    char salvaged[400];

    damage_name(f, ".salvaged", salvaged);
    damage_copy(f->path, salvaged);
    damage_cut(f, "", 4096);
    set_repairing(f);
    damage_refused(f, "A repair of ");
    assert_int_equal(doctor(f, false), DOCTOR_FINDINGS);
    assert_int_equal(doctor(f, true), DOCTOR_HEALTHY);
    fixture_open(f);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 20);
}

/* The new database is in its place, but the mark does not say so yet. */
static void a_repair_that_died_before_its_last_word_is_ended(void **state)
{
    struct fixture *f = *state;

    set_repairing(f);
    damage_refused(f, "A repair of ");
    assert_int_equal(doctor(f, true), DOCTOR_HEALTHY);
    fixture_open(f);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 20);
}

static void live_and_stay(struct fixture *f)
{
    f->now_ms = clock_wall_ms(clock_real());
    fixture_open(f);
    for (uint64_t id = 101; id <= 106; id++) {
        submit(f, id, "q", JOB_QUEUED);
        assert_int_equal(store_sync(f->store), 0);
    }
}

static void a_damaged_log_is_given_up_only_on_order(void **state)
{
    struct fixture *f = *state;
    char wal[400];

    damage_live(f, live_and_stay);
    damage_save(f, false);
    damage_flip(f, "-wal", damage_size(f, "-wal") - 5000, 1);
    for (int i = 0; i < 2; i++) { /* looking is no repair */
        assert_int_equal(doctor(f, false), DOCTOR_FINDINGS);
        assert_non_null(strstr(report, "FOUND   files: "));
        damage_refused(f, "log of the newest commits");
    }
    assert_int_equal(doctor(f, true), DOCTOR_HEALTHY);
    assert_true(remove_backups(f) >= 2); /* with the log */
    fixture_open(f);
    fixture_check_counts(f);
    assert_in_range(fixture_ask(f, "SELECT count(*) FROM jobs"), 20, 25);
    fixture_close(f);
    damage_save(f, true);
    damage_name(f, "-wal", wal);
    assert_int_equal(unlink(wal), 0);
    assert_int_equal(doctor(f, false), DOCTOR_FINDINGS);
    assert_int_equal(doctor(f, true), DOCTOR_HEALTHY);
    fixture_open(f);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 20);
}

static void what_is_none_of_its_business_it_leaves(void **state)
{
    struct fixture *f = *state;

    damage_exec(f, "PRAGMA user_version = 12");
    assert_int_equal(doctor(f, true), DOCTOR_CANNOT_RUN);
    damage_save(f, true);
    damage_exec(f, "DROP TABLE jobs; DROP TABLE live; DROP TABLE ends");
    assert_int_equal(doctor(f, true), DOCTOR_CANNOT_RUN);
    damage_cut(f, "", 100);
    assert_int_equal(doctor(f, true), DOCTOR_CANNOT_RUN);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(doctor(f, true), DOCTOR_CANNOT_RUN);
    assert_int_equal(remove_backups(f), 0);
}

#define DOCTOR_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOCTOR_TEST(a_healthy_database_is_healthy_and_left_alone),
        DOCTOR_TEST(it_does_not_run_beside_a_broker),
        DOCTOR_TEST(every_finding_is_found_mended_and_gone),
        DOCTOR_TEST(an_index_that_lacks_a_row_is_made_anew),
        DOCTOR_TEST(jobs_that_left_no_name_are_counted),
        DOCTOR_TEST(without_the_counts_nobody_knows_who_is_gone),
        DOCTOR_TEST(a_head_of_an_unknown_format_is_no_lack_of_permission),
        DOCTOR_TEST(a_damaged_page_costs_only_what_was_on_it),
        DOCTOR_TEST(a_cut_database_is_salvaged),
        DOCTOR_TEST(requests_on_a_damaged_page_are_told_one_by_one),
        DOCTOR_TEST(a_repair_that_was_interrupted_is_ended),
        DOCTOR_TEST(a_repair_that_died_before_its_last_word_is_ended),
        DOCTOR_TEST(a_damaged_log_is_given_up_only_on_order),
        DOCTOR_TEST(what_is_none_of_its_business_it_leaves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
