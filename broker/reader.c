/*
 * Reads. A job is read with one statement over jobs, live and ends, so that what is shown is one
 * moment's truth. What it gives is copied into the reader and the statement is reset at once: a
 * statement that stays open holds its snapshot, and a held snapshot keeps the WAL from starting
 * anew.
 */
#include "broker/reader_inside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/job_options.h"

static const char *const statements[READER_SQL_COUNT] = {
#define X(name, text) [name] = text,
    READER_STATEMENTS(X)
#undef X
};

/* Longer buffers are given back. */
enum { READER_KEEP_BYTES = 64 << 10, READER_MAX_BYTES = 64 << 20 };

/* Damage is what SQLite itself calls so, and what of a row cannot be decoded. */
int reader_error(struct reader *r, int rc)
{
    int error = store_db_error(rc);
    char sentence[400];

    if (error == JM_ECORRUPT && r->on_damage != NULL) {
        bool is_sqlite = store_db_error(sqlite3_errcode(r->db)) == JM_ECORRUPT;

        snprintf(sentence, sizeof(sentence),
                 "The database failed at a read: %s (SQLite code %d).%s",
                 is_sqlite ? sqlite3_errmsg(r->db) : "a record of ours cannot be decoded", rc,
                 STORE_DAMAGE_REMEDY);
        r->on_damage(r->damage_owner, sentence);
    }
    return error == JM_EFULL ? JM_ESTORE : error;
}

int reader_open(const struct store_conf *conf, struct reader **ret_reader)
{
    struct reader *r = calloc(1, sizeof(*r));
    int rc;

    if (r == NULL)
        return JM_ENOMEM;
    r->clock = conf->clock;
    r->on_damage = conf->on_damage;
    r->damage_owner = conf->damage_owner;
    buf_init(&r->bytes, READER_MAX_BYTES);
    buf_init(&r->frame, JM_FRAME_BYTES);
    rc = store_db_open(conf, STORE_DB_READER, &r->db);
    if (rc == SQLITE_OK)
        rc = store_db_prepare(r->db, statements, READER_SQL_COUNT, r->stmts);
    if (rc != SQLITE_OK) {
        rc = reader_error(r, rc);
        reader_close(r);
        return rc;
    }
    *ret_reader = r;
    return 0;
}

struct reader *reader_close(struct reader *r)
{
    if (r == NULL)
        return NULL;
    store_db_finalize(r->stmts, READER_SQL_COUNT);
    (void)sqlite3_close(r->db); /* cannot be busy: all statements are finalized */
    buf_done(&r->bytes);
    buf_done(&r->frame);
    free(r);
    return NULL;
}

/* ---- several reads as one ---- */

/* A transaction that cannot begin or end is none: then each read has its own, as without it. */
static void run(struct reader *r, enum reader_sql which)
{
    struct store_query q = reader_use(r, which);

    (void)store_query_run(&q);
}

void reader_begin(struct reader *r)
{
    if (r->depth++ == 0)
        run(r, SQL_BEGIN);
}

void reader_end(struct reader *r)
{
    assert(r->depth > 0);
    if (--r->depth == 0 && !sqlite3_get_autocommit(r->db))
        run(r, SQL_COMMIT);
}

/* ---- one job ---- */

