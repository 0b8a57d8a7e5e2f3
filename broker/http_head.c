/*
 * http_head.c: reads a head line by line. A line is looked at only once its LF has arrived: memchr
 * finds it, from where the last call stopped looking, so that each byte is searched once and parsed
 * once however the input is cut. Only the first byte and the limits are checked before that, so
 * that a client that speaks something else (TLS, for instance) is answered at once.
 *
 * Whatever decides where the message ends is kept while the fields pass by and judged together at
 * the empty line (judge_framing).
 */
#include "broker/http_head.h"

#include <string.h>
#include <strings.h>

/* Classes of bytes: token (RFC 9110 section 5.6.2), origin-form (RFC 9112 section 3.2.1 by RFC 3986
 * section 3.3, '%' is looked at apart), field value (RFC 9110 section 5.5), host with port. */
enum { IS_TOKEN = 1, IS_TARGET = 2, IS_VALUE = 4, IS_HOST = 8 };

/* clang-format off */
#define ALNUM (IS_TOKEN | IS_TARGET | IS_VALUE | IS_HOST)
static const uint8_t byte_class[256] = {
    ['\t'] = IS_VALUE, [' '] = IS_VALUE,
    ['!'] = ALNUM, ['"'] = IS_VALUE, ['#'] = IS_TOKEN | IS_VALUE, ['$'] = ALNUM,
    ['%'] = ALNUM, ['&'] = ALNUM, ['\''] = ALNUM,
    ['('] = IS_TARGET | IS_VALUE | IS_HOST, [')'] = IS_TARGET | IS_VALUE | IS_HOST,
    ['*'] = ALNUM, ['+'] = ALNUM, [','] = IS_TARGET | IS_VALUE | IS_HOST,
    ['-'] = ALNUM, ['.'] = ALNUM, ['/'] = IS_TARGET | IS_VALUE,
    ['0' ... '9'] = ALNUM,
    [':'] = IS_TARGET | IS_VALUE | IS_HOST, [';'] = IS_TARGET | IS_VALUE | IS_HOST,
    ['<'] = IS_VALUE, ['='] = IS_TARGET | IS_VALUE | IS_HOST, ['>'] = IS_VALUE,
    ['?'] = IS_TARGET | IS_VALUE, ['@'] = IS_TARGET | IS_VALUE,
    ['A' ... 'Z'] = ALNUM,
    ['['] = IS_VALUE | IS_HOST, ['\\'] = IS_VALUE, [']'] = IS_VALUE | IS_HOST,
    ['^'] = IS_TOKEN | IS_VALUE, ['_'] = ALNUM, ['`'] = IS_TOKEN | IS_VALUE,
    ['a' ... 'z'] = ALNUM,
    ['{'] = IS_VALUE, ['|'] = IS_TOKEN | IS_VALUE, ['}'] = IS_VALUE, ['~'] = ALNUM,
    [0x80 ... 0xff] = IS_VALUE,
};
#undef ALNUM
/* clang-format on */

static const struct {
    int error;
    const char *words;
} problems[] = {
#define X(name, jm_error, text) [name] = {jm_error, text},
    HTTP_PROBLEMS(X)
#undef X
};

int http_head_error(enum http_problem problem)
{
    return problems[problem].error;
}

const char *http_head_words(enum http_problem problem)
{
    return problems[problem].words;
}

uint64_t http_head_limit(enum http_problem problem)
{
    switch (problem) {
    case HTTP_LONG_METHOD:
        return HTTP_METHOD_BYTES;
    case HTTP_LONG_TARGET:
        return HTTP_TARGET_BYTES;
    case HTTP_LONG_HEAD:
        return HTTP_HEAD_BYTES;
    case HTTP_MANY_FIELDS:
        return HTTP_HEAD_FIELDS;
    case HTTP_LONG_CHUNK_EXT:
        return 4096;
    case HTTP_LONG_TRAILER:
        return 8192;
    default:
        return 0;
    }
}

