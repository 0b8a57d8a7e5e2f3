/*
 * rfc3339.h: times as text, RFC 3339: "2026-11-23T09:21:00.123Z". Pure functions.
 */
#ifndef LIB_RFC3339_H
#define LIB_RFC3339_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/span.h"

enum { RFC3339_BYTES = 25 }; /* 24 characters and a NUL */

/* Writes milliseconds since 1970 as a time in UTC with milliseconds. Times outside the years 0000
 * to 9999 are written as the first or last that there is. */
void rfc3339_format(int64_t wall_ms, char ret_text[RFC3339_BYTES]);

/* Reads a time with any offset and with or without a fraction, whose digits beyond the milliseconds
 * are dropped. 'T' and 'Z' may be in lower case. A leap second (23:59:60 UTC) counts as the second
 * after it, as clocks have it. False if `text` is anything else. */
bool rfc3339_parse(struct span text, int64_t *ret_wall_ms) JM_MUST_CHECK;

#endif
