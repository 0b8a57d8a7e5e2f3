/*
 * Any bytes as msgpack: what the check allows can be skipped as one value, written as JSON, and
 * read again; what can be written and read again means the same text.
 */
#include <stdlib.h>

#include "lib/json.h"
#include "lib/mp.h"
#include "tests/fuzz/mutate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Text is a fixed point: bin becomes a string and a short float a long one only the first time. */
static void require_fixed_point(struct span text)
{
    const struct json_limits limits = JSON_DEFAULT_LIMITS;
    struct buf msgpack;
    struct buf again;

    buf_init(&msgpack, 1 << 21);
    buf_init(&again, 1 << 21);
    require(json_to_msgpack(text, &limits, &msgpack, NULL) == JSON_OK);
    require(json_from_msgpack(buf_span(&msgpack), &again, NULL) == JSON_OK);
    require(span_is_equal(text, buf_span(&again)));
    buf_done(&msgpack);
    buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct json_limits limits = JSON_DEFAULT_LIMITS;
    struct span input = span_of(data, size);
    struct json_error error;
    struct mp_cursor c;
    struct span value;
    struct buf text;
    bool is_written;
    bool is_skipped;

    buf_init(&text, 1 << 21);
    is_written = json_from_msgpack(input, &text, &error) == JSON_OK;
    require(error.offset <= size && (is_written || text.len == 0));
    mp_open(&c, input);
    is_skipped = mp_skip(&c, limits.max_depth, &value);
    require(!is_skipped || (value.data == data && value.len > 0 && value.len <= size));
    if (json_check_msgpack(input, &limits, &error) == JSON_OK) {
        require(is_skipped && value.len == size && is_written);
        require_fixed_point(buf_span(&text));
    }
    require(error.offset <= size);
    buf_done(&text);
    return 0;
}
