#include <stdlib.h>

#include "client/jobmill_value.h"
#include "lib/buf.h"
#include "lib/json.h"

struct jobmill_value *jobmill_value_new(struct span msgpack, void *owned)
{
    struct jobmill_value *value = calloc(1, sizeof(*value));

    if (value != NULL)
        *value = (struct jobmill_value){.msgpack = msgpack, .owned = owned};
    return value;
}

void jobmill_value_free(struct jobmill_value *value)
{
    if (value == NULL)
        return;
    free(value->owned);
    free(value->json);
    free(value);
}

const void *jobmill_value_msgpack(const struct jobmill_value *value, size_t *ret_bytes)
{
    *ret_bytes = value->msgpack.len;
    return value->msgpack.data;
}

const char *jobmill_value_json(struct jobmill_value *value)
{
    struct buf text;

    if (value == NULL || value->json != NULL)
        return value == NULL ? NULL : value->json;
    buf_init(&text, SIZE_MAX);
    if (json_from_msgpack(value->msgpack, &text, NULL) == JSON_OK)
        buf_put_u8(&text, 0);
    if (buf_has_failed(&text) || text.len == 0) {
        buf_done(&text);
        return NULL;
    }
    value->json = (char *)text.data;
    return value->json;
}
