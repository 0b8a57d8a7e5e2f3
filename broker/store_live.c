/*
 * The doors through which a live job changes its state. Each names the old state and attempt in its
 * WHERE; that exactly one row changed is a matter of course, because the row was read in the same
 * transaction.
 */
#include "broker/store_inside.h"

#include <assert.h>

enum { LANE_IDLE_MS = 60 * 1000, RATES_EVERY_MS = 60 * 1000 };

static int insert_lane(struct store *s, struct store_lane *lane)
{
    struct store_query q = store_use(s, SQL_LANE_INSERT);

    store_query_put_int(&q, lane->number);
    store_query_put_text(&q, store_tally_name(lane->queue));
    store_query_put_text(&q, store_lane_task(lane));
    store_query_put_int(&q, lane->priority);
    store_query_put_text(&q, store_lane_key(lane));
    return store_query_run(&q);
}

static int remove_lane(struct store *s, struct store_lane *lane)
{
    struct store_query q = store_use(s, SQL_LANE_DELETE);
    int rc;

    store_query_put_int(&q, lane->number);
    rc = store_query_run(&q);
    if (rc == SQLITE_OK)
        store_lanes_remove(&s->lanes, lane);
    return rc;
}

/* Whether the batch at hand has put a job into it, though it is in the list of the idle. */
static bool is_in_use(const struct store_lane *lane)
{
    return lane->live_delta != 0 || lane->is_stored_by_batch;
}

static int drop_oldest_idle(struct store *s, bool *ret_has_room)
{
    LIST_EACH(node, &s->lanes.idle)
    {
        struct store_lane *lane = LIST_ENTRY(node, struct store_lane, in_idle);

        if (is_in_use(lane))
            continue;
        *ret_has_room = true;
        return remove_lane(s, lane);
    }
    *ret_has_room = false;
    return SQLITE_OK;
}

/* The row is written by the batch that puts the first job into the lane; a batch that fails takes
 * it along. So the lane counts as touched from here on. */
int store_lane_need(struct store *s, struct span queue, struct span task, uint32_t priority,
                    struct span limit_key, struct store_lane **ret_lane)
{
    struct store_queue *q = store_tally_need(&s->tally, queue);
    struct store_lane *lane;
    int rc = SQLITE_OK;

    if (q == NULL)
        return SQLITE_NOMEM;
    *ret_lane = NULL;
    lane = store_lanes_need(&s->lanes, q, task, priority, limit_key);
    if (lane == NULL)
        return SQLITE_NOMEM;
    if (!lane->is_stored && s->lanes.by_name.len > JM_LANES) {
        bool has_room = false;

        rc = drop_oldest_idle(s, &has_room);
        if (rc != SQLITE_OK || !has_room) {
            store_lanes_remove(&s->lanes, lane);
            return rc;
        }
    }
    if (!lane->is_stored) {
        store_lanes_move(&s->lanes, lane, JOB_NONE, JOB_NONE);
        rc = insert_lane(s, lane);
        lane->is_stored = lane->is_stored_by_batch = rc == SQLITE_OK;
    }
    *ret_lane = lane;
    return rc;
}

void store_lane_move(struct store *s, struct store_lane *lane, enum job_state from,
                     enum job_state to)
{
    store_tally_move(&s->tally, lane->queue, from, to);
    store_lanes_move(&s->lanes, lane, from, to);
}

/* The longest idle first; a lane that the batch at hand has put a job into is passed over. What is
 * removed here cannot come back by a rollback: its row is written again with its next job. */
int store_lanes_clean(struct store *s, int64_t now_ms, size_t max_rows, size_t *ret_rows,
                      int64_t *ret_next_ms)
{
    int rc = SQLITE_OK;

    *ret_rows = 0;
    *ret_next_ms = -1;
    LIST_EACH_SAFE(node, &s->lanes.idle)
    {
        struct store_lane *lane = LIST_ENTRY(node, struct store_lane, in_idle);
        bool was_ahead = lane->idle_since_ms > now_ms; /* the clock was set back */

        *ret_next_ms = lane->idle_since_ms + LANE_IDLE_MS;
        if (rc != SQLITE_OK || *ret_rows >= max_rows || (*ret_next_ms > now_ms && !was_ahead))
            return rc;
        if (is_in_use(lane))
            continue;
        rc = remove_lane(s, lane);
        ++*ret_rows;
    }
    *ret_next_ms = -1;
    return rc;
}

