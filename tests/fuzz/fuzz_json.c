/*
 * JSON text → msgpack → text → msgpack must be a fixed point, and what is read must be allowed by
 * the check of msgpack bodies.
 */
#include <stdlib.h>

#include "lib/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct json_limits limits = JSON_DEFAULT_LIMITS;
    struct json_error error;
    struct buf first;
    struct buf text;
    struct buf second;

    buf_init(&first, 1 << 20);
    buf_init(&text, 1 << 20);
    buf_init(&second, 1 << 20);
    if (json_to_msgpack(span_of(data, size), &limits, &first, &error) == JSON_OK) {
        require(json_check_msgpack(buf_span(&first), &limits, NULL) == JSON_OK);
        require(json_from_msgpack(buf_span(&first), &text, NULL) == JSON_OK);
        require(json_to_msgpack(buf_span(&text), &limits, &second, NULL) == JSON_OK);
        require(span_is_equal(buf_span(&first), buf_span(&second)));
    } else {
        require(first.len == 0 && error.offset <= size);
    }
    buf_done(&first);
    buf_done(&text);
    buf_done(&second);
    return 0;
}
