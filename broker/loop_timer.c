#include "broker/loop_timer.h"

#include <assert.h>

#include "schema/errors.h"

static size_t slot_of(uint64_t at_ms)
{
    return at_ms % LOOP_TIMER_SLOTS;
}

static void on_uv(uv_timer_t *uv);

/* Sets the uv timer, if it would ring later than `at_ms` or not at all. */
static void ring_at(struct loop_timer *lt, uint64_t at_ms)
{
    uint64_t now_ms = clock_mono_ms(lt->clock);
    int error;

    if (lt->set_ms <= at_ms)
        return;
    lt->set_ms = at_ms;
    uv_update_time(lt->uv.loop); /* else the delay would count from the beginning of this turn */
    error = uv_timer_start(&lt->uv, on_uv, at_ms > now_ms ? at_ms - now_ms : 0, 0);
    assert(error == 0); /* fails only without a callback or on a closing handle */
    (void)error;
}

static void arm(struct timers *timers, struct timer *t, uint64_t at_ms)
{
    struct loop_timer *lt = JM_CONTAINER_OF(timers, struct loop_timer, timers);

    if (at_ms <= lt->turned_ms)
        at_ms = lt->turned_ms + 1;
    list_remove(&t->link);
    t->at_ms = at_ms;
    list_push_back(&lt->slots[slot_of(at_ms)], &t->link);
    if (lt->soonest_ms[slot_of(at_ms)] > at_ms)
        lt->soonest_ms[slot_of(at_ms)] = at_ms;
    ring_at(lt, at_ms);
}

static void call_due(struct list *due)
{
    struct list *node;

    while ((node = list_pop_front(due)) != NULL) {
        struct timer *t = LIST_ENTRY(node, struct timer, link);

        t->on_time(t);
    }
}

static void turn_slot(struct loop_timer *lt, size_t slot, uint64_t now_ms)
{
    struct list due;

    if (lt->soonest_ms[slot] > now_ms)
        return;
    list_init(&due);
    lt->soonest_ms[slot] = UINT64_MAX;
    LIST_EACH_SAFE(node, &lt->slots[slot])
    {
        uint64_t at_ms = LIST_ENTRY(node, struct timer, link)->at_ms;

        if (at_ms <= now_ms) {
            list_remove(node);
            list_push_back(&due, node);
        } else if (at_ms < lt->soonest_ms[slot]) {
            lt->soonest_ms[slot] = at_ms;
        }
    }
    call_due(&due);
}

/* Looks at every slot: a microsecond, once for each ring. A timer that was disarmed meanwhile costs
 * one ring for nothing. */
static void ring_next(struct loop_timer *lt)
{
    uint64_t soonest_ms = UINT64_MAX;

    for (size_t i = 0; i < LOOP_TIMER_SLOTS; i++)
        if (lt->soonest_ms[i] < soonest_ms)
            soonest_ms = lt->soonest_ms[i];
    if (soonest_ms != UINT64_MAX)
        ring_at(lt, soonest_ms);
}

static void on_uv(uv_timer_t *uv)
{
    struct loop_timer *lt = uv->data;
    uint64_t now_ms = clock_mono_ms(lt->clock), from_ms = lt->turned_ms + 1;

    lt->set_ms = UINT64_MAX;
    if (now_ms >= from_ms + LOOP_TIMER_SLOTS)
        from_ms = now_ms - LOOP_TIMER_SLOTS + 1; /* every slot once */
    for (uint64_t ms = from_ms; ms <= now_ms; ms++) {
        lt->turned_ms = ms;
        turn_slot(lt, slot_of(ms), now_ms);
    }
    ring_next(lt);
}

int loop_timer_init(struct loop_timer *lt, uv_loop_t *loop, struct clock *clock)
{
    *lt = (struct loop_timer){.clock = clock, .set_ms = UINT64_MAX};
    lt->timers.arm = arm;
    lt->turned_ms = clock_mono_ms(clock);
    for (size_t i = 0; i < LOOP_TIMER_SLOTS; i++) {
        list_init(&lt->slots[i]);
        lt->soonest_ms[i] = UINT64_MAX;
    }
    if (uv_timer_init(loop, &lt->uv) != 0)
        return JM_ENOMEM;
    lt->uv.data = lt;
    return 0;
}

static void on_uv_closed(uv_handle_t *handle)
{
    struct loop_timer *lt = handle->data;

    lt->on_closed(lt->owner);
}

void loop_timer_close(struct loop_timer *lt, void *owner, void (*on_closed)(void *owner))
{
    lt->owner = owner;
    lt->on_closed = on_closed;
    uv_close((uv_handle_t *)&lt->uv, on_uv_closed);
}
