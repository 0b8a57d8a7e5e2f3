/*
 * Reads: lists by state, queue and task in pages, large values, and what a start has to know. A
 * list is compared with what going through all jobs gives.
 */
#include "tests/unit/store_fixture.h"

enum { JOBS = 200 };

static const enum job_state states[] = {JOB_SCHEDULED, JOB_QUEUED,    JOB_DISPATCHED, JOB_RUNNING,
                                        JOB_SUCCEEDED, JOB_CANCELLED, JOB_FAILED};
static const char *const queues[] = {"alpha", "beta", "gamma"};
static const char *const tasks[] = {"echo", "fib"};

static enum job_state state_of(uint64_t id)
{
    return states[id * 7 % 11 % JM_COUNT_OF(states)];
}

static const char *queue_of(uint64_t id)
{
    return queues[id % 3];
}

static const char *task_of(uint64_t id)
{
    return tasks[id / 2 % 2];
}

static void make_job(struct fixture *f, uint64_t id)
{
    enum job_state state = state_of(id);
    struct store_submit op = fixture_submit_of(
        id, queue_of(id), state == JOB_SCHEDULED || state == JOB_QUEUED ? state : JOB_DISPATCHED);
    struct store_cancel cancel = {.id = id};
    struct store_event event = fixture_event_of(WIRE_FAILED, id, 1);

    op.spec.task = span_of_str(task_of(id));
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    if (state == JOB_RUNNING)
        assert_int_equal(fixture_happen(f, WIRE_RUNNING, id, 1), STORE_APPLIED);
    if (state == JOB_SUCCEEDED)
        assert_int_equal(fixture_happen(f, WIRE_SUCCEEDED, id, 1), STORE_APPLIED);
    if (state == JOB_CANCELLED)
        assert_int_equal(fixture_run(f, &cancel.op, STORE_CANCEL), 0);
    event.event.code = span_of_str("bad_args");
    if (state == JOB_FAILED)
        assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
}

static int setup(void **state)
{
    int rc = fixture_setup(state);

    for (uint64_t id = 1; id <= JOBS; id++)
        make_job(*state, id);
    return rc;
}

static bool is_match(const struct job_filter *filter, uint64_t id)
{
    return (filter->states == 0 || (filter->states & 1u << state_of(id)) != 0) &&
           (filter->queue.len == 0 || span_is_str(filter->queue, queue_of(id))) &&
           (filter->task.len == 0 || span_is_str(filter->task, task_of(id)));
}

struct page {
    const struct job_filter *filter;
    uint64_t last; /* id shown last, over all pages */
    size_t shown;  /* over all pages */
    size_t on_page;
};

static void on_job(void *owner, const struct job_view *job)
{
    struct page *page = owner;

    assert_true(job->id < page->last);
    page->last = job->id;
    page->shown++;
    page->on_page++;
    assert_true(is_match(page->filter, job->id));
    assert_int_equal(job->state, state_of(job->id));
    assert_true(span_is_str(job->spec.queue, queue_of(job->id)));
    assert_true(span_is_str(job->spec.task, task_of(job->id)));
    assert_int_equal(job->spec.args.len, 0);
    assert_int_equal(job->error.len > 0, job->state == JOB_FAILED);
}

/* Goes through all pages and compares with the truth. */
static void check_list(struct fixture *f, struct job_filter filter, size_t limit, size_t max_scan)
{
    const struct reader_bounds bounds = {.jobs = limit, .rows = max_scan};
    struct page page = {.filter = &filter, .last = UINT64_MAX};
    size_t expected = 0;
    size_t pages = 0;

    for (uint64_t id = 1; id <= JOBS; id++)
        expected += is_match(&filter, id);
    do {
        page.on_page = 0;
        assert_int_equal(
            reader_list(fixture_reader(f), &filter, &bounds, &page, on_job, &filter.below), 0);
        assert_true(page.on_page <= limit);
        assert_true(++pages <= JOBS + 1);
    } while (filter.below != 0);
    assert_int_equal(page.shown, expected);
}

static void a_list_shows_what_matches_newest_first_page_by_page(void **state)
{
    for (unsigned set = 0; set < 1u << JM_COUNT_OF(states); set++) {
        struct job_filter filter = {.states = 0};

        for (size_t i = 0; i < JM_COUNT_OF(states); i++)
            if ((set & 1u << i) != 0)
                filter.states |= 1u << states[i];
        check_list(*state, filter, 1000, 100000);
        check_list(*state, filter, 7, 10);
        filter.queue = span_of_str("beta");
        check_list(*state, filter, 3, 1000);
        filter.task = span_of_str("fib");
        check_list(*state, filter, 3, 20);
    }
}

