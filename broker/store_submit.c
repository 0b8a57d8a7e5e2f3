/*
 * What clients ask for: a new job, a cancel, a delete.
 */
#include "broker/store_inside.h"

#include "schema/errors.h"

/* Whether the key is known, and then what the answer is. */
static int look_up_key(struct store *s, struct store_submit *op, bool *ret_known, int *ret_status)
{
    struct store_query q = store_use(s, SQL_IDEM_GET);
    struct span fingerprint;
    int rc;

    store_query_put_text(&q, op->key);
    rc = store_query_next(&q, ret_known);
    if (rc != SQLITE_OK || !*ret_known)
        return rc;
    fingerprint = store_query_bytes(&q);
    if (span_is_equal(fingerprint, span_of(op->fingerprint, sizeof(op->fingerprint)))) {
        op->ret_is_repeat = true;
        op->ret_existing_id = (uint64_t)store_query_int(&q);
        *ret_status = 0;
    } else {
        *ret_status = JM_EIDEMPOTENCY;
    }
    store_query_end(&q);
    return SQLITE_OK;
}

static int insert_key(struct store *s, const struct store_submit *op)
{
    struct store_query q = store_use(s, SQL_IDEM_INSERT);

    store_query_put_text(&q, op->key);
    store_query_put_blob(&q, span_of(op->fingerprint, sizeof(op->fingerprint)));
    store_query_put_int(&q, (int64_t)op->id);
    store_query_put_int(&q, clock_wall_ms(s->conf.clock));
    return store_query_run(&q);
}

static int insert_job(struct store *s, const struct store_submit *op)
{
    struct store_query q = store_use(s, SQL_JOB_INSERT);

    store_query_put_int(&q, (int64_t)op->id);
    store_query_put_text(&q, op->spec.queue);
    store_query_put_text(&q, op->spec.task);
    store_query_put_int(&q, op->spec.priority);
    store_query_put_int(&q, op->spec.max_attempts);
    store_query_put_int(&q, (int64_t)op->spec.timeout_ms);
    store_query_put_int(&q, (int64_t)op->spec.grace_ms);
    store_query_put_blob(&q, op->spec.options);
    store_query_put_blob(&q, op->spec.tags);
    store_query_put_blob(&q, op->spec.args);
    return store_query_run(&q);
}

static int insert_live(struct store *s, const struct store_submit *op)
{
    struct store_query q = store_use(s, SQL_LIVE_INSERT);

    store_query_put_int(&q, (int64_t)op->id);
    store_query_put_text(&q, op->spec.queue);
    store_query_put_int(&q, op->state);
    store_query_put_int(&q, op->spec.priority);
    store_query_put_int(&q, op->due_ms);
    store_query_put_int(&q, op->spec.max_attempts);
    store_query_put_int(&q, op->spec.expires_at_ms);
    store_query_put_int(&q, (int64_t)op->spec.retain_ms);
    return store_query_run(&q);
}

int store_submit(struct store *s, struct store_submit *op, int *ret_status)
{
    struct store_queue *queue;
    bool known = false;
    int rc = SQLITE_OK;

    op->ret_is_repeat = false;
    op->ret_existing_id = 0;
    if (op->key.len > 0)
        rc = look_up_key(s, op, &known, ret_status);
    if (rc != SQLITE_OK || known)
        return rc;
    queue = store_tally_need(&s->tally, op->spec.queue);
    if (queue == NULL)
        return SQLITE_NOMEM;
    rc = insert_job(s, op);
    /* The id is there already: the caller's bug, but no reason to fail its neighbours. */
    if (rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_ROWID) {
        *ret_status = JM_EINTERNAL;
        return SQLITE_OK;
    }
    if (rc == SQLITE_OK)
        rc = insert_live(s, op);
    if (rc == SQLITE_OK && op->key.len > 0)
        rc = insert_key(s, op);
    if (rc == SQLITE_OK)
        store_tally_move(&s->tally, queue, JOB_NONE, op->state);
    *ret_status = 0;
    return rc;
}

int store_cancel(struct store *s, struct store_cancel *op, int *ret_status)
{
    struct store_live live;
    struct store_end end;
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
    end = (struct store_end){.job = live.job, .host = live.host, .begun_at_ms = live.begun_at_ms};
    end.job.state = JOB_CANCELLED;
    op->ret_was = live.job.state;
    op->ret_state = JOB_CANCELLED;
    op->ret_attempt = live.job.attempt;
    *ret_status = 0;
    return store_live_end(s, &live, &end);
}

static int delete_rows(struct store *s, uint64_t id)
{
    static const enum store_sql tables[] = {SQL_END_DELETE, SQL_ATTEMPTS_DELETE, SQL_IDEM_DELETE,
                                            SQL_JOB_DELETE};
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < JM_COUNT_OF(tables); i++) {
        struct store_query q = store_use(s, tables[i]);

        store_query_put_int(&q, (int64_t)id);
        rc = store_query_run(&q);
    }
    return rc;
}

static int queue_of(struct store *s, uint64_t id, struct store_queue **ret_queue, bool *ret_found)
{
    struct store_query q = store_use(s, SQL_JOB_QUEUE);
    int rc;

    store_query_put_int(&q, (int64_t)id);
    rc = store_query_next(&q, ret_found);
    if (rc != SQLITE_OK || !*ret_found)
        return rc;
    *ret_queue = store_tally_need(&s->tally, store_query_bytes(&q));
    store_query_end(&q);
    return *ret_queue == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

int store_delete(struct store *s, struct store_delete *op, int *ret_status)
{
    struct store_queue *queue = NULL;
    enum job_state state = JOB_NONE;
    uint32_t attempt;
    bool found = false;
    int rc = queue_of(s, op->id, &queue, &found);

    if (rc == SQLITE_OK && found)
        rc = store_end_get(s, op->id, &state, &attempt);
    if (rc != SQLITE_OK)
        return rc;
    if (state == JOB_NONE) {
        *ret_status = found ? JM_ENOTFINISHED : JM_ENOJOB;
        return SQLITE_OK;
    }
    rc = delete_rows(s, op->id);
    if (rc == SQLITE_OK)
        store_tally_move(&s->tally, queue, state, JOB_NONE);
    *ret_status = 0;
    return rc;
}
