/*
 * fault_vfs.h: a SQLite VFS that passes everything on to the default one, and fails what the test
 * wants: the n-th change of a file (write, sync, truncate), every sync of the log or of the
 * database, or whatever would make a file longer. One test at a time; any thread.
 */
#ifndef TESTS_FAULT_VFS_H
#define TESTS_FAULT_VFS_H

#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lib/attr.h"

enum fault_file { FAULT_DATABASE = 1, FAULT_LOG = 2 };

struct fault_plan {
    atomic_int fail_at; /* the number of the change that fails, from 1; 0: none */
    atomic_int code;    /* with which SQLite code */
    atomic_int changes; /* so far */
    atomic_bool is_hit;
    atomic_uint fail_syncs_of; /* set of enum fault_file */
    atomic_uint full_files;    /* set of enum fault_file that cannot grow */
    atomic_int syncs;
    atomic_int die_at; /* the number of the change at which the process dies; 0: none */
    void (*on_synced)(const char *path); /* or NULL */
    atomic_bool skips_syncs; /* nothing is cut off but the process: the kernel's cache is enough */
};

struct fault_handle {
    sqlite3_file base;
    enum fault_file kind;
    const char *path;   /* SQLite's own copy */
    sqlite3_file *real; /* behind this struct */
};

static struct fault_plan fault_plan;

static inline void fault_plan_clear(void)
{
    fault_plan.fail_at = 0;
    fault_plan.changes = 0;
    fault_plan.is_hit = false;
    fault_plan.fail_syncs_of = 0;
    fault_plan.full_files = 0;
    fault_plan.die_at = 0;
    fault_plan.on_synced = NULL;
    fault_plan.syncs = 0;
    fault_plan.skips_syncs = false;
}

static inline sqlite3_file *fault_real(sqlite3_file *file)
{
    return ((struct fault_handle *)(void *)file)->real;
}

static inline enum fault_file fault_kind(sqlite3_file *file)
{
    return ((struct fault_handle *)(void *)file)->kind;
}

/* Counts a change; a code other than SQLITE_OK is its failure. */
static inline int fault_change(void)
{
    int number = atomic_fetch_add(&fault_plan.changes, 1) + 1;

    if (number == fault_plan.die_at)
        (void)raise(SIGKILL);
    if (number != fault_plan.fail_at)
        return SQLITE_OK;
    fault_plan.is_hit = true;
    return fault_plan.code;
}

static int fault_close(sqlite3_file *file)
{
    return fault_real(file)->pMethods->xClose(fault_real(file));
}

static int fault_read(sqlite3_file *file, void *bytes, int n, sqlite3_int64 offset)
{
    return fault_real(file)->pMethods->xRead(fault_real(file), bytes, n, offset);
}

static int fault_write(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 offset)
{
    sqlite3_file *real = fault_real(file);
    sqlite3_int64 size = 0;
    int rc = fault_change();

    if (rc != SQLITE_OK)
        return rc;
    if ((fault_plan.full_files & fault_kind(file)) != 0) {
        rc = real->pMethods->xFileSize(real, &size);
        if (rc != SQLITE_OK || offset + n > size)
            return SQLITE_FULL;
    }
    return real->pMethods->xWrite(real, bytes, n, offset);
}

static int fault_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int rc = fault_change();

    return rc != SQLITE_OK ? rc : fault_real(file)->pMethods->xTruncate(fault_real(file), size);
}

static int fault_sync(sqlite3_file *file, int flags)
{
    int rc = fault_change();

    fault_plan.syncs++;
    if (rc != SQLITE_OK)
        return rc == SQLITE_FULL ? SQLITE_IOERR_FSYNC : rc; /* as the unix VFS has it */
    if ((fault_plan.fail_syncs_of & fault_kind(file)) != 0)
        return SQLITE_IOERR_FSYNC;
    if (fault_plan.skips_syncs)
        return SQLITE_OK;
    rc = fault_real(file)->pMethods->xSync(fault_real(file), flags);
    if (rc == SQLITE_OK && fault_plan.on_synced != NULL)
        fault_plan.on_synced(((struct fault_handle *)(void *)file)->path);
    return rc;
}

