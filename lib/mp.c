/*
 * How it works: the first byte of a value tells everything about its head. Bytes below 0xc0 and
 * from 0xe0 on carry a small value or count in themselves; the 32 between are looked up in `rows`,
 * which says what follows: how many bytes of a big-endian number or length, or a fixed payload.
 * Outputs are written field by field, and only the cursor's position is saved and put back: a copy
 * of a whole small struct right after a store to a part of it waits for that store to finish, which
 * took longer than all the rest.
 */
#include "lib/mp.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

struct row {
    uint8_t type;    /* enum mp_type, or NO_TYPE */
    uint8_t width;   /* bytes of the number or length behind the first byte */
    uint8_t payload; /* fixext: bytes behind the type byte */
    bool is_signed;
};

enum { FIRST_ROW = 0xc0, LAST_ROW = 0xdf, TRUE_BYTE = 0xc3, NO_TYPE = 0xff };

static const struct row rows[LAST_ROW - FIRST_ROW + 1] = {
    [0x00] = {MP_NIL, 0, 0, false},   [0x01] = {NO_TYPE, 0, 0, false},
    [0x02] = {MP_BOOL, 0, 0, false},  [0x03] = {MP_BOOL, 0, 0, false},
    [0x04] = {MP_BIN, 1, 0, false},   [0x05] = {MP_BIN, 2, 0, false},
    [0x06] = {MP_BIN, 4, 0, false},   [0x07] = {MP_EXT, 1, 0, false},
    [0x08] = {MP_EXT, 2, 0, false},   [0x09] = {MP_EXT, 4, 0, false},
    [0x0a] = {MP_FLOAT, 4, 0, false}, [0x0b] = {MP_FLOAT, 8, 0, false},
    [0x0c] = {MP_UINT, 1, 0, false},  [0x0d] = {MP_UINT, 2, 0, false},
    [0x0e] = {MP_UINT, 4, 0, false},  [0x0f] = {MP_UINT, 8, 0, false},
    [0x10] = {MP_INT, 1, 0, true},    [0x11] = {MP_INT, 2, 0, true},
    [0x12] = {MP_INT, 4, 0, true},    [0x13] = {MP_INT, 8, 0, true},
    [0x14] = {MP_EXT, 0, 1, false},   [0x15] = {MP_EXT, 0, 2, false},
    [0x16] = {MP_EXT, 0, 4, false},   [0x17] = {MP_EXT, 0, 8, false},
    [0x18] = {MP_EXT, 0, 16, false},  [0x19] = {MP_STR, 1, 0, false},
    [0x1a] = {MP_STR, 2, 0, false},   [0x1b] = {MP_STR, 4, 0, false},
    [0x1c] = {MP_ARRAY, 2, 0, false}, [0x1d] = {MP_ARRAY, 4, 0, false},
    [0x1e] = {MP_MAP, 2, 0, false},   [0x1f] = {MP_MAP, 4, 0, false},
};

void mp_open(struct mp_cursor *c, struct span input)
{
    *c = (struct mp_cursor){.at = input.data, .end = input.data};
    if (input.len > 0)
        c->end += input.len;
}

bool mp_is_at_end(const struct mp_cursor *c)
{
    return c->at == c->end;
}

static uint64_t read_number(const uint8_t *at, unsigned width)
{
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    switch (width) {
    case 1:
        return *at;
    case 2:
        memcpy(&u16, at, sizeof(u16));
        return be16toh(u16);
    case 4:
        memcpy(&u32, at, sizeof(u32));
        return be32toh(u32);
    case 8:
        memcpy(&u64, at, sizeof(u64));
        return be64toh(u64);
    default:
        return 0;
    }
}

static int64_t sign_extend(uint64_t number, unsigned width)
{
    switch (width) {
    case 1:
        return (int8_t)number;
    case 2:
        return (int16_t)number;
    case 4:
        return (int32_t)number;
    default:
        return (int64_t)number;
    }
}

static double read_float(uint64_t bits, unsigned width)
{
    uint32_t low = (uint32_t)bits;
    float single;
    double number;

    if (width == sizeof(single)) {
        memcpy(&single, &low, sizeof(single));
        return (double)single;
    }
    memcpy(&number, &bits, sizeof(number));
    return number;
}

/* The `len` bytes at `at`, and an ext's type byte before them. */
static bool read_bytes(struct mp_cursor *c, const uint8_t *at, uint64_t len, enum mp_type type,
                       struct mp_token *ret_token)
{
    int8_t ext_type = 0;

    if (type == MP_EXT) {
        if (at == c->end)
            return false;
        ext_type = (int8_t)*at++;
    }
    if (len > (size_t)(c->end - at))
        return false;
    ret_token->type = type;
    ret_token->bytes = span_of(at, (size_t)len);
    ret_token->ext_type = ext_type;
    c->at = at + len;
    return true;
}

