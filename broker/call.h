/*
 * call.h: one request in work: what was asked, read and checked; and what has to be embedded for
 * whatever it waits for. Calls are pooled, so that a request on the fast path allocates nothing.
 *
 * A call is made with its request and ends with its answer: exactly one of the functions below
 * ends it, and nothing of it may be touched afterwards. Loop thread only.
 */
#ifndef BROKER_CALL_H
#define BROKER_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/api.h"
#include "broker/body.h"
#include "broker/fault.h"
#include "broker/http_exchange.h"
#include "broker/query.h"
#include "broker/route.h"
#include "lib/buf.h"

enum { CALL_NAME_BYTES = JM_QUEUE_NAME_BYTES, CALL_ETAG_BYTES = 24 };

/* What a call waits for. */
enum call_state {
    CALL_RUNNING,
    CALL_STORING,   /* an operation of the store or of the core; or the probe */
    CALL_WAITING,   /* for the end of its job, or for its time */
    CALL_READING,   /* on the thread pool */
    CALL_GATED,     /* for what it shows to be on disk */
    CALL_STREAMING, /* for more of its body, or for what became of that */
};

/* How a route whose body is a stream goes on (http_server.h says when and how often). */
struct call_stream {
    size_t (*on_body)(struct call *call, struct span data);
    void (*on_end)(struct call *call, const struct problem *broken);
    void (*on_gone)(struct call *call);
    void (*on_stop)(struct call *call); /* the broker stops: to be completed soon */
};

/* Writes what a job's reader saw as the answer into call->value. Runs on a thread of the pool when
 * the job is large, so it touches nothing but its call. Returns the HTTP status, or a negative
 * JM_E… with call->fault filled in. */
typedef int (*call_show_cb)(struct call *call, const struct job_view *job);

struct call {
    struct list link; /* api.open, or api.idle */
    struct api *api;
    struct http_exchange *x;
    const struct route *route;
    enum call_state state;

    /* The request. */
    enum body_form form; /* of the answer */
    struct query query;
    enum body_form taken; /* of a streamed body */
    struct span body;     /* one msgpack value, or empty */
    struct buf body_buf;
    uint64_t id;      /* the {id} of the path, or the job it is about */
    struct span name; /* the {name} of the path, into name_text */
    char name_text[CALL_NAME_BYTES];
    uint64_t wait_ms; /* 0: do not wait */

    /* The answer. */
    struct buf value; /* one msgpack value */
    struct fault fault;
    int status; /* HTTP status, or a negative JM_E… told by the fault */

    /* Showing a job (show.c). */
    call_show_cb on_show;
    void (*on_absent)(struct call *call); /* answers if there is no such job; NULL: 404 does */
    struct reader *reader;                /* which has read it; while on_show runs */
    struct progress progress;   /* a copy, for a thread of the pool must not look into the core */
    bool may_have_ended;        /* look before waiting */
    bool is_stored;             /* a submit that is committed: it cannot be refused any more */
    bool is_unsynced;           /* likewise, and may not be on disk */
    bool is_on_disk;            /* its end is known to be */
    bool shows_end;             /* the answer tells of an end */
    int read_error;             /* 0 or JM_E…: there is nothing to show */
    char etag[CALL_ETAG_BYTES]; /* with its quotes, or "" */

    /* A submit. */
    struct {
        struct core_submit op;
        struct buf options; /* what op.spec.options points into */
        bool is_task_unknown;
    } submit;

    /* A streamed body. */
    const struct call_stream *stream;
    struct batch *batch;

    /* What it waits for. */
    union {
        struct core_cancel cancel;
        struct store_delete remove;
        size_t jobs_before; /* explain: in the backlog, up to JM_EXPLAIN_JOBS */
        struct core_set_conf set_conf;
        struct core_change change;
        struct core_retry retry;
        struct bulk *bulk; /* api_bulk.c's */
    } op;
    struct waiter waiter;
    struct timer timer;
    struct runner_gate gate;
    void (*on_gate)(struct call *call);
    struct reads_req read;
    struct probe_asker asker;
};

/* A call for the exchange, which it is bound to from now on; NULL without memory. */
struct call *call_open(struct api *a, struct http_exchange *x);

/* Frees the pool. */
void call_free_idle(struct api *a);

/* ---- ends ---- */

/* Answers with call->value in the form that the client takes. */
void call_answer(struct call *call, int http_status);

/* The same in two steps, the first of which a thread of the pool may do: turns call->value into the
 * answer's bytes. Returns 0, or JM_E… with call->fault. */
int call_transcode(struct call *call) JM_MUST_CHECK;
void call_answer_bytes(struct call *call, int http_status);

/* Answers with what stands in x->body_out, of a type of its own. */
void call_answer_text(struct call *call, int http_status, const char *content_type);

/* Completes one whose answer was begun with http_exchange_begin. */
void call_finish(struct call *call);

/* Answers with nothing: 204 or 304. */
void call_answer_empty(struct call *call, int http_status);

/* Answers with call->fault; or with an error alone, told in a sentence, to which JM_ECORRUPT adds
 * what to do. */
void call_refuse(struct call *call);
void call_refuse_error(struct call *call, int error, const char *fmt, ...) JM_PRINTF(3, 4);

/* Ends without an answer, since the client has gone. */
void call_drop(struct call *call);

/* ---- waits ---- */

/* Calls `on_open` once everything that is committed now is on disk: at once, if it is already. */
void call_hold(struct call *call, void (*on_open)(struct call *call));

/* ---- parts of the request ---- */

/* A header field that may come once: 0, with a value of data NULL if there is none; or JM_EHEADER
 * with call->fault. */
int call_header_once(struct call *call, const char *name, struct span *ret_value) JM_MUST_CHECK;

/* Refuses an exchange that has no call, in the form that the client takes. */
void call_refuse_exchange(struct http_exchange *x, const struct fault *fault);

/* Adds all fields of the Accept header. */
void call_read_accept(const struct http_exchange *x, struct body_wish *ret_wish);

static inline struct core *call_core(const struct call *call)
{
    return call->api->conf.core;
}

static inline struct runner *call_runner(const struct call *call)
{
    return call->api->conf.core->seams.runner;
}

#endif
