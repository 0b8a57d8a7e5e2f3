#include "broker/problem.h"

#include "schema/errors.h"

/* Length of the well-formed UTF-8 character at the start of `text` (RFC 3629 section 4), or 0. */
static size_t utf8_len(struct span text)
{
    const uint8_t *b = text.data;
    size_t len;
    uint8_t low = 0x80;
    uint8_t high = 0xbf;

    if (b[0] < 0x80)
        return 1;
    if (b[0] < 0xc2 || b[0] > 0xf4)
        return 0;
    len = b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
    if (b[0] == 0xe0)
        low = 0xa0; /* no overlong forms */
    else if (b[0] == 0xed)
        high = 0x9f; /* no surrogates */
    else if (b[0] == 0xf0)
        low = 0x90;
    else if (b[0] == 0xf4)
        high = 0x8f; /* nothing above U+10FFFF */
    if (text.len < len || b[1] < low || b[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

void problem_put_string(struct buf *out, struct span text)
{
    buf_put_u8(out, '"');
    while (text.len > 0) {
        size_t len = utf8_len(text);
        uint8_t byte = text.data[0];

        if (len == 0)
            buf_put_str(out, "\\ufffd");
        else if (byte == '"' || byte == '\\')
            buf_printf(out, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7f)
            buf_printf(out, "\\u%04x", byte);
        else
            buf_put(out, text.data, len);
        len = len == 0 ? 1 : len;
        text = span_of(text.data + len, text.len - len);
    }
    buf_put_u8(out, '"');
}

void problem_format(struct buf *out, const struct problem *problem)
{
    const char *code = errors_code(problem->error);

    buf_printf(out, "{\"type\":\"urn:jobmill:error:%s\",\"title\":", code);
    problem_put_string(out, span_of_str(errors_title(problem->error)));
    buf_printf(out, ",\"status\":%d,\"code\":\"%s\"", errors_http_status(problem->error), code);
    if (problem->detail.len > 0) {
        buf_put_str(out, ",\"detail\":");
        problem_put_string(out, problem->detail);
    }
    if (problem->field.len > 0) {
        buf_put_str(out, ",\"field\":");
        problem_put_string(out, problem->field);
    }
    if (problem->limit > 0)
        buf_printf(out, ",\"limit\":%llu", (unsigned long long)problem->limit);
    buf_put_u8(out, '}');
}