/* The spans point into SQLite's row. */
static void view_row(struct store_query *q, struct reader_blobs *blobs, struct job_view *ret_job)
{
    *ret_job = (struct job_view){.id = (uint64_t)store_query_int(q)};
    ret_job->spec.queue = store_query_bytes(q);
    ret_job->spec.task = store_query_bytes(q);
    ret_job->spec.priority = (uint32_t)store_query_int(q);
    ret_job->spec.max_attempts = (uint32_t)store_query_int(q);
    ret_job->spec.timeout_ms = (uint64_t)store_query_int(q);
    ret_job->spec.grace_ms = (uint64_t)store_query_int(q);
    ret_job->spec.options = store_query_bytes(q);
    ret_job->spec.tags = store_query_bytes(q);
    ret_job->state = (enum job_state)store_query_int(q);
    ret_job->attempt = (uint32_t)store_query_int(q);
    ret_job->failures = (uint32_t)store_query_int(q);
    ret_job->crashes = (uint32_t)store_query_int(q);
    ret_job->deaths = (uint32_t)store_query_int(q);
    ret_job->due_ms = store_query_int(q);
    ret_job->host = (uint64_t)store_query_int(q);
    ret_job->begun_at_ms = store_query_int(q);
    ret_job->finished_at_ms = store_query_int(q);
    ret_job->run_us = (uint64_t)store_query_int(q);
    ret_job->may_have_attempts = store_query_int(q) != 0;
    ret_job->error = store_query_bytes(q);
    if (blobs->wanted) {
        blobs->ret_bytes = (size_t)store_query_int(q);
        ret_job->spec.args = store_query_bytes(q);
        ret_job->result = store_query_bytes(q);
    }
}

/* Moves the spans into the reader's buffer; all of it is reserved first, so that it stays put. */
static int keep_view(struct reader *r, struct job_view *job)
{
    struct span *const spans[] = {&job->spec.queue, &job->spec.task, &job->spec.options,
                                  &job->spec.tags,  &job->spec.args, &job->error,
                                  &job->result};
    size_t total = 0;

    for (size_t i = 0; i < JM_COUNT_OF(spans); i++)
        total += spans[i]->len;
    buf_shrink(&r->bytes, READER_KEEP_BYTES);
    if (buf_reserve(&r->bytes, total) == NULL)
        return SQLITE_NOMEM;
    for (size_t i = 0; i < JM_COUNT_OF(spans); i++) {
        size_t at = r->bytes.len;

        buf_put_span(&r->bytes, *spans[i]);
        *spans[i] = span_of(r->bytes.data + at, spans[i]->len);
    }
    return SQLITE_OK;
}

/* What the record of the options says, at hand as in a submit. */
static int fill_options(struct job_view *job)
{
    struct job_options options;

    if (!job_options_decode(job->spec.options, &options))
        return SQLITE_CORRUPT;
    job->spec.limit_key = options.limit_key;
    job->spec.expires_at_ms = options.expires_at_ms;
    job->spec.retain_ms = options.retain_ms;
    return SQLITE_OK;
}

/* A job that is being tried again shows what went wrong last. */
static int keep_last_error(struct reader *r, struct job_view *job)
{
    struct store_query q = reader_use(r, SQL_LAST_ERROR);
    bool found = false;
    int rc;

    store_query_put_int(&q, (int64_t)job->id);
    rc = store_query_next(&q, &found);
    if (rc != SQLITE_OK || !found)
        return rc;
    buf_clear(&r->frame);
    buf_put_span(&r->frame, store_query_bytes(&q));
    store_query_end(&q);
    if (buf_has_failed(&r->frame))
        return SQLITE_NOMEM;
    job->error = buf_span(&r->frame);
    return SQLITE_OK;
}

int reader_fetch(struct reader *r, uint64_t id, struct reader_blobs *blobs,
                 struct job_view *ret_job, bool *ret_found)
{
    struct store_query q = reader_use(r, blobs->wanted ? SQL_GET_BLOBS : SQL_GET);
    int rc;

    store_query_put_int(&q, (int64_t)id);
    if (blobs->wanted)
        store_query_put_int(&q, (int64_t)blobs->max_bytes);
    rc = store_query_next(&q, ret_found);
    if (rc != SQLITE_OK || !*ret_found)
        return rc;
    view_row(&q, blobs, ret_job);
    rc = keep_view(r, ret_job);
    store_query_end(&q);
    if (rc == SQLITE_OK)
        rc = fill_options(ret_job);
    if (rc == SQLITE_OK && !job_state_is_terminal(ret_job->state) && ret_job->attempt > 1)
        rc = keep_last_error(r, ret_job);
    return rc;
}

