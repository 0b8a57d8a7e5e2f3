#include "lib/hash.h"

#include <assert.h>
#include <stdlib.h>

enum { HASH_FIRST_CHAINS = 16 };

void hash_done(struct hash *h)
{
    free(h->chains);
    *h = (struct hash){0};
}

static struct hash_node **chain_of(const struct hash *h, uint64_t hash)
{
    return &h->chains[hash & (h->chain_count - 1)];
}

static int hash_resize(struct hash *h, size_t chain_count)
{
    struct hash bigger = {.chain_count = chain_count, .len = h->len};

    bigger.chains = calloc(chain_count, sizeof(struct hash_node *));
    if (bigger.chains == NULL)
        return -1;
    for (size_t i = 0; i < h->chain_count; i++) {
        struct hash_node *node = h->chains[i];

        while (node != NULL) {
            struct hash_node *next = node->next;
            struct hash_node **chain = chain_of(&bigger, node->hash);

            node->next = *chain;
            *chain = node;
            node = next;
        }
    }
    free(h->chains);
    *h = bigger;
    return 0;
}

int hash_insert(struct hash *h, struct hash_node *node, uint64_t hash)
{
    struct hash_node **chain;

    if (h->len >= h->chain_count) {
        size_t wanted = h->chain_count == 0 ? HASH_FIRST_CHAINS : h->chain_count * 2;

        if (hash_resize(h, wanted) < 0 && h->chain_count == 0)
            return -1; /* a table that only cannot grow goes on with longer chains */
    }
    chain = chain_of(h, hash);
    node->hash = hash;
    node->next = *chain;
    *chain = node;
    h->len++;
    return 0;
}

void hash_remove(struct hash *h, struct hash_node *node)
{
    struct hash_node **at = chain_of(h, node->hash);

    while (*at != node) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    h->len--;
}

static struct hash_node *first_with(struct hash_node *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash)
        node = node->next;
    return node;
}

struct hash_node *hash_find(const struct hash *h, uint64_t hash)
{
    if (h->chain_count == 0)
        return NULL;
    return first_with(*chain_of(h, hash), hash);
}

struct hash_node *hash_find_next(const struct hash_node *node)
{
    return first_with(node->next, node->hash);
}

uint64_t hash_of_u64(uint64_t value)
{
    value ^= value >> 33;
    value *= UINT64_C(0xff51afd7ed558ccd);
    value ^= value >> 33;
    value *= UINT64_C(0xc4ceb9fe1a85ec53);
    value ^= value >> 33;
    return value;
}

uint64_t hash_of_span(struct span bytes)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ bytes.data[i]) * UINT64_C(0x100000001b3);
    return hash_of_u64(hash);
}
