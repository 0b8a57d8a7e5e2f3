/*
 * buf.h: a growing byte buffer with a hard maximum.
 *
 * Every append is void: when memory or the maximum runs out, the buffer becomes *failed*, keeps the
 * bytes it had, and ignores what follows. The writer of a message appends freely and asks
 * buf_has_failed() once, at the end. Not thread-safe; one owner.
 */
#ifndef LIB_BUF_H
#define LIB_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/attr.h"
#include "lib/span.h"

struct buf {
    uint8_t *data; /* NULL until the first append */
    size_t len;    /* bytes in use */
    size_t cap;    /* bytes allocated */
    size_t max;    /* nothing is allocated beyond it. Who lowers it may use what was before */
    bool failed;
    bool is_starved; /* failed for want of memory, not of room below the maximum */
};

/* Makes an empty buffer that will hold at most `max_bytes`. Allocates nothing. */
void buf_init(struct buf *b, size_t max_bytes);

/* Frees the bytes; the buffer is empty and usable again. Takes a zeroed struct too. */
void buf_done(struct buf *b);

/* Empties the buffer and forgets a failure; keeps the allocation for reuse. */
void buf_clear(struct buf *b);

/* As buf_clear, but gives memory back when more than `keep_bytes` are allocated. */
void buf_shrink(struct buf *b, size_t keep_bytes);

/* buf_reserve when there is no room yet; nobody else calls it. */
uint8_t *buf_make_room(struct buf *b, size_t n);

/* Room for `n` more bytes at the end: where to write them, or NULL (then failed). The caller adds
 * what it wrote with buf_advance. (What appends stands here, since most appends are a few bytes
 * with room for them, and cost less than a call.) */
static inline uint8_t *buf_reserve(struct buf *b, size_t n)
{
    return n <= b->cap - b->len && !b->failed ? b->data + b->len : buf_make_room(b, n);
}

void buf_advance(struct buf *b, size_t n);

static inline void buf_put(struct buf *b, const void *bytes, size_t n)
{
    uint8_t *at = n > 0 ? buf_reserve(b, n) : NULL;

    if (at == NULL)
        return;
    memcpy(at, bytes, n);
    b->len += n;
}

static inline void buf_put_u8(struct buf *b, uint8_t byte)
{
    buf_put(b, &byte, 1);
}

static inline void buf_put_str(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

static inline void buf_put_span(struct buf *b, struct span bytes)
{
    buf_put(b, bytes.data, bytes.len);
}

void buf_printf(struct buf *b, const char *fmt, ...) JM_PRINTF(2, 3);

/* Removes `n` bytes (at most len) from the front; the rest moves down. */
void buf_consume(struct buf *b, size_t n);

/* Cuts the buffer back to `len` bytes (at most what it has), for instance to undo a half-written
 * item. Does not clear a failure. */
void buf_truncate(struct buf *b, size_t len);

bool buf_has_failed(const struct buf *b);

/* True if it has failed because there was no memory: what was to be written is not too large. */
bool buf_is_starved(const struct buf *b);

/* Makes it so: what was to be appended found no memory elsewhere. */
void buf_mark_starved(struct buf *b);
struct span buf_span(const struct buf *b);

/* A msgpack_packer_write for msgpack_packer_init(&pk, buf, buf_write_msgpack). Returns 0, or -1
 * once the buffer has failed. */
int buf_write_msgpack(void *buf, const char *bytes, size_t n);

#endif
