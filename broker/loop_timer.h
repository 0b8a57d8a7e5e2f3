/*
 * loop_timer.h: the program's timers (timer.h) on one uv_timer. A hashed timing wheel of
 * milliseconds (G. Varghese, T. Lauck: "Hashed and Hierarchical Timing Wheels", 1987): arming and
 * disarming cost the same however many are armed. Loop thread only.
 */
#ifndef BROKER_LOOP_TIMER_H
#define BROKER_LOOP_TIMER_H

#include <uv.h>

#include "broker/timer.h"
#include "lib/attr.h"
#include "lib/clock.h"

enum { LOOP_TIMER_SLOTS = 4096 }; /* one for each ms; later ones share, and are passed over */

struct loop_timer {
    struct timers timers; /* the seam */
    struct clock *clock;
    uv_timer_t uv;
    uint64_t turned_ms; /* every slot up to this time has been called */
    uint64_t set_ms;    /* when uv rings; UINT64_MAX: it does not */
    struct list slots[LOOP_TIMER_SLOTS];
    uint64_t soonest_ms[LOOP_TIMER_SLOTS]; /* no timer of the slot is due before; or UINT64_MAX */
    void *owner;
    void (*on_closed)(void *owner);
};

int loop_timer_init(struct loop_timer *lt, uv_loop_t *loop, struct clock *clock) JM_MUST_CHECK;
void loop_timer_close(struct loop_timer *lt, void *owner, void (*on_closed)(void *owner));

#endif
