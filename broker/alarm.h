/*
 * alarm.h: something in the store that has to be done at a time of the wall clock: one timer is
 * armed for the earliest time that is known, and one operation is under way at a time. The wall
 * clock may step, so the timer looks again after a minute at the latest. Loop thread only.
 */
#ifndef BROKER_ALARM_H
#define BROKER_ALARM_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/timer.h"

struct core;

struct alarm {
    struct core *core;
    struct timer timer;
    int64_t at_ms;  /* wall clock; -1: nothing is to be done */
    int64_t was_ms; /* that of the on_time that is being dealt with */
    bool is_busy;   /* between on_time and alarm_done or alarm_wait */
    void (*on_time)(struct alarm *a);
};

void alarm_init(struct alarm *a, struct core *core, void (*on_time)(struct alarm *a));

/* There is something to be done then; the earliest time counts. on_time never comes from inside
 * this call, nor while it is busy. */
void alarm_note(struct alarm *a, int64_t at_ms);

/* What on_time began is done, and the next is due at `next_ms` (-1: not known). What was noted
 * meanwhile counts too. Or it is still to be done, and on_time comes again in a while; after a
 * failure, soon. */
void alarm_done(struct alarm *a, int64_t next_ms);
void alarm_wait(struct alarm *a, uint64_t in_ms);
void alarm_fail(struct alarm *a);

#endif
