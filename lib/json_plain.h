/*
 * json_plain.h: the bytes of a JSON string that stand for themselves, for json_read.c and
 * json_write.c: ASCII from the space on, without the quote and the backslash.
 */
#ifndef LIB_JSON_PLAIN_H
#define LIB_JSON_PLAIN_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool json_is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Zero if all of eight bytes are plain; else the lowest bit that is set is in the first one that is
 * not, as they stand in memory (x is little-endian). The high bit of a byte of (x - 0x01..01) & ~x
 * is set where x has a zero byte, and of (x - 0x20..20) & ~x where x has one below 0x20; a borrow
 * can set a higher byte's bit wrongly, but only when a lower one is set rightly. */
static inline uint64_t json_not_plain(uint64_t x)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t quote = x ^ (ones * '"');
    uint64_t slash = x ^ (ones * '\\');
    uint64_t bad = ((x - ones * 0x20) & ~x) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash);

    return (bad | x) & (ones * 0x80);
}

/* The first byte that is not plain, or `end`. */
static inline const uint8_t *json_skip_plain(const uint8_t *at, const uint8_t *end)
{
    uint64_t eight;
    uint32_t first, last;

    for (; (size_t)(end - at) >= sizeof(eight); at += sizeof(eight)) {
        memcpy(&eight, at, sizeof(eight));
        eight = json_not_plain(le64toh(eight));
        if (eight != 0)
            return at + __builtin_ctzll(eight) / 8;
    }
    if ((size_t)(end - at) >= sizeof(first)) { /* four to seven: two that overlap */
        memcpy(&first, at, sizeof(first));
        memcpy(&last, end - sizeof(last), sizeof(last));
        if (json_not_plain((uint64_t)first << 32 | last) == 0)
            return end;
    }
    while (at < end && json_is_plain(*at))
        at++;
    return at;
}

#endif
