#include "broker/confs.h"

#include "broker/core.h"
#include "schema/errors.h"
#include "schema/limits.h"

/* ---- setting ---- */

static void submit(struct core_set_conf *x);

/* What it is about: the settings in force, and all that wait to change them, in order. */
static struct list *line_of(const struct core_set_conf *x)
{
    return x->queue != NULL ? &x->queue->setting : &x->policy->setting;
}

static int merge(struct core_set_conf *x)
{
    if (x->change == NULL)
        return 0;
    if (x->queue != NULL)
        x->queue_conf = x->queue->conf;
    else
        x->task_conf = x->policy->conf;
    return x->change(x);
}

/* It is the first in its line: what was asked before it holds, or was refused. */
static int begin(struct core_set_conf *x)
{
    int status = merge(x);

    if (status != 0)
        return status;
    buf_init(&x->record, CONF_BYTES);
    if (x->queue != NULL)
        conf_encode_queue(&x->record, &x->queue_conf);
    else
        conf_encode_task(&x->record, &x->task_conf);
    if (buf_has_failed(&x->record)) {
        buf_done(&x->record);
        return JM_EOVERLOAD;
    }
    x->is_begun = true;
    submit(x);
    return 0;
}

/* One that is refused may be followed, from its on_done, by one that begins at once. */
static void begin_next(struct list *line)
{
    while (!list_is_empty(line)) {
        struct core_set_conf *x = LIST_ENTRY(line->next, struct core_set_conf, in_line);
        int status = x->is_begun ? 0 : begin(x);

        if (status == 0)
            return;
        list_remove(&x->in_line);
        x->on_done(x, status);
    }
}

static void on_set(struct store_op *op)
{
    struct core_set_conf *x = JM_CONTAINER_OF(op, struct core_set_conf, op.op);
    struct dispatch *d = &x->core->dispatch;

    buf_done(&x->record);
    if (op->status == 0 && x->queue != NULL)
        dispatch_set_queue(d, x->queue, &x->queue_conf);
    else if (op->status == 0)
        dispatch_set_task(d, x->policy, &x->task_conf);
    list_remove(&x->in_line);
    begin_next(line_of(x));
    x->on_done(x, op->status);
}

static void submit(struct core_set_conf *x)
{
    x->op.is_task = x->queue == NULL;
    x->op.name = x->queue != NULL ? x->queue->name : span_of(x->policy->name, x->policy->name_len);
    x->op.record = buf_span(&x->record);
    x->op.op = (struct store_op){
        .kind = STORE_SET_CONF, .on_done = on_set, .wants_sync = true, .bytes = 1024};
    list_init(&x->op.op.link);
    runner_submit(x->core->seams.runner, &x->op.op);
}

static int enter(struct core *c, struct core_set_conf *x)
{
    struct list *line = line_of(x);
    int status;

    x->core = c;
    x->is_begun = false;
    list_init(&x->in_line);
    status = list_is_empty(line) ? begin(x) : 0;
    if (status == 0)
        list_push_back(line, &x->in_line);
    return status;
}

int core_set_queue_conf(struct core *c, struct core_set_conf *x, struct span name)
{
    x->queue = core_need_queue(c, name);
    x->policy = NULL;
    return x->queue != NULL ? enter(c, x) : JM_EOVERLOAD;
}

int core_set_task_conf(struct core *c, struct core_set_conf *x, struct span name)
{
    x->queue = NULL;
    x->policy = dispatch_need_task(&c->dispatch, name);
    return x->policy != NULL ? enter(c, x) : JM_EOVERLOAD;
}

/* ---- asking ---- */

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
    struct queue_conf conf;

    if (q == NULL)
        return JM_ENOMEM;
    if (!conf_decode_queue(record, &conf))
        return JM_ECORRUPT;
    dispatch_set_queue(&c->dispatch, q, &conf);
    return 0;
}

static int restore_task(struct core *c, struct span name, struct span record)
{
    struct task_policy *p = dispatch_need_task(&c->dispatch, name);
    struct task_conf conf;

    if (p == NULL)
        return JM_ENOMEM;
    if (!conf_decode_task(record, &conf))
        return JM_ECORRUPT;
    dispatch_set_task(&c->dispatch, p, &conf);
    return 0;
}

int confs_restore(struct core *c, bool is_task, struct span name, struct span record)
{
    return is_task ? restore_task(c, name, record) : restore_queue(c, name, record);
}
