/*
 * index.c: chains of positions. A new one goes to the front of its chain, so the last of all is
 * always at the front of its own, and can be taken off again.
 */
#include "tests/sim/index.h"

#include <assert.h>
#include <stdlib.h>

#include "lib/hash.h"

enum { FIRST_ROOM = 64 };

void sim_index_done(struct sim_index *x)
{
    free(x->entries);
    free(x->chains);
    *x = (struct sim_index){.count = 0};
}

static size_t *chain_of(const struct sim_index *x, uint64_t key)
{
    return &x->chains[hash_of_u64(key) & (x->room - 1)];
}

static void chain(struct sim_index *x, size_t at)
{
    size_t *newest = chain_of(x, x->entries[at].key);

    x->entries[at].next = *newest;
    *newest = at;
}

static void grow(struct sim_index *x)
{
    x->room = x->room > 0 ? x->room * 2 : FIRST_ROOM;
    x->entries = realloc(x->entries, x->room * sizeof(*x->entries));
    x->chains = realloc(x->chains, x->room * sizeof(*x->chains));
    assert(x->entries != NULL && x->chains != NULL);
    for (size_t i = 0; i < x->room; i++)
        x->chains[i] = SIM_INDEX_NONE;
    for (size_t i = 0; i < x->count; i++)
        chain(x, i);
}

void sim_index_add(struct sim_index *x, uint64_t key)
{
    if (x->count == x->room)
        grow(x);
    x->entries[x->count].key = key;
    chain(x, x->count++);
}

void sim_index_cut(struct sim_index *x, size_t count)
{
    assert(count <= x->count);
    while (x->count > count) {
        const struct sim_index_entry *last = &x->entries[--x->count];

        *chain_of(x, last->key) = last->next;
    }
}

static size_t first_of(const struct sim_index *x, uint64_t key, size_t at)
{
    while (at != SIM_INDEX_NONE && x->entries[at].key != key)
        at = x->entries[at].next;
    return at;
}

size_t sim_index_find(const struct sim_index *x, uint64_t key)
{
    return x->room > 0 ? first_of(x, key, *chain_of(x, key)) : SIM_INDEX_NONE;
}

size_t sim_index_find_older(const struct sim_index *x, size_t at)
{
    return first_of(x, x->entries[at].key, x->entries[at].next);
}
