#include "broker/purge.h"

#include "broker/core.h"

enum {
    STEP_ROWS = 128,          /* 0.8 ms of the writer's time */
    PAUSE_MS = 2,             /* between steps while there is more: commits go first */
    LEAST_WAIT_MS = 1000,     /* else */
    MOST_WAIT_MS = 10 * 1000, /* nobody tells of an end that is kept only for moments */
    STEP_MS = 60 * 1000,      /* a larger one of the clock is mistrusted */
    SETTLE_MS = 10 * 60 * 1000,
};

static int64_t wall_ms(const struct purge *p)
{
    return clock_wall_ms(p->alarm.core->seams.clock);
}

static int64_t offset_ms(const struct purge *p)
{
    return wall_ms(p) - (int64_t)clock_mono_ms(p->alarm.core->seams.clock);
}

static bool is_clock_settled(struct purge *p)
{
    uint64_t mono_ms = clock_mono_ms(p->alarm.core->seams.clock);
    int64_t step_ms = offset_ms(p) - p->offset_ms;

    p->offset_ms = offset_ms(p);
    if (step_ms > STEP_MS || step_ms < -STEP_MS)
        p->settle_until_ms = mono_ms + SETTLE_MS;
    return mono_ms >= p->settle_until_ms;
}

static int64_t next_of(const struct purge *p)
{
    int64_t now = wall_ms(p), next = p->op.ret_next_ms;

    if (next >= 0 && next <= p->op.now_ms)
        return now + PAUSE_MS;
    if (next < 0 || next > now + MOST_WAIT_MS)
        return now + MOST_WAIT_MS;
    return next < now + LEAST_WAIT_MS ? now + LEAST_WAIT_MS : next;
}

static void on_purged(struct store_op *op)
{
    struct purge *p = JM_CONTAINER_OF(op, struct purge, op.op);

    if (op->status != 0) {
        alarm_done(&p->alarm, wall_ms(p) + LEAST_WAIT_MS);
        return;
    }
    p->stats.steps++;
    p->stats.rows += p->op.ret_rows;
    alarm_done(&p->alarm, next_of(p));
}

static void on_time(struct alarm *a)
{
    struct purge *p = JM_CONTAINER_OF(a, struct purge, alarm);

    if (!is_clock_settled(p)) {
        alarm_done(a, wall_ms(p) + MOST_WAIT_MS);
        return;
    }
    p->op =
        (struct store_purge){.op = {.kind = STORE_PURGE, .on_done = on_purged, .bytes = 64 << 10},
                             .now_ms = wall_ms(p),
                             .max_rows = STEP_ROWS};
    list_init(&p->op.op.link);
    runner_submit(a->core->seams.runner, &p->op.op);
}

void purge_init(struct purge *p, struct core *core)
{
    *p = (struct purge){.settle_until_ms = 0};
    alarm_init(&p->alarm, core, on_time);
    p->offset_ms = offset_ms(p);
}

void purge_start(struct purge *p)
{
    alarm_note(&p->alarm, wall_ms(p) + LEAST_WAIT_MS);
}
