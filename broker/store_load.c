/*
 * What the store keeps in memory, read at start. All live rows are read for it, which is the
 * occasion to compare them with what is kept beside them: the counts of their queue and the indexes
 * over them. A row that a damage has taken away is missed here.
 */
#include "broker/store_inside.h"

static int load_counts(struct store *s)
{
    static const enum job_state columns[] = {JOB_SCHEDULED, JOB_QUEUED,    JOB_DISPATCHED,
                                             JOB_RUNNING,   JOB_SUCCEEDED, JOB_FAILED,
                                             JOB_CANCELLED, JOB_EXPIRED};
    struct store_query q = store_use(s, SQL_COUNTS_ALL);
    bool has_row = false;
    int rc = store_query_next(&q, &has_row);

    while (rc == SQLITE_OK && has_row) {
        struct store_queue *queue = store_tally_need(&s->tally, store_query_bytes(&q));

        if (queue == NULL) {
            store_query_end(&q);
            return SQLITE_NOMEM;
        }
        for (size_t i = 0; i < JM_COUNT_OF(columns); i++)
            queue->now.by_state[columns[i]] = store_query_int(&q);
        rc = store_query_next(&q, &has_row);
    }
    return rc;
}

/* Every lane. */
static int restore_lanes(struct store *s)
{
    struct store_query q = store_use(s, SQL_LANES_ALL);
    bool has_row = false;
    int rc = store_query_next(&q, &has_row);

    while (rc == SQLITE_OK && has_row) {
        int64_t number = store_query_int(&q);
        struct store_queue *queue = store_tally_need(&s->tally, store_query_bytes(&q));
        struct span task = store_query_bytes(&q);
        uint32_t priority = (uint32_t)store_query_int(&q);
        struct span key = store_query_bytes(&q);

        if (queue == NULL ||
            store_lanes_restore(&s->lanes, number, queue, task, priority, key) == NULL) {
            store_query_end(&q);
            return SQLITE_NOMEM;
        }
        rc = store_query_next(&q, &has_row);
    }
    return rc;
}

static int count_live(struct store *s, int64_t ret_total[JOB_STATE_LIMIT])
{
    struct store_query q = store_use(s, SQL_LIVE_LANES);
    bool has_row = false;
    int rc = store_query_next(&q, &has_row);

    while (rc == SQLITE_OK && has_row) {
        struct store_lane *lane = store_lanes_find(&s->lanes, store_query_int(&q));
        int64_t state = store_query_int(&q);

        if (lane == NULL || state < JOB_SCHEDULED || state > JOB_RUNNING) {
            store_query_end(&q);
            s->damage = lane == NULL ? "a job without a lane" : "a job in no state";
            return SQLITE_CORRUPT;
        }
        store_lanes_move(&s->lanes, lane, JOB_NONE, (enum job_state)state);
        lane->queue->delta.by_state[state]++;
        ret_total[state]++;
        rc = store_query_next(&q, &has_row);
    }
    return rc;
}

/* What is kept of them beside the rows must agree, or a job is missing somewhere. */
static int compare_counts(struct store *s)
{
    LIST_EACH(node, &s->tally.all)
    {
        struct store_queue *q = LIST_ENTRY(node, struct store_queue, in_all);

        for (int state = JOB_SCHEDULED; state <= JOB_RUNNING; state++)
            if (q->delta.by_state[state] != q->now.by_state[state])
                s->damage = "its jobs are not as many as it counted";
        q->delta = (struct store_counts){0};
    }
    return s->damage == NULL ? SQLITE_OK : SQLITE_CORRUPT;
}

static int compare_indexes(struct store *s, const int64_t total[JOB_STATE_LIMIT])
{
    struct store_query q = store_use(s, SQL_LIVE_INDEXES);
    bool has_row = false;
    int rc = store_query_next(&q, &has_row);

    if (rc != SQLITE_OK)
        return rc;
    if (store_query_int(&q) != total[JOB_DISPATCHED] + total[JOB_RUNNING] ||
        store_query_int(&q) != total[JOB_QUEUED] || store_query_int(&q) != total[JOB_SCHEDULED])
        s->damage = "an index has not the jobs that its table has";
    store_query_end(&q);
    return s->damage == NULL ? SQLITE_OK : SQLITE_CORRUPT;
}

static int count_lanes(struct store *s)
{
    int64_t total[JOB_STATE_LIMIT] = {0};
    int rc = count_live(s, total);

    if (rc == SQLITE_OK)
        rc = compare_counts(s);
    if (rc == SQLITE_OK)
        rc = compare_indexes(s, total);
    store_lanes_commit(&s->lanes, clock_wall_ms(s->conf.clock));
    store_lanes_begin(&s->lanes);
    store_lanes_note_idle(&s->lanes, clock_wall_ms(s->conf.clock));
    return rc;
}

static int load_lanes(struct store *s)
{
    int rc = restore_lanes(s);

    return rc == SQLITE_OK ? count_lanes(s) : rc;
}

int store_load(struct store *s)
{
    struct store_query q = store_use(s, SQL_AUTO_VACUUM);
    bool has_row = false;
    int64_t mark = 0;
    int rc = load_counts(s);

    if (rc == SQLITE_OK)
        rc = load_lanes(s);
    if (rc == SQLITE_OK)
        rc = store_conf_load(s);
    if (rc == SQLITE_OK)
        rc = store_meta_get(s, "id_high_water", &mark);
    s->id_mark = (uint64_t)mark;
    if (rc == SQLITE_OK)
        rc = store_query_next(&q, &has_row);
    if (rc == SQLITE_OK && has_row) {
        s->can_shrink = store_query_int(&q) == 2; /* INCREMENTAL */
        store_query_end(&q);
    }
    return rc;
}