static int fault_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return fault_real(file)->pMethods->xFileSize(fault_real(file), size);
}

static int fault_lock(sqlite3_file *file, int lock)
{
    return fault_real(file)->pMethods->xLock(fault_real(file), lock);
}

static int fault_unlock(sqlite3_file *file, int lock)
{
    return fault_real(file)->pMethods->xUnlock(fault_real(file), lock);
}

static int fault_check_lock(sqlite3_file *file, int *is_held)
{
    return fault_real(file)->pMethods->xCheckReservedLock(fault_real(file), is_held);
}

static int fault_control(sqlite3_file *file, int op, void *arg)
{
    return fault_real(file)->pMethods->xFileControl(fault_real(file), op, arg);
}

static int fault_sector_size(sqlite3_file *file)
{
    return fault_real(file)->pMethods->xSectorSize(fault_real(file));
}

static int fault_characteristics(sqlite3_file *file)
{
    return fault_real(file)->pMethods->xDeviceCharacteristics(fault_real(file));
}

static int fault_shm_map(sqlite3_file *file, int region, int size, int extend,
                         void volatile **ret_map)
{
    return fault_real(file)->pMethods->xShmMap(fault_real(file), region, size, extend, ret_map);
}

static int fault_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return fault_real(file)->pMethods->xShmLock(fault_real(file), offset, n, flags);
}

static void fault_shm_barrier(sqlite3_file *file)
{
    fault_real(file)->pMethods->xShmBarrier(fault_real(file));
}

static int fault_shm_unmap(sqlite3_file *file, int is_last)
{
    return fault_real(file)->pMethods->xShmUnmap(fault_real(file), is_last);
}

static const sqlite3_io_methods fault_methods = {
    .iVersion = 2,
    .xClose = fault_close,
    .xRead = fault_read,
    .xWrite = fault_write,
    .xTruncate = fault_truncate,
    .xSync = fault_sync,
    .xFileSize = fault_file_size,
    .xLock = fault_lock,
    .xUnlock = fault_unlock,
    .xCheckReservedLock = fault_check_lock,
    .xFileControl = fault_control,
    .xSectorSize = fault_sector_size,
    .xDeviceCharacteristics = fault_characteristics,
    .xShmMap = fault_shm_map,
    .xShmLock = fault_shm_lock,
    .xShmBarrier = fault_shm_barrier,
    .xShmUnmap = fault_shm_unmap,
};

static int fault_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags,
                      int *ret_flags)
{
    struct fault_handle *handle = (struct fault_handle *)(void *)file;
    sqlite3_vfs *real = vfs->pAppData;
    int rc;

    handle->path = name;
    handle->kind = (flags & SQLITE_OPEN_WAL) != 0 ? FAULT_LOG : FAULT_DATABASE;
    handle->real = (sqlite3_file *)(void *)(handle + 1);
    memset(handle->real, 0, (size_t)real->szOsFile);
    rc = real->xOpen(real, name, handle->real, flags, ret_flags);
    handle->base.pMethods = handle->real->pMethods != NULL ? &fault_methods : NULL;
    return rc;
}

static int fault_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    sqlite3_vfs *real = vfs->pAppData;

    return real->xDelete(real, name, fault_plan.skips_syncs ? 0 : sync_dir);
}

/* Registers it under the name "fault", once. */
static inline int fault_vfs_register(void)
{
    static sqlite3_vfs vfs;
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);

    vfs = *real;
    vfs.zName = "fault";
    vfs.pNext = NULL;
    vfs.pAppData = real;
    vfs.szOsFile = (int)sizeof(struct fault_handle) + real->szOsFile;
    vfs.xOpen = fault_open;
    vfs.xDelete = fault_delete;
    return sqlite3_vfs_register(&vfs, 0);
}

#endif
