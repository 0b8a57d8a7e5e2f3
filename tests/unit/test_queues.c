#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "lib/hash.h"
#include "broker/queues.h"
#include "schema/limits.h"

struct entry {
    struct hash_node node;
    uint64_t key;
};

static struct entry *find(const struct hash *h, uint64_t hash, uint64_t key)
{
    struct hash_node *node = hash_find(h, hash);

    for (; node != NULL; node = hash_find_next(node))
        if (JM_CONTAINER_OF(node, struct entry, node)->key == key)
            return JM_CONTAINER_OF(node, struct entry, node);
    return NULL;
}

static void what_is_inserted_is_found_until_it_is_removed(void **state)
{
    enum { N = 5000 };
    struct entry *all = calloc(N, sizeof(*all));
    struct hash h = {0};

    (void)state;
    assert_null(find(&h, 1, 1));
    for (uint64_t i = 0; i < N; i++) {
        all[i].key = i;
        assert_int_equal(hash_insert(&h, &all[i].node, hash_of_u64(i % 1000)), 0); /* collisions */
    }
    assert_int_equal(h.len, N);
    for (uint64_t i = 0; i < N; i += 2)
        hash_remove(&h, &all[i].node);
    for (uint64_t i = 0; i < N; i++)
        assert_ptr_equal(find(&h, hash_of_u64(i % 1000), i), i % 2 == 0 ? NULL : &all[i]);
    hash_done(&h);
    free(all);
}

static void a_queue_is_made_once_and_their_number_is_limited(void **state)
{
    struct queues qs;
    struct queue *first;
    char name[16];

    (void)state;
    queues_init(&qs);
    first = queues_need(&qs, span_of_str("q0"));
    assert_non_null(first);
    assert_string_equal(first->key, "jm:{q:q0}");
    for (int i = 0; i < JM_QUEUES; i++) {
        snprintf(name, sizeof(name), "q%d", i);
        assert_non_null(queues_need(&qs, span_of_str(name)));
    }
    assert_int_equal(queues_count(&qs), JM_QUEUES);
    assert_null(queues_need(&qs, span_of_str("one-more")));
    assert_ptr_equal(queues_need(&qs, span_of_str("q0")), first);
    assert_ptr_equal(queues_find(&qs, span_of_str("q0")), first);
    assert_null(queues_find(&qs, span_of_str("one-more")));
    queues_done(&qs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_inserted_is_found_until_it_is_removed),
        cmocka_unit_test(a_queue_is_made_once_and_their_number_is_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
