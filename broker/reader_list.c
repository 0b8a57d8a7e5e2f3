/*
 * Lists: jobs found (reader_find.c), each then read as one job is; and what a job of the backlog
 * has before it.
 */
#include "broker/reader_inside.h"

struct shown {
    void *owner;
    reader_job_cb on_job;
};

/* The search holds the moment, so the job is still there. */
static int show(struct reader *r, void *owner, uint64_t id)
{
    struct shown *shown = owner;
    struct job_view job;
    bool found = false;
    struct reader_blobs blobs = {.wanted = false};
    int rc = reader_fetch(r, id, &blobs, &job, &found);

    if (rc == SQLITE_OK && found)
        shown->on_job(shown->owner, &job);
    return rc;
}

int reader_list(struct reader *r, const struct job_filter *filter,
                const struct reader_bounds *bounds, void *owner, reader_job_cb on_job,
                uint64_t *ret_next)
{
    struct shown shown = {.owner = owner, .on_job = on_job};

    return reader_find_each(r, filter, bounds, &shown, show, ret_next);
}

/* The queue's name is borrowed from the row of the first statement, so that one ends last. */
static int count_before(struct reader *r, struct store_query *place, uint64_t id, size_t limit,
                        size_t *ret_count)
{
    struct store_query q = reader_use(r, SQL_BEFORE);
    bool found = false;
    int rc;

    store_query_put_text(&q, store_query_bytes(place));
    store_query_put_int(&q, store_query_int(place));
    store_query_put_int(&q, store_query_int(place));
    store_query_put_int(&q, (int64_t)id);
    store_query_put_int(&q, (int64_t)limit);
    rc = store_query_next(&q, &found);
    if (rc == SQLITE_OK && found)
        *ret_count = (size_t)store_query_int(&q);
    store_query_end(&q);
    return rc;
}

int reader_before(struct reader *r, uint64_t id, size_t limit, size_t *ret_count)
{
    struct store_query q = reader_use(r, SQL_PLACE);
    bool found = false;
    int rc;

    store_query_put_int(&q, (int64_t)id);
    rc = store_query_next(&q, &found);
    if (rc == SQLITE_OK && found)
        rc = count_before(r, &q, id, limit, ret_count);
    else if (rc == SQLITE_OK)
        *ret_count = 0;
    store_query_end(&q);
    return reader_error(r, rc);
}

static int show_dispatched(struct reader *r, uint64_t id, unsigned node, void *owner,
                           reader_dispatched_cb on_job)
{
    struct job_view job;
    bool found = false;
    struct reader_blobs blobs = {.wanted = true, .max_bytes = READER_ANY_BYTES};
    int rc = reader_fetch(r, id, &blobs, &job, &found);

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
    struct store_query q = reader_use(r, SQL_DISPATCHED);
    bool has_row = false;
    int rc = store_query_next(&q, &has_row);

    while (rc == SQLITE_OK && has_row) {
        rc = show_dispatched(r, (uint64_t)store_query_int(&q), node, owner, on_job);
        if (rc == SQLITE_OK)
            rc = store_query_next(&q, &has_row);
    }
    store_query_end(&q);
    return reader_error(r, rc);
}
