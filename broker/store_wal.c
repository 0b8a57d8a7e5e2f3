/*
 * The format of the log is sqlite.org/fileformat2.html#walformat: a header of 32 bytes, then
 * frames of 24 bytes and a page. Each frame carries the two salts of the header and a checksum that
 * goes on from that of the frame before it. So a frame behind a damaged one can still be judged: by
 * the checksum that stands in the damaged one.
 */
#include "broker/store_wal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema/errors.h"

enum {
    HEADER_BYTES = 32,
    FRAME_BYTES = 24,
    MAGIC = 0x377f0682, /* the lowest bit: checksums are of big-endian words */
    MAX_PAGE_BYTES = 65536,
    MOVED_AT = 96, /* in the index, behind the two copies of its header */
    INDEX_BYTES = MOVED_AT + 4,
};

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* `len` is a multiple of 8. */
static void add_sum(const uint8_t *bytes, size_t len, bool is_big, uint32_t sum[2])
{
    for (size_t i = 0; i < len; i += 8) {
        uint32_t a, b;

        memcpy(&a, bytes + i, 4);
        memcpy(&b, bytes + i + 4, 4);
        if (is_big != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)) {
            a = __builtin_bswap32(a);
            b = __builtin_bswap32(b);
        }
        sum[0] += a + sum[1];
        sum[1] += b + sum[0];
    }
}

static bool is_page_size(uint32_t bytes)
{
    return bytes >= 512 && bytes <= MAX_PAGE_BYTES && (bytes & (bytes - 1)) == 0;
}

struct walk {
    struct store_wal *wal;
    bool is_big;
    uint32_t sum[2]; /* so far; behind a bad frame what that one says */
};

static bool read_header(struct walk *w, const uint8_t *header)
{
    uint32_t sum[2] = {0, 0};

    w->is_big = (header[3] & 1) != 0;
    add_sum(header, 24, w->is_big, sum);
    if ((get_u32(header) & ~1u) != MAGIC || get_u32(header + 24) != sum[0] ||
        get_u32(header + 28) != sum[1])
        return false;
    w->wal->page_bytes = get_u32(header + 8);
    w->wal->salt[0] = get_u32(header + 16);
    w->wal->salt[1] = get_u32(header + 20);
    memcpy(w->sum, sum, sizeof(sum));
    return is_page_size(w->wal->page_bytes);
}

/* Those that an earlier log has left have other salts, and are never intact. */
static void take_frame(struct walk *w, const uint8_t *frame, uint64_t offset)
{
    struct store_wal *wal = w->wal;
    bool is_ours = get_u32(frame + 8) == wal->salt[0] && get_u32(frame + 12) == wal->salt[1];
    bool is_commit = get_u32(frame + 4) != 0;
    bool is_intact;

    add_sum(frame, 8, w->is_big, w->sum);
    add_sum(frame + FRAME_BYTES, wal->page_bytes, w->is_big, w->sum);
    is_intact = is_ours && get_u32(frame) != 0 && get_u32(frame + 16) == w->sum[0] &&
                get_u32(frame + 20) == w->sum[1];
    if (is_intact && wal->bad_at == 0) {
        wal->frames++;
        wal->commits += is_commit;
    } else if (is_intact) {
        wal->commits_behind += is_commit;
    } else if (wal->bad_at == 0) {
        wal->bad_at = offset;
    }
    w->sum[0] = get_u32(frame + 16);
    w->sum[1] = get_u32(frame + 20);
}

static int walk_frames(struct walk *w, FILE *file)
{
    size_t len = FRAME_BYTES + w->wal->page_bytes;
    uint64_t offset = HEADER_BYTES;
    uint8_t *frame = malloc(len);

    if (frame == NULL)
        return JM_ENOMEM;
    for (; fread(frame, len, 1, file) == 1; offset += len)
        take_frame(w, frame, offset);
    free(frame);
    return ferror(file) ? JM_EIO : 0;
}

static int read_log(FILE *file, struct store_wal *wal)
{
    uint8_t header[HEADER_BYTES];
    struct walk walk = {.wal = wal};
    struct stat st;

    if (fstat(fileno(file), &st) != 0)
        return JM_EIO;
    wal->exists = true;
    wal->size_bytes = (uint64_t)st.st_size;
    if (fread(header, sizeof(header), 1, file) != 1)
        return ferror(file) ? JM_EIO : 0;
    wal->has_header = read_header(&walk, header);
    return wal->has_header ? walk_frames(&walk, file) : 0;
}

int store_wal_read(const char *path, struct store_wal *ret_wal)
{
    struct store_wal wal = {.exists = false};
    char *name = NULL;
    FILE *file;
    int rc = 0;

    if (asprintf(&name, "%s-wal", path) < 0)
        return JM_ENOMEM;
    file = fopen(name, "re");
    free(name);
    if (file == NULL && errno != ENOENT)
        return JM_EIO;
    if (file != NULL) {
        rc = read_log(file, &wal);
        (void)fclose(file);
    }
    if (rc == 0)
        *ret_wal = wal;
    return rc;
}

/* Its numbers are in the machine's own order, but for the salts, which are copied as they are. */
static bool read_index(const uint8_t *header, struct store_wal_index *ret_index)
{
    uint32_t sum[2] = {0, 0}, stored[2];

    add_sum(header, 40, __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__, sum);
    memcpy(stored, header + 40, sizeof(stored));
    if (header[12] == 0 || stored[0] != sum[0] || stored[1] != sum[1])
        return false;
    memcpy(&ret_index->frames, header + 16, 4);
    memcpy(&ret_index->moved, header + MOVED_AT, 4);
    ret_index->salt[0] = get_u32(header + 32);
    ret_index->salt[1] = get_u32(header + 36);
    return true;
}

void store_wal_read_index(const char *path, const char *suffix, struct store_wal_index *ret_index)
{
    uint8_t header[INDEX_BYTES];
    char *name = NULL;
    int fd;

    *ret_index = (struct store_wal_index){.is_valid = false};
    if (asprintf(&name, "%s%s", path, suffix) < 0)
        return;
    fd = open(name, O_RDONLY | O_CLOEXEC);
    free(name);
    if (fd < 0)
        return;
    if (pread(fd, header, sizeof(header), 0) == (ssize_t)sizeof(header))
        ret_index->is_valid = read_index(header, ret_index);
    (void)close(fd);
}

void store_wal_drop_index(const char *path)
{
    char *kept = NULL;

    if (asprintf(&kept, "%s" STORE_WAL_KEPT, path) < 0)
        return;
    (void)unlink(kept);
    free(kept);
}

void store_wal_keep_index(const char *path)
{
    char *name = NULL, *kept = NULL;

    store_wal_drop_index(path);
    if (asprintf(&name, "%s-shm", path) < 0)
        return;
    if (asprintf(&kept, "%s" STORE_WAL_KEPT, path) >= 0) {
        (void)!link(name, kept);
        free(kept);
    }
    free(name);
}
