#include "broker/confs.h"

#include "broker/core.h"
#include "schema/errors.h"
#include "schema/limits.h"

/* ---- setting ---- */

static void on_set(struct store_op *op)
{
    struct core_set_conf *x = JM_CONTAINER_OF(op, struct core_set_conf, op.op);
    struct dispatch *d = &x->core->dispatch;

    buf_done(&x->record);
    if (op->status == 0 && x->queue != NULL)
        dispatch_set_queue(d, x->queue, &x->queue_conf);
    else if (op->status == 0)
        dispatch_set_task(d, x->policy, &x->task_conf);
    if (x->queue != NULL && --x->queue->asking == 0)
        x->queue->asked = x->queue->conf;
    else if (x->policy != NULL && --x->policy->asking == 0)
        x->policy->asked = x->policy->conf;
    x->on_done(x, op->status);
}

static int submit(struct core *c, struct core_set_conf *x)
{
    x->core = c;
    x->op.record = buf_span(&x->record);
    x->op.op = (struct store_op){
        .kind = STORE_SET_CONF, .on_done = on_set, .wants_sync = true, .bytes = 1024};
    list_init(&x->op.op.link);
    runner_submit(c->seams.runner, &x->op.op);
    return 0;
}

int core_set_queue_conf(struct core *c, struct core_set_conf *x, struct span name)
{
    x->queue = core_need_queue(c, name);
    x->policy = NULL;
    buf_init(&x->record, CONF_BYTES);
    if (x->queue != NULL)
        conf_encode_queue(&x->record, &x->queue_conf);
    if (x->queue == NULL || buf_has_failed(&x->record)) {
        buf_done(&x->record);
        return JM_EOVERLOAD;
    }
    x->queue->asked = x->queue_conf;
    x->queue->asking++;
    x->op.is_task = false;
    x->op.name = x->queue->name;
    return submit(c, x);
}

int core_set_task_conf(struct core *c, struct core_set_conf *x, struct span name)
{
    x->queue = NULL;
    x->policy = dispatch_need_task(&c->dispatch, name);
    buf_init(&x->record, CONF_BYTES);
    if (x->policy != NULL)
        conf_encode_task(&x->record, &x->task_conf);
    if (x->policy == NULL || buf_has_failed(&x->record)) {
        buf_done(&x->record);
        return JM_EOVERLOAD;
    }
    x->policy->asked = x->task_conf;
    x->policy->asking++;
    x->op.is_task = true;
    x->op.name = span_of(x->policy->name, x->policy->name_len);
    return submit(c, x);
}

/* ---- asking ---- */

struct queue_conf confs_queue(const struct core *c, struct span name)
{
    const struct queue *q = queues_find(&c->queues, name);

    return q != NULL ? q->asked : (struct queue_conf){.is_paused = false};
}

struct task_conf confs_task(const struct core *c, struct span name)
{
    const struct task_policy *p = lanes_policy(&c->dispatch.lanes, name);

    return p != NULL ? p->asked : (struct task_conf){.concurrency = 0};
}

/* Fills in what is not set yet. */
static void fill(struct conf_defaults *to, const struct conf_defaults *from)
{
    if (to->priority == 0)
        to->priority = from->priority;
    if (to->max_attempts == 0)
        to->max_attempts = from->max_attempts;
    if (to->timeout_ms == 0)
        to->timeout_ms = from->timeout_ms;
    if (to->grace_ms == 0)
        to->grace_ms = from->grace_ms;
    if (to->backoff.kind == BACKOFF_DEFAULT)
        to->backoff = from->backoff;
}

struct conf_defaults core_defaults(const struct core *c, struct span queue, struct span task)
{
    static const struct conf_defaults built_in = {.priority = JM_PRIORITY_DEFAULT,
                                                  .max_attempts = JM_MAX_ATTEMPTS_DEFAULT,
                                                  .timeout_ms = JM_TIMEOUT_DEFAULT_MS,
                                                  .grace_ms = JM_GRACE_DEFAULT_MS};
    const struct queue *q = queues_find(&c->queues, queue);
    const struct task_policy *p = lanes_policy(&c->dispatch.lanes, task);
    struct conf_defaults defaults = {.priority = 0};

    if (p != NULL)
        fill(&defaults, &p->conf.defaults);
    if (q != NULL)
        fill(&defaults, &q->conf.defaults);
    fill(&defaults, &built_in);
    return defaults;
}

/* ---- start ---- */

static int restore_queue(struct core *c, struct span name, struct span record)
{
    struct queue *q = core_need_queue(c, name);

    if (q == NULL)
        return JM_ENOMEM;
    if (!conf_decode_queue(record, &q->asked))
        return JM_ECORRUPT;
    dispatch_set_queue(&c->dispatch, q, &q->asked);
    return 0;
}

static int restore_task(struct core *c, struct span name, struct span record)
{
    struct task_policy *p = dispatch_need_task(&c->dispatch, name);

    if (p == NULL)
        return JM_ENOMEM;
    if (!conf_decode_task(record, &p->asked))
        return JM_ECORRUPT;
    dispatch_set_task(&c->dispatch, p, &p->asked);
    return 0;
}

int confs_restore(struct core *c, bool is_task, struct span name, struct span record)
{
    return is_task ? restore_task(c, name, record) : restore_queue(c, name, record);
}
