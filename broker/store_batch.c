/*
 * A batch of new jobs that is stored as a whole or not at all. It has the transaction for itself,
 * so that undoing it is the rollback of that, and what the store keeps in memory (tally, lanes)
 * goes back with it as after any refusal.
 */
#include "broker/store_inside.h"

#include "schema/errors.h"

int store_submit_all(struct store *s, struct store_submit_all *op, int *ret_status)
{
    struct store_submit *submit = NULL;
    int status = op->next(op, &submit);
    int rc = SQLITE_OK;

    *ret_status = status;
    while (rc == SQLITE_OK && status == 0 && submit != NULL) {
        int each = 0;

        rc = store_submit(s, submit, &each);
        if (rc != SQLITE_OK)
            return rc;
        op->on_each(op, submit, each);
        if (each != 0)
            *ret_status = JM_EBATCH;
        status = op->next(op, &submit);
    }
    if (status != 0)
        *ret_status = status;
    s->is_undone = *ret_status != 0;
    return rc;
}
