#include "tests/bench/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = 12, VALUES_BYTES = 64 << 20 };

#define FIRST_NUMBER UINT64_C(100000000000)

/* Where the mark at `text` ends, or NULL if there is none. */
static const char *parse_mark(const struct request *r, const char *text,
                              struct request_mark *ret_mark)
{
    struct request_mark mark = {0};
    char *end;

    if (strncmp(text, "{n}", 3) == 0) {
        *ret_mark = mark;
        return text + 3;
    }
    if (strncmp(text, "{v}", 3) == 0 && r->value_count > 0) {
        mark.is_value = true;
        *ret_mark = mark;
        return text + 3;
    }
    if (strncmp(text, "{n%", 3) != 0)
        return NULL;
    mark.modulus = strtoull(text + 3, &end, 10);
    if (mark.modulus == 0 || *end != '}')
        return NULL;
    *ret_mark = mark;
    return end + 1;
}

/* Appends the text with room for what comes at its marks; offsets are those in `out`. */
static void put_template(struct request *r, struct buf *out, const char *text)
{
    static const char room[] = "000000000000";

    while (*text != '\0') {
        size_t plain = 1 + strcspn(text + 1, "{");
        struct request_mark mark;
        const char *end = parse_mark(r, text, &mark);

        if (end == NULL || r->mark_count == REQUEST_MARKS) {
            buf_put(out, text, plain);
            text += plain;
            continue;
        }
        mark.offset = out->len;
        r->marks[r->mark_count++] = mark;
        if (mark.is_value)
            buf_put(out, r->values.data, r->value_len);
        else
            buf_put(out, room, DIGITS);
        text = end;
    }
}

static void put_body(struct request *r, const struct request_conf *conf, struct buf *out)
{
    if (conf->batch == 0) {
        put_template(r, out, conf->body);
        return;
    }
    for (uint64_t i = 0; i < conf->batch; i++) {
        buf_put_str(out, i == 0 ? "[" : ",");
        put_template(r, out, conf->body);
    }
    buf_put_str(out, "]");
}

static const char *read_values(struct request *r, const char *path)
{
    FILE *file = path[0] != '\0' ? fopen(path, "re") : NULL;
    char line[256];

    if (file == NULL)
        return path[0] != '\0' ? "the file of values cannot be read" : NULL;
    while (fgets(line, sizeof(line), file) != NULL) {
        size_t len = strcspn(line, "\n");

        if (r->value_count++ == 0)
            r->value_len = len;
        if (len == 0 || len != r->value_len)
            break;
        buf_put(&r->values, line, len);
    }
    (void)fclose(file);
    if (r->value_count == 0 || r->values.len != r->value_count * r->value_len)
        return "the values must be lines of the same length";
    return NULL;
}

static void put_request(struct request *r, const struct request_conf *conf)
{
    struct buf body;
    size_t path_marks;

    buf_init(&body, REQUEST_BYTES);
    buf_printf(&r->bytes, "%s ", conf->method);
    put_template(r, &r->bytes, conf->path);
    path_marks = r->mark_count;
    put_body(r, conf, &body);
    buf_put_str(&r->bytes, " HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    if (body.len > 0)
        buf_printf(&r->bytes, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                   body.len);
    buf_put_str(&r->bytes, "\r\n");
    for (size_t i = path_marks; i < r->mark_count; i++)
        r->marks[i].offset += r->bytes.len;
    buf_put_span(&r->bytes, buf_span(&body));
    buf_done(&body);
}

const char *request_init(struct request *r, const struct request_conf *conf)
{
    const char *fault;

    buf_init(&r->bytes, REQUEST_BYTES);
    buf_init(&r->values, VALUES_BYTES);
    fault = read_values(r, conf->values);
    if (fault != NULL)
        return fault;
    put_request(r, conf);
    return buf_has_failed(&r->bytes) ? "the request is too large" : NULL;
}

void request_done(struct request *r)
{
    buf_done(&r->bytes);
    buf_done(&r->values);
}

static void stamp_number(uint8_t *bytes, uint64_t number)
{
    for (size_t digit = DIGITS; digit-- > 0; number /= 10)
        bytes[digit] = (uint8_t)('0' + number % 10);
}

void request_stamp(struct request *r, uint8_t *bytes)
{
    for (size_t i = 0; i < r->mark_count; i++) {
        const struct request_mark *mark = &r->marks[i];

        if (mark->is_value) {
            memcpy(bytes + mark->offset, r->values.data + r->value * r->value_len, r->value_len);
            r->value = (r->value + 1) % r->value_count;
            continue;
        }
        stamp_number(bytes + mark->offset,
                     mark->modulus > 0 ? r->number % mark->modulus : FIRST_NUMBER + r->number);
        r->number++;
    }
}
