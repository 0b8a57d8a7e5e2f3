/*
 * A property: whatever happens in whatever order, the store and a small model in memory agree. The
 * model is written from the rules in words (DESIGN, the notes in states.def), not from the code: it
 * keeps a list of how each attempt ended and derives everything from it. Seeds are fixed, so that a
 * failure repeats; JM_MODEL_SEED runs another one.
 */
#include "tests/unit/store_fixture.h"

#include "broker/backoff.h"
#include "broker/job_options.h"

enum { MODEL_JOBS = 12, MODEL_STEPS = 6000, MODEL_ATTEMPTS = MODEL_STEPS + 2 };

enum fate { OPEN, LOST, OTHERWISE }; /* how an attempt ended */

struct model_job {
    enum job_state state; /* JOB_NONE: never submitted, or deleted */
    uint32_t attempt;
    uint32_t failures;
    uint32_t crashes;
    uint32_t deaths;
    uint32_t max_attempts;
    int64_t due_ms;
    int64_t expires_ms; /* 0: never */
    uint64_t retain_ms; /* 0: longer than the test lasts */
    int64_t ended_ms;
    uint32_t ended_by; /* the attempt that ended it */
    uint8_t fates[MODEL_ATTEMPTS];
};

enum { MODEL_PLACES = 2 };

/* Of unique jobs: who took it last. */
struct model_place {
    uint64_t id;
    enum unique_while how;
};

