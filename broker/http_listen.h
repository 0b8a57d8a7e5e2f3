/*
 * http_listen.h: which addresses the front listens on, and how they are bound: loopback and unix
 * sockets, nothing else, whether named by an option or handed over by systemd. Used by
 * http_server.c only.
 */
#ifndef BROKER_HTTP_LISTEN_H
#define BROKER_HTTP_LISTEN_H

#include "broker/http_conn.h"
#include "lib/attr.h"

/* Binds `listener` to "127.0.0.1:PORT", "[::1]:PORT", "localhost:PORT" or "unix:PATH". JM_EINVAL or
 * JM_EIO with the reason; no handle is left open then. */
int http_listen_bind(uv_loop_t *loop, const char *address, struct http_listener *listener,
                     struct http_reason *ret_reason) JM_MUST_CHECK;

/* Sockets that systemd has handed over to this process (sd_listen_fds(3)), and the n-th of them. */
unsigned http_listen_inherited_count(void);
int http_listen_adopt(uv_loop_t *loop, int n, struct http_listener *listener,
                      struct http_reason *ret_reason) JM_MUST_CHECK;

/* "http://127.0.0.1:7878" or "unix:/path". */
void http_listen_name(struct http_listener *listener, char *ret_text, size_t size);

/* Removes the socket file, if the listener has made one. */
void http_listen_remove(struct http_listener *listener);

/* "cannot listen on WHAT: …" */
void http_listen_explain(struct http_reason *ret_reason, const char *what, int uv_error);

#endif
