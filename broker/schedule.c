#include "broker/schedule.h"

#include "broker/core.h"

enum {
    MOVE_JOBS = 1000,          /* in one operation */
    LOOK_AGAIN_MS = 60 * 1000, /* at the latest: the wall clock may step */
    RETRY_MS = 250,
};

static void arm(struct schedule *s, uint64_t in_ms)
{
    struct core_seams *seams = &s->core->seams;

    timers_arm(seams->timers, &s->timer, clock_mono_ms(seams->clock) + in_ms);
}

static void arm_for_next(struct schedule *s)
{
    int64_t in_ms;

    if (s->next_due_ms < 0) {
        timer_disarm(&s->timer);
        return;
    }
    in_ms = s->next_due_ms - clock_wall_ms(s->core->seams.clock);
    if (in_ms < 0)
        in_ms = 0;
    arm(s, in_ms < LOOK_AGAIN_MS ? (uint64_t)in_ms : LOOK_AGAIN_MS);
}

/* A job that was noted while this ran is newer than the answer about the next one. */
static void on_moved(struct store_op *op)
{
    struct schedule *s = JM_CONTAINER_OF(op, struct schedule, due.op);
    int64_t noted_ms = s->next_due_ms;

    s->is_moving = false;
    if (op->status != 0) {
        s->next_due_ms = s->due.now_ms;
        arm(s, RETRY_MS);
        return;
    }
    s->next_due_ms = s->due.ret_next_due_ms;
    if (noted_ms >= 0)
        schedule_note(s, noted_ms);
    arm_for_next(s);
}

static void move(struct schedule *s)
{
    s->is_moving = true;
    s->due = (struct store_due){.op = {.kind = STORE_DUE, .on_done = on_moved, .bytes = 4096},
                                .now_ms = clock_wall_ms(s->core->seams.clock),
                                .max_jobs = MOVE_JOBS};
    list_init(&s->due.op.link);
    s->next_due_ms = -1;
    runner_submit(s->core->seams.runner, &s->due.op);
}

static void on_time(struct timer *t)
{
    struct schedule *s = JM_CONTAINER_OF(t, struct schedule, timer);

    if (s->is_moving || s->next_due_ms < 0)
        return;
    if (s->next_due_ms <= clock_wall_ms(s->core->seams.clock))
        move(s);
    else
        arm_for_next(s);
}

void schedule_init(struct schedule *s, struct core *core)
{
    *s = (struct schedule){.core = core, .next_due_ms = -1};
    timer_init(&s->timer, on_time);
}

void schedule_start(struct schedule *s, int64_t next_due_ms)
{
    s->next_due_ms = next_due_ms;
    arm_for_next(s);
}

void schedule_note(struct schedule *s, int64_t due_ms)
{
    if (s->next_due_ms >= 0 && s->next_due_ms <= due_ms)
        return;
    s->next_due_ms = due_ms;
    if (!s->is_moving)
        arm_for_next(s);
}
