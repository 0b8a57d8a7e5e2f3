/* The transcoder against cases from tests/cases/json (each fed at the end of a guard page), and
 * what is too large for a case file: depth, members, limits of the buffer. test_json_oracle.c
 * compares it with jansson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/json.h"
#include "lib/json_number.h"
#include "tests/unit/guard.h"
#include "tests/unit/hex.h"

enum { CASE_BYTES = 4096, OUT_BYTES = 1 << 22 };

static const struct json_limits limits = JSON_DEFAULT_LIMITS;
static struct guard guard;

/* One case of a file; a field that the case does not have has a NULL `data`. */
struct json_case {
    char title[256];
    uint8_t input[CASE_BYTES];
    size_t input_len;
    char gives[CASE_BYTES];
    char refused[64];
};

static const char *value_of(const char *line, const char *key)
{
    size_t len = strlen(key);

    if (strncmp(line, key, len) != 0 || line[len] != ':')
        return NULL;
    return line[len + 1] == ' ' ? line + len + 2 : line + len + 1;
}

static void take_line(struct json_case *c, const char *line)
{
    const char *value;

    if ((value = value_of(line, "title")) != NULL)
        snprintf(c->title, sizeof(c->title), "%s", value);
    else if ((value = value_of(line, "text")) != NULL)
        memcpy(c->input, value, c->input_len = strlen(value));
    else if ((value = value_of(line, "bytes")) != NULL)
        c->input_len = hex_parse(span_of_str(value), sizeof(c->input), c->input);
    else if ((value = value_of(line, "gives")) != NULL)
        snprintf(c->gives, sizeof(c->gives), "%s", value);
    else if ((value = value_of(line, "refused")) != NULL)
        snprintf(c->refused, sizeof(c->refused), "%s", value);
    else if (value_of(line, "reason") == NULL && value_of(line, "allowed") == NULL)
        fail_msg("a line that is no field: %s", line);
}

/* The next case of the file; false at its end. */
static bool next_case(FILE *file, struct json_case *c)
{
    char line[CASE_BYTES];

    *c = (struct json_case){.input_len = 0};
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '\0' && c->title[0] != '\0')
            return true;
        if (line[0] != '\0' && line[0] != '#')
            take_line(c, line);
    }
    return c->title[0] != '\0';
}

static const char *problem_name(enum json_problem problem)
{
    static const char *const names[] = {
#define X(name, words) [name] = #name,
        JSON_PROBLEMS(X)
#undef X
    };

    return names[problem] + strlen("JSON_");
}

/* `problem` is what the case says; "" stands for none. */
static void assert_refused(const struct json_case *c, enum json_problem problem,
                           struct json_error error)
{
    char got[64] = "";

    assert_int_equal(problem, error.problem);
    if (problem != JSON_OK)
        snprintf(got, sizeof(got), "%s %zu", problem_name(problem), error.offset);
    if (strcmp(got, c->refused) != 0)
        fail_msg("%s: got '%s', expected '%s'", c->title, got, c->refused);
}

typedef enum json_problem transcode(struct span input, struct buf *out, struct json_error *error);

static enum json_problem read_json(struct span input, struct buf *out, struct json_error *error)
{
    return json_to_msgpack(input, &limits, out, error);
}

static enum json_problem check(struct span input, struct buf *out, struct json_error *error)
{
    (void)out;
    return json_check_msgpack(input, &limits, error);
}

/* Runs each case of a file: its output must be what `gives` says, as hex or as text, behind what
 * the buffer held before. Returns how many there were. */
static unsigned run_cases(const char *path, transcode *function, bool is_hex)
{
    struct json_case c;
    struct buf out;
    unsigned count = 0;
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    buf_init(&out, OUT_BYTES);
    for (; next_case(file, &c); count++) {
        uint8_t wanted[CASE_BYTES];
        size_t wanted_len = strlen(c.gives);
        struct json_error error;

        buf_clear(&out);
        buf_put_str(&out, "kept");
        assert_refused(
            &c, function(guard_copy(&guard, span_of(c.input, c.input_len)), &out, &error), error);
        if (is_hex)
            wanted_len = hex_parse(span_of_str(c.gives), sizeof(wanted), wanted);
        else
            memcpy(wanted, c.gives, wanted_len);
        if (out.len != wanted_len + 4 || memcmp(out.data, "kept", 4) != 0 ||
            memcmp(out.data + 4, wanted, wanted_len) != 0)
            fail_msg("%s: the output differs: %.*s", c.title, (int)out.len, (char *)out.data);
    }
    buf_done(&out);
    fclose(file);
    return count;
}