static void a_list_looks_at_no_more_rows_than_it_may(void **state)
{
    struct fixture *f = *state;
    struct job_filter filter = {.queue = span_of_str("nobody's")};
    const struct reader_bounds bounds = {.jobs = 50, .rows = 30};
    struct page page = {.filter = &filter, .last = UINT64_MAX};
    uint64_t next = 0;

    assert_int_equal(reader_list(fixture_reader(f), &filter, &bounds, &page, on_job, &next), 0);
    assert_int_equal(page.shown, 0);
    assert_int_equal(next, JOBS - 29);
}

static void a_list_without_matches_is_empty_and_ends(void **state)
{
    struct fixture *f = *state;
    struct job_filter filter = {.states = 1u << JOB_EXPIRED};
    const struct reader_bounds bounds = {.jobs = 50, .rows = 1000};
    struct page page = {.filter = &filter, .last = UINT64_MAX};
    uint64_t next = 1;

    assert_int_equal(reader_list(fixture_reader(f), &filter, &bounds, &page, on_job, &next), 0);
    assert_int_equal(page.shown, 0);
    assert_int_equal(next, 0);
}

/* ---- the backlog ---- */

enum { WAITING = 150, FIRST_WAITING = 2000 };

static struct store_submit waiting_of(uint64_t id)
{
    static const char *const keys[] = {"", "one", "two"};
    struct store_submit op = fixture_submit_of(id, id % 5 == 0 ? "other" : "line", JOB_QUEUED);

    if (id % 7 == 0)
        op.state = id % 2 == 0 ? JOB_SCHEDULED : JOB_DISPATCHED;
    op.spec.task = span_of_str(task_of(id));
    op.spec.priority = (uint32_t)(1 + id * 5 % 9);
    op.spec.limit_key = span_of_str(keys[id % 3]);
    op.due_ms += (int64_t)(id * 13 % 10);
    return op;
}

static bool is_before(const struct store_submit *a, const struct store_submit *b)
{
    if (a->state != JOB_QUEUED || !span_is_equal(a->spec.queue, b->spec.queue))
        return false;
    if (a->spec.priority != b->spec.priority)
        return a->spec.priority > b->spec.priority;
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->id < b->id;
}

static void a_job_knows_how_many_are_before_it_in_its_queue(void **state)
{
    struct fixture *f = *state;
    struct store_submit ops[WAITING];
    size_t count = 99;
    size_t most = 0;

    for (uint64_t i = 0; i < WAITING; i++) {
        ops[i] = waiting_of(FIRST_WAITING + i);
        assert_int_equal(fixture_run(f, &ops[i].op, STORE_SUBMIT), 0);
    }
    for (size_t i = 0; i < WAITING; i++) {
        size_t expected = 0;

        for (size_t other = 0; other < WAITING && ops[i].state == JOB_QUEUED; other++)
            expected += is_before(&ops[other], &ops[i]);
        assert_int_equal(reader_before(fixture_reader(f), ops[i].id, 10000, &count), 0);
        assert_int_equal(count, expected);
        assert_int_equal(reader_before(f->reader, ops[i].id, 5, &count), 0);
        assert_int_equal(count, expected < 5 ? expected : 5);
        most = expected > most ? expected : most;
    }
    assert_true(most > WAITING / 2);
    assert_int_equal(reader_before(f->reader, 99999, 5, &count), 0);
    assert_int_equal(count, 0);
}

/* ---- single jobs ---- */

static void large_values_come_back_whole_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    static uint8_t big[300000];
    struct store_submit op = fixture_submit_of(1000, "q", JOB_DISPATCHED);
    struct store_event event = fixture_event_of(WIRE_SUCCEEDED, 1000, 1);
    struct job_view job;
    bool is_small = false;

    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (uint8_t)(i * 31);
    op.spec.args = span_of(big, 200000);
    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    assert_int_equal(reader_get_small(fixture_reader(f), 1000, 200000, &job, &is_small), 0);
    assert_true(is_small);
    assert_true(span_is_equal(job.spec.args, span_of(big, 200000)));
    assert_int_equal(reader_get_small(f->reader, 1000, 199999, &job, &is_small), 0);
    assert_false(is_small);
    event.event.result = span_of(big, sizeof(big));
    assert_int_equal(fixture_apply(f, &event), STORE_APPLIED);
    assert_int_equal(reader_get_small(f->reader, 1000, 499999, &job, &is_small), 0);
    assert_false(is_small);
    assert_int_equal(reader_get_small(f->reader, 1000, 500000, &job, &is_small), 0);
    assert_true(is_small);
    assert_true(span_is_equal(job.result, span_of(big, sizeof(big))));
    assert_int_equal(reader_get(f->reader, 1000, false, &job), 0);
    assert_int_equal(job.spec.args.len + job.result.len, 0);
    job = fixture_get(f, 1000);
    assert_true(span_is_equal(job.spec.args, span_of(big, 200000)));
    assert_true(span_is_equal(job.result, span_of(big, sizeof(big))));
}

