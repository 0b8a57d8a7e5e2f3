/*
 * Msgpack to JSON text in one pass over the tokens, without recursion: a frame for each open
 * container counts what is still to come in it.
 */
#include "lib/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "lib/base64.h"
#include "lib/json_number.h"
#include "lib/json_plain.h"
#include "lib/mp.h"
#include "lib/utf8.h"

struct frame {
    uint64_t left; /* values still to come; of an object, names and values */
    bool is_object;
    bool has_any;
};

struct writer {
    struct mp_cursor in;
    struct buf *out;
    unsigned depth;
    struct frame frames[JSON_DEPTH_LIMIT];
};

static void put_escape(struct buf *out, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[] = "btn\0fr"; /* of 0x08 to 0x0d; 0x0b has none */
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    char letter = c >= 0x08 && c <= 0x0d ? letters[c - 0x08] : '\0';

    if (c == '"' || c == '\\')
        letter = (char)c;
    if (letter == '\0') {
        buf_put(out, text, sizeof(text));
        return;
    }
    buf_put_u8(out, '\\');
    buf_put_u8(out, (uint8_t)letter);
}

/* With escapes, or beyond ASCII. */
static enum json_problem put_rich_string(struct buf *out, struct span text)
{
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.len;
    const uint8_t *run;
    size_t n;

    buf_put_u8(out, '"');
    while (at < end) {
        run = at;
        at = json_skip_plain(at, end);
        buf_put(out, run, (size_t)(at - run));
        if (at == end)
            break;
        if (*at < 0x80) {
            put_escape(out, *at++);
            continue;
        }
        n = utf8_char_bytes(span_of(at, (size_t)(end - at)));
        if (n == 0)
            return JSON_UTF8;
        buf_put(out, at, n);
        at += n;
    }
    buf_put_u8(out, '"');
    return JSON_OK;
}

/* Nearly all are plain, and one piece with their quotes. */
static enum json_problem put_string(struct buf *out, struct span text)
{
    const uint8_t *end = text.data + text.len;
    uint8_t *at;

    if (text.len > 0 && json_skip_plain(text.data, end) != end)
        return put_rich_string(out, text);
    at = buf_reserve(out, text.len + 2);
    if (at == NULL)
        return JSON_OK; /* the buffer has failed, which is asked below */
    *at++ = '"';
    if (text.len > 0)
        memcpy(at, text.data, text.len);
    at[text.len] = '"';
    buf_advance(out, text.len + 2);
    return JSON_OK;
}

static void put_bin(struct buf *out, struct span bytes)
{
    buf_put_u8(out, '"');
    base64_encode(out, bytes);
    buf_put_u8(out, '"');
}

static enum json_problem put_float(struct buf *out, double real)
{
    char text[JSON_NUMBER_BYTES];

    if (!isfinite(real))
        return JSON_NAN;
    buf_put(out, text, json_number_format(real, text));
    return JSON_OK;
}

static void put_integer(struct buf *out, bool is_negative, uint64_t magnitude)
{
    char text[24];
    char *at = text + sizeof(text);

    do {
        *--at = (char)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude > 0);
    if (is_negative)
        *--at = '-';
    buf_put(out, at, (size_t)(text + sizeof(text) - at));
}

static enum json_problem open_container(struct writer *w, const struct mp_token *t)
{
    bool is_object = t->type == MP_MAP;

    if (w->depth == JSON_DEPTH_LIMIT)
        return JSON_DEPTH;
    w->frames[w->depth++] = (struct frame){.left = is_object ? 2 * (uint64_t)t->count : t->count,
                                           .is_object = is_object};
    buf_put_u8(w->out, is_object ? '{' : '[');
    return JSON_OK;
}

static enum json_problem put_value(struct writer *w, const struct mp_token *t)
{
    switch (t->type) {
    case MP_NIL:
        buf_put(w->out, "null", 4);
        return JSON_OK;
    case MP_BOOL:
        buf_put_str(w->out, t->boolean ? "true" : "false");
        return JSON_OK;
    case MP_UINT:
        put_integer(w->out, false, t->u64);
        return JSON_OK;
    case MP_INT:
        put_integer(w->out, true, 0 - (uint64_t)t->i64);
        return JSON_OK;
    case MP_FLOAT:
        return put_float(w->out, t->number);
    case MP_STR:
        return put_string(w->out, t->bytes);
    case MP_BIN:
        put_bin(w->out, t->bytes);
        return JSON_OK;
    case MP_ARRAY:
    case MP_MAP:
        return open_container(w, t);
    case MP_EXT:
        break;
    }
    return JSON_EXT;
}

/* Writes what stands before the next value, and says whether that must be a name. */
static bool begin_item(struct writer *w)
{
    struct frame *frame;
    bool is_name;

    if (w->depth == 0)
        return false;
    frame = &w->frames[w->depth - 1];
    is_name = frame->is_object && frame->left % 2 == 0;
    if (frame->is_object && !is_name)
        buf_put_u8(w->out, ':');
    else if (frame->has_any)
        buf_put_u8(w->out, ',');
    frame->has_any = true;
    frame->left--;
    return is_name;
}

static void close_full(struct writer *w)
{
    while (w->depth > 0 && w->frames[w->depth - 1].left == 0)
        buf_put_u8(w->out, w->frames[--w->depth].is_object ? '}' : ']');
}

static enum json_problem write_text(struct writer *w)
{
    const uint8_t *token;
    struct mp_token t;
    enum json_problem problem;

    do {
        bool is_name = begin_item(w);

        token = w->in.at;
        if (!mp_next(&w->in, &t))
            return !mp_is_at_end(&w->in) && *token == 0xc1 ? JSON_MSGPACK : JSON_TRUNCATED;
        problem = is_name && t.type != MP_STR ? JSON_KEY : put_value(w, &t);
        if (problem != JSON_OK) {
            w->in.at = token;
            return problem;
        }
        if (buf_has_failed(w->out))
            return JSON_LIMIT;
        close_full(w);
    } while (w->depth > 0);
    if (buf_has_failed(w->out))
        return JSON_LIMIT;
    return mp_is_at_end(&w->in) ? JSON_OK : JSON_TRAILING;
}

enum json_problem json_from_msgpack(struct span msgpack, struct buf *ret_text,
                                    struct json_error *ret_error)
{
    struct writer w;
    size_t before = ret_text->len;
    enum json_problem problem;

    mp_open(&w.in, msgpack);
    w.out = ret_text;
    w.depth = 0;
    problem = write_text(&w);
    if (problem != JSON_OK)
        buf_truncate(ret_text, before);
    if (problem == JSON_LIMIT && buf_is_starved(ret_text))
        problem = JSON_MEMORY;
    if (ret_error != NULL)
        *ret_error = (struct json_error){problem, (size_t)(w.in.at - msgpack.data)};
    return problem;
}
