#include "broker/purge.h"

#include "broker/core.h"
#include "lib/crash.h"

enum {
    STEP_ROWS = 128,         /* 0.8 ms of the writer's time */
    MOST_ROWS = 1024,        /* likewise 6 ms, while more is due than that */
    PAUSE_MS = 2,            /* between steps while there is more: commits go first */
    LEAST_WAIT_MS = 1000,    /* else */
    MOST_WAIT_MS = 2 * 1000, /* nobody tells of an end that is kept only for moments */
};

static int64_t wall_ms(const struct purge *p)
{
    return clock_wall_ms(p->core->seams.clock);
}

static uint64_t mono_ms(const struct purge *p)
{
    return clock_mono_ms(p->core->seams.clock);
}

/* By the monotonic clock, so that no step of the other one makes it sleep for long. */
static void wait_ms(struct purge *p, int64_t in_ms)
{
    timers_arm(p->core->seams.timers, &p->timer, mono_ms(p) + (uint64_t)in_ms);
}

static bool has_more(const struct purge *p)
{
    return p->op.ret_next_ms >= 0 && p->op.ret_next_ms <= p->op.now_ms;
}

static int64_t pause_of(const struct purge *p)
{
    int64_t in_ms = p->op.ret_next_ms - wall_ms(p);

    if (p->op.ret_next_ms < 0 || in_ms > MOST_WAIT_MS)
        return MOST_WAIT_MS;
    if (has_more(p))
        return PAUSE_MS;
    return in_ms > LEAST_WAIT_MS ? in_ms : LEAST_WAIT_MS;
}

/* Doubled while there is more to do. */
static void choose_rows(struct purge *p)
{
    if (!has_more(p))
        p->step_rows = STEP_ROWS;
    else if (p->step_rows < MOST_ROWS)
        p->step_rows *= 2;
}

static void on_purged(struct store_op *op)
{
    struct purge *p = JM_CONTAINER_OF(op, struct purge, op.op);

    CRASH_POINT("purged");
    if (op->status != 0) {
        wait_ms(p, LEAST_WAIT_MS);
        return;
    }
    p->stats.steps++;
    p->stats.rows += p->op.ret_rows;
    choose_rows(p);
    wait_ms(p, pause_of(p));
}

static void on_time(struct timer *t)
{
    struct purge *p = JM_CONTAINER_OF(t, struct purge, timer);

    if (!wall_watch_is_settled(&p->core->wall)) {
        wait_ms(p, WALL_LOOK_AGAIN_MS);
        return;
    }
    p->op =
        (struct store_purge){.op = {.kind = STORE_PURGE, .on_done = on_purged, .bytes = 64 << 10},
                             .now_ms = wall_ms(p),
                             .max_rows = p->step_rows};
    list_init(&p->op.op.link);
    runner_submit(p->core->seams.runner, &p->op.op);
}

void purge_init(struct purge *p, struct core *core)
{
    *p = (struct purge){.core = core, .step_rows = STEP_ROWS};
    timer_init(&p->timer, on_time);
}

void purge_start(struct purge *p)
{
    wait_ms(p, LEAST_WAIT_MS);
}
