/*
 * split.h: cuts the body of a batch into its items, as the bytes come: a JSON array, JSON texts in
 * lines (NDJSON), or msgpack, an array or one value behind the other. An item's bytes are kept only
 * while it is incomplete, up to a limit; a larger one is passed over, and told. Between two items
 * there may be JM_BATCH_GAP_BYTES of white space and empty lines. What an item is,
 * and whether it is valid inside, is not looked at (body.h, job_read.h). Pure.
 */
#ifndef BROKER_SPLIT_H
#define BROKER_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/scan.h"
#include "lib/span.h"

enum split_form { SPLIT_JSON, SPLIT_LINES, SPLIT_MSGPACK };

enum split_result {
    SPLIT_MORE,  /* all of the input is used */
    SPLIT_ITEM,  /* here is one */
    SPLIT_LARGE, /* here was one above the limit */
    SPLIT_BAD,   /* between the items is something else: nothing more can be told apart */
};

struct split {
    enum split_form form;
    unsigned place; /* in the grammar, see split.c */
    size_t max_bytes;
    struct buf partial;  /* of the present item, from earlier input */
    size_t item_bytes;   /* of it so far */
    uint64_t left;       /* items to come of a msgpack array */
    unsigned width;      /* bytes of its count that are still to come */
    size_t gap_bytes;    /* since the last item, that are of none */
    const char *problem; /* with SPLIT_BAD: what is wrong, for people */
    uint64_t limit;      /* and the limit that was met, or 0 */
    union {
        struct scan_json json;
        struct scan_msgpack msgpack;
    } scan;
};

/* `max_bytes` is the limit of one item. */
void split_init(struct split *s, enum split_form form, size_t max_bytes);
void split_done(struct split *s);

/* Reads on in `input`, up to the end of the next item; `ret_used` bytes of it are dealt with. The
 * item borrows from the input or from `s` and is valid until the next call. */
enum split_result split_next(struct split *s, struct span input, size_t *ret_used,
                             struct span *ret_item) JM_MUST_CHECK;

/* The input is at its end: SPLIT_MORE if that is well, or the last item, or SPLIT_BAD. Call until
 * it gives no item. */
enum split_result split_end(struct split *s, struct span *ret_item) JM_MUST_CHECK;

#endif
