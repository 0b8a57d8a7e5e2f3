/*
 * The text always has the same length, so that it is written over in place: it then needs no room
 * on a full disk, and is never half there. (Some file systems never write in place. Then an old
 * word stays that may not be true any more, and a start has to be refused.)
 */
#include "broker/store_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema/errors.h"

enum { PID_BYTES = 16, TEXT_BYTES = 80, BOOT_BYTES = 40 };

static const char *const words[] = {
    [STORE_MARK_NONE] = "unknown",        [STORE_MARK_MOVING] = "moving",
    [STORE_MARK_SERVING] = "serving",     [STORE_MARK_STOPPED] = "stopped",
    [STORE_MARK_REPAIRING] = "repairing",
};

/* "-" if the kernel does not say. */
static void read_boot(char ret_boot[BOOT_BYTES])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, ret_boot, BOOT_BYTES - 1) : -1;

    if (fd >= 0)
        (void)close(fd);
    ret_boot[n > 0 ? n : 0] = '\0';
    ret_boot[strcspn(ret_boot, "\n")] = '\0';
    if (ret_boot[0] == '\0')
        strcpy(ret_boot, "-");
}

void store_mark_read(int fd, struct store_mark *ret_mark)
{
    char text[TEXT_BYTES + 1] = "", word[16] = "", boot[BOOT_BYTES] = "", now[BOOT_BYTES];

    *ret_mark = (struct store_mark){.state = STORE_MARK_NONE};
    if (pread(fd, text, TEXT_BYTES, 0) < TEXT_BYTES ||
        sscanf(text, "%*d %15s %39s", word, boot) != 2)
        return;
    for (size_t i = 0; i < JM_COUNT_OF(words); i++)
        if (strcmp(word, words[i]) == 0)
            ret_mark->state = (enum store_mark_state)i;
    read_boot(now);
    ret_mark->is_same_boot = strcmp(boot, now) == 0 && strcmp(now, "-") != 0;
}

static int put(int fd, const char *text, size_t len, off_t offset)
{
    ssize_t n = pwrite(fd, text, len, offset);

    if (n == (ssize_t)len)
        return 0;
    return n >= 0 || errno == ENOSPC || errno == EDQUOT ? JM_EFULL : JM_EIO;
}

/* Without room a file that is new stays without a mark. */
static bool has_mark(int fd)
{
    struct stat st;

    return fstat(fd, &st) != 0 || st.st_size >= TEXT_BYTES;
}

int store_mark_write_pid(int fd)
{
    char pid[PID_BYTES + 1];
    int rc;

    snprintf(pid, sizeof(pid), "%-*ld\n", PID_BYTES - 1, (long)getpid());
    rc = put(fd, pid, PID_BYTES, 0);
    return rc == JM_EFULL ? 0 : rc;
}

int store_mark_write(int fd, enum store_mark_state state)
{
    char text[TEXT_BYTES + 1], boot[BOOT_BYTES];
    int rc;

    read_boot(boot);
    snprintf(text, sizeof(text), "%-*ld\n%-12s %-*s\n", PID_BYTES - 1, (long)getpid(), words[state],
             TEXT_BYTES - PID_BYTES - 14, boot);
    rc = put(fd, text, TEXT_BYTES, 0);
    if (rc == JM_EFULL && !has_mark(fd))
        return 0;
    if (rc == 0 && fdatasync(fd) != 0)
        rc = JM_EIO;
    return rc;
}
