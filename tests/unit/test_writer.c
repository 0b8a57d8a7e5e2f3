/*
 * The writer's threads under load from a real loop: every operation comes back once, in order, and
 * what wants to be on disk is. Meaningful under ThreadSanitizer above all.
 */
#include "tests/unit/store_fixture.h"

#include "broker/writer.h"
#include "tests/unit/fault_vfs.h"

enum { JOBS = 3000 };

struct job {
    struct store_submit submit;
    struct store_apply apply;
    struct store_event event;
    struct run *run;
};

struct run {
    uv_loop_t loop;
    struct fixture *f;
    struct writer *writer;
    struct runner *runner;
    struct runner_gate gate;
    struct job *jobs;
    uint64_t next_submit; /* index whose submit has to come back next */
    uint64_t next_apply;
    int64_t queued_last;
    unsigned gates_opened;
    unsigned fatals;
    unsigned closed;
    int late_status;
    struct store_probe late;
};

static void on_fatal(void *owner, const char *sentence)
{
    assert_non_null(sentence);
    ((struct run *)owner)->fatals++;
}

static void on_run_counts(void *owner, struct span queue, const struct store_counts *counts)
{
    struct run *run = owner;

    assert_true(span_is_str(queue, "q"));
    run->queued_last = counts->by_state[JOB_DISPATCHED];
}

static void on_run_lane(void *owner, const struct store_lane_view *lane)
{
    (void)owner;
    assert_true(span_is_str(lane->queue, "q"));
}

static void on_closed(void *owner)
{
    ((struct run *)owner)->closed++;
}

static void start(struct run *run, struct fixture *f)
{
    const struct writer_callbacks callbacks = {.owner = run,
                                               .on_fatal = on_fatal,
                                               .on_counts = on_run_counts,
                                               .on_lane = on_run_lane,
                                               .on_closed = on_closed};

    *run = (struct run){.f = f};
    assert_int_equal(uv_loop_init(&run->loop), 0);
    run->jobs = calloc(JOBS, sizeof(*run->jobs));
    assert_non_null(run->jobs);
    assert_int_equal(writer_start(&run->loop, f->store, &callbacks, &run->writer), 0);
    f->store = NULL; /* the writer's now */
    run->runner = writer_runner(run->writer);
}

