/*
 * The heap against a plain array: whatever is put, moved and taken out, its first is the least.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/hash.h"
#include "lib/heap.h"

enum { NODES = 200, STEPS = 200000 };

static uint64_t random_state;

static uint64_t pick(uint64_t below)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    return hash_of_u64(random_state) % below;
}

static const struct heap_node *least_of(const struct heap_node *nodes)
{
    const struct heap_node *least = NULL;

    for (size_t i = 0; i < NODES; i++)
        if (heap_has(&nodes[i]) &&
            (least == NULL || nodes[i].rank < least->rank ||
             (nodes[i].rank == least->rank && nodes[i].order < least->order)))
            least = &nodes[i];
    return least;
}

static void check_indexes(const struct heap *h)
{
    for (size_t i = 0; i < h->len; i++)
        assert_int_equal(h->nodes[i]->at, i + 1);
}

static void its_first_is_the_least_whatever_is_done_to_it(void **state)
{
    struct heap_node nodes[NODES] = {{.at = 0}};
    struct heap h = {.len = 0};
    uint64_t order = 0;

    (void)state;
    for (int step = 0; step < STEPS; step++) {
        struct heap_node *node = &nodes[pick(step < STEPS / 2 ? NODES : 20)];

        if (!heap_has(node))
            assert_int_equal(heap_insert(&h, node, pick(10), ++order), 0);
        else if (pick(2) == 0)
            heap_move(&h, node, pick(10), ++order);
        else
            heap_remove(&h, node);
        assert_ptr_equal(heap_first(&h), least_of(nodes));
        if (step % 100 == 0)
            check_indexes(&h);
    }
    heap_done(&h);
}

static void it_gives_out_all_in_order(void **state)
{
    struct heap_node nodes[NODES] = {{.at = 0}};
    struct heap h = {.len = 0};
    uint64_t last_rank = 0, last_order = 0;
    struct heap_node *first;
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < NODES; i++)
        assert_int_equal(heap_insert(&h, &nodes[i], pick(5), pick(1000)), 0);
    for (; (first = heap_first(&h)) != NULL; count++) {
        assert_true(first->rank > last_rank ||
                    (first->rank == last_rank && first->order >= last_order));
        last_rank = first->rank;
        last_order = first->order;
        heap_remove(&h, first);
        assert_false(heap_has(first));
        heap_remove(&h, first); /* once more: it is in none */
    }
    assert_int_equal(count, NODES);
    heap_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_first_is_the_least_whatever_is_done_to_it),
        cmocka_unit_test(it_gives_out_all_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
