/*
 * Which function runs which kind of operation.
 */
#include <assert.h>

#include "broker/store_inside.h"
#include "schema/errors.h"

int store_ops_run(struct store *s, struct store_op *op)
{
    switch (op->kind) {
    case STORE_SUBMIT:
        return store_submit(s, JM_CONTAINER_OF(op, struct store_submit, op), &op->status);
    case STORE_SUBMIT_ALL:
        return store_submit_all(s, JM_CONTAINER_OF(op, struct store_submit_all, op), &op->status);
    case STORE_APPLY:
        return store_apply(s, JM_CONTAINER_OF(op, struct store_apply, op), &op->status);
    case STORE_TAKE:
        return store_take(s, JM_CONTAINER_OF(op, struct store_take, op), &op->status);
    case STORE_PUT_BACK:
        return store_put_back(s, JM_CONTAINER_OF(op, struct store_put_back, op), &op->status);
    case STORE_DUE:
        return store_due(s, JM_CONTAINER_OF(op, struct store_due, op), &op->status);
    case STORE_CANCEL:
        return store_cancel(s, JM_CONTAINER_OF(op, struct store_cancel, op), &op->status);
    case STORE_DELETE:
        return store_delete(s, JM_CONTAINER_OF(op, struct store_delete, op), &op->status);
    case STORE_EXPIRE:
        return store_expire(s, JM_CONTAINER_OF(op, struct store_expire, op), &op->status);
    case STORE_CHANGE:
        return store_change(s, JM_CONTAINER_OF(op, struct store_change, op), &op->status);
    case STORE_RETRY:
        return store_retry(s, JM_CONTAINER_OF(op, struct store_retry, op), &op->status);
    case STORE_BULK:
        return store_bulk(s, JM_CONTAINER_OF(op, struct store_bulk, op), &op->status);
    case STORE_PURGE:
        return store_purge(s, JM_CONTAINER_OF(op, struct store_purge, op), &op->status);
    case STORE_SET_CONF:
        return store_set_conf(s, JM_CONTAINER_OF(op, struct store_set_conf, op), &op->status);
    case STORE_LEARN:
        return store_learn(s, JM_CONTAINER_OF(op, struct store_learn, op), &op->status);
    case STORE_RESERVE_IDS:
        return store_reserve_ids(s, JM_CONTAINER_OF(op, struct store_reserve_ids, op), &op->status);
    case STORE_PROBE:
        return store_probe(s, JM_CONTAINER_OF(op, struct store_probe, op), &op->status);
    }
    assert(false && "a kind of operation that nobody runs");
    return SQLITE_MISUSE;
}
