#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/tool/up_ready.h"

bool up_ready_ping(const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval second = {.tv_sec = 1};
    char answer[8] = "";
    bool is_ready;
    int fd;

    if (strlen(socket_path) >= sizeof(address.sun_path))
        return false;
    memcpy(address.sun_path, socket_path, strlen(socket_path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    is_ready = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second)) == 0 &&
               connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
               send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 &&
               recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL) == 7 &&
               strcmp(answer, "+PONG\r\n") == 0;
    close(fd);
    return is_ready;
}

int up_ready_listen(char ret_name[UP_READY_NAME_BYTES])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(address);
    int on = 1, error;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    /* An address of the family alone makes the kernel choose an abstract name, unix(7). */
    if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        error = -errno;
        close(fd);
        return error;
    }
    snprintf(ret_name, UP_READY_NAME_BYTES, "@%.*s",
             (int)(len - offsetof(struct sockaddr_un, sun_path) - 1), address.sun_path + 1);
    return fd;
}

/* Any local process may write to an abstract socket, but only the kernel writes this. */
static pid_t sender_of(struct msghdr *message)
{
    struct ucred who = {0};

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS &&
            c->cmsg_len == CMSG_LEN(sizeof(who)))
            memcpy(&who, CMSG_DATA(c), sizeof(who));
    return who.pid;
}

bool up_ready_take(int fd, pid_t *ret_sender, char ret_text[UP_READY_TEXT_BYTES])
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec text = {.iov_base = ret_text, .iov_len = UP_READY_TEXT_BYTES - 1};
    struct msghdr message = {.msg_iov = &text,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t n;

    do
        n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return false;
    ret_text[n] = '\0';
    *ret_sender = sender_of(&message);
    return true;
}

bool up_ready_find(const char *text, const char *name, char *ret_value, size_t size)
{
    size_t name_len = strlen(name);

    for (;;) {
        size_t len = strcspn(text, "\n");

        if (len >= name_len && strncmp(text, name, name_len) == 0) {
            if (len - name_len >= size)
                return false;
            memcpy(ret_value, text + name_len, len - name_len);
            ret_value[len - name_len] = '\0';
            return true;
        }
        if (text[len] == '\0')
            return false;
        text += len + 1;
    }
}