static void texts_are_read_as_their_cases_say(void **state)
{
    (void)state;
    assert_true(run_cases(JM_SOURCE_DIR "/tests/cases/json/read.txt", read_json, true) >= 80);
}

static void texts_are_refused_as_their_cases_say(void **state)
{
    (void)state;
    assert_true(run_cases(JM_SOURCE_DIR "/tests/cases/json/refuse.txt", read_json, true) >= 90);
}

static void msgpack_is_written_as_its_cases_say(void **state)
{
    (void)state;
    assert_true(run_cases(JM_SOURCE_DIR "/tests/cases/json/write.txt", json_from_msgpack, false) >=
                60);
}

static void msgpack_is_checked_as_its_cases_say(void **state)
{
    (void)state;
    assert_true(run_cases(JM_SOURCE_DIR "/tests/cases/json/check.txt", check, true) >= 30);
}

/* What was read is allowed, and is the same again after it was written and read once more. */
static void what_is_read_survives_a_round(void **state)
{
    struct json_case c;
    struct buf first;
    struct buf text;
    struct buf second;
    FILE *file = fopen(JM_SOURCE_DIR "/tests/cases/json/read.txt", "r");

    (void)state;
    assert_non_null(file);
    buf_init(&first, OUT_BYTES);
    buf_init(&text, OUT_BYTES);
    buf_init(&second, OUT_BYTES);
    while (next_case(file, &c)) {
        buf_clear(&first);
        buf_clear(&text);
        buf_clear(&second);
        assert_int_equal(json_to_msgpack(span_of(c.input, c.input_len), &limits, &first, NULL),
                         JSON_OK);
        assert_int_equal(json_check_msgpack(buf_span(&first), &limits, NULL), JSON_OK);
        assert_int_equal(json_from_msgpack(buf_span(&first), &text, NULL), JSON_OK);
        assert_int_equal(json_to_msgpack(buf_span(&text), &limits, &second, NULL), JSON_OK);
        assert_true(span_is_equal(buf_span(&first), buf_span(&second)));
    }
    buf_done(&first);
    buf_done(&text);
    buf_done(&second);
    fclose(file);
}

static void a_text_that_is_cut_anywhere_is_refused(void **state)
{
    static const char text[] =
        "{\"a\\u00e9\\ud83d\\ude00\":[1,-2.5e-3,true,null,\"\xc3\xa9\\n\"],\"b\":{\"c\":[]}}";
    struct buf out;

    (void)state;
    buf_init(&out, OUT_BYTES);
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        assert_int_not_equal(
            json_to_msgpack(guard_copy(&guard, span_of(text, n)), &limits, &out, NULL), JSON_OK);
        assert_int_equal(out.len, 0);
    }
    buf_done(&out);
}

/* `depth` arrays, and what is inside of the innermost. */
static void put_nested(struct buf *text, unsigned depth, const char *inside)
{
    buf_clear(text);
    for (unsigned i = 0; i < depth; i++)
        buf_put_u8(text, '[');
    buf_put_str(text, inside);
    for (unsigned i = 0; i < depth; i++)
        buf_put_u8(text, ']');
}

static void a_text_may_nest_to_the_limit_and_no_deeper(void **state)
{
    struct json_limits deep = limits;
    struct json_error error;
    struct buf text;
    struct buf out;

    (void)state;
    buf_init(&text, OUT_BYTES);
    buf_init(&out, OUT_BYTES);
    put_nested(&text, 100, "");
    assert_int_equal(json_to_msgpack(buf_span(&text), &limits, &out, NULL), JSON_OK);
    assert_int_equal(json_check_msgpack(buf_span(&out), &limits, NULL), JSON_OK);
    put_nested(&text, 99, "{}");
    assert_int_equal(json_to_msgpack(buf_span(&text), &limits, &out, NULL), JSON_OK);
    put_nested(&text, 100, "{}");
    assert_int_equal(json_to_msgpack(buf_span(&text), &limits, &out, &error), JSON_DEPTH);
    assert_int_equal(error.offset, 100);
    deep.max_depth = 1000; /* more than there can be */
    buf_clear(&out);
    put_nested(&text, JSON_DEPTH_LIMIT, "");
    assert_int_equal(json_to_msgpack(buf_span(&text), &deep, &out, NULL), JSON_OK);
    assert_int_equal(json_check_msgpack(buf_span(&out), &limits, NULL), JSON_DEPTH);
    put_nested(&text, 100000, "");
    assert_int_equal(json_to_msgpack(buf_span(&text), &deep, &out, NULL), JSON_DEPTH);
    buf_done(&text);
    buf_done(&out);
}

