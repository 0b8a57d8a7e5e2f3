/*
 * migrations.h: the steps from an empty database to the present schema: the files of schema/sql,
 * embedded at build time in the order of their numbers. A released file is never changed; a change
 * of the schema is a new file.
 */
#ifndef SCHEMA_MIGRATIONS_H
#define SCHEMA_MIGRATIONS_H

#include <stddef.h>

struct migration {
    unsigned number; /* 1, 2, …: PRAGMA user_version once it is applied */
    const char *name;
    const char *sql; /* several statements */
};

/* All of them, ascending and without gaps. Static. */
const struct migration *migrations_all(size_t *ret_count);

#endif
