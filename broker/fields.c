/*
 * fields.c: one reader function for each type. Where a value stands is kept as a chain of places on
 * the stack, which becomes a dotted name only when something is wrong.
 */
#include "broker/fields.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/mp.h"
#include "lib/rfc3339.h"
#include "schema/errors.h"
#include "schema/limits.h"
#include "schema/name.h"

enum { VALUE_DEPTH = 120 }; /* more than the body was allowed to have */

struct place {
    const struct place *outer; /* NULL: the body itself */
    struct span name;
};

/* ---- what is wrong ---- */

static const char *type_words(enum mp_type type)
{
    static const char *const words[] = {
        [MP_NIL] = "null",        [MP_BOOL] = "a boolean",   [MP_UINT] = "an integer",
        [MP_INT] = "an integer",  [MP_FLOAT] = "a fraction", [MP_STR] = "a string",
        [MP_BIN] = "binary data", [MP_ARRAY] = "an array",   [MP_MAP] = "an object",
        [MP_EXT] = "an extension"};

    return words[type];
}

/* Writes "backoff.base_ms"; what does not fit is cut. */
static void put_path(const struct place *at, char text[FAULT_FIELD_BYTES])
{
    size_t len = 0;

    if (at->outer != NULL) {
        put_path(at->outer, text);
        len = strlen(text);
        if (len > 0 && len < FAULT_FIELD_BYTES - 1)
            text[len++] = '.';
    }
    for (size_t i = 0; i < at->name.len && len < FAULT_FIELD_BYTES - 1; i++)
        text[len++] = (char)at->name.data[i];
    text[len] = '\0';
}

static int bad(const struct place *at, int error, uint64_t limit, struct fault *f, const char *fmt,
               ...) JM_PRINTF(5, 6);

static int bad(const struct place *at, int error, uint64_t limit, struct fault *f, const char *fmt,
               ...)
{
    char path[FAULT_FIELD_BYTES];
    char sentence[FAULT_DETAIL_BYTES];
    va_list args;

    put_path(at, path);
    va_start(args, fmt);
    vsnprintf(sentence, sizeof(sentence), fmt, args);
    va_end(args);
    return fault_set(f, error, span_of_str(path), limit, "%s: %s", path, sentence);
}

static int wrong_type(const struct place *at, const char *wanted, enum mp_type type,
                      struct fault *f)
{
    return bad(at, JM_EFIELD, 0, f, "must be %s, not %s", wanted, type_words(type));
}

/* ---- one value ---- */

static int read_name(const struct place *at, const struct mp_token *token, struct span *ret_name,
                     struct fault *f)
{
    if (token->type != MP_STR)
        return wrong_type(at, "a string", token->type, f);
    if (!name_is_valid(token->bytes, JM_QUEUE_NAME_BYTES))
        return bad(at, JM_EFIELD, JM_QUEUE_NAME_BYTES, f,
                   "must be 1 to %d letters, digits, '_', '-', '.' or ':'", JM_QUEUE_NAME_BYTES);
    *ret_name = token->bytes;
    return 0;
}

static bool has_control_characters(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x20 || text.data[i] == 0x7f)
            return true;
    return false;
}

static int read_text(const struct field *field, const struct place *at,
                     const struct mp_token *token, struct span *ret_text, struct fault *f)
{
    if (token->type != MP_STR)
        return wrong_type(at, "a string", token->type, f);
    if (token->bytes.len < field->min || token->bytes.len > field->max ||
        has_control_characters(token->bytes))
        return bad(at, JM_EFIELD, field->max, f,
                   "must be %" PRIu64 " to %" PRIu64 " bytes without control characters",
                   field->min, field->max);
    *ret_text = token->bytes;
    return 0;
}

static int read_bool(const struct place *at, const struct mp_token *token, bool *ret_value,
                     struct fault *f)
{
    if (token->type != MP_BOOL)
        return wrong_type(at, "a boolean", token->type, f);
    *ret_value = token->boolean;
    return 0;
}

static int read_u64(const struct field *field, const struct place *at, const struct mp_token *token,
                    uint64_t *ret_value, struct fault *f)
{
    if (token->type != MP_UINT && token->type != MP_INT)
        return wrong_type(at, "an integer", token->type, f);
    if (token->type == MP_INT || token->u64 < field->min || token->u64 > field->max)
        return bad(at, JM_EFIELD, field->max, f, "must be from %" PRIu64 " to %" PRIu64, field->min,
                   field->max);
    *ret_value = token->u64;
    return 0;
}

