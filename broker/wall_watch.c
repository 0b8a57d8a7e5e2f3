#include "broker/wall_watch.h"

enum { STEP_MS = 60 * 1000, SETTLE_MS = 10 * 60 * 1000 };

static int64_t offset_of(struct clock *clock)
{
    return clock_wall_ms(clock) - (int64_t)clock_mono_ms(clock);
}

void wall_watch_init(struct wall_watch *w, struct clock *clock)
{
    *w = (struct wall_watch){.clock = clock, .offset_ms = offset_of(clock)};
}

bool wall_watch_is_settled(struct wall_watch *w)
{
    uint64_t now_ms = clock_mono_ms(w->clock);
    int64_t offset_ms = offset_of(w->clock);
    int64_t step_ms = offset_ms - w->offset_ms;

    w->offset_ms = offset_ms;
    if (step_ms > STEP_MS || step_ms < -STEP_MS)
        w->settle_until_ms = now_ms + SETTLE_MS;
    return now_ms >= w->settle_until_ms;
}
