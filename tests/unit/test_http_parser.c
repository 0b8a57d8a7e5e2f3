/*
 * test_http_parser.c: the heads and chunked bodies of tests/cases/http (its README tells the
 * format), each fed whole at the end of a guard page and byte by byte, with the same outcome.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "broker/http_chunk.h"
#include "broker/http_head.h"
#include "lib/buf.h"
#include "tests/unit/guard.h"
#include "tests/unit/hex.h"

enum { CASE_BYTES = 65536 };

struct parse_case {
    const char *file;
    unsigned line; /* of the title */
    char title[160];
    struct buf input;
    char expected[8192];
    unsigned failures; /* in this case */
};

typedef void (*run_cb)(struct parse_case *pc, struct guard *g);

static const char *const problem_names[] = {
#define X(name, error, words) [name] = #name,
    HTTP_PROBLEMS(X)
#undef X
};

static void complain(struct parse_case *pc, const char *how, const char *fmt, ...) JM_PRINTF(3, 4);

static void complain(struct parse_case *pc, const char *how, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "%s:%u: %s (%s): ", pc->file, pc->line, pc->title, how);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    pc->failures++;
}

/* ---- reading the case files ---- */

/* Appends `text` with its escapes resolved. */
static void put_escaped(struct buf *out, const char *text)
{
    static const char letters[] = "rnt0\\";
    static const char bytes[] = "\r\n\t\0\\";

    for (const char *at = text; *at != '\0'; at++) {
        const char *letter;

        if (*at != '\\') {
            buf_put_u8(out, (uint8_t)*at);
        } else if (at[1] == 'x') {
            buf_put_u8(out, (uint8_t)(hex_digit(at[2]) << 4 | hex_digit(at[3])));
            at += 3;
        } else {
            letter = strchr(letters, at[1]);
            assert_non_null(letter);
            buf_put_u8(out, (uint8_t)bytes[letter - letters]);
            at++;
        }
    }
}

static void put_line(struct buf *out, const char *text)
{
    char *end;
    unsigned long times = 1;

    if (text[0] == '*' && text[1] >= '0' && text[1] <= '9') {
        times = strtoul(text + 1, &end, 10);
        text = end + 1;
    }
    while (times-- > 0)
        put_escaped(out, text);
}

/* Runs every case of a file; returns how many there were, and adds those that failed. */
static unsigned run_file(const char *name, run_cb run, unsigned *failed)
{
    struct parse_case *pc = calloc(1, sizeof(*pc));
    struct guard g;
    char path[512];
    char line[8192];
    unsigned cases = 0;
    unsigned number = 0;
    FILE *file;

    assert_non_null(pc);
    snprintf(path, sizeof(path), "%s/tests/cases/http/%s", JM_SOURCE_DIR, name);
    file = fopen(path, "r");
    assert_non_null(file);
    guard_init(&g);
    pc->file = name;
    buf_init(&pc->input, CASE_BYTES);
    while (fgets(line, sizeof(line), file) != NULL) {
        number++;
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "title: ", 7) == 0) {
            snprintf(pc->title, sizeof(pc->title), "%.150s", line + 7);
            pc->line = number;
        } else if (line[0] == '|') {
            put_line(&pc->input, line + 1);
        } else if (strncmp(line, "= ", 2) == 0) {
            assert_false(buf_has_failed(&pc->input));
            memcpy(pc->expected, line + 2, sizeof(line) - 2);
            run(pc, &g);
            cases++;
            *failed += pc->failures > 0;
            pc->failures = 0;
            buf_clear(&pc->input);
        }
    }
    fclose(file);
    guard_done(&g);
    buf_done(&pc->input);
    free(pc);
    return cases;
}

/* ---- one head ---- */

static bool is_piece(struct span input, struct http_piece piece, const char *text)
{
    return span_is_str(span_of(input.data + piece.at, piece.len), text);
}

static bool is_header(const struct http_head *head, struct span input, const char *wanted)
{
    const char *equals = strchr(wanted, '=');
    char name[64];
    struct buf value;
    struct span found;
    bool is_same;

    assert_non_null(equals);
    snprintf(name, sizeof(name), "%.*s", (int)(equals - wanted), wanted);
    buf_init(&value, 4096);
    put_escaped(&value, equals + 1);
    is_same =
        http_head_find(head, input.data, name, &found) && span_is_equal(found, buf_span(&value));
    buf_done(&value);
    return is_same;
}

