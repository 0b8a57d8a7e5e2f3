/*
 * What a person changes of one job: its properties while it waits, or that it is to run again.
 */
#include "broker/store_inside.h"

#include "broker/job_options.h"
#include "schema/errors.h"

/* ---- change ---- */

/* The record of the options, in the scratch buffer, with what is changed of it; `what` are the
 * flags of enum store_change_what. */
static int encode_options(struct store *s, struct span old, unsigned what,
                          const struct job_spec *spec, const struct backoff *backoff,
                          struct span *ret_record)
{
    struct job_options options;

    if (!job_options_decode(old, &options))
        return SQLITE_CORRUPT;
    if (what & CHANGE_EXPIRES)
        options.expires_at_ms = spec->expires_at_ms;
    if (what & CHANGE_RETAIN)
        options.retain_ms = spec->retain_ms;
    if (what & CHANGE_BACKOFF)
        options.backoff = *backoff;
    buf_clear(&s->scratch);
    job_options_encode(&s->scratch, &options);
    *ret_record = buf_span(&s->scratch);
    return buf_has_failed(&s->scratch) ? SQLITE_NOMEM : SQLITE_OK;
}

static int write_spec(struct store *s, uint64_t id, const struct job_spec *spec)
{
    struct store_query q = store_use(s, SQL_JOB_CHANGE);

    store_query_put_int(&q, spec->priority);
    store_query_put_int(&q, spec->max_attempts);
    store_query_put_int(&q, (int64_t)spec->timeout_ms);
    store_query_put_blob(&q, spec->options);
    store_query_put_blob(&q, spec->tags);
    store_query_put_int(&q, (int64_t)id);
    return store_query_run(&q);
}

static int write_args(struct store *s, uint64_t id, struct span args)
{
    struct store_query q = store_use(s, SQL_JOB_ARGS);

    store_query_put_blob(&q, args);
    store_query_put_int(&q, (int64_t)id);
    return store_query_run(&q);
}

static void change_spec(struct job_spec *spec, const struct store_change *op)
{
    if (op->what & CHANGE_PRIORITY)
        spec->priority = op->spec.priority;
    if (op->what & CHANGE_TAGS)
        spec->tags = op->spec.tags;
    if (op->what & CHANGE_TIMEOUT)
        spec->timeout_ms = op->spec.timeout_ms;
    if (op->what & CHANGE_MAX_ATTEMPTS)
        spec->max_attempts = op->spec.max_attempts;
    if (op->what & CHANGE_EXPIRES)
        spec->expires_at_ms = op->spec.expires_at_ms;
    if (op->what & CHANGE_RETAIN)
        spec->retain_ms = op->spec.retain_ms;
}

/* A job that waits in the backlog and is to go at once keeps its place there. */
static void choose_time(struct store_change *op, const struct store_live *live)
{
    op->ret_state = live->job.state;
    op->ret_due_ms = live->due_ms;
    if (!(op->what & CHANGE_DUE))
        return;
    op->ret_state = op->due_ms > op->now_ms ? JOB_SCHEDULED : JOB_QUEUED;
    if (op->ret_state == JOB_SCHEDULED)
        op->ret_due_ms = op->due_ms;
    else if (live->job.state == JOB_SCHEDULED)
        op->ret_due_ms = op->now_ms;
}

/* The rows of the old tags, in `old`, and of the new ones. */
static int write_tags(struct store *s, const struct store_change *op, struct span old)
{
    int rc = store_tags_delete(s, op->id, old);

    return rc == SQLITE_OK ? store_tags_put(s, op->id, op->spec.tags) : rc;
}

static int write_change(struct store *s, const struct store_change *op, struct job_spec *spec,
                        struct span old_tags)
{
    int rc = encode_options(s, spec->options, op->what, &op->spec, &op->backoff, &spec->options);

    if (rc == SQLITE_OK)
        rc = write_spec(s, op->id, spec);
    if (rc == SQLITE_OK && (op->what & CHANGE_TAGS))
        rc = write_tags(s, op, old_tags);
    if (rc == SQLITE_OK && (op->what & CHANGE_ARGS))
        rc = write_args(s, op->id, op->spec.args);
    return rc;
}

/* The lane for what the job is to be, NULL with a status if there can be none. */
static int need_lane(struct store *s, const struct job_spec *spec, struct store_lane **ret_lane,
                     int *ret_status)
{
    int rc = store_lane_need(s, spec->queue, spec->task, spec->priority, spec->limit_key, ret_lane);

    *ret_status = rc == SQLITE_OK && *ret_lane == NULL ? JM_EOVERLOAD : 0;
    return rc;
}

/* Another expiry, or another time, that leaves it none to begin in. */
static bool has_no_time(const struct store_change *op, const struct job_spec *spec)
{
    return op->what & (CHANGE_DUE | CHANGE_EXPIRES) && spec->expires_at_ms != 0 &&
           spec->expires_at_ms <= op->ret_due_ms;
}

static enum job_event event_of(const struct store_change *op)
{
    return op->what & CHANGE_ARGS ? JOB_ON_NEW_ARGS : JOB_ON_CHANGE;
}

/* Old frames may come back with an older state of Redis, and what was given up as lost may still
 * succeed: neither may count with other arguments than it was sent with. */
static void choose_attempt(struct store_birth *after, const struct store_change *op,
                           const struct verdict_job *job)
{
    bool rises = job_state_ends_attempt(event_of(op), job->state, op->ret_state);

    after->attempt = rises ? job->attempt + 1 : job->attempt;
    after->lost_from = rises ? 0 : job->lost_from;
}

