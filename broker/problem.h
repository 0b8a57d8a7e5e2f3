/*
 * problem.h: an error as clients see it, application/problem+json (RFC 9457):
 *     {"type":"urn:jobmill:error:body_too_large","title":"The body is larger than the limit",
 *      "status":413,"code":"body_too_large","detail":"…","limit":1048576}
 * Pure functions.
 */
#ifndef BROKER_PROBLEM_H
#define BROKER_PROBLEM_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/span.h"

#define PROBLEM_MEDIA_TYPE "application/problem+json"

struct problem {
    int error;          /* JM_E…: gives type, title, status and code */
    struct span detail; /* a sentence about this occurrence; empty: left out */
    struct span field;  /* the field of the body, parameter or header that is wrong, or empty */
    uint64_t limit;     /* the limit that was met; 0: none */
};

/* Appends the JSON form to `out`. Whatever bytes stand in the spans, the result is valid JSON:
 * bytes that are no UTF-8 become U+FFFD. */
void problem_format(struct buf *out, const struct problem *problem);

/* Appends `text` as a JSON string with its quotes, in the same manner. */
void problem_put_string(struct buf *out, struct span text);

#endif
