/*
 * The files of a database: the user's right to them, room beside them, their copy, and the moment
 * in which what was salvaged takes their place.
 */
#include "broker/doctor_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "broker/store_mark.h"
#include "lib/clock.h"
#include "schema/errors.h"

enum { ROOM_BYTES = 64 << 20 };

static const char *const suffixes[] = {"", "-wal", "-shm"};

void doctor_files_name(const struct doctor *d, const char *suffix, char ret_name[PATH_MAX])
{
    snprintf(ret_name, PATH_MAX, "%s%s", d->conf.db, suffix);
}

uint64_t doctor_files_size(const struct doctor *d, const char *suffix)
{
    char name[PATH_MAX];
    struct stat st;

    doctor_files_name(d, suffix, name);
    return stat(name, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void check_permissions(struct doctor *d)
{
    char name[PATH_MAX];
    struct stat main_file, st;

    if (stat(d->conf.db, &main_file) != 0)
        return;
    for (size_t i = 0; i < JM_COUNT_OF(suffixes); i++) {
        doctor_files_name(d, suffixes[i], name);
        if (stat(name, &st) != 0)
            continue;
        if (access(name, R_OK | W_OK) != 0 || st.st_uid != main_file.st_uid)
            doctor_report_add(&d->report, "permissions",
                              "Give the database, FILE-wal and FILE-shm to the user that the "
                              "broker runs as (chown), with the right to read and write.",
                              "%.150s is of user %u, and %s.", name, st.st_uid,
                              st.st_uid == main_file.st_uid ? "may not be read and written"
                                                            : "the database is of another one");
        if ((st.st_mode & S_IWOTH) != 0)
            doctor_report_note(&d->report, "Every user of this machine may write %.150s.", name);
    }
}

static uint64_t room_of(const struct doctor *d)
{
    struct statvfs fs;

    return statvfs(d->conf.db, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

static void check_room(struct doctor *d)
{
    uint64_t room = room_of(d);

    if (room < ROOM_BYTES)
        doctor_report_add(&d->report, "room",
                          "Make room on the disk: the broker refuses submits "
                          "when there is none.",
                          "The disk has %llu MB left.", (unsigned long long)(room >> 20));
}

void doctor_files_check(struct doctor *d)
{
    check_permissions(d);
    check_room(d);
}

static int copy_bytes(int in, int out)
{
    static char bytes[1 << 16];
    ssize_t n;

    while ((n = read(in, bytes, sizeof(bytes))) > 0)
        for (ssize_t done = 0; done < n;) {
            ssize_t wrote = write(out, bytes + done, (size_t)(n - done));

            if (wrote < 0)
                return JM_EIO;
            done += wrote;
        }
    return n == 0 && fsync(out) == 0 ? 0 : JM_EIO;
}

static int copy_file(const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC), out, rc;

    if (in < 0)
        return errno == ENOENT ? 0 : JM_EIO;
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    rc = out < 0 ? JM_EIO : copy_bytes(in, out);
    if (out >= 0 && close(out) != 0)
        rc = JM_EIO;
    (void)close(in);
    return rc;
}

/* Copies of all files, beside them; their modes are for their owner alone. */
int doctor_files_backup(struct doctor *d)
{
    uint64_t bytes = doctor_files_size(d, "") + doctor_files_size(d, "-wal");
    char from[PATH_MAX], to[PATH_MAX + 64], stamp[32];
    time_t now = (time_t)(clock_wall_ms(clock_real()) / 1000);
    struct tm tm;

    if (d->report.backup[0] != '\0')
        return 0;
    if (room_of(d) / 2 < bytes)
        return doctor_stop(d,
                           "Before a repair the files are copied: that needs %llu MB of room on "
                           "the disk of %.120s. Nothing was changed.",
                           (unsigned long long)(bytes >> 19) + 1, d->conf.db);
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
    snprintf(d->report.backup, sizeof(d->report.backup), "%.300s.before-%s-%d", d->conf.db, stamp,
             (int)getpid());
    for (size_t i = 0; i < JM_COUNT_OF(suffixes); i++) {
        doctor_files_name(d, suffixes[i], from);
        snprintf(to, sizeof(to), "%s%s", d->report.backup, suffixes[i]);
        if (copy_file(from, to) != 0)
            return doctor_stop(d, "Cannot copy %.100s to %.100s: %s. Nothing was changed.", from,
                               to, strerror(errno));
    }
    return 0;
}

static int sync_directory(const struct doctor *d)
{
    char name[PATH_MAX];
    char *slash;
    int fd, rc;

    doctor_files_name(d, "", name);
    slash = strrchr(name, '/');
    if (slash != NULL)
        slash[slash == name] = '\0';
    fd = open(slash != NULL ? name : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fd >= 0 && fsync(fd) == 0 ? 0 : JM_EIO;
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

/* The log of a database goes before another one takes its place, and would take it for its own. */
static int remove_log(struct doctor *d)
{
    char name[PATH_MAX];

    for (size_t i = 1; i < JM_COUNT_OF(suffixes); i++) {
        doctor_files_name(d, suffixes[i], name);
        if (unlink(name) != 0 && errno != ENOENT)
            return doctor_stop(d, "Cannot remove %.150s: %s.", name, strerror(errno));
    }
    return 0;
}

/* "DB.salvaged" is complete: it takes the place of the database. Where it is gone, whoever was to
 * do that has done it, and died before the mark said so. */
int doctor_files_swap(struct doctor *d)
{
    char salvaged[PATH_MAX];
    bool is_done;

    doctor_files_name(d, ".salvaged", salvaged);
    is_done = access(salvaged, F_OK) != 0 && errno == ENOENT && doctor_files_size(d, "") > 0;
    if (!is_done && remove_log(d) != 0)
        return DOCTOR_CANNOT_RUN;
    if (sync_directory(d) != 0 || (!is_done && rename(salvaged, d->conf.db) != 0) ||
        sync_directory(d) != 0 || store_mark_write(d->lock_fd, STORE_MARK_MOVING) != 0)
        return doctor_stop(d, "Cannot put %.100s in the place of %.100s: %s.", salvaged, d->conf.db,
                           strerror(errno));
    return 0;
}
