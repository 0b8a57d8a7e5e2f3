/*
 * Which jobs fit a filter. A walk over the shortest index or table that has every candidate gives
 * ids, newest first; what the walk's row does not tell of a candidate is read by its id, the
 * cheapest part first. All of it sees one moment, so that a job that ends meanwhile is neither
 * missed between `live` and `ends` nor met in both.
 *
 * The tags of a job and its failure have rows of their own, which are walked; where two such walks
 * are asked for (a tag and a live state, a tag and a failure), the one jumps to where the other is
 * next, so that the shorter one decides what it costs. Anything else is looked for row by row:
 * hence the bounds, and the id to go on below.
 */
#include "broker/reader_inside.h"

#include "broker/evidence.h"
#include "broker/job_options.h"
#include "schema/id.h"

/* What is known of the job that is looked at; spans into rows that are open. */
struct candidate {
    uint64_t id;
    bool has_state;
    enum job_state state;
    uint64_t host;
    bool has_spec;
    struct span queue; /* may be known without the others */
    struct span task;
    struct span options;
};

struct find {
    struct reader *r;
    const struct job_filter *filter;
    enum reader_sql walk;
    struct store_query rows;
    bool has_row;
    uint64_t below;    /* no id smaller than this has been looked at */
    uint64_t begun_ns; /* by the clock's mono_ns */
};

/* ---- the walk ---- */

static enum reader_sql walk_of(const struct job_filter *f)
{
    const unsigned out = 1u << JOB_DISPATCHED | 1u << JOB_RUNNING;
    const unsigned live = out | 1u << JOB_SCHEDULED | 1u << JOB_QUEUED;
    bool asks_spec = f->queue.len > 0 || f->task.len > 0 || f->limit_key.len > 0;

    if (f->error.len > 0 || f->states == 1u << JOB_FAILED)
        return SQL_WALK_FAILED;
    if (f->states != 0 && (f->states & ~out) == 0)
        return SQL_WALK_OUT;
    if (f->states != 0 && (f->states & ~live) == 0)
        return SQL_WALK_LIVE;
    if (f->tag.len > 0)
        return SQL_WALK_TAG;
    /* Most jobs have succeeded: then the state is what tells least. */
    if (asks_spec && (f->states == 0 || (f->states & 1u << JOB_SUCCEEDED) != 0))
        return SQL_WALK_JOBS;
    if (f->states != 0 && (f->states & live) == 0)
        return SQL_WALK_ENDS;
    return f->states != 0 || f->worker != 0 ? SQL_WALK_ALL : SQL_WALK_JOBS;
}

/* Begins anew below `find->below`, from where nothing has been looked at. */
static int start_walk(struct find *find)
{
    find->rows = reader_use(find->r, find->walk);
    store_query_put_int(&find->rows, (int64_t)find->below);
    store_query_put_int(&find->rows, (int64_t)find->filter->from);
    if (find->walk == SQL_WALK_TAG)
        store_query_put_text(&find->rows, find->filter->tag);
    return store_query_next(&find->rows, &find->has_row);
}

static void read_spec(struct store_query *q, struct candidate *c)
{
    c->has_spec = true;
    c->queue = store_query_bytes(q);
    c->task = store_query_bytes(q);
    c->options = store_query_bytes(q);
}

static void read_state(struct store_query *q, struct candidate *c)
{
    c->has_state = true;
    c->state = (enum job_state)store_query_int(q);
    c->host = (uint64_t)store_query_int(q);
}

static void read_row(struct find *find, struct candidate *c)
{
    *c = (struct candidate){.id = (uint64_t)store_query_int(&find->rows)};
    if (find->walk == SQL_WALK_JOBS) {
        read_spec(&find->rows, c);
    } else if (find->walk != SQL_WALK_TAG) {
        read_state(&find->rows, c);
        c->queue = store_query_bytes(&find->rows);
    }
}

/* ---- what is asked ---- */

static bool is_limit_key(const struct candidate *c, struct span limit_key)
{
    struct job_options options;

    return c->options.len > 0 && job_options_decode(c->options, &options) &&
           span_is_equal(options.limit_key, limit_key);
}

static bool is_spec_wanted(const struct job_filter *f, const struct candidate *c)
{
    return (f->queue.len == 0 || span_is_equal(f->queue, c->queue)) &&
           (f->task.len == 0 || span_is_equal(f->task, c->task)) &&
           (f->limit_key.len == 0 || is_limit_key(c, f->limit_key));
}

static int check_spec(struct find *find, struct candidate *c, bool *ret_fits)
{
    const struct job_filter *f = find->filter;
    struct store_query q = reader_use(find->r, SQL_FIND_SPEC);
    bool found = c->has_spec;
    int rc = SQLITE_OK;

    if (f->queue.len > 0 && c->queue.len > 0 && !span_is_equal(f->queue, c->queue)) {
        *ret_fits = false;
        return SQLITE_OK;
    }
    if (!c->has_spec && (f->queue.len > 0 || f->task.len > 0 || f->limit_key.len > 0)) {
        store_query_put_int(&q, (int64_t)c->id);
        rc = store_query_next(&q, &found);
        if (rc == SQLITE_OK && found)
            read_spec(&q, c);
        *ret_fits = found && is_spec_wanted(f, c);
        c->has_spec = false; /* its row is over */
        store_query_end(&q);
        return rc;
    }
    *ret_fits = is_spec_wanted(f, c);
    return rc;
}

