/*
 * record.h: a struct as a msgpack map with small integer keys, by a table of its fields.
 *
 * Key 0 is the version and comes first. The others are the indexes into the table, written in
 * rising order. A field that is zero or empty is left out. Reading takes the keys in any order,
 * skips those that the table does not have, and refuses: another version, a key twice, a value of
 * another type than its field's or above its maximum, a required field that is missing, zero or
 * empty, and bytes behind the map. Pure functions.
 */
#ifndef SCHEMA_RECORD_H
#define SCHEMA_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/mp.h"
#include "lib/span.h"

enum record_type {
    RECORD_NONE,   /* no field has this key */
    RECORD_U32,    /* a uint32_t, or an enum */
    RECORD_U64,    /* a uint64_t */
    RECORD_I64,    /* an int64_t, of any value */
    RECORD_BOOL,   /* a bool */
    RECORD_NAME,   /* a span; str: a name by name.h */
    RECORD_TEXT,   /* a span; str: UTF-8. Written as far as it fits, faults as U+FFFD */
    RECORD_BYTES,  /* a span; bin */
    RECORD_VALUES, /* a span that holds a msgpack array, whose items `next_item` reads */
};

enum record_need { RECORD_OPTIONAL, RECORD_REQUIRED };

struct record_field {
    enum record_type type;
    enum record_need need;
    size_t offset; /* in the struct */
    uint64_t max;  /* of a number; of a span's bytes; of an array's items */
    bool (*next_item)(struct mp_cursor *c);
};

struct record {
    const struct record_field *fields; /* [0] stands for the version */
    uint32_t count;                    /* at most 32, [0] included */
    uint32_t version;
};

enum { RECORD_SKIP_DEPTH = 100, RECORD_TEXT_BYTES = 1024 /* the largest `max` of a text */ };

/* Appends `message`; whether there was room is asked with buf_has_failed(out). */
void record_encode(struct buf *out, const struct record *record, const void *message);

/* Reads into the zeroed `message`, whose content counts only if the result is true. */
bool record_decode(struct span input, const struct record *record, void *message) JM_MUST_CHECK;

/* One text by the rules of RECORD_TEXT, for lists that are written item by item. */
void record_encode_text(struct buf *out, struct span text, size_t max_bytes);
bool record_next_text(struct mp_cursor *c, size_t max_bytes, struct span *ret_text) JM_MUST_CHECK;

#endif
