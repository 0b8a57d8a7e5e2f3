/*
 * The store's operations but for events (test_store_apply.c), its opening, and what a crash leaves.
 */
#include "lib/hash.h"
#include "tests/unit/store_fixture.h"

#include <sys/stat.h>

#include "schema/migrations.h"

/* ---- opening ---- */

static void a_new_store_is_empty_and_of_the_newest_schema(void **state)
{
    struct fixture *f = *state;
    size_t newest;
    struct reader_start start;

    (void)migrations_all(&newest);
    assert_int_equal(fixture_ask(f, "PRAGMA user_version"), newest);
    assert_int_equal(fixture_ask(f, "PRAGMA application_id"), 0x4a4d494c);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 0);
    assert_int_equal(reader_start(fixture_reader(f), &start), 0);
    assert_int_equal(start.next_due_ms, -1);
    assert_int_equal(start.last_taken, 0);
    assert_int_equal(start.id_high_water, 0);
}

static void a_second_broker_is_refused_and_told_who_holds_it(void **state)
{
    struct fixture *f = *state;
    struct store_conf conf = fixture_conf(f);
    struct store *second = NULL;
    char sentence[256];
    char pid[16];

    assert_int_equal(store_open(&conf, &second, sentence), JM_ELOCKED);
    assert_null(second);
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    assert_non_null(strstr(sentence, pid));
    assert_non_null(strstr(sentence, f->path));
    fixture_close(f);
    fixture_open(f);
}

static void exec_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void a_newer_schema_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    char sentence[256];

    fixture_close(f);
    exec_sql(f->path, "PRAGMA user_version = 999");
    assert_int_equal(fixture_try_open(f, sentence), JM_ESCHEMA);
    assert_non_null(strstr(sentence, "999"));
    assert_int_equal(fixture_ask(f, "PRAGMA user_version"), 999);
}

