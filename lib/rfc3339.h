/*
 * rfc3339.h: times as clients see them: RFC 3339 in UTC with milliseconds,
 * "2023-11-14T22:13:20.123Z". Pure functions.
 */
#ifndef LIB_RFC3339_H
#define LIB_RFC3339_H

#include <stdint.h>

enum { RFC3339_BYTES = 25 }; /* 24 characters and a NUL */

/* Writes milliseconds since 1970 UTC as text. What lies outside the years 0 to 9999 becomes the
 * nearest time inside. */
void rfc3339_format(int64_t wall_ms, char ret_text[RFC3339_BYTES]);

#endif
