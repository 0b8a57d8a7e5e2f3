/*
 * schedule.h: jobs that are not due yet stay in SQLite; an alarm is set for the next of them. Loop
 * thread only.
 */
#ifndef BROKER_SCHEDULE_H
#define BROKER_SCHEDULE_H

#include <stdint.h>

#include "broker/alarm.h"
#include "broker/store.h"

struct schedule {
    struct alarm alarm;
    struct store_due due;
};

void schedule_init(struct schedule *s, struct core *core);
void schedule_start(struct schedule *s, int64_t next_due_ms); /* -1: nothing is scheduled */

/* A job is now scheduled for then. */
void schedule_note(struct schedule *s, int64_t due_ms);

#endif
