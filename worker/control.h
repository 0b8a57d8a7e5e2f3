/*
 * control.h: what a program says about itself while it runs, in lines of plain text:
 *
 *     progress DONE TOTAL MESSAGE…     how far it is; 0 for a TOTAL that is not known; MESSAGE and
 *                                      TOTAL may be missing
 *     retry never                      should it fail, no attempt follows
 *     retry after MS                   should it fail, the next attempt comes so much later
 *
 * The last of each counts. A line that is none of these is no failure: it is counted, and the first
 * is logged. Of a line longer than CONTROL_LINE_BYTES the rest is dropped.
 */
#ifndef WORKER_CONTROL_H
#define WORKER_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "lib/span.h"
#include "schema/wire.h"
#include "worker/task.h"

enum { CONTROL_LINE_BYTES = 512 };

struct control {
    struct task_call *call; /* whose progress is reported */
    enum wire_retry retry;
    uint64_t retry_after_ms;
    uint64_t ignored; /* lines */
    size_t len;
    char line[CONTROL_LINE_BYTES];
};

void control_init(struct control *control, struct task_call *call);

/* Takes what was read from the pipe, in pieces of any size. */
void control_take(struct control *control, struct span bytes);

/* No more will come: a last line needs no end. */
void control_finish(struct control *control);

#endif
