#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "broker/fields.h"
#include "lib/buf.h"
#include "lib/json.h"
#include "schema/errors.h"

struct target {
    struct span name;
    struct span value;
    struct span words;
    uint64_t number;
    uint32_t small;
    bool flag;
    uint32_t share;
    int64_t time;
    uint32_t kind;
    struct span text;
    struct {
        uint32_t depth;
        struct {
            uint64_t size;
            bool flag;
        } leaf;
    } inner;
};

#define AT(member) .offset = offsetof(struct target, member)

static const char *const kinds[] = {"first", "second", NULL};

static const struct field leaf_fields[] = {
    {.name = "size", .type = FIELD_U64, .need = FIELD_REQUIRED, .max = 5},
    {.name = "flag",
     .type = FIELD_BOOL,
     .offset = offsetof(struct target, inner.leaf.flag) - offsetof(struct target, inner.leaf.size)},
};

static const struct leaf {
    uint64_t size;
    bool flag;
} new_leaf = {.size = 3};

static const struct field_object leaf = {leaf_fields, JM_COUNT_OF(leaf_fields), sizeof(new_leaf),
                                         &new_leaf};

static const struct field inner_fields[] = {
    {.name = "depth", .type = FIELD_U32, .need = FIELD_NULLABLE, .max = 9},
    {.name = "leaf",
     .type = FIELD_OBJECT,
     .need = FIELD_NULLABLE,
     .offset = offsetof(struct target, inner.leaf) - offsetof(struct target, inner),
     .object = &leaf},
};

static const struct field_object inner = {inner_fields, JM_COUNT_OF(inner_fields),
                                          sizeof(((struct target *)NULL)->inner), NULL};

static const struct field table[] = {
    {.name = "name", .type = FIELD_NAME, .need = FIELD_REQUIRED, AT(name), .min = 1, .max = 64},
    {.name = "value", .type = FIELD_ANY, AT(value), .max = 8},
    {.name = "words", .type = FIELD_STRS, AT(words), .max = 2, .item_max = 4},
    {.name = "number", .type = FIELD_U64, AT(number), .min = 1, .max = 100},
    {.name = "small", .type = FIELD_U32, .need = FIELD_NULLABLE, AT(small), .max = UINT32_MAX},
    {.name = "flag", .type = FIELD_BOOL, .need = FIELD_NULLABLE, AT(flag)},
    {.name = "share", .type = FIELD_MILLI, .need = FIELD_NULLABLE, AT(share), .max = 2500},
    {.name = "time", .type = FIELD_TIME, .need = FIELD_NULLABLE, AT(time)},
    {.name = "kind",
     .type = FIELD_WORD,
     .need = FIELD_NULLABLE,
     AT(kind),
     .min = 4,
     .words = kinds},
    {.name = "text", .type = FIELD_TEXT, .need = FIELD_NULLABLE, AT(text), .min = 2, .max = 4},
    {.name = "inner", .type = FIELD_OBJECT, .need = FIELD_NULLABLE, AT(inner), .object = &inner},
};

enum { COUNT = JM_COUNT_OF(table) };

struct fixture {
    struct buf body;
    struct target target;
    struct span raw[COUNT];
    struct fault fault;
};

static int read_json(struct fixture *x, const char *json)
{
    buf_clear(&x->body);
    x->target = (struct target){.number = 7,
                                .small = 7,
                                .flag = true,
                                .share = 7,
                                .time = 7,
                                .kind = 7,
                                .text = span_of_str("old"),
                                .inner = {.depth = 8, .leaf = {1, true}}};
    assert_int_equal(json_to_msgpack(span_of_str(json), &JSON_DEFAULT_LIMITS, &x->body, NULL),
                     JSON_OK);
    return fields_read(table, COUNT, buf_span(&x->body), &x->target, x->raw, &x->fault);
}

static int setup(void **state)
{
    static struct fixture x;

    buf_init(&x.body, 1 << 16);
    *state = &x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;

    buf_done(&x->body);
    return 0;
}

