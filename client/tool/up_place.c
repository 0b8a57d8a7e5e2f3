#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/tool/tool.h"
#include "client/tool/up_place.h"

/* A data directory may lie deep, but a socket's path is short (unix(7)): then the socket gets a
 * directory of its own. */
static bool choose_socket(struct up_place *place)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int len = snprintf(place->socket, sizeof(place->socket), "%s/redis.sock", place->data);

    if (len > 0 && (size_t)len < sizeof(place->socket))
        return true;
    if (runtime == NULL || runtime[0] != '/' ||
        strlen(runtime) + sizeof("/jobmill-XXXXXX") > sizeof(place->socket_dir) ||
        access(runtime, W_OK) != 0)
        runtime = "/tmp";
    snprintf(place->socket_dir, sizeof(place->socket_dir), "%s/jobmill-XXXXXX", runtime);
    if (mkdtemp(place->socket_dir) == NULL) {
        tool_say(0, "up: the path of the data directory is too long for a socket, and %s: %s",
                 place->socket_dir, strerror(errno));
        place->socket_dir[0] = '\0';
        return false;
    }
    snprintf(place->socket, sizeof(place->socket), "%s/redis.sock", place->socket_dir);
    return true;
}

/* The kernel gives the lock back when we die, however that happens. */
static bool take_lock(struct up_place *place)
{
    char path[PATH_MAX + 8], owner[24] = "";

    snprintf(path, sizeof(path), "%s/lock", place->data);
    place->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (place->lock_fd < 0) {
        tool_say(0, "up: cannot open %s: %s", path, strerror(errno));
        return false;
    }
    if (flock(place->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (read(place->lock_fd, owner, sizeof(owner) - 1) <= 0)
            snprintf(owner, sizeof(owner), "unknown\n");
        owner[strcspn(owner, "\n")] = '\0';
        tool_say(0,
                 "up: another `jobmill up` (process %s) uses %s; stop it, or choose another "
                 "directory with --data",
                 owner, place->data);
        return false;
    }
    return ftruncate(place->lock_fd, 0) == 0 && dprintf(place->lock_fd, "%d\n", getpid()) > 0;
}

bool up_place_open(struct up_place *place, const char *data)
{
    *place = (struct up_place){.lock_fd = -1};
    if (mkdir(data, 0700) != 0 && errno != EEXIST) {
        tool_say(0, "up: cannot make the data directory %s: %s", data, strerror(errno));
        return false;
    }
    if (realpath(data, place->data) == NULL) {
        tool_say(0, "up: cannot use the data directory %s: %s", data, strerror(errno));
        return false;
    }
    return take_lock(place) && choose_socket(place);
}

void up_place_close(struct up_place *place)
{
    if (place->socket[0] != '\0')
        (void)unlink(place->socket); /* Redis has removed it already, unless it was killed */
    if (place->socket_dir[0] != '\0')
        (void)rmdir(place->socket_dir);
    if (place->lock_fd >= 0)
        close(place->lock_fd);
}

void up_place_find_program(const char *name, char ret_path[PATH_MAX])
{
    char own[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
    char *slash;

    if (len > 0) {
        own[len] = '\0';
        slash = strrchr(own, '/');
        if (slash != NULL)
            *slash = '\0';
        len = snprintf(ret_path, PATH_MAX, "%s/%s", own, name);
        if (len < PATH_MAX && access(ret_path, X_OK) == 0)
            return;
    }
    snprintf(ret_path, PATH_MAX, "%s", name);
}