static int read_u32(const struct field *field, const struct place *at, const struct mp_token *token,
                    uint32_t *ret_value, struct fault *f)
{
    uint64_t value;
    int rc = read_u64(field, at, token, &value, f);

    if (rc == 0)
        *ret_value = (uint32_t)value;
    return rc;
}

/* 0.1 has no exact double, so its product with 1000 is near 100 and not 100. */
static int read_milli(const struct field *field, const struct place *at,
                      const struct mp_token *token, uint32_t *ret_milli, struct fault *f)
{
    double number;
    double milli;

    if (token->type != MP_FLOAT && token->type != MP_UINT && token->type != MP_INT)
        return wrong_type(at, "a number", token->type, f);
    number = token->type == MP_FLOAT  ? token->number
             : token->type == MP_UINT ? (double)token->u64
                                      : (double)token->i64;
    milli = round(number * 1000);
    if (!(milli >= (double)field->min && milli <= (double)field->max) ||
        fabs(number * 1000 - milli) > 1e-6)
        return bad(at, JM_EFIELD, field->max / 1000, f,
                   "must be from %g to %g, with at most 3 decimals", (double)field->min / 1000,
                   (double)field->max / 1000);
    *ret_milli = (uint32_t)milli;
    return 0;
}

static int read_time(const struct place *at, const struct mp_token *token, int64_t *ret_ms,
                     struct fault *f)
{
    if (token->type != MP_STR)
        return wrong_type(at, "a time as a string", token->type, f);
    if (!rfc3339_parse(token->bytes, ret_ms))
        return bad(at, JM_EFIELD, 0, f,
                   "must be a time as RFC 3339 has it, like 2027-01-31T09:30:00Z");
    return 0;
}

static int read_word(const struct field *field, const struct place *at,
                     const struct mp_token *token, uint32_t *ret_value, struct fault *f)
{
    char list[128];
    size_t len = 0;
    uint32_t i;

    if (token->type != MP_STR)
        return wrong_type(at, "a string", token->type, f);
    for (i = 0; field->words[i] != NULL && len < sizeof(list); i++) {
        if (span_is_str(token->bytes, field->words[i])) {
            *ret_value = (uint32_t)field->min + i;
            return 0;
        }
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s\"%s\"", i > 0 ? ", " : "",
                                field->words[i]);
    }
    return bad(at, JM_EFIELD, 0, f, "must be one of %s", list);
}

static int read_any(const struct field *field, const struct place *at, struct span value,
                    struct span *ret_value, struct fault *f)
{
    if (value.len > field->max)
        return bad(at, JM_EFIELD, field->max, f,
                   "takes %zu bytes as msgpack, at most %" PRIu64 " are allowed", value.len,
                   field->max);
    *ret_value = value;
    return 0;
}

static int read_strs(const struct field *field, const struct place *at,
                     const struct mp_token *token, struct span value, struct span *ret_value,
                     struct fault *f)
{
    struct mp_cursor c;
    struct span item;
    uint32_t count;

    if (token->type != MP_ARRAY)
        return wrong_type(at, "an array of strings", token->type, f);
    if (token->count < field->min || token->count > field->max)
        return bad(at, JM_EFIELD, field->max, f,
                   "has %u strings, from %" PRIu64 " to %" PRIu64 " are allowed", token->count,
                   field->min, field->max);
    mp_open(&c, value);
    if (!mp_next_array(&c, &count))
        count = 0;
    while (count-- > 0)
        if (!mp_next_str(&c, &item) || item.len == 0 || item.len > field->item_max ||
            has_control_characters(item))
            return bad(at, JM_EFIELD, field->item_max, f,
                       "each must be a string of 1 to %" PRIu64 " bytes without control characters",
                       field->item_max);
    *ret_value = value;
    return 0;
}

/* ---- maps ---- */

static int read_map(const struct field *table, size_t count, const struct place *at,
                    struct span body, void *target, struct span *ret_raw, struct fault *f);

static int read_object(const struct field_object *object, const struct place *at,
                       const struct mp_token *token, struct span value, void *member,
                       struct fault *f)
{
    if (token->type != MP_MAP)
        return wrong_type(at, "an object", token->type, f);
    if (object->preset != NULL)
        memcpy(member, object->preset, object->bytes);
    return read_map(object->fields, object->count, at, value, member, NULL, f);
}

