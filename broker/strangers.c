#include "broker/strangers.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/buf.h"
#include "lib/log.h"

enum {
    FEW_FIELDS = 1000,
    NAMES_BYTES = 64 << 10, /* of their names together */
};

struct strangers {
    struct carrier_req req;
    struct buf names;
    size_t ends[FEW_FIELDS]; /* of each name */
    struct span values[FEW_FIELDS];
    size_t count;
    bool are_many;
};

static void strangers_free(struct strangers *s)
{
    buf_done(&s->names);
    free(s);
}

void strangers_add(struct strangers **found, struct span name)
{
    struct strangers *s = *found;

    if (s == NULL) {
        s = *found = calloc(1, sizeof(*s));
        if (s == NULL)
            return;
        buf_init(&s->names, NAMES_BYTES);
    }
    if (s->are_many || s->count == FEW_FIELDS) {
        s->are_many = true;
        return;
    }
    buf_put_span(&s->names, name);
    s->are_many = buf_has_failed(&s->names);
    s->ends[s->count++] = s->names.len;
}

static void on_removed(struct carrier_req *req)
{
    strangers_free(JM_CONTAINER_OF(req, struct strangers, req)); /* if it failed: the next poll */
}

void strangers_remove(struct strangers *s, struct carrier *carrier)
{
    size_t at = 0;

    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count && !s->are_many; i++) {
        s->values[i] = span_of(s->names.data + at, s->ends[i] - at);
        at = s->ends[i];
    }
    s->req = (struct carrier_req){.verb = s->are_many ? CARRIER_REMOVE : CARRIER_FORGET,
                                  .values = s->values,
                                  .value_count = s->are_many ? 0 : s->count,
                                  .on_done = on_removed};
    snprintf(s->req.key, sizeof(s->req.key), "%s", KEYS_HOSTS);
    list_init(&s->req.link);
    if (s->are_many)
        log_warn("%s in Redis holds very much that no worker host wrote: it is removed, and hosts "
                 "write into it anew",
                 KEYS_HOSTS);
    else
        log_warn("%s in Redis has fields that no worker host wrote: %zu are removed", KEYS_HOSTS,
                 s->count);
    carrier_send(carrier, &s->req);
}
