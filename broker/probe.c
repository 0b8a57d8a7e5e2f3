#include "broker/probe.h"

#include "schema/errors.h"

enum { FRESH_MS = 1000, LIMIT_MS = 5000 };

static uint64_t now_ms(const struct probe *p)
{
    return clock_mono_ms(p->core->seams.clock);
}

static void answer(struct probe *p, int status)
{
    struct list askers;
    struct list *node;

    p->status = status;
    p->has_answer = true;
    p->answered_ms = now_ms(p);
    list_init(&askers);
    list_splice_back(&askers, &p->askers);
    while ((node = list_pop_front(&askers)) != NULL) {
        struct probe_asker *asker = LIST_ENTRY(node, struct probe_asker, link);

        asker->on_answer(asker, status);
    }
}

static void on_done(struct store_op *op)
{
    struct probe *p = JM_CONTAINER_OF(op, struct probe, op.op);

    timer_disarm(&p->limit);
    p->is_running = false;
    answer(p, op->status);
    p->on_idle(p->owner);
}

static void on_limit(struct timer *t)
{
    answer(JM_CONTAINER_OF(t, struct probe, limit), JM_EIO);
}

void probe_init(struct probe *p, struct core *core, void *owner, void (*on_idle)(void *owner))
{
    *p = (struct probe){.core = core, .owner = owner, .on_idle = on_idle};
    list_init(&p->askers);
    timer_init(&p->limit, on_limit);
}

bool probe_has_answer(const struct probe *p, int *ret_status)
{
    if (!p->has_answer || now_ms(p) - p->answered_ms >= FRESH_MS)
        return false;
    *ret_status = p->status;
    return true;
}

/* Each asker waits for LIMIT_MS at most, since whoever comes later finds the timer armed. */
void probe_ask(struct probe *p, struct probe_asker *asker)
{
    list_push_back(&p->askers, &asker->link);
    if (!timer_is_armed(&p->limit))
        timers_arm(p->core->seams.timers, &p->limit, now_ms(p) + LIMIT_MS);
    if (p->is_running)
        return;
    p->is_running = true;
    p->op.op =
        (struct store_op){.kind = STORE_PROBE, .on_done = on_done, .wants_sync = true, .bytes = 64};
    list_init(&p->op.op.link);
    runner_submit(p->core->seams.runner, &p->op.op);
}
