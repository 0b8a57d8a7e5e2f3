/*
 * JSON text to msgpack in one pass, without recursion. A frame is kept for each open container; its
 * msgpack head is one byte long until it closes, when the count is known: a head that must be
 * longer moves what the container holds up by two or four bytes. So a byte moves at most once for
 * each container that it is in, and there are at most max_depth of those.
 *
 * A string is scanned to its closing quote first, and checked on the way, so that its length is
 * known well enough to write it straight into the output.
 */
#include "lib/json.h"

#include <msgpack.h>

#include "lib/json_keys.h"
#include "lib/json_number.h"
#include "lib/json_string.h"

enum {
    STR_HEAD_BYTES = 5, /* the longest head of a str */
    TEXT_BYTES_MAX = 1 << 30,
};

struct frame {
    size_t head_at;   /* of the container's head in the output */
    size_t first_key; /* of the object's names in `keys` */
    uint32_t count;   /* values, or members */
    bool is_object;
};

struct reader {
    const uint8_t *start;
    const uint8_t *at;
    const uint8_t *end;
    const struct json_limits *limits;
    struct buf *out;
    msgpack_packer pk;
    struct json_keys keys;
    unsigned depth;
    bool has_value; /* a value has just ended; else one must come */
    struct frame frames[JSON_DEPTH_LIMIT];
};

static void skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

static enum json_problem unexpected(const struct reader *r)
{
    return r->at == r->end ? JSON_TRUNCATED : JSON_SYNTAX;
}

static size_t put_str_head(size_t len, uint8_t *ret_head)
{
    if (len < 32) {
        ret_head[0] = (uint8_t)(0xa0 | len);
        return 1;
    }
    if (len <= UINT8_MAX) {
        ret_head[0] = 0xd9;
        ret_head[1] = (uint8_t)len;
        return 2;
    }
    if (len <= UINT16_MAX) {
        ret_head[0] = 0xda;
        ret_head[1] = (uint8_t)(len >> 8);
        ret_head[2] = (uint8_t)len;
        return 3;
    }
    ret_head[0] = 0xdb;
    for (int i = 0; i < 4; i++)
        ret_head[1 + i] = (uint8_t)(len >> (24 - 8 * i));
    return 5;
}

/* Reads the string at r->at, a quote, into the output; where its text is there. */
static enum json_problem read_string(struct reader *r, struct span *ret_text)
{
    const uint8_t *first = ++r->at;
    bool has_escapes;
    enum json_problem problem = json_string_scan(&r->at, r->end, &has_escapes);
    size_t len = (size_t)(r->at - first);
    size_t head_len;
    uint8_t *to;

    if (problem != JSON_OK)
        return problem;
    to = buf_reserve(r->out, STR_HEAD_BYTES + len);
    if (to == NULL)
        return JSON_LIMIT;
    if (has_escapes)
        len = json_string_unescape(first, r->at, to + STR_HEAD_BYTES);
    head_len = put_str_head(len, to);
    if (has_escapes)
        memmove(to + head_len, to + STR_HEAD_BYTES, len);
    else
        memcpy(to + head_len, first, len);
    buf_advance(r->out, head_len + len);
    *ret_text = span_of(to + head_len, len);
    r->at++;
    return JSON_OK;
}

/* Reads a member's name and the colon behind it. */
static enum json_problem read_name(struct reader *r)
{
    struct frame *frame = &r->frames[r->depth - 1];
    const uint8_t *quote;
    enum json_problem problem;
    struct span name;

    skip_space(r);
    quote = r->at;
    if (r->at == r->end || *r->at != '"')
        return unexpected(r);
    if (frame->count == r->limits->max_members || frame->count == JSON_MEMBERS_LIMIT)
        return JSON_MEMBERS;
    problem = read_string(r, &name);
    if (problem != JSON_OK)
        return problem;
    if (!json_keys_add(&r->keys, name, (size_t)(name.data - r->out->data),
                       (size_t)(quote - r->start)))
        return JSON_MEMORY;
    skip_space(r);
    if (r->at == r->end || *r->at != ':')
        return unexpected(r);
    r->at++;
    return JSON_OK;
}

static enum json_problem write_head(struct reader *r, const struct frame *frame)
{
    uint8_t *head = r->out->data + frame->head_at;
    size_t extra = frame->count < 16 ? 0 : frame->count <= UINT16_MAX ? 2 : 4;

    if (extra == 0) {
        *head = (uint8_t)((frame->is_object ? 0x80 : 0x90) | frame->count);
        return JSON_OK;
    }
    if (buf_reserve(r->out, extra) == NULL)
        return JSON_LIMIT;
    head = r->out->data + frame->head_at; /* the reserve may have moved it */
    memmove(head + 1 + extra, head + 1, r->out->len - frame->head_at - 1);
    buf_advance(r->out, extra);
    head[0] = (uint8_t)((frame->is_object ? 0xde : 0xdc) + (extra == 4));
    for (size_t i = 0; i < extra; i++)
        head[1 + i] = (uint8_t)(frame->count >> (8 * (extra - 1 - i)));
    return JSON_OK;
}

