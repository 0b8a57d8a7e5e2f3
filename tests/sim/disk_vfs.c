/*
 * disk_vfs.c: SQLite's side of the disk. Everything runs on one thread, so that a lock that is not
 * free now never becomes so while one waits for it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/attr.h"
#include "tests/sim/disk.h"

enum { SHM_SIZE = 32768 };

struct handle {
    sqlite3_file base;
    struct disk *disk;
    struct disk_file *file;
    int lock;
    bool is_on_shm;
    uint8_t shm_shared; /* bits of locks that it holds */
    uint8_t shm_exclusive;
    bool syncs_names; /* with its first sync: it may have been made with this handle */
    bool is_exempt;   /* opened by who only looks */
};

static struct handle *handle_of(sqlite3_file *file)
{
    return (struct handle *)(void *)file;
}

static bool is_gone(const struct handle *h)
{
    return h->disk->is_dead && !h->is_exempt;
}

/* ---- content ---- */

static int disk_x_read(sqlite3_file *file, void *bytes, int n, sqlite3_int64 offset)
{
    struct handle *h = handle_of(file);
    struct disk_file *f = h->file;
    size_t at = (size_t)offset, len = (size_t)n, there = at < f->now_len ? f->now_len - at : 0;

    if (is_gone(h) || (!h->is_exempt && disk_strikes(h->disk, DISK_READ_FAILS)))
        return SQLITE_IOERR_READ;
    if (there >= len) {
        memcpy(bytes, f->now + at, len);
        return SQLITE_OK;
    }
    if (there > 0)
        memcpy(bytes, f->now + at, there);
    memset((uint8_t *)bytes + there, 0, len - there);
    return SQLITE_IOERR_SHORT_READ;
}

/* Whether the process or the machine dies at this change. */
static bool dies(struct disk *d)
{
    return disk_strikes(d, DISK_KILL) || disk_strikes(d, DISK_POWER);
}

static int disk_x_write(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 offset)
{
    struct handle *h = handle_of(file);
    struct disk *d = h->disk;
    size_t at = (size_t)offset, len = (size_t)n, part;
    int rc = SQLITE_OK;

    if (is_gone(h))
        return SQLITE_IOERR_WRITE;
    part = disk_random(d, len);
    if (dies(d) || disk_strikes(d, DISK_WRITE_FAILS))
        rc = SQLITE_IOERR_WRITE;
    else if (disk_strikes(d, DISK_SHORT_WRITE))
        rc = SQLITE_FULL;
    if (rc == SQLITE_OK && d->is_full && at + len > h->file->now_len) {
        rc = SQLITE_FULL;
        part = at < h->file->now_len ? h->file->now_len - at : 0;
    }
    if (rc == SQLITE_OK || part > 0)
        disk_write(d, h->file, bytes, rc == SQLITE_OK ? len : part, at);
    return rc;
}

static int disk_x_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct handle *h = handle_of(file);

    if (is_gone(h) || dies(h->disk))
        return SQLITE_IOERR_TRUNCATE;
    disk_truncate(h->disk, h->file, (size_t)size);
    return SQLITE_OK;
}

static int disk_x_sync(sqlite3_file *file, int flags)
{
    struct handle *h = handle_of(file);

    (void)flags;
    if (is_gone(h) || dies(h->disk))
        return SQLITE_IOERR_FSYNC;
    if (disk_strikes(h->disk, DISK_SYNC_FAILS)) {
        disk_lose_sync(h->file);
        return SQLITE_IOERR_FSYNC;
    }
    disk_sync(h->file);
    if (h->syncs_names)
        disk_sync_names(h->disk);
    h->syncs_names = false;
    return SQLITE_OK;
}

static int disk_x_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    *ret_size = (sqlite3_int64)handle_of(file)->file->now_len;
    return SQLITE_OK;
}

/* ---- locks ---- */

static bool is_others(const void *holder, const struct handle *h)
{
    return holder != NULL && holder != h;
}

static int take_exclusive(struct handle *h)
{
    struct disk_file *f = h->file;

    if (is_others(f->reserved, h) || is_others(f->pending, h))
        return SQLITE_BUSY;
    f->pending = h;
    if (f->shared > 1)
        return SQLITE_BUSY;
    f->exclusive = h;
    return SQLITE_OK;
}

static int disk_x_lock(sqlite3_file *file, int lock)
{
    struct handle *h = handle_of(file);
    struct disk_file *f = h->file;
    int rc = SQLITE_OK;

    if (h->lock >= lock)
        return SQLITE_OK;
    if (lock == SQLITE_LOCK_SHARED) {
        if (is_others(f->pending, h) || is_others(f->exclusive, h))
            return SQLITE_BUSY;
        f->shared++;
    } else if (lock == SQLITE_LOCK_RESERVED) {
        if (is_others(f->reserved, h))
            return SQLITE_BUSY;
        f->reserved = h;
    } else {
        rc = take_exclusive(h);
    }
    if (rc == SQLITE_OK)
        h->lock = lock;
    return rc;
}

