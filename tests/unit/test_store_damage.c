/*
 * A start on files that are damaged, cut, missing or somebody else's: it is refused in a sentence,
 * and whatever is not refused has every job that was acknowledged.
 */
#include "tests/unit/damage_fixture.h"

#include <errno.h>
#include <sys/syscall.h>

#include "broker/store_check.h"
#include "schema/errors.h"

enum { JOBS = 6, WAL_HEAD = 32, WAL_FRAME = 24 + 4096 };

static void submit_and_sync(struct fixture *f, uint64_t id)
{
    fixture_submit(f, id, "q", id % 2 == 0 ? JOB_QUEUED : JOB_DISPATCHED);
    assert_int_equal(store_sync(f->store), 0);
}

/* All that is acknowledged is in the log alone. */
static void live(struct fixture *f)
{
    fixture_open(f);
    for (uint64_t id = 1; id <= JOBS; id++)
        submit_and_sync(f, id);
}

/* The index as it is now comes back once the process is dead. */
static void keep_index(struct fixture *f)
{
    char shm[400], early[420];

    damage_name(f, "-shm", shm);
    snprintf(early, sizeof(early), "%s.early", shm);
    damage_copy(shm, early);
}

static void put_index_back(struct fixture *f)
{
    char shm[400], early[420];

    damage_name(f, "-shm", shm);
    snprintf(early, sizeof(early), "%s.early", shm);
    damage_copy(early, shm);
    assert_int_equal(unlink(early), 0);
}

static int setup(void **state)
{
    struct fixture *f = fixture_new();

    damage_live(f, live);
    damage_save(f, false);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    damage_forget(*state);
    return fixture_teardown(state);
}

/* Puts the undamaged files back; with them everything is there. */
static void check_whole(struct fixture *f)
{
    damage_save(f, true);
    fixture_open(f);
    for (uint64_t id = 1; id <= JOBS; id++)
        assert_int_equal(fixture_get(f, id).state, id % 2 == 0 ? JOB_QUEUED : JOB_DISPATCHED);
    fixture_check_counts(f);
    fixture_close(f);
    damage_save(f, true);
}

/* The lock file as if the machine had been down since. */
static void reboot(struct fixture *f)
{
    damage_flip(f, ".lock", 40, 1);
}

/* ---- the log ---- */

static void a_missing_log_is_refused_after_an_unclean_end_only(void **state)
{
    struct fixture *f = *state;
    char wal[400], shm[400];

    damage_name(f, "-wal", wal);
    damage_name(f, "-shm", shm);
    assert_int_equal(unlink(wal), 0);
    damage_refused(f, "is missing");
    assert_int_equal(unlink(shm), 0);
    damage_refused(f, "is missing");
    check_whole(f);
    fixture_open(f);
    fixture_close(f);
    assert_int_equal(unlink(wal), 0); /* the end was in order: nothing was in it */
    fixture_open(f);
    assert_int_equal(fixture_get(f, JOBS).state, JOB_QUEUED);
}

/* As the sqlite3 shell does: the last one that closes the database moves the log and removes it. */
static void look_with_sqlite(struct fixture *f)
{
    char wal[400];
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "SELECT count(*) FROM jobs", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    damage_name(f, "-wal", wal);
    assert_int_equal(access(wal, F_OK), -1);
}

static void a_log_that_another_program_has_moved_is_not_missed(void **state)
{
    struct fixture *f = *state;
    struct store_mark mark = {.state = STORE_MARK_SERVING, .is_same_boot = true};
    char kept[400], sentence[256];

    look_with_sqlite(f);
    assert_int_equal(store_check_files(f->path, &mark, sentence), 0);
    mark.is_same_boot = false;
    assert_int_equal(store_check_files(f->path, &mark, sentence), JM_ECORRUPT);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM live"), JOBS);
    assert_int_equal(damage_size(f, "-wal"), 0); /* as the doctor leaves it */
    fixture_open(f);
    for (uint64_t id = 1; id <= JOBS; id++)
        assert_int_equal(fixture_get(f, id).state, id % 2 == 0 ? JOB_QUEUED : JOB_DISPATCHED);
    fixture_close(f);
    damage_name(f, "-kept", kept);
    assert_int_equal(access(kept, F_OK), -1);
    damage_save(f, true); /* nobody knows, with a copy of the index */
    look_with_sqlite(f);
    damage_refused(f, "`jobmill doctor --db FILE --repair` loses nothing");
}

