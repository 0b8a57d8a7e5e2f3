/*
 * orphans.c: the kernel lists a thread's children in /proc/PID/task/TID/children (proc(5)), which
 * costs nothing beside a search through all processes.
 */
#include "worker/orphans.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

size_t orphans_kill(orphans_keep_cb is_kept, void *data)
{
    size_t killed = 0;
    char path[64];
    FILE *file;
    int pid;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    file = fopen(path, "re");
    while (file != NULL && fscanf(file, "%d", &pid) == 1)
        if (!is_kept(data, pid) && kill(pid, SIGKILL) == 0)
            killed++;
    if (file != NULL)
        fclose(file);
    return killed;
}

static bool keep_none(void *data, pid_t pid)
{
    (void)data;
    (void)pid;
    return false;
}

void orphans_clear(void)
{
    while (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD) {
        if (orphans_kill(keep_none, NULL) == 0)
            break; /* /proc is not there: better a survivor than a child that waits for it */
        if (waitpid(-1, NULL, 0) < 0 && errno != EINTR)
            break;
    }
}
