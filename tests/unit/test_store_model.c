/*
 * A property: whatever happens in whatever order, the store and a small model in memory agree. The
 * model is written from the rules in words (DESIGN, the notes in states.def), not from the code: it
 * keeps a list of how each attempt ended and derives everything from it. Seeds are fixed, so that a
 * failure repeats; JM_MODEL_SEED runs another one.
 */
#include "tests/unit/store_fixture.h"

#include "broker/backoff.h"

enum { MODEL_JOBS = 12, MODEL_STEPS = 6000, MODEL_ATTEMPTS = MODEL_STEPS + 2 };

enum fate { OPEN, LOST, OTHERWISE }; /* how an attempt ended */

struct model_job {
    enum job_state state; /* JOB_NONE: never submitted, or deleted */
    uint32_t attempt;
    uint32_t failures;
    uint32_t crashes;
    uint32_t deaths;
    int64_t due_ms;
    uint32_t ended_by; /* the attempt that ended it */
    uint8_t fates[MODEL_ATTEMPTS];
};

struct model {
    struct fixture *f;
    uint64_t random;
    uint64_t next_id;
    uint64_t ids[MODEL_JOBS];
    struct model_job jobs[MODEL_JOBS];
    size_t applied;
    size_t dropped;
    size_t superseded;
};

