/*
 * fields.h: reads the map that is a request's body into a struct, by a table of the fields it may
 * have. A field may be a map of its own with a table of its own; its fields are then told as
 * "backoff.base_ms". Whatever is wrong is told with the field's name, what was expected, and the
 * limit. Pure.
 */
#ifndef BROKER_FIELDS_H
#define BROKER_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/fault.h"
#include "lib/attr.h"
#include "lib/span.h"

enum field_type {
    FIELD_NAME,   /* struct span: a name as name_is_valid has it */
    FIELD_TEXT,   /* struct span: a string of min to max bytes without control characters */
    FIELD_BOOL,   /* bool */
    FIELD_U32,    /* uint32_t, min to max */
    FIELD_U64,    /* uint64_t, min to max */
    FIELD_MILLI,  /* uint32_t: a number of min to max thousandths; nothing finer is taken */
    FIELD_TIME,   /* int64_t: RFC 3339 as milliseconds since 1970 */
    FIELD_WORD,   /* uint32_t: one of `words`, the first of which stands for min */
    FIELD_ANY,    /* struct span: one msgpack value of at most max bytes */
    FIELD_STRS,   /* struct span: a msgpack array of at most max str, each 1 to item_max bytes
                     without control characters */
    FIELD_OBJECT, /* a struct by `object` */
};

enum field_need {
    FIELD_OPTIONAL,
    FIELD_REQUIRED,
    FIELD_NULLABLE, /* optional, and null sets the member to zero */
};

struct field {
    const char *name;
    enum field_type type;
    enum field_need need;
    size_t offset; /* of the member in the target */
    uint64_t min;
    uint64_t max;
    uint64_t item_max;
    const char *const *words; /* ends with NULL */
    const struct field_object *object;
};

struct field_object {
    const struct field *fields;
    size_t count;
    size_t bytes; /* of the struct */
    /* What the struct is before its fields are read; NULL: what it was, so that they are merged
     * into that. */
    const void *preset;
};

enum { FIELDS_LIMIT = 32 }; /* rows of one table */

/* Reads `body`, one msgpack value that json_check_msgpack (or json_to_msgpack) has passed, into
 * `target`, whose members keep their value where a field is absent. `ret_raw` (one span for each
 * row, or NULL) gets the msgpack bytes of each field's value, empty where it is absent. All spans
 * borrow from `body`. Returns 0, JM_EFIELD, JM_EUNKNOWNFIELD or JM_EMISSING. */
int fields_read(const struct field *table, size_t count, struct span body, void *target,
                struct span *ret_raw, struct fault *ret_fault) JM_MUST_CHECK;

#endif
