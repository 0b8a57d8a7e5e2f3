/*
 * What was asked of a job, as the store itself needs it again.
 */
#include "broker/store_inside.h"

#include "broker/job_options.h"

static void read_spec(struct store_query *q, struct job_spec *ret_spec)
{
    *ret_spec = (struct job_spec){.priority = (uint32_t)store_query_int(q)};
    ret_spec->max_attempts = (uint32_t)store_query_int(q);
    ret_spec->timeout_ms = (uint64_t)store_query_int(q);
    ret_spec->grace_ms = (uint64_t)store_query_int(q);
    ret_spec->queue = store_query_bytes(q);
    ret_spec->task = store_query_bytes(q);
    ret_spec->options = store_query_bytes(q);
    ret_spec->tags = store_query_bytes(q);
}

/* Copies the texts, since what SQLite gives goes with the next statement that writes. */
static int keep_spec(struct store *s, struct job_spec *spec)
{
    struct span *const spans[] = {&spec->queue, &spec->task, &spec->options, &spec->tags};
    size_t total = 0;

    for (size_t i = 0; i < JM_COUNT_OF(spans); i++)
        total += spans[i]->len;
    buf_clear(&s->row);
    if (buf_reserve(&s->row, total) == NULL)
        return SQLITE_NOMEM;
    for (size_t i = 0; i < JM_COUNT_OF(spans); i++) {
        size_t at = s->row.len;

        buf_put_span(&s->row, *spans[i]);
        *spans[i] = span_of(s->row.data + at, spans[i]->len);
    }
    return SQLITE_OK;
}

int store_job_get(struct store *s, uint64_t id, struct job_spec *ret_spec, bool *ret_found)
{
    struct store_query q = store_use(s, SQL_JOB_SPEC);
    struct job_options options;
    int rc;

    store_query_put_int(&q, (int64_t)id);
    rc = store_query_next(&q, ret_found);
    if (rc != SQLITE_OK || !*ret_found)
        return rc;
    read_spec(&q, ret_spec);
    rc = keep_spec(s, ret_spec);
    store_query_end(&q);
    if (rc != SQLITE_OK)
        return rc;
    if (!job_options_decode(ret_spec->options, &options))
        return SQLITE_CORRUPT;
    ret_spec->limit_key = options.limit_key;
    ret_spec->expires_at_ms = options.expires_at_ms;
    ret_spec->retain_ms = options.retain_ms;
    return SQLITE_OK;
}
