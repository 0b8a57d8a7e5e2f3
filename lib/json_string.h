/*
 * json_string.h: the inside of a JSON string, for json_read.c. Pure functions.
 */
#ifndef LIB_JSON_STRING_H
#define LIB_JSON_STRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/json.h"

/* Checks the string whose opening quote lies before `*at`, and moves `*at` to its closing quote, or
 * to the byte with the problem. */
enum json_problem json_string_scan(const uint8_t **at, const uint8_t *end,
                                   bool *ret_has_escapes) JM_MUST_CHECK;

/* Writes the checked inside of a string with its escapes resolved, which never makes it longer.
 * Returns the bytes written. */
size_t json_string_unescape(const uint8_t *at, const uint8_t *end, uint8_t *ret_text);

#endif
