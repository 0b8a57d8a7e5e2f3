/*
 * What people set for queues and tasks. Of it the store itself needs only how long a queue keeps
 * its ends, which stands with the queue's counts; a batch that is refused has changed nothing, so
 * what it set there is read again from the database.
 */
#include "broker/store_inside.h"

#include "broker/conf.h"

static int keep(struct store *s, struct span name, struct span record)
{
    struct store_queue *q = store_tally_need(&s->tally, name);
    struct queue_conf conf;

    if (q == NULL)
        return SQLITE_NOMEM;
    if (!conf_decode_queue(record, &conf))
        return SQLITE_CORRUPT;
    q->retain_ms = conf.retain_ms;
    q->retain_failed_ms = conf.retain_failed_ms;
    return SQLITE_OK;
}

int store_conf_load(struct store *s)
{
    struct store_query q = store_use(s, SQL_QUEUE_CONFS);
    bool has_row = false;
    int rc;

    LIST_EACH(node, &s->tally.all)
    {
        struct store_queue *queue = LIST_ENTRY(node, struct store_queue, in_all);

        queue->retain_ms = queue->retain_failed_ms = 0;
    }
    rc = store_query_next(&q, &has_row);
    while (rc == SQLITE_OK && has_row) {
        struct span name = store_query_bytes(&q);

        rc = keep(s, name, store_query_bytes(&q));
        if (rc != SQLITE_OK)
            store_query_end(&q);
        else
            rc = store_query_next(&q, &has_row);
    }
    return rc;
}

int store_set_conf(struct store *s, struct store_set_conf *op, int *ret_status)
{
    struct store_query q = store_use(s, op->is_task ? SQL_TASK_CONF_PUT : SQL_QUEUE_CONF_PUT);
    int rc;

    store_query_put_text(&q, op->name);
    store_query_put_blob(&q, op->record);
    *ret_status = 0;
    rc = store_query_run(&q);
    if (rc != SQLITE_OK || op->is_task)
        return rc;
    s->has_set_conf = true;
    return keep(s, op->name, op->record);
}
