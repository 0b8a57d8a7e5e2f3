/*
 * disk.h: a disk in memory behind SQLite's VFS. Of each file it keeps what a reader sees (the
 * kernel's cache) apart from what is on the platter (written and synced), sector by sector, and of
 * each name whether the directory would still know it. A fault is armed and strikes at the n-th
 * change from then on; or holds until it is taken back.
 *
 * What a power cut leaves of a file that was not synced is, sector by sector (512 bytes), the old
 * or the new, as the generator says: all, none, a random part, or all up to some write. A sync that
 * failed loses what it was to write for good, as Linux does: the next one succeeds without it.
 *
 * One disk at a time is in the VFS named "sim", which is the default one of its process.
 */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/list.h"

enum { DISK_SECTOR = 512, DISK_SHM_LOCKS = 8, DISK_SHM_REGIONS = 8, DISK_NAME_BYTES = 32 };

enum disk_fault {
    DISK_KILL,        /* the process dies at a change, which is done in part */
    DISK_POWER,       /* the machine does */
    DISK_SYNC_FAILS,  /* the next sync */
    DISK_WRITE_FAILS, /* a write is cut short: EIO */
    DISK_SHORT_WRITE, /* a write is cut short: no room */
    DISK_READ_FAILS,  /* the next read */
    DISK_FULL,        /* no file can grow, until that is taken back */
    DISK_FAULTS,
};

struct disk_file {
    struct list link;
    char name[DISK_NAME_BYTES];
    bool is_linked; /* what a process sees of the directory; and what a power cut leaves of it */
    bool is_link_kept;
    uint8_t *now;
    size_t now_len;
    uint8_t *kept;
    size_t kept_len;
    uint32_t *seqs; /* by sector: the write that changed it last, DISK_CLEAN or DISK_LOST */
    size_t room;    /* of the three, in bytes of content */
    unsigned handles;

    unsigned shared; /* file locks */
    const void *reserved;
    const void *pending;
    const void *exclusive;
    uint8_t *shm[DISK_SHM_REGIONS];
    unsigned shm_handles;
    int shm_locks[DISK_SHM_LOCKS]; /* -1: exclusive */
};

struct disk {
    struct list files;
    uint64_t *random_state;
    int64_t (*wall_ms)(void *owner);
    void *owner;
    uint32_t seq;
    bool is_dead;   /* no process is there that could do anything */
    bool is_exempt; /* who looks now sees no fault */
    bool is_full;
    uint64_t countdown[DISK_FAULTS]; /* changes until it strikes; 0: not armed */
    uint64_t struck[DISK_FAULTS];
    bool has_lost_power; /* what was dead is to start from what was kept */
};

/* Registers the VFS; once in a process. */
void disk_register(void);

/* An empty one, and the one that the VFS shows from now on. */
void disk_init(struct disk *d, uint64_t *random_state);
void disk_done(struct disk *d);

/* Makes an image of all files, all of it synced; and begins with one. */
void disk_copy(struct disk *to, const struct disk *from);

void disk_arm(struct disk *d, enum disk_fault fault, uint64_t changes);
void disk_disarm_all(struct disk *d);

/* No handle is open: what is left is what the next process finds. */
void disk_restart(struct disk *d);

/* For the use of disk.c and disk_vfs.c. */
enum { DISK_CLEAN = 0 };
#define DISK_LOST UINT32_MAX

extern struct disk *disk_shown;

struct disk_file *disk_find(struct disk *d, const char *name);
struct disk_file *disk_make(struct disk *d, const char *name);
void disk_unlink(struct disk *d, const char *name, bool is_synced);
void disk_write(struct disk *d, struct disk_file *f, const void *bytes, size_t len, size_t at);
void disk_truncate(struct disk *d, struct disk_file *f, size_t len);
void disk_sync(struct disk_file *f);
void disk_lose_sync(struct disk_file *f);
void disk_sync_names(struct disk *d);
void disk_drop_if_unused(struct disk_file *f);
bool disk_strikes(struct disk *d, enum disk_fault fault);
uint64_t disk_random(struct disk *d, uint64_t below);

#endif
