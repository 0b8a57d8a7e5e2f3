#include "lib/heap.h"

#include <stdlib.h>

enum { FIRST_CAP = 8 };

static bool is_before(const struct heap_node *a, const struct heap_node *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->order < b->order;
}

static void set(struct heap *h, size_t i, struct heap_node *node)
{
    h->nodes[i] = node;
    node->at = i + 1;
}

static void rise(struct heap *h, size_t i)
{
    struct heap_node *node = h->nodes[i];

    while (i > 0 && is_before(node, h->nodes[(i - 1) / 2])) {
        set(h, i, h->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    set(h, i, node);
}

static void sink(struct heap *h, size_t i)
{
    struct heap_node *node = h->nodes[i];

    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < h->len && is_before(h->nodes[child + 1], h->nodes[child]))
            child++;
        if (child >= h->len || !is_before(h->nodes[child], node))
            break;
        set(h, i, h->nodes[child]);
        i = child;
    }
    set(h, i, node);
}

int heap_reserve(struct heap *h, size_t count)
{
    size_t cap = h->cap > 0 ? h->cap : FIRST_CAP;
    struct heap_node **nodes;

    if (count <= h->cap)
        return 0;
    while (cap < count)
        cap *= 2;
    nodes = realloc(h->nodes, cap * sizeof(struct heap_node *));
    if (nodes == NULL)
        return -1;
    h->nodes = nodes;
    h->cap = cap;
    return 0;
}

void heap_done(struct heap *h)
{
    free(h->nodes);
    *h = (struct heap){0};
}

int heap_insert(struct heap *h, struct heap_node *node, uint64_t rank, uint64_t order)
{
    if (heap_reserve(h, h->len + 1) != 0)
        return -1;
    node->rank = rank;
    node->order = order;
    set(h, h->len++, node);
    rise(h, h->len - 1);
    return 0;
}

void heap_move(struct heap *h, struct heap_node *node, uint64_t rank, uint64_t order)
{
    node->rank = rank;
    node->order = order;
    rise(h, node->at - 1);
    sink(h, node->at - 1);
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    size_t i = node->at - 1;

    if (node->at == 0)
        return;
    node->at = 0;
    h->len--;
    if (i == h->len)
        return;
    set(h, i, h->nodes[h->len]);
    rise(h, i);
    sink(h, h->nodes[i]->at - 1);
}