static int disk_x_unlock(sqlite3_file *file, int lock)
{
    struct handle *h = handle_of(file);
    struct disk_file *f = h->file;

    if (f->exclusive == h)
        f->exclusive = NULL;
    if (f->pending == h)
        f->pending = NULL;
    if (f->reserved == h)
        f->reserved = NULL;
    if (lock == SQLITE_LOCK_NONE && h->lock != SQLITE_LOCK_NONE)
        f->shared--;
    h->lock = h->lock < lock ? h->lock : lock;
    return SQLITE_OK;
}

static int disk_x_check_lock(sqlite3_file *file, int *ret_is_held)
{
    *ret_is_held = handle_of(file)->file->reserved != NULL;
    return SQLITE_OK;
}

/* ---- shared memory ---- */

static void shm_leave(struct handle *h, unsigned i)
{
    struct disk_file *f = h->file;
    uint8_t bit = (uint8_t)(1u << i);

    if ((h->shm_exclusive & bit) != 0)
        f->shm_locks[i] = 0;
    else if ((h->shm_shared & bit) != 0)
        f->shm_locks[i]--;
    h->shm_exclusive &= (uint8_t)~bit;
    h->shm_shared &= (uint8_t)~bit;
}

static int shm_enter(struct handle *h, unsigned i, bool is_shared)
{
    struct disk_file *f = h->file;
    uint8_t bit = (uint8_t)(1u << i);

    if ((h->shm_exclusive & bit) != 0 || (is_shared && (h->shm_shared & bit) != 0))
        return SQLITE_OK;
    if (is_shared ? f->shm_locks[i] < 0 : f->shm_locks[i] != 0)
        return SQLITE_BUSY;
    f->shm_locks[i] = is_shared ? f->shm_locks[i] + 1 : -1;
    if (is_shared)
        h->shm_shared |= bit;
    else
        h->shm_exclusive |= bit;
    return SQLITE_OK;
}

static int disk_x_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    struct handle *h = handle_of(file);
    int rc = SQLITE_OK;

    for (int i = offset; i < offset + n && rc == SQLITE_OK; i++) {
        if ((flags & SQLITE_SHM_UNLOCK) != 0)
            shm_leave(h, (unsigned)i);
        else
            rc = shm_enter(h, (unsigned)i, (flags & SQLITE_SHM_SHARED) != 0);
        if (rc != SQLITE_OK)
            while (--i >= offset)
                shm_leave(h, (unsigned)i);
    }
    return rc;
}

static int disk_x_shm_map(sqlite3_file *file, int region, int size, int extend,
                          void volatile **ret_map)
{
    struct handle *h = handle_of(file);
    struct disk_file *f = h->file;

    assert(region < DISK_SHM_REGIONS && size == SHM_SIZE);
    if (!h->is_on_shm)
        f->shm_handles++;
    h->is_on_shm = true;
    if (f->shm[region] == NULL && extend) {
        if (h->disk->is_full && !h->disk->is_exempt)
            return SQLITE_IOERR_SHMSIZE;
        f->shm[region] = calloc(1, SHM_SIZE);
        assert(f->shm[region] != NULL);
    }
    *ret_map = f->shm[region];
    return SQLITE_OK;
}

static void disk_x_shm_barrier(sqlite3_file *file)
{
    (void)file;
}

/* Who comes first finds it empty, as with the unix VFS. */
static int disk_x_shm_unmap(sqlite3_file *file, int is_last)
{
    struct handle *h = handle_of(file);
    struct disk_file *f = h->file;

    (void)is_last;
    if (!h->is_on_shm)
        return SQLITE_OK;
    for (unsigned i = 0; i < DISK_SHM_LOCKS; i++)
        shm_leave(h, i);
    h->is_on_shm = false;
    if (--f->shm_handles > 0)
        return SQLITE_OK;
    for (size_t i = 0; i < DISK_SHM_REGIONS; i++) {
        free(f->shm[i]);
        f->shm[i] = NULL;
    }
    return SQLITE_OK;
}

/* ---- handles ---- */

static int disk_x_close(sqlite3_file *file)
{
    struct handle *h = handle_of(file);

    (void)disk_x_shm_unmap(file, 0);
    (void)disk_x_unlock(file, SQLITE_LOCK_NONE);
    h->file->handles--;
    disk_drop_if_unused(h->file);
    return SQLITE_OK;
}