static void a_file_that_is_no_database_is_refused(void **state)
{
    struct fixture *f = *state;
    char sentence[256];
    FILE *file;

    fixture_close(f);
    file = fopen(f->path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        fputs("this is a letter, no database\n", file);
    fclose(file);
    assert_int_equal(fixture_try_open(f, sentence), JM_ECORRUPT);
    assert_non_null(strstr(sentence, f->path));
}

static void a_database_of_another_program_is_refused(void **state)
{
    struct fixture *f = *state;
    char sentence[256];

    fixture_close(f);
    assert_int_equal(unlink(f->path), 0);
    exec_sql(f->path, "CREATE TABLE theirs (x)");
    assert_int_equal(fixture_try_open(f, sentence), JM_ECORRUPT);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM sqlite_schema"), 1);
}

static void a_missing_directory_is_an_error_with_a_sentence(void **state)
{
    struct fixture *f = *state;
    struct store_conf conf = {.path = "no/such/dir/jobs.db", .clock = &f->clock};
    struct store *store = NULL;
    char sentence[256];

    assert_int_equal(store_open(&conf, &store, sentence), JM_EIO);
    assert_non_null(strstr(sentence, "no/such/dir"));
    assert_null(store);
}

/* ---- submit ---- */

static void a_job_is_read_as_it_was_submitted(void **state)
{
    struct fixture *f = *state;
    static const uint8_t tags[] = {0x91, 0xa1, 't'};
    struct store_submit op = fixture_submit_of(5, "mail", JOB_QUEUED);
    struct job_view job;

    op.spec.tags = span_of(tags, sizeof(tags));
    op.spec.priority = 9;
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    job = fixture_get(f, 5);
    assert_int_equal(job.id, 5);
    assert_true(span_is_str(job.spec.queue, "mail"));
    assert_true(span_is_str(job.spec.task, "echo"));
    assert_true(span_is_equal(job.spec.args, op.spec.args));
    assert_true(span_is_equal(job.spec.tags, op.spec.tags));
    assert_int_equal(job.spec.priority, 9);
    assert_int_equal(job.spec.max_attempts, JM_MAX_ATTEMPTS_DEFAULT);
    assert_int_equal(job.spec.timeout_ms, JM_TIMEOUT_DEFAULT_MS);
    assert_int_equal(job.spec.grace_ms, JM_GRACE_DEFAULT_MS);
    assert_int_equal(job.state, JOB_QUEUED);
    assert_int_equal(job.attempt, 1);
    assert_int_equal(job.due_ms, op.due_ms);
    assert_int_equal(job.finished_at_ms, 0);
    assert_int_equal(job.error.len, 0);
    fixture_check_counts(f);
}

static void an_id_that_is_taken_fails_alone(void **state)
{
    struct fixture *f = *state;
    struct store_submit ops[3] = {fixture_submit_of(1, "a", JOB_QUEUED),
                                  fixture_submit_of(1, "b", JOB_QUEUED),
                                  fixture_submit_of(2, "a", JOB_QUEUED)};
    struct list list;

    list_init(&list);
    for (size_t i = 0; i < 3; i++)
        list_push_back(&list, &ops[i].op.link);
    assert_int_equal(store_run(f->store, &list), 0);
    assert_int_equal(ops[0].op.status, 0);
    assert_int_equal(ops[1].op.status, JM_EINTERNAL);
    assert_int_equal(ops[2].op.status, 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM live"), 2);
    fixture_check_counts(f);
}

static int submit_with_key(struct fixture *f, uint64_t id, const char *key, uint8_t print,
                           struct store_submit *ret_op)
{
    *ret_op = fixture_submit_of(id, "q", JOB_QUEUED);
    ret_op->key = span_of_str(key);
    memset(ret_op->fingerprint, print, sizeof(ret_op->fingerprint));
    return fixture_run(f, &ret_op->op, STORE_SUBMIT);
}

static void a_key_gives_the_same_job_again_also_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct store_submit op;

    assert_int_equal(submit_with_key(f, 1, "key-1", 7, &op), 0);
    assert_false(op.ret_is_repeat);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(submit_with_key(f, 2, "key-1", 7, &op), 0);
        assert_true(op.ret_is_repeat);
        assert_int_equal(op.ret_existing_id, 1);
        assert_int_equal(submit_with_key(f, 2, "key-1", 8, &op), JM_EIDEMPOTENCY);
        fixture_close(f);
        fixture_open(f);
    }
    assert_int_equal(submit_with_key(f, 2, "key-2", 8, &op), 0);
    assert_false(op.ret_is_repeat);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 2);
    fixture_check_counts(f);
}

static void a_key_is_known_within_its_own_batch(void **state)
{
    struct fixture *f = *state;
    struct store_submit ops[2] = {fixture_submit_of(1, "q", JOB_QUEUED),
                                  fixture_submit_of(2, "q", JOB_QUEUED)};
    struct list list;

    list_init(&list);
    for (size_t i = 0; i < 2; i++) {
        ops[i].key = span_of_str("same");
        list_push_back(&list, &ops[i].op.link);
    }
    assert_int_equal(store_run(f->store, &list), 0);
    assert_false(ops[0].ret_is_repeat);
    assert_true(ops[1].ret_is_repeat);
    assert_int_equal(ops[1].ret_existing_id, 1);
}

/* ---- the backlog ---- */

static void submit_at(struct fixture *f, uint64_t id, uint32_t priority, int64_t due_ms)
{
    struct store_submit op = fixture_submit_of(id, "q", JOB_QUEUED);

    op.spec.priority = priority;
    op.due_ms = due_ms;
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
}

static void jobs_are_taken_by_priority_then_due_time_then_id(void **state)
{
    struct fixture *f = *state;
    static const uint64_t expected[] = {6, 3, 4, 2, 1, 5};
    uint32_t attempt;

    submit_at(f, 1, 5, 200);
    submit_at(f, 2, 5, 100);
    submit_at(f, 3, 9, 300);
    submit_at(f, 4, 9, 300);
    submit_at(f, 5, 1, 0);
    submit_at(f, 6, 9, 250);
    fixture_submit(f, 7, "other", JOB_QUEUED);
    for (size_t i = 0; i < JM_COUNT_OF(expected); i++) {
        assert_int_equal(fixture_take(f, "q", &attempt), expected[i]);
        assert_int_equal(attempt, 1);
    }
    assert_int_equal(fixture_take(f, "q", &attempt), 0);
    assert_int_equal(fixture_take(f, "nobody", &attempt), 0);
    fixture_check_counts(f);
}

