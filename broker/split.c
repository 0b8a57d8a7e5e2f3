/*
 * The place in the grammar, for each form:
 *
 *   JSON     START ─[→ FIRST ─value→ ITEM → AFTER ─,→ NEXT ─value→ ITEM …
 *                        └─]→ END            └─]→ END
 *   lines    START ─byte→ ITEM ─line end→ START …
 *   msgpack  START ─array head→ COUNT → NEXT ─value→ ITEM → NEXT … → END (none left)
 *              └─value→ ITEM → NEXT (as many as come)
 */
#include "broker/split.h"

#include <string.h>

#include "schema/limits.h"

enum place { AT_START, AT_COUNT, AT_FIRST, AT_NEXT, AT_ITEM, AT_AFTER, AT_END, AT_BAD };

enum { KEEP_BYTES = 65536 }; /* of memory between two items */

void split_init(struct split *s, enum split_form form, size_t max_bytes)
{
    s->form = form;
    s->place = AT_START;
    s->max_bytes = max_bytes;
    s->item_bytes = 0;
    s->left = UINT64_MAX;
    s->width = 0;
    s->gap_bytes = 0;
    s->problem = "";
    s->limit = 0;
    buf_init(&s->partial, max_bytes);
}

void split_done(struct split *s)
{
    buf_done(&s->partial);
}

static enum split_result is_bad(struct split *s, const char *problem)
{
    s->place = AT_BAD;
    s->problem = problem;
    return SPLIT_BAD;
}

/* Passes over bytes that are of no item. */
static enum split_result skip(struct split *s, size_t bytes)
{
    s->gap_bytes += bytes;
    if (s->gap_bytes <= JM_BATCH_GAP_BYTES)
        return SPLIT_MORE;
    s->limit = JM_BATCH_GAP_BYTES;
    return is_bad(s, "too many bytes between two items");
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_blank(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_space(text.data[i]))
            return false;
    return true;
}

/* ---- items ---- */

static void begin_item(struct split *s)
{
    s->place = AT_ITEM;
    s->item_bytes = 0;
    buf_shrink(&s->partial, KEEP_BYTES);
    if (s->form == SPLIT_JSON)
        scan_json_begin(&s->scan.json);
    else if (s->form == SPLIT_MSGPACK)
        scan_msgpack_begin(&s->scan.msgpack);
}

/* A further piece of the item, which does not end with it. */
static enum split_result keep(struct split *s, struct span piece)
{
    s->item_bytes += piece.len;
    if (s->item_bytes > s->max_bytes)
        buf_shrink(&s->partial, 0);
    else
        buf_put_span(&s->partial, piece);
    return buf_has_failed(&s->partial) ? is_bad(s, "there is no memory for the item") : SPLIT_MORE;
}

/* The last piece of the item, which is given as it lies in the input if it is the only one. */
static enum split_result finish(struct split *s, struct span piece, struct span *ret_item)
{
    bool is_whole = s->item_bytes == 0;

    if (!is_whole && keep(s, piece) == SPLIT_BAD)
        return SPLIT_BAD;
    if (is_whole)
        s->item_bytes = piece.len;
    *ret_item = is_whole ? piece : buf_span(&s->partial);
    return s->item_bytes > s->max_bytes ? SPLIT_LARGE : SPLIT_ITEM;
}

/* ---- JSON ---- */

static enum split_result step_between(struct split *s, uint8_t c)
{
    bool may_begin = s->place == AT_FIRST || s->place == AT_NEXT;

    if (s->place == AT_START && c == '[')
        s->place = AT_FIRST;
    else if (s->place == AT_AFTER && c == ',')
        s->place = AT_NEXT;
    else if ((s->place == AT_FIRST || s->place == AT_AFTER) && c == ']')
        s->place = AT_END;
    else if (s->place == AT_START)
        return is_bad(s, "the body must be an array");
    else if (s->place == AT_END)
        return is_bad(s, "bytes after the end of the array");
    else if (!may_begin || c == ',' || c == ']')
        return is_bad(s, "the items of the array must be separated by one comma each");
    else
        begin_item(s);
    return SPLIT_MORE;
}

static enum split_result step_json(struct split *s, struct span input, size_t *ret_used,
                                   struct span *ret_item)
{
    enum scan_result scan;

    *ret_used = 0;
    if (s->place != AT_ITEM) {
        *ret_used = 1;
        if (is_space(input.data[0]))
            return skip(s, 1);
        if (step_between(s, input.data[0]) == SPLIT_BAD || s->place != AT_ITEM)
            return s->place == AT_BAD ? SPLIT_BAD : SPLIT_MORE;
    }
    scan = scan_json_step(&s->scan.json, input, ret_used);
    if (scan == SCAN_MORE)
        return keep(s, input);
    s->place = AT_AFTER;
    return finish(s, span_of(input.data, *ret_used), ret_item);
}

