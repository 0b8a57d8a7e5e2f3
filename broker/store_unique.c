/*
 * Unique jobs. A row says who took a place last and how long that holds; whether it still does is
 * looked up when the next one comes, so that an end costs nothing. A job that a person has tried
 * again holds its place again, unless another one has taken it meanwhile.
 */
#include "broker/store_inside.h"

#include "schema/errors.h"

struct place {
    uint64_t id;
    enum unique_while how;
    int64_t until_ms;
};

static int find_place(struct store *s, const struct store_unique *unique, struct place *ret_place,
                      bool *ret_found)
{
    struct store_query q = store_use(s, SQL_UNIQUE_GET);
    int rc;

    store_query_put_blob(&q, span_of(unique->digest, sizeof(unique->digest)));
    rc = store_query_next(&q, ret_found);
    if (rc != SQLITE_OK || !*ret_found)
        return rc;
    ret_place->id = (uint64_t)store_query_int(&q);
    ret_place->how = (enum unique_while)store_query_int(&q);
    ret_place->until_ms = store_query_int(&q);
    store_query_end(&q);
    return SQLITE_OK;
}

/* Its state (JOB_NONE: the job is not kept any more), and its row if it is live. */
static int find_holder(struct store *s, uint64_t id, struct store_live *ret_live,
                       enum job_state *ret_state)
{
    uint32_t attempt;
    bool found = false;
    int rc = store_live_get(s, id, ret_live, &found);

    if (rc == SQLITE_OK && !found)
        return store_end_get(s, id, ret_state, &attempt);
    if (rc == SQLITE_OK)
        *ret_state = ret_live->job.state;
    return rc;
}

int store_unique_state(struct store *s, uint64_t id, enum job_state *ret_state)
{
    struct store_live live;

    return find_holder(s, id, &live, ret_state);
}

static bool has_begun(enum job_state state)
{
    return state == JOB_RUNNING || job_state_is_terminal(state) || state == JOB_NONE;
}

static bool holds(const struct place *place, enum job_state state, int64_t now_ms)
{
    switch (place->how) {
    case UNIQUE_QUEUED:
        return !has_begun(state);
    case UNIQUE_UNFINISHED:
        return state != JOB_NONE && !job_state_is_terminal(state);
    case UNIQUE_PERIOD:
        return now_ms < place->until_ms;
    case UNIQUE_NOT:
        break;
    }
    return false;
}

int store_unique_ask(struct store *s, struct store_submit *op, struct store_live *ret_replaced,
                     bool *ret_goes_on, int *ret_status)
{
    enum job_state state = JOB_NONE;
    struct store_live live;
    struct place place;
    bool found = false;
    int rc = find_place(s, &op->unique, &place, &found);

    if (rc == SQLITE_OK && found)
        rc = find_holder(s, place.id, &live, &state);
    if (rc != SQLITE_OK)
        return rc;
    *ret_goes_on = !found || !holds(&place, state, clock_wall_ms(s->conf.clock));
    if (*ret_goes_on)
        return SQLITE_OK;
    op->ret_existing_id = place.id;
    op->ret_existing_state = state;
    if (op->unique.on_conflict == UNIQUE_REPLACE && !has_begun(state)) {
        *ret_replaced = live;
        *ret_goes_on = true;
        return SQLITE_OK;
    }
    op->ret_is_existing = op->unique.on_conflict == UNIQUE_EXISTING;
    *ret_status = op->ret_is_existing ? 0 : JM_EUNIQUE;
    return SQLITE_OK;
}

int store_unique_put(struct store *s, const struct store_submit *op)
{
    struct store_query q = store_use(s, SQL_UNIQUE_PUT);
    bool is_period = op->unique.how == UNIQUE_PERIOD;
    int64_t until_ms = clock_wall_ms(s->conf.clock) + (int64_t)op->unique.period_ms;

    store_query_put_blob(&q, span_of(op->unique.digest, sizeof(op->unique.digest)));
    store_query_put_int(&q, (int64_t)op->id);
    store_query_put_int(&q, op->unique.how);
    store_query_put_int(&q, is_period ? until_ms : 0);
    return store_query_run(&q);
}