/* What SQLite moves of it ends where the damage begins. */
static void a_damaged_log_that_another_program_has_moved_is_missed(void **state)
{
    struct fixture *f = *state;

    damage_flip(f, "-wal", damage_size(f, "-wal") - 100, 1);
    damage_refused(f, "is cut or damaged");
    look_with_sqlite(f);
    damage_refused(f, "is missing");
}

static void live_and_move_some(struct fixture *f)
{
    live(f);
    assert_int_equal(store_checkpoint(f->store, false), 0);
    submit_and_sync(f, JOBS + 1);
}

static void a_log_of_which_only_some_was_moved_is_missed(void **state)
{
    struct fixture *f = fixture_new();
    char name[400];

    damage_live(f, live_and_move_some);
    damage_name(f, "-wal", name);
    assert_int_equal(unlink(name), 0);
    damage_refused(f, "is missing");
    damage_name(f, "-shm", name);
    assert_int_equal(unlink(name), 0);
    damage_refused(f, "is missing");
    fixture_free(f);
    (void)state;
}

enum { MARK_BYTES = 80 }; /* nothing else is that long */

static bool has_no_room; /* for a mark */

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    if (has_no_room && len == MARK_BYTES) {
        errno = ENOSPC;
        return -1;
    }
    return (ssize_t)syscall(SYS_pwrite64, fd, bytes, len, offset);
}

/* On a file system that never writes in place: the old mark would stay, and not be true. */
static void a_mark_that_finds_no_room_is_refused_and_left(void **state)
{
    struct fixture *f = *state;

    has_no_room = true;
    damage_refused(f, "There is no room left on the disk");
    assert_true(damage_size(f, "-wal") > 0);
    has_no_room = false;
    fixture_open(f);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM live"), JOBS);
    has_no_room = true; /* the log is not moved, for that could not be said */
    fixture_close(f);
    has_no_room = false;
    assert_true(damage_size(f, "-wal") > 0);
    check_whole(f);
}

static void a_log_that_was_cut_is_refused(void **state)
{
    struct fixture *f = *state;
    off_t size = damage_size(f, "-wal");
    off_t sizes[] = {0, 31, WAL_HEAD, WAL_HEAD + WAL_FRAME, size - WAL_FRAME, size - 1};

    assert_true(size > WAL_HEAD + 4 * WAL_FRAME);
    for (size_t i = 0; i < JM_COUNT_OF(sizes); i++) {
        damage_cut(f, "-wal", sizes[i]);
        damage_refused(f, i < 2 ? "damaged in its head" : "is cut or damaged");
        damage_save(f, true);
    }
    check_whole(f);
}

/* Each byte of it is under a checksum. */
static void any_flipped_byte_of_the_log_is_refused(void **state)
{
    struct fixture *f = *state;
    off_t size = damage_size(f, "-wal");
    unsigned seed = 5;

    for (int i = 0; i < 150; i++) {
        off_t at = i < 60 ? i : (off_t)((unsigned)rand_r(&seed) % (unsigned)size);

        damage_flip(f, "-wal", at, (uint8_t)(1 << i % 8));
        damage_refused(f, "jobs.db-wal, the log of the newest commits, is ");
        damage_flip(f, "-wal", at, (uint8_t)(1 << i % 8));
    }
    check_whole(f);
}

static void live_twenty(struct fixture *f)
{
    fixture_open(f);
    for (uint64_t id = 1; id <= 20; id++)
        submit_and_sync(f, id);
}

