/*
 * The first byte of a character tells its length and which second bytes it may have; the ranges are
 * those of the table in RFC 3629, section 4. Runs of ASCII are stepped over eight bytes at a time.
 */
#include "lib/utf8.h"

#include <assert.h>
#include <string.h>

struct lead {
    uint8_t bytes; /* 0: no character begins with it */
    uint8_t second_min;
    uint8_t second_max;
};

static struct lead lead_of(uint8_t first)
{
    if (first < 0x80)
        return (struct lead){1, 0, 0};
    if (first < 0xc2)
        return (struct lead){0, 0, 0};
    if (first < 0xe0)
        return (struct lead){2, 0x80, 0xbf};
    if (first < 0xf0)
        return (struct lead){3, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf};
    if (first < 0xf5)
        return (struct lead){4, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf};
    return (struct lead){0, 0, 0};
}

size_t utf8_char_bytes(struct span text)
{
    struct lead lead;

    if (text.len == 0)
        return 0;
    lead = lead_of(text.data[0]);
    if (lead.bytes <= 1)
        return lead.bytes;
    if (lead.bytes > text.len || text.data[1] < lead.second_min || text.data[1] > lead.second_max)
        return 0;
    for (size_t i = 2; i < lead.bytes; i++)
        if ((text.data[i] & 0xc0) != 0x80)
            return 0;
    return lead.bytes;
}

static size_t skip_ascii(struct span text, size_t at)
{
    uint64_t eight;

    while (text.len - at >= sizeof(eight)) {
        memcpy(&eight, text.data + at, sizeof(eight));
        if ((eight & UINT64_C(0x8080808080808080)) != 0)
            break;
        at += sizeof(eight);
    }
    while (at < text.len && text.data[at] < 0x80)
        at++;
    return at;
}

size_t utf8_valid_bytes(struct span text)
{
    size_t at = 0;
    size_t n;

    while ((at = skip_ascii(text, at)) < text.len) {
        n = utf8_char_bytes(span_of(text.data + at, text.len - at));
        if (n == 0)
            break;
        at += n;
    }
    return at;
}

size_t utf8_clean(struct span text, size_t room, uint8_t *ret_text)
{
    static const uint8_t replacement[] = {0xef, 0xbf, 0xbd};
    size_t written = 0;
    size_t at = 0;

    while (at < text.len) {
        const uint8_t *from = text.data + at;
        size_t n = utf8_char_bytes(span_of(from, text.len - at));
        size_t put = n > 0 ? n : sizeof(replacement);

        if (put > room - written)
            break;
        memcpy(ret_text + written, n > 0 ? from : replacement, put);
        written += put;
        at += n > 0 ? n : 1;
    }
    return written;
}

size_t utf8_format(uint32_t code_point, uint8_t ret_text[UTF8_CHAR_BYTES])
{
    static const uint8_t marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t n = code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;

    assert(code_point <= 0x10ffff && (code_point & ~UINT32_C(0x7ff)) != 0xd800);
    for (size_t i = n - 1; i > 0; i--) {
        ret_text[i] = (uint8_t)(0x80 | (code_point & 0x3f));
        code_point >>= 6;
    }
    ret_text[0] = (uint8_t)(n == 1 ? code_point : marks[n] | code_point);
    return n;
}
