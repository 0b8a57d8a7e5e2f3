#include "broker/expiry.h"

#include <stdlib.h>

#include "broker/core.h"

enum {
    OUT_NEXT_MS = 50,    /* there are more of them to be taken back */
    OUT_AGAIN_MS = 1000, /* what Redis did not give back: it has begun, as will be known soon */
};

static int64_t now_ms(const struct expiry *x)
{
    return clock_wall_ms(x->alarm.core->seams.clock);
}

struct withdrawal {
    struct dispatch_recall recall;
    struct expiry *expiry;
};

/* It is on its way back to the backlog, and the next look comes behind it. */
static void on_withdrawn(struct dispatch_recall *r)
{
    struct withdrawal *w = JM_CONTAINER_OF(r, struct withdrawal, recall);

    w->expiry->withdrawals--;
    if (r->number == 1 || (w->expiry->withdrawals == 0 && w->expiry->after.id != 0))
        expiry_look(w->expiry);
    free(w);
}

static void withdraw(struct expiry *x, uint64_t id)
{
    struct dispatch *d = &x->alarm.core->dispatch;
    struct dispatch_job *job = dispatch_find(d, id);
    struct withdrawal *w;

    if (job == NULL || job->has_begun || job->is_over || job->place == DISPATCH_RESERVED)
        return;
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return;
    w->expiry = x;
    w->recall.on_done = on_withdrawn;
    x->withdrawals++;
    if (dispatch_withdraw(d, job, &w->recall) == 0)
        return;
    x->withdrawals--;
    free(w);
}

/* Jobs that are out may stay so for long without being known to have begun, if Redis is away: the
 * walk over them goes on where it was, so that none stands in another's way. */
static int64_t next_look_ms(const struct expiry *x)
{
    int64_t in_ms = x->after.id != 0 && x->withdrawals == 0 ? OUT_NEXT_MS : OUT_AGAIN_MS;
    int64_t next_ms = x->op.ret_next_ms;
    bool is_any_out = x->withdrawals > 0 || x->after.id != 0 || x->op.ret_out_count > 0;

    if (is_any_out && (next_ms < 0 || next_ms > now_ms(x) + in_ms))
        return now_ms(x) + in_ms;
    return next_ms;
}

static void on_expired(struct store_op *op)
{
    struct expiry *x = JM_CONTAINER_OF(op, struct expiry, op.op);

    if (op->status != 0) {
        alarm_fail(&x->alarm);
        return;
    }
    for (size_t i = 0; i < x->op.ret_count; i++)
        waiters_mark(&x->alarm.core->waiters, x->ids[i]);
    if (x->op.max_out > 0)
        x->after = x->op.ret_out_after;
    for (size_t i = 0; i < x->op.ret_out_count; i++)
        withdraw(x, x->out_ids[i]);
    alarm_done(&x->alarm, next_look_ms(x));
}

/* An end that nobody may be told of before it is on disk. */
static void on_time(struct alarm *a)
{
    struct expiry *x = JM_CONTAINER_OF(a, struct expiry, alarm);

    if (!wall_watch_is_settled(&a->core->wall)) {
        alarm_wait(a, WALL_LOOK_AGAIN_MS);
        return;
    }
    x->op = (struct store_expire){
        .op = {.kind = STORE_EXPIRE, .on_done = on_expired, .wants_sync = true, .bytes = 4096},
        .now_ms = now_ms(x),
        .max_jobs = EXPIRY_JOBS,
        .max_out = x->withdrawals == 0 ? EXPIRY_JOBS : 0,
        .out_after = x->after,
        .ret_ids = x->ids,
        .ret_out_ids = x->out_ids};
    list_init(&x->op.op.link);
    runner_submit(a->core->seams.runner, &x->op.op);
}

void expiry_init(struct expiry *x, struct core *core)
{
    x->withdrawals = 0;
    x->after = (struct store_expiry){.id = 0};
    alarm_init(&x->alarm, core, on_time);
}

void expiry_look(struct expiry *x)
{
    alarm_note(&x->alarm, 0);
}

void expiry_note(struct expiry *x, int64_t expires_at_ms)
{
    if (expires_at_ms != 0)
        alarm_note(&x->alarm, expires_at_ms);
}
