#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "broker/body.h"
#include "schema/errors.h"

enum { VALUE = 1 << BODY_JSON | 1 << BODY_MSGPACK, RESULT = VALUE | 1 << BODY_OCTETS };

static void the_best_form_is_chosen(void **state)
{
    static const struct {
        const char *accept; /* NULL: no field */
        unsigned offered;
        int form; /* -1: none */
    } rows[] = {
        {NULL, VALUE, BODY_JSON},
        {NULL, RESULT, BODY_JSON},
        {NULL, 1 << BODY_OCTETS, BODY_OCTETS},
        {"", VALUE, BODY_JSON},
        {"*/*", VALUE, BODY_JSON},
        {"application/*", VALUE, BODY_JSON},
        {"application/json", VALUE, BODY_JSON},
        {"Application/MsgPack", VALUE, BODY_MSGPACK},
        {"application/msgpack, application/problem+json;q=0.9", VALUE, BODY_MSGPACK},
        {"application/json;q=0.5, application/msgpack;q=0.6", VALUE, BODY_MSGPACK},
        {"application/json;q=0.5, application/msgpack;q=0.5", VALUE, BODY_JSON},
        {"application/json;q=0, */*", VALUE, BODY_MSGPACK},
        {"*/*;q=0.1, application/msgpack;q=0.1", VALUE, BODY_JSON},
        {"*/*, application/json;q=0.2", VALUE, BODY_MSGPACK},
        {"application/json ; charset=utf-8 ; q=0.7", VALUE, BODY_JSON},
        {"application/json;x=\"a,b;q=0\"", VALUE, BODY_JSON},
        {"text/html, application/xhtml+xml, */*;q=0.8", VALUE, BODY_JSON},
        {"application/octet-stream", VALUE, -1},
        {"application/octet-stream", RESULT, BODY_OCTETS},
        {"application/octet-stream, */*;q=0.1", RESULT, BODY_OCTETS},
        {"text/html", VALUE, -1},
        {"*/*;q=0", VALUE, -1},
        {"application/json;q=0", VALUE, -1},
        {"application/json;q=2", VALUE, BODY_JSON}, /* malformed: passed over, as if unsaid */
        {"application/json;q=1.0001", VALUE, BODY_JSON},
        {"application/msgpack;q=0.001", VALUE, BODY_MSGPACK},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        struct body_wish wish = {.ranges = 0};
        enum body_form form = BODY_FORM_COUNT;
        int rc;

        if (rows[i].accept != NULL)
            body_add_accept(&wish, span_of_str(rows[i].accept));
        rc = body_choose(&wish, rows[i].offered, &form);
        if (rc != (rows[i].form < 0 ? JM_EACCEPT : 0) || (rc == 0 && (int)form != rows[i].form))
            fail_msg("%s gave %d, form %d", rows[i].accept, rc, (int)form);
    }
}

static void several_accept_fields_are_one_list(void **state)
{
    struct body_wish wish = {.ranges = 0};
    enum body_form form;

    (void)state;
    body_add_accept(&wish, span_of_str("text/html"));
    body_add_accept(&wish, span_of_str("application/msgpack;q=0.3"));
    assert_int_equal(body_choose(&wish, VALUE, &form), 0);
    assert_int_equal(form, BODY_MSGPACK);
}

static void a_content_type_is_json_or_msgpack(void **state)
{
    static const struct {
        const char *type;
        int form; /* -1: refused */
    } rows[] = {
        {"application/json", BODY_JSON},
        {"application/JSON;charset=UTF-8", BODY_JSON},
        {"application/json ; charset=\"utf-8\"", BODY_JSON},
        {"application/json;", BODY_JSON},
        {"application/msgpack", BODY_MSGPACK},
        {"application/json;charset=latin1", -1},
        {"application/json;version=2", -1},
        {"application/x-www-form-urlencoded", -1},
        {"application/octet-stream", -1},
        {"text/json", -1},
        {"json", -1},
        {"", -1},
    };
    struct fault f;

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        enum body_form form = BODY_FORM_COUNT;
        int rc = body_parse_content_type(span_of_str(rows[i].type), &form, &f);

        if (rc != (rows[i].form < 0 ? JM_EMEDIATYPE : 0) || (rc == 0 && (int)form != rows[i].form))
            fail_msg("%s gave %d, form %d", rows[i].type, rc, (int)form);
    }
}

static void a_json_body_becomes_msgpack_and_a_msgpack_one_stays(void **state)
{
    struct span value;
    struct fault f;
    struct buf scratch;

    (void)state;
    buf_init(&scratch, 1000);
    assert_int_equal(body_read(BODY_JSON, span_of_str("{\"a\":1}"), &scratch, &value, &f), 0);
    assert_true(span_is_str(value, "\x81\xa1\x61\x01"));
    assert_int_equal(body_read(BODY_MSGPACK, span_of_str("\x81\xa1\x61\x01"), &scratch, &value, &f),
                     0);
    assert_true(span_is_str(value, "\x81\xa1\x61\x01"));
    buf_done(&scratch);
}

static void a_malformed_body_is_refused_with_its_place(void **state)
{
    struct span value;
    struct fault f;
    struct buf scratch;

    (void)state;
    buf_init(&scratch, 1000);
    assert_int_equal(body_read(BODY_JSON, span_of_str("{\"a\":1,}"), &scratch, &value, &f),
                     JM_EJSON);
    assert_non_null(strstr(f.detail, "byte 7"));
    assert_int_equal(body_read(BODY_JSON, span_of(NULL, 0), &scratch, &value, &f), JM_EJSON);
    assert_int_equal(body_read(BODY_MSGPACK, span_of_str("\x81\xa1"), &scratch, &value, &f),
                     JM_EMSGPACK);
    assert_int_equal(body_read(BODY_MSGPACK, span_of_str("\x01\x01"), &scratch, &value, &f),
                     JM_EMSGPACK);
    assert_int_equal(body_read(BODY_MSGPACK, span_of_str("\xc7\x01\x05\x01"), &scratch, &value, &f),
                     JM_EMSGPACK);
    buf_done(&scratch);
}

static void the_limit_of_depth_is_named(void **state)
{
    char text[300];
    struct span value;
    struct fault f;
    struct buf scratch;

    (void)state;
    buf_init(&scratch, 1000);
    memset(text, '[', 150);
    memset(text + 150, ']', 150);
    assert_int_equal(body_read(BODY_JSON, span_of(text, 300), &scratch, &value, &f), JM_EJSON);
    assert_int_equal(f.limit, 100);
    assert_int_equal(body_read(BODY_JSON, span_of(text + 50, 200), &scratch, &value, &f), 0);
    buf_done(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_form_is_chosen),
        cmocka_unit_test(several_accept_fields_are_one_list),
        cmocka_unit_test(a_content_type_is_json_or_msgpack),
        cmocka_unit_test(a_json_body_becomes_msgpack_and_a_msgpack_one_stays),
        cmocka_unit_test(a_malformed_body_is_refused_with_its_place),
        cmocka_unit_test(the_limit_of_depth_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
