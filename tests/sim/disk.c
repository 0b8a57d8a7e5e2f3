#include "tests/sim/disk.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hash.h"

struct disk *disk_shown;

uint64_t disk_random(struct disk *d, uint64_t below)
{
    *d->random_state += UINT64_C(0x9e3779b97f4a7c15);
    return hash_of_u64(*d->random_state) % below;
}

static size_t sectors_of(size_t bytes)
{
    return (bytes + DISK_SECTOR - 1) / DISK_SECTOR;
}

/* ---- files ---- */

struct disk_file *disk_find(struct disk *d, const char *name)
{
    LIST_EACH(node, &d->files)
    {
        struct disk_file *f = LIST_ENTRY(node, struct disk_file, link);

        if (f->is_linked && strcmp(f->name, name) == 0)
            return f;
    }
    return NULL;
}

struct disk_file *disk_make(struct disk *d, const char *name)
{
    struct disk_file *f = calloc(1, sizeof(*f));

    assert(f != NULL && strlen(name) < sizeof(f->name));
    snprintf(f->name, sizeof(f->name), "%s", name);
    f->is_linked = true;
    list_push_back(&d->files, &f->link);
    return f;
}

static void file_free(struct disk_file *f)
{
    list_remove(&f->link);
    for (size_t i = 0; i < DISK_SHM_REGIONS; i++)
        free(f->shm[i]);
    free(f->now);
    free(f->kept);
    free(f->seqs);
    free(f);
}

/* Nobody has it open, and no directory knows it. */
void disk_drop_if_unused(struct disk_file *f)
{
    if (f->handles == 0 && !f->is_linked && !f->is_link_kept)
        file_free(f);
}

void disk_unlink(struct disk *d, const char *name, bool is_synced)
{
    struct disk_file *f = disk_find(d, name);

    if (f == NULL)
        return;
    f->is_linked = false;
    if (is_synced)
        disk_sync_names(d);
    else
        disk_drop_if_unused(f);
}

void disk_sync_names(struct disk *d)
{
    LIST_EACH_SAFE(node, &d->files)
    {
        struct disk_file *f = LIST_ENTRY(node, struct disk_file, link);

        f->is_link_kept = f->is_linked;
        disk_drop_if_unused(f);
    }
}

static void grow(struct disk_file *f, size_t bytes)
{
    size_t room = f->room > 0 ? f->room : 64 << 10;

    if (bytes <= f->room)
        return;
    while (room < bytes)
        room *= 2;
    f->now = realloc(f->now, room);
    f->kept = realloc(f->kept, room);
    f->seqs = realloc(f->seqs, room / DISK_SECTOR * sizeof(*f->seqs));
    assert(f->now != NULL && f->kept != NULL && f->seqs != NULL);
    memset(f->now + f->room, 0, room - f->room);
    memset(f->kept + f->room, 0, room - f->room);
    memset(f->seqs + f->room / DISK_SECTOR, 0, (room - f->room) / DISK_SECTOR * sizeof(*f->seqs));
    f->room = room;
}

static void touch(struct disk *d, struct disk_file *f, size_t from, size_t to)
{
    d->seq++;
    assert(d->seq != DISK_LOST);
    for (size_t i = from / DISK_SECTOR; i < sectors_of(to); i++)
        f->seqs[i] = d->seq;
}

void disk_write(struct disk *d, struct disk_file *f, const void *bytes, size_t len, size_t at)
{
    grow(f, at + len);
    if (at > f->now_len)
        touch(d, f, f->now_len, at); /* a hole: zeroes */
    memcpy(f->now + at, bytes, len);
    touch(d, f, at, at + len);
    if (at + len > f->now_len)
        f->now_len = at + len;
}

void disk_truncate(struct disk *d, struct disk_file *f, size_t len)
{
    grow(f, len);
    if (len < f->now_len)
        memset(f->now + len, 0, f->now_len - len);
    touch(d, f, len < f->now_len ? len : f->now_len, len < f->now_len ? f->now_len : len);
    f->now_len = len;
}

void disk_sync(struct disk_file *f)
{
    size_t longest = f->now_len > f->kept_len ? f->now_len : f->kept_len;

    for (size_t i = 0; i < sectors_of(longest); i++) {
        if (f->seqs[i] == DISK_CLEAN || f->seqs[i] == DISK_LOST)
            continue;
        memcpy(f->kept + i * DISK_SECTOR, f->now + i * DISK_SECTOR, DISK_SECTOR);
        f->seqs[i] = DISK_CLEAN;
    }
    f->kept_len = f->now_len;
}