/* r->at is on the closing bracket. */
static enum json_problem close_container(struct reader *r)
{
    const struct frame *frame = &r->frames[r->depth - 1];
    size_t twice;

    if (buf_has_failed(r->out))
        return JSON_LIMIT;
    if (frame->is_object && !json_keys_close(&r->keys, frame->first_key, r->out->data, &twice)) {
        r->at = r->start + twice;
        return JSON_DUPLICATE;
    }
    r->at++;
    r->depth--;
    r->has_value = true;
    return write_head(r, frame);
}

static bool is_at_close(const struct reader *r)
{
    uint8_t bracket = r->frames[r->depth - 1].is_object ? '}' : ']';

    return r->at < r->end && *r->at == bracket;
}

static enum json_problem open_container(struct reader *r)
{
    bool is_object = *r->at == '{';

    if (r->depth == r->limits->max_depth || r->depth == JSON_DEPTH_LIMIT)
        return JSON_DEPTH;
    r->at++;
    r->frames[r->depth++] =
        (struct frame){.head_at = r->out->len, .first_key = r->keys.count, .is_object = is_object};
    buf_put_u8(r->out, 0);
    skip_space(r);
    if (is_at_close(r))
        return close_container(r);
    return is_object ? read_name(r) : JSON_OK;
}

static enum json_problem read_number(struct reader *r)
{
    struct json_number n;
    enum json_problem problem = json_number_parse(&r->at, r->end, &n);

    if (problem != JSON_OK)
        return problem;
    if (n.type == JSON_NUMBER_UINT)
        msgpack_pack_uint64(&r->pk, n.u64);
    else if (n.type == JSON_NUMBER_INT)
        msgpack_pack_int64(&r->pk, n.i64);
    else
        msgpack_pack_double(&r->pk, n.real);
    r->has_value = true;
    return JSON_OK;
}

static enum json_problem read_word(struct reader *r, const char *word, uint8_t msgpack)
{
    for (; *word != '\0'; word++, r->at++)
        if (r->at == r->end || *r->at != (uint8_t)*word)
            return unexpected(r);
    buf_put_u8(r->out, msgpack);
    r->has_value = true;
    return JSON_OK;
}

/* Reads a scalar, or the beginning of a container up to its first value. */
static enum json_problem begin_value(struct reader *r)
{
    struct span text;

    skip_space(r);
    if (r->at == r->end)
        return JSON_TRUNCATED;
    if (r->depth > 0)
        r->frames[r->depth - 1].count++;
    switch (*r->at) {
    case '{':
    case '[':
        return open_container(r);
    case '"':
        r->has_value = true;
        return read_string(r, &text);
    case 't':
        return read_word(r, "true", 0xc3);
    case 'f':
        return read_word(r, "false", 0xc2);
    case 'n':
        return read_word(r, "null", 0xc0);
    default:
        return read_number(r);
    }
}

/* Behind a value in a container: a comma and up to the next value, or the end. */
static enum json_problem go_on(struct reader *r)
{
    skip_space(r);
    if (is_at_close(r))
        return close_container(r);
    if (r->at == r->end || *r->at != ',')
        return unexpected(r);
    r->at++;
    r->has_value = false;
    return r->frames[r->depth - 1].is_object ? read_name(r) : JSON_OK;
}

static enum json_problem read_text(struct reader *r)
{
    enum json_problem problem;

    while (r->depth > 0 || !r->has_value) {
        problem = r->has_value ? go_on(r) : begin_value(r);
        if (problem == JSON_OK && buf_has_failed(r->out))
            problem = JSON_LIMIT;
        if (problem != JSON_OK)
            return problem;
    }
    skip_space(r);
    return r->at == r->end ? JSON_OK : JSON_TRAILING;
}

enum json_problem json_to_msgpack(struct span text, const struct json_limits *limits,
                                  struct buf *ret_msgpack, struct json_error *ret_error)
{
    struct reader r;
    size_t before = ret_msgpack->len;
    enum json_problem problem = JSON_LIMIT;

    r.start = r.at = r.end = text.data;
    if (text.len > 0)
        r.end += text.len;
    r.limits = limits;
    r.out = ret_msgpack;
    r.depth = 0;
    r.has_value = false;
    msgpack_packer_init(&r.pk, ret_msgpack, buf_write_msgpack);
    json_keys_init(&r.keys);
    if (text.len <= TEXT_BYTES_MAX && !buf_has_failed(ret_msgpack))
        problem = read_text(&r);
    json_keys_done(&r.keys);
    if (problem == JSON_LIMIT && buf_is_starved(ret_msgpack))
        problem = JSON_MEMORY;
    if (problem != JSON_OK)
        buf_truncate(ret_msgpack, before);
    if (ret_error != NULL)
        *ret_error = (struct json_error){problem, (size_t)(r.at - r.start)};
    return problem;
}
