/*
 * api_submit.c: POST /v1/jobs.
 *
 * The answer to a submit without a wait is made only from what was asked and from the id, so that a
 * repeat under the same Idempotency-Key gets the same bytes, whatever has become of the job and of
 * the broker meanwhile. A warning is in a header field; without a key, when no repeat has to be the
 * same, it is in the body too, where people see it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "broker/api_routes.h"
#include "broker/call.h"
#include "broker/job_read.h"
#include "broker/job_render.h"
#include "broker/show.h"
#include "schema/errors.h"
#include "schema/id.h"

#define NO_WORKER "no worker serves this task yet"

/* ---- answer ---- */

static void add_headers(struct call *call, bool with_location)
{
    char location[64];
    char id[ID_TEXT_BYTES];

    id_format(call->id, id);
    snprintf(location, sizeof(location), "/v1/jobs/%s", id);
    if (with_location)
        http_exchange_add_header(call->x, "Location", span_of_str(location));
    if (call->submit.is_replay)
        http_exchange_add_header(call->x, "Idempotency-Replayed", span_of_str("true"));
    if (call->submit.is_task_unknown)
        http_exchange_add_header(call->x, "Jobmill-Warning", span_of_str(NO_WORKER));
}

static void render_warnings(struct render_map *m)
{
    struct render_array a;

    render_key(m, "warnings");
    render_open_array(&a, m->out);
    render_item_str(&a, span_of_str(NO_WORKER));
    render_close_array(&a);
}

static void answer_created(struct call *call)
{
    const struct store_submit *op = &call->submit.op.op;
    struct render_map m;

    buf_clear(&call->value);
    render_open_map(&m, &call->value);
    render_id(&m, "id", call->id);
    render_str(&m, "task", op->spec.task);
    render_str(&m, "queue", op->spec.queue);
    render_word(&m, "state", job_state_shown(JOB_QUEUED));
    render_time(&m, "created_at", id_wall_ms(call->id));
    if (op->key.len == 0 && call->submit.is_task_unknown)
        render_warnings(&m);
    render_close_map(&m);
    call_answer(call, 201);
}

static int on_show(struct call *call, const struct job_view *job)
{
    struct render_map m;

    render_open_map(&m, &call->value);
    job_render(&m, job, true);
    render_close_map(&m);
    return job_state_is_terminal(job->state) ? 200 : 202;
}

static void refuse_submit(struct call *call, int status)
{
    if (status == JM_EIDEMPOTENCY) {
        fault_set(&call->fault, status, span_of_str("Idempotency-Key"), 0,
                  "this Idempotency-Key came with another body before");
        call_refuse(call);
    } else if (status == JM_EFULL) {
        call_refuse_error(call, status, "nothing was stored; try again when there is room");
    } else {
        call_refuse_error(call, status, "the job was not stored");
    }
}

/* A new job cannot have ended yet: it goes to Redis at the end of this loop turn at the earliest.
 */
static void on_submitted(struct core_submit *s, int status)
{
    struct call *call = JM_CONTAINER_OF(s, struct call, submit.op);

    call->state = CALL_RUNNING;
    if (status != 0) {
        refuse_submit(call, status);
        return;
    }
    call->is_stored = true;
    call->submit.is_replay = s->op.ret_is_repeat;
    call->may_have_ended = s->op.ret_is_repeat;
    call->id = s->op.ret_is_repeat ? s->op.ret_existing_id : s->op.id;
    add_headers(call, true);
    if (call->wait_ms > 0)
        show_job(call, on_show);
    else
        answer_created(call);
}

/* ---- request ---- */

static int read_key(struct call *call, struct span *ret_key)
{
    int rc = call_header_once(call, "Idempotency-Key", ret_key);

    if (rc != 0 || ret_key->data == NULL)
        return rc;
    return job_read_check_key(*ret_key, JM_EHEADER, "Idempotency-Key", &call->fault);
}

static int read_request(struct call *call)
{
    struct span key;
    int rc = read_key(call, &key);

    if (rc != 0)
        return rc;
    call->submit.op = (struct core_submit){.on_done = on_submitted};
    return job_read(call->body, key, call->api->digest, &call->submit.op.op, &call->fault);
}

/* Whoever could not wait is told before the job is stored, not behind it. */
static int check_room_to_wait(struct call *call)
{
    if (call->wait_ms == 0 || waiters_count(&call_core(call)->waiters) < JM_WAITERS)
        return 0;
    return fault_set(&call->fault, JM_EBUSYWAIT, span_of(NULL, 0), JM_WAITERS,
                     "at most %d requests can wait at a time; submit without a wait", JM_WAITERS);
}

void api_submit_run(struct call *call)
{
    if (read_request(call) != 0 || check_room_to_wait(call) != 0) {
        call_refuse(call);
        return;
    }
    call->submit.is_task_unknown = !tasks_is_known(&call->api->tasks, call->submit.op.op.spec.task);
    call->state = CALL_STORING;
    if (core_submit(call_core(call), &call->submit.op) == 0)
        return;
    fault_set(&call->fault, JM_EOVERLOAD, span_of_str("queue"), JM_QUEUES,
              "no more queues can be made (at most %d), or no ids can be given", JM_QUEUES);
    call_refuse(call);
}
