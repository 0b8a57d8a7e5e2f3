/*
 * hash.h: an intrusive hash table with chains. The user embeds a struct hash_node, computes the
 * hash, and compares keys itself while it walks a chain. Grows by doubling; not thread-safe.
 */
#ifndef LIB_HASH_H
#define LIB_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/span.h"

struct hash_node {
    struct hash_node *next;
    uint64_t hash;
};

struct hash {
    struct hash_node **chains; /* NULL until the first insert */
    size_t chain_count;        /* a power of two, or 0 */
    size_t len;
};

/* A zeroed struct hash is an empty one. */
void hash_done(struct hash *h);

/* Returns 0, or -1 without memory (then nothing was inserted). Does not look for an equal key. */
int hash_insert(struct hash *h, struct hash_node *node, uint64_t hash) JM_MUST_CHECK;
void hash_remove(struct hash *h, struct hash_node *node);

/* First node with this hash, and the next one behind `node` with the same; or NULL. */
struct hash_node *hash_find(const struct hash *h, uint64_t hash);
struct hash_node *hash_find_next(const struct hash_node *node);

/* A good mix of all bits of a number (the finalizer of MurmurHash3) and of some bytes (FNV-1a, then
 * that mix). Not for keys that an adversary chooses without limit. */
uint64_t hash_of_u64(uint64_t value);
uint64_t hash_of_span(struct span bytes);

#endif
