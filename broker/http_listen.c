#include "broker/http_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
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
    struct sockaddr_un un;
};

static int refuse(struct http_reason *reason, int error, const char *fmt, ...) JM_PRINTF(3, 4);

static int refuse(struct http_reason *reason, int error, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(reason->text, sizeof(reason->text), fmt, args);
    va_end(args);
    return error;
}

static bool is_loopback(const union address *a)
{
    if (a->any.sa_family == AF_INET)
        return (ntohl(a->v4.sin_addr.s_addr) >> 24) == 127;
    return a->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

/* "HOST:PORT" or "[HOST]:PORT" with numbers or "localhost". False if it is none. */
static bool parse_tcp(const char *text, union address *ret_address)
{
    const char *colon = strrchr(text, ':');
    char host[64];
    size_t len;
    unsigned long port;
    char *end;

    if (colon == NULL || colon[1] < '0' || colon[1] > '9')
        return false;
    port = strtoul(colon + 1, &end, 10);
    len = (size_t)(colon - text);
    if (*end != '\0' || port > 65535 || len >= sizeof(host))
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    memset(ret_address, 0, sizeof(*ret_address));
    if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        ret_address->v6.sin6_family = AF_INET6;
        ret_address->v6.sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host + 1, &ret_address->v6.sin6_addr) == 1;
    }
    ret_address->v4.sin_family = AF_INET;
    ret_address->v4.sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
                     &ret_address->v4.sin_addr) == 1;
}

static socklen_t size_of(const union address *a)
{
    switch (a->any.sa_family) {
    case AF_INET:
        return sizeof(a->v4);
    case AF_INET6:
        return sizeof(a->v6);
    default:
        return sizeof(a->un);
    }
}

static bool read_address(int fd, union address *ret_address)
{
    socklen_t size = sizeof(*ret_address);

    memset(ret_address, 0, sizeof(*ret_address));
    return getsockname(fd, &ret_address->any, &size) == 0;
}

static void format_address(struct http_listen *l, const union address *a)
{
    char host[INET6_ADDRSTRLEN] = "";

    if (a->any.sa_family == AF_UNIX) {
        snprintf(l->address, sizeof(l->address), "unix:%.*s", (int)sizeof(a->un.sun_path),
                 a->un.sun_path);
    } else if (a->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof(host));
        snprintf(l->address, sizeof(l->address), "http://%s:%u", host, ntohs(a->v4.sin_port));
    } else {
        inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof(host));
        snprintf(l->address, sizeof(l->address), "http://[%s]:%u", host, ntohs(a->v6.sin6_port));
    }
}

/* ---- unix ---- */

/* A socket file that a process left behind is in the way of its successor. It is removed only if
 * nobody answers there: then connect(2) says ECONNREFUSED. */
