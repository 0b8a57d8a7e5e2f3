/*
 * jobmill_value.h: how a value is made. Internal to libjobmill.
 */
#ifndef CLIENT_JOBMILL_VALUE_H
#define CLIENT_JOBMILL_VALUE_H

#include "client/jobmill.h"
#include "lib/span.h"

enum {
    JOBMILL_VALUE_DEPTH = 112, /* of an answer: what a job may hold, and what is put around it */
};

struct jobmill_value {
    struct span msgpack;
    void *owned; /* the bytes that msgpack lies in, or NULL when they are somebody else's */
    char *json;  /* NULL until it is asked for */
};

/* A value over `msgpack`, which must be one whole value; it owns `owned` from now on. NULL: no
 * memory, and `owned` stays the caller's. */
struct jobmill_value *jobmill_value_new(struct span msgpack, void *owned);

#endif