/* Buckets that are full again need no row. There is no index to find them by, so they are looked
 * for once a minute. */
int store_rates_clean(struct store *s, int64_t now_ms, size_t max_rows)
{
    struct store_query q = store_use(s, SQL_RATES_CLEAN);

    if (now_ms >= s->rates_cleaned_ms && now_ms - s->rates_cleaned_ms < RATES_EVERY_MS)
        return SQLITE_OK;
    s->rates_cleaned_ms = now_ms;
    store_query_put_int(&q, now_ms * 1000);
    store_query_put_int(&q, (int64_t)max_rows);
    return store_query_run(&q);
}

int store_live_get(struct store *s, uint64_t id, struct store_live *ret_live, bool *ret_found)
{
    struct store_query q = store_use(s, SQL_LIVE_GET);
    int rc;

    store_query_put_int(&q, (int64_t)id);
    rc = store_query_next(&q, ret_found);
    if (rc != SQLITE_OK || !*ret_found)
        return rc;
    ret_live->id = id;
    ret_live->lane = store_lanes_find(&s->lanes, store_query_int(&q));
    ret_live->job.state = (enum job_state)store_query_int(&q);
    ret_live->due_ms = store_query_int(&q);
    ret_live->job.attempt = (uint32_t)store_query_int(&q);
    ret_live->job.max_attempts = (uint32_t)store_query_int(&q);
    ret_live->job.failures = (uint32_t)store_query_int(&q);
    ret_live->job.crashes = (uint32_t)store_query_int(&q);
    ret_live->job.deaths = (uint32_t)store_query_int(&q);
    ret_live->job.lost_from = (uint32_t)store_query_int(&q);
    ret_live->host = (uint64_t)store_query_int(&q);
    ret_live->begun_at_ms = store_query_int(&q);
    ret_live->retain_ms = (uint64_t)store_query_int(&q);
    ret_live->expires_at_ms = store_query_int(&q);
    store_query_end(&q);
    return ret_live->lane == NULL ? SQLITE_CORRUPT : SQLITE_OK;
}

/* What the WHERE found; another number than one means that the database contradicts itself. */
static int expect_one(struct store *s, int rc)
{
    if (rc == SQLITE_OK && sqlite3_changes(s->db) != 1)
        rc = SQLITE_CORRUPT;
    return rc;
}

int store_live_enter(struct store *s, const struct store_live *live, enum job_event event,
                     enum job_state to)
{
    struct store_query q = store_use(s, SQL_LIVE_STATE);
    int rc;

    assert(job_state_can_move(event, live->job.state, to));
    store_query_put_int(&q, to);
    store_query_put_int(&q, (int64_t)live->id);
    store_query_put_int(&q, live->job.state);
    store_query_put_int(&q, live->job.attempt);
    rc = expect_one(s, store_query_run(&q));
    if (rc == SQLITE_OK)
        store_lane_move(s, live->lane, live->job.state, to);
    return rc;
}

int store_live_insert(struct store *s, const struct store_birth *birth)
{
    const struct job_spec *spec = birth->spec;
    struct store_query q = store_use(s, SQL_LIVE_INSERT);
    int rc;

    store_query_put_int(&q, (int64_t)birth->id);
    store_query_put_int(&q, birth->lane->number);
    store_query_put_int(&q, birth->state);
    store_query_put_int(&q, birth->due_ms);
    store_query_put_int(&q, birth->attempt);
    store_query_put_int(&q, spec->max_attempts);
    store_query_put_int(&q, spec->expires_at_ms);
    store_query_put_int(&q, (int64_t)spec->retain_ms);
    rc = store_query_run(&q);
    if (rc == SQLITE_OK)
        store_lane_move(s, birth->lane, birth->was, birth->state);
    return rc;
}

