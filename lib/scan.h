/*
 * scan.h: finds where a JSON or msgpack value ends, without reading it: brackets, quotes and
 * lengths only. Incremental: the input may be cut anywhere, and each byte is looked at once. What
 * the value is, and whether it is valid inside, is for json.h to say. Pure; nothing is allocated.
 */
#ifndef LIB_SCAN_H
#define LIB_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/span.h"

enum scan_result { SCAN_MORE, SCAN_END, SCAN_BAD };

struct scan_json {
    size_t depth;
    bool has_begun;
    bool is_in_string;
    bool is_escaped; /* the next byte of the string stands for itself */
};

void scan_json_begin(struct scan_json *s);

/* Goes on in `input`, whose first byte, if it is the first of the value, is no white space.
 * SCAN_MORE: all of it belongs to the value. SCAN_END: `ret_used` bytes do. A number or a word ends
 * before the first white space, comma or closing bracket, which is not used. Never SCAN_BAD. */
enum scan_result scan_json_step(struct scan_json *s, struct span input,
                                size_t *ret_used) JM_MUST_CHECK;

enum { SCAN_DEPTH_LIMIT = 128 };

struct scan_msgpack {
    uint64_t payload; /* bytes of the present value that are still to come */
    uint64_t number;  /* its length or count, as far as it has come */
    unsigned width;   /* bytes of the number that are still to come */
    unsigned values;  /* the number counts values: 1 of an array, 2 pairs of a map; 0 bytes */
    bool is_open;     /* its head has begun */
    unsigned depth;
    uint64_t left[SCAN_DEPTH_LIMIT]; /* values to come in each open container */
};

void scan_msgpack_begin(struct scan_msgpack *s);

/* As scan_json_step. SCAN_BAD: the reserved byte 0xc1, or nested deeper than SCAN_DEPTH_LIMIT. */
enum scan_result scan_msgpack_step(struct scan_msgpack *s, struct span input,
                                   size_t *ret_used) JM_MUST_CHECK;

#endif
