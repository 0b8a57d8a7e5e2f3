/*
 * api_tasks.c: the routes of tasks: who serves them, and what is set for them.
 */
#include "broker/api_routes.h"
#include "broker/call.h"
#include "broker/conf_fields.h"
#include "schema/errors.h"

/* ---- GET ---- */

static void render_task(struct buf *out, const struct task *t, const struct task_conf *conf)
{
    struct render_map m;

    render_open_map(&m, out);
    render_str(&m, "name", t->name);
    render_str(&m, "kind", t->kind);
    if (t->doc.len > 0)
        render_str(&m, "doc", t->doc);
    render_u64(&m, "workers", t->hosts);
    if (t->seen_at_ms != 0)
        render_time(&m, "seen_at", t->seen_at_ms);
    conf_fields_render_task(&m, conf);
    render_close_map(&m);
}

/* What is in force. */
static struct task_conf conf_of(struct call *call, struct span name)
{
    const struct task_policy *p = lanes_policy(&call_core(call)->dispatch.lanes, name);

    return p != NULL ? p->conf : (struct task_conf){.concurrency = 0};
}

static bool refresh(struct call *call)
{
    int rc = tasks_refresh(&call->api->tasks);

    if (rc != 0)
        call_refuse_error(call, rc, "the tasks cannot be read");
    return rc == 0;
}

void api_tasks_list(struct call *call)
{
    struct render_map m;
    struct render_array a;

    if (!refresh(call))
        return;
    buf_clear(&call->value);
    render_open_map(&m, &call->value);
    render_key(&m, "tasks");
    render_open_array(&a, &call->value);
    LIST_EACH(node, &call->api->tasks.all)
    {
        const struct task *t = tasks_entry(node);
        struct task_conf conf = conf_of(call, t->name);

        render_item(&a);
        render_task(&call->value, t, &conf);
    }
    render_close_array(&a);
    render_close_map(&m);
    call_answer(call, 200);
}

/* ---- PATCH ---- */

static const struct task *find_task(struct call *call)
{
    LIST_EACH(node, &call->api->tasks.all)
    {
        if (span_is_equal(tasks_entry(node)->name, call->name))
            return tasks_entry(node);
    }
    return NULL;
}

static void on_set(struct core_set_conf *x, int status)
{
    struct call *call = JM_CONTAINER_OF(x, struct call, op.set_conf);
    const struct task *t = find_task(call);

    call->state = CALL_RUNNING;
    if (status != 0 && status == call->fault.error) {
        call_refuse(call);
        return;
    }
    if (status != 0 || t == NULL) {
        call_refuse_error(call, status != 0 ? status : JM_ENOTASK, "nothing was changed");
        return;
    }
    buf_clear(&call->value);
    render_task(&call->value, t, &x->task_conf);
    call_answer(call, 200);
}

static int patch(struct core_set_conf *x)
{
    struct call *call = JM_CONTAINER_OF(x, struct call, op.set_conf);

    return conf_fields_read_task(call->body, &x->task_conf, &call->fault);
}

static void set(struct call *call)
{
    int rc;

    call->op.set_conf = (struct core_set_conf){.change = patch, .on_done = on_set};
    call->state = CALL_STORING;
    rc = core_set_task_conf(call_core(call), &call->op.set_conf, call->name);
    if (rc == 0)
        return;
    call->state = CALL_RUNNING;
    if (rc == JM_EOVERLOAD)
        call_refuse_error(call, rc, "nothing can be set for more tasks");
    else
        call_refuse(call);
}

/* What is bad about it is bad whatever is set. */
void api_tasks_patch(struct call *call)
{
    struct task_conf conf = {.concurrency = 0};

    if (!refresh(call))
        return;
    if (find_task(call) == NULL)
        call_refuse_error(call, JM_ENOTASK, "no worker serves or has served a task %.*s",
                          (int)call->name.len, (const char *)call->name.data);
    else if (conf_fields_read_task(call->body, &conf, &call->fault) == 0)
        set(call);
    else
        call_refuse(call);
}