static void fields_are_read_and_absent_ones_keep_their_value(void **state)
{
    struct fixture *x = *state;

    assert_int_equal(read_json(x, "{\"words\":[\"a\",\"\xc3\xa4\"],\"name\":\"fib\"}"), 0);
    assert_true(span_is_str(x->target.name, "fib"));
    assert_int_equal(x->target.words.data[0], 0x92);
    assert_int_equal(x->target.number, 7);
    assert_int_equal(x->raw[0].len, 4);
    assert_int_equal(x->raw[1].len, 0);
    assert_int_equal(x->raw[3].len, 0);
    assert_int_equal(x->target.small + x->target.flag + x->target.share + x->target.kind, 22);
    assert_int_equal(x->target.time, 7);
    assert_true(span_is_str(x->target.text, "old"));
}

static void any_value_is_taken_with_its_bytes(void **state)
{
    struct fixture *x = *state;

    assert_int_equal(read_json(x, "{\"name\":\"a\",\"value\":{\"k\":[1,2]},\"number\":100}"), 0);
    assert_int_equal(x->target.value.len, 6);
    assert_int_equal(x->target.value.data[0], 0x81);
    assert_int_equal(x->target.number, 100);
    assert_int_equal(read_json(x, "{\"name\":\"a\",\"value\":null}"), 0);
    assert_int_equal(x->target.value.len, 1);
}

static void numbers_times_words_and_texts_are_read(void **state)
{
    struct fixture *x = *state;

    assert_int_equal(read_json(x, "{\"name\":\"a\",\"small\":4294967295,\"flag\":true,"
                                  "\"share\":0.1,\"time\":\"1970-01-01T00:00:01+00:00\","
                                  "\"kind\":\"second\",\"text\":\"\u00e4\u00e4\"}"),
                     0);
    assert_int_equal(x->target.small, UINT32_MAX);
    assert_true(x->target.flag);
    assert_int_equal(x->target.share, 100);
    assert_int_equal(x->target.time, 1000);
    assert_int_equal(x->target.kind, 5);
    assert_true(span_is_str(x->target.text, "\xc3\xa4\xc3\xa4"));
}

static void thousandths_are_exact(void **state)
{
    struct fixture *x = *state;
    char json[64];

    for (uint32_t milli = 0; milli <= 2500; milli++) {
        snprintf(json, sizeof(json), "{\"name\":\"a\",\"share\":%u.%03u}", milli / 1000,
                 milli % 1000);
        assert_int_equal(read_json(x, json), 0);
        assert_int_equal(x->target.share, milli);
    }
    assert_int_equal(read_json(x, "{\"name\":\"a\",\"share\":2}"), 0);
    assert_int_equal(x->target.share, 2000);
}

static void null_clears_what_can_be_cleared(void **state)
{
    struct fixture *x = *state;

    assert_int_equal(read_json(x, "{\"name\":\"a\",\"small\":null,\"flag\":null,\"share\":null,"
                                  "\"time\":null,\"kind\":null,\"text\":null,\"inner\":null}"),
                     0);
    assert_int_equal(x->target.small + x->target.flag + x->target.share + x->target.kind, 0);
    assert_int_equal(x->target.time, 0);
    assert_int_equal(x->target.text.len, 0);
    assert_int_equal(x->target.inner.depth, 0);
    assert_int_equal(x->target.inner.leaf.size, 0);
}

static void an_object_is_merged_and_one_with_a_preset_begins_anew(void **state)
{
    struct fixture *x = *state;

    assert_int_equal(read_json(x, "{\"name\":\"a\",\"inner\":{}}"), 0);
    assert_int_equal(x->target.inner.depth, 8);
    assert_int_equal(x->target.inner.leaf.size, 1);
    assert_int_equal(read_json(x, "{\"name\":\"a\",\"inner\":{\"leaf\":{\"size\":5}}}"), 0);
    assert_int_equal(x->target.inner.depth, 8);
    assert_int_equal(x->target.inner.leaf.size, 5);
    assert_false(x->target.inner.leaf.flag);
    assert_int_equal(read_json(x, "{\"name\":\"a\",\"inner\":{\"leaf\":null,\"depth\":null}}"), 0);
    assert_int_equal(x->target.inner.depth, 0);
    assert_int_equal(x->target.inner.leaf.size, 0);
}

