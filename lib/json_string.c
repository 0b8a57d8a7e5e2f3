/*
 * Both functions read escapes with the same code: the first to check them, the second to resolve
 * them, which then cannot fail.
 */
#include "lib/json_string.h"

#include <assert.h>
#include <string.h>

#include "lib/json_plain.h"
#include "lib/utf8.h"

struct text {
    const uint8_t *at;
    const uint8_t *end;
};

static enum json_problem unexpected(const struct text *t)
{
    return t->at == t->end ? JSON_TRUNCATED : JSON_SYNTAX;
}

static int hex_value(uint8_t c)
{
    if ((uint8_t)(c - '0') < 10)
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hex digits at t->at; -1 leaves t->at on the first that is none. */
static int read_hex4(struct text *t)
{
    int code = 0;

    for (int i = 0; i < 4; i++, t->at++) {
        int digit = t->at < t->end ? hex_value(*t->at) : -1;

        if (digit < 0)
            return -1;
        code = code << 4 | digit;
    }
    return code;
}

static bool is_high_surrogate(int code)
{
    return code >= 0xd800 && code <= 0xdbff;
}

static bool is_low_surrogate(int code)
{
    return code >= 0xdc00 && code <= 0xdfff;
}

/* The four digits of a \u escape, and the second escape that a high surrogate needs. On
 * JSON_SURROGATE t->at is where the lone one began. */
static enum json_problem read_unicode(struct text *t, uint32_t *ret_code)
{
    const uint8_t *escape = t->at - 2; /* the backslash */
    int high = read_hex4(t);
    int low;

    if (high < 0)
        return unexpected(t);
    *ret_code = (uint32_t)high;
    if (!is_high_surrogate(high) && !is_low_surrogate(high))
        return JSON_OK;
    if (is_high_surrogate(high) && t->end - t->at >= 2 && t->at[0] == '\\' && t->at[1] == 'u') {
        t->at += 2;
        low = read_hex4(t);
        if (low < 0)
            return unexpected(t);
        *ret_code = 0x10000 + ((uint32_t)(high & 0x3ff) << 10) + (uint32_t)(low & 0x3ff);
        if (is_low_surrogate(low))
            return JSON_OK;
    }
    t->at = escape;
    return JSON_SURROGATE;
}

/* Reads the escape at t->at, a backslash. */
static enum json_problem read_escape(struct text *t, uint32_t *ret_code)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    const char *letter;

    t->at++;
    if (t->at == t->end)
        return JSON_TRUNCATED;
    if (*t->at == 'u') {
        t->at++;
        return read_unicode(t, ret_code);
    }
    letter = *t->at != 0 ? strchr(letters, *t->at) : NULL;
    if (letter == NULL)
        return JSON_SYNTAX;
    *ret_code = (uint8_t)meanings[letter - letters];
    t->at++;
    return JSON_OK;
}

static enum json_problem scan_char(struct text *t, bool *ret_has_escapes)
{
    uint32_t code;
    size_t n;

    if (*t->at == '\\') {
        *ret_has_escapes = true;
        return read_escape(t, &code);
    }
    if (*t->at < 0x20)
        return JSON_SYNTAX;
    n = utf8_char_bytes(span_of(t->at, (size_t)(t->end - t->at)));
    t->at += n;
    return n > 0 ? JSON_OK : JSON_UTF8;
}

enum json_problem json_string_scan(const uint8_t **at, const uint8_t *end, bool *ret_has_escapes)
{
    struct text t = {*at, end};
    enum json_problem problem = JSON_OK;

    *ret_has_escapes = false;
    while (problem == JSON_OK) {
        t.at = json_skip_plain(t.at, end);
        if (t.at == end)
            problem = JSON_TRUNCATED;
        else if (*t.at == '"')
            break;
        else
            problem = scan_char(&t, ret_has_escapes);
    }
    *at = t.at;
    return problem;
}

size_t json_string_unescape(const uint8_t *at, const uint8_t *end, uint8_t *ret_text)
{
    struct text t = {at, end};
    uint8_t *to = ret_text;
    uint32_t code = 0;

    while (t.at < end) {
        const uint8_t *slash = memchr(t.at, '\\', (size_t)(end - t.at));
        size_t run = (size_t)((slash != NULL ? slash : end) - t.at);
        enum json_problem problem;

        memcpy(to, t.at, run);
        to += run;
        t.at += run;
        if (slash == NULL)
            break;
        problem = read_escape(&t, &code);
        assert(problem == JSON_OK);
        to += utf8_format(code, to);
    }
    return (size_t)(to - ret_text);
}
