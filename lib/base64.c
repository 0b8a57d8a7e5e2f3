#include "lib/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* One to three bytes as four characters. */
static void encode_group(const uint8_t *in, size_t n, uint8_t ret_four[4])
{
    uint32_t bits =
        (uint32_t)in[0] << 16 | (n > 1 ? (uint32_t)in[1] << 8 : 0) | (n > 2 ? in[2] : 0);

    ret_four[0] = (uint8_t)alphabet[bits >> 18];
    ret_four[1] = (uint8_t)alphabet[bits >> 12 & 63];
    ret_four[2] = (uint8_t)(n > 1 ? alphabet[bits >> 6 & 63] : '=');
    ret_four[3] = (uint8_t)(n > 2 ? alphabet[bits & 63] : '=');
}

void base64_encode(struct buf *out, struct span bytes)
{
    size_t groups = bytes.len / 3 + (bytes.len % 3 != 0);
    uint8_t *at;

    if (bytes.len == 0)
        return;
    at = buf_reserve(out, groups * 4);
    if (at == NULL)
        return;
    for (size_t i = 0; i < bytes.len; i += 3, at += 4)
        encode_group(bytes.data + i, bytes.len - i < 3 ? bytes.len - i : 3, at);
    buf_advance(out, groups * 4);
}
