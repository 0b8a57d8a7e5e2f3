/*
 * hex.h: bytes written as hexadecimal in tests, with spaces where they help to read.
 */
#ifndef TESTS_UNIT_HEX_H
#define TESTS_UNIT_HEX_H

#include <ctype.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/span.h"

static inline int hex_digit(int c)
{
    return isdigit(c) ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

/* Reads pairs of digits up to the first thing that is neither a pair nor white space. Returns how
 * many bytes were written into `ret_bytes`, at most `room`. */
static inline size_t hex_parse(struct span text, size_t room, uint8_t *ret_bytes)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len && n < room; i++) {
        if (isspace(text.data[i]))
            continue;
        if (i + 1 == text.len || hex_digit(text.data[i]) < 0 || hex_digit(text.data[i + 1]) < 0)
            break;
        ret_bytes[n++] = (uint8_t)(hex_digit(text.data[i]) << 4 | hex_digit(text.data[i + 1]));
        i++;
    }
    return n;
}

#endif