/* Without its index the end of the log is not known, but what is intact behind a damage is. */
static void a_damage_in_the_middle_shows_without_the_index(void **state)
{
    struct fixture *f = *state;
    char shm[400];

    damage_forget(f);
    fixture_free(f);
    f = fixture_new();
    damage_live(f, live_twenty);
    damage_name(f, "-shm", shm);
    assert_int_equal(unlink(shm), 0);
    damage_flip(f, "-wal", WAL_HEAD + WAL_FRAME + 100, 1);
    damage_refused(f, "is damaged at byte 4152, before 20 commits");
    *state = f;
}

static void live_and_begin_logs(struct fixture *f)
{
    live(f);
    keep_index(f);
    for (uint64_t id = JOBS + 1; id <= JOBS + 3; id++) {
        assert_int_equal(store_checkpoint(f->store, true), 0);
        submit_and_sync(f, id);
    }
}

/* As in a snapshot of a volume that is restored without a boot between: the kernel writes the index
 * now and then, the log is synced. */
static void an_index_of_an_earlier_log_is_no_damage(void **state)
{
    struct fixture *f = fixture_new();

    damage_live(f, live_and_begin_logs);
    put_index_back(f);
    fixture_open(f);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM live"), JOBS + 3);
    fixture_free(f);
    (void)state;
}

static void live_and_submit_large(struct fixture *f)
{
    static uint8_t args[20000] = {0xc5, 0x4e, 0x1d}; /* bin of what follows */
    struct store_submit op = fixture_submit_of(JOBS + 1, "q", JOB_QUEUED);

    live(f);
    keep_index(f);
    op.spec.args = span_of(args, sizeof(args));
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
}

/* All frames of the batch were written, but the index had no room to grow; a smaller batch has then
 * overwritten the first of them. */
static void what_a_refused_batch_has_left_is_no_damage(void **state)
{
    struct fixture *f = fixture_new();
    char shm[400];
    off_t first;

    damage_live(f, live);
    first = damage_size(f, "-wal");
    fixture_free(f);
    f = fixture_new();
    damage_live(f, live_and_submit_large);
    assert_true(damage_size(f, "-wal") > first + 4 * WAL_FRAME);
    put_index_back(f);
    damage_flip(f, "-wal", first + 100, 1);
    damage_save(f, false);
    damage_name(f, "-shm", shm);
    for (int i = 0; i < 2; i++) {
        fixture_open(f);
        for (uint64_t id = 1; id <= JOBS; id++)
            assert_int_equal(fixture_get(f, id).state, id % 2 == 0 ? JOB_QUEUED : JOB_DISPATCHED);
        assert_int_equal(fixture_ask(f, "SELECT count(*) FROM live"), JOBS);
        fixture_close(f);
        damage_save(f, true);
        assert_int_equal(unlink(shm), 0); /* and then without the index */
    }
    damage_forget(f);
    fixture_free(f);
    (void)state;
}

static void a_log_of_another_database_is_refused(void **state)
{
    struct fixture *f = *state, *other = fixture_new();
    char from[400], to[400];

    damage_live(other, live);
    damage_name(other, "-wal", from);
    damage_name(f, "-wal", to);
    damage_copy(from, to);
    damage_refused(f, "is not the one that the broker wrote");
    fixture_free(other);
    check_whole(f);
}

static void live_long(struct fixture *f)
{
    fixture_open(f);
    for (uint64_t id = 1; id < 1200; id++)
        fixture_submit(f, id, "q", JOB_QUEUED);
    submit_and_sync(f, 1200);
}

