/*
 * shape.h: shows an answer {"NAME": [{…}, …]} as a table: which members become columns.
 */
#ifndef CLIENT_TOOL_SHAPE_H
#define CLIENT_TOOL_SHAPE_H

#include "client/tool/table.h"
#include "lib/attr.h"
#include "lib/span.h"

struct shape {
    const char *name;                        /* of the array in the answer */
    const char *headings[TABLE_COLUMNS + 1]; /* as table_init likes them */
    const char *members[TABLE_COLUMNS];      /* paths, "jobs.queued" */
};

/* Appends the rows of `answer` to a table with the shape's headings. Returns a tool_exit. */
int shape_add_rows(const struct shape *shape, struct span answer,
                   struct table *table) JM_MUST_CHECK;

/* table_print as a tool_exit. */
int shape_print_table(const struct table *table) JM_MUST_CHECK;

/* All at once. */
int shape_print(const struct shape *shape, struct span answer) JM_MUST_CHECK;

#endif
