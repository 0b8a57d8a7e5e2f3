/* The intrusive list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "lib/list.h"

struct item {
    char name;
    struct list link;
};

static struct list head;
static struct list other;
static struct item items[5];

static int set_up(void **state)
{
    (void)state;
    list_init(&head);
    list_init(&other);
    for (size_t i = 0; i < JM_COUNT_OF(items); i++) {
        items[i].name = (char)('a' + i);
        list_init(&items[i].link);
    }
    return 0;
}

/* The names in order, forwards and backwards. */
static void assert_holds(const struct list *list, const char *expected)
{
    char names[16] = "";
    char backwards[16] = "";
    size_t n = 0;

    LIST_EACH(node, (struct list *)(uintptr_t)list)
    names[n++] = LIST_ENTRY(node, struct item, link)->name;
    assert_string_equal(names, expected);
    for (const struct list *node = list->prev; node != list; node = node->prev)
        backwards[--n] = LIST_ENTRY((uintptr_t)node, struct item, link)->name;
    assert_memory_equal(backwards, expected, strlen(expected));
    assert_int_equal(n, 0);
    assert_int_equal(list_is_empty(list), expected[0] == '\0');
}

static void push(struct list *list, const char *names)
{
    for (; *names != '\0'; names++)
        list_push_back(list, &items[*names - 'a'].link);
}

static void a_new_list_is_empty(void **state)
{
    (void)state;
    assert_holds(&head, "");
    assert_null(list_pop_front(&head));
}

static void nodes_are_pushed_at_either_end(void **state)
{
    (void)state;
    push(&head, "bc");
    list_push_front(&head, &items[0].link);
    assert_holds(&head, "abc");
}

static void a_node_goes_in_before_another(void **state)
{
    (void)state;
    push(&head, "ac");
    list_insert_before(&items[2].link, &items[1].link);
    assert_holds(&head, "abc");
}

static void nodes_are_removed_from_anywhere_and_may_be_removed_again(void **state)
{
    (void)state;
    push(&head, "abcde");
    list_remove(&items[2].link);
    assert_holds(&head, "abde");
    list_remove(&items[2].link);
    assert_holds(&head, "abde");
    list_remove(&items[0].link);
    list_remove(&items[4].link);
    assert_holds(&head, "bd");
    assert_true(list_is_empty(&items[2].link));
    push(&head, "c");
    assert_holds(&head, "bdc");
}

static void nodes_pop_in_the_order_they_were_pushed(void **state)
{
    (void)state;
    push(&head, "abc");
    for (char name = 'a'; name <= 'c'; name++)
        assert_int_equal(LIST_ENTRY(list_pop_front(&head), struct item, link)->name, name);
    assert_null(list_pop_front(&head));
    assert_true(list_is_empty(&items[0].link));
}

static void splicing_moves_all_nodes_in_order(void **state)
{
    (void)state;
    push(&head, "ab");
    push(&other, "cde");
    list_splice_back(&head, &other);
    assert_holds(&head, "abcde");
    assert_holds(&other, "");
    list_splice_back(&head, &other);
    assert_holds(&head, "abcde");
    list_splice_back(&other, &head);
    assert_holds(&other, "abcde");
    assert_holds(&head, "");
}

static void the_safe_walk_allows_to_remove_the_node(void **state)
{
    (void)state;
    push(&head, "abcde");
    LIST_EACH_SAFE(node, &head)
    {
        if (LIST_ENTRY(node, struct item, link)->name != 'c')
            list_remove(node);
    }
    assert_holds(&head, "c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_new_list_is_empty, set_up),
        cmocka_unit_test_setup(nodes_are_pushed_at_either_end, set_up),
        cmocka_unit_test_setup(a_node_goes_in_before_another, set_up),
        cmocka_unit_test_setup(nodes_are_removed_from_anywhere_and_may_be_removed_again, set_up),
        cmocka_unit_test_setup(nodes_pop_in_the_order_they_were_pushed, set_up),
        cmocka_unit_test_setup(splicing_moves_all_nodes_in_order, set_up),
        cmocka_unit_test_setup(the_safe_walk_allows_to_remove_the_node, set_up),
    };

    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