static void msgpack_that_nests_deeper_than_the_writer_goes_is_refused(void **state)
{
    struct buf msgpack;
    struct buf text;

    (void)state;
    buf_init(&msgpack, OUT_BYTES);
    buf_init(&text, OUT_BYTES);
    for (unsigned i = 1; i < JSON_DEPTH_LIMIT; i++)
        buf_put_u8(&msgpack, 0x91);
    buf_put_u8(&msgpack, 0x90);
    assert_int_equal(json_from_msgpack(buf_span(&msgpack), &text, NULL), JSON_OK);
    assert_int_equal(text.len, 2 * JSON_DEPTH_LIMIT);
    msgpack.data[msgpack.len - 1] = 0x91;
    buf_put_u8(&msgpack, 0x90);
    assert_int_equal(json_from_msgpack(buf_span(&msgpack), &text, NULL), JSON_DEPTH);
    buf_done(&msgpack);
    buf_done(&text);
}

/* An object of `count` members, the last of which is named `last`. */
static void put_members(struct buf *text, unsigned count, const char *last)
{
    buf_clear(text);
    buf_put_u8(text, '{');
    for (unsigned i = 1; i < count; i++)
        buf_printf(text, "\"member %u\":%u,", i, i);
    buf_printf(text, "\"%s\":0}", last);
}

static void an_object_may_have_members_to_the_limit_and_no_more(void **state)
{
    struct json_limits small = {.max_depth = 100, .max_members = 1023};
    struct buf text;
    struct buf out;

    (void)state;
    buf_init(&text, OUT_BYTES);
    buf_init(&out, OUT_BYTES);
    put_members(&text, 1024, "last");
    assert_int_equal(json_to_msgpack(buf_span(&text), &limits, &out, NULL), JSON_OK);
    assert_int_equal(json_check_msgpack(buf_span(&out), &limits, NULL), JSON_OK);
    assert_int_equal(json_check_msgpack(buf_span(&out), &small, NULL), JSON_MEMBERS);
    put_members(&text, 1025, "last");
    assert_int_equal(json_to_msgpack(buf_span(&text), &limits, &out, NULL), JSON_MEMBERS);
    buf_done(&text);
    buf_done(&out);
}

static void a_name_twice_is_found_in_objects_of_every_size(void **state)
{
    struct json_limits large = {.max_depth = 100, .max_members = JSON_MEMBERS_LIMIT};
    struct json_error error;
    struct buf text;
    struct buf out;

    (void)state;
    buf_init(&text, OUT_BYTES);
    buf_init(&out, OUT_BYTES);
    for (unsigned count = 2; count <= JSON_MEMBERS_LIMIT; count += count < 80 ? 1 : 502) {
        char first[32];

        put_members(&text, count, "last");
        buf_clear(&out);
        assert_int_equal(json_to_msgpack(buf_span(&text), &large, &out, NULL), JSON_OK);
        assert_int_equal(json_check_msgpack(buf_span(&out), &large, NULL), JSON_OK);
        snprintf(first, sizeof(first), "member %u", 1 + count / 3 % (count - 1));
        put_members(&text, count, first);
        assert_int_equal(json_to_msgpack(buf_span(&text), &large, &out, &error), JSON_DUPLICATE);
        assert_int_equal(error.offset, text.len - strlen(first) - 5);
    }
    buf_done(&text);
    buf_done(&out);
}

static void heads_of_long_arrays_and_strings_have_their_longest_form(void **state)
{
    struct buf text;
    struct buf out;

    (void)state;
    buf_init(&text, OUT_BYTES);
    buf_init(&out, OUT_BYTES);
    buf_put_str(&text, "[0");
    for (unsigned i = 1; i < 65536; i++)
        buf_put_str(&text, ",0");
    buf_put_str(&text, "]");
    assert_int_equal(json_to_msgpack(buf_span(&text), &limits, &out, NULL), JSON_OK);
    assert_int_equal(out.len, 5 + 65536);
    assert_memory_equal(out.data, "\xdd\x00\x01\x00\x00\x00", 6);
    buf_clear(&text);
    buf_clear(&out);
    buf_put_str(&text, "\"");
    for (unsigned i = 0; i < 65536; i++)
        buf_put_str(&text, "x");
    buf_put_str(&text, "\"");
    assert_int_equal(json_to_msgpack(buf_span(&text), &limits, &out, NULL), JSON_OK);
    assert_int_equal(out.len, 5 + 65536);
    assert_memory_equal(out.data, "\xdb\x00\x01\x00\x00x", 6);
    buf_done(&text);
    buf_done(&out);
}