static int get(struct reader *r, uint64_t id, struct reader_blobs *blobs, struct job_view *ret_job)
{
    struct job_view job;
    bool found = false;
    int rc = reader_fetch(r, id, blobs, &job, &found);

    if (rc != SQLITE_OK)
        return reader_error(r, rc);
    if (!found)
        return JM_ENOJOB;
    *ret_job = job;
    return 0;
}

int reader_get(struct reader *r, uint64_t id, bool with_blobs, struct job_view *ret_job)
{
    struct reader_blobs blobs = {.wanted = with_blobs, .max_bytes = READER_ANY_BYTES};

    return get(r, id, &blobs, ret_job);
}

static int add_attempts_size(struct reader *r, uint64_t id, size_t *bytes)
{
    struct store_query q = reader_use(r, SQL_ATTEMPTS_SIZE);
    bool found = false;
    int rc;

    store_query_put_int(&q, (int64_t)id);
    rc = store_query_next(&q, &found);
    if (rc != SQLITE_OK)
        return reader_error(r, rc);
    if (found) {
        *bytes += (size_t)store_query_int(&q);
        store_query_end(&q);
    }
    return 0;
}

int reader_get_small(struct reader *r, uint64_t id, size_t max_bytes, struct job_view *ret_job,
                     bool *ret_is_small)
{
    struct reader_blobs blobs = {.wanted = true, .max_bytes = max_bytes};
    int rc = get(r, id, &blobs, ret_job);

    if (rc == 0 && ret_job->may_have_attempts)
        rc = add_attempts_size(r, id, &blobs.ret_bytes);
    if (rc == 0)
        *ret_is_small = blobs.ret_bytes <= max_bytes;
    return rc;
}

/* ---- the rest ---- */

int reader_counts(struct reader *r, void *owner, store_counts_cb on_queue)
{
    struct store_query q = reader_use(r, SQL_COUNTS);
    bool has_row = false;
    int rc = store_query_next(&q, &has_row);

    while (rc == SQLITE_OK && has_row) {
        struct span name = store_query_bytes(&q);
        struct store_counts counts = {{0}};

        for (int state = JOB_SCHEDULED; state <= JOB_EXPIRED; state++)
            if (state <= JOB_RUNNING || state >= JOB_SUCCEEDED)
                counts.by_state[state] = store_query_int(&q);
        on_queue(owner, name, &counts);
        rc = store_query_next(&q, &has_row);
    }
    return reader_error(r, rc);
}

/* The one number that a statement gives, or `none`. */
static int get_number(struct store_query *q, int64_t none, int64_t *ret_value)
{
    bool found = false;
    int rc = store_query_next(q, &found);

    if (rc != SQLITE_OK)
        return rc;
    *ret_value = none;
    if (found) {
        *ret_value = store_query_int(q);
        store_query_end(q);
    }
    return SQLITE_OK;
}

static int get_meta(struct reader *r, const char *name, uint64_t *ret_value)
{
    struct store_query q = reader_use(r, SQL_META);
    int64_t value = 0;
    int rc;

    store_query_put_text(&q, span_of_str(name));
    rc = get_number(&q, 0, &value);
    if (rc == SQLITE_OK)
        *ret_value = (uint64_t)value;
    return rc;
}

int reader_start(struct reader *r, struct reader_start *ret_start)
{
    struct store_query due = reader_use(r, SQL_NEXT_DUE), last = reader_use(r, SQL_LAST_ID);
    struct reader_start start;
    int64_t last_id = 0;
    int rc = get_number(&due, -1, &start.next_due_ms);

    if (rc == SQLITE_OK)
        rc = get_meta(r, "last_taken", &start.last_taken);
    if (rc == SQLITE_OK)
        rc = get_meta(r, "id_high_water", &start.id_high_water);
    if (rc == SQLITE_OK)
        rc = get_number(&last, 0, &last_id);
    start.last_id = (uint64_t)last_id;
    if (rc == SQLITE_OK)
        *ret_start = start;
    return reader_error(r, rc);
}

