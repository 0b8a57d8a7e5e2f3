#include <assert.h>
#include <string.h>
#include <msgpack/pack.h>

#include "client/map.h"

enum { FIXMAP = 0x80 }; /* with the count in its low bits */

static msgpack_packer packer(const struct map *map)
{
    msgpack_packer pk;

    msgpack_packer_init(&pk, map->out, buf_write_msgpack);
    return pk;
}

static void put_text(struct map *map, const char *text)
{
    msgpack_packer pk = packer(map);
    size_t len = strlen(text);

    msgpack_pack_str(&pk, len);
    msgpack_pack_str_body(&pk, text, len);
}

void map_open(struct map *map, struct buf *out)
{
    *map = (struct map){.out = out, .head = out->len};
    buf_put_u8(out, FIXMAP);
}

void map_close(struct map *map)
{
    assert(map->count <= MAP_MEMBERS);
    if (!buf_has_failed(map->out))
        map->out->data[map->head] = (uint8_t)(FIXMAP | map->count);
}

void map_name(struct map *map, const char *name)
{
    map->count++;
    put_text(map, name);
}

void map_text(struct map *map, const char *name, const char *text)
{
    if (text == NULL)
        return;
    map_name(map, name);
    put_text(map, text);
}

void map_number(struct map *map, const char *name, int64_t number)
{
    msgpack_packer pk = packer(map);

    map_name(map, name);
    msgpack_pack_int64(&pk, number);
}

void map_real(struct map *map, const char *name, double number)
{
    msgpack_packer pk = packer(map);

    map_name(map, name);
    msgpack_pack_double(&pk, number);
}

void map_bool(struct map *map, const char *name, int is_true)
{
    msgpack_packer pk = packer(map);

    map_name(map, name);
    if (is_true)
        msgpack_pack_true(&pk);
    else
        msgpack_pack_false(&pk);
}

void map_null(struct map *map, const char *name)
{
    msgpack_packer pk = packer(map);

    map_name(map, name);
    msgpack_pack_nil(&pk);
}

void map_texts(struct map *map, const char *name, const char *const *texts, size_t count)
{
    msgpack_packer pk = packer(map);

    map_name(map, name);
    msgpack_pack_array(&pk, count);
    for (size_t i = 0; i < count; i++)
        put_text(map, texts[i]);
}

void map_time(struct map *map, const char *name, int64_t ms)
{
    if (ms != 0)
        map_number(map, name, ms > 0 ? ms : 0);
}

void map_limit(struct map *map, const char *name, int64_t number)
{
    if (number > 0)
        map_number(map, name, number);
    else if (number < 0)
        map_null(map, name);
}

void map_text_or_null(struct map *map, const char *name, const char *text)
{
    if (text != NULL && *text == '\0')
        map_null(map, name);
    else
        map_text(map, name, text);
}

void map_backoff(struct map *map, const char *name, const struct jobmill_backoff *backoff)
{
    struct map inner;

    if (backoff == NULL)
        return;
    if (backoff->kind != NULL && *backoff->kind == '\0') {
        map_null(map, name);
        return;
    }
    map_name(map, name);
    map_open(&inner, map->out);
    map_text(&inner, "kind", backoff->kind);
    map_time(&inner, "base_ms", backoff->base_ms);
    if (backoff->factor > 0)
        map_real(&inner, "factor", backoff->factor);
    map_time(&inner, "ceiling_ms", backoff->ceiling_ms);
    if (backoff->jitter > 0 || backoff->jitter < 0)
        map_real(&inner, "jitter", backoff->jitter > 0 ? backoff->jitter : 0);
    map_close(&inner);
}
