#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "client/tool/table.h"

void table_init(struct table *table, const char *const *headings)
{
    *table = (struct table){.headings = headings};
    while (headings[table->columns] != NULL)
        table->columns++;
    assert(table->columns <= TABLE_COLUMNS);
    buf_init(&table->cells, SIZE_MAX);
}

void table_done(struct table *table)
{
    buf_done(&table->cells);
}

/* The C1 controls, which some terminals obey, are U+0080 to U+009F: 0xC2 and a byte below 0xA0. */
void table_put_clean(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        bool is_c1 = byte == 0xC2 && i + 1 < text.len && text.data[i + 1] < 0xA0;

        i += is_c1;
        buf_put_u8(out, byte < ' ' || byte == 0x7f || is_c1 ? '?' : byte);
    }
}

void table_add(struct table *table, struct span text)
{
    table_put_clean(&table->cells, text);
    buf_put_u8(&table->cells, 0);
    table->cell_count++;
}

void table_add_str(struct table *table, const char *text)
{
    table_add(table, span_of_str(text != NULL ? text : "-"));
}

void table_add_number(struct table *table, int64_t number)
{
    char text[24] = "-";

    if (number >= 0)
        snprintf(text, sizeof(text), "%lld", (long long)number);
    table_add_str(table, text);
}

/* Code points: near enough to columns for names. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static void print_cell(const struct table *table, size_t column, const char *text, size_t width)
{
    bool is_number = table->headings[column][0] == '>';
    bool is_last = column + 1 == table->columns;
    int fill = (int)(width - width_of(text));

    if (is_number)
        printf("%*s%s", fill, "", text);
    else
        printf("%s%*s", text, is_last ? 0 : fill, "");
    fputs(is_last ? "\n" : "  ", stdout);
}

static const char *heading(const struct table *table, size_t column)
{
    return table->headings[column] + (table->headings[column][0] == '>');
}

int table_print(const struct table *table)
{
    size_t widths[TABLE_COLUMNS];
    const char *cell = (const char *)table->cells.data;

    assert(table->cell_count % table->columns == 0);
    if (buf_has_failed(&table->cells))
        return -1;
    for (size_t i = 0; i < table->columns; i++)
        widths[i] = width_of(heading(table, i));
    for (size_t i = 0; i < table->cell_count; i++, cell += strlen(cell) + 1)
        if (width_of(cell) > widths[i % table->columns])
            widths[i % table->columns] = width_of(cell);
    for (size_t i = 0; i < table->columns; i++)
        print_cell(table, i, heading(table, i), widths[i]);
    cell = (const char *)table->cells.data;
    for (size_t i = 0; i < table->cell_count; i++, cell += strlen(cell) + 1)
        print_cell(table, i % table->columns, cell, widths[i % table->columns]);
    return 0;
}
