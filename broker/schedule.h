/*
 * schedule.h: jobs that are not due yet stay in SQLite; one timer is armed for the next of them.
 * Loop thread only.
 */
#ifndef BROKER_SCHEDULE_H
#define BROKER_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/runner.h"
#include "broker/timer.h"

struct core;

struct schedule {
    struct core *core;
    struct timer timer;
    int64_t next_due_ms; /* wall clock; -1: nothing is scheduled */
    bool is_moving;
    struct store_due due;
};

void schedule_init(struct schedule *s, struct core *core);
void schedule_start(struct schedule *s, int64_t next_due_ms);

/* A job is now scheduled for then. */
void schedule_note(struct schedule *s, int64_t due_ms);

#endif