/* Twenty tasks whose jobs are due in a wild order, some tasks with many and some with few. */
static void submit_shuffled(struct fixture *f, uint64_t count)
{
    static const char *const tasks[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j",
                                        "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"};

    for (uint64_t id = 1; id <= count; id++) {
        struct store_submit op = fixture_submit_of(id, "q", JOB_QUEUED);
        uint64_t word = hash_of_u64(id);

        op.spec.task = span_of_str(tasks[word % 5 == 0 ? word / 5 % JM_COUNT_OF(tasks) : 3]);
        op.due_ms = (int64_t)(word % 97);
        assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    }
}

static void the_lanes_of_a_turn_go_together_by_due_time_then_id(void **state)
{
    enum { JOBS = 700, AT_ONCE = 45 };
    struct fixture *f = *state;
    struct store_taken taken[AT_ONCE];
    struct buf frames;
    struct store_take op = {
        .queue = span_of_str("q"), .max_bytes = 1 << 20, .ret_jobs = taken, .frames = &frames};
    uint64_t last_due = 0, last_id = 0, seen = 0;

    submit_shuffled(f, JOBS);
    do {
        buf_init(&frames, 1 << 20);
        assert_int_equal(fixture_run_take(f, &op, AT_ONCE), 0);
        buf_done(&frames);
        for (size_t i = 0; i < op.ret_count; i++) {
            uint64_t due = hash_of_u64(taken[i].id) % 97;

            assert_true(due > last_due || (due == last_due && taken[i].id > last_id));
            last_due = due;
            last_id = taken[i].id;
        }
        seen += op.ret_count;
    } while (op.ret_count > 0);
    assert_int_equal(seen, JOBS);
    fixture_check_counts(f);
}

static void a_lane_gives_no_more_than_its_turn_says(void **state)
{
    struct fixture *f = *state;
    struct store_taken taken[20];
    struct buf frames;
    struct fixture_lanes lanes;
    struct store_take op = {.queue = span_of_str("q"),
                            .turn_count = 1,
                            .max_bytes = 1 << 20,
                            .ret_jobs = taken,
                            .frames = &frames};
    size_t by_lane[FIXTURE_LANES] = {0};

    submit_shuffled(f, 200);
    fixture_lanes(f, "q", 20, &lanes);
    for (size_t i = 0; i < lanes.turns[0].lane_count; i++)
        lanes.lanes[i].max_jobs = 1 + i % 2;
    op.turns = lanes.turns;
    op.lanes = lanes.lanes;
    buf_init(&frames, 1 << 20);
    assert_int_equal(fixture_run(f, &op.op, STORE_TAKE), 0);
    buf_done(&frames);
    assert_int_equal(op.ret_count, 20);
    for (size_t i = 0; i < op.ret_count; i++)
        assert_true(++by_lane[taken[i].lane] <= lanes.lanes[taken[i].lane].max_jobs);
}

