#include "broker/http_listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "schema/errors.h"

enum { FIRST_INHERITED_FD = 3, SOCKET_MODE = 0660 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un path;
    struct sockaddr_storage storage;
};

void http_listen_explain(struct http_reason *ret_reason, const char *what, int uv_error)
{
    snprintf(ret_reason->text, sizeof(ret_reason->text), "cannot listen on %s: %s%s", what,
             uv_strerror(uv_error),
             uv_error == UV_EADDRINUSE ? "; choose another port, or stop what uses this one" : "");
}

static int refuse(struct http_reason *ret_reason, const char *what)
{
    snprintf(ret_reason->text, sizeof(ret_reason->text),
             "'%s' is not an address to listen on: until there are keys it is 127.0.0.1:PORT, "
             "[::1]:PORT, localhost:PORT or unix:PATH",
             what);
    return JM_EINVAL;
}

static bool is_loopback(const union address *a)
{
    switch (a->any.sa_family) {
    case AF_UNIX:
        return true;
    case AF_INET:
        return (ntohl(a->v4.sin_addr.s_addr) >> 24) == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
    default:
        return false;
    }
}

/* ---- TCP ---- */

static bool parse_port(const char *text, int *ret_port)
{
    char *end;
    long port;

    if (*text < '0' || *text > '9')
        return false;
    port = strtol(text, &end, 10);
    if (*end != '\0' || port < 0 || port > 65535)
        return false;
    *ret_port = (int)port;
    return true;
}

static bool parse_tcp(const char *text, union address *ret_address)
{
    const char *colon = strrchr(text, ':');
    char host[64];
    size_t len = colon != NULL ? (size_t)(colon - text) : sizeof(host);
    int port;

    if (len >= sizeof(host) || !parse_port(colon + 1, &port))
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    if (strcmp(host, "localhost") == 0)
        strcpy(host, "127.0.0.1");
    if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        return uv_ip6_addr(host + 1, port, &ret_address->v6) == 0;
    }
    return uv_ip4_addr(host, port, &ret_address->v4) == 0;
}

static void drop_handle(struct http_listener *listener)
{
    uv_close(&listener->io.handle, NULL);
}

static int bind_tcp(uv_loop_t *loop, const char *text, struct http_listener *listener,
                    struct http_reason *ret_reason)
{
    union address address = {.storage = {0}};
    int error;

    if (!parse_tcp(text, &address) || !is_loopback(&address))
        return refuse(ret_reason, text);
    listener->is_pipe = false;
    error = uv_tcp_init(loop, &listener->io.tcp);
    if (error != 0) {
        http_listen_explain(ret_reason, text, error);
        return JM_EIO;
    }
    error = uv_tcp_bind(&listener->io.tcp, &address.any, 0);
    if (error != 0) {
        http_listen_explain(ret_reason, text, error);
        drop_handle(listener);
        return JM_EIO;
    }
    return 0;
}

/* ---- unix sockets ---- */

/* A socket file that a killed broker has left behind refuses connections; a live one does not. */
static bool is_stale(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    int fd;
    bool is_refused;

    if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    is_refused =
        connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 && errno == ECONNREFUSED;
    close(fd);
    return is_refused;
}

static int bind_path(uv_loop_t *loop, const char *path, struct http_listener *listener,
                     struct http_reason *ret_reason)
{
    int error;

    if (path[0] == '\0' || strlen(path) >= sizeof(listener->path)) {
        snprintf(ret_reason->text, sizeof(ret_reason->text),
                 "the path of a unix socket has 1 to %zu bytes: '%s'", sizeof(listener->path) - 1,
                 path);
        return JM_EINVAL;
    }
    if (is_stale(path))
        (void)unlink(path); /* if that fails, so does the bind, and says why */
    listener->is_pipe = true;
    error = uv_pipe_init(loop, &listener->io.pipe, 0);
    if (error != 0) {
        http_listen_explain(ret_reason, path, error);
        return JM_EIO;
    }
    error = uv_pipe_bind(&listener->io.pipe, path);
    if (error == 0 && chmod(path, SOCKET_MODE) != 0)
        error = -errno;
    if (error != 0) {
        http_listen_explain(ret_reason, path, error);
        drop_handle(listener);
        return JM_EIO;
    }
    strcpy(listener->path, path);
    return 0;
}

int http_listen_bind(uv_loop_t *loop, const char *address, struct http_listener *listener,
                     struct http_reason *ret_reason)
{
    if (strncmp(address, "unix:", 5) == 0)
        return bind_path(loop, address + 5, listener, ret_reason);
    return bind_tcp(loop, address, listener, ret_reason);
}

void http_listen_remove(struct http_listener *listener)
{
    if (listener->path[0] != '\0')
        (void)unlink(listener->path); /* libuv has removed it already, if it could */
}

/* ---- handed over ---- */

unsigned http_listen_inherited_count(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    unsigned long count;

    if (pid == NULL || fds == NULL || strtoul(pid, NULL, 10) != (unsigned long)getpid())
        return 0;
    count = strtoul(fds, NULL, 10);
    return count <= HTTP_LISTENERS ? (unsigned)count : HTTP_LISTENERS;
}

int http_listen_adopt(uv_loop_t *loop, int n, struct http_listener *listener,
                      struct http_reason *ret_reason)
{
    int fd = FIRST_INHERITED_FD + n, error;
    union address address = {.storage = {0}};
    socklen_t len = sizeof(address);

    if (getsockname(fd, &address.any, &len) != 0) {
        http_listen_explain(ret_reason, "an inherited descriptor", -errno);
        return JM_EIO;
    }
    if (!is_loopback(&address))
        return refuse(ret_reason, "the inherited socket");
    listener->is_pipe = address.any.sa_family == AF_UNIX;
    error = listener->is_pipe ? uv_pipe_init(loop, &listener->io.pipe, 0)
                              : uv_tcp_init(loop, &listener->io.tcp);
    if (error == 0)
        error = listener->is_pipe ? uv_pipe_open(&listener->io.pipe, fd)
                                  : uv_tcp_open(&listener->io.tcp, fd);
    if (error != 0) {
        http_listen_explain(ret_reason, "an inherited socket", error);
        return JM_EIO;
    }
    return 0;
}

/* ---- names ---- */

static void name_path(struct http_listener *listener, char *ret_text, size_t size)
{
    char path[sizeof(listener->path) + 1];
    size_t len = sizeof(path) - 1;

    if (uv_pipe_getsockname(&listener->io.pipe, path, &len) != 0)
        len = 0;
    snprintf(ret_text, size, "unix:%.*s", (int)len, path);
}

void http_listen_name(struct http_listener *listener, char *ret_text, size_t size)
{
    union address address = {.storage = {0}};
    int len = sizeof(address);
    char host[64] = "";

    if (listener->is_pipe) {
        name_path(listener, ret_text, size);
        return;
    }
    if (uv_tcp_getsockname(&listener->io.tcp, &address.any, &len) != 0)
        return;
    if (address.any.sa_family == AF_INET6) {
        (void)uv_ip6_name(&address.v6, host, sizeof(host));
        snprintf(ret_text, size, "http://[%s]:%u", host, ntohs(address.v6.sin6_port));
    } else {
        (void)uv_ip4_name(&address.v4, host, sizeof(host));
        snprintf(ret_text, size, "http://%s:%u", host, ntohs(address.v4.sin_port));
    }
}
