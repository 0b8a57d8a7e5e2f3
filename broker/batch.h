/*
 * batch.h: many submits in one request (POST /v1/jobs/batch). Items are taken out of the body as it
 * comes, each becomes a core_submit, and their answers go out in the order of the items, while the
 * rest of the body is still on its way. Loop thread only.
 *
 * What it may hold is bounded: so many items in flight that all batches share them, so many bytes,
 * one incomplete item, and what the client has not read of the answer yet; at any of these limits
 * the body is paused; and for the rest of a turn behind some items that were refused.
 */
#ifndef BROKER_BATCH_H
#define BROKER_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/body.h"
#include "broker/core_batch.h"
#include "broker/job_read.h"
#include "broker/split.h"
#include "lib/buf.h"
#include "lib/list.h"

struct api;
struct call;

/* One item, from the moment it is whole until its answer is written. */
struct batch_item {
    struct list link; /* batch.items, in their order; or api.idle_items */
    struct batch *batch;
    struct core_submit submit;
    struct buf value;   /* the item, which `submit` borrows from; once it is refused, its answer */
    struct buf options; /* which it borrows from too */
    bool is_done;
    bool is_refused;
};

struct batch {
    struct call *call;
    struct job_reader reader; /* of the present turn */
    struct split split;
    struct list items;
    size_t item_count; /* in `items` */
    size_t item_bytes; /* of their values */
    uint64_t taken;    /* items so far */
    uint64_t answered;
    uint64_t discarded_bytes;
    size_t refused;              /* of its items, since it has rested */
    bool is_paused;              /* not all of the last piece of the body was taken */
    bool is_over;                /* no more items are taken: what still comes is thrown away */
    bool has_end;                /* nothing more will come */
    bool is_cut;                 /* and that was not its end */
    bool is_refused;             /* before the first item, by call->fault */
    struct buf scratch;          /* the answer to one item */
    struct batch_atomic *atomic; /* NULL: each item is stored by itself */
};

enum { BATCH_ANSWER_BYTES = 4096 }; /* of one item, as msgpack */

/* The next item, last in the batch; NULL without memory. */
struct batch_item *batch_open_item(struct batch *b);
/* It is answered. */
void batch_close_item(struct batch *b, struct batch_item *item);

/* Its answer is an error, which takes the place of what was asked. */
void batch_refuse_item(struct batch_item *item, const struct fault *f);

/* What is said of an item: {"error":{"code","detail","field","limit","id"}}, or {"id","state"} and
 * what has become of its key or its uniqueness. */
void batch_render_fault(struct buf *out, const struct fault *f);
void batch_render_stored(struct buf *out, const struct core_outcome *o);

/* Appends one answer in the form of the whole, and the end of all. False: no memory. */
bool batch_put_answer(enum body_form form, struct span answer, bool is_first,
                      struct buf *out) JM_MUST_CHECK;
void batch_put_end(enum body_form form, bool is_empty, struct buf *out);

/* Everything has come, or so much is thrown away that no more is waited for. */
bool batch_has_come(const struct batch *b);

/* Frees it; its call lives on. */
void batch_close(struct batch *b);

/* Frees the pool of items. */
void batch_free_idle(struct api *a);

#endif