static void a_taken_frame_says_what_the_worker_needs(void **state)
{
    struct fixture *f = *state;
    struct store_taken taken[4];
    struct buf frames;
    struct wire_job job;
    struct store_take op = {.queue = span_of_str("q"),
                            .node = 3,
                            .max_bytes = 1 << 20,
                            .ret_jobs = taken,
                            .frames = &frames};

    buf_init(&frames, 1 << 20);
    fixture_submit(f, 1, "q", JOB_QUEUED);
    fixture_submit(f, 2, "q", JOB_QUEUED);
    assert_int_equal(fixture_run_take(f, &op, 4), 0);
    assert_int_equal(op.ret_count, 2);
    for (size_t i = 0; i < 2; i++) {
        struct span frame = span_of(frames.data + taken[i].offset, taken[i].len);

        assert_int_equal(wire_decode_job(frame, &job), 0);
        assert_int_equal(job.id, i + 1);
        assert_int_equal(job.attempt, 1);
        assert_int_equal(job.node, 3);
        assert_int_equal(job.timeout_ms, JM_TIMEOUT_DEFAULT_MS);
        assert_int_equal(job.grace_ms, JM_GRACE_DEFAULT_MS);
        assert_true(span_is_str(job.queue, "q"));
        assert_true(span_is_str(job.task, "echo"));
        assert_true(span_is_equal(job.args, span_of(fixture_args, sizeof(fixture_args))));
    }
    buf_done(&frames);
    assert_int_equal(fixture_get(f, 1).state, JOB_DISPATCHED);
    fixture_check_counts(f);
}

static void a_take_ends_behind_the_job_that_reaches_its_bytes(void **state)
{
    struct fixture *f = *state;
    struct store_taken taken[8];
    struct buf frames;
    struct store_take op = {
        .queue = span_of_str("q"), .max_bytes = 1, .ret_jobs = taken, .frames = &frames};

    buf_init(&frames, 1 << 20);
    for (uint64_t id = 1; id <= 4; id++)
        fixture_submit(f, id, "q", JOB_QUEUED);
    assert_int_equal(fixture_run_take(f, &op, 8), 0);
    assert_int_equal(op.ret_count, 1);
    assert_int_equal(taken[0].len, frames.len);
    op.max_bytes = taken[0].len + 1;
    buf_clear(&frames);
    assert_int_equal(fixture_run_take(f, &op, 8), 0);
    assert_int_equal(op.ret_count, 2);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM live WHERE state = 2"), 1);
    buf_done(&frames);
    fixture_check_counts(f);
}

static void a_take_without_room_leaves_the_rest_in_the_backlog(void **state)
{
    struct fixture *f = *state;
    struct store_taken taken[8];
    struct buf frames;
    struct store_take op = {
        .queue = span_of_str("q"), .max_bytes = 1 << 20, .ret_jobs = taken, .frames = &frames};

    buf_init(&frames, 70); /* two frames, and a part of the third */
    fixture_submit(f, 1, "q", JOB_QUEUED);
    fixture_submit(f, 2, "q", JOB_QUEUED);
    fixture_submit(f, 3, "q", JOB_QUEUED);
    assert_int_equal(fixture_run_take(f, &op, 8), 0);
    assert_int_equal(op.ret_count, 2);
    assert_int_equal(frames.len, taken[1].offset + taken[1].len);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM live WHERE state = 3"), op.ret_count);
    buf_done(&frames);
    buf_init(&frames, 4);
    assert_int_equal(fixture_run_take(f, &op, 8), JM_ENOMEM);
    assert_int_equal(op.ret_count, 0);
    buf_done(&frames);
    fixture_check_counts(f);
}

static void only_a_dispatched_job_of_that_attempt_is_put_back(void **state)
{
    struct fixture *f = *state;
    struct store_ref refs[] = {
        {1, 1, false}, {2, 2, true}, {3, 1, true}, {4, 1, true}, {99, 1, true}};
    struct store_put_back op = {.jobs = refs, .count = JM_COUNT_OF(refs)};
    uint32_t attempt;

    fixture_submit(f, 1, "q", JOB_DISPATCHED);
    fixture_submit(f, 2, "q", JOB_DISPATCHED);
    fixture_submit(f, 3, "q", JOB_DISPATCHED);
    fixture_submit(f, 4, "q", JOB_SCHEDULED);
    assert_int_equal(fixture_happen(f, WIRE_RUNNING, 3, 1), STORE_APPLIED);
    assert_int_equal(fixture_run(f, &op.op, STORE_PUT_BACK), 0);
    for (size_t i = 0; i < JM_COUNT_OF(refs); i++)
        assert_int_equal(refs[i].ret_is_back, i == 0);
    assert_int_equal(fixture_get(f, 1).state, JOB_QUEUED);
    assert_int_equal(fixture_get(f, 1).attempt, 1);
    assert_int_equal(fixture_get(f, 2).state, JOB_DISPATCHED);
    assert_int_equal(fixture_get(f, 3).state, JOB_RUNNING);
    assert_int_equal(fixture_get(f, 4).state, JOB_SCHEDULED);
    assert_int_equal(fixture_take(f, "q", &attempt), 1);
    fixture_check_counts(f);
}