static void what_is_wrong_is_told_by_field_and_limit(void **state)
{
    static const struct {
        const char *json;
        int error;
        const char *field;
        uint64_t limit;
        const char *words; /* found in the detail */
    } rows[] = {
        {"[]", JM_EFIELD, "", 0, "object"},
        {"1", JM_EFIELD, "", 0, "object"},
        {"{}", JM_EMISSING, "name", 0, "required"},
        {"{\"number\":1}", JM_EMISSING, "name", 0, "required"},
        {"{\"name\":\"a\",\"nmae\":1}", JM_EUNKNOWNFIELD, "nmae", 0, "not known"},
        {"{\"name\":\"a\",\"\":1}", JM_EUNKNOWNFIELD, "", 0, "not known"},
        {"{\"name\":null}", JM_EFIELD, "name", 0, "not null"},
        {"{\"name\":7}", JM_EFIELD, "name", 0, "not an integer"},
        {"{\"name\":\"\"}", JM_EFIELD, "name", 64, "1 to 64"},
        {"{\"name\":\"a b\"}", JM_EFIELD, "name", 64, "letters"},
        {"{\"name\":\"a\",\"value\":\"12345678\"}", JM_EFIELD, "value", 8, "9 bytes"},
        {"{\"name\":\"a\",\"number\":0}", JM_EFIELD, "number", 100, "from 1 to 100"},
        {"{\"name\":\"a\",\"number\":101}", JM_EFIELD, "number", 100, "from 1 to 100"},
        {"{\"name\":\"a\",\"number\":-1}", JM_EFIELD, "number", 100, "from 1 to 100"},
        {"{\"name\":\"a\",\"number\":1.0}", JM_EFIELD, "number", 0, "not a fraction"},
        {"{\"name\":\"a\",\"number\":\"1\"}", JM_EFIELD, "number", 0, "not a string"},
        {"{\"name\":\"a\",\"number\":true}", JM_EFIELD, "number", 0, "not a boolean"},
        {"{\"name\":\"a\",\"words\":\"a\"}", JM_EFIELD, "words", 0, "array of strings"},
        {"{\"name\":\"a\",\"words\":{}}", JM_EFIELD, "words", 0, "not an object"},
        {"{\"name\":\"a\",\"words\":[\"a\",\"b\",\"c\"]}", JM_EFIELD, "words", 2, "from 0 to 2"},
        {"{\"name\":\"a\",\"words\":[\"abcde\"]}", JM_EFIELD, "words", 4, "1 to 4 bytes"},
        {"{\"name\":\"a\",\"words\":[\"\"]}", JM_EFIELD, "words", 4, "1 to 4 bytes"},
        {"{\"name\":\"a\",\"words\":[1]}", JM_EFIELD, "words", 4, "a string"},
        {"{\"name\":\"a\",\"words\":[\"a\\n\"]}", JM_EFIELD, "words", 4, "control"},
        {"{\"name\":\"a\",\"words\":[\"\\u0000\"]}", JM_EFIELD, "words", 4, "control"},
        {"{\"name\":\"a\",\"words\":null}", JM_EFIELD, "words", 0, "not null"},
        {"{\"name\":\"a\",\"small\":4294967296}", JM_EFIELD, "small", UINT32_MAX, "to 4294967295"},
        {"{\"name\":\"a\",\"small\":-1}", JM_EFIELD, "small", UINT32_MAX, "from 0"},
        {"{\"name\":\"a\",\"flag\":1}", JM_EFIELD, "flag", 0, "a boolean, not an integer"},
        {"{\"name\":\"a\",\"share\":2.501}", JM_EFIELD, "share", 2, "from 0 to 2.5"},
        {"{\"name\":\"a\",\"share\":-0.001}", JM_EFIELD, "share", 2, "from 0 to 2.5"},
        {"{\"name\":\"a\",\"share\":0.0001}", JM_EFIELD, "share", 2, "3 decimals"},
        {"{\"name\":\"a\",\"share\":1e300}", JM_EFIELD, "share", 2, "from 0 to 2.5"},
        {"{\"name\":\"a\",\"share\":-9223372036854775808}", JM_EFIELD, "share", 2, "from 0"},
        {"{\"name\":\"a\",\"share\":\"1\"}", JM_EFIELD, "share", 0, "a number, not a string"},
        {"{\"name\":\"a\",\"time\":0}", JM_EFIELD, "time", 0, "not an integer"},
        {"{\"name\":\"a\",\"time\":\"soon\"}", JM_EFIELD, "time", 0, "RFC 3339"},
        {"{\"name\":\"a\",\"kind\":\"third\"}", JM_EFIELD, "kind", 0,
         "must be one of \"first\", \"second\""},
        {"{\"name\":\"a\",\"kind\":\"\"}", JM_EFIELD, "kind", 0, "one of"},
        {"{\"name\":\"a\",\"kind\":4}", JM_EFIELD, "kind", 0, "not an integer"},
        {"{\"name\":\"a\",\"text\":\"a\"}", JM_EFIELD, "text", 4, "2 to 4 bytes"},
        {"{\"name\":\"a\",\"text\":\"\u00e4\u00e4b\"}", JM_EFIELD, "text", 4, "2 to 4 bytes"},
        {"{\"name\":\"a\",\"text\":\"a\\tb\"}", JM_EFIELD, "text", 4, "control"},
        {"{\"name\":\"a\",\"inner\":[]}", JM_EFIELD, "inner", 0, "an object, not an array"},
        {"{\"name\":\"a\",\"inner\":{\"depth\":10}}", JM_EFIELD, "inner.depth", 9,
         "inner.depth: must be from 0 to 9"},
        {"{\"name\":\"a\",\"inner\":{\"dpeth\":1}}", JM_EUNKNOWNFIELD, "inner.dpeth", 0, "known"},
        {"{\"name\":\"a\",\"inner\":{\"leaf\":{}}}", JM_EMISSING, "inner.leaf.size", 0,
         "inner.leaf.size: is required"},
        {"{\"name\":\"a\",\"inner\":{\"leaf\":{\"size\":null}}}", JM_EFIELD, "inner.leaf.size", 0,
         "not null"},
    };
    struct fixture *x = *state;

    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        int rc = read_json(x, rows[i].json);

        if (rc != rows[i].error || strcmp(x->fault.field, rows[i].field) != 0 ||
            x->fault.limit != rows[i].limit || strstr(x->fault.detail, rows[i].words) == NULL)
            fail_msg("%s gave %d, field '%s', limit %d: %s", rows[i].json, rc, x->fault.field,
                     (int)x->fault.limit, x->fault.detail);
    }
}

