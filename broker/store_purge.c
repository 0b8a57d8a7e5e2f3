/*
 * What has been kept long enough goes, in small steps.
 *
 * Most ends are kept for the broker's default time, and for them no index is written: a job's id is
 * its time of creation, so a walk over `ends` in the order of ids meets them in the order in which
 * they come due, more or less. A cursor in memory says how far the walk has come: whatever is at or
 * below it has gone, or has a `purge_at_ms` of its own, and with that a row in the index
 * ends_purge. Such a time have ends from the start that are kept longer or shorter than the
 * default, and those of jobs that end when the cursor has passed them; the walk gives it to a job
 * that took so long that what comes behind it may be due before it.
 *
 * All times are the wall clock's. An end whose time lies ahead of it was written while the clock
 * was wrong, and is kept from now on. That the clock itself may jump ahead is for the caller to see
 * (purge.c).
 */
#include "broker/store_inside.h"

#include "schema/id.h"

enum {
    STEP_ROWS = 256,       /* looked at in one go */
    LANE_ROWS = 32,        /* beside them: lanes cost little, and must not wait for a long purge */
    STEP_BYTES = 4 << 20,  /* args and results, whose pages have to be read to be freed */
    SLACK_MS = 60 * 1000,  /* a job that ends within this needs no row in the index */
    SHRINK_PAUSE_MS = 250, /* SQL_SHRINK gives 64 pages back: 1 MB in a second */
    SHRINK_ABOVE_PAGES = 4096, /* free ones, and a quarter of all: fewer are used again soon */
};

int64_t store_purge_at(const struct store *s, const struct store_live *live, enum job_state state,
                       int64_t now_ms)
{
    bool has_failed = state == JOB_FAILED;
    uint64_t keep_ms = live->retain_ms;

    if (keep_ms == 0)
        keep_ms = has_failed ? live->lane->queue->retain_failed_ms : live->lane->queue->retain_ms;
    if (keep_ms == 0 && has_failed)
        keep_ms = s->conf.retain_failed_ms;
    if (keep_ms == 0 && live->id <= s->purged_to)
        keep_ms = s->conf.retain_ms;
    return keep_ms == 0 ? 0 : now_ms + (int64_t)keep_ms;
}

/* ---- one step ---- */

struct step {
    struct store *store;
    int64_t now_ms;
    size_t rounds; /* of STEP_ROWS rows that are looked at */
    size_t rows_left;
    size_t bytes_left;
    int64_t next_ms; /* when there is something to do; -1: not known */
};

static void note_next(struct step *p, int64_t at_ms)
{
    if (p->next_ms < 0 || at_ms < p->next_ms)
        p->next_ms = at_ms;
}

static bool is_spent(const struct step *p)
{
    return p->rows_left == 0 || p->bytes_left == 0;
}

static size_t rows_of(const struct step *p)
{
    return p->rows_left < STEP_ROWS ? p->rows_left : STEP_ROWS;
}

static int bytes_of(struct store *s, uint64_t id, size_t *ret_bytes)
{
    struct store_query q = store_use(s, SQL_JOB_BYTES);
    bool has_row = false;
    int rc;

    store_query_put_int(&q, (int64_t)id);
    rc = store_query_next(&q, &has_row);
    if (rc != SQLITE_OK)
        return rc;
    *ret_bytes = (size_t)store_query_int(&q);
    store_query_end(&q);
    return SQLITE_OK;
}

static int remove_job(struct step *p, uint64_t id)
{
    struct store_removed removed;
    size_t bytes = 0;
    int rc = bytes_of(p->store, id, &bytes);

    if (rc == SQLITE_OK)
        rc = store_remove_job(p->store, id, p->now_ms, &removed);
    p->rows_left--;
    p->bytes_left -= bytes < p->bytes_left ? bytes : p->bytes_left;
    return rc;
}

/* ---- ends ---- */

struct end_row {
    uint64_t id;
    int64_t purge_at_ms;
    int64_t finished_at_ms;
};

