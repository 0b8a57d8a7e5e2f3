/*
 * api_explain.c: GET /v1/jobs/{id}/explain. What stands before the job is counted on the thread
 * pool; then the loop reads the job and asks the core, so that the reasons belong to the state that
 * is shown.
 */
#include "broker/api_routes.h"
#include "broker/call.h"
#include "broker/explain.h"
#include "broker/render.h"
#include "schema/errors.h"
#include "schema/id.h"

static void render_reason(struct buf *out, const struct explain_reason *reason)
{
    struct render_map m;

    render_open_map(&m, out);
    render_word(&m, "code", explain_word(reason->code));
    render_word(&m, "message", reason->message);
    if (reason->limit != 0)
        render_u64(&m, "limit", reason->limit);
    if (reason->until_ms != 0)
        render_time(&m, "until", reason->until_ms);
    render_close_map(&m);
}

static void render_explanation(struct call *call, const struct job_view *job)
{
    struct explanation why;
    struct render_array reasons;
    struct render_map m;

    explain_job(call_core(call), job, &why);
    buf_clear(&call->value);
    render_open_map(&m, &call->value);
    render_id(&m, "id", job->id);
    render_word(&m, "state", job_state_shown(job->state));
    render_key(&m, "reasons");
    render_open_array(&reasons, &call->value);
    for (size_t i = 0; i < why.count; i++) {
        render_item(&reasons);
        render_reason(&call->value, &why.reasons[i]);
    }
    render_close_array(&reasons);
    render_u64(&m, "jobs_before", job->state == JOB_QUEUED ? call->op.jobs_before : 0);
    render_close_map(&m);
}

static void answer_explanation(struct call *call)
{
    call_answer(call, 200);
}

static void explain(struct call *call)
{
    struct job_view job;
    char text[ID_TEXT_BYTES];
    int rc = reader_get(call->api->conf.reader, call->id, false, &job);

    id_format(call->id, text);
    if (rc == JM_ENOJOB) {
        call_refuse_error(call, rc, "there is no job %s", text);
    } else if (rc != 0) {
        call_refuse_error(call, rc, "the job %s cannot be read", text);
    } else {
        render_explanation(call, &job);
        if (job_state_is_terminal(job.state))
            call_hold(call, answer_explanation);
        else
            answer_explanation(call);
    }
}

static int count_before(struct reads_req *req, struct reader *reader)
{
    struct call *call = JM_CONTAINER_OF(req, struct call, read);

    return reader_before(reader, call->id, JM_EXPLAIN_JOBS, &call->op.jobs_before);
}

static void on_counted(struct reads_req *req)
{
    struct call *call = JM_CONTAINER_OF(req, struct call, read);

    call->state = CALL_RUNNING;
    if (req->status != 0)
        call_refuse_error(call, req->status, "the backlog cannot be read");
    else
        explain(call);
}

void api_explain_run(struct call *call)
{
    call->state = CALL_READING;
    call->read.on_thread = count_before;
    call->read.on_done = on_counted;
    reads_submit(&call->api->reads, &call->read);
}
