/*
 * starved_tool.c: the n-th allocation of what the tool prints fails, for every n: it prints all, or
 * ends with an error. Half a table with exit status 0 would be a false answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/tool/shape.h"
#include "client/tool/sheet.h"
#include "client/tool/tool.h"
#include "lib/json.h"
#include "tests/torture/starve.h"

static const char answer_json[] =
    "{\"jobs\":[{\"id\":\"0SBWHQYA00000\",\"n\":1},{\"id\":\"0SBWHQYA40000\",\"n\":2}],"
    "\"other\":{\"a\":\"b\",\"c\":[1,2]}}";
static struct span answer;

static int print_table(void)
{
    static const struct shape shape = {
        .name = "jobs", .headings = {"ID", ">N", NULL}, .members = {"id", "n"}};

    return shape_print(&shape, answer);
}

static int print_sheet(void)
{
    return sheet_print(answer, NULL, false);
}

static int print_flat_sheet(void)
{
    return sheet_print(answer, NULL, true);
}

static int (*print)(void);
static char *expected;

/* What it writes to stdout, for free(). The C library allocates for that, which does not count. */
static char *take_output(int *ret_exit)
{
    FILE *terminal = stdout;
    char *text = NULL;
    size_t len;

    stdout = open_memstream(&text, &len);
    assert_non_null(stdout);
    *ret_exit = print();
    fclose(stdout);
    stdout = terminal;
    return text;
}

static void print_once(void)
{
    int exit;
    char *text = take_output(&exit);

    if (exit == TOOL_OK)
        assert_string_equal(text, expected);
    else
        assert_true(starve_has_failed());
    free(text);
}

static void what_is_shown_is_whole_or_an_error(void **state)
{
    static int (*const prints[])(void) = {print_table, print_sheet, print_flat_sheet};
    struct buf msgpack;

    (void)state;
    buf_init(&msgpack, SIZE_MAX);
    assert_int_equal(
        json_to_msgpack(span_of_str(answer_json), &JSON_DEFAULT_LIMITS, &msgpack, NULL), JSON_OK);
    answer = buf_span(&msgpack);
    for (size_t i = 0; i < sizeof(prints) / sizeof(prints[0]); i++) {
        int exit;

        print = prints[i];
        expected = take_output(&exit);
        assert_int_equal(exit, TOOL_OK);
        assert_in_range(starve_every(print_once), 1, 50);
        free(expected);
    }
    buf_done(&msgpack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_shown_is_whole_or_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