static int clear_stale(const union address *a, struct http_reason *reason)
{
    struct stat st;
    int fd;
    int error;

    if (lstat(a->un.sun_path, &st) != 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return refuse(reason, JM_EINVAL, "cannot listen on %s: a file that is no socket is there",
                      a->un.sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return refuse(reason, JM_EIO, "cannot make a socket: %s", strerror(errno));
    error = connect(fd, &a->any, sizeof(a->un)) == 0 ? 0 : errno;
    close(fd);
    if (error != ECONNREFUSED)
        return refuse(reason, JM_EIO,
                      "cannot listen on %s: another process does already; stop it or choose "
                      "another path",
                      a->un.sun_path);
    if (unlink(a->un.sun_path) != 0 && errno != ENOENT)
        return refuse(reason, JM_EIO, "cannot remove the left-over socket %s: %s", a->un.sun_path,
                      strerror(errno));
    return 0;
}

static int parse_unix(const char *path, union address *ret_address, struct http_reason *reason)
{
    memset(ret_address, 0, sizeof(*ret_address));
    if (path[0] == '\0' || strlen(path) >= sizeof(ret_address->un.sun_path))
        return refuse(reason, JM_EINVAL, "the path of a unix socket has 1 to %zu bytes, not %zu",
                      sizeof(ret_address->un.sun_path) - 1, strlen(path));
    ret_address->un.sun_family = AF_UNIX;
    snprintf(ret_address->un.sun_path, sizeof(ret_address->un.sun_path), "%s", path);
    return clear_stale(ret_address, reason);
}

/* ---- */

static int parse(const char *text, union address *ret_address, struct http_reason *reason)
{
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, ret_address, reason);
    if (!parse_tcp(text, ret_address))
        return refuse(reason, JM_EINVAL,
                      "'%.100s' is no address to listen on; write 127.0.0.1:PORT, [::1]:PORT or "
                      "unix:/path",
                      text);
    if (!is_loopback(ret_address))
        return refuse(reason, JM_EINVAL,
                      "refusing to listen on %.100s: there are no API keys yet, so only loopback "
                      "addresses (127.0.0.1:PORT, [::1]:PORT) and unix:/path are allowed",
                      text);
    return 0;
}

static int bind_to(int fd, const union address *a)
{
    int one = 1;

    if (a->any.sa_family != AF_UNIX &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0)
        return -1;
    if (bind(fd, &a->any, size_of(a)) != 0)
        return -1;
    return a->any.sa_family == AF_UNIX ? chmod(a->un.sun_path, SOCKET_MODE) : 0;
}

int http_listen_open(const char *address, struct http_listen *ret_listen,
                     struct http_reason *ret_reason)
{
    struct http_listen l = {.fd = -1};
    union address a;
    int error = parse(address, &a, ret_reason);

    if (error != 0)
        return error;
    l.is_unix = a.any.sa_family == AF_UNIX;
    l.fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l.fd < 0)
        return refuse(ret_reason, JM_EIO, "cannot make a socket: %s", strerror(errno));
    if (bind_to(l.fd, &a) != 0) {
        error = errno;
        close(l.fd);
        return refuse(ret_reason, JM_EIO, "cannot listen on %s: %s%s", address, strerror(error),
                      error == EADDRINUSE ? "; another process does already, choose another port"
                                          : "");
    }
    if (l.is_unix)
        memcpy(l.path, a.un.sun_path, sizeof(l.path));
    if (!l.is_unix)
        (void)read_address(l.fd, &a); /* the port that was chosen for port 0 */
    format_address(&l, &a);
    *ret_listen = l;
    return 0;
}

/* ---- handed over ---- */

static unsigned long number_of(const char *name)
{
    const char *text = getenv(name);
    unsigned long number;
    char *end;

    if (text == NULL || text[0] < '0' || text[0] > '9')
        return 0;
    number = strtoul(text, &end, 10);
    return *end == '\0' ? number : 0;
}

unsigned http_listen_inherited(void)
{
    unsigned long count = number_of("LISTEN_FDS");

    if (number_of("LISTEN_PID") != (unsigned long)getpid() || count > 1024)
        return 0;
    return (unsigned)count;
}

static int get_option(int fd, int option)
{
    int value = -1;
    socklen_t size = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

int http_listen_adopt(unsigned n, struct http_listen *ret_listen, struct http_reason *ret_reason)
{
    struct http_listen l = {.fd = FIRST_INHERITED_FD + (int)n};
    union address a;

    if (get_option(l.fd, SO_TYPE) != SOCK_STREAM || get_option(l.fd, SO_ACCEPTCONN) != 1 ||
        !read_address(l.fd, &a))
        return refuse(ret_reason, JM_EINVAL,
                      "inherited descriptor %d is no listening stream socket; use ListenStream= in "
                      "the socket unit",
                      l.fd);
    l.is_unix = a.any.sa_family == AF_UNIX;
    format_address(&l, &a);
    if (!l.is_unix && !is_loopback(&a))
        return refuse(ret_reason, JM_EINVAL,
                      "refusing the inherited socket on %s: only loopback addresses and unix "
                      "sockets are allowed",
                      l.address);
    if (fcntl(l.fd, F_SETFD, FD_CLOEXEC) != 0)
        return refuse(ret_reason, JM_EIO, "inherited descriptor %d: %s", l.fd, strerror(errno));
    *ret_listen = l;
    return 0;
}