void http_head_init(struct http_head *head)
{
    memset(head, 0, offsetof(struct http_head, fields)); /* the fields are filled as they come */
}

static enum http_progress is_bad(struct http_head *head, enum http_problem problem, size_t at)
{
    head->problem = problem;
    head->problem_at = at;
    return HTTP_BAD;
}

static struct http_piece piece_of(size_t at, size_t end)
{
    return (struct http_piece){.at = (uint16_t)at, .len = (uint16_t)(end - at)};
}

/* The first offset in [at, end) whose byte is not of the class; or `end`. */
static size_t skip_class(const uint8_t *base, size_t at, size_t end, unsigned class)
{
    while (at < end && (byte_class[base[at]] & class) != 0)
        at++;
    return at;
}

bool http_head_is_token(uint8_t byte)
{
    return (byte_class[byte] & IS_TOKEN) != 0;
}

bool http_head_is_value(uint8_t byte)
{
    return (byte_class[byte] & IS_VALUE) != 0;
}

static bool is_hex(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f');
}

/* ---- the request line ---- */

static enum http_method method_of(const uint8_t *word, size_t len)
{
#define X(name, text)                                                         \
    if (len == sizeof(text) - 1 && memcmp(word, text, sizeof(text) - 1) == 0) \
        return name;
    HTTP_METHODS(X)
#undef X
    return HTTP_OTHER;
}

/* path and query of [at, end): origin-form, or what follows the authority of an URL. */
static enum http_progress read_path(struct http_head *head, const uint8_t *base, size_t at,
                                    size_t end)
{
    size_t path_end = end;
    size_t i = skip_class(base, at, end, IS_TARGET);

    if (i != end)
        return is_bad(head, HTTP_BAD_TARGET_BYTE, i);
    for (i = at; i < end; i++) {
        if (base[i] == '?' && path_end == end)
            path_end = i;
        if (base[i] == '%' && (end - i < 3 || !is_hex(base[i + 1]) || !is_hex(base[i + 2])))
            return is_bad(head, HTTP_BAD_PERCENT, i);
    }
    head->path = piece_of(at, path_end);
    head->query = piece_of(path_end < end ? path_end + 1 : end, end);
    return HTTP_DONE;
}

/* [at, end) as host with an optional port, by its characters; an IP literal in brackets. RFC 3986
 * section 3.2. Empty is allowed. */
static bool is_host(const uint8_t *base, size_t at, size_t end)
{
    size_t i = at;

    if (i < end && base[i] == '[') {
        while (i < end && base[i] != ']')
            if (base[i++] == '%')
                return false;
        if (i == end)
            return false;
        i++;
    } else {
        while (i < end && base[i] != ':')
            if (base[i] == '[' || base[i++] == ']')
                return false;
    }
    if (skip_class(base, at, i, IS_HOST) != i)
        return false;
    if (i < end && base[i++] != ':')
        return false;
    while (i < end)
        if (base[i] < '0' || base[i++] > '9')
            return false;
    return true;
}

/* absolute-form: its authority counts and the Host field does not (RFC 9112 section 3.2.2); neither
 * is used here. */
static enum http_progress read_url(struct http_head *head, const uint8_t *base, size_t at,
                                   size_t end)
{
    size_t len = end - at;
    size_t host;
    size_t host_end;

    if (len > 7 && strncasecmp((const char *)base + at, "http://", 7) == 0)
        host = at + 7;
    else if (len > 8 && strncasecmp((const char *)base + at, "https://", 8) == 0)
        host = at + 8;
    else
        return is_bad(head, HTTP_BAD_TARGET, at);
    host_end = host;
    while (host_end < end && base[host_end] != '/' && base[host_end] != '?')
        host_end++;
    if (host_end == host || !is_host(base, host, host_end))
        return is_bad(head, HTTP_BAD_TARGET, host);
    head->has_root_path = host_end == end || base[host_end] == '?';
    return read_path(head, base, host_end, end);
}