static void scheduled_jobs_move_when_their_time_has_come(void **state)
{
    struct fixture *f = *state;
    struct store_due op = {.now_ms = 1000, .max_jobs = 2};
    struct reader_start start;

    for (uint64_t id = 1; id <= 5; id++) {
        struct store_submit submit = fixture_submit_of(id, "q", JOB_SCHEDULED);

        submit.due_ms = (int64_t)(id * 300);
        assert_int_equal(fixture_run(f, &submit.op, STORE_SUBMIT), 0);
    }
    assert_int_equal(reader_start(fixture_reader(f), &start), 0);
    assert_int_equal(start.next_due_ms, 300);
    assert_int_equal(fixture_run(f, &op.op, STORE_DUE), 0);
    assert_int_equal(op.ret_moved, 2);
    assert_int_equal(op.ret_next_due_ms, 900);
    assert_int_equal(fixture_run(f, &op.op, STORE_DUE), 0);
    assert_int_equal(op.ret_moved, 1);
    assert_int_equal(op.ret_next_due_ms, 1200);
    op.now_ms = 1500;
    assert_int_equal(fixture_run(f, &op.op, STORE_DUE), 0);
    assert_int_equal(op.ret_moved, 2);
    assert_int_equal(op.ret_next_due_ms, -1);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM live WHERE state = 2"), 5);
    fixture_check_counts(f);
}

/* ---- cancel and delete ---- */

static void a_live_job_is_cancelled_from_every_state(void **state)
{
    struct fixture *f = *state;
    static const enum job_state states[] = {JOB_SCHEDULED, JOB_QUEUED, JOB_DISPATCHED, JOB_RUNNING};

    for (uint64_t i = 0; i < JM_COUNT_OF(states); i++) {
        struct store_cancel op = {.id = i + 1};

        fixture_submit(f, i + 1, "q", states[i] == JOB_RUNNING ? JOB_DISPATCHED : states[i]);
        if (states[i] == JOB_RUNNING)
            assert_int_equal(fixture_happen(f, WIRE_RUNNING, i + 1, 1), STORE_APPLIED);
        assert_int_equal(fixture_run(f, &op.op, STORE_CANCEL), 0);
        assert_int_equal(op.ret_was, states[i]);
        assert_int_equal(op.ret_state, JOB_CANCELLED);
        assert_int_equal(op.ret_attempt, 1);
        assert_int_equal(fixture_get(f, i + 1).state, JOB_CANCELLED);
        assert_int_equal(fixture_get(f, i + 1).finished_at_ms, f->now_ms);
        assert_int_equal(fixture_run(f, &op.op, STORE_CANCEL), JM_EFINISHED);
        assert_int_equal(op.ret_state, JOB_CANCELLED);
        assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, i + 1, 1), STORE_LATE);
        assert_int_equal(fixture_get(f, i + 1).state, JOB_CANCELLED);
    }
    fixture_check_counts(f);
}

static void a_job_that_never_was_cannot_be_cancelled_or_deleted(void **state)
{
    struct fixture *f = *state;
    struct store_cancel cancel = {.id = 1};
    struct store_delete delete = {.id = 1};

    assert_int_equal(fixture_run(f, &cancel.op, STORE_CANCEL), JM_ENOJOB);
    assert_int_equal(fixture_run(f, &delete.op, STORE_DELETE), JM_ENOJOB);
}

