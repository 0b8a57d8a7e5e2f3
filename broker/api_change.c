/*
 * api_change.c: the routes that change one job that is there already, and show it then.
 */
#include "broker/api_routes.h"
#include "broker/call.h"
#include "broker/job_change.h"
#include "broker/show.h"

/* ---- PATCH /v1/jobs/{id} ---- */

static void on_changed(struct core_change *x, int status)
{
    struct call *call = JM_CONTAINER_OF(x, struct call, op.change);

    call->state = CALL_RUNNING;
    if (status != 0)
        show_refusal(call, status, x->op.ret_state);
    else
        show_job(call, show_on_job);
}

void api_change_patch(struct call *call)
{
    struct core_change *x = &call->op.change;
    int64_t now_ms = clock_wall_ms(call_core(call)->seams.clock);

    *x = (struct core_change){.op.id = call->id, .on_done = on_changed};
    if (job_change_read(call->body, now_ms, &x->op, &call->fault) != 0) {
        call_refuse(call);
        return;
    }
    call->state = CALL_STORING;
    core_change(call_core(call), x);
}

/* ---- POST /v1/jobs/{id}/retry ---- */

static void on_retried(struct core_retry *x, int status)
{
    struct call *call = JM_CONTAINER_OF(x, struct call, op.retry);

    call->state = CALL_RUNNING;
    if (status != 0)
        show_refusal(call, status, x->op.ret_was);
    else
        show_job(call, show_on_job);
}

void api_change_retry(struct call *call)
{
    call->op.retry = (struct core_retry){.op.id = call->id, .on_done = on_retried};
    call->state = CALL_STORING;
    core_retry(call_core(call), &call->op.retry);
}
