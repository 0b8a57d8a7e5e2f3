/*
 * http_exchange.h: one request and its answer. Made by the server (http_server.h), read and
 * answered by its handler. Loop thread only.
 *
 * All spans that a handler gets from an exchange stay where they are until it is completed, that is
 * answered or dropped. Who completes it does not touch it afterwards.
 *
 * A request whose ruling says `streams` is given to the handler behind its head (on_request); its
 * body follows by on_body and on_end. The answer can be streamed too, with http_exchange_begin.
 */
#ifndef BROKER_HTTP_EXCHANGE_H
#define BROKER_HTTP_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/http_head.h"
#include "broker/problem.h"
#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/list.h"
#include "lib/span.h"

struct http_conn;
struct http_server;

/* Which requests of one connection may be in work at the same time: those that are of one class,
 * and that one is not HTTP_ALONE. Others wait for their turn; answers go out in order in any case.
 * So a GET never overtakes a write that the same client sent before it. */
enum http_overlap { HTTP_ALONE, HTTP_READS, HTTP_SUBMITS };

/* How a request is to be treated, decided behind its head (http_handler.on_head). */
struct http_ruling {
    enum http_overlap overlap; /* HTTP_ALONE unless changed */
    size_t max_body_bytes;     /* the server's limit unless lowered; 0: no body is taken */
    bool needs_body;           /* without Content-Length or chunked coding: 411 */
    bool streams; /* the body is handed over as it comes; max_body_bytes is not asked */
};

struct http_exchange {
    /* For the handler to read. */
    enum http_method method;
    struct span method_name;
    struct span path;  /* undecoded, starts with '/' (or "*" with OPTIONS) */
    struct span query; /* undecoded, without '?'; empty if there is none */
    struct span body;  /* complete and without chunk framing; empty before on_request, and when it
                          is streamed */
    bool has_body;     /* the head announced one (it may be empty) */
    bool is_gone;      /* the client has closed its side */

    /* For the handler to write. */
    void *user;
    struct list link; /* in a list of the handler's; must be out of it at completion */
    /* Called once when nothing is kept for it any more: it was completed, and its answer is written
     * or its connection closed. NULL: nobody asks. */
    void (*on_released)(void *released_owner);
    void *released_owner;
    struct buf body_out; /* the body of the answer; empty at first. Not while it is completed. Of
                            a streamed answer what comes next; the server empties it */

    /* The server's own. */
    struct http_server *server;
    struct http_conn *conn; /* NULL once the connection is closed */
    struct list turn;       /* in conn->exchanges, in the order of the requests; or in the pool */
    struct http_head head;
    struct buf head_in;    /* the bytes of the head, which the spans above point into */
    struct buf body_in;    /* the body so far */
    struct buf lines_out;  /* further header lines */
    struct buf head_out;   /* the head of the answer, and a small body behind it */
    struct buf stream_out; /* of a streamed answer: what is being written */
    size_t sent_bytes;     /* of the answer; of a streamed one, of what is being written */
    size_t counted_bytes;  /* in conn->unsent_bytes */
    struct http_ruling ruling;
    bool is_read;      /* the request is complete, or will never be */
    bool is_given;     /* the handler has it: on_request was called */
    bool is_told_gone; /* on_gone was called */
    bool is_answered;
    bool has_continue; /* an interim answer 100 is due before the body */
    bool closes;       /* the connection ends behind this answer */
    bool is_paused;    /* the handler takes no more of the streamed body now */
    bool is_streamed;  /* the answer is: http_exchange_begin was called */
    bool is_broken;    /* the streamed body will never be complete */
    bool has_last;     /* the end of the streamed answer is in stream_out */
};

/* The value of the first header field of that name (case-insensitive, without whitespace around
 * it); false if there is none. */
bool http_exchange_header(const struct http_exchange *x, const char *name, struct span *ret_value);

/* The n-th header field, for those that come more than once (n < x->head.field_count). */
struct span http_exchange_field_name(const struct http_exchange *x, size_t n);
struct span http_exchange_field_value(const struct http_exchange *x, size_t n);

/* Adds a header line to the answer. Date, Content-Length, Content-Type and Connection are the
 * server's. Control characters in `value` become spaces. */
void http_exchange_add_header(struct http_exchange *x, const char *name, struct span value);

/* Completes the exchange: x->body_out is the body. `content_type` may be NULL if there is none. To
 * a HEAD the body is counted and not sent; 204 and 304 have none. If body_out or the headers ran
 * out of room, the client gets a 500 instead. The answer is written at the end of the loop turn and
 * in its turn. Never calls the handler. */
void http_exchange_answer(struct http_exchange *x, int status, const char *content_type);

/* The same with a problem as application/problem+json; what stood in body_out is forgotten. */
void http_exchange_answer_problem(struct http_exchange *x, const struct problem *problem);
void http_exchange_answer_error(struct http_exchange *x, int error, const char *fmt, ...)
    JM_PRINTF(3, 4);

/* Begins an answer whose body is streamed: in chunks, or to an HTTP/1.0 client until the connection
 * closes. From then on what is put into body_out goes out at the end of each turn in which
 * http_exchange_push is called. While more than three quarters of max_answer_bytes wait for the
 * client to read, what is being written included, no more of a streamed request is handed over. */
void http_exchange_begin(struct http_exchange *x, int status, const char *content_type);
void http_exchange_push(struct http_exchange *x);

/* Completes an exchange whose answer was begun; what is in body_out goes out too. If the body of
 * the request is not read to its end, the connection closes then; if it is broken, the answer ends
 * without its last chunk, so that the client can tell. */
void http_exchange_finish(struct http_exchange *x);

/* Takes more of a streamed body, of which on_body did not take all. */
void http_exchange_resume(struct http_exchange *x);

/* What has come of a streamed body is worth waiting for the rest: its time limit starts anew. */
void http_exchange_renew(struct http_exchange *x);

/* Completes the exchange without an answer: the connection, if there is one still, is closed. */
void http_exchange_drop(struct http_exchange *x);

#endif
