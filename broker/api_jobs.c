/*
 * api_jobs.c: the routes of one job.
 */
#include "broker/api_routes.h"
#include "broker/call.h"
#include "broker/evidence.h"
#include "broker/job_render.h"
#include "broker/show.h"
#include "lib/hex.h"
#include "lib/mp.h"
#include "schema/errors.h"
#include "schema/id.h"

/* ---- GET /v1/jobs/{id} ---- */

/* Each form is a representation of its own, so its tag differs too (RFC 9110 section 8.8.3.3). */
static int on_show_job(struct call *call, const struct job_view *job)
{
    char *at = call->etag;

    *at++ = '"';
    hex_format(job_render_version(job), at);
    at += HEX_TEXT_BYTES - 1;
    *at++ = '-';
    *at++ = call->form == BODY_MSGPACK ? 'm' : 'j';
    *at++ = '"';
    *at = '\0';
    return show_on_job(call, job);
}

void api_jobs_get(struct call *call)
{
    show_job(call, on_show_job);
}

/* ---- GET /v1/jobs/{id}/result ---- */

static int refuse_result(struct call *call, const struct job_view *job)
{
    const char *state = job_state_shown(job->state);
    struct span none = span_of(NULL, 0);
    struct span code = evidence_text(job->error, "code");
    struct span message = evidence_text(job->error, "message");

    if (!job_state_is_terminal(job->state))
        return fault_set(&call->fault, JM_ENOTFINISHED, none, 0, "the job is %s", state);
    if (code.len == 0)
        return fault_set(&call->fault, JM_ENORESULT, none, 0, "the job is %s", state);
    return fault_set(&call->fault, JM_ENORESULT, none, 0, "the job is %s: %.*s: %.*s", state,
                     (int)code.len, (const char *)code.data, (int)message.len,
                     (const char *)message.data);
}

static int on_show_result(struct call *call, const struct job_view *job)
{
    struct mp_cursor c;
    struct mp_token token;

    if (!job_state_is_terminal(job->state) || job->result.len == 0)
        return refuse_result(call, job);
    if (call->form != BODY_OCTETS) {
        buf_put_span(&call->value, job->result);
        return 200;
    }
    mp_open(&c, job->result);
    if (!mp_next(&c, &token) || (token.type != MP_BIN && token.type != MP_STR))
        return fault_set(&call->fault, JM_EACCEPT, span_of_str("Accept"), 0,
                         "only a string or binary result has this form; accept application/json");
    buf_put_span(&call->value, token.bytes);
    return 200;
}

void api_jobs_get_result(struct call *call)
{
    show_job(call, on_show_result);
}

/* ---- POST /v1/jobs/{id}/cancel ---- */

static int on_show_cancelled(struct call *call, const struct job_view *job)
{
    struct render_map m;
    int rc;

    render_open_map(&m, &call->value);
    switch (call->op.cancel.stopped) {
    case CORE_STOPPED_YES:
        render_bool(&m, "stopped", true);
        break;
    case CORE_STOPPED_NO:
        render_bool(&m, "stopped", false);
        break;
    case CORE_STOPPED_UNKNOWN:
        render_word(&m, "stopped", "unknown");
        break;
    }
    rc = show_whole_job(call, &m, job);
    render_close_map(&m);
    return rc == 0 ? 200 : rc;
}

static void on_cancelled(struct core_cancel *x, int status)
{
    struct call *call = JM_CONTAINER_OF(x, struct call, op.cancel);

    call->state = CALL_RUNNING;
    if (status != 0) {
        show_refusal(call, status, x->op.ret_state);
        return;
    }
    call->is_on_disk = true;
    show_job(call, on_show_cancelled);
}

void api_jobs_cancel(struct call *call)
{
    call->state = CALL_STORING;
    call->op.cancel = (struct core_cancel){.op.id = call->id, .on_done = on_cancelled};
    core_cancel(call_core(call), &call->op.cancel);
}

/* ---- DELETE /v1/jobs/{id} ---- */

static void on_deleted(struct store_op *op)
{
    struct call *call = JM_CONTAINER_OF(op, struct call, op.remove.op);

    call->state = CALL_RUNNING;
    if (op->status == 0)
        call_answer_empty(call, 204);
    else
        show_refusal(call, op->status, JOB_NONE);
}

void api_jobs_delete(struct call *call)
{
    call->state = CALL_STORING;
    call->op.remove = (struct store_delete){
        .op = {.kind = STORE_DELETE, .on_done = on_deleted, .wants_sync = true, .bytes = 256},
        .id = call->id,
    };
    list_init(&call->op.remove.op.link);
    runner_submit(call_runner(call), &call->op.remove.op);
}
