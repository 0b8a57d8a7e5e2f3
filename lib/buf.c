#include "lib/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST_BYTES = 256 };

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max = max_bytes};
}

void buf_done(struct buf *b)
{
    free(b->data);
    buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    b->is_starved = false;
}

void buf_shrink(struct buf *b, size_t keep_bytes)
{
    if (b->cap > keep_bytes)
        buf_done(b);
    else
        buf_clear(b);
}

/* Doubles, so that a long run of small appends costs amortised constant time, but never allocates
 * past the maximum. */
static bool buf_grow(struct buf *b, size_t need)
{
    size_t cap = b->cap != 0 ? b->cap : BUF_FIRST_BYTES;
    uint8_t *data;

    while (cap < need)
        cap = cap > b->max / 2 ? b->max : cap * 2;
    if (cap > b->max)
        cap = b->max;
    data = realloc(b->data, cap);
    if (data == NULL)
        return false;
    b->data = data;
    b->cap = cap;
    return true;
}

uint8_t *buf_make_room(struct buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (b->len > b->max || n > b->max - b->len) { /* the first: it was lowered */
        b->failed = true;
        return NULL;
    }
    if (n > b->cap - b->len && !buf_grow(b, b->len + n)) {
        buf_mark_starved(b);
        return NULL;
    }
    return b->data + b->len;
}

void buf_advance(struct buf *b, size_t n)
{
    assert(n <= b->cap - b->len);
    b->len += n;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    uint8_t *at;
    int n;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    assert(n >= 0);
    at = buf_reserve(b, (size_t)n + 1); /* vsnprintf ends with a NUL, which is not kept */
    if (at == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf((char *)at, (size_t)n + 1, fmt, args);
    va_end(args);
    b->len += (size_t)n;
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    b->len -= n;
    if (b->len > 0)
        memmove(b->data, b->data + n, b->len);
}

void buf_truncate(struct buf *b, size_t len)
{
    assert(len <= b->len);
    b->len = len;
}

bool buf_has_failed(const struct buf *b)
{
    return b->failed;
}

void buf_mark_starved(struct buf *b)
{
    b->failed = true;
    b->is_starved = true;
}

bool buf_is_starved(const struct buf *b)
{
    return b->is_starved;
}

struct span buf_span(const struct buf *b)
{
    return span_of(b->data, b->len);
}

int buf_write_msgpack(void *buf, const char *bytes, size_t n)
{
    buf_put(buf, bytes, n);
    return buf_has_failed(buf) ? -1 : 0;
}