int reader_lanes(struct reader *r, void *owner, store_lane_cb on_lane)
{
    struct store_query q = reader_use(r, SQL_LANES);
    bool has_row = false;
    int rc = store_query_next(&q, &has_row);

    while (rc == SQLITE_OK && has_row) {
        struct store_lane_view lane = {.number = store_query_int(&q)};

        lane.queue = store_query_bytes(&q);
        lane.task = store_query_bytes(&q);
        lane.limit_key = store_query_bytes(&q);
        lane.priority = (uint32_t)store_query_int(&q);
        lane.queued = (uint64_t)store_query_int(&q);
        on_lane(owner, &lane);
        rc = store_query_next(&q, &has_row);
    }
    return reader_error(r, rc);
}

int reader_rates(struct reader *r, void *owner, reader_rate_cb on_rate)
{
    struct store_query q = reader_use(r, SQL_RATES);
    bool has_row = false;
    int rc = store_query_next(&q, &has_row);

    while (rc == SQLITE_OK && has_row) {
        struct span queue = store_query_bytes(&q);
        struct store_rate rate = {.limit_key = store_query_bytes(&q)};

        rate.full_at_us = store_query_int(&q);
        on_rate(owner, queue, &rate);
        rc = store_query_next(&q, &has_row);
    }
    return reader_error(r, rc);
}

static int walk_confs(struct reader *r, enum reader_sql which, void *owner, reader_conf_cb on_conf)
{
    struct store_query q = reader_use(r, which);
    bool has_row = false;
    int rc = store_query_next(&q, &has_row);

    while (rc == SQLITE_OK && has_row) {
        struct span name = store_query_bytes(&q);

        on_conf(owner, which == SQL_TASK_CONFS, name, store_query_bytes(&q));
        rc = store_query_next(&q, &has_row);
    }
    return rc;
}

int reader_confs(struct reader *r, void *owner, reader_conf_cb on_conf)
{
    int rc = walk_confs(r, SQL_QUEUE_CONFS, owner, on_conf);

    if (rc == SQLITE_OK)
        rc = walk_confs(r, SQL_TASK_CONFS, owner, on_conf);
    return reader_error(r, rc);
}

int reader_attempts(struct reader *r, uint64_t id, void *owner, reader_attempt_cb on_attempt)
{
    struct store_query q = reader_use(r, SQL_ATTEMPTS);
    bool has_row = false;
    int rc;

    store_query_put_int(&q, (int64_t)id);
    rc = store_query_next(&q, &has_row);
    while (rc == SQLITE_OK && has_row) {
        struct attempt_view attempt = {.attempt = (uint32_t)store_query_int(&q)};

        attempt.outcome = store_query_bytes(&q);
        attempt.host = (uint64_t)store_query_int(&q);
        attempt.begun_at_ms = store_query_int(&q);
        attempt.ended_at_ms = store_query_int(&q);
        attempt.run_us = (uint64_t)store_query_int(&q);
        attempt.error = store_query_bytes(&q);
        on_attempt(owner, &attempt);
        rc = store_query_next(&q, &has_row);
    }
    return reader_error(r, rc);
}

int reader_tasks(struct reader *r, void *owner, reader_task_cb on_task)
{
    struct store_query q = reader_use(r, SQL_TASKS);
    bool has_row = false;
    int rc = store_query_next(&q, &has_row);

    while (rc == SQLITE_OK && has_row) {
        struct wire_task task = {.name = store_query_bytes(&q)};

        task.kind = store_query_bytes(&q);
        task.doc = store_query_bytes(&q);
        on_task(owner, &task, store_query_int(&q));
        rc = store_query_next(&q, &has_row);
    }
    return reader_error(r, rc);
}