/* splitmix64 */
static uint64_t draw(struct model *m, uint64_t below)
{
    uint64_t z = m->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

static bool is_out(const struct model_job *job)
{
    return job->state == JOB_DISPATCHED || job->state == JOB_RUNNING;
}

static bool is_live(const struct model_job *job)
{
    return job->state != JOB_NONE && !job_state_is_terminal(job->state);
}

/* ---- the rules ---- */

static void model_next(struct model_job *job, enum fate fate, enum job_state state)
{
    job->fates[job->attempt] = (uint8_t)fate;
    job->attempt++;
    job->state = state;
}

static void model_end(struct model_job *job, enum job_state state, uint32_t by)
{
    job->state = state;
    job->ended_by = by;
}

static void model_wait(struct model *m, size_t i, uint32_t nth)
{
    struct model_job *job = &m->jobs[i];

    job->due_ms = m->f->now_ms + backoff_ms(&BACKOFF_USUAL, m->ids[i], job->attempt, nth);
    model_next(job, OTHERWISE, JOB_SCHEDULED);
}

/* Whether every attempt from `attempt` to before the current one was given up as lost. */
static bool was_only_lost(const struct model_job *job, uint32_t attempt)
{
    if (attempt == 0 || attempt >= job->attempt)
        return false;
    for (uint32_t a = attempt; a < job->attempt; a++)
        if (job->fates[a] != LOST)
            return false;
    return true;
}

static enum store_outcome model_success(struct model_job *job, uint32_t attempt)
{
    bool counts =
        attempt == job->attempt ? job->state != JOB_SCHEDULED : was_only_lost(job, attempt);

    if (!counts)
        return STORE_LATE;
    model_end(job, JOB_SUCCEEDED, attempt);
    return STORE_APPLIED;
}

static void model_failure(struct model *m, size_t i, bool is_hopeless)
{
    struct model_job *job = &m->jobs[i];

    job->failures++;
    if (is_hopeless || job->failures == JM_MAX_ATTEMPTS_DEFAULT)
        model_end(job, JOB_FAILED, job->attempt);
    else
        model_wait(m, i, job->failures);
}

static void model_crash(struct model *m, size_t i)
{
    struct model_job *job = &m->jobs[i];

    job->crashes++;
    if (job->crashes == 3)
        model_end(job, JOB_FAILED, job->attempt);
    else if (job->crashes == 2)
        model_wait(m, i, 1);
    else
        model_next(job, OTHERWISE, JOB_QUEUED);
}

static void model_loss(struct model_job *job, bool has_begun)
{
    job->deaths += has_begun;
    if (job->deaths == 5)
        model_end(job, JOB_FAILED, job->attempt);
    else
        model_next(job, LOST, JOB_QUEUED);
}

static enum store_outcome model_event(struct model *m, size_t i, const struct store_event *event)
{
    struct model_job *job = &m->jobs[i];
    uint32_t attempt = event->event.attempt;

    if (job->state == JOB_NONE)
        return STORE_UNKNOWN;
    if (!is_live(job))
        return STORE_LATE;
    if (event->source == STORE_FROM_WORKER && event->event.kind == WIRE_SUCCEEDED)
        return model_success(job, attempt);
    if (attempt != job->attempt || !is_out(job))
        return STORE_LATE;
    if (event->source == STORE_LOST) {
        model_loss(job, event->event.has_begun);
    } else if (event->event.kind == WIRE_RUNNING) {
        if (job->state == JOB_RUNNING)
            return STORE_LATE;
        job->state = JOB_RUNNING;
    } else if (event->event.kind == WIRE_CRASHED) {
        model_crash(m, i);
    } else if (event->event.kind == WIRE_FAILED || event->event.kind == WIRE_TIMED_OUT) {
        model_failure(m, i, event->event.code.len > 0);
    } else {
        model_next(job, OTHERWISE, JOB_QUEUED);
    }
    return STORE_APPLIED;
}

/* ---- comparing ---- */

static void compare(struct model *m, size_t i)
{
    const struct model_job *job = &m->jobs[i];
    struct job_view view;
    int rc = reader_get(fixture_reader(m->f), m->ids[i], true, &view);

    assert_int_equal(rc, job->state == JOB_NONE ? JM_ENOJOB : 0);
    if (rc != 0)
        return;
    assert_int_equal(view.state, job->state);
    assert_int_equal(view.attempt, is_live(job) ? job->attempt : job->ended_by);
    assert_int_equal(view.failures, job->failures);
    assert_int_equal(view.crashes, job->crashes);
    assert_int_equal(view.deaths, job->deaths);
    assert_int_equal(view.due_ms, job->due_ms);
}

/* ---- steps ---- */

static struct store_event random_event(struct model *m, size_t i)
{
    const struct model_job *job = &m->jobs[i];
    /* Mostly of the current attempt, often of one before, sometimes of one that never was. */
    uint64_t back = draw(m, 4) < 2 ? 0 : draw(m, 4);
    uint32_t attempt = back < job->attempt ? job->attempt - (uint32_t)back : job->attempt + 1;
    uint64_t kind = draw(m, 12);
    struct store_event event;

    if (draw(m, 8) == 0) /* what was given up as lost comes in, or so it says */
        return fixture_event_of(WIRE_SUCCEEDED, m->ids[i], attempt > 1 ? attempt - 1 : attempt);
    if (kind < 5)
        return fixture_loss_of(m->ids[i], attempt, draw(m, 4) == 0);
    kind = 1 + draw(m, WIRE_HANDED_BACK);
    event = fixture_event_of((enum wire_event_kind)kind, m->ids[i], attempt);
    if (kind == WIRE_FAILED && draw(m, 4) == 0)
        event.event.code = span_of_str("bad_args");
    return event;
}

static void step_event(struct model *m, size_t i)
{
    struct store_event event = random_event(m, i);
    struct model_job before = m->jobs[i];
    enum store_outcome expected = model_event(m, i, &event);
    const struct model_job *job = &m->jobs[i];

    assert_int_equal(fixture_apply(m->f, &event), expected);
    assert_int_equal(event.ret_state, job->state);
    if (expected != STORE_APPLIED) {
        m->dropped++;
        assert_false(event.ret_supersedes);
        return;
    }
    m->applied++;
    assert_int_equal(event.ret_attempt, job->attempt);
    assert_int_equal(event.ret_supersedes, event.event.attempt != before.attempt);
    m->superseded += event.ret_supersedes;
    if (job->state == JOB_SCHEDULED)
        assert_int_equal(event.ret_due_ms, job->due_ms);
}

static void step_submit(struct model *m, size_t i)
{
    static const enum job_state states[] = {JOB_SCHEDULED, JOB_QUEUED, JOB_DISPATCHED};
    struct model_job *job = &m->jobs[i];

    if (is_live(job))
        return;
    m->ids[i] = m->next_id++;
    memset(job, 0, sizeof(*job));
    job->state = states[draw(m, JM_COUNT_OF(states))];
    job->attempt = 1;
    job->due_ms = 1700000000000;
    fixture_submit(m->f, m->ids[i], i % 2 == 0 ? "even" : "odd", job->state);
}

/* The job that is next by due time and id (all have the same priority). */
static void step_take(struct model *m, size_t parity)
{
    size_t best = MODEL_JOBS;
    uint32_t attempt = 0;
    uint64_t id;

    for (size_t i = parity; i < MODEL_JOBS; i += 2) {
        const struct model_job *job = &m->jobs[i];

        if (job->state == JOB_QUEUED &&
            (best == MODEL_JOBS || job->due_ms < m->jobs[best].due_ms ||
             (job->due_ms == m->jobs[best].due_ms && m->ids[i] < m->ids[best])))
            best = i;
    }
    id = fixture_take(m->f, parity == 0 ? "even" : "odd", &attempt);
    assert_int_equal(id, best == MODEL_JOBS ? 0 : m->ids[best]);
    if (best == MODEL_JOBS)
        return;
    assert_int_equal(attempt, m->jobs[best].attempt);
    m->jobs[best].state = JOB_DISPATCHED;
}

static void step_due(struct model *m)
{
    struct store_due op = {.now_ms = m->f->now_ms += (int64_t)draw(m, 3000), .max_jobs = 1000};
    size_t moved = 0;

    for (size_t i = 0; i < MODEL_JOBS; i++)
        if (m->jobs[i].state == JOB_SCHEDULED && m->jobs[i].due_ms <= op.now_ms) {
            m->jobs[i].state = JOB_QUEUED;
            moved++;
        }
    assert_int_equal(fixture_run(m->f, &op.op, STORE_DUE), 0);
    assert_int_equal(op.ret_moved, moved);
}

static void step_put_back(struct model *m, size_t i)
{
    struct model_job *job = &m->jobs[i];
    struct store_ref ref = {.id = m->ids[i], .attempt = job->attempt - (uint32_t)draw(m, 2)};
    struct store_put_back op = {.jobs = &ref, .count = 1};

    assert_int_equal(fixture_run(m->f, &op.op, STORE_PUT_BACK), 0);
    if (job->state == JOB_DISPATCHED && ref.attempt == job->attempt)
        job->state = JOB_QUEUED;
}

static void step_cancel(struct model *m, size_t i)
{
    struct model_job *job = &m->jobs[i];
    struct store_cancel op = {.id = m->ids[i]};
    int expected = is_live(job) ? 0 : job->state == JOB_NONE ? JM_ENOJOB : JM_EFINISHED;

    assert_int_equal(fixture_run(m->f, &op.op, STORE_CANCEL), expected);
    if (is_live(job))
        model_end(job, JOB_CANCELLED, job->attempt);
    assert_int_equal(op.ret_state, job->state);
}

static void step_delete(struct model *m, size_t i)
{
    struct model_job *job = &m->jobs[i];
    struct store_delete op = {.id = m->ids[i]};
    int expected = is_live(job) ? JM_ENOTFINISHED : job->state == JOB_NONE ? JM_ENOJOB : 0;

    assert_int_equal(fixture_run(m->f, &op.op, STORE_DELETE), expected);
    if (!is_live(job))
        job->state = JOB_NONE;
}

static void step(struct model *m)
{
    size_t i = draw(m, MODEL_JOBS);
    uint64_t what = draw(m, 100);

    if (what < 55)
        step_event(m, i);
    else if (what < 65)
        step_submit(m, i);
    else if (what < 85)
        step_take(m, i % 2);
    else if (what < 92)
        step_due(m);
    else if (what < 96)
        step_put_back(m, i);
    else if (what < 98)
        step_cancel(m, i);
    else if (what < 99)
        step_delete(m, i);
    else {
        fixture_close(m->f);
        fixture_open(m->f);
    }
    compare(m, i);
}

static void run_seed(struct fixture *f, uint64_t seed, uint64_t first_id, struct model *m)
{
    *m = (struct model){.f = f, .random = seed, .next_id = first_id};
    for (size_t i = 0; i < MODEL_JOBS; i++)
        step_submit(m, i);
    for (int n = 0; n < MODEL_STEPS; n++) {
        step(m);
        if (n % 100 == 0)
            for (size_t i = 0; i < MODEL_JOBS; i++)
                compare(m, i);
    }
    fixture_check_counts(f);
}

static void store_and_model_agree(void **state)
{
    static struct model m;
    const char *seed = getenv("JM_MODEL_SEED");

    for (uint64_t n = 1; n <= 4; n++) {
        struct fixture *f = *state;
        uint64_t first = seed != NULL ? strtoull(seed, NULL, 10) : n;

        run_seed(f, first, 1000, &m);
        print_message("applied %zu, dropped %zu, superseded %zu\n", m.applied, m.dropped,
                      m.superseded);
        /* It went somewhere: all sorts of things happened. */
        assert_true(m.applied > 500 && m.dropped > 500 && m.superseded > 5);
        assert_int_equal(fixture_teardown(state) + fixture_setup(state), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(store_and_model_agree, fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
