/*
 * api_queues.c: the routes of queues: how they are, and what is set for them.
 */
#include "broker/api_routes.h"
#include "broker/call.h"
#include "broker/conf_fields.h"
#include "schema/errors.h"

/* ---- GET ---- */

static void answer_value(struct call *call)
{
    call_answer(call, 200);
}

/* A dispatched job is shown as queued, so states that share a word are added up. */
static void render_counts(struct render_map *m, const struct store_counts *counts)
{
    struct render_map words;

    render_key(m, "jobs");
    render_open_map(&words, m->out);
    for (int state = 1; state < JOB_STATE_LIMIT; state++) {
        const char *word = job_state_shown((enum job_state)state);
        unsigned set = job_state_parse_shown(span_of_str(word));
        int64_t sum = 0;

        if (set == 0 || set & ((1u << state) - 1))
            continue; /* no state, or counted with an earlier one */
        for (int i = state; i < JOB_STATE_LIMIT; i++)
            sum += set & 1u << i ? counts->by_state[i] : 0;
        render_i64(&words, word, sum);
    }
    render_close_map(&words);
}

static void render_queue(struct buf *out, const struct queue *q)
{
    struct render_map m;

    render_open_map(&m, out);
    render_str(&m, "name", q->name);
    render_counts(&m, &q->counts);
    render_u64(&m, "dispatched", q->window.used);
    render_u64(&m, "window", q->window.limit);
    conf_fields_render_queue(&m, &q->conf);
    render_close_map(&m);
}

void api_queues_list(struct call *call)
{
    struct queues *qs = &call_core(call)->queues;
    struct render_map m;
    struct render_array a;

    buf_clear(&call->value);
    render_open_map(&m, &call->value);
    render_key(&m, "queues");
    render_open_array(&a, &call->value);
    LIST_EACH(node, &qs->all)
    {
        render_item(&a);
        render_queue(&call->value, queues_entry(node));
    }
    render_close_array(&a);
    render_close_map(&m);
    call_hold(call, answer_value);
}

void api_queues_get(struct call *call)
{
    const struct queue *q = queues_find(&call_core(call)->queues, call->name);

    if (q == NULL) {
        call_refuse_error(call, JM_ENOQUEUE, "there is no queue %.*s", (int)call->name.len,
                          (const char *)call->name.data);
        return;
    }
    buf_clear(&call->value);
    render_queue(&call->value, q);
    call_hold(call, answer_value);
}

/* ---- PATCH, pause, resume ---- */

static void refuse(struct call *call, int status)
{
    if (status == call->fault.error)
        call_refuse(call);
    else
        call_refuse_error(call, status, "nothing was changed");
}

static void on_set(struct core_set_conf *x, int status)
{
    struct call *call = JM_CONTAINER_OF(x, struct call, op.set_conf);

    call->state = CALL_RUNNING;
    if (status != 0) {
        refuse(call, status);
        return;
    }
    buf_clear(&call->value);
    render_queue(&call->value, x->queue);
    call_hold(call, answer_value);
}

static void set(struct call *call, int (*change)(struct core_set_conf *x))
{
    int rc;

    call->op.set_conf = (struct core_set_conf){.change = change, .on_done = on_set};
    call->state = CALL_STORING;
    rc = core_set_queue_conf(call_core(call), &call->op.set_conf, call->name);
    if (rc == 0)
        return;
    call->state = CALL_RUNNING;
    if (rc == JM_EOVERLOAD)
        call_refuse_error(call, rc, "no more queues can be made (at most %d)", JM_QUEUES);
    else
        refuse(call, rc);
}

static int patch(struct core_set_conf *x)
{
    struct call *call = JM_CONTAINER_OF(x, struct call, op.set_conf);

    return conf_fields_read_queue(call->body, &x->queue_conf, &call->fault);
}

/* What is bad about it is bad whatever is set, and no queue is made for it. */
void api_queues_patch(struct call *call)
{
    struct queue_conf conf = {.is_paused = false};

    if (conf_fields_read_queue(call->body, &conf, &call->fault) == 0)
        set(call, patch);
    else
        call_refuse(call);
}

static int set_paused(struct core_set_conf *x)
{
    x->queue_conf.is_paused = true;
    return 0;
}

static int clear_paused(struct core_set_conf *x)
{
    x->queue_conf.is_paused = false;
    return 0;
}

void api_queues_pause(struct call *call)
{
    set(call, set_paused);
}

void api_queues_resume(struct call *call)
{
    set(call, clear_paused);
}
