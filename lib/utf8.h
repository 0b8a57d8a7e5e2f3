/*
 * utf8.h: UTF-8 as RFC 3629 has it: shortest forms only, no surrogates, nothing above U+10FFFF.
 * Pure functions.
 */
#ifndef LIB_UTF8_H
#define LIB_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/span.h"

enum { UTF8_CHAR_BYTES = 4 }; /* the longest character */

/* How many bytes the character at the front of `text` has, or 0 if there is none or it is not
 * valid. */
size_t utf8_char_bytes(struct span text);

/* How many bytes at the front of `text` are valid: all of them, or the offset of the first fault.
 */
size_t utf8_valid_bytes(struct span text);

static inline bool utf8_is_valid(struct span text)
{
    return utf8_valid_bytes(text) == text.len;
}

/* Copies `text` with U+FFFD in place of each byte that is not part of a character, as far as whole
 * characters fit into `room` bytes. Returns how many bytes were written. */
size_t utf8_clean(struct span text, size_t room, uint8_t *ret_text);

/* Writes the UTF-8 form of `code_point` (at most 0x10ffff, no surrogate) and returns its bytes. */
size_t utf8_format(uint32_t code_point, uint8_t ret_text[UTF8_CHAR_BYTES]);

#endif
