/*
 * fuzz_split.c: the body of a batch, whole and in pieces (the first byte is the form, the second
 * the seed). Both must give the same items. A msgpack item must be what mp_skip passes; and a JSON
 * array that the transcoder takes must be cut into as many items as it has, without an error.
 */
#include <assert.h>
#include <string.h>

#include "broker/split.h"
#include "lib/json.h"
#include "lib/mp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ITEM_LIMIT = 512 };

static void check_item(enum split_form form, struct span item)
{
    struct mp_cursor c;
    struct span value;

    if (form != SPLIT_MSGPACK)
        return;
    mp_open(&c, item);
    if (mp_skip(&c, MP_DEPTH_LIMIT, &value))
        assert(value.len == item.len);
}

/* Each item with its length before it, and the last result behind. With seed 0 in one piece. */
static size_t cut(enum split_form form, struct span input, unsigned seed, struct buf *ret_items)
{
    enum split_result result = SPLIT_MORE;
    struct split s;
    struct span item;
    size_t at = 0;
    size_t count = 0;
    bool has_end = false;

    split_init(&s, form, ITEM_LIMIT);
    while (result != SPLIT_BAD && !(has_end && result == SPLIT_MORE)) {
        size_t len = input.len - at;
        size_t used = 0;

        if (seed != 0) {
            seed = seed * 1103515245 + 12345;
            len = len > 1 + (seed >> 16) % 9 ? 1 + (seed >> 16) % 9 : len;
        }
        has_end = at == input.len;
        result = has_end ? split_end(&s, &item)
                         : split_next(&s, span_of(input.data + at, len), &used, &item);
        assert(used <= len && (result != SPLIT_MORE || used == len));
        at += used;
        if (result == SPLIT_ITEM) {
            assert(item.len <= ITEM_LIMIT);
            check_item(form, item);
            buf_printf(ret_items, "%zu:", item.len);
            buf_put_span(ret_items, item);
        }
        count += result == SPLIT_ITEM || result == SPLIT_LARGE;
        buf_put_u8(ret_items, result == SPLIT_LARGE ? 'L' : ';');
        if (result == SPLIT_MORE)
            buf_truncate(ret_items, ret_items->len - 1);
    }
    buf_put_u8(ret_items, result == SPLIT_BAD ? 'B' : 'E');
    split_done(&s);
    return count;
}

static void compare_with_transcoder(struct span input, size_t count, char end)
{
    struct json_limits limits = {.max_depth = 100, .max_members = 1024};
    struct mp_cursor c;
    struct buf msgpack;
    uint32_t values;

    buf_init(&msgpack, 1 << 24);
    if (json_to_msgpack(input, &limits, &msgpack, NULL) == JSON_OK) {
        mp_open(&c, buf_span(&msgpack));
        if (mp_next_array(&c, &values))
            assert(end == 'E' && count == values);
        else
            assert(end == 'B');
    }
    buf_done(&msgpack);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole;
    struct buf pieces;
    struct span input;
    enum split_form form;
    size_t count;

    if (size < 2)
        return 0;
    form = (enum split_form)(data[0] % 3);
    input = span_of(data + 2, size - 2);
    buf_init(&whole, 1 << 24);
    buf_init(&pieces, 1 << 24);
    count = cut(form, input, 0, &whole);
    assert(cut(form, input, data[1] + 1u, &pieces) == count);
    assert(span_is_equal(buf_span(&whole), buf_span(&pieces)));
    if (form == SPLIT_JSON && whole.len > 0)
        compare_with_transcoder(input, count, (char)whole.data[whole.len - 1]);
    buf_done(&whole);
    buf_done(&pieces);
    return 0;
}