static void a_job_that_is_not_there_is_no_error_of_the_reader(void **state)
{
    struct fixture *f = *state;
    struct job_view job = {.id = 5};
    bool is_small = false;

    assert_int_equal(reader_get(fixture_reader(f), 9999, true, &job), JM_ENOJOB);
    assert_int_equal(job.id, 5);
    assert_int_equal(reader_get_small(f->reader, 9999, 1, &job, &is_small), JM_ENOJOB);
    assert_int_equal(job.id, 5);
}

static void a_read_leaves_no_snapshot_behind(void **state)
{
    struct fixture *f = *state;

    (void)fixture_get(f, 1);
    assert_int_equal(store_checkpoint(f->store, true), 0);
    fixture_submit(f, 5000, "q", JOB_QUEUED);
    assert_true(store_wal_bytes(f->store) < 100000); /* the log has started anew */
    assert_int_equal(fixture_get(f, 5000).state, JOB_QUEUED);
}

/* ---- at a start ---- */

struct dispatched {
    size_t count;
    uint64_t last;
};

static void on_dispatched(void *owner, const struct job_view *job, struct span frame)
{
    struct dispatched *seen = owner;
    struct wire_job decoded;

    assert_true(job->state == JOB_DISPATCHED || job->state == JOB_RUNNING);
    assert_int_equal(wire_decode_job(frame, &decoded), 0);
    assert_int_equal(decoded.id, job->id);
    assert_int_equal(decoded.attempt, job->attempt);
    assert_int_equal(decoded.node, 9);
    assert_true(span_is_equal(decoded.args, span_of(fixture_args, sizeof(fixture_args))));
    assert_true(span_is_equal(decoded.queue, job->spec.queue));
    seen->count++;
}

static void a_start_is_told_of_every_job_that_is_out(void **state)
{
    struct fixture *f = *state;
    struct dispatched seen = {0};
    size_t expected = 0;

    for (uint64_t id = 1; id <= JOBS; id++)
        expected += state_of(id) == JOB_DISPATCHED || state_of(id) == JOB_RUNNING;
    assert_int_equal(reader_dispatched(fixture_reader(f), 9, &seen, on_dispatched), 0);
    assert_int_equal(seen.count, expected);
}

/* The frame is the one that was taken, to the byte, so that it can be recalled by value. */
static void on_same_frame(void *owner, const struct job_view *job, struct span frame)
{
    if (job->id == 7000)
        assert_true(span_is_equal(frame, buf_span(owner)));
}

static void a_restored_frame_is_the_one_that_was_sent(void **state)
{
    struct fixture *f = *state;
    struct store_taken taken;
    struct buf frames;
    struct store_take op = {.queue = span_of_str("solo"),
                            .node = 9,
                            .max_bytes = 1 << 20,
                            .ret_jobs = &taken,
                            .frames = &frames};

    buf_init(&frames, 1 << 20);
    fixture_submit(f, 7000, "solo", JOB_QUEUED);
    assert_int_equal(fixture_run_take(f, &op, 1), 0);
    assert_int_equal(op.ret_count, 1);
    assert_int_equal(reader_dispatched(fixture_reader(f), 9, &frames, on_same_frame), 0);
    buf_done(&frames);
}

#define READER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest unit_tests[] = {
        READER_TEST(a_list_shows_what_matches_newest_first_page_by_page),
        READER_TEST(a_list_looks_at_no_more_rows_than_it_may),
        READER_TEST(a_list_without_matches_is_empty_and_ends),
        READER_TEST(a_job_knows_how_many_are_before_it_in_its_queue),
        READER_TEST(large_values_come_back_whole_or_not_at_all),
        READER_TEST(a_job_that_is_not_there_is_no_error_of_the_reader),
        READER_TEST(a_read_leaves_no_snapshot_behind),
        READER_TEST(a_start_is_told_of_every_job_that_is_out),
        READER_TEST(a_restored_frame_is_the_one_that_was_sent),
    };

    return cmocka_run_group_tests(unit_tests, NULL, NULL);
}
