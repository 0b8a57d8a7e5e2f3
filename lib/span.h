/*
 * span.h: a borrowed run of bytes, { pointer, length }. It owns nothing and is valid as long as
 * whatever it points into. A span of text is not NUL-terminated.
 */
#ifndef LIB_SPAN_H
#define LIB_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *data;
    size_t len;
};

static inline struct span span_of(const void *data, size_t len)
{
    return (struct span){.data = data, .len = len};
}

static inline struct span span_of_str(const char *text)
{
    return span_of(text, strlen(text));
}

static inline bool span_is_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool span_is_str(struct span a, const char *text)
{
    return span_is_equal(a, span_of_str(text));
}

#endif
