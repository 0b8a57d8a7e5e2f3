/*
 * Encoding walks the table twice: a map's head says how many pairs follow, so the fields that will
 * be left out must be known first. Decoding looks each key up by its index.
 */
#include "schema/record.h"

#include <assert.h>
#include <msgpack.h>

#include "lib/utf8.h"
#include "schema/name.h"

enum { EMPTY_ARRAY = 0x90 };

static bool is_empty(const struct record_field *field, const void *at)
{
    const struct span *bytes = at;

    switch (field->type) {
    case RECORD_U32:
        return *(const uint32_t *)at == 0;
    case RECORD_U64:
        return *(const uint64_t *)at == 0;
    case RECORD_I64:
        return *(const int64_t *)at == 0;
    case RECORD_BOOL:
        return !*(const bool *)at;
    case RECORD_VALUES:
        return bytes->len == 0 || (bytes->len == 1 && bytes->data[0] == EMPTY_ARRAY);
    case RECORD_NAME:
    case RECORD_TEXT:
    case RECORD_BYTES:
        return bytes->len == 0;
    case RECORD_NONE:
        break;
    }
    return true;
}

/* What the reader would refuse is made good here, so that a task's strange message cannot cost the
 * event that carries it. */
void record_encode_text(struct buf *out, struct span text, size_t max_bytes)
{
    uint8_t clean[RECORD_TEXT_BYTES];
    msgpack_packer pk;

    assert(max_bytes <= sizeof(clean));
    if (text.len > max_bytes || !utf8_is_valid(text))
        text = span_of(clean, utf8_clean(text, max_bytes, clean));
    msgpack_packer_init(&pk, out, buf_write_msgpack);
    msgpack_pack_str_with_body(&pk, text.data, text.len);
}

bool record_next_text(struct mp_cursor *c, size_t max_bytes, struct span *ret_text)
{
    return mp_next_str(c, ret_text) && ret_text->len <= max_bytes && utf8_is_valid(*ret_text);
}

static void pack_value(msgpack_packer *pk, const struct record_field *field, const void *at)
{
    const struct span *bytes = at;

    switch (field->type) {
    case RECORD_U32:
        msgpack_pack_uint32(pk, *(const uint32_t *)at);
        break;
    case RECORD_U64:
        msgpack_pack_uint64(pk, *(const uint64_t *)at);
        break;
    case RECORD_I64:
        msgpack_pack_int64(pk, *(const int64_t *)at);
        break;
    case RECORD_BOOL:
        msgpack_pack_true(pk);
        break;
    case RECORD_NAME:
        msgpack_pack_str_with_body(pk, bytes->data, bytes->len);
        break;
    case RECORD_TEXT:
        record_encode_text(pk->data, *bytes, field->max);
        break;
    case RECORD_BYTES:
        msgpack_pack_bin_with_body(pk, bytes->data, bytes->len);
        break;
    case RECORD_VALUES:
        buf_put_span(pk->data, *bytes);
        break;
    case RECORD_NONE:
        break;
    }
}

void record_encode(struct buf *out, const struct record *record, const void *message)
{
    uint32_t present = 0;
    msgpack_packer pk;

    for (uint32_t key = 1; key < record->count; key++)
        if (!is_empty(&record->fields[key], (const char *)message + record->fields[key].offset))
            present |= 1u << key;
    msgpack_packer_init(&pk, out, buf_write_msgpack);
    msgpack_pack_map(&pk, 1 + (size_t)__builtin_popcount(present));
    msgpack_pack_uint8(&pk, 0);
    msgpack_pack_uint32(&pk, record->version);
    for (uint32_t key = 1; key < record->count; key++) {
        if ((present & 1u << key) == 0)
            continue;
        msgpack_pack_uint32(&pk, key);
        pack_value(&pk, &record->fields[key], (const char *)message + record->fields[key].offset);
    }
}

static bool read_uint(struct mp_cursor *c, const struct record_field *field, void *ret_number)
{
    uint64_t number;

    if (!mp_next_uint(c, field->max, &number))
        return false;
    if (field->type == RECORD_U32)
        *(uint32_t *)ret_number = (uint32_t)number;
    else
        *(uint64_t *)ret_number = number;
    return true;
}

static bool read_int(struct mp_cursor *c, int64_t *ret_number)
{
    struct mp_token t;

    if (!mp_next(c, &t) || (t.type != MP_INT && t.type != MP_UINT))
        return false;
    if (t.type == MP_UINT && t.u64 > INT64_MAX)
        return false;
    *ret_number = t.type == MP_INT ? t.i64 : (int64_t)t.u64;
    return true;
}

/* An empty array becomes an empty span, as if it had been left out. */
static bool read_values(struct mp_cursor *c, const struct record_field *field, struct span *ret)
{
    const uint8_t *first = c->at;
    uint32_t count;

    if (!mp_next_array(c, &count) || count > field->max)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!field->next_item(c))
            return false;
    *ret = span_of(first, count > 0 ? (size_t)(c->at - first) : 0);
    return true;
}

static bool read_value(struct mp_cursor *c, const struct record_field *field, void *ret_value)
{
    struct span *bytes = ret_value;

    switch (field->type) {
    case RECORD_U32:
    case RECORD_U64:
        return read_uint(c, field, ret_value);
    case RECORD_I64:
        return read_int(c, ret_value);
    case RECORD_BOOL:
        return mp_next_bool(c, ret_value);
    case RECORD_NAME:
        return mp_next_str(c, bytes) && name_is_valid(*bytes, field->max);
    case RECORD_TEXT:
        return record_next_text(c, field->max, bytes);
    case RECORD_BYTES:
        return mp_next_bin(c, bytes) && bytes->len <= field->max;
    case RECORD_VALUES:
        return read_values(c, field, bytes);
    case RECORD_NONE:
        break;
    }
    return false;
}

static bool read_field(struct mp_cursor *c, const struct record_field *field, void *at)
{
    return read_value(c, field, at) && (field->need == RECORD_OPTIONAL || !is_empty(field, at));
}

/* Reads the pairs behind the version; `ret_seen` gets a bit for each key. */
static bool read_pairs(struct mp_cursor *c, uint32_t count, const struct record *record,
                       void *message, uint32_t *ret_seen)
{
    uint32_t seen = 0;
    uint64_t key;
    struct span unknown;

    for (uint32_t i = 0; i < count; i++) {
        if (!mp_next_uint(c, UINT32_MAX, &key) || key == 0)
            return false;
        if (key >= record->count || record->fields[key].type == RECORD_NONE) {
            if (!mp_skip(c, RECORD_SKIP_DEPTH, &unknown))
                return false;
            continue;
        }
        if ((seen & 1u << key) != 0)
            return false;
        seen |= 1u << key;
        if (!read_field(c, &record->fields[key], (char *)message + record->fields[key].offset))
            return false;
    }
    *ret_seen = seen;
    return true;
}

bool record_decode(struct span input, const struct record *record, void *message)
{
    struct mp_cursor c;
    uint64_t first_key;
    uint64_t version;
    uint32_t count;
    uint32_t seen;

    mp_open(&c, input);
    if (!mp_next_map(&c, &count) || count == 0 || !mp_next_uint(&c, 0, &first_key) ||
        !mp_next_uint(&c, UINT32_MAX, &version) || version != record->version ||
        !read_pairs(&c, count - 1, record, message, &seen) || !mp_is_at_end(&c))
        return false;
    for (uint32_t key = 1; key < record->count; key++)
        if (record->fields[key].need == RECORD_REQUIRED && (seen & 1u << key) == 0)
            return false;
    return true;
}