static void a_finished_job_is_deleted_with_all_that_belongs_to_it(void **state)
{
    struct fixture *f = *state;
    struct store_delete op = {.id = 1};
    struct store_submit submit;
    struct job_view job;
    uint32_t attempt;

    assert_int_equal(submit_with_key(f, 1, "key", 1, &submit), 0);
    assert_int_equal(fixture_take(f, "q", &attempt), 1);
    assert_int_equal(fixture_run(f, &op.op, STORE_DELETE), JM_ENOTFINISHED);
    assert_int_equal(fixture_happen(f, WIRE_HANDED_BACK, 1, 1), STORE_APPLIED);
    assert_int_equal(fixture_take(f, "q", &attempt), 1);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 1, 2), STORE_APPLIED);
    assert_int_equal(fixture_run(f, &op.op, STORE_DELETE), 0);
    assert_int_equal(reader_get(fixture_reader(f), 1, true, &job), JM_ENOJOB);
    assert_int_equal(fixture_ask(f, "SELECT (SELECT count(*) FROM jobs)"
                                    " + (SELECT count(*) FROM ends)"
                                    " + (SELECT count(*) FROM attempts)"),
                     0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM idem"), 1); /* lives by itself */
    assert_int_equal(fixture_run(f, &op.op, STORE_DELETE), JM_ENOJOB);
    fixture_check_counts(f);
}

/* ---- notes ---- */

struct seen_tasks {
    size_t count;
    char text[200];
};

static void on_task(void *owner, const struct wire_task *task, int64_t seen_at_ms)
{
    struct seen_tasks *seen = owner;
    size_t at = strlen(seen->text);

    seen->count++;
    snprintf(seen->text + at, sizeof(seen->text) - at, "%.*s/%.*s/%.*s/%lld ", (int)task->name.len,
             (const char *)task->name.data, (int)task->kind.len, (const char *)task->kind.data,
             (int)task->doc.len, (const char *)task->doc.data, (long long)seen_at_ms);
}

static void tasks_are_learned_and_brought_up_to_date(void **state)
{
    struct fixture *f = *state;
    struct wire_task tasks[] = {
        {span_of_str("fib"), span_of_str("builtin"), span_of_str("Computes.")},
        {span_of_str("echo"), span_of_str("builtin"), {0}},
    };
    struct store_learn op = {.tasks = tasks, .count = 2};
    struct seen_tasks seen = {0};

    f->now_ms = 1000;
    assert_int_equal(fixture_run(f, &op.op, STORE_LEARN), 0);
    f->now_ms = 2000;
    tasks[0].doc = span_of_str("Computes slowly.");
    assert_int_equal(fixture_run(f, &op.op, STORE_LEARN), 0);
    assert_int_equal(reader_tasks(fixture_reader(f), &seen, on_task), 0);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.text, "echo/builtin//1000 fib/builtin/Computes slowly./2000 ");
}

static void the_id_mark_only_rises_and_outlives_a_restart(void **state)
{
    struct fixture *f = *state;
    struct store_reserve_ids op = {.high_water = 500};
    struct reader_start start;

    assert_int_equal(fixture_run(f, &op.op, STORE_RESERVE_IDS), 0);
    op.high_water = 400;
    assert_int_equal(fixture_run(f, &op.op, STORE_RESERVE_IDS), 0);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(reader_start(fixture_reader(f), &start), 0);
    assert_int_equal(start.id_high_water, 500);
}

/* As an earlier version could leave it behind a full disk. */
static void an_id_above_the_mark_is_no_damage(void **state)
{
    struct fixture *f = *state;
    struct store_reserve_ids op = {.high_water = 500};
    struct reader_start start;

    assert_int_equal(fixture_run(f, &op.op, STORE_RESERVE_IDS), 0);
    fixture_submit(f, 501, "q", JOB_QUEUED);
    fixture_close(f);
    (void)fixture_ask(f, "UPDATE meta SET value = 500 WHERE name = 'id_high_water' RETURNING 1");
    fixture_open(f);
    assert_int_equal(reader_start(fixture_reader(f), &start), 0);
    assert_int_equal(start.id_high_water, 500);
    assert_int_equal(start.last_id, 501);
}

