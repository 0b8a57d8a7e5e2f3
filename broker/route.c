/*
 * route.c: a walk down the table, whose most used rows come first; comparing a path with a dozen
 * patterns costs less than the hash of it would.
 */
#include "broker/route.h"

#include <string.h>

#include "broker/api_routes.h"
#include "broker/body.h"
#include "broker/query.h"
#include "schema/errors.h"

#define P(param) (1u << (param))
#define PAGE_PARAMS (QUERY_FILTERS | P(QUERY_LIMIT) | P(QUERY_CURSOR))
#define BULK_PARAMS (QUERY_FILTERS | P(QUERY_CURSOR) | P(QUERY_DRY_RUN))
#define VALUE_FORMS (1u << BODY_JSON | 1u << BODY_MSGPACK)
#define RESULT_FORMS (VALUE_FORMS | 1u << BODY_OCTETS)
#define BATCH_FORMS (VALUE_FORMS | 1u << BODY_LINES)
#define ANY_FORM 0

static const struct route routes[] = {
#define ROUTE(method, path, run, overlap, params, offers, body) \
    {method, path, run, overlap, params, offers, (enum route_body)body},
#include "broker/routes.def"
#undef ROUTE
};

size_t route_count(void)
{
    return JM_COUNT_OF(routes);
}

const struct route *route_at(size_t n)
{
    return &routes[n];
}

/* A pattern has at most one {…}, which stands for one path segment of at least one byte. */
static bool is_match(const char *pattern, struct span path, struct span *ret_variable)
{
    const uint8_t *slash;
    struct span rest;
    size_t same = 0;

    while (same < path.len && (uint8_t)pattern[same] == path.data[same] && pattern[same] != '{')
        same++;
    *ret_variable = span_of(NULL, 0);
    if (pattern[same] != '{')
        return same == path.len && pattern[same] == '\0';
    rest = span_of(path.data + same, path.len - same);
    slash = rest.len > 0 ? memchr(rest.data, '/', rest.len) : NULL;
    *ret_variable = slash != NULL ? span_of(rest.data, (size_t)(slash - rest.data)) : rest;
    rest = span_of(rest.data + ret_variable->len, rest.len - ret_variable->len);
    return ret_variable->len > 0 && span_is_str(rest, strchr(pattern + same, '}') + 1);
}

int route_find(enum http_method method, struct span path, const struct route **ret_route,
               struct span *ret_variable)
{
    int rc = JM_ENOROUTE;
    struct span variable;

    if (method == HTTP_HEAD)
        method = HTTP_GET;
    for (size_t i = 0; i < JM_COUNT_OF(routes); i++) {
        if (!is_match(routes[i].path, path, &variable))
            continue;
        if (routes[i].method == method) {
            *ret_route = &routes[i];
            *ret_variable = variable;
            return 0;
        }
        rc = JM_EMETHOD;
    }
    return rc;
}

static const char *method_words(enum http_method method)
{
    switch (method) {
    case HTTP_GET:
        return "GET, HEAD, ";
    case HTTP_POST:
        return "POST, ";
    case HTTP_PATCH:
        return "PATCH, ";
    case HTTP_DELETE:
        return "DELETE, ";
    default:
        return "";
    }
}

void route_write_allow(struct span path, struct buf *out)
{
    size_t before = out->len;
    struct span variable;

    if (span_is_str(path, "*")) {
        buf_put_str(out, "GET, HEAD, POST, PATCH, DELETE, OPTIONS");
        return;
    }
    for (size_t i = 0; i < JM_COUNT_OF(routes); i++)
        if (is_match(routes[i].path, path, &variable))
            buf_put_str(out, method_words(routes[i].method));
    if (out->len > before)
        buf_put_str(out, "OPTIONS");
}
