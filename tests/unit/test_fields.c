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
};

static const struct field table[] = {
    {"name", FIELD_NAME, true, offsetof(struct target, name), 1, 64, 0},
    {"value", FIELD_ANY, false, offsetof(struct target, value), 0, 8, 0},
    {"words", FIELD_STRS, false, offsetof(struct target, words), 0, 2, 4},
    {"number", FIELD_U64, false, offsetof(struct target, number), 1, 100, 0},
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
    x->target = (struct target){.number = 7};
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
        {"{\"name\":\"a\",\"words\":[\"a\",\"b\",\"c\"]}", JM_EFIELD, "words", 2, "at most 2"},
        {"{\"name\":\"a\",\"words\":[\"abcde\"]}", JM_EFIELD, "words", 4, "1 to 4 bytes"},
        {"{\"name\":\"a\",\"words\":[\"\"]}", JM_EFIELD, "words", 4, "1 to 4 bytes"},
        {"{\"name\":\"a\",\"words\":[1]}", JM_EFIELD, "words", 4, "a string"},
        {"{\"name\":\"a\",\"words\":[\"a\\n\"]}", JM_EFIELD, "words", 4, "control"},
        {"{\"name\":\"a\",\"words\":[\"\\u0000\"]}", JM_EFIELD, "words", 4, "control"},
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
        cmocka_unit_test(what_is_wrong_is_told_by_field_and_limit),
        cmocka_unit_test(a_huge_unknown_name_is_cut),
        cmocka_unit_test(a_body_that_ends_too_early_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
