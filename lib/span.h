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

/* Without the spaces and tabs around it: the optional whitespace of HTTP (RFC 9110 section 5.6.3).
 */
static inline struct span span_trim(struct span text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = span_of(text.data + 1, text.len - 1);
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* What stands in a pair of double quotes around it; without one it is given back as it is. Escapes
 * inside stay. */
static inline struct span span_unquote(struct span text)
{
    if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"')
        return span_of(text.data + 1, text.len - 2);
    return text;
}

#endif
