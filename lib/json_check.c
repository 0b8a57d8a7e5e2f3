/*
 * The rules of json.h for a value that arrives as msgpack, in one pass over its tokens.
 */
#include "lib/json.h"

#include <math.h>

#include "lib/json_keys.h"
#include "lib/mp.h"
#include "lib/utf8.h"

enum { INPUT_BYTES_MAX = 1 << 30 };

struct frame {
    uint64_t left; /* values still to come; of a map, keys and values */
    size_t first_key;
    bool is_map;
};

struct checker {
    const uint8_t *start;
    const uint8_t *token; /* where the present token begins */
    struct mp_cursor in;
    const struct json_limits *limits;
    struct json_keys keys;
    unsigned depth;
    struct frame frames[JSON_DEPTH_LIMIT];
};

static enum json_problem open_container(struct checker *c, const struct mp_token *t)
{
    bool is_map = t->type == MP_MAP;

    if (c->depth == c->limits->max_depth || c->depth == JSON_DEPTH_LIMIT)
        return JSON_DEPTH;
    if (is_map && (t->count > c->limits->max_members || t->count > JSON_MEMBERS_LIMIT))
        return JSON_MEMBERS;
    c->frames[c->depth++] = (struct frame){.left = is_map ? 2 * (uint64_t)t->count : t->count,
                                           .first_key = c->keys.count,
                                           .is_map = is_map};
    return JSON_OK;
}

static enum json_problem check_value(struct checker *c, const struct mp_token *t)
{
    switch (t->type) {
    case MP_STR:
        return utf8_is_valid(t->bytes) ? JSON_OK : JSON_UTF8;
    case MP_FLOAT:
        return isfinite(t->number) ? JSON_OK : JSON_NAN;
    case MP_ARRAY:
    case MP_MAP:
        return open_container(c, t);
    case MP_EXT:
        return JSON_EXT;
    default:
        return JSON_OK;
    }
}

static enum json_problem check_key(struct checker *c, const struct mp_token *t)
{
    if (t->type != MP_STR)
        return JSON_KEY;
    if (!utf8_is_valid(t->bytes))
        return JSON_UTF8;
    if (!json_keys_add(&c->keys, t->bytes, (size_t)(t->bytes.data - c->start),
                       (size_t)(c->token - c->start)))
        return JSON_MEMORY;
    return JSON_OK;
}

/* Whether the next token is a key. */
static bool begin_item(struct checker *c)
{
    struct frame *frame;

    if (c->depth == 0)
        return false;
    frame = &c->frames[c->depth - 1];
    return frame->left-- % 2 == 0 && frame->is_map;
}

static enum json_problem close_full(struct checker *c)
{
    while (c->depth > 0 && c->frames[c->depth - 1].left == 0) {
        const struct frame *frame = &c->frames[--c->depth];
        size_t twice;

        if (frame->is_map && !json_keys_close(&c->keys, frame->first_key, c->start, &twice)) {
            c->token = c->start + twice;
            return JSON_DUPLICATE;
        }
    }
    return JSON_OK;
}

static enum json_problem check_all(struct checker *c)
{
    struct mp_token t;
    enum json_problem problem;

    do {
        bool is_key = begin_item(c);

        c->token = c->in.at;
        if (!mp_next(&c->in, &t))
            return !mp_is_at_end(&c->in) && *c->token == 0xc1 ? JSON_MSGPACK : JSON_TRUNCATED;
        problem = is_key ? check_key(c, &t) : check_value(c, &t);
        if (problem == JSON_OK)
            problem = close_full(c);
        if (problem != JSON_OK)
            return problem;
    } while (c->depth > 0);
    c->token = c->in.at;
    return mp_is_at_end(&c->in) ? JSON_OK : JSON_TRAILING;
}

enum json_problem json_check_msgpack(struct span msgpack, const struct json_limits *limits,
                                     struct json_error *ret_error)
{
    struct checker c;
    enum json_problem problem = JSON_LIMIT;

    c.start = c.token = msgpack.data;
    c.limits = limits;
    c.depth = 0;
    mp_open(&c.in, msgpack);
    json_keys_init(&c.keys);
    if (msgpack.len <= INPUT_BYTES_MAX)
        problem = check_all(&c);
    json_keys_done(&c.keys);
    if (ret_error != NULL)
        *ret_error = (struct json_error){problem, (size_t)(c.token - c.start)};
    return problem;
}