static void a_probe_writes(void **state)
{
    struct fixture *f = *state;
    struct store_probe op = {.op.status = 0};

    assert_int_equal(fixture_run(f, &op.op, STORE_PROBE), 0);
    assert_int_equal(fixture_ask(f, "SELECT value FROM meta WHERE name = 'probe'"), f->now_ms);
}

/* ---- batches, crashes ---- */

static void on_counts(void *owner, struct span queue, const struct store_counts *counts)
{
    int64_t *sums = owner;

    sums[0]++;
    if (span_is_str(queue, "a"))
        sums[1] = counts->by_state[JOB_QUEUED];
    if (span_is_str(queue, "b"))
        sums[2] = counts->by_state[JOB_QUEUED];
}

static void a_batch_tells_the_counts_that_it_changed_and_no_others(void **state)
{
    struct fixture *f = *state;
    int64_t sums[3] = {0};

    fixture_submit(f, 1, "a", JOB_QUEUED);
    fixture_submit(f, 2, "b", JOB_QUEUED);
    fixture_submit(f, 3, "b", JOB_QUEUED);
    store_changed_counts(f->store, sums, on_counts);
    assert_int_equal(sums[0], 1);
    assert_int_equal(sums[1], 0);
    assert_int_equal(sums[2], 2);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 999, 1), STORE_UNKNOWN);
    store_changed_counts(f->store, sums, on_counts);
    assert_int_equal(sums[0], 1);
    fixture_close(f);
    fixture_open(f);
    sums[0] = 0;
    assert_int_equal(reader_counts(fixture_reader(f), sums, on_counts), 0);
    assert_int_equal(sums[0], 2);
    assert_int_equal(sums[1], 1);
    assert_int_equal(sums[2], 2);
}

static void copy_file(const char *from, const char *to)
{
    char command[700];

    snprintf(command, sizeof(command), "cp '%s' '%s'", from, to);
    assert_int_equal(system(command), 0);
}

static void what_was_synced_is_there_after_a_crash(void **state)
{
    struct fixture *f = *state;
    struct fixture *crashed = fixture_new();
    char from[400];
    char to[400];

    for (uint64_t id = 1; id <= 100; id++)
        fixture_submit(f, id, "q", JOB_DISPATCHED);
    assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, 50, 1), STORE_APPLIED);
    assert_int_equal(store_sync(f->store), 0);
    copy_file(f->path, crashed->path);
    snprintf(from, sizeof(from), "%s-wal", f->path);
    snprintf(to, sizeof(to), "%s-wal", crashed->path);
    copy_file(from, to);
    fixture_open(crashed);
    assert_in_range(store_wal_bytes(crashed->store), 0, 5000); /* of this life */
    assert_int_equal(fixture_ask(crashed, "SELECT count(*) FROM live WHERE state = 3"), 99);
    assert_int_equal(fixture_get(crashed, 50).state, JOB_SUCCEEDED);
    assert_int_equal(fixture_happen(crashed, WIRE_SUCCEEDED, 50, 1), STORE_LATE);
    fixture_check_counts(crashed);
    fixture_free(crashed);
}