/* ---- lines ---- */

static enum split_result step_lines(struct split *s, struct span input, size_t *ret_used,
                                    struct span *ret_item)
{
    const uint8_t *line_end = memchr(input.data, '\n', input.len);
    enum split_result result;

    if (s->place == AT_START)
        begin_item(s);
    *ret_used = input.len;
    if (line_end == NULL)
        return keep(s, input);
    *ret_used = (size_t)(line_end - input.data) + 1;
    s->place = AT_START;
    result = finish(s, span_of(input.data, *ret_used - 1), ret_item);
    return result == SPLIT_ITEM && is_blank(*ret_item) ? skip(s, ret_item->len + 1) : result;
}

/* ---- msgpack ---- */

/* The first byte of the body: the head of the array that holds the items, or their first. */
static void step_first(struct split *s, uint8_t c, size_t *ret_used)
{
    *ret_used = 1;
    if (c >= 0x90 && c <= 0x9f) {
        s->left = c & 0x0f;
        s->place = s->left > 0 ? AT_NEXT : AT_END;
    } else if (c == 0xdc || c == 0xdd) {
        s->left = 0;
        s->width = c == 0xdc ? 2 : 4;
        s->place = AT_COUNT;
    } else {
        *ret_used = 0;
        s->place = AT_NEXT;
    }
}

static void step_count(struct split *s, uint8_t c, size_t *ret_used)
{
    *ret_used = 1;
    s->left = s->left << 8 | c;
    if (--s->width == 0)
        s->place = s->left > 0 ? AT_NEXT : AT_END;
}

static enum split_result step_value(struct split *s, struct span input, size_t *ret_used,
                                    struct span *ret_item)
{
    if (s->place == AT_NEXT)
        begin_item(s);
    switch (scan_msgpack_step(&s->scan.msgpack, input, ret_used)) {
    case SCAN_MORE:
        return keep(s, input);
    case SCAN_BAD:
        return is_bad(s, "not valid msgpack, or nested too deeply");
    case SCAN_END:
        break;
    }
    if (s->left != UINT64_MAX)
        s->left--;
    s->place = s->left > 0 ? AT_NEXT : AT_END;
    return finish(s, span_of(input.data, *ret_used), ret_item);
}

static enum split_result step_msgpack(struct split *s, struct span input, size_t *ret_used,
                                      struct span *ret_item)
{
    if (s->place == AT_END)
        return is_bad(s, "bytes after the end of the array");
    if (s->place == AT_START)
        step_first(s, input.data[0], ret_used);
    else if (s->place == AT_COUNT)
        step_count(s, input.data[0], ret_used);
    else
        return step_value(s, input, ret_used, ret_item);
    return SPLIT_MORE;
}

/* ---- */

static enum split_result step(struct split *s, struct span input, size_t *ret_used,
                              struct span *ret_item)
{
    if (s->form == SPLIT_JSON)
        return step_json(s, input, ret_used, ret_item);
    if (s->form == SPLIT_LINES)
        return step_lines(s, input, ret_used, ret_item);
    return step_msgpack(s, input, ret_used, ret_item);
}

enum split_result split_next(struct split *s, struct span input, size_t *ret_used,
                             struct span *ret_item)
{
    enum split_result result = s->place == AT_BAD ? SPLIT_BAD : SPLIT_MORE;
    size_t at = 0;

    while (result == SPLIT_MORE && at < input.len) {
        size_t used = 0;

        result = step(s, span_of(input.data + at, input.len - at), &used, ret_item);
        at += used;
        if (result == SPLIT_ITEM || result == SPLIT_LARGE)
            s->gap_bytes = 0;
    }
    *ret_used = at;
    return result;
}

static bool is_complete(const struct split *s)
{
    if (s->place == AT_END)
        return true;
    if (s->form == SPLIT_MSGPACK && s->place == AT_NEXT)
        return s->left == UINT64_MAX;
    return s->form != SPLIT_JSON && s->place == AT_START;
}

enum split_result split_end(struct split *s, struct span *ret_item)
{
    if (s->place == AT_BAD)
        return SPLIT_BAD;
    if (s->form == SPLIT_LINES && s->place == AT_ITEM) {
        size_t used;

        return step_lines(s, span_of("\n", 1), &used, ret_item);
    }
    if (is_complete(s))
        return SPLIT_MORE;
    return is_bad(s, s->place == AT_START ? "the body must be an array"
                                          : "the body ends before its last item does");
}
