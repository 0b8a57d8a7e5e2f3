/*
 * record.h: reads the members of a msgpack map that there are functions for into a struct: a table
 * says which, and where each goes. Members that the table does not name are stepped over, and so is
 * a value of another type than is told, null among them. Internal to libjobmill.
 */
#ifndef CLIENT_RECORD_H
#define CLIENT_RECORD_H

#include <stddef.h>

#include "lib/attr.h"
#include "lib/span.h"

enum record_kind {
    RECORD_TEXT,   /* char *, owned; a bool becomes its word */
    RECORD_NUMBER, /* int64_t, from 0 on */
    RECORD_REAL,   /* double, from 0 on; integers too */
    RECORD_FLAG,   /* int, 0 or 1 */
    RECORD_VALUE,  /* struct jobmill_value *, owned, over the bytes of the answer */
    RECORD_MAP,    /* a map whose members, by the table `inner`, belong to the same struct */
    RECORD_BYTES,  /* struct span: the value's bytes in the answer */
};

struct record_member {
    const char *name;
    enum record_kind kind;
    size_t offset;
    const struct record_member *inner; /* RECORD_MAP */
};

/* `table` ends with a row without a name. JM_EANSWER: `map` is no map. JM_ENOMEM; what has been
 * read until then stays in `record`. */
int record_read(void *record, struct span map, const struct record_member *table) JM_MUST_CHECK;

/* Frees what the record owns by the table. */
void record_done(void *record, const struct record_member *table);

#endif