struct model {
    struct fixture *f;
    uint64_t random;
    uint64_t next_id;
    uint64_t ids[MODEL_JOBS];
    struct model_job jobs[MODEL_JOBS];
    struct model_place places[MODEL_PLACES];
    size_t applied;
    size_t dropped;
    size_t superseded;
    size_t retried;
    size_t expired;
    size_t purged;
    size_t replaced;
    size_t conflicts;
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

static void model_end(struct model *m, struct model_job *job, enum job_state state, uint32_t by)
{
    job->state = state;
    job->ended_by = by;
    job->ended_ms = m->f->now_ms;
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

static enum store_outcome model_success(struct model *m, struct model_job *job, uint32_t attempt)
{
    if (attempt != job->attempt && !was_only_lost(job, attempt))
        return STORE_LATE;
    model_end(m, job, JOB_SUCCEEDED, attempt);
    return STORE_APPLIED;
}

static void model_failure(struct model *m, size_t i, const struct wire_event *event)
{
    struct model_job *job = &m->jobs[i];

    job->failures++;
    if (event->code.len > 0 || event->retry == WIRE_RETRY_NEVER ||
        job->failures >= job->max_attempts) {
        model_end(m, job, JOB_FAILED, job->attempt);
        return;
    }
    model_wait(m, i, job->failures);
    if (event->retry == WIRE_RETRY_AFTER)
        job->due_ms = m->f->now_ms + (int64_t)event->retry_after_ms;
}

static void model_crash(struct model *m, size_t i)
{
    struct model_job *job = &m->jobs[i];

    job->crashes++;
    if (job->crashes == 3)
        model_end(m, job, JOB_FAILED, job->attempt);
    else if (job->crashes == 2)
        model_wait(m, i, 1);
    else
        model_next(job, OTHERWISE, JOB_QUEUED);
}

static void model_loss(struct model *m, struct model_job *job, bool has_begun)
{
    job->deaths += has_begun;
    if (job->deaths == 5)
        model_end(m, job, JOB_FAILED, job->attempt);
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
        return model_success(m, job, attempt);
    if (attempt != job->attempt || !is_out(job))
        return STORE_LATE;
    if (event->source == STORE_LOST) {
        model_loss(m, job, event->event.has_begun);
    } else if (event->event.kind == WIRE_RUNNING) {
        if (job->state == JOB_RUNNING)
            return STORE_LATE;
        job->state = JOB_RUNNING;
    } else if (event->event.kind == WIRE_CRASHED) {
        model_crash(m, i);
    } else if (event->event.kind == WIRE_FAILED || event->event.kind == WIRE_TIMED_OUT) {
        model_failure(m, i, &event->event);
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
    assert_int_equal(view.spec.max_attempts, job->max_attempts);
    assert_int_equal(view.spec.expires_at_ms, job->expires_ms);
    assert_int_equal(view.finished_at_ms, is_live(job) ? 0 : job->ended_ms);
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
    if (kind == WIRE_FAILED && draw(m, 8) == 0)
        event.event.code = span_of_str("bad_args");
    if (kind == WIRE_FAILED)
        event.event.retry = (enum wire_retry)draw(m, 3);
    if (event.event.retry == WIRE_RETRY_AFTER)
        event.event.retry_after_ms = draw(m, 5000);
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

/* ---- submits ---- */

static struct model_job *find_job(struct model *m, uint64_t id)
{
    for (size_t i = 0; i < MODEL_JOBS; i++)
        if (m->ids[i] == id && m->jobs[i].state != JOB_NONE)
            return &m->jobs[i];
    return NULL;
}

static bool holds(const struct model_place *place, const struct model_job *holder)
{
    if (holder == NULL || !is_live(holder))
        return false;
    return place->how == UNIQUE_UNFINISHED || holder->state != JOB_RUNNING;
}

static void fill_job(struct model *m, struct model_job *job, struct store_submit *op)
{
    static const enum job_state states[] = {JOB_SCHEDULED, JOB_QUEUED, JOB_DISPATCHED};

    memset(job, 0, sizeof(*job));
    job->state = op->state = states[draw(m, JM_COUNT_OF(states))];
    job->attempt = 1;
    job->max_attempts = op->spec.max_attempts = 1 + (uint32_t)draw(m, 5);
    job->due_ms = op->due_ms;
    if (draw(m, 3) == 0)
        job->expires_ms = op->spec.expires_at_ms = m->f->now_ms + 1 + (int64_t)draw(m, 20000);
    if (draw(m, 2) == 0)
        job->retain_ms = op->spec.retain_ms = 1 + draw(m, 10000);
}

static void run_submit(struct model *m, struct store_submit *op, int expected)
{
    struct job_options options = {.expires_at_ms = op->spec.expires_at_ms,
                                  .retain_ms = op->spec.retain_ms};
    struct buf record;

    buf_init(&record, JOB_OPTIONS_BYTES);
    job_options_encode(&record, &options);
    op->spec.options = buf_span(&record);
    assert_int_equal(fixture_run(m->f, &op->op, STORE_SUBMIT), expected);
    buf_done(&record);
}

/* One that wants a place; returns whether it is there now. */
static bool submit_unique(struct model *m, struct store_submit *op)
{
    size_t which = draw(m, MODEL_PLACES);
    struct model_place *place = &m->places[which];
    struct model_job *holder = find_job(m, place->id);
    bool is_held = holds(place, holder), is_replaced;

    op->unique.how = draw(m, 2) == 0 ? UNIQUE_QUEUED : UNIQUE_UNFINISHED;
    op->unique.on_conflict = (enum unique_conflict)draw(m, 3);
    op->unique.digest[0] = (uint8_t)which;
    is_replaced =
        is_held && op->unique.on_conflict == UNIQUE_REPLACE && holder->state != JOB_RUNNING;
    if (is_held && !is_replaced) {
        bool is_existing = op->unique.on_conflict == UNIQUE_EXISTING;

        run_submit(m, op, is_existing ? 0 : JM_EUNIQUE);
        assert_int_equal(op->ret_is_existing, is_existing);
        assert_int_equal(op->ret_existing_id, place->id);
        assert_int_equal(op->ret_existing_state, holder->state);
        m->conflicts++;
        return false;
    }
    run_submit(m, op, 0);
    assert_int_equal(op->ret_replaced_id, is_replaced ? place->id : 0);
    if (is_replaced)
        model_end(m, holder, JOB_CANCELLED, holder->attempt);
    m->replaced += is_replaced;
    *place = (struct model_place){.id = op->id, .how = op->unique.how};
    return true;
}

static void step_submit(struct model *m, size_t i)
{
    struct store_submit op = fixture_submit_of(m->next_id, i % 2 == 0 ? "even" : "odd", JOB_QUEUED);
    static struct model_job fresh;

    if (is_live(&m->jobs[i]))
        return;
    fill_job(m, &fresh, &op);
    if (draw(m, 3) == 0) {
        if (!submit_unique(m, &op))
            return;
    } else {
        run_submit(m, &op, 0);
    }
    m->jobs[i] = fresh;
    m->ids[i] = m->next_id++;
}

/* ---- other steps ---- */

/* It only waits to be ended, and nothing goes before it. */
static bool has_expired(const struct model *m, size_t i)
{
    return i < MODEL_JOBS && m->jobs[i].expires_ms != 0 && m->jobs[i].expires_ms <= m->f->now_ms;
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
    if (has_expired(m, best))
        best = MODEL_JOBS;
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
        model_end(m, job, JOB_CANCELLED, job->attempt);
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

static void step_expire(struct model *m)
{
    uint64_t ids[MODEL_JOBS], out[MODEL_JOBS];
    struct store_expire op = {.now_ms = m->f->now_ms += (int64_t)draw(m, 3000),
                              .max_jobs = MODEL_JOBS,
                              .max_out = MODEL_JOBS,
                              .ret_ids = ids,
                              .ret_out_ids = out};
    size_t ended = 0, is_out_count = 0;

    for (size_t i = 0; i < MODEL_JOBS; i++) {
        struct model_job *job = &m->jobs[i];

        if (job->expires_ms == 0 || job->expires_ms > op.now_ms)
            continue;
        is_out_count += job->state == JOB_DISPATCHED;
        if (job->state != JOB_SCHEDULED && job->state != JOB_QUEUED)
            continue;
        model_end(m, job, JOB_EXPIRED, job->attempt);
        ended++;
    }
    assert_int_equal(fixture_run(m->f, &op.op, STORE_EXPIRE), 0);
    assert_int_equal(op.ret_count, ended);
    assert_int_equal(op.ret_out_count, is_out_count);
    m->expired += ended;
}

/* Whatever was lost before the end counts no more: the new attempt stands alone. */
static void model_retry(struct model *m, struct model_job *job)
{
    job->fates[job->attempt++] = OTHERWISE;
    job->state = JOB_QUEUED;
    job->failures = job->crashes = job->deaths = 0;
    job->due_ms = m->f->now_ms;
    if (job->expires_ms <= m->f->now_ms)
        job->expires_ms = 0;
    m->retried++;
}

static void step_retry(struct model *m, size_t i)
{
    struct model_job *job = &m->jobs[i];
    struct store_retry op = {.id = m->ids[i]};
    enum job_state was = job->state;
    int expected = is_live(job) ? JM_ENOTFINISHED : was == JOB_NONE ? JM_ENOJOB : 0;

    assert_int_equal(fixture_run(m->f, &op.op, STORE_RETRY), expected);
    if (expected != 0)
        return;
    model_retry(m, job);
    assert_int_equal(op.ret_was, was);
    assert_int_equal(op.ret_attempt, job->attempt);
}

static void model_change(struct model_job *job, const struct store_change *op)
{
    if (op->what & CHANGE_ARGS)
        job->fates[job->attempt++] = OTHERWISE;
    if (op->what & CHANGE_MAX_ATTEMPTS)
        job->max_attempts = op->spec.max_attempts;
    if (op->what & CHANGE_EXPIRES)
        job->expires_ms = op->spec.expires_at_ms;
    if (!(op->what & CHANGE_DUE))
        return;
    if (op->due_ms > op->now_ms)
        job->due_ms = op->due_ms;
    else if (job->state == JOB_SCHEDULED)
        job->due_ms = op->now_ms;
    job->state = op->due_ms > op->now_ms ? JOB_SCHEDULED : JOB_QUEUED;
}

static void step_change(struct model *m, size_t i)
{
    static const unsigned whats[] = {CHANGE_DUE, CHANGE_MAX_ATTEMPTS, CHANGE_EXPIRES, CHANGE_ARGS};
    struct model_job *job = &m->jobs[i], after = *job;
    struct store_change op = {.id = m->ids[i], .now_ms = m->f->now_ms};
    bool fits = job->state == JOB_SCHEDULED || job->state == JOB_QUEUED;
    int expected = fits                     ? 0
                   : is_live(job)           ? JM_ERUNNING
                   : job->state == JOB_NONE ? JM_ENOJOB
                                            : JM_EFINISHED;

    for (size_t w = 0; w < JM_COUNT_OF(whats); w++)
        op.what |= draw(m, 2) == 0 ? whats[w] : 0;
    op.due_ms = op.now_ms + (int64_t)draw(m, 10000) - 5000;
    op.spec.max_attempts = 1 + (uint32_t)draw(m, 5);
    op.spec.expires_at_ms = draw(m, 2) == 0 ? 0 : op.now_ms + 1 + (int64_t)draw(m, 60000);
    op.spec.args = span_of(fixture_args, sizeof(fixture_args));
    model_change(&after, &op);
    if (fits && op.what & (CHANGE_DUE | CHANGE_EXPIRES) && after.expires_ms != 0 &&
        after.expires_ms <= after.due_ms)
        expected = JM_EFIELD;
    assert_int_equal(fixture_run(m->f, &op.op, STORE_CHANGE), expected);
    if (expected == 0)
        *job = after;
    assert_int_equal(op.ret_state, job->state);
}

static bool model_bulk(struct model *m, struct model_job *job, enum store_bulk_verb verb)
{
    bool fits = job->state != JOB_NONE && (verb == BULK_CANCEL) == is_live(job);

    if (fits && verb == BULK_CANCEL)
        model_end(m, job, JOB_CANCELLED, job->attempt);
    if (fits && verb == BULK_RETRY)
        model_retry(m, job);
    if (fits && verb == BULK_DELETE)
        job->state = JOB_NONE;
    return fits;
}

static void step_bulk(struct model *m, size_t i)
{
    struct store_bulk_item items[3];
    struct store_bulk op = {
        .verb = (enum store_bulk_verb)draw(m, 3), .items = items, .count = JM_COUNT_OF(items)};
    size_t changed = 0;

    for (size_t n = 0; n < op.count; n++)
        items[n] = (struct store_bulk_item){.id = m->ids[(i + n) % MODEL_JOBS]};
    assert_int_equal(fixture_run(m->f, &op.op, STORE_BULK), 0);
    for (size_t n = 0; n < op.count; n++) {
        bool fits = model_bulk(m, &m->jobs[(i + n) % MODEL_JOBS], op.verb);

        assert_int_equal(items[n].ret_is_changed, fits);
        changed += fits;
    }
    assert_int_equal(op.ret_changed, changed);
}

static void step_purge(struct model *m)
{
    struct store_purge op = {.now_ms = m->f->now_ms, .max_rows = 1000};

    for (size_t i = 0; i < MODEL_JOBS; i++) {
        struct model_job *job = &m->jobs[i];

        if (job->state == JOB_NONE || is_live(job) || job->retain_ms == 0 ||
            job->ended_ms + (int64_t)job->retain_ms > op.now_ms)
            continue;
        job->state = JOB_NONE;
        m->purged++;
    }
    assert_int_equal(fixture_run(m->f, &op.op, STORE_PURGE), 0);
}

static void step_restart(struct model *m)
{
    fixture_close(m->f);
    fixture_open(m->f);
}

static void step(struct model *m)
{
    size_t i = draw(m, MODEL_JOBS);
    uint64_t what = draw(m, 1000);

    if (what < 460)
        step_event(m, i);
    else if (what < 570)
        step_submit(m, i);
    else if (what < 730)
        step_take(m, i % 2);
    else if (what < 800)
        step_due(m);
    else if (what < 840)
        step_put_back(m, i);
    else if (what < 855)
        step_cancel(m, i);
    else if (what < 865)
        step_delete(m, i);
    else if (what < 920)
        step_expire(m);
    else if (what < 945)
        step_retry(m, i);
    else if (what < 970)
        step_change(m, i);
    else if (what < 975)
        step_bulk(m, i);
    else if (what < 995)
        step_purge(m);
    else
        step_restart(m);
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
        print_message("applied %zu, dropped %zu, superseded %zu, retried %zu, expired %zu, purged"
                      " %zu, replaced %zu, conflicts %zu\n",
                      m.applied, m.dropped, m.superseded, m.retried, m.expired, m.purged,
                      m.replaced, m.conflicts);
        /* It went somewhere: all sorts of things happened. */
        assert_true(m.applied > 500 && m.dropped > 500 && m.superseded > 5);
        assert_true(m.retried > 20 && m.expired > 20 && m.purged > 20);
        assert_true(m.replaced > 5 && m.conflicts > 20);
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
