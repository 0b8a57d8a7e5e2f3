/*
 * field.h: reads members of the broker's answers, for showing them to people. Pure functions over
 * msgpack that the library has checked.
 */
#ifndef CLIENT_TOOL_FIELD_H
#define CLIENT_TOOL_FIELD_H

#include <stdbool.h>
#include <stdint.h>

#include "client/jobmill.h"
#include "lib/buf.h"
#include "lib/mp.h"
#include "lib/span.h"

enum { FIELD_DEPTH = 128 };

struct span field_of_value(const struct jobmill_value *value);

/* The member's value; false if `map` is no map or has no such member. */
bool field_find(struct span map, const char *name, struct span *ret_value) JM_MUST_CHECK;

/* The same along "member.member". */
bool field_find_path(struct span map, const char *path, struct span *ret_value) JM_MUST_CHECK;

/* Walks a map: opens it, then gives pair after pair. */
bool field_open_map(struct span map, struct mp_cursor *ret_cursor,
                    uint32_t *ret_count) JM_MUST_CHECK;
bool field_next(struct mp_cursor *c, struct span *ret_name, struct span *ret_value) JM_MUST_CHECK;

/* Appends a value as people like it: text bare, null as "-", a list of texts with commas, a list of
 * anything else as its length, the rest as JSON. */
void field_put(struct buf *out, struct span value);

#endif
