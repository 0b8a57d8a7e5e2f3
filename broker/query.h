/*
 * query.h: what a client asks beside the path: the query string (RFC 3986 section 3.4, as
 * name=value pairs joined by '&') and the Prefer header field (RFC 7240). Strict: a parameter that
 * the route does not know, or one that comes twice, is refused by its name. Pure functions.
 */
#ifndef BROKER_QUERY_H
#define BROKER_QUERY_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/fault.h"
#include "broker/job_filter.h"
#include "lib/attr.h"
#include "lib/span.h"
#include "schema/limits.h"

/* The parameters that exist. A route says which of them it takes, as a set of 1 << QUERY_…. A test
 * compares the words with openapi.yaml. */
#define QUERY_PARAMS(X)                       \
    X(QUERY_WAIT, "wait")                     \
    X(QUERY_STATE, "state")                   \
    X(QUERY_QUEUE, "queue")                   \
    X(QUERY_TASK, "task")                     \
    X(QUERY_TAG, "tag")                       \
    X(QUERY_LIMIT_KEY, "limit_key")           \
    X(QUERY_WORKER, "worker")                 \
    X(QUERY_ERROR, "error")                   \
    X(QUERY_CREATED_AFTER, "created_after")   \
    X(QUERY_CREATED_BEFORE, "created_before") \
    X(QUERY_LIMIT, "limit")                   \
    X(QUERY_CURSOR, "cursor")                 \
    X(QUERY_DRY_RUN, "dry_run")               \
    X(QUERY_ATOMIC, "atomic")                 \
    X(QUERY_PARAM_COUNT, NULL)

enum query_param {
#define X(name, word) name,
    QUERY_PARAMS(X)
#undef X
};

/* Those of struct job_filter that a person gives: "at least one filter" is given & QUERY_FILTERS.
 */
#define QUERY_FILTERS                                                                             \
    (1u << QUERY_STATE | 1u << QUERY_QUEUE | 1u << QUERY_TASK | 1u << QUERY_TAG |                 \
     1u << QUERY_LIMIT_KEY | 1u << QUERY_WORKER | 1u << QUERY_ERROR | 1u << QUERY_CREATED_AFTER | \
     1u << QUERY_CREATED_BEFORE)

struct query {
    unsigned given;           /* set of 1 << QUERY_… */
    uint64_t wait_ms;         /* 0: do not wait */
    struct job_filter filter; /* spans into the texts below; the cursor is its `below` */
    uint64_t limit;           /* jobs on a page */
    bool is_dry_run;
    bool is_atomic;
    char queue_text[JM_QUEUE_NAME_BYTES];
    char task_text[JM_TASK_NAME_BYTES];
    char tag_text[JM_TAG_BYTES];
    char limit_key_text[JM_LIMIT_KEY_BYTES];
    char error_text[JM_ERROR_CODE_BYTES];
};

/* Reads the query string without its '?'. Returns 0 or JM_EQUERY. `ret_query` points into itself
 * and must not be moved. */
int query_parse(struct span text, unsigned allowed, struct query *ret_query,
                struct fault *ret_fault) JM_MUST_CHECK;

/* The milliseconds of `wait` in the value of one Prefer field: at most JM_WAIT_LIMIT_S, which a
 * longer one is cut to; 0 if there is none. What is malformed is ignored, as RFC 7240 wants it. */
uint64_t query_parse_prefer(struct span value);

/* Undoes percent-encoding into at most `room` bytes; -1 if it is malformed or longer, else the
 * length. */
int query_decode(struct span text, size_t room, char *ret_text) JM_MUST_CHECK;

#endif