static void finish(struct run *run)
{
    assert_int_equal(uv_run(&run->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(run->closed, 1);
    assert_int_equal(uv_loop_close(&run->loop), 0);
    free(run->jobs);
}

static void on_applied(struct store_op *op)
{
    struct job *job = JM_CONTAINER_OF(op, struct job, apply.op);
    struct run *run = job->run;

    assert_int_equal(op->status, 0);
    assert_int_equal(job->event.ret_outcome, STORE_APPLIED);
    assert_int_equal(job->submit.id, ++run->next_apply);
    if (run->next_apply == JOBS)
        writer_close(run->writer);
}

static void on_submitted(struct store_op *op)
{
    struct job *job = JM_CONTAINER_OF(op, struct job, submit.op);
    struct run *run = job->run;

    assert_int_equal(op->status, 0);
    assert_int_equal(job->submit.id, ++run->next_submit);
    job->event = fixture_event_of(WIRE_SUCCEEDED, job->submit.id, 1);
    job->apply = (struct store_apply){
        .op = {.kind = STORE_APPLY, .on_done = on_applied, .wants_sync = job->submit.id % 3 == 0},
        .events = &job->event,
        .event_count = 1};
    runner_submit(run->runner, &job->apply.op);
}

static void submit_all(struct run *run)
{
    for (uint64_t i = 0; i < JOBS; i++) {
        struct job *job = &run->jobs[i];

        job->run = run;
        job->submit = fixture_submit_of(i + 1, "q", JOB_DISPATCHED);
        job->submit.op.on_done = on_submitted;
        job->submit.op.wants_sync = i % 2 == 0;
        job->submit.op.bytes = 100;
        runner_submit(run->runner, &job->submit.op);
        assert_int_equal(run->next_submit, 0); /* never from inside the call */
    }
}

static void every_operation_comes_back_once_and_in_order(void **state)
{
    struct fixture *f = *state;
    struct writer_stats stats;
    struct run run;

    start(&run, f);
    submit_all(&run);
    while (run.next_apply < JOBS)
        (void)uv_run(&run.loop, UV_RUN_ONCE);
    writer_stats(run.writer, &stats);
    assert_int_equal(stats.operations, 2 * JOBS);
    assert_in_range(stats.batches, 2 * JOBS / 1000, 2 * JOBS);
    assert_true(stats.syncs > 0);
    finish(&run);
    assert_int_equal(run.next_submit, JOBS);
    assert_int_equal(run.queued_last, 0);
    assert_int_equal(run.fatals, 0);
    fixture_open(f);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM ends"), JOBS);
    fixture_check_counts(f);
}

static void on_gate(struct runner_gate *gate)
{
    struct run *run = JM_CONTAINER_OF(gate, struct run, gate);

    run->gates_opened++;
    assert_true(runner_is_synced(run->runner));
    writer_close(run->writer);
}

static void on_seen(struct store_op *op)
{
    struct run *run = JM_CONTAINER_OF(op, struct job, submit.op)->run;

    assert_int_equal(op->status, 0);
    run->gate.on_open = on_gate;
    runner_wait_synced(run->runner, &run->gate);
    assert_int_equal(run->gates_opened, 0);
}

static void a_gate_opens_when_what_is_committed_is_on_disk(void **state)
{
    struct run run;
    struct job *job;

    start(&run, *state);
    assert_true(runner_is_synced(run.runner));
    job = &run.jobs[0];
    job->run = &run;
    job->submit = fixture_submit_of(1, "q", JOB_QUEUED);
    job->submit.op.on_done = on_seen;
    runner_submit(run.runner, &job->submit.op);
    finish(&run);
    assert_int_equal(run.gates_opened, 1);
}

static void a_gate_over_nothing_opens_at_once_but_not_within_the_call(void **state)
{
    struct run run;

    start(&run, *state);
    run.gate.on_open = on_gate;
    runner_wait_synced(run.runner, &run.gate);
    assert_int_equal(run.gates_opened, 0);
    finish(&run);
    assert_int_equal(run.gates_opened, 1);
}

static void on_late(struct store_op *op)
{
    struct run *run = JM_CONTAINER_OF(op, struct run, late.op);

    run->late_status = op->status;
}

static void what_comes_behind_the_close_comes_back_too(void **state)
{
    struct run run;

    start(&run, *state);
    writer_close(run.writer);
    run.late_status = 1;
    run.late.op.kind = STORE_PROBE;
    run.late.op.on_done = on_late;
    runner_submit(run.runner, &run.late.op);
    assert_int_equal(run.late_status, 1);
    finish(&run);
    assert_true(run.late_status == 0 || run.late_status == JM_ESHUTDOWN);
}

/* ---- a disk that fails ---- */

static int setup_faults(void **state)
{
    struct fixture *f = fixture_new();

    fault_plan_clear();
    f->vfs = "fault";
    fixture_open(f);
    fixture_submit(f, 999, "q", JOB_DISPATCHED); /* the head of a new log is synced by SQLite */
    *state = f;
    return 0;
}

static int teardown_faults(void **state)
{
    fault_plan_clear();
    return fixture_teardown(state);
}

static void on_refused(struct store_op *op)
{
    struct run *run = JM_CONTAINER_OF(op, struct job, submit.op)->run;

    assert_int_equal(op->status, JM_ESTORE);
    assert_int_equal(run->fatals, 1); /* told before */
    if (++run->next_submit == 2)
        writer_close(run->writer);
}

static void never_open(struct runner_gate *gate)
{
    (void)gate;
    fail_msg("a gate opened over what is not on disk");
}

static void submit_one(struct run *run, size_t i, bool wants_sync,
                       void (*on_done)(struct store_op *))
{
    struct job *job = &run->jobs[i];

    job->run = run;
    job->submit = fixture_submit_of(i + 1, "q", JOB_QUEUED);
    job->submit.op.on_done = on_done;
    job->submit.op.wants_sync = wants_sync;
    runner_submit(run->runner, &job->submit.op);
}

static void after_a_failed_sync_nothing_is_acknowledged(void **state)
{
    struct run run;

    start(&run, *state);
    fault_plan.fail_syncs_of = FAULT_LOG;
    submit_one(&run, 0, true, on_refused);
    while (run.next_submit == 0)
        (void)uv_run(&run.loop, UV_RUN_ONCE);
    fault_plan.fail_syncs_of = 0;
    assert_false(runner_is_synced(run.runner));
    run.gate.on_open = never_open;
    runner_wait_synced(run.runner, &run.gate);
    submit_one(&run, 1, true, on_refused);
    finish(&run);
    assert_int_equal(run.fatals, 1);
}

static void on_unsynced(struct store_op *op)
{
    assert_int_equal(op->status, 0);
}

static void a_failed_sync_that_nobody_waits_for_is_told_within_a_moment(void **state)
{
    struct run run;

    start(&run, *state);
    fault_plan.fail_syncs_of = FAULT_LOG;
    submit_one(&run, 0, false, on_unsynced);
    while (run.fatals == 0)
        (void)uv_run(&run.loop, UV_RUN_ONCE);
    writer_close(run.writer);
    finish(&run);
}

static void a_failed_checkpoint_is_told_without_being_asked(void **state)
{
    static const uint8_t large[2 << 20]; /* a small log is left alone */
    struct run run;

    start(&run, *state);
    fault_plan.fail_syncs_of = FAULT_DATABASE;
    submit_one(&run, 0, true, on_unsynced);
    run.jobs[0].submit.spec.args = span_of(large, sizeof(large));
    while (run.fatals == 0)
        (void)uv_run(&run.loop, UV_RUN_ONCE);
    writer_close(run.writer);
    finish(&run);
}

static void on_full(struct store_op *op)
{
    struct run *run = JM_CONTAINER_OF(op, struct job, submit.op)->run;

    assert_int_equal(op->status, run->next_submit == 0 ? JM_EFULL : 0);
    fault_plan.full_files = 0;
    if (++run->next_submit == 1)
        submit_one(run, 0, true, on_full);
    else
        writer_close(run->writer);
}

static void a_full_disk_refuses_and_later_does_not(void **state)
{
    struct run run;

    start(&run, *state);
    fault_plan.full_files = FAULT_LOG;
    submit_one(&run, 0, true, on_full);
    finish(&run);
    assert_int_equal(run.next_submit, 2);
    assert_int_equal(run.fatals, 0);
}

/* ---- what stands alone ---- */

struct alone {
    struct store_submit_all op;
    struct store_submit twice;
    struct run *run;
    unsigned given;
};

static int give_twice(struct store_submit_all *op, struct store_submit **ret_submit)
{
    struct alone *alone = JM_CONTAINER_OF(op, struct alone, op);

    alone->twice = fixture_submit_of(500 + alone->given, "q", JOB_QUEUED);
    alone->twice.unique =
        (struct store_unique){.how = UNIQUE_UNFINISHED, .on_conflict = UNIQUE_REJECT};
    *ret_submit = alone->given++ < 2 ? &alone->twice : NULL;
    return 0;
}

static void ignore_each(struct store_submit_all *op, struct store_submit *submit, int status)
{
    (void)op;
    (void)submit;
    (void)status;
}

static void on_undone(struct store_op *op)
{
    struct alone *alone = JM_CONTAINER_OF(op, struct alone, op.op);

    assert_int_equal(op->status, JM_EBATCH);
    assert_int_equal(alone->run->next_submit, 2); /* in its turn */
}

static void on_neighbour(struct store_op *op)
{
    struct run *run = JM_CONTAINER_OF(op, struct job, submit.op)->run;

    assert_int_equal(op->status, 0);
    if (++run->next_submit == 4)
        writer_close(run->writer);
}

/* Two before it and two behind it, all handed over in one turn of the loop. */
static void what_is_undone_takes_no_neighbour_with_it(void **state)
{
    struct fixture *f = *state;
    struct run run;
    struct alone alone = {.run = &run};

    start(&run, f);
    submit_one(&run, 0, true, on_neighbour);
    submit_one(&run, 1, true, on_neighbour);
    alone.op = (struct store_submit_all){.op = {.kind = STORE_SUBMIT_ALL,
                                                .is_alone = true,
                                                .wants_sync = true,
                                                .on_done = on_undone},
                                         .next = give_twice,
                                         .on_each = ignore_each};
    list_init(&alone.op.op.link);
    runner_submit(run.runner, &alone.op.op);
    submit_one(&run, 2, true, on_neighbour);
    submit_one(&run, 3, true, on_neighbour);
    finish(&run);
    assert_int_equal(run.next_submit, 4);
    fixture_open(f);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 4);
    fixture_check_counts(f);
}

/* ---- the log ---- */

enum { LARGE_JOBS = 64, LARGE_BYTES = 1 << 20, LOG_BOUND_BYTES = 32 << 20 };

static void on_large(struct store_op *op)
{
    struct run *run = JM_CONTAINER_OF(op, struct job, submit.op)->run;

    assert_int_equal(op->status, 0);
    if (++run->next_submit == LARGE_JOBS)
        writer_close(run->writer);
}

static void the_log_is_used_again_and_stays_below_its_bound(void **state)
{
    static const uint8_t large[LARGE_BYTES];
    struct fixture *f = *state;
    struct writer_stats stats;
    struct run run;
    size_t highest = 0;

    start(&run, f);
    for (size_t i = 0; i < LARGE_JOBS; i++) {
        submit_one(&run, i, true, on_large);
        run.jobs[i].submit.spec.args = span_of(large, sizeof(large));
        run.jobs[i].submit.op.bytes = sizeof(large);
    }
    while (run.next_submit < LARGE_JOBS) {
        (void)uv_run(&run.loop, UV_RUN_ONCE);
        writer_stats(run.writer, &stats);
        highest = stats.wal_bytes > highest ? stats.wal_bytes : highest;
    }
    assert_in_range(highest, LARGE_BYTES, LOG_BOUND_BYTES);
    assert_in_range(stats.batches, LARGE_JOBS / 4, LARGE_JOBS); /* of 4 MB */
    finish(&run);
}

#define FAULT_TEST(name) cmocka_unit_test_setup_teardown(name, setup_faults, teardown_faults)
#define WRITER_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WRITER_TEST(every_operation_comes_back_once_and_in_order),
        WRITER_TEST(a_gate_opens_when_what_is_committed_is_on_disk),
        WRITER_TEST(a_gate_over_nothing_opens_at_once_but_not_within_the_call),
        WRITER_TEST(what_comes_behind_the_close_comes_back_too),
        WRITER_TEST(what_is_undone_takes_no_neighbour_with_it),
        WRITER_TEST(the_log_is_used_again_and_stays_below_its_bound),
        FAULT_TEST(after_a_failed_sync_nothing_is_acknowledged),
        FAULT_TEST(a_failed_sync_that_nobody_waits_for_is_told_within_a_moment),
        FAULT_TEST(a_failed_checkpoint_is_told_without_being_asked),
        FAULT_TEST(a_full_disk_refuses_and_later_does_not),
    };

    if (fault_vfs_register() != SQLITE_OK)
        return 1;

    return cmocka_run_group_tests(tests, NULL, NULL);
}
