/*
 * Ends that no attempt brings: a person cancels the job, or it has not begun by its time.
 */
#include "broker/store_inside.h"

#include <assert.h>

#include "schema/errors.h"

int store_live_cancel(struct store *s, const struct store_live *live,
                      const struct store_begun *begun)
{
    struct store_end end = {.job = live->job, .host = live->host, .begun_at_ms = live->begun_at_ms};

    assert(job_state_can_move(JOB_ON_CANCEL, live->job.state, JOB_CANCELLED));
    end.job.state = JOB_CANCELLED;
    if (begun != NULL && begun->attempt == live->job.attempt && live->begun_at_ms == 0) {
        end.host = begun->host;
        end.begun_at_ms = begun->at_ms;
    }
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
    return store_live_cancel(s, &live, &op->begun);
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

/* Up to `max` dispatched jobs that expire behind `after`, up to `until_ms`. */
static int find_out(struct store *s, struct store_expiry after, int64_t until_ms, size_t max,
                    uint64_t *ret_ids, size_t *ret_count, struct store_expiry *ret_last)
{
    struct store_query q = store_use(s, SQL_LIVE_EXPIRING_OUT);
    bool has_row = false;
    int rc;

    *ret_count = 0;
    store_query_put_int(&q, after.at_ms);
    store_query_put_int(&q, (int64_t)after.id);
    store_query_put_int(&q, until_ms);
    store_query_put_int(&q, (int64_t)max);
    rc = store_query_next(&q, &has_row);
    while (rc == SQLITE_OK && has_row) {
        ret_last->id = ret_ids[(*ret_count)++] = (uint64_t)store_query_int(&q);
        ret_last->at_ms = store_query_int(&q);
        rc = store_query_next(&q, &has_row);
    }
    return rc;
}

int store_expire(struct store *s, struct store_expire *op, int *ret_status)
{
    const struct store_expiry now = {.at_ms = op->now_ms, .id = INT64_MAX};
    struct store_expiry last = op->out_after;
    size_t found = 0;
    uint64_t id;
    int rc;

    op->ret_count = 0;
    op->ret_out_count = 0;
    rc = expire_waiting(s, op);
    if (rc == SQLITE_OK)
        rc = find_out(s, op->out_after, op->now_ms, op->max_out, op->ret_out_ids,
                      &op->ret_out_count, &last);
    op->ret_out_after = op->ret_out_count < op->max_out ? (struct store_expiry){.id = 0} : last;
    if (rc == SQLITE_OK)
        rc = find_out(s, now, INT64_MAX, 1, &id, &found, &last);
    if (found > 0 && (op->ret_next_ms < 0 || last.at_ms < op->ret_next_ms))
        op->ret_next_ms = last.at_ms;
    *ret_status = 0;
    return rc;
}
