/*
 * http_chunk.c: one state for each place of the grammar, one byte a step, except for the data of a
 * chunk, which is handed on in one run.
 *
 *   SIZE0 ─hex→ SIZE ─────────CR→ SIZE_LF ─┬ size > 0 → DATA → DATA_CR → DATA_LF → SIZE0
 *                │ ';' or BWS      ↑       └ size = 0 → LINE
 *                └→ BWS ─';'→ EXT ─┘
 *   LINE ─CR→ END_LF → done
 *    └─token→ NAME ─':'→ VALUE ─CR→ LINE_LF → LINE
 */
#include "broker/http_chunk.h"

#include <string.h>

enum state {
    AT_SIZE0,
    AT_SIZE,
    AT_BWS,
    AT_EXT0,
    AT_EXT,
    AT_SIZE_LF,
    AT_DATA,
    AT_DATA_CR,
    AT_DATA_LF,
    AT_LINE,
    AT_NAME,
    AT_VALUE,
    AT_LINE_LF,
    AT_END_LF,
    AT_END,
};

void http_chunk_init(struct http_chunk *chunk)
{
    *chunk = (struct http_chunk){.state = AT_SIZE0};
}

static enum http_progress is_bad(struct http_chunk *c, enum http_problem problem)
{
    c->problem = problem;
    return HTTP_BAD;
}

static enum http_progress go(struct http_chunk *c, enum state next)
{
    c->state = next;
    return HTTP_MORE;
}

static int hex_of(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The size and what ends it. */
static enum http_progress step_size(struct http_chunk *c, uint8_t byte)
{
    int digit = hex_of(byte);

    if (digit >= 0) {
        if (++c->digits > HTTP_CHUNK_SIZE_DIGITS)
            return is_bad(c, HTTP_BAD_CHUNK_SIZE);
        c->left = c->left << 4 | (uint64_t)digit;
        return go(c, AT_SIZE);
    }
    if (c->state == AT_SIZE0)
        return is_bad(c, HTTP_BAD_CHUNK_SIZE);
    if (byte == '\r')
        return go(c, AT_SIZE_LF);
    if (byte == ';')
        return go(c, AT_EXT0);
    if (byte == ' ' || byte == '\t')
        return go(c, AT_BWS);
    return is_bad(c, byte == '\n' ? HTTP_BARE_LF : HTTP_BAD_CHUNK_SIZE);
}

/* Extensions are thrown away, so only their bytes are judged: no control character, and something
 * has to follow the ';'. */
static enum http_progress step_ext(struct http_chunk *c, uint8_t byte)
{
    if (++c->ext_bytes > HTTP_CHUNK_EXT_BYTES)
        return is_bad(c, HTTP_LONG_CHUNK_EXT);
    if (byte == ' ' || byte == '\t')
        return HTTP_MORE;
    if (c->state == AT_BWS)
        return byte == ';' ? go(c, AT_EXT0) : is_bad(c, HTTP_BAD_CHUNK_SIZE);
    if (byte == '\r' && c->state == AT_EXT)
        return go(c, AT_SIZE_LF);
    if (byte == '\n')
        return is_bad(c, HTTP_BARE_LF);
    if (byte < 0x20 || byte == 0x7f || (byte == ';' && c->state == AT_EXT0))
        return is_bad(c, HTTP_BAD_CHUNK_EXT);
    return go(c, byte == ';' ? AT_EXT0 : AT_EXT);
}

static enum http_progress step_name(struct http_chunk *c, uint8_t byte)
{
    if (http_head_is_token(byte))
        return go(c, AT_NAME);
    if (c->state == AT_NAME)
        return byte == ':' ? go(c, AT_VALUE) : is_bad(c, HTTP_BAD_NAME);
    if (byte == '\r')
        return go(c, AT_END_LF);
    if (byte == '\n')
        return is_bad(c, HTTP_BARE_LF);
    return is_bad(c, byte == ' ' || byte == '\t' ? HTTP_FOLDED : HTTP_BAD_NAME);
}

static enum http_progress step_value(struct http_chunk *c, uint8_t byte)
{
    if (byte == '\r')
        return go(c, AT_LINE_LF);
    if (byte == '\n')
        return is_bad(c, HTTP_BARE_LF);
    return http_head_is_value(byte) ? HTTP_MORE : is_bad(c, HTTP_BAD_VALUE);
}

/* The byte has to be `want`. */
static enum http_progress step_fixed(struct http_chunk *c, uint8_t byte, uint8_t want,
                                     enum state next, enum http_problem problem)
{
    return byte == want ? go(c, next) : is_bad(c, problem);
}

static enum http_progress step_byte(struct http_chunk *c, uint8_t byte)
{
    if (c->state >= AT_LINE && ++c->trailer_bytes > HTTP_TRAILER_BYTES)
        return is_bad(c, HTTP_LONG_TRAILER);
    switch ((enum state)c->state) {
    case AT_SIZE0:
    case AT_SIZE:
        return step_size(c, byte);
    case AT_BWS:
    case AT_EXT0:
    case AT_EXT:
        return step_ext(c, byte);
    case AT_SIZE_LF:
        return step_fixed(c, byte, '\n', c->left > 0 ? AT_DATA : AT_LINE, HTTP_BAD_CHUNK_SIZE);
    case AT_DATA_CR:
        return step_fixed(c, byte, '\r', AT_DATA_LF, HTTP_BAD_CHUNK_END);
    case AT_DATA_LF:
        c->digits = 0;
        return step_fixed(c, byte, '\n', AT_SIZE0, HTTP_BAD_CHUNK_END);
    case AT_LINE:
    case AT_NAME:
        return step_name(c, byte);
    case AT_VALUE:
        return step_value(c, byte);
    case AT_LINE_LF:
        return step_fixed(c, byte, '\n', AT_LINE, HTTP_BAD_VALUE);
    case AT_END_LF:
        return step_fixed(c, byte, '\n', AT_END, HTTP_BAD_NAME);
    case AT_DATA:
    case AT_END:
        break;
    }
    return HTTP_DONE;
}

enum http_progress http_chunk_step(struct http_chunk *c, struct span input, size_t *ret_used,
                                   struct span *ret_data)
{
    size_t at = 0;

    *ret_data = span_of(NULL, 0);
    *ret_used = 0;
    while (at < input.len && c->state != AT_DATA && c->state != AT_END)
        if (step_byte(c, input.data[at++]) == HTTP_BAD)
            return HTTP_BAD;
    if (c->state == AT_DATA && at < input.len) {
        size_t run = input.len - at < c->left ? input.len - at : (size_t)c->left;

        *ret_data = span_of(input.data + at, run);
        at += run;
        c->left -= run;
        if (c->left == 0)
            c->state = AT_DATA_CR;
    }
    *ret_used = at;
    return c->state == AT_END ? HTTP_DONE : HTTP_MORE;
}

void http_chunk_put_back(struct http_chunk *c, size_t n)
{
    if (n == 0)
        return;
    c->left += n;
    c->state = AT_DATA;
}
