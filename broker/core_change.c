/*
 * core_change.c: changes of jobs that are there already.
 *
 * A change of a job that is with Redis:
 *
 *     withdraw ──▶ (it was in its list) STORE_PUT_BACK, right behind it STORE_CHANGE ──▶ answer
 *         │                                                                │ dispatched again
 *         └──▶ (it was not, or Redis did not say) STORE_CHANGE ──▶ answer  └──▶ withdraw, …
 *
 * The store has the last word in any case: the job may have ended or come back meanwhile.
 */
#include "broker/core_change.h"

#include "broker/core.h"
#include "schema/errors.h"

enum { CHANGE_TRIES = 3, BULK_STEP = 256 };

static void submit(struct core *c, struct store_op *op)
{
    list_init(&op->link);
    runner_submit(c->seams.runner, op);
}

/* ---- change ---- */

static void withdraw_or_store(struct core_change *x);

static void on_changed(struct store_op *op)
{
    struct core_change *x = JM_CONTAINER_OF(op, struct core_change, op.op);
    struct core *c = x->core;

    if (op->status == JM_ERUNNING && x->op.ret_state == JOB_DISPATCHED && x->tries < CHANGE_TRIES) {
        withdraw_or_store(x);
        return;
    }
    if (op->status == 0 && x->op.ret_state == JOB_SCHEDULED)
        schedule_note(&c->schedule, x->op.ret_due_ms);
    if (op->status == 0 && (x->op.what & CHANGE_EXPIRES))
        expiry_note(&c->expiry, x->op.spec.expires_at_ms);
    x->on_done(x, op->status);
}

static void store(struct core_change *x)
{
    x->op.op = (struct store_op){.kind = STORE_CHANGE,
                                 .on_done = on_changed,
                                 .wants_sync = true,
                                 .bytes = 512 + x->op.spec.args.len};
    x->op.now_ms = clock_wall_ms(x->core->seams.clock);
    submit(x->core, &x->op.op);
}

static void on_withdrawn(struct dispatch_recall *r)
{
    struct core_change *x = JM_CONTAINER_OF(r, struct core_change, recall);

    if (r->number != 1)
        x->tries = CHANGE_TRIES;
    store(x);
}

static void withdraw_or_store(struct core_change *x)
{
    struct dispatch *d = &x->core->dispatch;
    struct dispatch_job *job = dispatch_find(d, x->op.id);

    x->tries++;
    x->recall = (struct dispatch_recall){.on_done = on_withdrawn};
    if (job != NULL && !job->has_begun && !job->is_over && job->place != DISPATCH_RESERVED &&
        dispatch_withdraw(d, job, &x->recall) == 0)
        return;
    if (job != NULL)
        x->tries = CHANGE_TRIES;
    store(x);
}

void core_change(struct core *c, struct core_change *x)
{
    x->core = c;
    x->tries = 0;
    withdraw_or_store(x);
}

/* ---- retry ---- */

static void on_retried(struct store_op *op)
{
    struct core_retry *x = JM_CONTAINER_OF(op, struct core_retry, op.op);

    if (op->status == 0)
        expiry_look(&x->core->expiry);
    x->on_done(x, op->status);
}

void core_retry(struct core *c, struct core_retry *x)
{
    x->core = c;
    x->op.op = (struct store_op){
        .kind = STORE_RETRY, .on_done = on_retried, .wants_sync = true, .bytes = 512};
    submit(c, &x->op.op);
}

/* ---- many ---- */

static void bulk_next(struct core_bulk *x);

/* The commit has fenced the attempt that was out. */
static void stop_cancelled(struct core *c, const struct store_bulk_item *item)
{
    struct dispatch_job *job = dispatch_find_attempt(&c->dispatch, item->id, item->ret_attempt);

    waiters_mark(&c->waiters, item->id);
    if (job != NULL)
        dispatch_stop(&c->dispatch, job);
}

static void on_bulk(struct store_op *op)
{
    struct core_bulk *x = JM_CONTAINER_OF(op, struct core_bulk, op.op);

    if (op->status != 0) {
        x->on_done(x, op->status);
        return;
    }
    for (size_t i = 0; x->verb == BULK_CANCEL && i < x->op.count; i++)
        if (x->op.items[i].ret_is_changed)
            stop_cancelled(x->core, &x->op.items[i]);
    if (x->verb == BULK_RETRY && x->op.ret_changed > 0)
        expiry_look(&x->core->expiry);
    x->ret_done += x->op.count;
    x->ret_changed += x->op.ret_changed;
    if (x->ret_done < x->count)
        bulk_next(x);
    else
        x->on_done(x, 0);
}

static void bulk_next(struct core_bulk *x)
{
    size_t left = x->count - x->ret_done;

    x->op = (struct store_bulk){.verb = x->verb,
                                .items = x->items + x->ret_done,
                                .count = left < BULK_STEP ? left : BULK_STEP};
    for (size_t i = 0; x->verb == BULK_CANCEL && i < x->op.count; i++)
        x->op.items[i].begun = core_begun(x->core, x->op.items[i].id);
    x->op.op = (struct store_op){.kind = STORE_BULK,
                                 .on_done = on_bulk,
                                 .wants_sync = true,
                                 .bytes = 512 * (x->op.count + 1)};
    submit(x->core, &x->op.op);
}

void core_bulk(struct core *c, struct core_bulk *x)
{
    x->core = c;
    x->ret_done = 0;
    x->ret_changed = 0;
    bulk_next(x);
}
