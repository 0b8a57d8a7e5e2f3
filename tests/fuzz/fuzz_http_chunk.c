/*
 * fuzz_http_chunk.c: a chunked body, whole and in pieces (the first byte is the seed). Both must
 * come to the same end with the same bytes; and what was accepted is decoded once more by the
 * plainest reader that can be written, which must agree on the body and on where it ends.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/http_chunk.h"
#include "lib/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* With seed 0 in one piece. */
static enum http_progress decode(struct span input, unsigned seed, size_t *ret_used,
                                 struct buf *ret_body)
{
    enum http_progress progress = HTTP_MORE;
    struct http_chunk chunk;
    size_t used = 0;

    http_chunk_init(&chunk);
    while (progress == HTTP_MORE && used < input.len) {
        size_t len = input.len - used;
        struct span body;
        size_t n;

        if (seed != 0) {
            seed = seed * 1103515245 + 12345;
            len = len > 1 + (seed >> 16) % 9 ? 1 + (seed >> 16) % 9 : len;
        }
        progress = http_chunk_step(&chunk, span_of(input.data + used, len), &n, &body);
        assert(progress == HTTP_BAD || n > 0);
        assert(n <= len);
        buf_put_span(ret_body, body);
        used += n;
    }
    *ret_used = used;
    return progress;
}

/* Reads what is known to be good. Returns how long it is. */
static size_t decode_plainly(struct span input, struct buf *ret_body)
{
    const char *text = (const char *)input.data;
    size_t at = 0;
    size_t size;

    for (;;) {
        size = strtoul(text + at, NULL, 16);
        at = (size_t)((const char *)memchr(text + at, '\n', input.len - at) - text) + 1;
        if (size == 0)
            break;
        buf_put(ret_body, text + at, size);
        at += size + 2;
    }
    while (text[at] != '\r')
        at = (size_t)((const char *)memchr(text + at, '\n', input.len - at) - text) + 1;
    return at + 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole;
    struct buf pieces;
    struct buf plain;
    size_t used;
    size_t used_pieces;
    struct span input;
    enum http_progress progress;

    if (size < 1)
        return 0;
    input = span_of(data + 1, size - 1);
    buf_init(&whole, size);
    buf_init(&pieces, size);
    buf_init(&plain, size);
    progress = decode(input, 0, &used, &whole);
    assert(decode(input, data[0] + 1u, &used_pieces, &pieces) == progress);
    if (progress == HTTP_DONE) {
        assert(used == used_pieces);
        assert(decode_plainly(input, &plain) == used);
        assert(span_is_equal(buf_span(&whole), buf_span(&plain)));
    }
    if (progress != HTTP_BAD)
        assert(span_is_equal(buf_span(&whole), buf_span(&pieces)));
    buf_done(&whole);
    buf_done(&pieces);
    buf_done(&plain);
    return 0;
}