static enum http_progress read_target(struct http_head *head, const uint8_t *base, size_t at,
                                      size_t end)
{
    if (end - at > HTTP_TARGET_BYTES)
        return is_bad(head, HTTP_LONG_TARGET, at);
    if (base[at] == '/')
        return read_path(head, base, at, end);
    if (base[at] != '*')
        return read_url(head, base, at, end);
    if (end - at != 1 || head->method != HTTP_OPTIONS)
        return is_bad(head, HTTP_BAD_TARGET, at);
    head->path = piece_of(at, end);
    return HTTP_DONE;
}

static enum http_progress read_version(struct http_head *head, const uint8_t *base, size_t at,
                                       size_t end)
{
    const uint8_t *v = base + at;

    if (end - at != 8 || memcmp(v, "HTTP/", 5) != 0 || v[5] < '0' || v[5] > '9' || v[6] != '.' ||
        v[7] < '0' || v[7] > '9')
        return is_bad(head, memchr(v, ' ', end - at) != NULL ? HTTP_BAD_LINE : HTTP_BAD_VERSION,
                      at);
    if (v[5] != '1' || v[7] > '1')
        return is_bad(head, HTTP_OTHER_VERSION, at);
    head->minor = (uint8_t)(v[7] - '0');
    return HTTP_DONE;
}

static enum http_progress read_method(struct http_head *head, const uint8_t *base, size_t at,
                                      size_t end)
{
    if (end == at || skip_class(base, at, end, IS_TOKEN) != end)
        return is_bad(head, HTTP_BAD_METHOD, at);
    if (end - at > HTTP_METHOD_BYTES)
        return is_bad(head, HTTP_LONG_METHOD, at);
    head->method = method_of(base + at, end - at);
    head->method_name = piece_of(at, end);
    if (end - at == 7 && memcmp(base + at, "CONNECT", 7) == 0)
        return is_bad(head, HTTP_CONNECT, at);
    return HTTP_DONE;
}

/* method SP request-target SP HTTP-version; [at, end) is the line without its CR LF. */
static enum http_progress read_request_line(struct http_head *head, const uint8_t *base, size_t at,
                                            size_t end)
{
    const uint8_t *space = memchr(base + at, ' ', end - at);
    size_t target;
    enum http_progress done;

    done = read_method(head, base, at, space != NULL ? (size_t)(space - base) : end);
    if (done != HTTP_DONE)
        return done;
    if (space == NULL)
        return is_bad(head, HTTP_BAD_LINE, at);
    target = (size_t)(space - base) + 1;
    space = memchr(base + target, ' ', end - target);
    if (space == NULL || space == base + target)
        return is_bad(head, HTTP_BAD_LINE, target);
    done = read_version(head, base, (size_t)(space - base) + 1, end);
    if (done != HTTP_DONE)
        return done;
    head->has_line = true;
    return read_target(head, base, target, (size_t)(space - base));
}

/* ---- fields ---- */

static bool is_word(const uint8_t *base, struct http_piece piece, const char *word)
{
    return piece.len == strlen(word) &&
           strncasecmp((const char *)base + piece.at, word, piece.len) == 0;
}

static enum http_progress take_length(struct http_head *head, const uint8_t *base,
                                      struct http_piece value)
{
    uint64_t length = 0;

    if (head->has_length)
        return is_bad(head, HTTP_TWO_LENGTHS, value.at);
    if (value.len == 0 || value.len > 18) /* 18 digits stay below 2^63 */
        return is_bad(head, HTTP_BAD_LENGTH, value.at);
    for (size_t i = value.at; i < (size_t)value.at + value.len; i++) {
        if (base[i] < '0' || base[i] > '9')
            return is_bad(head, HTTP_BAD_LENGTH, i);
        length = length * 10 + (uint64_t)(base[i] - '0');
    }
    head->has_length = true;
    head->content_length = length;
    return HTTP_DONE;
}

