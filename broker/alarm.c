#include "broker/alarm.h"

#include "broker/core.h"

enum {
    LOOK_AGAIN_MS = 60 * 1000, /* at the latest: the wall clock may step */
    RETRY_MS = 250,
};

static void arm_in(struct alarm *a, uint64_t in_ms)
{
    struct core_seams *seams = &a->core->seams;

    timers_arm(seams->timers, &a->timer, clock_mono_ms(seams->clock) + in_ms);
}

static void arm(struct alarm *a)
{
    int64_t in_ms;

    if (a->at_ms < 0) {
        timer_disarm(&a->timer);
        return;
    }
    in_ms = a->at_ms - clock_wall_ms(a->core->seams.clock);
    if (in_ms < 0)
        in_ms = 0;
    arm_in(a, in_ms < LOOK_AGAIN_MS ? (uint64_t)in_ms : LOOK_AGAIN_MS);
}

static void on_timer(struct timer *t)
{
    struct alarm *a = JM_CONTAINER_OF(t, struct alarm, timer);

    if (a->is_busy || a->at_ms < 0)
        return;
    if (a->at_ms > clock_wall_ms(a->core->seams.clock)) {
        arm(a);
        return;
    }
    a->is_busy = true;
    a->was_ms = a->at_ms;
    a->at_ms = -1;
    a->on_time(a);
}

void alarm_init(struct alarm *a, struct core *core, void (*on_time)(struct alarm *a))
{
    *a = (struct alarm){.core = core, .at_ms = -1, .on_time = on_time};
    timer_init(&a->timer, on_timer);
}

void alarm_note(struct alarm *a, int64_t at_ms)
{
    if (a->at_ms >= 0 && a->at_ms <= at_ms)
        return;
    a->at_ms = at_ms;
    if (!a->is_busy)
        arm(a);
}

void alarm_done(struct alarm *a, int64_t next_ms)
{
    a->is_busy = false;
    if (next_ms >= 0 && (a->at_ms < 0 || next_ms < a->at_ms))
        a->at_ms = next_ms;
    arm(a);
}

void alarm_wait(struct alarm *a, uint64_t in_ms)
{
    a->is_busy = false;
    if (a->at_ms < 0 || a->was_ms < a->at_ms)
        a->at_ms = a->was_ms;
    arm_in(a, in_ms);
}

void alarm_fail(struct alarm *a)
{
    alarm_wait(a, RETRY_MS);
}
