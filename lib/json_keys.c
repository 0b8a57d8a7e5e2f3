/*
 * Few names are compared pair by pair, by their hashes first. Many go into a hash table on the
 * stack (open addressing, at most half full), so that an object of a thousand members costs a
 * thousand steps. The hash starts from an address, which differs between runs, so that nobody can
 * prepare names that collide; the answer does not depend on it.
 */
#include "lib/json_keys.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { FEW = 12 };

static uint32_t hash_of(uint64_t seed, struct span name)
{
    const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t h = seed ^ name.len * odd;
    size_t at = 0;
    uint64_t chunk;

    for (; name.len - at >= sizeof(chunk); at += sizeof(chunk)) {
        memcpy(&chunk, name.data + at, sizeof(chunk));
        h = (h ^ chunk) * odd;
        h ^= h >> 29;
    }
    for (chunk = 0; at < name.len; at++)
        chunk = chunk << 8 | name.data[at];
    h = (h ^ chunk) * odd;
    h = (h ^ h >> 32) * odd;
    return (uint32_t)(h >> 32);
}

void json_keys_init(struct json_keys *keys)
{
    keys->all = keys->first;
    keys->count = 0;
    keys->cap = JM_COUNT_OF(keys->first);
    keys->seed = (uint64_t)(uintptr_t)keys * UINT64_C(0xd6e8feb86659fd93);
}

void json_keys_done(struct json_keys *keys)
{
    if (keys->all != keys->first)
        free(keys->all);
}

static bool grow(struct json_keys *keys)
{
    size_t cap = keys->cap * 4;
    struct json_key *all = malloc(cap * sizeof(*all));

    if (all == NULL)
        return false;
    memcpy(all, keys->all, keys->count * sizeof(*all));
    json_keys_done(keys);
    keys->all = all;
    keys->cap = cap;
    return true;
}

bool json_keys_add(struct json_keys *keys, struct span name, size_t at, size_t offset)
{
    assert(at <= UINT32_MAX && name.len <= UINT32_MAX && offset <= UINT32_MAX);
    if (keys->count == keys->cap && !grow(keys))
        return false;
    keys->all[keys->count++] = (struct json_key){.at = (uint32_t)at,
                                                 .len = (uint32_t)name.len,
                                                 .hash = hash_of(keys->seed, name),
                                                 .offset = (uint32_t)offset};
    return true;
}

static bool is_equal(const struct json_key *a, const struct json_key *b, const uint8_t *bytes)
{
    return a->hash == b->hash &&
           span_is_equal(span_of(bytes + a->at, a->len), span_of(bytes + b->at, b->len));
}

static const struct json_key *find_among_few(const struct json_key *own, size_t count,
                                             const uint8_t *bytes)
{
    for (size_t i = 1; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (is_equal(&own[i], &own[j], bytes))
                return &own[i];
    return NULL;
}

/* A slot holds an index plus one. */
static const struct json_key *find_among_many(const struct json_key *own, size_t count,
                                              const uint8_t *bytes)
{
    uint16_t slots[2 * JSON_MEMBERS_LIMIT];
    size_t size = 32;

    assert(count <= JSON_MEMBERS_LIMIT);
    while (size < 2 * count)
        size *= 2;
    memset(slots, 0, size * sizeof(slots[0]));
    for (size_t i = 0; i < count; i++) {
        size_t slot = own[i].hash & (size - 1);

        for (; slots[slot] != 0; slot = (slot + 1) & (size - 1))
            if (is_equal(&own[i], &own[slots[slot] - 1], bytes))
                return &own[i];
        slots[slot] = (uint16_t)(i + 1);
    }
    return NULL;
}

bool json_keys_close(struct json_keys *keys, size_t first, const uint8_t *bytes, size_t *ret_offset)
{
    const struct json_key *own = keys->all + first;
    size_t count = keys->count - first;
    const struct json_key *twice;

    keys->count = first;
    if (count <= FEW)
        twice = find_among_few(own, count, bytes);
    else
        twice = find_among_many(own, count, bytes);
    if (twice == NULL)
        return true;
    *ret_offset = twice->offset;
    return false;
}
