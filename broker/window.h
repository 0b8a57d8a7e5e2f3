/*
 * window.h: how many jobs of one queue may be out (dispatched and not ended) at once. As small as
 * keeps the workers busy, found in the way of Linux's dynamic queue limits
 * (lib/dynamic_queue_limits.c in the kernel; T. Herbert, "bql: Byte Queue Limits", 2011): it
 * doubles when the list ran empty while a backlog exists, and shrinks when even the luckiest job of
 * an interval waited longer than the aim. Pure.
 */
#ifndef BROKER_WINDOW_H
#define BROKER_WINDOW_H

#include <stdint.h>

enum {
    WINDOW_FIRST_JOBS = 64,    /* before anything is known */
    WINDOW_AIM_MS = 100,       /* what an urgent job may have before it */
    WINDOW_INTERVAL_MS = 100,  /* how long a judgement collects */
    WINDOW_FLOOR_PER_SLOT = 2, /* one that runs and one that is ready */
    WINDOW_UNSERVED_JOBS = 8,  /* while no live host serves the queue: a few, for when one comes */
};

struct window {
    uint32_t limit;
    uint32_t used;
    uint32_t floor;
    uint32_t slots; /* of the live hosts that serve the queue */
    uint64_t interval_start_ms;
    uint64_t least_wait_ms; /* UINT64_MAX: no end in this interval */
};

void window_init(struct window *w);

/* Places that are free now. */
uint32_t window_room(const struct window *w);

/* The slots of the live hosts that serve the queue; 0 is unknown. The limit never falls below the
 * floor that follows from it. */
void window_set_slots(struct window *w, uint32_t slots);

/* A push found the list empty while a backlog waited. */
void window_on_starved(struct window *w);

/* A job ended at `now_ms` that had waited `wait_ms` between its push and its begin. */
void window_on_end(struct window *w, uint64_t wait_ms, uint64_t now_ms);

#endif