static enum http_progress take_coding(struct http_head *head, const uint8_t *base,
                                      struct http_piece value)
{
    if (head->is_chunked)
        return is_bad(head, HTTP_TWO_CODINGS, value.at);
    if (!is_word(base, value, "chunked")) {
        bool is_list = value.len > 7 &&
                       strncasecmp((const char *)base + value.at, "chunked", 7) == 0 &&
                       memchr(base + value.at, ',', value.len) != NULL;
        return is_bad(head, is_list ? HTTP_TWO_CODINGS : HTTP_OTHER_CODING, value.at);
    }
    head->is_chunked = true;
    return HTTP_DONE;
}

static enum http_progress take_host(struct http_head *head, const uint8_t *base,
                                    struct http_piece value)
{
    if (head->has_host)
        return is_bad(head, HTTP_TWO_HOSTS, value.at);
    if (!is_host(base, value.at, (size_t)value.at + value.len))
        return is_bad(head, HTTP_BAD_HOST, value.at);
    head->has_host = true;
    return HTTP_DONE;
}

/* A comma-separated list of tokens; empty members are allowed (RFC 9110 section 5.6.1.2). */
static enum http_progress take_connection(struct http_head *head, const uint8_t *base,
                                          struct http_piece value)
{
    size_t end = (size_t)value.at + value.len;
    size_t at = value.at;

    while (at < end) {
        size_t stop = skip_class(base, at, end, IS_TOKEN);
        struct http_piece word = piece_of(at, stop);

        if (is_word(base, word, "close"))
            head->has_close = true;
        else if (is_word(base, word, "keep-alive"))
            head->has_keep_alive = true;
        while (stop < end && (base[stop] == ' ' || base[stop] == '\t'))
            stop++;
        if (stop < end && base[stop] != ',')
            return is_bad(head, HTTP_BAD_CONNECTION, stop);
        at = stop + 1;
        while (at < end && (base[at] == ' ' || base[at] == '\t'))
            at++;
    }
    return HTTP_DONE;
}

static enum http_progress take_expect(struct http_head *head, const uint8_t *base,
                                      struct http_piece value)
{
    if (head->minor == 0)
        return HTTP_DONE; /* HTTP/1.0 knows no expectations: to be ignored */
    if (!is_word(base, value, "100-continue"))
        return is_bad(head, HTTP_BAD_EXPECT, value.at);
    head->expects_continue = true;
    return HTTP_DONE;
}

/* The few fields that the server itself lives by; the length tells most others off at once. */
static enum http_progress take_field(struct http_head *head, const uint8_t *base,
                                     const struct http_field *field)
{
    switch (field->name.len) {
    case 4:
        if (is_word(base, field->name, "Host"))
            return take_host(head, base, field->value);
        break;
    case 6:
        if (is_word(base, field->name, "Expect"))
            return take_expect(head, base, field->value);
        break;
    case 10:
        if (is_word(base, field->name, "Connection"))
            return take_connection(head, base, field->value);
        break;
    case 14:
        if (is_word(base, field->name, "Content-Length"))
            return take_length(head, base, field->value);
        break;
    case 17:
        if (is_word(base, field->name, "Transfer-Encoding"))
            return take_coding(head, base, field->value);
        break;
    }
    return HTTP_DONE;
}

static enum http_progress read_field(struct http_head *head, const uint8_t *base, size_t at,
                                     size_t end)
{
    struct http_field *field = &head->fields[head->field_count];
    size_t colon = skip_class(base, at, end, IS_TOKEN);
    size_t value = colon + 1;
    size_t bad;

    if (base[at] == ' ' || base[at] == '\t')
        return is_bad(head, HTTP_FOLDED, at);
    if (head->field_count == HTTP_HEAD_FIELDS)
        return is_bad(head, HTTP_MANY_FIELDS, at);
    if (colon == at || colon == end || base[colon] != ':')
        return is_bad(head, HTTP_BAD_NAME, colon);
    bad = skip_class(base, value, end, IS_VALUE);
    if (bad != end)
        return is_bad(head, HTTP_BAD_VALUE, bad);
    while (value < end && (base[value] == ' ' || base[value] == '\t'))
        value++;
    while (end > value && (base[end - 1] == ' ' || base[end - 1] == '\t'))
        end--;
    field->name = piece_of(at, colon);
    field->value = piece_of(value, end);
    head->field_count++;
    return take_field(head, base, field);
}