static int disk_x_control(sqlite3_file *file, int op, void *arg)
{
    (void)file;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int disk_x_sector_size(sqlite3_file *file)
{
    (void)file;
    return 4096; /* as the unix VFS says */
}

static int disk_x_characteristics(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = disk_x_close,
    .xRead = disk_x_read,
    .xWrite = disk_x_write,
    .xTruncate = disk_x_truncate,
    .xSync = disk_x_sync,
    .xFileSize = disk_x_size,
    .xLock = disk_x_lock,
    .xUnlock = disk_x_unlock,
    .xCheckReservedLock = disk_x_check_lock,
    .xFileControl = disk_x_control,
    .xSectorSize = disk_x_sector_size,
    .xDeviceCharacteristics = disk_x_characteristics,
    .xShmMap = disk_x_shm_map,
    .xShmLock = disk_x_shm_lock,
    .xShmBarrier = disk_x_shm_barrier,
    .xShmUnmap = disk_x_shm_unmap,
};

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* ---- the VFS ---- */

static int disk_x_open(sqlite3_vfs *vfs, sqlite3_filename path, sqlite3_file *file, int flags,
                       int *ret_flags)
{
    struct handle *h = handle_of(file);
    struct disk *d = disk_shown;
    struct disk_file *f;

    (void)vfs;
    memset(h, 0, sizeof(*h));
    if (path == NULL || d == NULL || (d->is_dead && !d->is_exempt))
        return SQLITE_CANTOPEN;
    f = disk_find(d, base_of(path));
    if (f == NULL && ((flags & SQLITE_OPEN_CREATE) == 0 || (d->is_full && !d->is_exempt)))
        return SQLITE_CANTOPEN;
    if (f == NULL)
        f = disk_make(d, base_of(path));
    h->syncs_names = (flags & SQLITE_OPEN_CREATE) != 0 &&
                     (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    h->disk = d;
    h->file = f;
    h->is_exempt = d->is_exempt;
    h->base.pMethods = &methods;
    f->handles++;
    if (ret_flags != NULL)
        *ret_flags = flags;
    return SQLITE_OK;
}

static int disk_x_delete(sqlite3_vfs *vfs, const char *path, int sync_dir)
{
    struct disk *d = disk_shown;

    (void)vfs;
    if (d->is_dead || dies(d))
        return SQLITE_IOERR_DELETE;
    if (disk_find(d, base_of(path)) == NULL)
        return SQLITE_IOERR_DELETE_NOENT;
    disk_unlink(d, base_of(path), sync_dir != 0);
    return SQLITE_OK;
}

static int disk_x_access(sqlite3_vfs *vfs, const char *path, int flags, int *ret_is)
{
    const struct disk_file *f = disk_find(disk_shown, base_of(path));

    (void)vfs;
    /* An empty file does not count as one that is there: as the unix VFS has it. */
    *ret_is = f != NULL && (flags != SQLITE_ACCESS_EXISTS || f->now_len > 0);
    return SQLITE_OK;
}

static int disk_x_full_path(sqlite3_vfs *vfs, const char *path, int room, char *ret_path)
{
    (void)vfs;
    if (strlen(path) >= (size_t)room)
        return SQLITE_CANTOPEN;
    memcpy(ret_path, path, strlen(path) + 1);
    return SQLITE_OK;
}

static int disk_x_randomness(sqlite3_vfs *vfs, int n, char *ret_bytes)
{
    (void)vfs;
    for (int i = 0; i < n; i++)
        ret_bytes[i] = disk_shown != NULL ? (char)disk_random(disk_shown, 256) : 0;
    return n;
}

static int disk_x_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us; /* nobody else would do anything meanwhile */
}

static int disk_x_time(sqlite3_vfs *vfs, sqlite3_int64 *ret_ms)
{
    (void)vfs;
    *ret_ms = INT64_C(212633856000000); /* no SQL of ours asks for it */
    return SQLITE_OK;
}

static int disk_x_last_error(sqlite3_vfs *vfs, int n, char *ret_text)
{
    (void)vfs;
    (void)n;
    (void)ret_text;
    return 0;
}

void disk_register(void)
{
    static sqlite3_vfs vfs = {
        .iVersion = 2,
        .szOsFile = (int)sizeof(struct handle),
        .mxPathname = 512,
        .zName = "sim",
        .xOpen = disk_x_open,
        .xDelete = disk_x_delete,
        .xAccess = disk_x_access,
        .xFullPathname = disk_x_full_path,
        .xRandomness = disk_x_randomness,
        .xSleep = disk_x_sleep,
        .xGetLastError = disk_x_last_error,
        .xCurrentTimeInt64 = disk_x_time,
    };

    /* One thread, whatever the program does. */
    if (sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) != SQLITE_OK ||
        sqlite3_vfs_register(&vfs, 1) != SQLITE_OK)
        abort();
}