static int change_live(struct store *s, struct store_change *op, const struct store_live *live,
                       int *ret_status)
{
    struct store_birth after = {.id = op->id};
    struct job_spec spec;
    struct span old_tags;
    bool found = false;
    int rc = store_job_get(s, op->id, &spec, &found);

    if (rc == SQLITE_OK && !found)
        rc = SQLITE_CORRUPT;
    if (rc != SQLITE_OK)
        return rc;
    old_tags = spec.tags;
    change_spec(&spec, op);
    choose_time(op, live);
    if (has_no_time(op, &spec)) {
        op->ret_state = live->job.state;
        *ret_status = JM_EFIELD;
        return SQLITE_OK;
    }
    rc = need_lane(s, &spec, &after.lane, ret_status);
    if (rc != SQLITE_OK || *ret_status != 0)
        return rc;
    choose_attempt(&after, op, &live->job);
    after.spec = &spec;
    after.state = op->ret_state;
    after.due_ms = op->ret_due_ms;
    rc = write_change(s, op, &spec, old_tags);
    return rc == SQLITE_OK ? store_live_change(s, live, event_of(op), &after) : rc;
}

int store_change(struct store *s, struct store_change *op, int *ret_status)
{
    struct store_live live;
    uint32_t attempt;
    bool found = false;
    int rc = store_live_get(s, op->id, &live, &found);

    if (rc == SQLITE_OK && !found) {
        rc = store_end_get(s, op->id, &op->ret_state, &attempt);
        *ret_status = op->ret_state == JOB_NONE ? JM_ENOJOB : JM_EFINISHED;
        return rc;
    }
    if (rc != SQLITE_OK)
        return rc;
    op->ret_state = live.job.state;
    *ret_status = JM_ERUNNING;
    if (!job_state_can_take(JOB_ON_CHANGE, live.job.state))
        return SQLITE_OK;
    return change_live(s, op, &live, ret_status);
}

/* ---- retry ---- */

static int last_attempt_of(struct store *s, uint64_t id, uint32_t *ret_attempt)
{
    struct store_query q = store_use(s, SQL_END_LAST);
    bool found = false;
    int rc;

    store_query_put_int(&q, (int64_t)id);
    rc = store_query_next(&q, &found);
    if (rc != SQLITE_OK)
        return rc;
    if (!found)
        return SQLITE_CORRUPT;
    *ret_attempt = (uint32_t)store_query_int(&q);
    store_query_end(&q);
    return SQLITE_OK;
}

/* The end becomes one of the attempts. The record of one that was given up as lost, and then
 * succeeded after all, gives way to the truth. */
static int move_end(struct store *s, uint64_t id, enum job_state was)
{
    struct store_query move = store_use(s, SQL_END_MOVE);
    struct store_query delete = store_use(s, SQL_END_DELETE);
    const char *word = job_state_word(was);
    int rc;

    store_query_put_text(&move, span_of_str(word));
    store_query_put_int(&move, (int64_t)id);
    rc = store_query_run(&move);
    if (rc != SQLITE_OK)
        return rc;
    store_query_put_int(&delete, (int64_t)id);
    return store_query_run(&delete);
}

/* An expiry that has passed would end it again at once. */
static int drop_expiry(struct store *s, uint64_t id, struct job_spec *spec)
{
    int rc;

    if (spec->expires_at_ms == 0 || spec->expires_at_ms > clock_wall_ms(s->conf.clock))
        return SQLITE_OK;
    spec->expires_at_ms = 0;
    rc = encode_options(s, spec->options, CHANGE_EXPIRES, spec, NULL, &spec->options);
    return rc == SQLITE_OK ? write_spec(s, id, spec) : rc;
}

int store_retry_job(struct store *s, uint64_t id, enum job_state was, uint32_t *ret_attempt,
                    int *ret_status)
{
    struct store_birth birth = {
        .id = id, .was = was, .state = JOB_QUEUED, .due_ms = clock_wall_ms(s->conf.clock)};
    struct job_spec spec;
    uint32_t last = 0;
    bool found = false;
    int rc = store_job_get(s, id, &spec, &found);

    if (rc == SQLITE_OK && (!found || !job_state_can_move(JOB_ON_RETRY, was, birth.state)))
        rc = SQLITE_CORRUPT;
    if (rc == SQLITE_OK)
        rc = need_lane(s, &spec, &birth.lane, ret_status);
    if (rc != SQLITE_OK || *ret_status != 0)
        return rc;
    rc = last_attempt_of(s, id, &last);
    if (rc == SQLITE_OK)
        rc = move_end(s, id, was);
    if (rc == SQLITE_OK)
        rc = store_attempts_trim(s, id, last);
    if (rc == SQLITE_OK)
        rc = drop_expiry(s, id, &spec);
    if (rc != SQLITE_OK)
        return rc;
    birth.spec = &spec;
    birth.attempt = *ret_attempt = last + 1;
    return store_live_insert(s, &birth);
}

int store_retry(struct store *s, struct store_retry *op, int *ret_status)
{
    struct store_live live;
    uint32_t attempt;
    bool is_live = false;
    int rc = store_end_get(s, op->id, &op->ret_was, &attempt);

    *ret_status = 0;
    if (rc == SQLITE_OK && op->ret_was != JOB_NONE)
        return store_retry_job(s, op->id, op->ret_was, &op->ret_attempt, ret_status);
    if (rc == SQLITE_OK)
        rc = store_live_get(s, op->id, &live, &is_live);
    *ret_status = is_live ? JM_ENOTFINISHED : JM_ENOJOB;
    return rc;
}