/* Collected before anything is changed, because what is changed is what the query walks over. */
static int collect(struct store_query *q, struct end_row *rows, size_t *ret_count)
{
    size_t count = 0;
    bool has_row = false;
    int rc = store_query_next(q, &has_row);

    while (rc == SQLITE_OK && has_row) {
        rows[count].id = (uint64_t)store_query_int(q);
        rows[count].purge_at_ms = store_query_int(q);
        rows[count++].finished_at_ms = store_query_int(q);
        rc = store_query_next(q, &has_row);
    }
    *ret_count = count;
    return rc;
}

/* Rows that stay cost time, too. */
static int repeat(struct step *p, int (*look_at_some)(struct step *p, bool *ret_goes_on))
{
    bool goes_on = true;
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && goes_on && !is_spent(p) && i < p->rounds; i++)
        rc = look_at_some(p, &goes_on);
    if (goes_on)
        note_next(p, p->now_ms);
    return rc;
}

/* Those with a time of their own. The first that is not due says when to come again. */
static int purge_due(struct step *p, bool *ret_goes_on)
{
    struct store_query q = store_use(p->store, SQL_ENDS_DUE);
    struct end_row rows[STEP_ROWS];
    size_t count = 0;
    int rc;

    store_query_put_int(&q, (int64_t)rows_of(p));
    rc = collect(&q, rows, &count);
    *ret_goes_on = count > 0 && count == rows_of(p);
    for (size_t i = 0; rc == SQLITE_OK && i < count; i++) {
        if (rows[i].purge_at_ms > p->now_ms || is_spent(p)) {
            *ret_goes_on = false;
            note_next(p, rows[i].purge_at_ms);
            return SQLITE_OK;
        }
        rc = remove_job(p, rows[i].id);
    }
    return rc;
}

static int set_purge_at(struct step *p, uint64_t id, int64_t at_ms)
{
    struct store_query q = store_use(p->store, SQL_END_PURGE_AT);

    store_query_put_int(&q, at_ms);
    store_query_put_int(&q, (int64_t)id);
    note_next(p, at_ms);
    p->rows_left--;
    return store_query_run(&q);
}

/* What the walk does with a row; `ret_passes` false: it stops before it. */
static int walk_over(struct step *p, const struct end_row *row, bool *ret_passes)
{
    int64_t keep_ms = (int64_t)p->store->conf.retain_ms;
    int64_t slack_ms = keep_ms < SLACK_MS ? keep_ms : SLACK_MS;
    int64_t due_ms = row->finished_at_ms + keep_ms;
    int64_t passed_ms = id_wall_ms(row->id) + keep_ms + slack_ms;

    *ret_passes = true;
    if (row->purge_at_ms != 0)
        return SQLITE_OK;
    if (due_ms <= p->now_ms)
        return remove_job(p, row->id);
    if (row->finished_at_ms > p->now_ms + SLACK_MS)
        return set_purge_at(p, row->id, p->now_ms + keep_ms);
    if (passed_ms <= p->now_ms)
        return set_purge_at(p, row->id, due_ms);
    *ret_passes = false;
    note_next(p, due_ms < passed_ms ? due_ms : passed_ms);
    return SQLITE_OK;
}

static int walk(struct step *p, bool *ret_goes_on)
{
    struct store *s = p->store;
    struct store_query q = store_use(s, SQL_ENDS_WALK);
    struct end_row rows[STEP_ROWS];
    bool passes = true;
    size_t count = 0;
    int rc;

    store_query_put_int(&q, (int64_t)s->purged_to);
    store_query_put_int(&q, STEP_ROWS);
    rc = collect(&q, rows, &count);
    *ret_goes_on = count == STEP_ROWS;
    for (size_t i = 0; rc == SQLITE_OK && i < count; i++) {
        if (is_spent(p)) {
            note_next(p, p->now_ms);
            return SQLITE_OK;
        }
        rc = walk_over(p, &rows[i], &passes);
        if (rc != SQLITE_OK || !passes) {
            *ret_goes_on = false;
            return rc;
        }
        s->purged_to = rows[i].id;
    }
    return rc;
}

/* ---- what is kept beside jobs ---- */

