/*
 * http_conn.h: the inside of the HTTP front: the server's state and one connection. Included by the
 * http_*.c files only; everybody else uses http_server.h.
 *
 * Who owns what: the server owns its connections and the pool of exchanges; a connection owns the
 * exchanges in its list, in the order of their requests. When it closes it lets them go: those in
 * the handler's hands have conn NULL from then on and return to the pool when they are completed.
 */
#ifndef BROKER_HTTP_CONN_H
#define BROKER_HTTP_CONN_H

#include <uv.h>

#include "broker/http_chunk.h"
#include "broker/http_deadline.h"
#include "broker/http_exchange.h"
#include "broker/http_server.h"

enum {
    HTTP_READ_BYTES = 65536,               /* one read; the buffer is shared by all connections */
    HTTP_TURN_BYTES = 4 * HTTP_READ_BYTES, /* of one connection's body in a turn of the loop */
    HTTP_LISTENERS = 8,
    HTTP_UNSENT_BYTES = 256 * 1024, /* answers that wait in a connection; then no request begins */
    HTTP_BODY_STEP_BYTES = 65536,   /* this much of a body buys another body_ms */
    HTTP_DISCARD_BYTES = 65536,     /* of a refused body, to keep the connection usable */
    HTTP_DATE_BYTES = 30,           /* "Sun, 06 Nov 1994 08:49:37 GMT" and NUL */
};

/* A stream handle of either family. */
union http_stream {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

/*
 *  OPEN ──► ENDING ──► LINGERING ──► CLOSED
 *    └─────────┴──────────────────────▲
 * ENDING: no further request begins; closes when the last answer is written. LINGERING: our side is
 * shut; what still comes is thrown away until the client closes too, because closing with unread
 * bytes would reset the connection and destroy the answer on its way.
 */
enum http_phase { HTTP_OPEN, HTTP_ENDING, HTTP_LINGERING, HTTP_CLOSED };

struct http_conn {
    union http_stream io;
    struct http_server *server;
    struct list link;      /* in server->conns */
    struct list dirty;     /* in server->dirty: something to do at the end of the turn */
    struct list exchanges; /* by x->turn */
    unsigned exchange_count;
    unsigned open_count;           /* of them in the handler's hands */
    enum http_overlap open_class;  /* their common class */
    struct http_exchange *reading; /* its request is not complete yet, or NULL */
    struct http_exchange *held;    /* complete, waits until its class may begin, or NULL */
    enum http_phase phase;
    bool is_receiving;
    bool has_eof;
    bool is_dropped; /* the handler asked for the end */
    bool is_deaf;    /* no more is wanted from the client, not even to throw away */

    struct buf in;           /* received and not used yet */
    struct http_chunk chunk; /* the coding of reading's body */
    uint64_t body_bytes;     /* of it so far */
    uint64_t body_mark;      /* its time limit starts anew at this size */
    size_t lingered_bytes;
    size_t turn_bytes; /* received in this turn of the loop */

