/*
 * id.h: job ids. 63 bits, time-ordered: 41 bits of milliseconds since 2020-01-01 UTC, 10 bits of
 * broker node, 12 bits of sequence. Shown as 13 characters of Crockford's base32 (upper case;
 * reading accepts lower case, and O for 0, I and L for 1). Source: crockford.com/base32.html.
 */
#ifndef SCHEMA_ID_H
#define SCHEMA_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/span.h"

enum {
    ID_TEXT_BYTES = 14, /* 13 characters and a NUL */
    ID_SEQUENCE_BITS = 12,
    ID_NODE_BITS = 10,
};

#define ID_EPOCH_MS INT64_C(1577836800000) /* 2020-01-01T00:00:00Z */
#define ID_MAX UINT64_C(0x7fffffffffffffff)

/* The first id of a millisecond (sequence 0). `wall_ms` before 2020 counts as 2020. */
uint64_t id_make(int64_t wall_ms, unsigned node);

int64_t id_wall_ms(uint64_t id);
unsigned id_node(uint64_t id);

void id_format(uint64_t id, char ret_text[ID_TEXT_BYTES]);

/* False if `text` is not 13 characters of the alphabet or the value is 0 or above ID_MAX. */
bool id_parse(struct span text, uint64_t *ret_id) JM_MUST_CHECK;

#endif
