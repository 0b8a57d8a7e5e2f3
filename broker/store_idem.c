/*
 * Idempotency keys. A key lives exactly its window from the submit that made it, whatever becomes
 * of the job: behind that it counts as absent, whether the purge has come by or not. Its row's id
 * only says which job it made, and orders the rows by age; it is given out also to a submit that
 * made none because a unique job was there already, which is then the answer to a repeat too. A key
 * that seems to come from further ahead than a window was made under a clock that was wrong, and
 * counts as absent too.
 */
#include "broker/store_inside.h"

#include "schema/errors.h"

static bool is_over(const struct store *s, int64_t created_at_ms, int64_t now_ms)
{
    int64_t window_ms = (int64_t)s->conf.idempotency_ms;

    return now_ms - created_at_ms >= window_ms || created_at_ms - now_ms > window_ms;
}

int store_idem_find(struct store *s, struct store_submit *op, bool *ret_known, int *ret_status)
{
    struct store_query q = store_use(s, SQL_IDEM_GET);
    struct span fingerprint;
    int rc;

    store_query_put_text(&q, op->key);
    rc = store_query_next(&q, ret_known);
    if (rc != SQLITE_OK || !*ret_known)
        return rc;
    if (is_over(s, store_query_int(&q), clock_wall_ms(s->conf.clock))) {
        *ret_known = false;
        store_query_end(&q);
        return SQLITE_OK;
    }
    fingerprint = store_query_bytes(&q);
    if (span_is_equal(fingerprint, span_of(op->fingerprint, sizeof(op->fingerprint)))) {
        uint64_t id = (uint64_t)store_query_int(&q);
        uint64_t existing_id = (uint64_t)store_query_int(&q);

        op->ret_is_repeat = true;
        op->ret_is_existing = existing_id != 0;
        op->ret_existing_id = existing_id != 0 ? existing_id : id;
        *ret_status = 0;
    } else {
        *ret_status = JM_EIDEMPOTENCY;
    }
    store_query_end(&q);
    return SQLITE_OK;
}

int store_idem_put(struct store *s, const struct store_submit *op)
{
    struct store_query q = store_use(s, SQL_IDEM_PUT);

    store_query_put_text(&q, op->key);
    store_query_put_blob(&q, span_of(op->fingerprint, sizeof(op->fingerprint)));
    store_query_put_int(&q, (int64_t)op->id);
    store_query_put_int(&q, clock_wall_ms(s->conf.clock));
    store_query_put_int(&q, op->ret_is_existing ? (int64_t)op->ret_existing_id : 0);
    return store_query_run(&q);
}

int store_idem_purge(struct store *s, int64_t now_ms, bool *ret_is_removed, int64_t *ret_over_ms)
{
    struct store_query q = store_use(s, SQL_IDEM_OLDEST);
    struct store_query delete = store_use(s, SQL_IDEM_DELETE);
    int64_t id, created_at_ms;
    int rc = store_query_next(&q, ret_is_removed);

    *ret_over_ms = 0;
    if (rc != SQLITE_OK || !*ret_is_removed)
        return rc;
    id = store_query_int(&q);
    created_at_ms = store_query_int(&q);
    store_query_end(&q);
    *ret_is_removed = is_over(s, created_at_ms, now_ms);
    if (!*ret_is_removed) {
        *ret_over_ms = created_at_ms + (int64_t)s->conf.idempotency_ms;
        return SQLITE_OK;
    }
    store_query_put_int(&delete, id);
    return store_query_run(&delete);
}