/* The end of the head: do its fields agree on where the message ends? RFC 9112 section 6. */
static enum http_progress judge_framing(struct http_head *head, size_t len)
{
    head->len = len;
    if (head->minor == 1 && !head->has_host)
        return is_bad(head, HTTP_NO_HOST, len);
    if (head->is_chunked && head->minor == 0)
        return is_bad(head, HTTP_CODING_IN_1_0, len);
    if (head->is_chunked && head->has_length)
        return is_bad(head, HTTP_LENGTH_AND_CODING, len);
    head->keeps_alive = !head->has_close && (head->minor == 1 || head->has_keep_alive);
    return HTTP_DONE;
}

/* ---- lines ---- */

/* The line is not complete: is it worth waiting for the rest? */
static enum http_progress judge_rest(struct http_head *head, struct span input)
{
    size_t line_len = input.len - head->line_at;

    if (!head->has_line && line_len > 0 && input.data[head->line_at] != '\r' &&
        (byte_class[input.data[head->line_at]] & IS_TOKEN) == 0)
        return is_bad(head, HTTP_BAD_METHOD, head->line_at);
    if (!head->has_line && line_len > HTTP_METHOD_BYTES + HTTP_TARGET_BYTES + 12)
        return is_bad(head, HTTP_LONG_TARGET, head->line_at);
    if (input.len >= HTTP_HEAD_BYTES)
        return is_bad(head, HTTP_LONG_HEAD, head->line_at);
    head->seen = (uint32_t)input.len;
    return HTTP_MORE;
}

/* [at, end) is one line without its CR LF. HTTP_MORE: a line of many. */
static enum http_progress read_line(struct http_head *head, const uint8_t *base, size_t at,
                                    size_t end)
{
    enum http_progress done;

    if (at == end && head->has_line)
        return judge_framing(head, end + 2);
    if (at == end)
        /* One empty line before a request is to be ignored (RFC 9112 section 2.2). */
        return at == 0 ? HTTP_MORE : is_bad(head, HTTP_BAD_LINE, at);
    done =
        head->has_line ? read_field(head, base, at, end) : read_request_line(head, base, at, end);
    return done == HTTP_DONE ? HTTP_MORE : done;
}

enum http_progress http_head_parse(struct http_head *head, struct span input)
{
    /* Nothing beyond the limit is looked at, so that offsets fit into 16 bits. */
    if (input.len > HTTP_HEAD_BYTES)
        input.len = HTTP_HEAD_BYTES;
    while (head->seen < input.len) {
        const uint8_t *base = input.data;
        const uint8_t *lf = memchr(base + head->seen, '\n', input.len - head->seen);
        enum http_progress progress;
        size_t end;

        if (lf == NULL)
            break;
        end = (size_t)(lf - base);
        if (end == head->line_at || base[end - 1] != '\r')
            return is_bad(head, HTTP_BARE_LF, end);
        progress = read_line(head, base, head->line_at, end - 1);
        if (progress != HTTP_MORE)
            return progress;
        head->line_at = (uint32_t)end + 1;
        head->seen = head->line_at;
    }
    return judge_rest(head, input);
}

bool http_head_find(const struct http_head *head, const uint8_t *base, const char *name,
                    struct span *ret_value)
{
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];

        if (is_word(base, field->name, name)) {
            *ret_value = span_of(base + field->value.at, field->value.len);
            return true;
        }
    }
    return false;
}
