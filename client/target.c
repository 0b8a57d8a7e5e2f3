#include <string.h>

#include "client/target.h"

enum { TARGET_BYTES = 64 << 10 };

void target_init(struct buf *target, const char *path)
{
    buf_init(target, TARGET_BYTES);
    buf_put_str(target, path);
}

void target_put_encoded(struct buf *target, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL)
            buf_put_u8(target, (uint8_t)*text);
        else
            buf_printf(target, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

/* A '?' of a value is encoded: one that is there begins the query. */
static char separator(const struct buf *target)
{
    return target->len > 0 && memchr(target->data, '?', target->len) != NULL ? '&' : '?';
}

void target_put_text(struct buf *target, const char *name, const char *value)
{
    if (value == NULL)
        return;
    buf_printf(target, "%c%s=", separator(target), name);
    target_put_encoded(target, value);
}

void target_put_number(struct buf *target, const char *name, uint64_t number)
{
    if (number > 0)
        buf_printf(target, "%c%s=%llu", separator(target), name, (unsigned long long)number);
}

void target_put_wait(struct buf *target, int64_t wait_ms)
{
    if (wait_ms > 0)
        buf_printf(target, "%cwait=%lld.%03lld", separator(target), (long long)(wait_ms / 1000),
                   (long long)(wait_ms % 1000));
}