/* What nobody waited for may be torn by a power cut; so many commits cannot. */
static void a_torn_end_is_no_damage_and_a_torn_beginning_is(void **state)
{
    struct fixture *f = *state;

    reboot(f);
    damage_flip(f, "-wal", damage_size(f, "-wal") - 100, 1);
    fixture_open(f);
    assert_int_equal(fixture_get(f, JOBS - 1).state, JOB_DISPATCHED);
    damage_forget(f);
    fixture_free(f);
    f = fixture_new();
    damage_live(f, live_long);
    damage_save(f, false);
    reboot(f);
    damage_flip(f, "-wal", WAL_HEAD + WAL_FRAME + 100, 1);
    damage_refused(f, "is damaged at byte 4152, before 1200 commits");
    damage_save(f, true);
    damage_cut(f, "-wal", 0);
    reboot(f);
    damage_refused(f, "damaged in its head");
    *state = f;
}

/* ---- the database ---- */

static void a_database_that_is_gone_or_empty_is_refused(void **state)
{
    struct fixture *f = *state;
    char lock[400];

    assert_int_equal(unlink(f->path), 0);
    damage_refused(f, "is gone, but a broker has kept jobs there");
    damage_save(f, true);
    damage_cut(f, "", 0);
    damage_refused(f, "is empty, but a broker has kept jobs there");
    check_whole(f);
    fixture_open(f);
    fixture_close(f);
    damage_cut(f, "", 0);
    damage_refused(f, "is empty, but a broker has kept jobs there");
    assert_int_equal(unlink(f->path), 0);
    damage_refused(f, "is gone, but a broker has kept jobs there");
    damage_name(f, ".lock", lock); /* as the sentence says */
    assert_int_equal(unlink(lock), 0);
    fixture_open(f);
}

static void an_empty_file_is_a_new_database(void **state)
{
    struct fixture *f = fixture_new();
    int fd = open(f->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    close(fd);
    fixture_open(f);
    submit_and_sync(f, 1);
    fixture_free(f);
    (void)state;
}

static void what_is_no_database_is_refused_and_left_alone(void **state)
{
    static const char text[] = "Dear diary,\nthis is no database at all, but it is longer than 16.";
    struct fixture *f = fixture_new();
    char back[sizeof(text)] = "";
    int fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
    damage_refused(f, "is no SQLite database");
    assert_int_equal(pread(fd, back, sizeof(back), 0), sizeof(back));
    assert_string_equal(back, text);
    close(fd);
    fixture_free(f);
    (void)state;
}

static void a_cut_database_is_refused(void **state)
{
    struct fixture *f = *state;
    off_t size;

    fixture_open(f);
    fixture_close(f);
    damage_save(f, false);
    size = damage_size(f, "");
    for (off_t left = 4096; left < size; left += 5 * 4096) {
        damage_cut(f, "", left);
        damage_refused(f, "is damaged");
        damage_save(f, true);
    }
    check_whole(f);
}

static const struct {
    const char *sql;
    const char *words;
} plants[] = {
    {"PRAGMA application_id = 7", "is a database of another program"},
    {"PRAGMA user_version = 99", "has schema 99, and this broker"},
    {"PRAGMA user_version = 1", "is damaged (of schema 1, but with "},
    {"PRAGMA user_version = 0", "has tables, but no version"},
    {"DROP INDEX live_backlog", "of schema 2, but without live_backlog"},
    {"DROP TABLE tags", "of schema 2, but without tags"},
    {"DELETE FROM live WHERE id = 3", "its jobs are not as many as it counted"},
    {"UPDATE counts SET queued = queued + 1", "its jobs are not as many as it counted"},
    {"UPDATE live SET state = 9 WHERE id = 2", "a job in no state"},
    {"UPDATE live SET lane = 77 WHERE id = 2", "a job without a lane"},
    {"INSERT INTO queue_confs VALUES ('q', x'c1')", "is damaged"},
    {"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'state = 2',"
     " 'state = 1') WHERE name = 'live_backlog'",
     "its tables are not those of its schema"},
};

static void what_contradicts_itself_is_refused(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    fixture_close(f);
    damage_save(f, false);
    for (size_t i = 0; i < JM_COUNT_OF(plants); i++) {
        damage_exec(f, plants[i].sql);
        damage_refused(f, plants[i].words);
        damage_save(f, true);
    }
    check_whole(f);
}

/* A row that is in the table and not in its index, as a lost write leaves it. */
static void an_index_without_a_row_is_refused(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    fixture_close(f);
    damage_exec(f, "PRAGMA writable_schema = ON;"
                   "CREATE TABLE aside AS SELECT sql FROM sqlite_schema WHERE name = 'live_out';"
                   "UPDATE sqlite_schema SET sql = replace(sql, '3, 4', '4, 5')"
                   " WHERE name = 'live_out'");
    damage_exec(f,
                "UPDATE live SET state = 2 WHERE id = 1; UPDATE live SET state = 3 WHERE id = 1");
    damage_exec(f, "DELETE FROM live WHERE id = 5");
    damage_exec(f, "PRAGMA writable_schema = ON;"
                   "UPDATE sqlite_schema SET sql = (SELECT sql FROM aside) WHERE name = 'live_out';"
                   "DROP TABLE aside");
    damage_exec(f, "UPDATE counts SET dispatched = dispatched - 1");
    damage_refused(f, "is damaged");
    damage_save(f, true);
}

/* Byte for byte through a small database: refused, or everything is as it was but for the byte. */
static void flipped_bytes_of_the_database_lose_no_job_unseen(void **state)
{
    struct fixture *f = *state;
    unsigned seed = 17;
    size_t refused = 0;
    off_t size;

    fixture_open(f);
    fixture_close(f);
    damage_save(f, false);
    size = damage_size(f, "");
    for (int i = 0; i < 200; i++) {
        off_t at = i < 100 ? i : (off_t)((unsigned)rand_r(&seed) % (unsigned)size);
        char sentence[256] = "";

        damage_flip(f, "", at, (uint8_t)(1 << rand_r(&seed) % 8));
        if (fixture_try_open(f, sentence) == 0) {
            assert_int_equal(fixture_ask(f, "SELECT count(*) FROM live"), JOBS);
            assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), JOBS);
        } else {
            assert_non_null(strstr(sentence, f->path));
            refused++;
        }
        fixture_close(f);
        damage_save(f, true);
    }
    print_message("%zu of 200 were refused\n", refused);
    assert_true(refused > 50);
    check_whole(f);
}

