/*
 * What people set for queues and tasks.
 */
#include "broker/store_inside.h"

int store_set_conf(struct store *s, struct store_set_conf *op, int *ret_status)
{
    struct store_query q = store_use(s, op->is_task ? SQL_TASK_CONF_PUT : SQL_QUEUE_CONF_PUT);

    store_query_put_text(&q, op->name);
    store_query_put_blob(&q, op->record);
    *ret_status = 0;
    return store_query_run(&q);
}
