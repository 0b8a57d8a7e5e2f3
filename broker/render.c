#include "broker/render.h"

#include <msgpack.h>
#include <string.h>

#include "lib/rfc3339.h"
#include "schema/id.h"

/* Short texts and small numbers, which nearly all are, have heads of one byte. */
enum { SHORT_STR = 0xa0, SHORT_STR_BYTES = 32, SMALL_NUMBERS = 128 };

static msgpack_packer packer_on(struct buf *out)
{
    msgpack_packer pk;

    msgpack_packer_init(&pk, out, buf_write_msgpack);
    return pk;
}

static void put_long_str(struct buf *out, struct span text)
{
    msgpack_packer pk = packer_on(out);

    msgpack_pack_str(&pk, text.len);
    buf_put_span(out, text);
}

static void put_str(struct buf *out, struct span text)
{
    uint8_t *at;

    if (text.len >= SHORT_STR_BYTES) {
        put_long_str(out, text);
        return;
    }
    at = buf_reserve(out, text.len + 1);
    if (at == NULL)
        return;
    *at = (uint8_t)(SHORT_STR | text.len);
    if (text.len > 0)
        memcpy(at + 1, text.data, text.len);
    buf_advance(out, text.len + 1);
}

void render_open_map(struct render_map *m, struct buf *out)
{
    *m = (struct render_map){.out = out, .at = out->len};
    buf_put(out, "\xde\0\0", 3);
}

void render_close_map(struct render_map *m)
{
    if (buf_has_failed(m->out))
        return;
    m->out->data[m->at + 1] = (uint8_t)(m->count >> 8);
    m->out->data[m->at + 2] = (uint8_t)m->count;
}

void render_key(struct render_map *m, const char *key)
{
    m->count++;
    put_str(m->out, span_of_str(key));
}

void render_str(struct render_map *m, const char *key, struct span text)
{
    render_key(m, key);
    put_str(m->out, text);
}

void render_word(struct render_map *m, const char *key, const char *text)
{
    render_str(m, key, span_of_str(text));
}

void render_u64(struct render_map *m, const char *key, uint64_t value)
{
    msgpack_packer pk = packer_on(m->out);

    render_key(m, key);
    if (value < SMALL_NUMBERS)
        buf_put_u8(m->out, (uint8_t)value);
    else
        msgpack_pack_uint64(&pk, value);
}

void render_i64(struct render_map *m, const char *key, int64_t value)
{
    msgpack_packer pk = packer_on(m->out);

    render_key(m, key);
    msgpack_pack_int64(&pk, value);
}

void render_double(struct render_map *m, const char *key, double value)
{
    msgpack_packer pk = packer_on(m->out);

    render_key(m, key);
    msgpack_pack_double(&pk, value);
}

void render_bool(struct render_map *m, const char *key, bool value)
{
    render_key(m, key);
    buf_put_u8(m->out, value ? 0xc3 : 0xc2);
}

void render_nil(struct render_map *m, const char *key)
{
    render_key(m, key);
    buf_put_u8(m->out, 0xc0);
}

void render_time(struct render_map *m, const char *key, int64_t wall_ms)
{
    char text[RFC3339_BYTES];

    rfc3339_format(wall_ms, text);
    render_word(m, key, text);
}

void render_id(struct render_map *m, const char *key, uint64_t job_id)
{
    char text[ID_TEXT_BYTES];

    id_format(job_id, text);
    render_word(m, key, text);
}

void render_value(struct render_map *m, const char *key, struct span msgpack)
{
    render_key(m, key);
    buf_put_span(m->out, msgpack);
}

void render_open_array(struct render_array *a, struct buf *out)
{
    *a = (struct render_array){.out = out, .at = out->len};
    buf_put(out, "\xdd\0\0\0\0", 5);
}

void render_close_array(struct render_array *a)
{
    if (buf_has_failed(a->out))
        return;
    for (int i = 0; i < 4; i++)
        a->out->data[a->at + 1 + (size_t)i] = (uint8_t)(a->count >> (24 - 8 * i));
}

void render_item(struct render_array *a)
{
    a->count++;
}

void render_item_str(struct render_array *a, struct span text)
{
    render_item(a);
    put_str(a->out, text);
}