/* For every maximum from 0 up: a clear refusal, and what was there before is kept. */
static void a_buffer_without_room_is_a_limit_both_ways(void **state)
{
    static const char text[] =
        "{\"a\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17],\"b\":\"x\\ny\",\"c\""
        ":1.5,\"d\":true}";
    struct buf msgpack;
    struct buf whole;
    struct buf out;

    (void)state;
    buf_init(&msgpack, OUT_BYTES);
    buf_init(&whole, OUT_BYTES);
    assert_int_equal(json_to_msgpack(span_of_str(text), &limits, &msgpack, NULL), JSON_OK);
    assert_int_equal(json_from_msgpack(buf_span(&msgpack), &whole, NULL), JSON_OK);
    assert_string_equal(text, (buf_put_u8(&whole, 0), (char *)whole.data));
    for (size_t max = 1; max < sizeof(text); max++) {
        buf_init(&out, max);
        buf_put_u8(&out, 'k');
        if (json_to_msgpack(span_of_str(text), &limits, &out, NULL) == JSON_OK)
            assert_true(max > msgpack.len);
        else
            assert_true(out.len == 1 && out.data[0] == 'k' && max < msgpack.len + 8);
        buf_clear(&out);
        buf_put_u8(&out, 'k');
        assert_int_equal(json_from_msgpack(buf_span(&msgpack), &out, NULL), JSON_LIMIT);
        assert_true(out.len == 1 && out.data[0] == 'k');
        buf_done(&out);
    }
    buf_done(&msgpack);
    buf_done(&whole);
}

static void numbers_do_not_depend_on_the_locale(void **state)
{
    static const char text[] = "[1.5,0.30000000000000004,1.7976931348623157e+308,5e-324]";
    struct buf msgpack;
    struct buf out;

    (void)state;
    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL && setlocale(LC_ALL, "fr_FR.UTF-8") == NULL)
        skip(); /* no locale with a comma is installed here */
    buf_init(&msgpack, OUT_BYTES);
    buf_init(&out, OUT_BYTES);
    assert_int_equal(json_to_msgpack(span_of_str(text), &limits, &msgpack, NULL), JSON_OK);
    assert_int_equal(json_from_msgpack(buf_span(&msgpack), &out, NULL), JSON_OK);
    assert_true(span_is_str(buf_span(&out), text));
    setlocale(LC_ALL, "C");
    buf_done(&msgpack);
    buf_done(&out);
}

static void every_problem_has_words(void **state)
{
    (void)state;
    for (int problem = JSON_OK; problem <= JSON_MEMORY; problem++)
        assert_string_not_equal(json_problem_words((enum json_problem)problem), "unknown problem");
    assert_string_equal(json_problem_words(JSON_DUPLICATE), "duplicate member name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_read_as_their_cases_say),
        cmocka_unit_test(texts_are_refused_as_their_cases_say),
        cmocka_unit_test(msgpack_is_written_as_its_cases_say),
        cmocka_unit_test(msgpack_is_checked_as_its_cases_say),
        cmocka_unit_test(what_is_read_survives_a_round),
        cmocka_unit_test(a_text_that_is_cut_anywhere_is_refused),
        cmocka_unit_test(a_text_may_nest_to_the_limit_and_no_deeper),
        cmocka_unit_test(msgpack_that_nests_deeper_than_the_writer_goes_is_refused),
        cmocka_unit_test(an_object_may_have_members_to_the_limit_and_no_more),
        cmocka_unit_test(a_name_twice_is_found_in_objects_of_every_size),
        cmocka_unit_test(heads_of_long_arrays_and_strings_have_their_longest_form),
        cmocka_unit_test(a_buffer_without_room_is_a_limit_both_ways),
        cmocka_unit_test(numbers_do_not_depend_on_the_locale),
        cmocka_unit_test(every_problem_has_words),
    };
    int failed;

    guard_init(&guard);
    failed = cmocka_run_group_tests_name("json", tests, NULL, NULL);
    guard_done(&guard);
    return failed;
}
