#include "broker/schedule.h"

#include "broker/core.h"

enum { MOVE_JOBS = 1000 }; /* in one operation */

static void on_moved(struct store_op *op)
{
    struct schedule *s = JM_CONTAINER_OF(op, struct schedule, due.op);

    if (op->status != 0)
        alarm_fail(&s->alarm);
    else
        alarm_done(&s->alarm, s->due.ret_next_due_ms);
}

static void on_time(struct alarm *a)
{
    struct schedule *s = JM_CONTAINER_OF(a, struct schedule, alarm);
    struct core_seams *seams = &a->core->seams;

    s->due = (struct store_due){.op = {.kind = STORE_DUE, .on_done = on_moved, .bytes = 4096},
                                .now_ms = clock_wall_ms(seams->clock),
                                .max_jobs = MOVE_JOBS};
    list_init(&s->due.op.link);
    runner_submit(seams->runner, &s->due.op);
}

void schedule_init(struct schedule *s, struct core *core)
{
    alarm_init(&s->alarm, core, on_time);
}

void schedule_start(struct schedule *s, int64_t next_due_ms)
{
    if (next_due_ms >= 0)
        alarm_note(&s->alarm, next_due_ms);
}

void schedule_note(struct schedule *s, int64_t due_ms)
{
    alarm_note(&s->alarm, due_ms);
}