static void set_integer(struct mp_token *ret_token, const struct row *row, uint64_t number)
{
    int64_t value = row->is_signed ? sign_extend(number, row->width) : 0;

    ret_token->type = value < 0 ? MP_INT : MP_UINT;
    if (value < 0)
        ret_token->i64 = value;
    else
        ret_token->u64 = number;
}

/* A value whose first byte has a row. */
static bool next_in_row(struct mp_cursor *c, struct mp_token *ret_token)
{
    const struct row *row = &rows[*c->at - FIRST_ROW];
    const uint8_t *at = c->at + 1;
    enum mp_type type = (enum mp_type)row->type;
    uint64_t number;

    if (row->type == NO_TYPE || row->width > (size_t)(c->end - at))
        return false;
    number = read_number(at, row->width);
    at += row->width;
    if (type == MP_STR || type == MP_BIN || type == MP_EXT)
        return read_bytes(c, at, number + row->payload, type, ret_token);
    ret_token->type = type;
    if (type == MP_UINT || type == MP_INT)
        set_integer(ret_token, row, number);
    else if (type == MP_FLOAT)
        ret_token->number = read_float(number, row->width);
    else if (type == MP_BOOL)
        ret_token->boolean = *c->at == TRUE_BYTE;
    else
        ret_token->count = (uint32_t)number;
    c->at = at;
    return true;
}

/* A value whose first byte holds a small number, length or count. */
static bool next_small(struct mp_cursor *c, uint8_t first, struct mp_token *ret_token)
{
    if (first >= 0xa0 && first <= 0xbf)
        return read_bytes(c, c->at + 1, first & 0x1f, MP_STR, ret_token);
    if (first < 0x80) {
        ret_token->type = MP_UINT;
        ret_token->u64 = first;
    } else if (first < 0xa0) {
        ret_token->type = first < 0x90 ? MP_MAP : MP_ARRAY;
        ret_token->count = first & 0x0f;
    } else {
        ret_token->type = MP_INT;
        ret_token->i64 = (int8_t)first;
    }
    c->at++;
    return true;
}

bool mp_next(struct mp_cursor *c, struct mp_token *ret_token)
{
    uint8_t first;

    if (c->at == c->end)
        return false;
    first = *c->at;
    return first >= FIRST_ROW && first <= LAST_ROW ? next_in_row(c, ret_token)
                                                   : next_small(c, first, ret_token);
}

/* `left[d]` counts the values still to come in the container that is open at depth d. */
bool mp_skip(struct mp_cursor *c, unsigned max_depth, struct span *ret_value)
{
    uint64_t left[MP_DEPTH_LIMIT];
    struct mp_cursor walk = *c;
    struct mp_token t;
    unsigned depth = 0;

    assert(max_depth <= MP_DEPTH_LIMIT);
    do {
        if (!mp_next(&walk, &t))
            return false;
        if (depth > 0)
            left[depth - 1]--;
        if (t.type == MP_ARRAY || t.type == MP_MAP) {
            if (depth == max_depth)
                return false;
            left[depth++] = t.type == MP_MAP ? 2 * (uint64_t)t.count : t.count;
        }
        while (depth > 0 && left[depth - 1] == 0)
            depth--;
    } while (depth > 0);
    *ret_value = span_of(c->at, (size_t)(walk.at - c->at));
    c->at = walk.at;
    return true;
}

/* Reads a token of that type, or leaves the cursor where it is. */
static bool next_of(struct mp_cursor *c, enum mp_type type, struct mp_token *ret_token)
{
    const uint8_t *before = c->at;

    if (mp_next(c, ret_token) && ret_token->type == type)
        return true;
    c->at = before;
    return false;
}

bool mp_next_uint(struct mp_cursor *c, uint64_t max, uint64_t *ret_value)
{
    const uint8_t *before = c->at;
    struct mp_token t;

    if (next_of(c, MP_UINT, &t) && t.u64 <= max) {
        *ret_value = t.u64;
        return true;
    }
    c->at = before;
    return false;
}

bool mp_next_bool(struct mp_cursor *c, bool *ret_value)
{
    struct mp_token t;

    if (!next_of(c, MP_BOOL, &t))
        return false;
    *ret_value = t.boolean;
    return true;
}

bool mp_next_str(struct mp_cursor *c, struct span *ret_text)
{
    struct mp_token t;

    if (!next_of(c, MP_STR, &t))
        return false;
    *ret_text = t.bytes;
    return true;
}

bool mp_next_bin(struct mp_cursor *c, struct span *ret_bytes)
{
    struct mp_token t;

    if (!next_of(c, MP_BIN, &t))
        return false;
    *ret_bytes = t.bytes;
    return true;
}

bool mp_next_array(struct mp_cursor *c, uint32_t *ret_count)
{
    struct mp_token t;

    if (!next_of(c, MP_ARRAY, &t))
        return false;
    *ret_count = t.count;
    return true;
}

bool mp_next_map(struct mp_cursor *c, uint32_t *ret_count)
{
    struct mp_token t;

    if (!next_of(c, MP_MAP, &t))
        return false;
    *ret_count = t.count;
    return true;
}
