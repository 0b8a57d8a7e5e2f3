/*
 * scripted_http.h: a tiny HTTP server for tests: it answers the n-th request with the n-th line of
 * a script, among them the ways in which a server may die. It keeps what it was sent.
 */
#ifndef TESTS_UNIT_SCRIPTED_HTTP_H
#define TESTS_UNIT_SCRIPTED_HTTP_H

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SCRIPTED_STEPS = 16, SCRIPTED_REQUEST_BYTES = 8192 };

enum scripted_kind {
    SCRIPTED_END, /* the script is over: a request that still comes fails the test */
    SCRIPTED_ANSWER,
    SCRIPTED_CLOSE,  /* reads the request, closes */
    SCRIPTED_RESET,  /* reads the request, resets the connection */
    SCRIPTED_HALF,   /* half of the answer, then closes */
    SCRIPTED_SILENT, /* reads the request and says nothing until the client goes away */
    SCRIPTED_DRIP,   /* the answer byte by byte */
    SCRIPTED_RAW,    /* the body, as it is, instead of HTTP; then closes */
};

struct scripted_step {
    enum scripted_kind kind;
    int status;
    const char *type;
    const char *body;
};

struct scripted_http {
    struct scripted_step steps[SCRIPTED_STEPS];
    char requests[SCRIPTED_STEPS][SCRIPTED_REQUEST_BYTES]; /* head and body, NUL-terminated */
    atomic_size_t count;                                   /* requests read */
    atomic_size_t connections;
    int listen_fd;
    char url[64];
    pthread_t thread;
};

/* Whether the request is there to the end of its body, chunked or of a told length. A chunked body
 * must not hold what ends one. */
static inline bool scripted_is_whole(const char *request, size_t len)
{
    const char *end = strstr(request, "\r\n\r\n");
    const char *length = strcasestr(request, "content-length:");
    const char *chunked = strcasestr(request, "transfer-encoding: chunked");

    if (end == NULL)
        return false;
    if (chunked != NULL && chunked < end)
        return memmem(end + 2, len - (size_t)(end + 2 - request), "\r\n0\r\n\r\n", 7) != NULL;
    return len >= (size_t)(end - request) + 4 +
                      (length != NULL && length < end ? strtoul(length + 15, NULL, 10) : 0);
}

/* Reads one request. False when the client has gone. */
static inline bool scripted_read(int fd, char *request)
{
    size_t len = 0;

    do {
        ssize_t n = recv(fd, request + len, SCRIPTED_REQUEST_BYTES - 1 - len, 0);

        if (n <= 0)
            return false;
        len += (size_t)n;
        request[len] = '\0';
    } while (!scripted_is_whole(request, len));
    return true;
}

static inline void scripted_write(int fd, const char *bytes, size_t len)
{
    ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

    (void)n; /* the client may have gone away: that is the test's business */
}

static inline void scripted_answer(int fd, const struct scripted_step *step)
{
    char text[SCRIPTED_REQUEST_BYTES];
    const char *body = step->body != NULL ? step->body : "";
    int len = step->kind == SCRIPTED_RAW
                  ? snprintf(text, sizeof(text), "%s", body)
                  : snprintf(text, sizeof(text),
                             "HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
                             step->status, step->type, strlen(body), body);

    assert(len > 0 && (size_t)len < sizeof(text));
    if (step->kind == SCRIPTED_DRIP) {
        for (int i = 0; i < len; i++)
            scripted_write(fd, text + i, 1);
        return;
    }
    scripted_write(fd, text, (size_t)len - (step->kind == SCRIPTED_HALF ? strlen(body) / 2 : 0));
}

/* Serves one connection by the script. */
static inline void scripted_serve(struct scripted_http *server, int fd)
{
    struct linger abrupt = {.l_onoff = 1};
    int at_once = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof(at_once));
    for (;;) {
        char request[SCRIPTED_REQUEST_BYTES];
        const struct scripted_step *step;
        size_t at;

        if (!scripted_read(fd, request))
            return;
        at = atomic_load(&server->count);
        assert(at < SCRIPTED_STEPS);
        step = &server->steps[at];
        memcpy(server->requests[at], request, sizeof(request));
        atomic_store(&server->count, at + 1);
        if (step->kind == SCRIPTED_ANSWER || step->kind == SCRIPTED_HALF ||
            step->kind == SCRIPTED_DRIP || step->kind == SCRIPTED_RAW)
            scripted_answer(fd, step);
        if (step->kind == SCRIPTED_SILENT)
            (void)!recv(fd, request, 1, 0);
        if (step->kind == SCRIPTED_RESET)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof(abrupt));
        if (step->kind != SCRIPTED_ANSWER && step->kind != SCRIPTED_DRIP)
            return;
    }
}

static inline void *scripted_run(void *context)
{
    struct scripted_http *server = context;

    for (;;) {
        int fd = accept(server->listen_fd, NULL, NULL);

        if (fd < 0)
            return NULL; /* scripted_stop */
        atomic_fetch_add(&server->connections, 1);
        scripted_serve(server, fd);
        close(fd);
    }
}

/* `server->steps` is filled in by the caller. */
static inline void scripted_start(struct scripted_http *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int failed;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    failed = server->listen_fd < 0 ||
             bind(server->listen_fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
             listen(server->listen_fd, 8) != 0 ||
             getsockname(server->listen_fd, (struct sockaddr *)&address, &len) != 0;
    assert(!failed);
    snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%d", ntohs(address.sin_port));
    failed = pthread_create(&server->thread, NULL, scripted_run, server);
    assert(!failed);
}

/* Call it when the clients are closed. */
static inline void scripted_stop(struct scripted_http *server)
{
    shutdown(server->listen_fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listen_fd);
}

#endif