static bool is_number(const char *text, unsigned long long number)
{
    return strtoull(text, NULL, 10) == number;
}

/* One "key=value" of an expectation. */
static bool is_as_told(const struct http_head *head, struct span input, const char *key,
                       const char *value)
{
    if (strcmp(key, "method") == 0)
        return is_piece(input, head->method_name, value);
    if (strcmp(key, "path") == 0)
        return head->has_root_path ? strcmp(value, "/") == 0 && head->path.len == 0
                                   : is_piece(input, head->path, value);
    if (strcmp(key, "query") == 0)
        return is_piece(input, head->query, value);
    if (strcmp(key, "minor") == 0)
        return is_number(value, head->minor);
    if (strcmp(key, "keep") == 0)
        return is_number(value, head->keeps_alive);
    if (strcmp(key, "expect") == 0)
        return is_number(value, head->expects_continue);
    if (strcmp(key, "chunked") == 0)
        return is_number(value, head->is_chunked);
    if (strcmp(key, "fields") == 0)
        return is_number(value, head->field_count);
    if (strcmp(key, "rest") == 0)
        return is_number(value, input.len - head->len);
    if (strcmp(key, "length") == 0)
        return strcmp(value, "none") == 0
                   ? !head->has_length
                   : head->has_length && is_number(value, head->content_length);
    return false;
}

static void check_done(struct parse_case *pc, const char *how, const struct http_head *head,
                       struct span input)
{
    char expected[sizeof(pc->expected)];
    char *header;
    char *save = NULL;

    snprintf(expected, sizeof(expected), "%s", pc->expected + 4);
    header = strstr(expected, "header:");
    if (header != NULL) {
        if (!is_header(head, input, header + 7))
            complain(pc, how, "not so: %s", header);
        *header = '\0';
    }
    for (char *word = strtok_r(expected, " ", &save); word != NULL;
         word = strtok_r(NULL, " ", &save)) {
        char *equals = strchr(word, '=');

        assert_non_null(equals);
        *equals = '\0';
        if (!is_as_told(head, input, word, equals + 1))
            complain(pc, how, "not so: %s=%s", word, equals + 1);
    }
}

static void check_head(struct parse_case *pc, const char *how, enum http_progress progress,
                       const struct http_head *head, struct span input)
{
    if (progress == HTTP_BAD) {
        if (strncmp(pc->expected, "bad ", 4) != 0 ||
            strcmp(pc->expected + 4, problem_names[head->problem]) != 0)
            complain(pc, how, "bad %s at %zu", problem_names[head->problem], head->problem_at);
    } else if (progress == HTTP_MORE) {
        if (strcmp(pc->expected, "more") != 0)
            complain(pc, how, "more is wanted");
    } else if (strncmp(pc->expected, "done", 4) != 0) {
        complain(pc, how, "done");
    } else {
        check_done(pc, how, head, input);
    }
}

static void run_head(struct parse_case *pc, struct guard *g)
{
    struct span all = buf_span(&pc->input);
    struct http_head head;
    enum http_progress progress;
    struct span input = guard_copy(g, all);

    http_head_init(&head);
    progress = http_head_parse(&head, input);
    check_head(pc, "whole", progress, &head, input);

    http_head_init(&head);
    progress = HTTP_MORE;
    for (size_t len = 1; len <= all.len && progress == HTTP_MORE; len++) {
        input = guard_copy(g, span_of(all.data, len)); /* it moves each time */
        progress = http_head_parse(&head, input);
    }
    check_head(pc, "byte by byte", progress, &head, progress == HTTP_DONE ? all : input);
}

/* ---- one chunked body ---- */

/* Feeds pieces of `step` bytes at the guard page; the body goes to `ret_body`. */
static enum http_progress feed_chunks(struct guard *g, struct http_chunk *chunk, struct span all,
                                      size_t step, size_t *ret_used, struct buf *ret_body)
{
    size_t used = 0;

    while (used < all.len) {
        size_t len = all.len - used < step ? all.len - used : step;
        struct span input = guard_copy(g, span_of(all.data + used, len));
        enum http_progress progress;
        struct span data;
        size_t n;

        progress = http_chunk_step(chunk, input, &n, &data);
        buf_put_span(ret_body, data);
        used += n;
        *ret_used = used;
        if (progress != HTTP_MORE)
            return progress;
    }
    return HTTP_MORE;
}

