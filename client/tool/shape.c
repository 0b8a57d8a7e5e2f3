#include <stdio.h>
#include <string.h>

#include "client/tool/field.h"
#include "client/tool/shape.h"
#include "client/tool/tool.h"

enum { CELL_BYTES = 60 }; /* a longer one is cut, unless it stands at the end of the line */

/* A time, by the unit in its member's name, in the unit that people like. */
static bool put_time(struct buf *out, const char *member, struct span value)
{
    size_t len = strlen(member);
    bool is_us = len > 3 && strcmp(member + len - 3, "_us") == 0;
    bool is_ms = len > 3 && strcmp(member + len - 3, "_ms") == 0;
    struct mp_cursor c;
    uint64_t us;

    mp_open(&c, value);
    if ((!is_us && !is_ms) || !mp_next_uint(&c, UINT64_MAX / 1000, &us))
        return false;
    us *= is_ms ? 1000 : 1;
    if (us < 1000)
        buf_printf(out, "%llu µs", (unsigned long long)us);
    else if (us < 1000000)
        buf_printf(out, "%.1f ms", (double)us / 1e3);
    else
        buf_printf(out, "%.2f s", (double)us / 1e6);
    return true;
}

static void put_cell(struct buf *out, const char *member, bool is_number, struct span value)
{
    struct mp_cursor c;
    uint32_t count;

    mp_open(&c, value);
    if (is_number && mp_next_array(&c, &count))
        buf_printf(out, "%u", count);
    else if (!put_time(out, member, value))
        field_put(out, value);
}

static void cut(struct buf *cell)
{
    size_t len = CELL_BYTES - 3;

    if (cell->len <= CELL_BYTES)
        return;
    while ((cell->data[len] & 0xC0) == 0x80)
        len--; /* not in the middle of a character */
    buf_truncate(cell, len);
    buf_put_str(cell, "…");
}

/* False without memory. */
static bool add_cell(struct table *table, const struct shape *shape, size_t column, struct span row,
                     struct buf *cell)
{
    const char *member = shape->members[column];
    struct span value;

    buf_clear(cell);
    if (field_find_path(row, member, &value))
        put_cell(cell, member, shape->headings[column][0] == '>', value);
    else
        buf_put_u8(cell, '-');
    if (column + 1 < table->columns)
        cut(cell);
    table_add(table, buf_span(cell));
    return !buf_has_failed(cell);
}

static bool add_row(struct table *table, const struct shape *shape, struct span row,
                    struct buf *cell)
{
    bool is_whole = true;

    for (size_t i = 0; i < table->columns; i++)
        is_whole = add_cell(table, shape, i, row, cell) && is_whole;
    return is_whole;
}

int shape_add_rows(const struct shape *shape, struct span answer, struct table *table)
{
    struct span array, row;
    struct mp_cursor c;
    struct buf cell;
    uint32_t count;
    bool is_whole = true;

    if (!field_find(answer, shape->name, &array))
        return tool_say(TOOL_FAILED, "the broker's answer has no '%s'", shape->name);
    mp_open(&c, array);
    if (!mp_next_array(&c, &count))
        return tool_say(TOOL_FAILED, "'%s' in the broker's answer is no list", shape->name);
    buf_init(&cell, SIZE_MAX);
    while (is_whole && count-- > 0 && mp_skip(&c, FIELD_DEPTH, &row))
        is_whole = add_row(table, shape, row, &cell);
    buf_done(&cell);
    return is_whole ? TOOL_OK : tool_say(TOOL_FAILED, "out of memory");
}

int shape_print_table(const struct table *table)
{
    return table_print(table) == 0 ? TOOL_OK : tool_say(TOOL_FAILED, "out of memory");
}

int shape_print(const struct shape *shape, struct span answer)
{
    struct table table;
    int exit;

    table_init(&table, shape->headings);
    exit = shape_add_rows(shape, answer, &table);
    if (exit == TOOL_OK)
        exit = shape_print_table(&table);
    table_done(&table);
    return exit;
}
