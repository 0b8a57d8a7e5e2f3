/*
 * reads.h: reads of the store that may take long (lists, large values), on libuv's thread pool,
 * each with a reader of its own while it runs. Readers are opened as they are needed, at most
 * READS_READERS, and kept. Loop thread only, but for a request's on_thread.
 */
#ifndef BROKER_READS_H
#define BROKER_READS_H

#include <uv.h>

#include "broker/reader.h"
#include "lib/list.h"

enum { READS_READERS = 4 }; /* as many as libuv's pool has threads by default */

struct reads {
    uv_loop_t *loop;
    struct store_conf store;
    struct reader *idle[READS_READERS];
    size_t idle_count;
    size_t busy_count;
    struct list waiting; /* reads_req.link: no reader is free */
};

/* Embedded by the caller; belongs to `reads` until on_done, which comes exactly once, from the
 * loop. */
struct reads_req {
    struct list link;
    uv_work_t work;
    struct reads *reads;
    struct reader *reader;
    int status; /* what on_thread returned, or why it wasn't called */
    int (*on_thread)(struct reads_req *req, struct reader *reader); /* on a thread of the pool */
    void (*on_done)(struct reads_req *req);
};

void reads_init(struct reads *rs, uv_loop_t *loop, const struct store_conf *store);

/* Closes the readers; nothing may be under way. */
void reads_done(struct reads *rs);

/* Set on_thread and on_done before. */
void reads_submit(struct reads *rs, struct reads_req *req);

/* Takes back one that waits for a reader: then on_done does not come. False if it runs already. */
bool reads_cancel(struct reads_req *req);

#endif
