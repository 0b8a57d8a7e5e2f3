/*
 * Removing finished jobs, for a person who deletes one and for the purge.
 */
#include "broker/store_inside.h"

#include "schema/errors.h"

static int delete_from(struct store *s, enum store_sql what, uint64_t id)
{
    struct store_query q = store_use(s, what);

    store_query_put_int(&q, (int64_t)id);
    return store_query_run(&q);
}

static int delete_unique(struct store *s, uint64_t id, int64_t now_ms)
{
    struct store_query q = store_use(s, SQL_UNIQUE_DELETE);

    store_query_put_int(&q, (int64_t)id);
    store_query_put_int(&q, now_ms);
    return store_query_run(&q);
}

/* What the row in `jobs` says that is needed for the rest. The tags are in the scratch buffer. */
static int find_job(struct store *s, uint64_t id, struct store_queue **ret_queue, bool *ret_found)
{
    struct store_query q = store_use(s, SQL_JOB_OF);
    int rc;

    store_query_put_int(&q, (int64_t)id);
    rc = store_query_next(&q, ret_found);
    if (rc != SQLITE_OK || !*ret_found)
        return rc;
    *ret_queue = store_tally_need(&s->tally, store_query_bytes(&q));
    buf_clear(&s->scratch);
    buf_put_span(&s->scratch, store_query_bytes(&q));
    store_query_end(&q);
    return *ret_queue == NULL || buf_has_failed(&s->scratch) ? SQLITE_NOMEM : SQLITE_OK;
}

static int delete_rows(struct store *s, uint64_t id, int64_t now_ms)
{
    int rc = store_tags_delete(s, id, buf_span(&s->scratch));

    if (rc == SQLITE_OK)
        rc = delete_unique(s, id, now_ms);
    if (rc == SQLITE_OK)
        rc = delete_from(s, SQL_ATTEMPTS_DELETE, id);
    if (rc == SQLITE_OK)
        rc = delete_from(s, SQL_END_DELETE, id);
    if (rc == SQLITE_OK)
        rc = delete_from(s, SQL_JOB_DELETE, id);
    return rc;
}

int store_remove_job(struct store *s, uint64_t id, int64_t now_ms,
                     struct store_removed *ret_removed)
{
    struct store_queue *queue = NULL;
    enum job_state state = JOB_NONE;
    uint32_t attempt;
    bool found = false;
    int rc = find_job(s, id, &queue, &found);

    if (rc == SQLITE_OK && found)
        rc = store_end_get(s, id, &state, &attempt);
    if (rc != SQLITE_OK)
        return rc;
    *ret_removed = (struct store_removed){.is_there = found, .state = state};
    if (state == JOB_NONE)
        return SQLITE_OK;
    store_tally_move(&s->tally, queue, state, JOB_NONE);
    return delete_rows(s, id, now_ms);
}

/* A person who deletes a job frees the place of a unique one, however long it would be held. */
int store_delete(struct store *s, struct store_delete *op, int *ret_status)
{
    struct store_removed removed = {.is_there = false};
    int rc = store_remove_job(s, op->id, INT64_MAX, &removed);

    *ret_status = 0;
    if (removed.state == JOB_NONE)
        *ret_status = removed.is_there ? JM_ENOTFINISHED : JM_ENOJOB;
    return rc;
}
