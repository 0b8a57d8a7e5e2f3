/*
 * heap.h: an intrusive binary min-heap. The user embeds a struct heap_node and gives its rank as
 * two numbers, the second of which decides between equals. A node that is in no heap has `at` 0.
 * Not thread-safe.
 */
#ifndef LIB_HEAP_H
#define LIB_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"

struct heap_node {
    size_t at; /* index into heap.nodes, plus one */
    uint64_t rank;
    uint64_t order;
};

/* A zeroed struct heap is an empty one. */
struct heap {
    struct heap_node **nodes;
    size_t len;
    size_t cap;
};

void heap_done(struct heap *h);

/* Makes room for so many nodes in all: up to there a heap_insert finds memory. -1 without memory.
 */
int heap_reserve(struct heap *h, size_t count) JM_MUST_CHECK;

/* Puts a node that is in no heap. Returns 0, or -1 without memory (then it was not put). */
int heap_insert(struct heap *h, struct heap_node *node, uint64_t rank,
                uint64_t order) JM_MUST_CHECK;

/* Gives a node of the heap another rank. */
void heap_move(struct heap *h, struct heap_node *node, uint64_t rank, uint64_t order);

/* Takes a node out of the heap; nothing if it is in none. */
void heap_remove(struct heap *h, struct heap_node *node);

/* The node with the least rank, or NULL. */
static inline struct heap_node *heap_first(const struct heap *h)
{
    return h->len > 0 ? h->nodes[0] : NULL;
}

static inline bool heap_has(const struct heap_node *node)
{
    return node->at != 0;
}

#endif
