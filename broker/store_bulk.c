/*
 * The same change of many jobs in one commit. What does not fit a job is no error: it may have
 * ended between the search that found it and this.
 */
#include "broker/store_inside.h"

static int cancel_item(struct store *s, struct store_bulk_item *item)
{
    struct store_live live;
    int rc = store_live_get(s, item->id, &live, &item->ret_is_changed);

    if (rc != SQLITE_OK || !item->ret_is_changed)
        return rc;
    item->ret_was = live.job.state;
    item->ret_attempt = live.job.attempt;
    return store_live_cancel(s, &live, &item->begun);
}

static int retry_item(struct store *s, struct store_bulk_item *item)
{
    int status = 0;
    int rc = store_end_get(s, item->id, &item->ret_was, &item->ret_attempt);

    if (rc != SQLITE_OK || item->ret_was == JOB_NONE)
        return rc;
    rc = store_retry_job(s, item->id, item->ret_was, &item->ret_attempt, &status);
    item->ret_is_changed = status == 0;
    return rc;
}

static int delete_item(struct store *s, struct store_bulk_item *item)
{
    struct store_removed removed;
    int rc = store_remove_job(s, item->id, INT64_MAX, &removed);

    if (rc != SQLITE_OK)
        return rc;
    item->ret_was = removed.state;
    item->ret_is_changed = removed.state != JOB_NONE;
    return SQLITE_OK;
}

static int change_item(struct store *s, enum store_bulk_verb verb, struct store_bulk_item *item)
{
    item->ret_is_changed = false;
    item->ret_was = JOB_NONE;
    item->ret_attempt = 0;
    switch (verb) {
    case BULK_CANCEL:
        return cancel_item(s, item);
    case BULK_RETRY:
        return retry_item(s, item);
    case BULK_DELETE:
        return delete_item(s, item);
    }
    return SQLITE_MISUSE;
}

int store_bulk(struct store *s, struct store_bulk *op, int *ret_status)
{
    int rc = SQLITE_OK;

    op->ret_changed = 0;
    for (size_t i = 0; rc == SQLITE_OK && i < op->count; i++) {
        rc = change_item(s, op->verb, &op->items[i]);
        op->ret_changed += op->items[i].ret_is_changed;
    }
    *ret_status = 0;
    return rc;
}
