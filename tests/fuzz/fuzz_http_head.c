/*
 * fuzz_http_head.c: a request head, whole and cut into pieces at places that the input itself
 * chooses (its first byte is the seed). Both must come to the same end, and what is found must lie
 * inside the head and be what the strict grammar allows.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum http_progress feed_pieces(struct http_head *head, struct span input, unsigned seed)
{
    enum http_progress progress = HTTP_MORE;
    size_t len = 0;

    http_head_init(head);
    do {
        uint8_t *copy;

        seed = seed * 1103515245 + 12345;
        len += 1 + (seed >> 16) % 7;
        if (len > input.len)
            len = input.len;
        copy = malloc(len + 1); /* each time elsewhere, and with a red zone behind it */
        assert(copy != NULL);
        copy = memcpy(copy, input.data, len);
        copy = realloc(copy, len > 0 ? len : 1);
        assert(copy != NULL);
        progress = http_head_parse(head, span_of(copy, len));
        free(copy);
    } while (progress == HTTP_MORE && len < input.len);
    return progress;
}

static void check_piece(const struct http_head *head, struct http_piece piece)
{
    assert((size_t)piece.at + piece.len <= head->len);
}

static void check_field(const struct http_head *head, const uint8_t *base, struct http_field field)
{
    check_piece(head, field.name);
    check_piece(head, field.value);
    assert(field.name.len > 0);
    assert(base[field.name.at + field.name.len] == ':');
    for (size_t i = 0; i < field.name.len; i++)
        assert(http_head_is_token(base[field.name.at + i]));
    for (size_t i = 0; i < field.value.len; i++)
        assert(http_head_is_value(base[field.value.at + i]));
}

static void check_done(const struct http_head *head, struct span input)
{
    const uint8_t *base = input.data;

    assert(head->len <= input.len && head->len <= HTTP_HEAD_BYTES);
    assert(memcmp(base + head->len - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < head->len; i++) {
        assert(base[i] != '\0');
        assert(base[i] != '\n' || base[i - 1] == '\r');
        assert(base[i] != '\r' || base[i + 1] == '\n');
    }
    check_piece(head, head->method_name);
    check_piece(head, head->path);
    check_piece(head, head->query);
    if (!head->has_root_path)
        assert(base[head->path.at] == '/' || base[head->path.at] == '*');
    assert(!(head->has_length && head->is_chunked));
    assert(head->minor == 1 || !head->is_chunked);
    for (size_t i = 0; i < head->field_count; i++)
        check_field(head, base, head->fields[i]);
}

static void check_same(const struct http_head *a, const struct http_head *b)
{
    assert(a->len == b->len && a->method == b->method && a->minor == b->minor);
    assert(a->has_length == b->has_length && a->content_length == b->content_length);
    assert(a->is_chunked == b->is_chunked && a->keeps_alive == b->keeps_alive);
    assert(a->expects_continue == b->expects_continue && a->field_count == b->field_count);
    assert(memcmp(&a->path, &b->path, sizeof(a->path)) == 0);
    assert(memcmp(&a->query, &b->query, sizeof(a->query)) == 0);
    assert(memcmp(a->fields, b->fields, a->field_count * sizeof(a->fields[0])) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_head whole;
    static struct http_head pieces;
    struct span input;
    enum http_progress progress;

    if (size < 1)
        return 0;
    input = span_of(data + 1, size - 1);
    http_head_init(&whole);
    progress = http_head_parse(&whole, input);
    assert(feed_pieces(&pieces, input, data[0]) == progress);
    if (progress == HTTP_BAD)
        assert(http_head_error(whole.problem) != 0 && http_head_error(pieces.problem) != 0);
    if (progress != HTTP_DONE)
        return 0;
    check_done(&whole, input);
    check_same(&whole, &pieces);
    return 0;
}