static size_t member_bytes(const struct field *field)
{
    switch (field->type) {
    case FIELD_BOOL:
        return sizeof(bool);
    case FIELD_U32:
    case FIELD_MILLI:
    case FIELD_WORD:
        return sizeof(uint32_t);
    case FIELD_U64:
    case FIELD_TIME:
        return sizeof(uint64_t);
    case FIELD_NAME:
    case FIELD_TEXT:
    case FIELD_ANY:
    case FIELD_STRS:
        return sizeof(struct span);
    case FIELD_OBJECT:
        return field->object->bytes;
    }
    return 0;
}

static int read_typed(const struct field *field, const struct place *at,
                      const struct mp_token *token, struct span value, void *member,
                      struct fault *f)
{
    switch (field->type) {
    case FIELD_NAME:
        return read_name(at, token, member, f);
    case FIELD_TEXT:
        return read_text(field, at, token, member, f);
    case FIELD_BOOL:
        return read_bool(at, token, member, f);
    case FIELD_U32:
        return read_u32(field, at, token, member, f);
    case FIELD_U64:
        return read_u64(field, at, token, member, f);
    case FIELD_MILLI:
        return read_milli(field, at, token, member, f);
    case FIELD_TIME:
        return read_time(at, token, member, f);
    case FIELD_WORD:
        return read_word(field, at, token, member, f);
    case FIELD_ANY:
        return read_any(field, at, value, member, f);
    case FIELD_STRS:
        return read_strs(field, at, token, value, member, f);
    case FIELD_OBJECT:
        return read_object(field->object, at, token, value, member, f);
    }
    return JM_EINTERNAL;
}

static int read_value(const struct field *field, const struct place *at, struct span value,
                      void *member, struct fault *f)
{
    struct mp_cursor c;
    struct mp_token token;

    mp_open(&c, value);
    if (!mp_next(&c, &token))
        return bad(at, JM_EFIELD, 0, f, "has no value");
    if (token.type == MP_NIL && field->need == FIELD_NULLABLE) {
        memset(member, 0, member_bytes(field));
        return 0;
    }
    return read_typed(field, at, &token, value, member, f);
}

static const struct field *find_field(const struct field *table, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++)
        if (span_is_str(name, table[i].name))
            return &table[i];
    return NULL;
}

static int check_required(const struct field *table, size_t count, const struct place *outer,
                          uint32_t seen, struct fault *f)
{
    for (size_t i = 0; i < count; i++) {
        struct place at = {outer, span_of_str(table[i].name)};

        if (table[i].need == FIELD_REQUIRED && !(seen & 1u << i))
            return bad(&at, JM_EMISSING, 0, f, "is required");
    }
    return 0;
}

/* A name that is not known may be of any length and hold anything: it is told once, in the field.
 */
static int refuse_unknown(const struct place *at, struct fault *f)
{
    char path[FAULT_FIELD_BYTES];

    put_path(at, path);
    return fault_set(f, JM_EUNKNOWNFIELD, span_of_str(path), 0, "the field is not known here");
}

static int read_map(const struct field *table, size_t count, const struct place *at,
                    struct span body, void *target, struct span *ret_raw, struct fault *f)
{
    uint32_t seen = 0;
    struct mp_cursor c;
    uint32_t pairs;

    mp_open(&c, body);
    if (!mp_next_map(&c, &pairs))
        return fault_set(f, JM_EFIELD, span_of(NULL, 0), 0, "the body must be an object");
    while (pairs-- > 0) {
        struct place inner = {.outer = at};
        const struct field *field;
        struct span value;
        int rc;

        if (!mp_next_str(&c, &inner.name) || !mp_skip(&c, VALUE_DEPTH, &value))
            return fault_set(f, JM_EFIELD, span_of(NULL, 0), 0, "the body cannot be read");
        field = find_field(table, count, inner.name);
        if (field == NULL)
            return refuse_unknown(&inner, f);
        rc = read_value(field, &inner, value, (char *)target + field->offset, f);
        if (rc != 0)
            return rc;
        seen |= 1u << (field - table);
        if (ret_raw != NULL)
            ret_raw[field - table] = value;
    }
    return check_required(table, count, at, seen, f);
}

int fields_read(const struct field *table, size_t count, struct span body, void *target,
                struct span *ret_raw, struct fault *ret_fault)
{
    assert(count <= FIELDS_LIMIT);
    if (ret_raw != NULL)
        memset(ret_raw, 0, count * sizeof(*ret_raw));
    return read_map(table, count, NULL, body, target, ret_raw, ret_fault);
}
