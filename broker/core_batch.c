#include "broker/core_batch.h"

#include "lib/crash.h"
#include "schema/errors.h"
#include "schema/id.h"

void core_outcome_set(struct core_outcome *o, const struct core_submit *s, int status)
{
    const struct store_submit *op = &s->op;

    o->status = status;
    if (status != 0)
        return;
    o->is_replay = op->ret_is_repeat;
    o->is_existing = op->ret_is_existing;
    o->has_key = op->key.len > 0;
    o->id = o->is_replay || o->is_existing ? op->ret_existing_id : op->id;
    o->replaced_id = op->ret_replaced_id;
    if (o->is_existing)
        o->state = op->ret_existing_state;
    else
        o->state = core_submit_due_ms(s, id_wall_ms(o->id)) != 0 ? JOB_SCHEDULED : JOB_QUEUED;
}

static bool is_new(const struct core_outcome *o)
{
    return !o->is_replay && !o->is_existing;
}

/* ---- on the store's thread ---- */

static int next_submit(struct store_submit_all *op, struct store_submit **ret_submit)
{
    struct core_batch *b = JM_CONTAINER_OF(op, struct core_batch, op);
    struct core_submit *s = NULL;
    int64_t due_ms;
    int rc;

    *ret_submit = NULL;
    if (b->at == b->count)
        return 0;
    rc = b->next(b, &s);
    if (rc != 0)
        return rc;
    b->present = s;
    s->ret_limit = b->outcomes[b->at].full_at;
    s->op.is_repeat_only = s->ret_limit > 0;
    s->op.id = b->id;
    b->id = ids_after(b->id);
    due_ms = core_submit_due_ms(s, core_submit_made_ms(s->op.id, b->now_ms));
    s->op.due_ms = due_ms != 0 ? due_ms : b->now_ms;
    s->op.state = due_ms != 0 ? JOB_SCHEDULED : JOB_QUEUED;
    *ret_submit = &s->op;
    return 0;
}

static void note_earlier(int64_t *first_ms, int64_t at_ms)
{
    if (at_ms > 0 && (*first_ms == 0 || at_ms < *first_ms))
        *first_ms = at_ms;
}

static void on_each(struct store_submit_all *op, struct store_submit *submit, int status)
{
    struct core_batch *b = JM_CONTAINER_OF(op, struct core_batch, op);
    struct core_outcome *o = &b->outcomes[b->at++];

    core_outcome_set(o, b->present, status);
    if (status == JM_EOVERLOAD)
        b->present->ret_limit = JM_LANES;
    if (status != 0)
        b->on_refused(b, b->present, status);
    if (status != 0 || !is_new(o))
        return;
    if (submit->state == JOB_SCHEDULED)
        note_earlier(&b->first_due_ms, submit->due_ms);
    note_earlier(&b->first_expires_ms, submit->spec.expires_at_ms);
}

/* ---- on the loop ---- */

/* Undoes what find_room did for the first `count`. */
static void give_room_back(struct core_batch *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        b->outcomes[i].queue->submits_queued--;
        dispatch_mark(&b->core->dispatch, b->outcomes[i].queue);
    }
}

/* From here on until the commit they count as jobs that are on their way to the backlog. One that
 * finds no room may be the repeat of a key still, or a unique job that is there, which only the
 * store can tell. */
static int find_room(struct core_batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        struct core_outcome *o = &b->outcomes[i];

        o->full_at = core_is_queue_full(o->queue) ? o->queue->conf.max_queued : 0;
        if (o->full_at > 0 && !o->may_be_known) {
            o->status = JM_EQUEUEFULL;
            b->core->stats.queue_full++;
            give_room_back(b, i);
            return JM_EBATCH;
        }
        o->queue->submits_queued++;
    }
    return 0;
}

static void on_stored(struct store_op *op)
{
    struct core_batch *b = JM_CONTAINER_OF(op, struct core_batch, op.op);
    struct core *c = b->core;

    CRASH_POINT("batch-back");
    give_room_back(b, b->count);
    for (size_t i = 0; i < b->count; i++)
        c->stats.queue_full += b->outcomes[i].status == JM_EQUEUEFULL;
    for (size_t i = 0; op->status == 0 && i < b->count; i++)
        if (is_new(&b->outcomes[i]) && b->outcomes[i].replaced_id != 0)
            core_stop_replaced(c, b->outcomes[i].replaced_id);
    if (op->status == 0 && b->first_due_ms != 0)
        schedule_note(&c->schedule, b->first_due_ms);
    if (op->status == 0)
        expiry_note(&c->expiry, b->first_expires_ms);
    b->on_done(b, op->status);
}

int core_batch_submit(struct core *c, struct core_batch *b)
{
    int rc;

    b->core = c;
    rc = find_room(b);
    if (rc != 0)
        return rc;
    b->id = ids_take(&c->ids, b->count > 0 ? b->count : 1);
    if (b->id == 0) {
        give_room_back(b, b->count);
        return JM_EOVERLOAD;
    }
    b->at = 0;
    b->now_ms = clock_wall_ms(c->seams.clock);
    b->first_due_ms = b->first_expires_ms = 0;
    b->op = (struct store_submit_all){.op = {.kind = STORE_SUBMIT_ALL,
                                             .on_done = on_stored,
                                             .wants_sync = true,
                                             .is_alone = true},
                                      .next = next_submit,
                                      .on_each = on_each};
    list_init(&b->op.op.link);
    runner_submit(c->seams.runner, &b->op.op);
    return 0;
}
