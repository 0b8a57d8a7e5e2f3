/*
 * Ends that a person asks for.
 */
#include "broker/store_inside.h"

#include "schema/errors.h"

int store_live_cancel(struct store *s, const struct store_live *live)
{
    struct store_end end = {.job = live->job, .host = live->host, .begun_at_ms = live->begun_at_ms};

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
