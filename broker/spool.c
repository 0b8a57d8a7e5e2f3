#include "broker/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schema/errors.h"

enum {
    PIECE_BYTES = 256 * 1024,     /* of one write, and of one read */
    BUF_BYTES = 64 * 1024 * 1024, /* much more than is put before it is behind */
};

/* ---- the file ---- */

/* For file systems that know no files without a name. */
static int open_and_unlink(const char *dir)
{
    char path[4096];
    int fd;

    if (snprintf(path, sizeof(path), "%s/.jobmill-batch-XXXXXX", dir) >= (int)sizeof(path))
        return -1;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(path);
    return fd;
}

static int open_file(const char *db_path)
{
    char *copy = strdup(db_path);
    const char *dir;
    int fd;

    if (copy == NULL)
        return -1;
    dir = dirname(copy);
    fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT))
        fd = open_and_unlink(dir);
    free(copy);
    return fd;
}

int spool_open(struct spool *s, uv_loop_t *loop, const char *db_path, void *owner,
               void (*on_written)(void *owner))
{
    int fd = open_file(db_path);

    if (fd < 0)
        return JM_EIO;
    *s = (struct spool){.loop = loop, .fd = fd, .owner = owner, .on_written = on_written};
    buf_init(&s->filling, BUF_BYTES);
    buf_init(&s->writing, BUF_BYTES);
    return 0;
}

void spool_close(struct spool *s)
{
    assert(!s->is_writing);
    buf_done(&s->filling);
    buf_done(&s->writing);
    (void)close(s->fd); /* what is in it does not matter any more */
}

/* ---- writing ---- */

static void write_on(struct spool *s);

static void on_truncate(uv_fs_t *req)
{
    struct spool *s = req->data;

    uv_fs_req_cleanup(req);
    s->is_writing = false;
    s->on_written(s->owner);
}

/* If it cannot be done, the close does it. */
static void truncate_file(struct spool *s)
{
    s->req.data = s;
    if (uv_fs_ftruncate(s->loop, &s->req, s->fd, 0, on_truncate) == 0)
        s->is_writing = true;
}

static void on_write(uv_fs_t *req)
{
    struct spool *s = req->data;
    ssize_t n = req->result;

    uv_fs_req_cleanup(req);
    s->is_writing = false;
    if (s->is_discarded) {
        truncate_file(s);
    } else if (n < 0) {
        s->status = n == UV_ENOSPC || n == UV_EFBIG || n == -EDQUOT ? JM_EFULL : JM_EIO;
    } else {
        s->bytes += (uint64_t)n;
        s->written_bytes += (size_t)n;
        if (s->written_bytes < s->writing.len)
            write_on(s);
        else if (s->filling.len >= PIECE_BYTES)
            (void)spool_flush(s);
    }
    s->on_written(s->owner);
}

static void write_on(struct spool *s)
{
    uv_buf_t piece = uv_buf_init((char *)s->writing.data + s->written_bytes,
                                 (unsigned)(s->writing.len - s->written_bytes));

    s->req.data = s;
    if (uv_fs_write(s->loop, &s->req, s->fd, &piece, 1, (int64_t)s->bytes, on_write) == 0)
        s->is_writing = true;
    else
        s->status = JM_ENOMEM;
}

bool spool_flush(struct spool *s)
{
    struct buf empty;

    if (s->is_writing || s->status != 0 || s->is_discarded)
        return false;
    if (s->filling.len == 0)
        return true;
    empty = s->writing;
    s->writing = s->filling;
    s->filling = empty;
    buf_clear(&s->filling);
    s->written_bytes = 0;
    write_on(s);
    return false;
}

void spool_put(struct spool *s, struct span bytes)
{
    if (s->is_discarded)
        return;
    buf_put_span(&s->filling, bytes);
    if (buf_has_failed(&s->filling))
        s->status = JM_ENOMEM;
    else if (s->filling.len >= PIECE_BYTES)
        (void)spool_flush(s);
}

void spool_discard(struct spool *s)
{
    if (s->is_discarded)
        return;
    s->is_discarded = true;
    buf_shrink(&s->filling, 0);
    if (!s->is_writing && s->bytes > 0)
        truncate_file(s);
}

bool spool_is_behind(const struct spool *s)
{
    return s->is_writing && s->filling.len >= PIECE_BYTES;
}

uint64_t spool_bytes(const struct spool *s)
{
    if (s->is_discarded)
        return 0;
    return s->bytes + (s->is_writing ? s->writing.len - s->written_bytes : 0) + s->filling.len;
}

/* ---- reading ---- */

void spool_reader_init(struct spool_reader *r, const struct spool *s)
{
    *r = (struct spool_reader){.fd = s->fd};
    buf_init(&r->buf, BUF_BYTES);
}

void spool_reader_done(struct spool_reader *r)
{
    buf_done(&r->buf);
}

/* Reads so that `len` bytes are there, and more if they come along. */
static int fill(struct spool_reader *r, size_t len)
{
    size_t want = len > PIECE_BYTES ? len : PIECE_BYTES;
    uint8_t *to;

    buf_consume(&r->buf, r->used);
    r->used = 0;
    while (r->buf.len < len) {
        ssize_t n;

        to = buf_reserve(&r->buf, want - r->buf.len);
        if (to == NULL)
            return JM_ENOMEM;
        n = pread(r->fd, to, want - r->buf.len, (off_t)r->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return JM_EIO;
        buf_advance(&r->buf, (size_t)n);
        r->at += (uint64_t)n;
    }
    return 0;
}

int spool_read(struct spool_reader *r, size_t len, struct span *ret_bytes)
{
    int rc = r->buf.len - r->used < len ? fill(r, len) : 0;

    if (rc != 0)
        return rc;
    *ret_bytes = span_of(r->buf.data + r->used, len);
    r->used += len;
    return 0;
}