static int check_state(struct find *find, struct candidate *c, bool *ret_fits)
{
    const struct job_filter *f = find->filter;
    struct store_query q = reader_use(find->r, SQL_FIND_STATE);
    bool found = c->has_state;
    int rc = SQLITE_OK;

    if (!found && (f->states != 0 || f->worker != 0)) {
        store_query_put_int(&q, (int64_t)c->id);
        rc = store_query_next(&q, &found);
        if (rc == SQLITE_OK && found)
            read_state(&q, c);
        store_query_end(&q);
    }
    *ret_fits = (f->states == 0 || (found && (f->states & 1u << c->state) != 0)) &&
                (f->worker == 0 || (found && c->host == f->worker));
    return rc;
}

static int check_error(struct find *find, uint64_t id, bool *ret_fits)
{
    struct store_query q = reader_use(find->r, SQL_FIND_ERROR);
    bool found = false;
    int rc;

    if (find->filter->error.len == 0)
        return SQLITE_OK;
    store_query_put_int(&q, (int64_t)id);
    rc = store_query_next(&q, &found);
    *ret_fits =
        found && span_is_equal(evidence_text(store_query_bytes(&q), "code"), find->filter->error);
    store_query_end(&q);
    return rc;
}

/* Where the tag is next, from the candidate on down; 0: nowhere. */
static int seek_tag(struct find *find, uint64_t id, uint64_t *ret_next)
{
    struct store_query q = reader_use(find->r, SQL_SEEK_TAG);
    bool found = false;
    int rc;

    store_query_put_int(&q, (int64_t)id);
    store_query_put_text(&q, find->filter->tag);
    rc = store_query_next(&q, &found);
    *ret_next = found ? (uint64_t)store_query_int(&q) : 0;
    store_query_end(&q);
    return rc;
}

/* The parts in an order that reads least: what is at hand first. */
static int check_parts(struct find *find, struct candidate *c, bool *ret_fits)
{
    bool has_spec = c->has_spec;
    int rc;

    *ret_fits = true;
    rc = has_spec ? check_spec(find, c, ret_fits) : check_state(find, c, ret_fits);
    if (rc == SQLITE_OK && *ret_fits)
        rc = has_spec ? check_state(find, c, ret_fits) : check_spec(find, c, ret_fits);
    if (rc == SQLITE_OK && *ret_fits)
        rc = check_error(find, c->id, ret_fits);
    return rc;
}

/* ---- going on ---- */

/* Looks at the walk's row. `ret_fits` says whether the job fits; `ret_jumps`, whether the walk has
 * to begin anew, because nothing fits before find->below. */
static int look(struct find *find, uint64_t *ret_id, bool *ret_fits, bool *ret_jumps)
{
    struct candidate c;
    uint64_t next;
    int rc = SQLITE_OK;

    read_row(find, &c);
    *ret_id = next = c.id;
    if (find->filter->tag.len > 0 && find->walk != SQL_WALK_TAG)
        rc = seek_tag(find, c.id, &next);
    if (rc != SQLITE_OK)
        return rc;
    *ret_jumps = next != c.id;
    if (*ret_jumps) {
        find->below = next > 0 ? next + 1 : 0;
        return SQLITE_OK;
    }
    find->below = c.id;
    return check_parts(find, &c, ret_fits);
}

static int go_on(struct find *find, bool jumps)
{
    if (!jumps)
        return store_query_next(&find->rows, &find->has_row);
    store_query_end(&find->rows);
    find->has_row = false;
    return find->below > 0 ? start_walk(find) : SQLITE_OK;
}

static bool is_over(const struct find *find, const struct reader_bounds *bounds, size_t jobs,
                    size_t rows)
{
    if (!find->has_row || jobs >= bounds->jobs || rows >= bounds->rows)
        return true;
    return bounds->time_ms != 0 && rows > 0 &&
           clock_mono_ns(find->r->clock) - find->begun_ns >= bounds->time_ms * 1000000;
}

static int walk(struct find *find, const struct reader_bounds *bounds, void *owner,
                reader_fit_cb on_fit)
{
    size_t jobs = 0;
    int rc = start_walk(find);

    for (size_t rows = 0; rc == SQLITE_OK && !is_over(find, bounds, jobs, rows); rows++) {
        bool fits = false;
        bool jumps = false;
        uint64_t id = 0;

        rc = look(find, &id, &fits, &jumps);
        if (rc == SQLITE_OK && fits) {
            jobs++;
            rc = on_fit(find->r, owner, id);
        }
        if (rc == SQLITE_OK)
            rc = go_on(find, jumps);
    }
    store_query_end(&find->rows);
    return rc;
}

int reader_find_each(struct reader *r, const struct job_filter *filter,
                     const struct reader_bounds *bounds, void *owner, reader_fit_cb on_fit,
                     uint64_t *ret_next)
{
    struct find find = {
        .r = r,
        .filter = filter,
        .walk = walk_of(filter),
        .below = filter->below != 0 && filter->below < ID_MAX ? filter->below : ID_MAX,
        .begun_ns = clock_mono_ns(r->clock),
    };
    int rc;

    reader_begin(r);
    rc = walk(&find, bounds, owner, on_fit);
    reader_end(r);
    if (rc != SQLITE_OK)
        return reader_error(r, rc);
    *ret_next = find.has_row ? find.below : 0;
    return 0;
}

/* ---- ids alone ---- */

struct wanted {
    void *owner;
    reader_id_cb on_id;
};

static int give_id(struct reader *r, void *owner, uint64_t id)
{
    struct wanted *wanted = owner;

    (void)r;
    wanted->on_id(wanted->owner, id);
    return SQLITE_OK;
}

int reader_find(struct reader *r, const struct job_filter *filter,
                const struct reader_bounds *bounds, void *owner, reader_id_cb on_id,
                uint64_t *ret_next)
{
    struct wanted wanted = {.owner = owner, .on_id = on_id};

    return reader_find_each(r, filter, bounds, &wanted, give_id, ret_next);
}
