/*
 * Lists. A walk over the shortest index or table that has every candidate gives ids, newest first;
 * each candidate is then read as one job is. The walk's statement stays open meanwhile and holds
 * the snapshot, so what it names is there; that is why a walk is bounded in rows.
 */
#include "broker/reader_inside.h"

/* The shortest walk that meets every job in one of these states. */
static enum reader_sql walk_of(unsigned states)
{
    const unsigned out = 1u << JOB_DISPATCHED | 1u << JOB_RUNNING;
    const unsigned live = out | 1u << JOB_SCHEDULED | 1u << JOB_QUEUED;

    if (states == 0 || ((states & live) != 0 && (states & ~live) != 0))
        return SQL_SCAN_JOBS;
    if ((states & ~out) == 0)
        return SQL_SCAN_OUT;
    if ((states & ~live) == 0)
        return SQL_SCAN_LIVE;
    return states == 1u << JOB_FAILED ? SQL_SCAN_FAILED : SQL_SCAN_ENDS;
}

static bool is_wanted(const struct reader_filter *f, const struct job_view *job)
{
    if (f->states != 0 && (f->states & 1u << job->state) == 0)
        return false;
    if (f->queue.len > 0 && !span_is_equal(f->queue, job->spec.queue))
        return false;
    return f->task.len == 0 || span_is_equal(f->task, job->spec.task);
}

/* Shows the job if it matches. The walk holds the snapshot, so it is still there. */
static int show(struct reader *r, const struct reader_filter *f, uint64_t id, enum job_state state,
                void *owner, reader_job_cb on_job, size_t *shown)
{
    struct job_view job;
    bool found = false;
    int rc;

    if (state != JOB_NONE && (f->states & 1u << state) == 0)
        return SQLITE_OK;
    rc = reader_fetch(r, id, false, &job, &found);
    if (rc == SQLITE_OK && found && is_wanted(f, &job)) {
        on_job(owner, &job);
        ++*shown;
    }
    return rc;
}

int reader_list(struct reader *r, const struct reader_filter *filter, size_t limit, size_t max_scan,
                void *owner, reader_job_cb on_job, uint64_t *ret_next)
{
    struct store_query q = reader_use(r, walk_of(filter->states));
    uint64_t below = filter->below != 0 ? filter->below : (uint64_t)INT64_MAX;
    uint64_t last = 0;
    size_t shown = 0;
    size_t seen = 0;
    bool has_row = false;
    int rc;

    store_query_put_int(&q, (int64_t)(below < INT64_MAX ? below : INT64_MAX));
    rc = store_query_next(&q, &has_row);
    while (rc == SQLITE_OK && has_row && shown < limit && seen < max_scan) {
        last = (uint64_t)store_query_int(&q);
        seen++;
        rc = show(r, filter, last, (enum job_state)store_query_int(&q), owner, on_job, &shown);
        if (rc == SQLITE_OK)
            rc = store_query_next(&q, &has_row);
    }
    store_query_end(&q);
    if (rc != SQLITE_OK)
        return reader_error(rc);
    *ret_next = has_row ? last : 0;
    return 0;
}

static int show_dispatched(struct reader *r, uint64_t id, unsigned node, void *owner,
                           reader_dispatched_cb on_job)
{
    struct job_view job;
    bool found = false;
    int rc = reader_fetch(r, id, true, &job, &found);

    if (rc != SQLITE_OK || !found)
        return rc;
    /* The last error of an earlier attempt is in r->frame: nobody needs it here. */
    job.error = (struct span){0};
    buf_clear(&r->frame);
    wire_encode_job(&r->frame, &(struct wire_job){.node = node,
                                                  .id = id,
                                                  .attempt = job.attempt,
                                                  .timeout_ms = job.spec.timeout_ms,
                                                  .grace_ms = job.spec.grace_ms,
                                                  .queue = job.spec.queue,
                                                  .task = job.spec.task,
                                                  .args = job.spec.args});
    if (buf_has_failed(&r->frame))
        return SQLITE_NOMEM;
    on_job(owner, &job, buf_span(&r->frame));
    return SQLITE_OK;
}

int reader_dispatched(struct reader *r, unsigned node, void *owner, reader_dispatched_cb on_job)
{
    struct store_query q = reader_use(r, SQL_SCAN_OUT);
    bool has_row = false;
    int rc;

    store_query_put_int(&q, INT64_MAX);
    rc = store_query_next(&q, &has_row);
    while (rc == SQLITE_OK && has_row) {
        rc = show_dispatched(r, (uint64_t)store_query_int(&q), node, owner, on_job);
        if (rc == SQLITE_OK)
            rc = store_query_next(&q, &has_row);
    }
    store_query_end(&q);
    return reader_error(rc);
}
