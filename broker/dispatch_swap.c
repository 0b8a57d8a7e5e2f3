/*
 * dispatch_swap.c: order among what lies in Redis already. A job that is above all of that is
 * pushed before it (dispatch_take.c); one that is above some of it cannot be pushed into the
 * middle. While the list empties quickly that matters little. But where its jobs wait for longer
 * than the window aims at, those below are drawn back, and all go out again in order.
 */
#include "broker/dispatch_inside.h"

#include "broker/core.h"
#include "schema/limits.h"

static uint32_t highest_ready(const struct queue *q)
{
    uint32_t priority = JM_PRIORITY_MAX;

    while (priority > 0 && heap_first(&q->ready[priority]) == NULL)
        priority--;
    return priority;
}

static uint32_t count_below(const struct queue *q, uint32_t priority)
{
    uint32_t count = 0;

    while (--priority > 0)
        count += q->unbegun[priority];
    return count;
}

/* When the oldest of them that has not begun was pushed; 0 if there is none among the oldest, which
 * would have begun if there were slots for them. */
static uint64_t oldest_push_ms(const struct queue *q)
{
    size_t left = (size_t)q->window.slots * WINDOW_FLOOR_PER_SLOT + 1;

    LIST_EACH(node, &q->jobs)
    {
        const struct dispatch_job *job = LIST_ENTRY(node, struct dispatch_job, in_queue);

        if (job->place == DISPATCH_OUT && !job->has_begun)
            return job->pushed_ms;
        if (left-- == 0)
            return 0;
    }
    return 0;
}

/* Whether every slot is busy with a job that is known to run for a while. */
static bool are_slots_busy(const struct queue *q)
{
    uint32_t begun = q->window.used;

    for (uint32_t priority = JM_PRIORITY_MIN; priority <= JM_PRIORITY_MAX; priority++)
        begun -= q->unbegun[priority];
    return q->window.slots > 0 && begun >= q->window.slots;
}

bool dispatch_is_amid_others(struct dispatch *d, const struct queue *q, uint32_t priority)
{
    uint64_t pushed_ms;

    if (count_below(q, priority) == 0 || dispatch_highest_unbegun(q) < priority)
        return false;
    pushed_ms = oldest_push_ms(q);
    return are_slots_busy(q) || (pushed_ms > 0 && dispatch_now_ms(d) - pushed_ms >= WINDOW_AIM_MS);
}

bool dispatch_swap(struct dispatch *d, struct queue *q)
{
    uint64_t now_ms = dispatch_now_ms(d), pushed_ms;
    uint32_t priority = highest_ready(q), below;

    if (priority <= JM_PRIORITY_MIN || now_ms < q->swap_at_ms)
        return false;
    below = count_below(q, priority);
    pushed_ms = below > 0 ? oldest_push_ms(q) : 0;
    if (pushed_ms == 0)
        return false;
    if (!are_slots_busy(q) && now_ms - pushed_ms < WINDOW_AIM_MS) {
        q->swap_at_ms = pushed_ms + WINDOW_AIM_MS;
        return false;
    }
    q->swap_at_ms = now_ms + WINDOW_AIM_MS;
    return dispatch_draw_some(d, q, below);
}
