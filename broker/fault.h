/*
 * fault.h: what is wrong with a request, found by the pure readers of the HTTP interface (query.h,
 * fields.h, body.h) and told to the client as a problem (problem.h). Pure.
 */
#ifndef BROKER_FAULT_H
#define BROKER_FAULT_H

#include <stdint.h>

#include "lib/attr.h"
#include "lib/span.h"

enum { FAULT_FIELD_BYTES = 80, FAULT_DETAIL_BYTES = 320 };

struct fault {
    int error;                       /* JM_E…; 0 is none */
    uint64_t limit;                  /* the limit that was met, or 0 */
    uint64_t id;                     /* the job that stands in the way, or 0 */
    char field[FAULT_FIELD_BYTES];   /* the field, parameter or header that is wrong, or "" */
    char detail[FAULT_DETAIL_BYTES]; /* a sentence without a full stop */
};

/* Fills in a fault and returns `error`. `field` may be anything that a client sent: what does not
 * fit is cut. */
int fault_set(struct fault *f, int error, struct span field, uint64_t limit, const char *fmt, ...)
    JM_PRINTF(5, 6);

#endif
