/*
 * http_server.h: the broker's HTTP/1.1 front (RFC 9112). It listens, reads requests, hands them to
 * one handler and writes the answers; it knows nothing of jobs. Loop thread only.
 *
 * It listens on loopback addresses and unix sockets and nowhere else. Connections are kept alive
 * and may be pipelined. Whatever a client can choose has a limit: sizes in http_head.h, sizes and
 * times in struct http_conf. What the server refuses by itself it answers with
 * application/problem+json.
 */
#ifndef BROKER_HTTP_SERVER_H
#define BROKER_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "broker/http_exchange.h"
#include "lib/attr.h"
#include "lib/clock.h"

struct http_handler {
    void *owner;
    /* The head is read, the body is not. May lower the limits and name the class in `ruling`; or
     * refuse at once: with http_exchange_answer… (on_request is then not called). May be NULL. */
    void (*on_head)(void *owner, struct http_exchange *x, struct http_ruling *ruling);
    /* The request is complete. From now on the exchange is the handler's, until it completes it
     * with http_exchange_answer… or http_exchange_drop, exactly once, now or later. */
    void (*on_request)(void *owner, struct http_exchange *x);
    /* The client has closed its side before it was answered; x->is_gone is set. The exchange has to
     * be completed all the same: what only waits is best dropped now; an answer to a client that
     * only half-closed will still reach it. At most once, only between on_request and completion,
     * never from inside a call of the handler's. May be NULL. */
    void (*on_gone)(void *owner, struct http_exchange *x);
    /* The next bytes of a body that is streamed. Returns how many of them it took; if not all, the
     * rest comes again after http_exchange_resume, and nothing is received until then, so that the
     * client has to wait. Only between on_request and completion. NULL if no ruling streams. */
    size_t (*on_body)(void *owner, struct http_exchange *x, struct span data);
    /* The streamed body has come to its end; or, with `broken`, nothing more of it will come: its
     * framing was wrong, or it was too slow. At most once, and not at all when the client has gone
     * in the middle (on_gone). The exchange has to be completed, now or later: a broken one with
     * that problem, or with http_exchange_finish. */
    void (*on_end)(void *owner, struct http_exchange *x, const struct problem *broken);
};

/* Zero means the default that is given in brackets. */
struct http_conf {
    size_t max_connections;   /* [10,000] one more is answered with 503 */
    size_t max_body_bytes;    /* [1 MiB] of one request */
    size_t max_answer_bytes;  /* [16 MiB] of one answer's body */
    size_t max_bodies_bytes;  /* [256 MiB] of all request bodies in memory together; else 503 */
    size_t max_unread_bytes;  /* [256 MiB] kept for clients that do not read their answers; above it
                                 who has read nothing for the longest time is cut off */
    unsigned max_outstanding; /* [32] requests of one connection; then reading stops */
    unsigned head_ms;         /* [10,000] from the first to the last byte of a head */
    unsigned body_ms;         /* [30,000] for the body, and again for each 64 KiB of it; time in
                                 which a handler takes none of it does not count */
    unsigned idle_ms;         /* [75,000] between two requests */
    unsigned write_ms;        /* [30,000] without the client taking a byte of its answer, or sending
                               * one of its request */
    unsigned linger_ms;       /* [2,000] for the client to read a last answer before the close */
    struct clock *clock;      /* [clock_real] for the Date field */
};

/* Counted since the start. */
struct http_stats {
    uint64_t accepted;
    uint64_t rejected; /* above max_connections */
    uint64_t requests; /* answered, by the handler or the server */
    uint64_t framing_errors;
    uint64_t timeouts;
    uint64_t stalled; /* cut off because they did not read */
    uint64_t in_bytes;
    uint64_t out_bytes;
    size_t connections;  /* open now */
    size_t outstanding;  /* exchanges in the handler's hands now */
    size_t unread_bytes; /* answers in memory, and requests that wait behind them */
};

/* What a start-up failure says to a person: one sentence with the remedy. */
struct http_reason {
    char text[256];
};

/* Makes a server that does not listen yet. `conf` is copied, `handler` is borrowed until the end.
 * Raises the soft limit of open files (RLIMIT_NOFILE) to what max_connections needs, as far as the
 * hard limit allows; if that is not enough, there may be fewer connections. Returns 0 or JM_E…. */
int http_server_open(uv_loop_t *loop, const struct http_conf *conf,
                     const struct http_handler *handler,
                     struct http_server **ret_server) JM_MUST_CHECK;

/* Listens on "127.0.0.1:PORT", "[::1]:PORT", "localhost:PORT" (port 0: any free one) or
 * "unix:/path/of/socket" (mode 0660; a socket that nobody listens on any more is replaced). May be
 * called several times. Any other address is refused with JM_EINVAL and the reason; JM_EIO if the
 * system refuses it. */
int http_server_listen(struct http_server *s, const char *address,
                       struct http_reason *ret_reason) JM_MUST_CHECK;

/* Takes the sockets that systemd has handed over (LISTEN_PID, LISTEN_FDS; sd_listen_fds(3)), under
 * the same rules. `ret_count` is 0 if there are none. */
int http_server_listen_inherited(struct http_server *s, unsigned *ret_count,
                                 struct http_reason *ret_reason) JM_MUST_CHECK;

/* Where it listens first, as a client writes it: "http://127.0.0.1:7878" or "unix:/path". */
const char *http_server_address(const struct http_server *s);

/* Writes the answers of this turn of the loop now; the server does so itself once per turn, before
 * or behind other hooks of the loop. */
void http_server_flush(struct http_server *s);

/* How many connections there may be: as configured, or fewer. */
size_t http_server_max_connections(const struct http_server *s);

const struct http_stats *http_server_stats(const struct http_server *s);

/* Stops in order: closes the listeners and idle connections, lets requests that have begun be
 * answered, and closes what is left after `deadline_ms` (on_gone is called for what the handler
 * still holds, and it has to complete it). Then calls on_stopped, once, never from inside this
 * call; from then on no handle is open, and the server is to be freed. */
void http_server_stop(struct http_server *s, unsigned deadline_ms,
                      void (*on_stopped)(void *stop_owner), void *stop_owner);

/* Frees a stopped server, or one that has just been opened, and never ran. Takes NULL; returns
 * NULL.
 */
struct http_server *http_server_free(struct http_server *s);

#endif