static void a_checkpoint_lets_the_log_start_anew(void **state)
{
    struct fixture *f = *state;
    size_t before;

    for (uint64_t id = 1; id <= 200; id++)
        fixture_submit(f, id, "q", JOB_QUEUED);
    before = store_wal_bytes(f->store);
    assert_true(before > 100000);
    assert_int_equal(store_checkpoint(f->store, false), 0);
    assert_int_equal(store_checkpoint(f->store, true), 0);
    fixture_submit(f, 201, "q", JOB_QUEUED);
    assert_true(store_wal_bytes(f->store) < before / 4);
    fixture_check_counts(f);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

static off_t log_bytes(struct fixture *f)
{
    char path[400];
    struct stat st;

    snprintf(path, sizeof(path), "%s-wal", f->path);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* One transaction of `count` jobs with arguments of 1 MB. */
static void submit_megabytes(struct fixture *f, uint64_t first_id, size_t count)
{
    static uint8_t args[1 << 20] = {0xc6, 0x00, 0x0f, 0xff, 0xfb}; /* bin of what follows */
    struct store_submit ops[64];
    struct list list;

    list_init(&list);
    assert_true(count <= JM_COUNT_OF(ops));
    for (size_t i = 0; i < count; i++) {
        ops[i] = fixture_submit_of(first_id + i, "q", JOB_QUEUED);
        ops[i].spec.args = span_of(args, sizeof(args));
        list_push_back(&list, &ops[i].op.link);
    }
    assert_int_equal(store_run(f->store, &list), 0);
}

/* What is there of it is written over again; only what one large batch has made of it goes. */
static void a_log_that_has_become_large_is_cut_when_it_starts_anew(void **state)
{
    struct fixture *f = *state;
    off_t usual;

    submit_megabytes(f, 1, 20);
    usual = log_bytes(f);
    assert_true(usual > 20 << 20);
    for (uint64_t round = 1; round < 4; round++) {
        assert_int_equal(store_checkpoint(f->store, true), 0);
        submit_megabytes(f, 100 * round, round);
        assert_int_equal(log_bytes(f), usual);
    }
    submit_megabytes(f, 1000, 40);
    assert_true(log_bytes(f) > 40 << 20);
    assert_int_equal(store_checkpoint(f->store, true), 0);
    submit_megabytes(f, 2000, 1);
    assert_int_equal(log_bytes(f), 32 << 20);
    fixture_check_counts(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_new_store_is_empty_and_of_the_newest_schema),
        STORE_TEST(a_second_broker_is_refused_and_told_who_holds_it),
        STORE_TEST(a_newer_schema_is_refused_and_left_alone),
        STORE_TEST(a_file_that_is_no_database_is_refused),
        STORE_TEST(a_database_of_another_program_is_refused),
        STORE_TEST(a_missing_directory_is_an_error_with_a_sentence),
        STORE_TEST(a_job_is_read_as_it_was_submitted),
        STORE_TEST(an_id_that_is_taken_fails_alone),
        STORE_TEST(a_key_gives_the_same_job_again_also_after_a_restart),
        STORE_TEST(a_key_is_known_within_its_own_batch),
        STORE_TEST(jobs_are_taken_by_priority_then_due_time_then_id),
        STORE_TEST(the_lanes_of_a_turn_go_together_by_due_time_then_id),
        STORE_TEST(a_lane_gives_no_more_than_its_turn_says),
        STORE_TEST(a_taken_frame_says_what_the_worker_needs),
        STORE_TEST(a_take_ends_behind_the_job_that_reaches_its_bytes),
        STORE_TEST(a_take_without_room_leaves_the_rest_in_the_backlog),
        STORE_TEST(only_a_dispatched_job_of_that_attempt_is_put_back),
        STORE_TEST(scheduled_jobs_move_when_their_time_has_come),
        STORE_TEST(a_live_job_is_cancelled_from_every_state),
        STORE_TEST(a_job_that_never_was_cannot_be_cancelled_or_deleted),
        STORE_TEST(a_finished_job_is_deleted_with_all_that_belongs_to_it),
        STORE_TEST(tasks_are_learned_and_brought_up_to_date),
        STORE_TEST(the_id_mark_only_rises_and_outlives_a_restart),
        STORE_TEST(an_id_above_the_mark_is_no_damage),
        STORE_TEST(a_probe_writes),
        STORE_TEST(a_batch_tells_the_counts_that_it_changed_and_no_others),
        STORE_TEST(what_was_synced_is_there_after_a_crash),
        STORE_TEST(a_checkpoint_lets_the_log_start_anew),
        STORE_TEST(a_log_that_has_become_large_is_cut_when_it_starts_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
