/*
 * api_bulk.c: cancel, retry or delete by filter. Which jobs are meant is read on the thread pool,
 * with the filter of the list and only in the states that the change fits; they are changed in
 * several commits (core_bulk), each of which looks again.
 *
 *     filter ──▶ READING (pool) ──▶ STORING (core_bulk) ──▶ answer
 *                   └── dry_run ───────────────────────────▶
 */
#include <stdlib.h>

#include "broker/api_routes.h"
#include "broker/call.h"
#include "broker/render.h"
#include "schema/errors.h"

/* What is looked at for one request, as for a page of the list. */
enum { BULK_ROWS = 1000000, BULK_MS = 100 };

struct bulk {
    struct core_bulk op;
    struct call *call;
    enum store_bulk_verb verb;
    struct buf items; /* struct store_bulk_item */
    uint64_t next;    /* to go on below; 0: there is no more */
};

static struct bulk *bulk_free(struct bulk *b)
{
    b->call->api->bulks--;
    buf_done(&b->items);
    free(b);
    return NULL;
}

static struct bulk *bulk_new(struct call *call, enum store_bulk_verb verb)
{
    struct bulk *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return NULL;
    call->api->bulks++;
    b->call = call;
    b->verb = verb;
    buf_init(&b->items, JM_BULK_JOBS * sizeof(struct store_bulk_item));
    return b;
}

static size_t count_of(const struct bulk *b)
{
    return b->items.len / sizeof(struct store_bulk_item);
}

/* ---- answer ---- */

static void refuse(struct call *call, int status)
{
    size_t changed = call->op.bulk->op.ret_changed;

    call->op.bulk = bulk_free(call->op.bulk);
    call_refuse_error(call, status, "%zu jobs were changed before", changed);
}

static void answer(struct call *call)
{
    const struct bulk *b = call->op.bulk;
    struct render_map m;

    buf_clear(&call->value);
    render_open_map(&m, &call->value);
    render_u64(&m, "matched", count_of(b));
    render_u64(&m, "changed", b->op.ret_changed);
    render_bool(&m, "dry_run", call->query.is_dry_run);
    if (b->next != 0)
        render_id(&m, "next_cursor", b->next);
    else
        render_nil(&m, "next_cursor");
    render_close_map(&m);
    call->op.bulk = bulk_free(call->op.bulk);
    call_answer(call, 200);
}

/* ---- change ---- */

static void on_changed(struct core_bulk *x, int status)
{
    struct call *call = JM_CONTAINER_OF(x, struct bulk, op)->call;

    call->state = CALL_RUNNING;
    if (status != 0)
        refuse(call, status);
    else
        answer(call);
}

static void change(struct call *call)
{
    struct bulk *b = call->op.bulk;

    b->op = (struct core_bulk){.verb = b->verb,
                               .items = (struct store_bulk_item *)(void *)b->items.data,
                               .count = count_of(b),
                               .on_done = on_changed};
    call->state = CALL_STORING;
    core_bulk(call_core(call), &b->op);
}

/* ---- find ---- */

static void on_id(void *owner, uint64_t id)
{
    struct bulk *b = owner;
    struct store_bulk_item item = {.id = id};

    buf_put(&b->items, &item, sizeof(item));
}

/* On a thread of the pool. */
static int find(struct reads_req *req, struct reader *reader)
{
    struct call *call = JM_CONTAINER_OF(req, struct call, read);
    const struct reader_bounds bounds = {
        .jobs = JM_BULK_JOBS, .rows = BULK_ROWS, .time_ms = BULK_MS};
    struct bulk *b = call->op.bulk;
    int rc = reader_find(reader, &call->query.filter, &bounds, b, on_id, &b->next);

    return rc == 0 && buf_has_failed(&b->items) ? JM_ENOMEM : rc;
}

static void on_found(struct reads_req *req)
{
    struct call *call = JM_CONTAINER_OF(req, struct call, read);

    call->state = CALL_RUNNING;
    if (req->status != 0)
        refuse(call, req->status);
    else if (call->query.is_dry_run || count_of(call->op.bulk) == 0)
        answer(call);
    else
        change(call);
}

/* The states in which a job can be changed so; the others are not meant. */
static unsigned states_for(enum store_bulk_verb verb)
{
    unsigned set = 0;

    for (int state = 1; state < JOB_STATE_LIMIT; state++)
        if (job_state_is_terminal((enum job_state)state) == (verb != BULK_CANCEL))
            set |= 1u << state;
    return set;
}

static void run(struct call *call, enum store_bulk_verb verb)
{
    unsigned *states = &call->query.filter.states;

    if (!(call->query.given & QUERY_FILTERS)) {
        call_refuse_error(call, JM_ENOFILTER,
                          "name at least one of state, queue, task, tag, limit_key, worker, error, "
                          "created_after and created_before");
        return;
    }
    if (call->api->bulks >= JM_BULKS) {
        fault_set(&call->fault, JM_EOVERLOAD, span_of(NULL, 0), JM_BULKS,
                  "at most %d changes of many jobs can be under way at a time", JM_BULKS);
        call_refuse(call);
        return;
    }
    call->op.bulk = bulk_new(call, verb);
    if (call->op.bulk == NULL) {
        call_refuse_error(call, JM_ENOMEM, "out of memory");
        return;
    }
    *states = *states != 0 ? *states & states_for(verb) : states_for(verb);
    if (*states == 0) {
        answer(call);
        return;
    }
    call->state = CALL_READING;
    call->read.on_thread = find;
    call->read.on_done = on_found;
    reads_submit(&call->api->reads, &call->read);
}

void api_bulk_cancel(struct call *call)
{
    run(call, BULK_CANCEL);
}

void api_bulk_retry(struct call *call)
{
    run(call, BULK_RETRY);
}

void api_bulk_delete(struct call *call)
{
    run(call, BULK_DELETE);
}
