#include "broker/fields.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "broker/queues.h"
#include "lib/mp.h"
#include "schema/errors.h"
#include "schema/limits.h"
#include "schema/name.h"

enum { VALUE_DEPTH = 120 }; /* more than the body was allowed to have */

static const char *type_words(enum mp_type type)
{
    static const char *const words[] = {
        [MP_NIL] = "null",        [MP_BOOL] = "a boolean",   [MP_UINT] = "an integer",
        [MP_INT] = "an integer",  [MP_FLOAT] = "a fraction", [MP_STR] = "a string",
        [MP_BIN] = "binary data", [MP_ARRAY] = "an array",   [MP_MAP] = "an object",
        [MP_EXT] = "an extension"};

    return words[type];
}

static struct span name_of(const struct field *field)
{
    return span_of_str(field->name);
}

static int wrong_type(const struct field *field, const char *wanted, enum mp_type type,
                      struct fault *f)
{
    return fault_set(f, JM_EFIELD, name_of(field), 0, "%s: must be %s, not %s", field->name, wanted,
                     type_words(type));
}

static int read_name(const struct field *field, const struct mp_token *token, struct span *ret_name,
                     struct fault *f)
{
    if (token->type != MP_STR)
        return wrong_type(field, "a string", token->type, f);
    if (!name_is_valid(token->bytes, JM_QUEUE_NAME_BYTES))
        return fault_set(f, JM_EFIELD, name_of(field), JM_QUEUE_NAME_BYTES,
                         "%s: must be 1 to %d letters, digits, '_', '-', '.' or ':'", field->name,
                         JM_QUEUE_NAME_BYTES);
    *ret_name = token->bytes;
    return 0;
}

static int read_u64(const struct field *field, const struct mp_token *token, uint64_t *ret_value,
                    struct fault *f)
{
    if (token->type != MP_UINT && token->type != MP_INT)
        return wrong_type(field, "an integer", token->type, f);
    if (token->type == MP_INT || token->u64 < field->min || token->u64 > field->max)
        return fault_set(f, JM_EFIELD, name_of(field), field->max,
                         "%s: must be from %" PRIu64 " to %" PRIu64, field->name, field->min,
                         field->max);
    *ret_value = token->u64;
    return 0;
}

static int read_any(const struct field *field, struct span value, struct span *ret_value,
                    struct fault *f)
{
    if (value.len > field->max)
        return fault_set(f, JM_EFIELD, name_of(field), field->max,
                         "%s: takes %zu bytes as msgpack, at most %" PRIu64 " are allowed",
                         field->name, value.len, field->max);
    *ret_value = value;
    return 0;
}

static bool has_control_characters(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x20 || text.data[i] == 0x7f)
            return true;
    return false;
}

static int read_strs(const struct field *field, const struct mp_token *token, struct span value,
                     struct span *ret_value, struct fault *f)
{
    struct mp_cursor c;
    struct span item;
    uint32_t count;

    if (token->type != MP_ARRAY)
        return wrong_type(field, "an array of strings", token->type, f);
    if (token->count > field->max)
        return fault_set(f, JM_EFIELD, name_of(field), field->max,
                         "%s: has %u strings, at most %" PRIu64 " are allowed", field->name,
                         token->count, field->max);
    mp_open(&c, value);
    if (!mp_next_array(&c, &count))
        count = 0;
    while (count-- > 0)
        if (!mp_next_str(&c, &item) || item.len == 0 || item.len > field->item_max ||
            has_control_characters(item))
            return fault_set(f, JM_EFIELD, name_of(field), field->item_max,
                             "%s: each must be a string of 1 to %" PRIu64
                             " bytes without control characters",
                             field->name, field->item_max);
    *ret_value = value;
    return 0;
}

static int read_value(const struct field *field, struct span value, void *member, struct fault *f)
{
    struct mp_cursor c;
    struct mp_token token;

    mp_open(&c, value);
    if (!mp_next(&c, &token))
        return fault_set(f, JM_EFIELD, name_of(field), 0, "%s: has no value", field->name);
    switch (field->type) {
    case FIELD_NAME:
        return read_name(field, &token, member, f);
    case FIELD_U64:
        return read_u64(field, &token, member, f);
    case FIELD_ANY:
        return read_any(field, value, member, f);
    case FIELD_STRS:
        return read_strs(field, &token, value, member, f);
    }
    return JM_EINTERNAL;
}

static const struct field *find_field(const struct field *table, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++)
        if (span_is_str(name, table[i].name))
            return &table[i];
    return NULL;
}

static int check_required(const struct field *table, size_t count, uint32_t seen, struct fault *f)
{
    for (size_t i = 0; i < count; i++)
        if (table[i].is_required && !(seen & 1u << i))
            return fault_set(f, JM_EMISSING, name_of(&table[i]), 0, "%s: is required",
                             table[i].name);
    return 0;
}

int fields_read(const struct field *table, size_t count, struct span body, void *target,
                struct span *ret_raw, struct fault *ret_fault)
{
    static const struct span no_name;
    uint32_t seen = 0;
    struct mp_cursor c;
    uint32_t pairs;

    assert(count <= FIELDS_LIMIT);
    if (ret_raw != NULL)
        memset(ret_raw, 0, count * sizeof(*ret_raw));
    mp_open(&c, body);
    if (!mp_next_map(&c, &pairs))
        return fault_set(ret_fault, JM_EFIELD, no_name, 0, "the body must be an object");
    while (pairs-- > 0) {
        const struct field *field;
        struct span name;
        struct span value;
        int rc;

        if (!mp_next_str(&c, &name) || !mp_skip(&c, VALUE_DEPTH, &value))
            return fault_set(ret_fault, JM_EFIELD, no_name, 0, "the body cannot be read");
        field = find_field(table, count, name);
        if (field == NULL)
            return fault_set(ret_fault, JM_EUNKNOWNFIELD, name, 0, "the field is not known here");
        rc = read_value(field, value, (char *)target + field->offset, ret_fault);
        if (rc != 0)
            return rc;
        seen |= 1u << (field - table);
        if (ret_raw != NULL)
            ret_raw[field - table] = value;
    }
    return check_required(table, count, seen, ret_fault);
}
