/*
 * Both go on from a few words of state. For msgpack these are the value whose head or payload is
 * being passed, and how many values each open container still has to have.
 */
#include "lib/scan.h"

/* ---- JSON ---- */

void scan_json_begin(struct scan_json *s)
{
    *s = (struct scan_json){.depth = 0};
}

static bool ends_word(uint8_t c)
{
    return c == ',' || c == ']' || c == '}' || c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* From inside a string to behind its quote; the end of the input if it is not there. */
static size_t pass_string(struct scan_json *s, struct span input, size_t at)
{
    while (at < input.len) {
        uint8_t c = input.data[at++];

        if (s->is_escaped) {
            s->is_escaped = false;
        } else if (c == '\\') {
            s->is_escaped = true;
        } else if (c == '"') {
            s->is_in_string = false;
            break;
        }
    }
    return at;
}

/* A bracket or quote in a container, or at the beginning of the value. */
static void pass_sign(struct scan_json *s, uint8_t c)
{
    if (c == '"')
        s->is_in_string = true;
    else if (c == '{' || c == '[')
        s->depth++;
    else if ((c == '}' || c == ']') && s->depth > 0)
        s->depth--;
}

static bool is_word(const struct scan_json *s)
{
    return s->depth == 0 && !s->is_in_string;
}

static enum scan_result pass_word(struct span input, size_t at, size_t *ret_used)
{
    while (at < input.len && !ends_word(input.data[at]))
        at++;
    *ret_used = at;
    return at < input.len ? SCAN_END : SCAN_MORE;
}

enum scan_result scan_json_step(struct scan_json *s, struct span input, size_t *ret_used)
{
    size_t at = 0;

    *ret_used = 0;
    if (input.len == 0)
        return SCAN_MORE;
    if (!s->has_begun) {
        s->has_begun = true;
        pass_sign(s, input.data[at++]);
        if (is_word(s))
            return pass_word(input, at, ret_used);
    } else if (is_word(s)) {
        return pass_word(input, at, ret_used);
    }
    while (at < input.len) {
        if (s->is_in_string)
            at = pass_string(s, input, at);
        else
            pass_sign(s, input.data[at++]);
        if (is_word(s)) {
            *ret_used = at;
            return SCAN_END;
        }
    }
    *ret_used = at;
    return SCAN_MORE;
}

/* ---- msgpack ---- */

/* What follows the first byte of a value, from 0xc0 to 0xdf: `width` bytes of a number, which
 * counts `values` (1 or 2 each) or else bytes, and `payload` bytes more. */
static const struct {
    uint8_t width;
    uint8_t values;
    uint8_t payload;
} rows[] = {
    {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0},             /* nil, reserved, false, true */
    {1, 0, 0}, {2, 0, 0}, {4, 0, 0},                        /* bin */
    {1, 0, 1}, {2, 0, 1}, {4, 0, 1},                        /* ext and its type */
    {0, 0, 4}, {0, 0, 8},                                   /* float */
    {0, 0, 1}, {0, 0, 2}, {0, 0, 4}, {0, 0, 8},             /* uint */
    {0, 0, 1}, {0, 0, 2}, {0, 0, 4}, {0, 0, 8},             /* int */
    {0, 0, 2}, {0, 0, 3}, {0, 0, 5}, {0, 0, 9}, {0, 0, 17}, /* fixext */
    {1, 0, 0}, {2, 0, 0}, {4, 0, 0},                        /* str */
    {2, 1, 0}, {4, 1, 0},                                   /* array */
    {2, 2, 0}, {4, 2, 0},                                   /* map */
};

enum { FIRST_ROW = 0xc0, LAST_ROW = 0xdf, RESERVED = 0xc1 };

void scan_msgpack_begin(struct scan_msgpack *s)
{
    s->payload = s->number = 0;
    s->width = s->values = s->depth = 0;
    s->is_open = false;
}

static void begin_value(struct scan_msgpack *s, uint8_t first)
{
    s->is_open = true;
    s->payload = s->number = 0;
    s->width = s->values = 0;
    if (first >= FIRST_ROW && first <= LAST_ROW) {
        s->width = rows[first - FIRST_ROW].width;
        s->values = rows[first - FIRST_ROW].values;
        s->payload = rows[first - FIRST_ROW].payload;
    } else if (first >= 0x80 && first < 0xa0) {
        s->number = first & 0x0f;
        s->values = first < 0x90 ? 2 : 1;
    } else if (first >= 0xa0 && first < 0xc0) {
        s->number = first & 0x1f;
    }
}

/* The present value has ended, and perhaps containers with it. */
static enum scan_result end_value(struct scan_msgpack *s)
{
    s->is_open = false;
    while (s->depth > 0) {
        if (--s->left[s->depth - 1] > 0)
            return SCAN_MORE;
        s->depth--;
    }
    return SCAN_END;
}

/* The head is there in full. */
static enum scan_result end_head(struct scan_msgpack *s)
{
    if (s->values == 0) {
        s->payload += s->number;
        return s->payload > 0 ? SCAN_MORE : end_value(s);
    }
    if (s->number == 0)
        return end_value(s);
    if (s->depth == SCAN_DEPTH_LIMIT)
        return SCAN_BAD;
    s->left[s->depth++] = s->number * s->values;
    s->is_open = false;
    return SCAN_MORE;
}

static enum scan_result step_payload(struct scan_msgpack *s, size_t room, size_t *ret_used)
{
    size_t used = room < s->payload ? room : (size_t)s->payload;

    s->payload -= used;
    *ret_used += used;
    return s->payload > 0 ? SCAN_MORE : end_value(s);
}

enum scan_result scan_msgpack_step(struct scan_msgpack *s, struct span input, size_t *ret_used)
{
    enum scan_result result = SCAN_MORE;

    *ret_used = 0;
    while (result == SCAN_MORE && *ret_used < input.len) {
        if (s->is_open && s->width == 0) {
            result = step_payload(s, input.len - *ret_used, ret_used);
            continue;
        }
        if (s->is_open) {
            s->number = s->number << 8 | input.data[(*ret_used)++];
            s->width--;
        } else {
            if (input.data[*ret_used] == RESERVED)
                return SCAN_BAD;
            begin_value(s, input.data[(*ret_used)++]);
        }
        if (s->width == 0)
            result = end_head(s);
    }
    return result;
}
