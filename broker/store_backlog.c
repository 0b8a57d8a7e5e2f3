/*
 * Between the backlog and Redis. A take first collects which jobs are next and ends that query,
 * because what it changes then are the very index entries that the query walks over.
 */
#include "broker/store_inside.h"

#include <stdlib.h>

#include "broker/store_next.h"
#include "schema/errors.h"

/* Appends the job's frame; of what queue and task it is, its lane tells. A job without a row in
 * `jobs` cannot be. */
static int encode_frame(struct store *s, const struct store_take *op, const struct store_taken *job,
                        const struct store_lane *lane)
{
    struct store_query q = store_use(s, SQL_JOB_GET);
    struct wire_job frame = {.node = op->node,
                             .id = job->id,
                             .attempt = job->attempt,
                             .queue = store_tally_name(lane->queue),
                             .task = store_lane_task(lane)};
    bool found = false;
    int rc;

    store_query_put_int(&q, (int64_t)job->id);
    rc = store_query_next(&q, &found);
    if (rc != SQLITE_OK)
        return rc;
    if (!found)
        return SQLITE_CORRUPT;
    frame.timeout_ms = (uint64_t)store_query_int(&q);
    frame.grace_ms = (uint64_t)store_query_int(&q);
    frame.args = store_query_bytes(&q);
    wire_encode_job(op->frames, &frame);
    store_query_end(&q);
    return SQLITE_OK;
}

/* False in `ret_goes_on` when `frames` has no room: the rest stays in the backlog. */
static int take_one(struct store *s, struct store_take *op, size_t turn,
                    const struct store_next_job *next, bool *ret_goes_on)
{
    struct store_taken *job = &op->ret_jobs[op->ret_count];
    struct store_live live = {.id = next->id,
                              .lane = store_lanes_find(&s->lanes, op->lanes[next->lane].number)};
    int rc;

    *job = (struct store_taken){.id = next->id,
                                .attempt = next->attempt,
                                .turn = turn,
                                .lane = next->lane,
                                .offset = op->frames->len};
    if (live.lane == NULL)
        return SQLITE_CORRUPT;
    rc = encode_frame(s, op, job, live.lane);
    *ret_goes_on = rc == SQLITE_OK && !buf_has_failed(op->frames);
    if (!*ret_goes_on) {
        buf_truncate(op->frames, job->offset);
        return rc;
    }
    job->len = op->frames->len - job->offset;
    live.job.state = JOB_QUEUED;
    live.job.attempt = job->attempt;
    op->ret_count++;
    return store_live_enter(s, &live, JOB_ON_DISPATCH, JOB_DISPATCHED);
}

static int take_turn(struct store *s, struct store_take *op, size_t turn, size_t *ret_found,
                     bool *ret_goes_on)
{
    struct store_next_job *jobs = NULL;
    size_t found = 0;
    int rc = store_next_find(s, op, &op->turns[turn], &jobs, &found);

    for (size_t i = 0; rc == SQLITE_OK && *ret_goes_on && i < found; i++) {
        rc = take_one(s, op, turn, &jobs[i], ret_goes_on);
        *ret_goes_on = *ret_goes_on && op->frames->len < op->max_bytes;
    }
    free(jobs);
    *ret_found += found;
    return rc;
}

static int put_rates(struct store *s, const struct store_take *op)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < op->rate_count; i++) {
        struct store_query q = store_use(s, SQL_RATE_PUT);

        store_query_put_text(&q, op->queue);
        store_query_put_text(&q, op->rates[i].limit_key);
        store_query_put_int(&q, op->rates[i].full_at_us);
        rc = store_query_run(&q);
    }
    return rc;
}

int store_take(struct store *s, struct store_take *op, int *ret_status)
{
    size_t found = 0;
    bool goes_on = true;
    int rc = put_rates(s, op);

    op->ret_count = 0;
    for (size_t i = 0; rc == SQLITE_OK && goes_on && i < op->turn_count; i++)
        rc = take_turn(s, op, i, &found, &goes_on);
    *ret_status = rc == SQLITE_OK && found > 0 && op->ret_count == 0 ? JM_ENOMEM : 0;
    return rc;
}

int store_put_back(struct store *s, struct store_put_back *op, int *ret_status)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < op->count; i++) {
        struct store_live live;
        bool found = false;

        rc = store_live_get(s, op->jobs[i].id, &live, &found);
        op->jobs[i].ret_is_back = rc == SQLITE_OK && found &&
                                  live.job.attempt == op->jobs[i].attempt &&
                                  live.job.state == JOB_DISPATCHED;
        if (op->jobs[i].ret_is_back)
            rc = store_live_enter(s, &live, JOB_ON_PUT_BACK, JOB_QUEUED);
    }
    *ret_status = 0;
    return rc;
}

static int next_due(struct store *s, uint64_t *ret_id, int64_t *ret_due_ms)
{
    struct store_query q = store_use(s, SQL_LIVE_DUE);
    bool found = false;
    int rc = store_query_next(&q, &found);

    *ret_due_ms = -1;
    if (rc != SQLITE_OK || !found)
        return rc;
    *ret_id = (uint64_t)store_query_int(&q);
    *ret_due_ms = store_query_int(&q);
    store_query_end(&q);
    return SQLITE_OK;
}

int store_due(struct store *s, struct store_due *op, int *ret_status)
{
    uint64_t id = 0;
    int rc = next_due(s, &id, &op->ret_next_due_ms);

    op->ret_moved = 0;
    while (rc == SQLITE_OK && op->ret_next_due_ms >= 0 && op->ret_next_due_ms <= op->now_ms &&
           op->ret_moved < op->max_jobs) {
        struct store_live live;
        bool found = false;

        rc = store_live_get(s, id, &live, &found);
        if (rc == SQLITE_OK && !found)
            rc = SQLITE_CORRUPT; /* the index names a row that is not there */
        if (rc == SQLITE_OK)
            rc = store_live_enter(s, &live, JOB_ON_DUE, JOB_QUEUED);
        op->ret_moved++;
        if (rc == SQLITE_OK)
            rc = next_due(s, &id, &op->ret_next_due_ms);
    }
    *ret_status = 0;
    return rc;
}
