/*
 * mp.h: a cursor over msgpack bytes: one token at a time, nothing allocated, nothing copied.
 *
 * Messages are written with msgpack-c's packer (into a struct buf); they are read with this,
 * because msgpack-c reads only into a tree of its own, which loses where a nested value begins and
 * ends and costs memory many times the message's. Source: github.com/msgpack/msgpack, spec.md.
 */
#ifndef LIB_MP_H
#define LIB_MP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/span.h"

enum mp_type {
    MP_NIL,
    MP_BOOL,
    MP_UINT,  /* any integer ≥ 0, however it was encoded */
    MP_INT,   /* a negative integer */
    MP_FLOAT, /* 32 or 64 bit */
    MP_STR,
    MP_BIN,
    MP_ARRAY, /* `count` values follow */
    MP_MAP,   /* `count` pairs follow */
    MP_EXT,
};

struct mp_token {
    enum mp_type type;
    union {
        bool boolean;
        uint64_t u64;
        int64_t i64;
        double number;
        struct span bytes; /* MP_STR, MP_BIN, MP_EXT: borrowed from the input */
        uint32_t count;
    };
    int8_t ext_type; /* MP_EXT */
};

enum { MP_DEPTH_LIMIT = 128 }; /* the deepest that mp_skip can be told to go */

struct mp_cursor {
    const uint8_t *at;
    const uint8_t *end;
};

void mp_open(struct mp_cursor *c, struct span input);
bool mp_is_at_end(const struct mp_cursor *c);

/* Reads one token; for an array or a map only its head. False when the input ends too early or has
 * the reserved byte 0xc1; the cursor then stays where it was. */
bool mp_next(struct mp_cursor *c, struct mp_token *ret_token) JM_MUST_CHECK;

/* Steps over one whole value, however deep, and gives its bytes. False as above, or when it nests
 * deeper than `max_depth`, at most MP_DEPTH_LIMIT (a scalar has depth 0, an array of scalars 1).
 * Uses no recursion. */
bool mp_skip(struct mp_cursor *c, unsigned max_depth, struct span *ret_value) JM_MUST_CHECK;

/* Typed reads: false (and the cursor stays) if the next token is of another type or out of range.
 */
bool mp_next_uint(struct mp_cursor *c, uint64_t max, uint64_t *ret_value) JM_MUST_CHECK;
bool mp_next_bool(struct mp_cursor *c, bool *ret_value) JM_MUST_CHECK;
bool mp_next_str(struct mp_cursor *c, struct span *ret_text) JM_MUST_CHECK;
bool mp_next_bin(struct mp_cursor *c, struct span *ret_bytes) JM_MUST_CHECK;
bool mp_next_array(struct mp_cursor *c, uint32_t *ret_count) JM_MUST_CHECK;
bool mp_next_map(struct mp_cursor *c, uint32_t *ret_count) JM_MUST_CHECK;

#endif
