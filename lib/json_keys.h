/*
 * json_keys.h: finds member names that occur twice in one object, for json_read.c and json_check.c.
 *
 * The names of all objects that are open lie in one stack; when an object closes, its own are
 * compared and taken off. Names are kept as offsets into the bytes that hold them, because those
 * may move as they grow. The first 64 need no allocation.
 */
#ifndef LIB_JSON_KEYS_H
#define LIB_JSON_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/json.h"
#include "lib/span.h"

struct json_key {
    uint32_t at;  /* where the name is in the bytes given to json_keys_close */
    uint32_t len; /* its length there */
    uint32_t hash;
    uint32_t offset; /* where the input has it, for the error */
};

struct json_keys {
    struct json_key *all;
    size_t count;
    size_t cap;
    uint64_t seed;
    struct json_key first[64];
};

void json_keys_init(struct json_keys *keys);
void json_keys_done(struct json_keys *keys);

/* Adds `name`, which is at `at` in the bytes and at `offset` in the input. False without memory. */
bool json_keys_add(struct json_keys *keys, struct span name, size_t at,
                   size_t offset) JM_MUST_CHECK;

/* Takes off the names from `first` on, at most JSON_MEMBERS_LIMIT. False if two of them are equal;
 * then the second one's offset is given. `bytes` is what the names' `at` counts from. */
bool json_keys_close(struct json_keys *keys, size_t first, const uint8_t *bytes,
                     size_t *ret_offset) JM_MUST_CHECK;

#endif
