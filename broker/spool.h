/*
 * spool.h: a temporary file without a name, beside the database, in which an atomic batch waits for
 * its end. It is written by the thread pool, piece by piece, and read once, from its beginning, by
 * whichever thread needs it. What it holds is gone with the process.
 */
#ifndef BROKER_SPOOL_H
#define BROKER_SPOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/span.h"

struct spool {
    uv_loop_t *loop;
    int fd;
    struct buf filling;
    struct buf writing;
    size_t written_bytes; /* of `writing` */
    uint64_t bytes;       /* in the file */
    uv_fs_t req;
    bool is_writing;
    bool is_discarded;
    int status; /* 0; or JM_EFULL, JM_EIO, JM_ENOMEM: it is of no use any more */
    void *owner;
    void (*on_written)(void *owner);
};

/* `on_written` is called from the loop whenever a write, or what spool_discard began, has ended. 0
 * or JM_EIO. */
int spool_open(struct spool *s, uv_loop_t *loop, const char *db_path, void *owner,
               void (*on_written)(void *owner)) JM_MUST_CHECK;

/* Not while it is writing. */
void spool_close(struct spool *s);

void spool_put(struct spool *s, struct span bytes);

/* Nobody will read it: gives back its room, and takes no more. */
void spool_discard(struct spool *s);

/* Whether it has enough to write for now. */
bool spool_is_behind(const struct spool *s);

/* Writes what is left, if there is anything. Whether all is in the file. */
bool spool_flush(struct spool *s);

/* Bytes that were put; none once it is discarded. */
uint64_t spool_bytes(const struct spool *s);

/* ---- reading, when all is written ---- */

struct spool_reader {
    int fd;
    uint64_t at; /* in the file, of the end of what is in `buf` */
    struct buf buf;
    size_t used; /* of it */
};

void spool_reader_init(struct spool_reader *r, const struct spool *s);
void spool_reader_done(struct spool_reader *r);

/* The next `len` bytes, valid until the next call; JM_EIO or JM_ENOMEM. */
int spool_read(struct spool_reader *r, size_t len, struct span *ret_bytes) JM_MUST_CHECK;

#endif
