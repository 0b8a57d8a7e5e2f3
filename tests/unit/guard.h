/*
 * guard.h: test inputs that end at a page which may not be touched, so that a parser that reads one
 * byte too far dies at once.
 */
#ifndef TESTS_UNIT_GUARD_H
#define TESTS_UNIT_GUARD_H

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/span.h"

enum { GUARD_BYTES = 1 << 20 }; /* the longest input */

struct guard {
    uint8_t *map;
    uint8_t *end; /* the first byte that may not be touched */
};

static inline void guard_init(struct guard *g)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    g->map =
        mmap(NULL, GUARD_BYTES + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert(g->map != MAP_FAILED);
    g->end = g->map + GUARD_BYTES;
    assert(mprotect(g->end, page, PROT_NONE) == 0);
}

static inline void guard_done(struct guard *g)
{
    munmap(g->map, GUARD_BYTES + (size_t)sysconf(_SC_PAGESIZE));
}

/* A copy of `input` whose last byte is the last readable one. Valid until the next call. */
static inline struct span guard_copy(struct guard *g, struct span input)
{
    assert(input.len <= GUARD_BYTES);
    if (input.len > 0)
        memcpy(g->end - input.len, input.data, input.len);
    return span_of(g->end - input.len, input.len);
}

#endif
