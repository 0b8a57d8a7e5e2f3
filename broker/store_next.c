/*
 * A merge. Of each lane a few rows are read ahead, and some more when they are used up, so that
 * many lanes cost little more rows than one.
 */
#include "broker/store_next.h"

#include <stdlib.h>

enum { AHEAD_JOBS = 4 }; /* of each lane, beyond its even share */

/* One lane of the merge. */
struct source {
    size_t lane;
    size_t left; /* jobs that may still come from it, those read ahead included */
    size_t count;
    size_t at;
    int64_t last_due_ms; /* of the last row that was read */
    uint64_t last_id;
    bool is_dry;                 /* the backlog has no more of it */
    struct store_next_job *jobs; /* read ahead: [at] is the next, of `count` */
};

static size_t lesser(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* What should have begun by now only waits to be ended (STORE_EXPIRE); sent out, it would be taken
 * back, and so on. */
static void keep_row(struct source *source, struct store_query *q, int64_t now_ms)
{
    struct store_next_job *job = &source->jobs[source->count];
    int64_t expires_at_ms;

    source->last_id = job->id = (uint64_t)store_query_int(q);
    job->attempt = (uint32_t)store_query_int(q);
    source->last_due_ms = job->due_ms = store_query_int(q);
    expires_at_ms = store_query_int(q);
    job->lane = source->lane;
    if (expires_at_ms == 0 || expires_at_ms > now_ms)
        source->count++;
}

/* Reads on behind the last row read. A lane of which nothing but expired jobs is read gives no more
 * this time. */
static int refill(struct store *s, const struct store_take *op, struct source *source, size_t chunk)
{
    struct store_query q = store_use(s, SQL_LIVE_BACKLOG);
    size_t most = lesser(chunk, source->left), rows = 0;
    int64_t now_ms = clock_wall_ms(s->conf.clock);
    bool has_row = false;
    int rc;

    store_query_put_int(&q, op->lanes[source->lane].number);
    store_query_put_int(&q, source->last_due_ms);
    store_query_put_int(&q, (int64_t)source->last_id);
    store_query_put_int(&q, (int64_t)most);
    rc = store_query_next(&q, &has_row);
    source->count = source->at = 0;
    for (; rc == SQLITE_OK && has_row; rows++) {
        keep_row(source, &q, now_ms);
        rc = store_query_next(&q, &has_row);
    }
    source->is_dry = rows < most || source->count == 0;
    return rc;
}

static bool is_before(const struct store_next_job *a, const struct store_next_job *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->id < b->id;
}

/* The source whose next job is first; NULL if all are dry. */
static struct source *first_of(struct source *sources, size_t count)
{
    struct source *first = NULL;

    for (size_t i = 0; i < count; i++) {
        struct source *source = &sources[i];

        if (source->at < source->count &&
            (first == NULL || is_before(&source->jobs[source->at], &first->jobs[first->at])))
            first = source;
    }
    return first;
}

static int merge(struct store *s, const struct store_take *op, struct source *sources, size_t count,
                 size_t chunk, size_t max_jobs, struct store_next_job *ret_jobs, size_t *ret_found)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < count; i++)
        rc = refill(s, op, &sources[i], chunk);
    *ret_found = 0;
    while (rc == SQLITE_OK && *ret_found < max_jobs) {
        struct source *source = first_of(sources, count);

        if (source == NULL)
            break;
        ret_jobs[(*ret_found)++] = source->jobs[source->at++];
        source->left--;
        if (source->at == source->count && !source->is_dry && source->left > 0)
            rc = refill(s, op, source, chunk);
    }
    return rc;
}

int store_next_find(struct store *s, const struct store_take *op, const struct store_turn *turn,
                    struct store_next_job **ret_jobs, size_t *ret_found)
{
    size_t lanes = turn->lane_count > 0 ? turn->lane_count : 1;
    size_t chunk = lanes > 1 ? turn->max_jobs / lanes + AHEAD_JOBS : turn->max_jobs;
    struct source *sources = calloc(lanes, sizeof(*sources));
    struct store_next_job *ahead = calloc(lanes * chunk + 1, sizeof(*ahead));
    struct store_next_job *jobs = calloc(turn->max_jobs + 1, sizeof(*jobs));
    int rc = SQLITE_NOMEM;

    if (sources != NULL && ahead != NULL && jobs != NULL) {
        for (size_t i = 0; i < turn->lane_count; i++)
            sources[i] = (struct source){
                .lane = turn->first_lane + i,
                .left = lesser(turn->max_jobs, op->lanes[turn->first_lane + i].max_jobs),
                .last_due_ms = INT64_MIN,
                .jobs = ahead + i * chunk};
        rc = merge(s, op, sources, turn->lane_count, chunk, turn->max_jobs, jobs, ret_found);
    }
    free(sources);
    free(ahead);
    if (rc == SQLITE_OK)
        *ret_jobs = jobs;
    else
        free(jobs);
    return rc;
}
