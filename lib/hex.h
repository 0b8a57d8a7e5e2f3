/*
 * hex.h: a 64-bit number as 16 hexadecimal digits. Stands for a printf, which costs twenty times as
 * much, where every answer has one.
 */
#ifndef LIB_HEX_H
#define LIB_HEX_H

#include <stdint.h>

enum { HEX_TEXT_BYTES = 17 }; /* with its NUL */

static inline void hex_format(uint64_t number, char ret_text[HEX_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";

    for (int i = HEX_TEXT_BYTES - 2; i >= 0; i--, number >>= 4)
        ret_text[i] = digits[number & 15];
    ret_text[HEX_TEXT_BYTES - 1] = '\0';
}

#endif