/* Some of it may have been written before the disk said no. */
void disk_lose_sync(struct disk_file *f)
{
    for (size_t i = 0; i < sectors_of(f->now_len); i++)
        if (f->seqs[i] != DISK_CLEAN)
            f->seqs[i] = DISK_LOST;
}

/* ---- faults ---- */

void disk_arm(struct disk *d, enum disk_fault fault, uint64_t changes)
{
    d->countdown[fault] = changes;
}

void disk_disarm_all(struct disk *d)
{
    memset(d->countdown, 0, sizeof(d->countdown));
    d->is_full = false;
}

bool disk_strikes(struct disk *d, enum disk_fault fault)
{
    if (d->is_exempt || d->countdown[fault] == 0 || --d->countdown[fault] > 0)
        return false;
    d->struck[fault]++;
    if (fault == DISK_KILL || fault == DISK_POWER)
        d->is_dead = true;
    if (fault == DISK_POWER)
        d->has_lost_power = true;
    return true;
}

/* ---- what a power cut leaves ---- */

enum loss { LOSE_ALL, LOSE_NONE, LOSE_SOME, LOSE_LATE, LOSSES };

static bool is_written(struct disk *d, enum loss loss, uint32_t seq, uint32_t last_kept)
{
    if (seq == DISK_LOST || loss == LOSE_ALL)
        return false;
    if (loss == LOSE_LATE)
        return seq <= last_kept;
    return loss == LOSE_NONE || disk_random(d, 2) == 0;
}

/* Its size may have reached the disk without its content, and the other way round. */
static size_t pick_length(struct disk *d, const struct disk_file *f, enum loss loss)
{
    if (loss == LOSE_ALL)
        return f->kept_len;
    if (loss == LOSE_NONE)
        return f->now_len;
    return disk_random(d, 2) == 0 ? f->kept_len : f->now_len;
}

static void lose_of_file(struct disk *d, struct disk_file *f, enum loss loss, uint32_t last_kept)
{
    size_t longest = f->now_len > f->kept_len ? f->now_len : f->kept_len;
    size_t len = pick_length(d, f, loss);

    for (size_t i = 0; i < sectors_of(longest); i++) {
        if (f->seqs[i] != DISK_CLEAN && is_written(d, loss, f->seqs[i], last_kept))
            memcpy(f->kept + i * DISK_SECTOR, f->now + i * DISK_SECTOR, DISK_SECTOR);
        f->seqs[i] = DISK_CLEAN;
    }
    if (len < longest)
        memset(f->kept + len, 0, longest - len);
    if (longest > 0)
        memcpy(f->now, f->kept, longest);
    f->kept_len = len;
    f->now_len = len;
}

/* A name that was made or taken away and not synced is there or not; of two files that could have
 * it, one does. */
static void lose_names(struct disk *d)
{
    bool is_new = disk_random(d, 2) == 0;

    LIST_EACH_SAFE(node, &d->files)
    {
        struct disk_file *f = LIST_ENTRY(node, struct disk_file, link);

        f->is_linked = is_new ? f->is_linked : f->is_link_kept;
        f->is_link_kept = f->is_linked;
        disk_drop_if_unused(f);
    }
}

void disk_restart(struct disk *d)
{
    enum loss loss = (enum loss)disk_random(d, LOSSES);
    uint32_t last_kept = d->seq - (uint32_t)disk_random(d, 40);

    if (d->has_lost_power) {
        lose_names(d);
        LIST_EACH(node, &d->files)
        lose_of_file(d, LIST_ENTRY(node, struct disk_file, link), loss, last_kept);
    }
    d->has_lost_power = false;
    d->is_dead = false;
}

/* ---- disks ---- */

void disk_init(struct disk *d, uint64_t *random_state)
{
    *d = (struct disk){.random_state = random_state};
    list_init(&d->files);
    disk_shown = d;
}

void disk_done(struct disk *d)
{
    LIST_EACH_SAFE(node, &d->files)
    file_free(LIST_ENTRY(node, struct disk_file, link));
    if (disk_shown == d)
        disk_shown = NULL;
}

void disk_copy(struct disk *to, const struct disk *from)
{
    LIST_EACH(node, &from->files)
    {
        const struct disk_file *f = LIST_ENTRY(node, struct disk_file, link);
        struct disk_file *copy = disk_make(to, f->name);

        copy->is_link_kept = true;
        grow(copy, f->now_len);
        copy->now_len = copy->kept_len = f->now_len;
        if (f->now_len > 0) {
            memcpy(copy->now, f->now, f->now_len);
            memcpy(copy->kept, f->now, f->now_len);
        }
    }
}
