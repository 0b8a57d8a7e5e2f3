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
#include "broker/fields.h"
#include "broker/job_render.h"
#include "broker/show.h"
#include "schema/errors.h"
#include "schema/id.h"

#define NO_WORKER "no worker serves this task yet"

struct asked {
    struct span task;
    struct span args;
    struct span queue;
    struct span tags;
    uint64_t timeout_ms;
    uint64_t max_attempts;
};

static const struct field fields[] = {
#define FIELD(name, type, is_required, min, max, item_max) \
    {#name, type, is_required, offsetof(struct asked, name), min, max, item_max},
#include "broker/job_fields.def"
#undef FIELD
};

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

static int check_key(struct call *call, struct span key)
{
    bool is_good = key.len >= 1 && key.len <= JM_IDEMPOTENCY_KEY_BYTES;

    for (size_t i = 0; i < key.len; i++)
        is_good = is_good && key.data[i] > 0x20 && key.data[i] < 0x7f;
    if (is_good)
        return 0;
    return fault_set(
        &call->fault, JM_EHEADER, span_of_str("Idempotency-Key"), JM_IDEMPOTENCY_KEY_BYTES,
        "Idempotency-Key: must be 1 to %d visible ASCII characters", JM_IDEMPOTENCY_KEY_BYTES);
}

/* What makes two bodies the same request: the fields that are there, in the table's order, each
 * with its name and its msgpack value. So neither the order of the members nor JSON or msgpack
 * matters, and a field that a later version adds does not change what older requests were. */
static int read_key(struct call *call, const struct span *raw)
{
    struct store_submit *op = &call->submit.op.op;
    struct span parts[2 * JM_COUNT_OF(fields)];
    size_t count = 0;
    int rc = call_header_once(call, "Idempotency-Key", &op->key);

    if (rc == 0 && op->key.data != NULL)
        rc = check_key(call, op->key);
    if (rc != 0 || op->key.data == NULL)
        return rc;
    for (size_t i = 0; i < JM_COUNT_OF(fields); i++) {
        if (raw[i].len == 0)
            continue;
        parts[count++] = span_of_str(fields[i].name);
        parts[count++] = raw[i];
    }
    rc = digest_parts(call->api->digest, parts, count, op->fingerprint);
    if (rc != 0)
        return fault_set(&call->fault, rc, span_of(NULL, 0), 0, "the body has no digest");
    return 0;
}

static int read_request(struct call *call)
{
    static const uint8_t nil = 0xc0;
    struct asked asked = {
        .args = span_of(&nil, 1),
        .queue = span_of_str("default"),
        .timeout_ms = JM_TIMEOUT_DEFAULT_MS,
        .max_attempts = JM_MAX_ATTEMPTS_DEFAULT,
    };
    struct span raw[JM_COUNT_OF(fields)];
    int rc = fields_read(fields, JM_COUNT_OF(fields), call->body, &asked, raw, &call->fault);

    if (rc != 0)
        return rc;
    call->submit.op = (struct core_submit){.on_done = on_submitted};
    call->submit.op.op.spec = (struct job_spec){
        .queue = asked.queue,
        .task = asked.task,
        .args = asked.args,
        .tags = asked.tags,
        .priority = JM_PRIORITY_DEFAULT,
        .max_attempts = (uint32_t)asked.max_attempts,
        .timeout_ms = asked.timeout_ms,
        .grace_ms = JM_GRACE_DEFAULT_MS,
    };
    return read_key(call, raw);
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