    bool is_writing;  /* `write` is under way */
    unsigned writing; /* exchanges in it */
    size_t writing_bytes;
    size_t unsent_bytes; /* of answers in `exchanges` */
    size_t queue_bytes;  /* left of `write` when its time limit was set */
    uint64_t sent_mark;  /* body_bytes then */
    size_t held_bytes;   /* its part of stats.unread_bytes */
    struct list laden;   /* in server->laden while that is not 0 */
    struct http_deadline read_due;
    struct http_deadline write_due;
    uv_write_t write;
    uv_shutdown_t shutdown;
};

struct http_listener {
    union http_stream io;
    struct http_server *server;
    bool is_pipe;
    bool is_open;
    bool has_pending; /* a connection could not be accepted for want of memory */
    char path[108];   /* socket file to remove at the end; empty: none */
};

struct http_server {
    uv_loop_t *loop;
    struct http_conf conf;
    const struct http_handler *handler;
    struct http_stats stats;
    struct http_listener listeners[HTTP_LISTENERS];
    unsigned listener_count;
    unsigned open_listeners;
    bool has_pending; /* of one of them */
    char address[160];
    struct list conns;
    struct list dirty;
    struct http_deadlines deadlines;
    uint64_t timer_due_ms;
    bool has_due; /* the timer has fired; behind the poll phase somebody's time may be over */
    uint64_t give_back_ms; /* when malloc is to give memory back to the system */
    uint64_t give_back_after_ms;
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_check_t check;
    unsigned open_handles; /* of those three */
    struct list pool;      /* free exchanges, by x->turn */
    unsigned pool_count;
    size_t max_overflow; /* connections above the limit, that are told so */
    size_t bodies_bytes; /* request bodies in memory */
    struct list laden;   /* connections with unread answers; who has read on goes to the end */
    size_t peak_bytes;   /* the most of bodies and answers since malloc gave back */
    char date[HTTP_DATE_BYTES];
    uint64_t date_until_ms; /* loop time */
    bool is_stopping;
    uint64_t stop_due_ms;
    void (*on_stopped)(void *stop_owner);
    void *stop_owner;
    uint8_t read_bytes[HTTP_READ_BYTES];
};

/* ---- http_conn.c ---- */

/* Accepts one connection. Above the limit it is answered with 503 and closed. */
void http_conn_accept(struct http_server *s, struct http_listener *listener);

/* Called by an exchange of this connection that was answered or dropped. */
void http_conn_take_answer(struct http_conn *c, struct http_exchange *x);
void http_conn_take_drop(struct http_conn *c, struct http_exchange *x);

/* Writes what is answered, begins what has waited. Called once for each dirty connection. */
void http_conn_flush(struct http_conn *c);

/* The one door of c->phase. */
void http_conn_enter(struct http_conn *c, enum http_phase phase);

/* No further request begins; an idle connection closes now. */
void http_conn_end(struct http_conn *c);
void http_conn_close(struct http_conn *c);

/* Too much is held for clients that do not read: cuts this one off, unless it has read on since it
 * was looked at last. */
void http_conn_shed(struct http_conn *c);

/* A time limit of the connection is over. */
void http_conn_expire(struct http_deadline *d, enum http_wait wait);

/* ---- http_write.c ---- */

/* Writes what is ready. False if nothing more can be written now. */
bool http_write_ready(struct http_conn *c);

/* The interim answer 100, once everything before it is out. */
void http_write_continue(struct http_conn *c);

/* ---- http_read.c: from bytes to requests ---- */

/* Goes on with what is received (`input` follows what c->in holds). Calls the handler. False if
 * memory ran out. */
bool http_read_take(struct http_conn *c, struct span input) JM_MUST_CHECK;

/* Whether nothing more can be taken until an answer is written. */
bool http_read_is_blocked(const struct http_conn *c);

/* Gives the held request to the handler if it may begin. */
void http_read_begin_held(struct http_conn *c);

/* Answers the request that is being read with an error; it is the last one. */
void http_read_refuse(struct http_conn *c, int error, const char *detail, uint64_t limit);

/* Nothing more of the body of c->reading, which the handler has, is wanted or will come. */
void http_read_abandon(struct http_conn *c);

/* ---- http_stream.c ---- */

/* Takes what the handler has put into body_out since, as the next piece of a streamed answer, if
 * the former one is out. */
void http_stream_load(struct http_exchange *x);

/* Whether more of the body of a streamed request may be handed over. */
bool http_stream_is_blocked(const struct http_exchange *x);

/* ---- http_exchange.c ---- */

/* Writes the head of the answer, of a streamed one too. */
void http_exchange_put_head(struct http_exchange *x, int status, const char *content_type);
/* Out of the handler's hands. False if its connection is closed already; then x is freed. */
bool http_exchange_leave(struct http_exchange *x);

/* From the pool or the heap; NULL: no memory. Appended to the connection's list. */
struct http_exchange *http_exchange_new(struct http_conn *c);
/* Back into the pool; it is out of its connection's list then. */
void http_exchange_free(struct http_exchange *x);
void http_exchange_free_pool(struct http_server *s);

/* ---- http_server.c ---- */

void http_server_mark(struct http_server *s, struct http_conn *c); /* into the dirty list */
const char *http_server_date(struct http_server *s);
/* A connection or an exchange has gone: a stop may be complete. */
void http_server_poke(struct http_server *s);

#endif
