#include <assert.h>
#include <string.h>

#include "client/tool/field.h"
#include "client/tool/table.h"
#include "client/tool/tool.h"
#include "lib/json.h"

struct span field_of_value(const struct jobmill_value *value)
{
    size_t len;
    const void *bytes = jobmill_value_msgpack(value, &len);

    return span_of(bytes, len);
}

bool field_open_map(struct span map, struct mp_cursor *ret_cursor, uint32_t *ret_count)
{
    mp_open(ret_cursor, map);
    return mp_next_map(ret_cursor, ret_count);
}

bool field_next(struct mp_cursor *c, struct span *ret_name, struct span *ret_value)
{
    return mp_next_str(c, ret_name) && mp_skip(c, FIELD_DEPTH, ret_value);
}

bool field_find_path(struct span map, const char *path, struct span *ret_value)
{
    char name[64];

    for (;;) {
        size_t len = strcspn(path, ".");

        assert(len < sizeof(name));
        memcpy(name, path, len);
        name[len] = '\0';
        if (!field_find(map, name, &map))
            return false;
        if (path[len] == '\0')
            break;
        path += len + 1;
    }
    *ret_value = map;
    return true;
}

bool field_find(struct span map, const char *name, struct span *ret_value)
{
    struct mp_cursor c;
    struct span key, value;
    uint32_t count;

    if (!field_open_map(map, &c, &count))
        return false;
    while (count-- > 0 && field_next(&c, &key, &value)) {
        if (!span_is_str(key, name))
            continue;
        *ret_value = value;
        return true;
    }
    return false;
}

static void put_list(struct buf *out, struct mp_cursor *c, uint32_t count)
{
    struct span text;

    for (uint32_t i = 0; i < count; i++) {
        if (!mp_next_str(c, &text)) {
            buf_printf(out, "%u", count);
            return;
        }
        if (i > 0)
            buf_put_u8(out, ',');
        table_put_clean(out, text);
    }
    if (count == 0)
        buf_put_u8(out, '-');
}

static void put_json(struct buf *out, struct span value)
{
    enum json_problem problem;
    struct buf json;

    buf_init(&json, SIZE_MAX);
    problem = json_from_msgpack(value, &json, NULL);
    buf_put_u8(&json, 0);
    if (problem == JSON_MEMORY || buf_has_failed(&json))
        buf_mark_starved(out);
    else if (problem == JSON_OK)
        tool_put_json(out, (const char *)json.data);
    else
        buf_put_u8(out, '?');
    buf_done(&json);
}

void field_put(struct buf *out, struct span value)
{
    struct mp_cursor c;
    struct mp_token token;

    mp_open(&c, value);
    if (!mp_next(&c, &token))
        return;
    if (token.type == MP_NIL)
        buf_put_u8(out, '-');
    else if (token.type == MP_STR)
        table_put_clean(out, token.bytes);
    else if (token.type == MP_ARRAY)
        put_list(out, &c, token.count);
    else
        put_json(out, value);
}
