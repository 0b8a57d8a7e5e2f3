/*
 * What clients ask for: a new job. Everything that may say no to it is asked first; the insert into
 * `jobs` is the first write.
 */
#include "broker/store_inside.h"

#include "schema/errors.h"

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

/* What stands in its own tables, for the few jobs that have it. */
static int insert_extras(struct store *s, const struct store_submit *op)
{
    int rc = SQLITE_OK;

    if (op->key.len > 0)
        rc = store_idem_put(s, op);
    if (rc == SQLITE_OK && op->unique.how != UNIQUE_NOT)
        rc = store_unique_put(s, op);
    if (rc == SQLITE_OK)
        rc = store_tags_put(s, op->id, op->spec.tags);
    return rc;
}

static int insert(struct store *s, const struct store_submit *op, int *ret_status)
{
    const struct job_spec *spec = &op->spec;
    struct store_birth birth = {
        .id = op->id, .spec = spec, .state = op->state, .due_ms = op->due_ms, .attempt = 1};
    int rc =
        store_lane_need(s, spec->queue, spec->task, spec->priority, spec->limit_key, &birth.lane);

    if (rc == SQLITE_OK && birth.lane == NULL)
        *ret_status = JM_EOVERLOAD;
    if (rc != SQLITE_OK || birth.lane == NULL)
        return rc;
    rc = insert_job(s, op);
    /* The id is there already: the caller's bug, but no reason to fail its neighbours. */
    if (rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_ROWID) {
        *ret_status = JM_EINTERNAL;
        return SQLITE_OK;
    }
    if (rc == SQLITE_OK)
        rc = store_live_insert(s, &birth);
    if (rc == SQLITE_OK)
        rc = insert_extras(s, op);
    if (rc == SQLITE_OK)
        rc = store_note_id(s, op->id);
    *ret_status = 0;
    return rc;
}

/* Whether what is known already lets it be inserted; else what the answer is. */
static int ask(struct store *s, struct store_submit *op, struct store_live *ret_replaced,
               bool *ret_goes_on, int *ret_status)
{
    bool known = false;
    int rc = SQLITE_OK;

    if (op->key.len > 0)
        rc = store_idem_find(s, op, &known, ret_status);
    if (rc == SQLITE_OK && op->ret_is_existing)
        rc = store_unique_state(s, op->ret_existing_id, &op->ret_existing_state);
    *ret_goes_on = !known;
    if (rc == SQLITE_OK && !known && op->spec.expires_at_ms != 0 &&
        op->spec.expires_at_ms <= op->due_ms) {
        *ret_goes_on = false;
        *ret_status = JM_EFIELD;
        return SQLITE_OK;
    }
    if (rc == SQLITE_OK && !known && op->unique.how != UNIQUE_NOT)
        rc = store_unique_ask(s, op, ret_replaced, ret_goes_on, ret_status);
    if (rc == SQLITE_OK && *ret_goes_on && op->is_repeat_only) {
        *ret_goes_on = false;
        *ret_status = JM_EQUEUEFULL;
    }
    return rc;
}

static int submit(struct store *s, struct store_submit *op, int *ret_status)
{
    struct store_live replaced = {.id = 0};
    bool goes_on = false;
    int rc;

    op->ret_is_repeat = false;
    op->ret_is_existing = false;
    op->ret_existing_id = 0;
    op->ret_existing_state = JOB_NONE;
    op->ret_replaced_id = 0;
    rc = ask(s, op, &replaced, &goes_on, ret_status);
    if (rc == SQLITE_OK && goes_on)
        rc = insert(s, op, ret_status);
    else if (rc == SQLITE_OK && op->ret_is_existing && !op->ret_is_repeat && op->key.len > 0)
        rc = store_idem_put(s, op);
    if (rc != SQLITE_OK || !goes_on || *ret_status != 0 || replaced.id == 0)
        return rc;
    op->ret_replaced_id = replaced.id;
    op->ret_existing_id = 0;
    op->ret_existing_state = JOB_NONE;
    return store_live_cancel(s, &replaced, NULL);
}

/* Whatever is no plain new job tells of others, whose commits may be as young. */
int store_submit(struct store *s, struct store_submit *op, int *ret_status)
{
    int rc = submit(s, op, ret_status);

    if (*ret_status != 0 || op->ret_is_repeat || op->ret_is_existing || op->ret_replaced_id != 0)
        op->op.wants_sync = true;
    return rc;
}
