#include <stdio.h>

#include "client/tool/field.h"
#include "client/tool/sheet.h"
#include "client/tool/table.h"
#include "client/tool/tool.h"

enum { SHOWN_BYTES = 1000, NAME_WIDTH = 12, FLAT_NAME_WIDTH = 24 };

struct sheet {
    const char *without;
    bool is_flat;
    bool is_starved; /* a line is not shown, for want of memory */
    struct buf name;
    struct buf text;
};

static bool is_map(struct span value)
{
    struct mp_cursor c;
    struct mp_token token;

    mp_open(&c, value);
    return mp_next(&c, &token) && token.type == MP_MAP;
}

static void print_line(struct sheet *sheet, struct span value)
{
    struct buf *text = &sheet->text;

    buf_clear(text);
    field_put(text, value);
    if (buf_has_failed(text) || buf_has_failed(&sheet->name)) {
        sheet->is_starved = true;
        return;
    }
    if (text->len == 1 && text->data[0] == '-')
        return; /* null, or an empty list */
    printf("%-*.*s ", sheet->is_flat ? FLAT_NAME_WIDTH : NAME_WIDTH, (int)sheet->name.len,
           (const char *)sheet->name.data);
    if (text->len <= SHOWN_BYTES)
        printf("%.*s\n", (int)text->len, (const char *)text->data);
    else
        printf("%.*s … (%zu bytes; --json shows all)\n", SHOWN_BYTES, (const char *)text->data,
               text->len);
}

static bool print_map(struct sheet *sheet, struct span map, unsigned depth)
{
    size_t prefix = sheet->name.len;
    struct span name, value;
    struct mp_cursor c;
    uint32_t count;

    if (depth > FIELD_DEPTH || !field_open_map(map, &c, &count))
        return false;
    for (; count > 0 && field_next(&c, &name, &value); count--) {
        if (depth == 0 && sheet->without != NULL && span_is_str(name, sheet->without))
            continue;
        table_put_clean(&sheet->name, name);
        if (sheet->is_flat && is_map(value)) {
            buf_put_u8(&sheet->name, '.');
            if (!print_map(sheet, value, depth + 1))
                return false;
        } else {
            print_line(sheet, value);
        }
        buf_truncate(&sheet->name, prefix);
    }
    return true;
}

int sheet_print(struct span map, const char *without, bool is_flat)
{
    struct sheet sheet = {.without = without, .is_flat = is_flat};
    bool is_shown;

    buf_init(&sheet.name, SIZE_MAX);
    buf_init(&sheet.text, SIZE_MAX);
    is_shown = print_map(&sheet, map, 0);
    buf_done(&sheet.name);
    buf_done(&sheet.text);
    if (sheet.is_starved)
        return tool_say(TOOL_FAILED, "out of memory");
    return is_shown ? TOOL_OK : tool_say(TOOL_FAILED, "the broker's answer is no object");
}
