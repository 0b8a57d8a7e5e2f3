/*
 * The store on a disk that fails: at every single change of a file in turn, at the fsync of the log
 * or of the database, and when there is no room left. Whatever fails, what was acknowledged (run
 * and synced without an error) is there at the next start, and nothing contradicts itself.
 */
#include "tests/unit/store_fixture.h"

#include <sys/stat.h>

#include "tests/unit/fault_vfs.h"

static int setup(void **state)
{
    struct fixture *f = fixture_new();

    fault_plan_clear();
    f->vfs = "fault";
    fixture_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fault_plan_clear();
    return fixture_teardown(state);
}

/* One page more than a row has room for: each further one is two more changes that can fail. */
static int submit_big(struct fixture *f, uint64_t id)
{
    static uint8_t args[5000] = {0xc5, 0x13, 0x85}; /* bin of what follows */
    struct store_submit op = fixture_submit_of(id, "q", JOB_DISPATCHED);

    op.spec.args = span_of(args, sizeof(args));
    return fixture_run(f, &op.op, STORE_SUBMIT);
}

static int succeed(struct fixture *f, uint64_t id)
{
    struct store_event event = fixture_event_of(WIRE_SUCCEEDED, id, 1);
    struct store_apply op = {.events = &event, .event_count = 1};

    return fixture_run(f, &op.op, STORE_APPLY);
}

/* ---- one fault anywhere ---- */

enum { TORTURE_JOBS = 3 };

struct ledger {
    bool is_submitted[TORTURE_JOBS + 1]; /* acknowledged */
    bool is_ended[TORTURE_JOBS + 1];
    bool is_retried; /* job 1 */
    bool is_changed; /* job 1, to priority 9 */
    bool is_expired; /* job 1 */
    bool is_over;    /* a final error */
};

/* One operation and its sync: whether it may be acknowledged. */
static bool acknowledge(struct fixture *f, struct ledger *ledger, int status)
{
    if (status == JM_EFULL)
        return false; /* refused; the store goes on */
    if (status != 0 || store_sync(f->store) != 0) {
        ledger->is_over = true;
        return false;
    }
    return true;
}

static void checkpoint(struct fixture *f, struct ledger *ledger, bool wait)
{
    int rc = store_checkpoint(f->store, wait);

    assert_true(rc == 0 || rc == JM_EFULL || rc == JM_ESTORE);
    ledger->is_over = rc == JM_ESTORE;
}

static int change(struct fixture *f, uint64_t id)
{
    static const uint8_t tags[] = {0x91, 0xa1, 'c'};
    struct store_change op = {.id = id,
                              .what = CHANGE_PRIORITY | CHANGE_TAGS | CHANGE_EXPIRES,
                              .spec = {.priority = 9,
                                       .tags = span_of(tags, sizeof(tags)),
                                       .expires_at_ms = f->now_ms + 1}};

    return fixture_run(f, &op.op, STORE_CHANGE);
}

static int expire(struct fixture *f)
{
    uint64_t ids[4], out[4];
    struct store_expire op = {
        .now_ms = f->now_ms + 1, .max_jobs = 4, .max_out = 4, .ret_ids = ids, .ret_out_ids = out};

    return fixture_run(f, &op.op, STORE_EXPIRE);
}

static int purge(struct fixture *f)
{
    struct store_purge op = {.now_ms = f->now_ms + 24 * 3600 * 1000, .max_rows = 100};

    return fixture_run(f, &op.op, STORE_PURGE);
}

static int bulk(struct fixture *f, enum store_bulk_verb verb)
{
    struct store_bulk_item items[] = {{.id = 1}, {.id = 2}, {.id = 3}};
    struct store_bulk op = {.verb = verb, .items = items, .count = JM_COUNT_OF(items)};

    return fixture_run(f, &op.op, STORE_BULK);
}

/* The rest of job 1's life; then many at once, and the purge of everything. */
static void live_on(struct fixture *f, struct ledger *ledger)
{
    struct store_retry retry = {.id = 1};

    if (ledger->is_over || !ledger->is_ended[1])
        return;
    ledger->is_retried = acknowledge(f, ledger, fixture_run(f, &retry.op, STORE_RETRY));
    if (ledger->is_retried)
        ledger->is_changed = acknowledge(f, ledger, change(f, 1));
    if (ledger->is_changed)
        ledger->is_expired = acknowledge(f, ledger, expire(f));
}

static void end_all(struct fixture *f, struct ledger *ledger)
{
    static const enum store_bulk_verb verbs[] = {BULK_RETRY, BULK_CANCEL, BULK_DELETE};

    for (size_t i = 0; i < JM_COUNT_OF(verbs) && !ledger->is_over; i++)
        (void)acknowledge(f, ledger, bulk(f, verbs[i]));
    if (!ledger->is_over)
        (void)acknowledge(f, ledger, purge(f));
    memset(ledger->is_submitted, 0, sizeof(ledger->is_submitted)); /* what is gone is gone */
    memset(ledger->is_ended, 0, sizeof(ledger->is_ended));
    ledger->is_retried = ledger->is_changed = ledger->is_expired = false;
}

