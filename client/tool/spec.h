/*
 * spec.h: what a person writes in one word on the command line, and the library wants in parts.
 * Each returns TOOL_OK, or TOOL_USAGE after a sentence that names the option; outputs then stay.
 */
#ifndef CLIENT_TOOL_SPEC_H
#define CLIENT_TOOL_SPEC_H

#include "client/jobmill.h"
#include "lib/attr.h"
#include "lib/rfc3339.h"

/* Where a bare duration points to: "1h" is in an hour, or was an hour ago. */
enum spec_way { SPEC_AHEAD, SPEC_AGO };

/* RFC 3339, or a duration from now ("10m", "+10m"). NULL gives "". */
int spec_time(const char *option, const char *text, enum spec_way way,
              char ret_time[RFC3339_BYTES]) JM_MUST_CHECK;

/* "fixed:5s", "exponential:base=1s,factor=2,ceiling=1h,jitter=0.1", all parts optional. The kind is
 * static. */
int spec_backoff(const char *option, const char *text,
                 struct jobmill_backoff *ret_backoff) JM_MUST_CHECK;

/* "100/s", "100/10s". NULL leaves the outputs alone. */
int spec_rate(const char *option, const char *text, int64_t *ret_limit,
              int64_t *ret_period_ms) JM_MUST_CHECK;

#endif
