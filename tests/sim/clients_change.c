/*
 * clients_change.c: what clients do to jobs that were promised: cancel, retry, change, and the same
 * to many at once.
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

enum { BULK_JOBS = 4 };

struct act {
    struct sim_request request;
    struct core_cancel cancel;
    struct core_retry retry;
    struct core_change change;
    struct core_bulk bulk;
    struct store_bulk_item items[BULK_JOBS];
};

static struct act *call_new(struct sim *s)
{
    struct act *call = calloc(1, sizeof(*call));

    assert(call != NULL);
    sim_request_init(s, &call->request);
    return call;
}

static void call_free(struct act *call)
{
    sim_request_done(&call->request);
    free(call);
}

static int64_t wall_ms(struct sim *s)
{
    return clock_wall_ms(&s->clock);
}

/* From here on it may live again, whatever the answer. */
static void note_retry(struct sim *s, uint64_t id)
{
    struct sim_promise *p = sim_clients_find(s, id);

    p->is_cancelled = false;
    p->retries++;
    p->retrying++;
}

static uint64_t any_promised(struct sim *s)
{
    return s->promises[sim_random(s, s->promise_count)].id;
}

static void on_cancelled(struct core_cancel *x, int status)
{
    struct act *call = JM_CONTAINER_OF(x, struct act, cancel);

    sim_request_back(&call->request);
    if (status == 0)
        sim_clients_note_cancelled(call->request.sim, x->op.id);
    call_free(call);
}

static void cancel_one(struct sim *s)
{
    struct act *call = call_new(s);

    call->cancel.op.id = any_promised(s);
    call->cancel.on_done = on_cancelled;
    core_cancel(s->core, &call->cancel);
    call->request.is_calling = false;
}

static void on_retried(struct core_retry *x, int status)
{
    struct act *call = JM_CONTAINER_OF(x, struct act, retry);

    sim_request_back(&call->request);
    sim_clients_find(call->request.sim, x->op.id)->retrying--;
    if (status == 0 && !runner_is_synced(&call->request.sim->runner.runner))
        sim_fail(call->request.sim, "a retry was confirmed before it was on disk");
    call_free(call);
}

static void retry_one(struct sim *s)
{
    struct act *call = call_new(s);

    call->retry.op.id = any_promised(s);
    call->retry.on_done = on_retried;
    note_retry(s, call->retry.op.id);
    core_retry(s->core, &call->retry);
    call->request.is_calling = false;
}

static void on_changed(struct core_change *x, int status)
{
    struct act *call = JM_CONTAINER_OF(x, struct act, change);

    (void)status;
    sim_request_back(&call->request);
    call_free(call);
}

static void change_one(struct sim *s)
{
    struct act *call = call_new(s);
    struct store_change *op = &call->change.op;

    op->id = any_promised(s);
    op->what = 1u << sim_random(s, 3); /* priority, time, args */
    if (sim_chance(s, 30))
        op->what |= CHANGE_EXPIRES | CHANGE_MAX_ATTEMPTS;
    op->spec.priority = 1 + (uint32_t)sim_random(s, 9);
    op->due_ms = wall_ms(s) + (int64_t)sim_random(s, 6000) - 2000;
    op->spec.args = span_of("\xc3", 1);
    op->spec.expires_at_ms = wall_ms(s) + 1000 + (int64_t)sim_random(s, 20000);
    op->spec.max_attempts = 1 + (uint32_t)sim_random(s, 5);
    call->change.on_done = on_changed;
    core_change(s->core, &call->change);
    call->request.is_calling = false;
}

static void on_bulk(struct core_bulk *x, int status)
{
    struct act *call = JM_CONTAINER_OF(x, struct act, bulk);

    sim_request_back(&call->request);
    for (size_t i = 0; x->verb == BULK_RETRY && i < x->count; i++)
        sim_clients_find(call->request.sim, x->items[i].id)->retrying--;
    for (size_t i = 0; status == 0 && x->verb == BULK_CANCEL && i < x->count; i++)
        if (x->items[i].ret_is_changed)
            sim_clients_note_cancelled(call->request.sim, x->items[i].id);
    call_free(call);
}

static void change_many(struct sim *s)
{
    struct act *call = call_new(s);

    call->bulk.verb = (enum store_bulk_verb)sim_random(s, 3);
    call->bulk.items = call->items;
    call->bulk.count = BULK_JOBS;
    for (size_t i = 0; i < BULK_JOBS; i++) {
        call->items[i].id = any_promised(s);
        if (call->bulk.verb == BULK_RETRY)
            note_retry(s, call->items[i].id);
        if (call->bulk.verb == BULK_DELETE)
            sim_clients_find(s, call->items[i].id)->is_deleted = true;
    }
    call->bulk.on_done = on_bulk;
    core_bulk(s->core, &call->bulk);
    call->request.is_calling = false;
}

void sim_clients_change(struct sim *s)
{
    static void (*const acts[])(struct sim * s) = {cancel_one, retry_one, change_one, change_one,
                                                   change_many};

    if (s->promise_count > 0)
        acts[sim_random(s, JM_COUNT_OF(acts))](s);
}
