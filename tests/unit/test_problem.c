#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "broker/problem.h"
#include "schema/errors.h"

static json_t *parsed(const struct problem *problem)
{
    struct buf out;
    json_t *value;

    buf_init(&out, 65536);
    problem_format(&out, problem);
    assert_false(buf_has_failed(&out));
    value = json_loadb((const char *)out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(value);
    buf_done(&out);
    return value;
}

static void assert_text(json_t *object, const char *key, const char *text)
{
    assert_string_equal(json_string_value(json_object_get(object, key)), text);
}

static void every_error_becomes_a_problem_with_its_row_of_the_table(void **state)
{
    (void)state;
    for (int i = 1; i < (int)JM_ERROR_COUNT; i++) {
        json_t *value = parsed(&(struct problem){.error = -i});

        assert_int_equal(json_object_size(value), 4);
        assert_text(value, "code", errors_code(-i));
        assert_text(value, "title", errors_title(-i));
        assert_int_equal(json_integer_value(json_object_get(value, "status")),
                         errors_http_status(-i));
        assert_non_null(strstr(json_string_value(json_object_get(value, "type")), errors_code(-i)));
        json_decref(value);
    }
}

static void detail_field_and_limit_are_told_if_there_are_any(void **state)
{
    json_t *value = parsed(&(struct problem){.error = JM_EBODYSIZE,
                                             .detail = span_of_str("too \"large\""),
                                             .field = span_of_str("a\\b"),
                                             .limit = 1048576});

    (void)state;
    assert_text(value, "detail", "too \"large\"");
    assert_text(value, "field", "a\\b");
    assert_int_equal(json_integer_value(json_object_get(value, "limit")), 1048576);
    json_decref(value);
}

/* What a client sends stands in the detail: it must not be able to break the JSON. */
static void any_bytes_in_a_detail_are_still_json(void **state)
{
    static const struct {
        const char *bytes;
        const char *shown;
    } cases[] = {
        {"\x01\n\x7f", "\x01\n\x7f"}, /* escaped, and read back */
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},                                                    /* never a byte of UTF-8 */
        {"\xc3", "\xef\xbf\xbd"},                                 /* cut off */
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* cut off */
        {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong NUL */
        {"\xe0\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* overlong */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* > 10FFFF */
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(cases); i++) {
        json_t *value =
            parsed(&(struct problem){.error = JM_EREQUEST, .detail = span_of_str(cases[i].bytes)});

        assert_text(value, "detail", cases[i].shown);
        json_decref(value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_becomes_a_problem_with_its_row_of_the_table),
        cmocka_unit_test(detail_field_and_limit_are_told_if_there_are_any),
        cmocka_unit_test(any_bytes_in_a_detail_are_still_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
