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

static int delete_rows(struct store *s, uint64_t id, const struct job_spec *spec, int64_t now_ms)
{
    int rc = store_tags_delete(s, id, spec->tags);

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
    enum job_state state = JOB_NONE;
    struct store_queue *queue;
    struct job_spec spec;
    uint32_t attempt;
    bool found = false;
    int rc = store_job_get(s, id, &spec, &found);

    if (rc == SQLITE_OK && found)
        rc = store_end_get(s, id, &state, &attempt);
    if (rc != SQLITE_OK)
        return rc;
    *ret_removed = (struct store_removed){.is_there = found, .state = state};
    if (state == JOB_NONE)
        return SQLITE_OK;
    queue = store_tally_need(&s->tally, spec.queue);
    if (queue == NULL)
        return SQLITE_NOMEM;
    store_tally_move(&s->tally, queue, state, JOB_NONE);
    return delete_rows(s, id, &spec, now_ms);
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