static int purge_keys(struct step *p)
{
    int64_t over_ms = 0;
    bool goes_on = true;
    int rc = SQLITE_OK;

    while (rc == SQLITE_OK && goes_on && !is_spent(p)) {
        rc = store_idem_purge(p->store, p->now_ms, &goes_on, &over_ms);
        if (goes_on)
            p->rows_left--;
    }
    if (rc == SQLITE_OK && over_ms > 0)
        note_next(p, over_ms);
    return rc;
}

/* Only periods end by themselves; the other rows go with their jobs. */
static int purge_uniques(struct step *p)
{
    struct store_query delete = store_use(p->store, SQL_UNIQUES_PURGE);
    struct store_query next = store_use(p->store, SQL_UNIQUES_NEXT);
    bool has_row = false;
    int64_t until_ms = -1;
    int rc = store_query_next(&next, &has_row);

    if (rc != SQLITE_OK || !has_row)
        return rc;
    until_ms = store_query_int(&next);
    store_query_end(&next);
    if (until_ms > p->now_ms || is_spent(p)) {
        note_next(p, until_ms);
        return SQLITE_OK;
    }
    store_query_put_int(&delete, p->now_ms);
    store_query_put_int(&delete, (int64_t)p->rows_left);
    rc = store_query_run(&delete);
    p->rows_left -= (size_t)sqlite3_changes(p->store->db);
    note_next(p, p->now_ms);
    return rc;
}

/* Lanes without jobs, and buckets that are full, a few at a time. */
static int clean_lanes(struct step *p)
{
    size_t rows = 0;
    int64_t next_ms = -1;
    int rc = store_lanes_clean(p->store, p->now_ms, LANE_ROWS, &rows, &next_ms);

    if (next_ms >= 0)
        note_next(p, next_ms);
    return rc == SQLITE_OK ? store_rates_clean(p->store, p->now_ms, STEP_ROWS) : rc;
}

/* ---- space ---- */

static int ask(struct store *s, enum store_sql which, int64_t *ret_value)
{
    struct store_query q = store_use(s, which);
    bool has_row = false;
    int rc = store_query_next(&q, &has_row);

    if (rc == SQLITE_OK && has_row) {
        *ret_value = store_query_int(&q);
        store_query_end(&q);
    }
    return rc;
}

/* The file itself becomes shorter with a checkpoint. */
static int shrink(struct step *p)
{
    struct store_query q = store_use(p->store, SQL_SHRINK);
    int64_t free_pages = 0, pages = 0;
    bool has_row = true;
    int rc = ask(p->store, SQL_FREE_PAGES, &free_pages);

    if (rc == SQLITE_OK)
        rc = ask(p->store, SQL_PAGES, &pages);
    if (rc != SQLITE_OK || free_pages < SHRINK_ABOVE_PAGES || free_pages < pages / 4)
        return rc;
    while (rc == SQLITE_OK && has_row)
        rc = store_query_next(&q, &has_row);
    note_next(p, p->now_ms + SHRINK_PAUSE_MS);
    return rc;
}

int store_purge(struct store *s, struct store_purge *op, int *ret_status)
{
    struct step p = {.store = s,
                     .now_ms = op->now_ms,
                     .rounds = 1 + op->max_rows / STEP_ROWS,
                     .rows_left = op->max_rows,
                     .bytes_left = STEP_BYTES,
                     .next_ms = -1};
    int rc = repeat(&p, purge_due);

    if (rc == SQLITE_OK)
        rc = repeat(&p, walk);
    if (rc == SQLITE_OK)
        rc = purge_keys(&p);
    if (rc == SQLITE_OK)
        rc = purge_uniques(&p);
    op->ret_rows = op->max_rows - p.rows_left;
    if (rc == SQLITE_OK)
        rc = clean_lanes(&p);
    if (rc == SQLITE_OK && s->can_shrink && !is_spent(&p))
        rc = shrink(&p);
    op->ret_next_ms = is_spent(&p) ? op->now_ms : p.next_ms;
    *ret_status = 0;
    return rc;
}
