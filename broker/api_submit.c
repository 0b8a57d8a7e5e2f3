/*
 * api_submit.c: POST /v1/jobs.
 *
 * The answer to a submit without a wait is made only from what was asked and from the id, so that a
 * repeat under the same Idempotency-Key gets the same bytes, whatever has become of the job and of
 * the broker meanwhile. A warning is in a header field; without a key, when no repeat has to be the
 * same, it is in the body too, where people see it.
 *
 * With a wait nothing is said before the job's end, or the end of the wait, so that its commit is
 * not synced by itself: the sync of the end's commit is that of both (show.c).
 */
#include <string.h>

#include "broker/api_routes.h"
#include "broker/call.h"
#include "broker/job_read.h"
#include "broker/job_render.h"
#include "broker/show.h"
#include "schema/errors.h"
#include "schema/id.h"

#define NO_WORKER "no worker serves this task yet"
#define JOB_PATH "/v1/jobs/"

/* ---- answer ---- */

/* Where it is, or, without a path, its id alone. */
static void add_id_header(struct call *call, const char *name, const char *path, uint64_t id)
{
    char value[sizeof(JOB_PATH) + ID_TEXT_BYTES];
    size_t len = strlen(path);

    memcpy(value, path, len);
    id_format(id, value + len);
    http_exchange_add_header(call->x, name, span_of(value, len + ID_TEXT_BYTES - 1));
}

static void add_headers(struct call *call)
{
    const struct store_submit *op = &call->submit.op.op;

    add_id_header(call, "Location", JOB_PATH, call->id);
    if (op->ret_is_repeat)
        http_exchange_add_header(call->x, "Idempotency-Replayed", span_of_str("true"));
    else if (op->ret_replaced_id != 0)
        add_id_header(call, "Jobmill-Replaced", "", op->ret_replaced_id);
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

/* Without a state if the job is not kept any more. */
static void render_submitted(struct render_map *m, uint64_t id, const struct job_spec *spec,
                             enum job_state state)
{
    render_id(m, "id", id);
    render_str(m, "task", spec->task);
    render_str(m, "queue", spec->queue);
    if (state != JOB_NONE)
        render_word(m, "state", job_state_shown(state));
    render_time(m, "created_at", id_wall_ms(id));
}

/* What became of the uniqueness of a job; not of one under a key, whose repeat would not know. */
static void render_unique(struct render_map *m, const struct store_submit *op)
{
    if (op->ret_is_existing)
        render_bool(m, "is_existing", true);
    if (op->key.len == 0 && op->ret_replaced_id != 0)
        render_id(m, "replaced", op->ret_replaced_id);
}

static void answer_created(struct call *call)
{
    const struct core_submit *s = &call->submit.op;
    bool is_delayed = core_submit_due_ms(s, id_wall_ms(call->id)) != 0;
    struct render_map m;

    buf_clear(&call->value);
    render_open_map(&m, &call->value);
    render_submitted(&m, call->id, &s->op.spec, is_delayed ? JOB_SCHEDULED : JOB_QUEUED);
    render_unique(&m, &s->op);
    if (s->op.key.len == 0 && call->submit.is_task_unknown)
        render_warnings(&m);
    render_close_map(&m);
    call_answer(call, 201);
}

static int on_show(struct call *call, const struct job_view *job)
{
    int status = job_state_is_terminal(job->state) ? 200 : 202;
    struct render_map m;
    int rc;

    render_open_map(&m, &call->value);
    render_unique(&m, &call->submit.op.op);
    rc = show_whole_job(call, &m, job);
    render_close_map(&m);
    return rc == 0 ? status : rc;
}

static int on_show_existing(struct call *call, const struct job_view *job)
{
    struct render_map m;

    render_open_map(&m, &call->value);
    render_submitted(&m, job->id, &job->spec, job->state);
    render_unique(&m, &call->submit.op.op);
    render_close_map(&m);
    return 200;
}

/* A job that was purged or deleted can hold a place still, or be the answer to a key. */
static void on_absent(struct call *call)
{
    struct render_map m;

    buf_clear(&call->value);
    render_open_map(&m, &call->value);
    render_submitted(&m, call->id, &call->submit.op.op.spec, JOB_NONE);
    render_unique(&m, &call->submit.op.op);
    render_close_map(&m);
    call_answer(call, 200);
}

static void refuse_submit(struct call *call, int status)
{
    job_read_tell_refusal(&call->submit.op, status, "Idempotency-Key", &call->fault);
    if (status == JM_EUNIQUE)
        add_id_header(call, "Location", JOB_PATH, call->submit.op.op.ret_existing_id);
    call_refuse(call);
}

/* A new job cannot have ended yet: it goes to Redis at the end of this loop turn at the earliest.
 */
static void on_submitted(struct core_submit *s, int status)
{
    struct call *call = JM_CONTAINER_OF(s, struct call, submit.op);
    bool is_known = s->op.ret_is_repeat || s->op.ret_is_existing;

    call->state = CALL_RUNNING;
    if (status != 0) {
        refuse_submit(call, status);
        return;
    }
    call->is_stored = true;
    call->is_unsynced = !s->op.op.wants_sync;
    call->may_have_ended = is_known;
    call->id = is_known ? s->op.ret_existing_id : s->op.id;
    call->on_absent = on_absent;
    add_headers(call);
    if (call->wait_ms > 0)
        show_job(call, on_show);
    else if (s->op.ret_is_existing)
        show_job(call, on_show_existing);
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
    struct job_reader reader = api_job_reader(call->api);
    struct span key;
    int rc = read_key(call, &key);

    if (rc != 0)
        return rc;
    call->submit.op =
        (struct core_submit){.on_done = on_submitted, .is_told_later = call->wait_ms > 0};
    return job_read(&reader, call->body, key, &call->submit.options, &call->submit.op,
                    &call->fault);
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
    int rc;

    if (read_request(call) != 0 || check_room_to_wait(call) != 0) {
        call_refuse(call);
        return;
    }
    call->submit.is_task_unknown = !tasks_is_known(&call->api->tasks, call->submit.op.op.spec.task);
    call->state = CALL_STORING;
    rc = core_submit(call_core(call), &call->submit.op);
    if (rc != 0)
        refuse_submit(call, rc);
}