#define DAMAGE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DAMAGE_TEST(a_missing_log_is_refused_after_an_unclean_end_only),
        DAMAGE_TEST(a_log_that_another_program_has_moved_is_not_missed),
        DAMAGE_TEST(a_damaged_log_that_another_program_has_moved_is_missed),
        cmocka_unit_test(a_log_of_which_only_some_was_moved_is_missed),
        DAMAGE_TEST(a_mark_that_finds_no_room_is_refused_and_left),
        DAMAGE_TEST(a_log_that_was_cut_is_refused),
        DAMAGE_TEST(any_flipped_byte_of_the_log_is_refused),
        DAMAGE_TEST(a_damage_in_the_middle_shows_without_the_index),
        cmocka_unit_test(an_index_of_an_earlier_log_is_no_damage),
        cmocka_unit_test(what_a_refused_batch_has_left_is_no_damage),
        DAMAGE_TEST(a_log_of_another_database_is_refused),
        DAMAGE_TEST(a_torn_end_is_no_damage_and_a_torn_beginning_is),
        DAMAGE_TEST(a_database_that_is_gone_or_empty_is_refused),
        cmocka_unit_test(an_empty_file_is_a_new_database),
        cmocka_unit_test(what_is_no_database_is_refused_and_left_alone),
        DAMAGE_TEST(a_cut_database_is_refused),
        DAMAGE_TEST(what_contradicts_itself_is_refused),
        DAMAGE_TEST(an_index_without_a_row_is_refused),
        DAMAGE_TEST(flipped_bytes_of_the_database_lose_no_job_unseen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
