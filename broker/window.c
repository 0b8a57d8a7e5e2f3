#include "broker/window.h"

#include "schema/limits.h"

void window_init(struct window *w)
{
    *w = (struct window){
        .limit = WINDOW_FIRST_JOBS, .floor = WINDOW_FIRST_JOBS, .least_wait_ms = UINT64_MAX};
}

uint32_t window_room(const struct window *w)
{
    uint32_t limit = w->limit;

    if (w->slots == 0 && limit > WINDOW_UNSERVED_JOBS)
        limit = WINDOW_UNSERVED_JOBS;
    return limit > w->used ? limit - w->used : 0;
}

void window_set_slots(struct window *w, uint32_t slots)
{
    w->slots = slots;
    w->floor = slots == 0 ? WINDOW_FIRST_JOBS : slots * WINDOW_FLOOR_PER_SLOT;
    if (w->limit < w->floor)
        w->limit = w->floor;
}

void window_on_starved(struct window *w)
{
    w->limit = w->limit > JM_WINDOW_JOBS / 2 ? JM_WINDOW_JOBS : w->limit * 2;
}

/* Shrinks by the share that the wait is too long, but by no more than half at once: the wait of the
 * jobs that are out already cannot be mended, and would be counted again in the next interval. */
static void judge(struct window *w)
{
    uint64_t limit;

    if (w->least_wait_ms == UINT64_MAX || w->least_wait_ms <= WINDOW_AIM_MS)
        return;
    limit = (uint64_t)w->limit * WINDOW_AIM_MS / w->least_wait_ms;
    if (limit < w->limit / 2)
        limit = w->limit / 2;
    w->limit = limit > w->floor ? (uint32_t)limit : w->floor;
}

void window_on_end(struct window *w, uint64_t wait_ms, uint64_t now_ms)
{
    if (wait_ms < w->least_wait_ms)
        w->least_wait_ms = wait_ms;
    if (now_ms - w->interval_start_ms < WINDOW_INTERVAL_MS)
        return;
    judge(w);
    w->interval_start_ms = now_ms;
    w->least_wait_ms = UINT64_MAX;
}
