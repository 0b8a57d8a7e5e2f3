/*
 * table.h: an aligned table for people. Cells are copied; bytes that could steer a terminal are
 * shown as '?', because names and messages come from anywhere.
 */
#ifndef CLIENT_TOOL_TABLE_H
#define CLIENT_TOOL_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/span.h"

enum { TABLE_COLUMNS = 12 };

struct table {
    const char *const *headings; /* NULL ends them */
    size_t columns;
    size_t cell_count;
    struct buf cells; /* each ends with a NUL */
};

/* `headings` must live as long as the table; one that begins with '>' is a column of numbers. */
void table_init(struct table *table, const char *const *headings);
void table_done(struct table *table);

/* Appends the next cell, row by row. */
void table_add(struct table *table, struct span text);
void table_add_str(struct table *table, const char *text);  /* NULL: "-" */
void table_add_number(struct table *table, int64_t number); /* negative: "-" */

/* Prints heading and rows to stdout. Returns 0, or -1 when memory was short. */
int table_print(const struct table *table) JM_MUST_CHECK;

/* Appends `text` with control characters as '?'; what is no UTF-8 is left as it is. */
void table_put_clean(struct buf *out, struct span text);

#endif
