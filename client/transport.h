/*
 * transport.h: one HTTP exchange with the broker over libcurl, with the repeats that are safe. The
 * only file of the client that knows libcurl. One thread at a time.
 */
#ifndef CLIENT_TRANSPORT_H
#define CLIENT_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <curl/curl.h>

#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/span.h"

enum {
    TRANSPORT_ERROR_BYTES = CURL_ERROR_SIZE,
    TRANSPORT_TYPE_BYTES = 64,
    TRANSPORT_LATER = -1000,
    TRANSPORT_SOCKET_PATH_BYTES = 107, /* sun_path without its NUL, unix(7) */
};

struct transport_options {
    const char *url; /* http://…, https://…, or unix:/PATH; not NULL */
    int64_t connect_timeout_ms;
    int64_t request_timeout_ms;
    int64_t retry_ms;
    size_t max_answer_bytes;
};

/* A body that is made while it is sent, and an answer that is read while it comes: neither is ever
 * whole in memory. */
struct transport_stream {
    const char *type; /* of both */
    /* Writes at most `room` bytes, at least 1, and returns how many; 0: the end; TRANSPORT_LATER:
     * none yet, and it is to be asked again when the answer has been looked at; else below 0: give
     * up. */
    int64_t (*on_send)(void *context, char *bytes, size_t room);
    /* Takes the next piece of an answer of that type, whatever its status; one of another type goes
     * to the body, as ever. False: give up. */
    bool (*on_receive)(void *context, struct span piece);
    void *context;
};

struct transport_request {
    const char *method;
    const char *target; /* path and query, encoded */
    struct span body;
    bool has_body;                         /* as application/msgpack */
    const struct transport_stream *stream; /* instead of a body; NULL: none */
    const char *idempotency_key;           /* checked by the caller; may be NULL */
    bool is_idempotent;                    /* done twice, it does what it does once */
    int64_t wait_ms;                       /* how much longer than usual the answer may take */
};

struct transport_answer {
    long status;
    char type[TRANSPORT_TYPE_BYTES]; /* Content-Type without parameters, in lower case */
    struct buf body;
};

struct transport {
    CURL *curl;
    char *base; /* what targets are appended to */
    int64_t request_timeout_ms;
    int64_t retry_ms;
    size_t max_answer_bytes;
    struct curl_slist *headers;            /* of the exchange under way */
    struct transport_answer *answer;       /* likewise */
    const struct transport_stream *stream; /* likewise; NULL: none */
    curl_off_t moved_bytes;                /* likewise: up and down until moved_ms, of a stream */
    int64_t moved_ms;
    bool is_waiting;                   /* likewise: for a stream that had nothing yet */
    bool is_stalled;                   /* likewise: a stream, for longer than an answer may take */
    bool is_sent;                      /* likewise: the request has begun to leave */
    bool is_repeatable;                /* likewise: doing it twice does no harm */
    bool is_too_large;                 /* likewise: the answer */
    char error[TRANSPORT_ERROR_BYTES]; /* a sentence about the last failure */
};

/* 0, JM_EINVAL (the URL), JM_ENOMEM. On failure nothing is left to undo. */
int transport_init(struct transport *t, const struct transport_options *options) JM_MUST_CHECK;
void transport_done(struct transport *t);

/* Sends the request and takes the whole answer, whatever its status; repeats as jobmill.h promises.
 * `ret_answer` must be initialised with transport_answer_init and holds nothing of use on failure.
 * JM_ECONNECT, JM_EFATE, JM_ETIMEDOUT, JM_EANSWER, JM_ELIMIT, JM_ENOMEM; t->error says it in words.
 */
int transport_perform(struct transport *t, const struct transport_request *request,
                      struct transport_answer *ret_answer) JM_MUST_CHECK;

/* A header field of the last answer, cut to `size`; "": it has none. */
void transport_get_header(struct transport *t, const char *name, char *ret_value, size_t size);

void transport_answer_init(struct transport_answer *answer);
void transport_answer_done(struct transport_answer *answer);

/* Pauses this thread. */
void transport_sleep_ms(int64_t ms);

#endif