static void check_body(struct parse_case *pc, const char *how, size_t rest, const struct buf *body)
{
    const char *text = strstr(pc->expected, "body=");
    struct buf wanted;

    assert_non_null(text);
    buf_init(&wanted, 4096);
    put_escaped(&wanted, text + 5);
    if (strncmp(pc->expected, "done rest=", 10) != 0 || !is_number(pc->expected + 10, rest))
        complain(pc, how, "done with a rest of %zu", rest);
    else if (!span_is_equal(buf_span(&wanted), buf_span(body)))
        complain(pc, how, "another body: %.*s", (int)body->len, (const char *)body->data);
    buf_done(&wanted);
}

static void run_chunked_by(struct parse_case *pc, struct guard *g, const char *how, size_t step)
{
    struct http_chunk chunk;
    struct buf body;
    size_t used = 0;
    enum http_progress progress;

    http_chunk_init(&chunk);
    buf_init(&body, CASE_BYTES);
    progress = feed_chunks(g, &chunk, buf_span(&pc->input), step, &used, &body);
    if (progress == HTTP_BAD) {
        if (strncmp(pc->expected, "bad ", 4) != 0 ||
            strcmp(pc->expected + 4, problem_names[chunk.problem]) != 0)
            complain(pc, how, "bad %s", problem_names[chunk.problem]);
    } else if (progress == HTTP_MORE) {
        if (strcmp(pc->expected, "more") != 0)
            complain(pc, how, "more is wanted");
    } else {
        check_body(pc, how, pc->input.len - used, &body);
    }
    buf_done(&body);
}

static void run_chunked(struct parse_case *pc, struct guard *g)
{
    run_chunked_by(pc, g, "whole", SIZE_MAX);
    run_chunked_by(pc, g, "byte by byte", 1);
}

/* ---- */

static void every_head_case_is_judged_as_its_file_says(void **state)
{
    static const char *const files[] = {"head_line.http", "head_target.http", "head_fields.http",
                                        "head_framing.http", "head_limits.http"};
    unsigned failed = 0;
    unsigned cases = 0;

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(files); i++)
        cases += run_file(files[i], run_head, &failed);
    assert_int_equal(failed, 0);
    assert_true(cases >= 150);
}

static void every_chunked_case_is_judged_as_its_file_says(void **state)
{
    unsigned failed = 0;

    (void)state;
    assert_true(run_file("chunked.http", run_chunked, &failed) >= 30);
    assert_int_equal(failed, 0);
}

static void every_problem_has_an_error_and_a_sentence(void **state)
{
    (void)state;
    for (size_t i = HTTP_FINE + 1; i < JM_COUNT_OF(problem_names); i++) {
        const char *words = http_head_words((enum http_problem)i);
        uint64_t limit = http_head_limit((enum http_problem)i);
        char number[24];

        assert_true(http_head_error((enum http_problem)i) < 0);
        assert_true(strlen(words) > 10);
        snprintf(number, sizeof(number), "%llu", (unsigned long long)limit);
        if (limit > 0)
            assert_non_null(strstr(words, number)); /* the sentence names the limit */
    }
}

/* A search from the start of the line at each byte would see 134 million bytes here. */
static void a_long_line_byte_by_byte_is_not_quadratic(void **state)
{
    static uint8_t input[HTTP_HEAD_BYTES - 1];
    static const char start[] = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    struct http_head head;
    size_t searched = 0;

    (void)state;
    memset(input, 'b', sizeof(input));
    memcpy(input, start, sizeof(start) - 1);
    http_head_init(&head);
    for (size_t len = 1; len <= sizeof(input); len++) {
        searched += len - head.seen; /* what memchr gets to see */
        assert_int_equal(http_head_parse(&head, span_of(input, len)), HTTP_MORE);
    }
    assert_true(searched <= 2 * sizeof(input));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_head_case_is_judged_as_its_file_says),
        cmocka_unit_test(every_chunked_case_is_judged_as_its_file_says),
        cmocka_unit_test(every_problem_has_an_error_and_a_sentence),
        cmocka_unit_test(a_long_line_byte_by_byte_is_not_quadratic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