static void live_through(struct fixture *f, struct ledger *ledger, bool to_the_end)
{
    for (uint64_t id = 1; id <= TORTURE_JOBS && !ledger->is_over; id++) {
        ledger->is_submitted[id] = acknowledge(f, ledger, submit_big(f, id));
        if (!ledger->is_over)
            checkpoint(f, ledger, id % 2 == 0);
        if (!ledger->is_over && ledger->is_submitted[id])
            ledger->is_ended[id] = acknowledge(f, ledger, succeed(f, id));
    }
    live_on(f, ledger);
    if (to_the_end && !ledger->is_over)
        end_all(f, ledger);
    if (ledger->is_over) {
        assert_int_equal(submit_big(f, 1000), JM_ESTORE);
        assert_int_equal(store_sync(f->store), JM_ESTORE);
        assert_int_equal(store_checkpoint(f->store, true), JM_ESTORE);
        assert_true(strlen(store_last_error(f->store)) > 0);
    }
}

static void check_ledger(struct fixture *f, const struct ledger *ledger)
{
    for (uint64_t id = 1; id <= TORTURE_JOBS; id++) {
        struct job_view job;
        int rc = reader_get(fixture_reader(f), id, true, &job);

        assert_true(rc == 0 || rc == JM_ENOJOB);
        if (ledger->is_submitted[id])
            assert_int_equal(rc, 0);
        if (ledger->is_ended[id] && id > 1)
            assert_int_equal(job.state, JOB_SUCCEEDED);
    }
    if (ledger->is_changed)
        assert_int_equal(fixture_get(f, 1).spec.priority, 9);
    if (ledger->is_retried)
        assert_int_equal(fixture_get(f, 1).attempt, 2);
    if (ledger->is_expired)
        assert_int_equal(fixture_get(f, 1).state, JOB_EXPIRED);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM tags WHERE id NOT IN"
                                    " (SELECT id FROM jobs)"),
                     0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM attempts WHERE id NOT IN"
                                    " (SELECT id FROM jobs)"),
                     0);
    fixture_check_counts(f);
}

/* Returns whether the fault was reached: if not, there are no more changes to fail. */
static bool torture(int fail_at, int code, bool to_the_end)
{
    struct fixture *f = fixture_new();
    struct ledger ledger = {.is_over = false};
    char sentence[256] = "";
    bool is_hit;
    int rc;

    fault_plan_clear();
    fault_plan.skips_syncs = true;
    fault_plan.code = code;
    fault_plan.fail_at = fail_at;
    f->vfs = "fault";
    rc = fixture_try_open(f, sentence);
    if (rc == 0)
        live_through(f, &ledger, to_the_end);
    else
        assert_true(sentence[0] != '\0');
    is_hit = fault_plan.is_hit;
    fault_plan_clear();
    fault_plan.skips_syncs = true;
    fixture_close(f);
    fixture_open(f);
    check_ledger(f, &ledger);
    assert_int_equal(submit_big(f, 1001), 0);
    fixture_free(f);
    return is_hit;
}

static void any_one_failed_change_loses_nothing_acknowledged(void **state)
{
    static const int codes[] = {SQLITE_IOERR_WRITE, SQLITE_FULL};
    int n = 0;

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(codes); i++) {
        for (n = 1; torture(n, codes[i], n % 2 == 0); n++)
            ;
        print_message("%d changes can fail\n", n - 1);
        assert_in_range(n, 50, 2000);
    }
}

/* ---- fsync ---- */

static void a_failed_sync_of_the_log_is_final(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(submit_big(f, 1), 0);
    assert_int_equal(store_sync(f->store), 0);
    fault_plan.fail_syncs_of = FAULT_LOG;
    assert_int_equal(submit_big(f, 2), 0);
    assert_int_equal(store_sync(f->store), JM_ESTORE);
    fault_plan.fail_syncs_of = 0; /* the kernel reports a lost page only once */
    assert_int_equal(store_sync(f->store), JM_ESTORE);
    assert_int_equal(submit_big(f, 3), JM_ESTORE);
    assert_non_null(strstr(store_last_error(f->store), "sync"));
    assert_int_equal(fixture_get(f, 1).state, JOB_DISPATCHED); /* reads go on */
}

static void a_failed_sync_of_the_database_shows_at_the_checkpoint(void **state)
{
    for (int wait = 0; wait < 2; wait++) {
        struct fixture *f = *state;

        assert_int_equal(submit_big(f, 1), 0);
        fault_plan.fail_syncs_of = FAULT_DATABASE;
        assert_int_equal(store_checkpoint(f->store, wait == 1), JM_ESTORE);
        fault_plan.fail_syncs_of = 0;
        assert_int_equal(store_checkpoint(f->store, true), JM_ESTORE);
        assert_int_equal(submit_big(f, 2), JM_ESTORE);
        assert_int_equal(teardown(state) + setup(state), 0);
    }
}

static void a_sync_reaches_the_disk_each_time(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(submit_big(f, 99), 0); /* syncs the head of a log that starts anew */
    for (uint64_t id = 1; id <= 10; id++) {
        int before = fault_plan.syncs;

        assert_int_equal(submit_big(f, id), 0);
        assert_int_equal(fault_plan.syncs, before); /* a commit alone syncs nothing */
        assert_int_equal(store_sync(f->store), 0);
        assert_int_equal(fault_plan.syncs, before + 1);
    }
}