/* The job may go into another lane: there it comes to be as it leaves the one it was in. */
int store_live_change(struct store *s, const struct store_live *live, enum job_event event,
                      const struct store_birth *after)
{
    const struct job_spec *spec = after->spec;
    struct store_query q = store_use(s, SQL_LIVE_CHANGE);
    int rc;

    assert(job_state_can_move(event, live->job.state, after->state));
    store_query_put_int(&q, after->state);
    store_query_put_int(&q, after->lane->number);
    store_query_put_int(&q, after->due_ms);
    store_query_put_int(&q, spec->max_attempts);
    store_query_put_int(&q, spec->expires_at_ms);
    store_query_put_int(&q, (int64_t)spec->retain_ms);
    store_query_put_int(&q, after->attempt);
    store_query_put_int(&q, after->lost_from);
    store_query_put_int(&q, (int64_t)live->id);
    store_query_put_int(&q, live->job.state);
    store_query_put_int(&q, live->job.attempt);
    rc = expect_one(s, store_query_run(&q));
    if (rc != SQLITE_OK)
        return rc;
    store_lane_move(s, live->lane, live->job.state, JOB_NONE);
    store_lane_move(s, after->lane, JOB_NONE, after->state);
    return SQLITE_OK;
}

static int insert_end(struct store *s, const struct store_live *live, const struct store_end *end)
{
    struct store_query q = store_use(s, SQL_END_INSERT);
    int64_t now_ms = clock_wall_ms(s->conf.clock);

    store_query_put_int(&q, (int64_t)live->id);
    store_query_put_int(&q, end->job.state);
    store_query_put_int(&q, end->job.attempt);
    store_query_put_int(&q, end->job.failures);
    store_query_put_int(&q, end->job.crashes);
    store_query_put_int(&q, end->job.deaths);
    store_query_put_int(&q, live->due_ms);
    store_query_put_int(&q, (int64_t)end->host);
    store_query_put_int(&q, end->begun_at_ms);
    store_query_put_int(&q, now_ms);
    store_query_put_int(&q, (int64_t)end->run_us);
    store_query_put_int(&q, live->job.attempt);
    store_query_put_int(&q, store_purge_at(s, live, end->job.state, now_ms));
    store_query_put_blob(&q, end->error);
    store_query_put_blob(&q, end->result);
    return store_query_run(&q);
}

int store_live_end(struct store *s, const struct store_live *live, const struct store_end *end)
{
    struct store_query q = store_use(s, SQL_LIVE_DELETE);
    int rc;

    assert(job_state_is_terminal(end->job.state));
    store_query_put_int(&q, (int64_t)live->id);
    store_query_put_int(&q, live->job.state);
    store_query_put_int(&q, live->job.attempt);
    rc = expect_one(s, store_query_run(&q));
    if (rc == SQLITE_OK)
        rc = insert_end(s, live, end);
    if (rc == SQLITE_OK)
        store_lane_move(s, live->lane, live->job.state, end->job.state);
    return rc;
}

int store_attempts_trim(struct store *s, uint64_t id, uint32_t attempt)
{
    struct store_query q = store_use(s, SQL_ATTEMPTS_TRIM);

    if (attempt <= JM_ATTEMPTS_KEPT)
        return SQLITE_OK;
    store_query_put_int(&q, (int64_t)id);
    store_query_put_int(&q, attempt - JM_ATTEMPTS_KEPT);
    return store_query_run(&q);
}

int store_end_get(struct store *s, uint64_t id, enum job_state *ret_state, uint32_t *ret_attempt)
{
    struct store_query q = store_use(s, SQL_END_GET);
    bool found = false;
    int rc;

    store_query_put_int(&q, (int64_t)id);
    rc = store_query_next(&q, &found);
    if (rc != SQLITE_OK)
        return rc;
    *ret_state = JOB_NONE;
    if (found) {
        *ret_state = (enum job_state)store_query_int(&q);
        *ret_attempt = (uint32_t)store_query_int(&q);
        store_query_end(&q);
    }
    return SQLITE_OK;
}
