/*
 * http_chunk.h: takes the chunked transfer coding off a request body (RFC 9112 section 7.1). A pure
 * step function: no allocation, no I/O. Extensions and trailer fields are read strictly, bounded
 * and thrown away.
 */
#ifndef BROKER_HTTP_CHUNK_H
#define BROKER_HTTP_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "broker/http_head.h"
#include "lib/attr.h"
#include "lib/span.h"

enum {
    HTTP_CHUNK_SIZE_DIGITS = 16,
    HTTP_CHUNK_EXT_BYTES = 4096, /* of all extensions of one body together */
    HTTP_TRAILER_BYTES = 8192,
};

struct http_chunk {
    unsigned state;
    uint64_t left; /* of the current chunk */
    unsigned digits;
    size_t ext_bytes;
    size_t trailer_bytes;
    enum http_problem problem; /* when it is bad */
};

void http_chunk_init(struct http_chunk *chunk);

/* Reads on in `input`: `ret_used` bytes of it are dealt with, `ret_data` is the run of body bytes
 * in them (may be empty). HTTP_MORE: call again with what follows, until the input is used up; the
 * call returns behind each run of data. HTTP_DONE: the body is complete, what follows `ret_used` is
 * not of it. Nothing is used and no data given with HTTP_BAD. */
enum http_progress http_chunk_step(struct http_chunk *chunk, struct span input, size_t *ret_used,
                                   struct span *ret_data) JM_MUST_CHECK;

/* Undoes the last `n` bytes of the data that the last step gave: they come again as input. */
void http_chunk_put_back(struct http_chunk *chunk, size_t n);

#endif