/* ---- no room ---- */

static void a_full_disk_refuses_the_whole_batch_and_reads_go_on(void **state)
{
    struct fixture *f = *state;
    struct store_submit ops[50];
    struct list list;

    assert_int_equal(submit_big(f, 1), 0);
    fault_plan.full_files = FAULT_LOG;
    list_init(&list);
    for (size_t i = 0; i < JM_COUNT_OF(ops); i++) {
        ops[i] = fixture_submit_of(100 + i, "other", JOB_QUEUED);
        list_push_back(&list, &ops[i].op.link);
    }
    assert_int_equal(store_run(f->store, &list), JM_EFULL);
    for (size_t i = 0; i < JM_COUNT_OF(ops); i++)
        assert_int_equal(ops[i].op.status, JM_EFULL);
    assert_int_equal(fixture_get(f, 1).state, JOB_DISPATCHED);
    fixture_check_counts(f);
    fault_plan.full_files = 0;
    assert_int_equal(store_run(f->store, &list), 0);
    for (size_t i = 0; i < JM_COUNT_OF(ops); i++)
        assert_int_equal(ops[i].op.status, 0);
    assert_int_equal(store_sync(f->store), 0);
    assert_int_equal(fixture_ask(f, "SELECT queued FROM counts WHERE queue = 'other'"), 50);
    fixture_check_counts(f);
}

static void a_full_disk_refuses_every_operation_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct store_retry retry = {.id = 1};
    struct store_set_conf conf = {.name = span_of_str("q"), .record = span_of("\x81\x00\x01", 3)};
    int64_t day_ms = 24 * 3600 * 1000;

    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(submit_big(f, id), 0);
    assert_int_equal(succeed(f, 1), 0);
    fixture_submit(f, 4, "q", JOB_QUEUED);
    assert_int_equal(change(f, 4), 0);
    fault_plan.full_files = FAULT_LOG;
    for (int round = 0; round < 2; round++) {
        int expected = round == 0 ? JM_EFULL : 0;

        assert_int_equal(change(f, 4), expected);
        assert_int_equal(expire(f), expected);
        assert_int_equal(fixture_run(f, &retry.op, STORE_RETRY), expected);
        assert_int_equal(bulk(f, BULK_CANCEL), expected);
        assert_int_equal(fixture_run(f, &conf.op, STORE_SET_CONF), expected);
        f->now_ms += round * day_ms;
        assert_int_equal(purge(f), expected);
        assert_int_equal(fixture_ask(f, "SELECT count(*) FROM ends"), 1 - round);
        assert_int_equal(fixture_ask(f, "SELECT count(*) FROM live"), 3 - 3 * round);
        fixture_check_counts(f);
        fault_plan.full_files = 0;
    }
}

static void a_checkpoint_without_room_is_tried_again(void **state)
{
    struct fixture *f = *state;

    for (uint64_t id = 1; id <= 10; id++)
        assert_int_equal(submit_big(f, id), 0);
    fault_plan.full_files = FAULT_DATABASE;
    assert_int_equal(store_checkpoint(f->store, false), JM_EFULL);
    assert_int_equal(store_checkpoint(f->store, true), JM_EFULL);
    assert_int_equal(submit_big(f, 11), 0);
    fault_plan.full_files = 0;
    assert_int_equal(store_checkpoint(f->store, false), 0);
    assert_int_equal(store_checkpoint(f->store, true), 0);
    fixture_check_counts(f);
}

/* ---- no permission ---- */

static void a_directory_that_refuses_writes_is_told_in_a_sentence(void **state)
{
    struct fixture *f = *state;
    char sentence[256];
    char lock[400];
    uid_t user = geteuid();

    fixture_close(f);
    snprintf(lock, sizeof(lock), "%s.lock", f->path);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(chmod(f->dir, 0555), 0);
    if (user == 0)
        assert_int_equal(seteuid(65534), 0); /* root may write anywhere */
    assert_int_equal(fixture_try_open(f, sentence), JM_EIO);
    if (user == 0)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(f->dir, 0755), 0);
    assert_non_null(strstr(sentence, f->path));
    assert_non_null(strstr(sentence, "ermission denied"));
}

#define FAULT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_one_failed_change_loses_nothing_acknowledged),
        FAULT_TEST(a_failed_sync_of_the_log_is_final),
        FAULT_TEST(a_failed_sync_of_the_database_shows_at_the_checkpoint),
        FAULT_TEST(a_sync_reaches_the_disk_each_time),
        FAULT_TEST(a_full_disk_refuses_the_whole_batch_and_reads_go_on),
        FAULT_TEST(a_full_disk_refuses_every_operation_and_changes_nothing),
        FAULT_TEST(a_checkpoint_without_room_is_tried_again),
        FAULT_TEST(a_directory_that_refuses_writes_is_told_in_a_sentence),
    };

    if (fault_vfs_register() != SQLITE_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