static void a_huge_unknown_name_is_cut(void **state)
{
    struct fixture *x = *state;
    char json[400];

    snprintf(json, sizeof(json), "{\"name\":\"a\",\"%0300d\":1}", 0);
    assert_int_equal(read_json(x, json), JM_EUNKNOWNFIELD);
    assert_int_equal(strlen(x->fault.field), FAULT_FIELD_BYTES - 1);
}

static void a_body_that_ends_too_early_is_refused(void **state)
{
    struct fixture *x = *state;

    assert_int_equal(read_json(x, "{\"name\":\"fib\",\"value\":[1,2,3],\"number\":9}"), 0);
    for (size_t len = 0; len < x->body.len; len++)
        assert_int_not_equal(
            fields_read(table, COUNT, span_of(x->body.data, len), &x->target, NULL, &x->fault), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_read_and_absent_ones_keep_their_value),
        cmocka_unit_test(any_value_is_taken_with_its_bytes),
        cmocka_unit_test(numbers_times_words_and_texts_are_read),
        cmocka_unit_test(thousandths_are_exact),
        cmocka_unit_test(null_clears_what_can_be_cleared),
        cmocka_unit_test(an_object_is_merged_and_one_with_a_preset_begins_anew),
        cmocka_unit_test(what_is_wrong_is_told_by_field_and_limit),
        cmocka_unit_test(a_huge_unknown_name_is_cut),
        cmocka_unit_test(a_body_that_ends_too_early_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
