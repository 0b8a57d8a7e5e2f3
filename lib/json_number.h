/*
 * json_number.h: numbers between JSON text and machine form, whatever the process's locale is.
 * Pure functions.
 */
#ifndef LIB_JSON_NUMBER_H
#define LIB_JSON_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/json.h"

enum json_number_type { JSON_NUMBER_UINT, JSON_NUMBER_INT, JSON_NUMBER_FLOAT };

struct json_number {
    enum json_number_type type; /* INT is negative */
    union {
        uint64_t u64;
        int64_t i64;
        double real;
    };
};

/* Reads the number at `*at`, and moves `*at` behind it, or to the byte with the problem. "-0" is
 * the float -0.0, because no integer can hold its sign. A number too small for a float becomes the
 * nearest one, at last 0. */
enum json_problem json_number_parse(const uint8_t **at, const uint8_t *end,
                                    struct json_number *ret_number) JM_MUST_CHECK;

enum { JSON_NUMBER_BYTES = 40 };

/* Writes a finite `real` in the fewest digits that read back as the same; always with a point or
 * an exponent. Returns the bytes written; no NUL. */
size_t json_number_format(double real, char ret_text[JSON_NUMBER_BYTES]);

#endif
