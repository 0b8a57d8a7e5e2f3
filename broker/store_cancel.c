/*
 * Ends that no attempt brings: a person cancels the job, or it has not begun by its time.
 */
#include "broker/store_inside.h"

#include <assert.h>

#include "schema/errors.h"

int store_live_cancel(struct store *s, const struct store_live *live)
{
    struct store_end end = {.job = live->job, .host = live->host, .begun_at_ms = live->begun_at_ms};

    assert(job_state_can_move(JOB_ON_CANCEL, live->job.state, JOB_CANCELLED));
    end.job.state = JOB_CANCELLED;
    return store_live_end(s, live, &end);
}

int store_cancel(struct store *s, struct store_cancel *op, int *ret_status)
{
    struct store_live live;
    bool found = false;
    int rc = store_live_get(s, op->id, &live, &found);

    op->ret_was = JOB_NONE;
    if (rc == SQLITE_OK && !found) {
        rc = store_end_get(s, op->id, &op->ret_state, &op->ret_attempt);
        *ret_status = op->ret_state == JOB_NONE ? JM_ENOJOB : JM_EFINISHED;
        op->ret_was = op->ret_state;
        return rc;
    }
    if (rc != SQLITE_OK)
        return rc;
    op->ret_was = live.job.state;
    op->ret_state = JOB_CANCELLED;
    op->ret_attempt = live.job.attempt;
    *ret_status = 0;
    return store_live_cancel(s, &live);
}

/* ---- expiry ---- */

static int end_expired(struct store *s, uint64_t id)
{
    struct store_live live;
    struct store_end end;
    bool found = false;
    int rc = store_live_get(s, id, &live, &found);

    if (rc == SQLITE_OK && !found)
        rc = SQLITE_CORRUPT; /* the index names a row that is not there */
    if (rc != SQLITE_OK)
        return rc;
    end = (struct store_end){.job = live.job, .host = live.host, .begun_at_ms = live.begun_at_ms};
    assert(job_state_can_move(JOB_ON_EXPIRE, live.job.state, JOB_EXPIRED));
    end.job.state = JOB_EXPIRED;
    return store_live_end(s, &live, &end);
}

/* The first that has not been dispatched; -1: none. */
static int next_expiry(struct store *s, uint64_t *ret_id, int64_t *ret_expires_ms)
{
    struct store_query q = store_use(s, SQL_LIVE_EXPIRING);
    bool found = false;
    int rc = store_query_next(&q, &found);

    *ret_expires_ms = -1;
    if (rc != SQLITE_OK || !found)
        return rc;
    *ret_id = (uint64_t)store_query_int(&q);
    *ret_expires_ms = store_query_int(&q);
    store_query_end(&q);
    return SQLITE_OK;
}

static int expire_waiting(struct store *s, struct store_expire *op)
{
    uint64_t id = 0;
    int rc = next_expiry(s, &id, &op->ret_next_ms);

    while (rc == SQLITE_OK && op->ret_next_ms >= 0 && op->ret_next_ms <= op->now_ms &&
           op->ret_count < op->max_jobs) {
        rc = end_expired(s, id);
        op->ret_ids[op->ret_count++] = id;
        if (rc == SQLITE_OK)
            rc = next_expiry(s, &id, &op->ret_next_ms);
    }
    return rc;
}

/* Up to `max` dispatched jobs that expire behind `after_ms`, up to `until_ms`. */
static int find_out(struct store *s, int64_t after_ms, int64_t until_ms, size_t max,
                    uint64_t *ret_ids, size_t *ret_count, int64_t *ret_expires_ms)
{
    struct store_query q = store_use(s, SQL_LIVE_EXPIRING_OUT);
    bool has_row = false;
    int rc;

    *ret_count = 0;
    store_query_put_int(&q, after_ms);
    store_query_put_int(&q, until_ms);
    store_query_put_int(&q, (int64_t)max);
    rc = store_query_next(&q, &has_row);
    while (rc == SQLITE_OK && has_row) {
        ret_ids[(*ret_count)++] = (uint64_t)store_query_int(&q);
        *ret_expires_ms = store_query_int(&q);
        rc = store_query_next(&q, &has_row);
    }
    return rc;
}

int store_expire(struct store *s, struct store_expire *op, int *ret_status)
{
    int64_t out_ms = 0;
    size_t found = 0;
    uint64_t id;
    int rc;

    op->ret_count = 0;
    op->ret_out_count = 0;
    rc = expire_waiting(s, op);
    if (rc == SQLITE_OK)
        rc = find_out(s, 0, op->now_ms, op->max_jobs, op->ret_out_ids, &op->ret_out_count, &out_ms);
    if (rc == SQLITE_OK)
        rc = find_out(s, op->now_ms, INT64_MAX, 1, &id, &found, &out_ms);
    if (found > 0 && (op->ret_next_ms < 0 || out_ms < op->ret_next_ms))
        op->ret_next_ms = out_ms;
    *ret_status = 0;
    return rc;
}
