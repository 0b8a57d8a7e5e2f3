/*
 * route.h: which function answers a request; routes.def is the table. Pure functions.
 */
#ifndef BROKER_ROUTE_H
#define BROKER_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/http_exchange.h"
#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/span.h"

struct call;

enum route_body {
    ROUTE_NO_BODY,
    ROUTE_BODY,   /* read whole; `run` is called behind it */
    ROUTE_STREAM, /* `run` is called behind the head and sets call->stream */
};

struct route {
    enum http_method method;
    const char *path;
    void (*run)(struct call *call);
    enum http_overlap overlap;
    unsigned params; /* set of 1 << QUERY_… */
    unsigned offers; /* set of 1 << BODY_… */
    enum route_body body;
};

size_t route_count(void);
const struct route *route_at(size_t n);

/* The route of a request, and what stands for its {…} (still percent-encoded; empty if it has
 * none). HEAD finds GET's. JM_ENOROUTE if nothing is at that path, JM_EMETHOD if it has other
 * methods. */
int route_find(enum http_method method, struct span path, const struct route **ret_route,
               struct span *ret_variable) JM_MUST_CHECK;

/* Appends the methods that the path supports, as an Allow field has them ("GET, HEAD, OPTIONS");
 * nothing if there is nothing at that path. "*" supports all. */
void route_write_allow(struct span path, struct buf *out);

#endif
