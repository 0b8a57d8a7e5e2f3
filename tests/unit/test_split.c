/*
 * Bodies of batches from tests/cases/split, each at the end of a guard page: whole, byte by byte,
 * and cut in two at every place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "broker/split.h"
#include "tests/unit/guard.h"
#include "tests/unit/hex.h"

enum { CASE_BYTES = 1024, ITEM_LIMIT = 20 };

struct split_case {
    char title[256];
    enum split_form form;
    uint8_t body[CASE_BYTES];
    size_t body_len;
    char gives[CASE_BYTES];
    char bad[CASE_BYTES];
};

static struct guard guard;

static const char *value_of(const char *line, const char *key)
{
    size_t len = strlen(key);

    if (strncmp(line, key, len) != 0 || line[len] != ':')
        return NULL;
    return line[len + 1] == ' ' ? line + len + 2 : line + len + 1;
}

static void take_body(struct split_case *c, const char *value, enum split_form form)
{
    c->form = form;
    if (form == SPLIT_MSGPACK) {
        c->body_len = hex_parse(span_of_str(value), sizeof(c->body), c->body);
        return;
    }
    memcpy(c->body, value, c->body_len = strlen(value));
    for (size_t i = 0; form == SPLIT_LINES && i < c->body_len; i++)
        if (c->body[i] == '~')
            c->body[i] = '\n';
}

static void take_line(struct split_case *c, const char *line)
{
    const char *value;

    if ((value = value_of(line, "title")) != NULL)
        snprintf(c->title, sizeof(c->title), "%s", value);
    else if ((value = value_of(line, "json")) != NULL)
        take_body(c, value, SPLIT_JSON);
    else if ((value = value_of(line, "lines")) != NULL)
        take_body(c, value, SPLIT_LINES);
    else if ((value = value_of(line, "msgpack")) != NULL)
        take_body(c, value, SPLIT_MSGPACK);
    else if ((value = value_of(line, "gives")) != NULL)
        snprintf(c->gives, sizeof(c->gives), "%s", value);
    else if ((value = value_of(line, "bad")) != NULL)
        snprintf(c->bad, sizeof(c->bad), "%s", value);
    else if (value_of(line, "reason") == NULL)
        fail_msg("a line that is no field: %s", line);
}

static bool next_case(FILE *file, struct split_case *c)
{
    char line[CASE_BYTES];

    *c = (struct split_case){.body_len = 0};
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '\0' && c->title[0] != '\0')
            return true;
        if (line[0] != '\0' && line[0] != '#')
            take_line(c, line);
    }
    return c->title[0] != '\0';
}

static void note(struct buf *got, enum split_result result, struct span item, bool is_hex)
{
    if (result == SPLIT_LARGE)
        buf_put_str(got, "LARGE");
    else if (is_hex)
        for (size_t i = 0; i < item.len; i++)
            buf_printf(got, "%02x", item.data[i]);
    else
        buf_put_span(got, item);
    buf_put_u8(got, '|');
}

static enum split_result feed(struct split *s, struct span input, struct buf *got)
{
    enum split_result result = SPLIT_MORE;
    size_t at = 0;

    do {
        struct span item;
        size_t used = SIZE_MAX;

        result = split_next(s, guard_copy(&guard, span_of(input.data + at, input.len - at)), &used,
                            &item);
        assert_true(used <= input.len - at);
        at += used;
        if (result == SPLIT_ITEM || result == SPLIT_LARGE)
            note(got, result, item, s->form == SPLIT_MSGPACK);
    } while (result == SPLIT_ITEM || result == SPLIT_LARGE);
    assert_true(result == SPLIT_BAD || at == input.len);
    return result;
}

/* In pieces of `first` and then `then` bytes each. */
static void run_case(const struct split_case *c, size_t first, size_t then)
{
    enum split_result result = SPLIT_MORE;
    struct split s;
    struct buf got;
    struct span item;
    size_t at = 0;

    split_init(&s, c->form, ITEM_LIMIT);
    buf_init(&got, 1 << 16);
    buf_put_u8(&got, '|');
    while (at < c->body_len && result != SPLIT_BAD) {
        size_t len = at == 0 ? first : then;

        len = len < c->body_len - at ? len : c->body_len - at;
        result = feed(&s, span_of(c->body + at, len), &got);
        at += len;
    }
    while (result != SPLIT_BAD && (result = split_end(&s, &item)) != SPLIT_MORE)
        if (result != SPLIT_BAD)
            note(&got, result, item, c->form == SPLIT_MSGPACK);
    buf_put_u8(&got, '\0');
    if (strcmp((char *)got.data, c->gives) != 0)
        fail_msg("%s (%zu, %zu): got %s", c->title, first, then, (char *)got.data);
    if ((result == SPLIT_BAD) != (c->bad[0] != '\0') || strstr(s.problem, c->bad) == NULL)
        fail_msg("%s (%zu, %zu): got '%s'", c->title, first, then, s.problem);
    if (result == SPLIT_BAD)
        assert_int_equal(split_end(&s, &item), SPLIT_BAD);
    split_done(&s);
    buf_done(&got);
}

static void bodies_are_cut_as_their_cases_say(void **state)
{
    FILE *file = fopen(JM_SOURCE_DIR "/tests/cases/split/items.txt", "r");
    struct split_case c;
    unsigned count = 0;

    (void)state;
    assert_non_null(file);
    guard_init(&guard);
    while (next_case(file, &c)) {
        run_case(&c, SIZE_MAX, 1);
        run_case(&c, 1, 1);
        for (size_t first = 1; first < c.body_len; first++)
            run_case(&c, first, SIZE_MAX);
        count++;
    }
    assert_true(count >= 40);
    guard_done(&guard);
    fclose(file);
}

static void msgpack_that_is_nested_without_end_is_refused(void **state)
{
    static uint8_t body[200];
    struct split s;
    struct span item;
    size_t used;

    (void)state;
    memset(body, 0x91, sizeof(body));
    split_init(&s, SPLIT_MSGPACK, 1 << 20);
    assert_int_equal(split_next(&s, span_of(body, sizeof(body)), &used, &item), SPLIT_BAD);
    split_done(&s);
}

static void an_item_that_never_ends_is_not_kept(void **state)
{
    static uint8_t body[65536];
    struct split s;
    struct span item;
    size_t used;

    (void)state;
    memset(body, '[', sizeof(body));
    split_init(&s, SPLIT_JSON, 1 << 20);
    for (int i = 0; i < 100; i++)
        assert_int_equal(split_next(&s, span_of(body, sizeof(body)), &used, &item), SPLIT_MORE);
    assert_true(s.partial.cap <= 1 << 21);
    assert_int_equal(s.partial.len, 0);
    split_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_cut_as_their_cases_say),
        cmocka_unit_test(msgpack_that_is_nested_without_end_is_refused),
        cmocka_unit_test(an_item_that_never_ends_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
