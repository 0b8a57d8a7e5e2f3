/*
 * writer_inside.h: what writer.c (the loop's side) and writer_threads.c share. Nobody else includes
 * it.
 */
#ifndef BROKER_WRITER_INSIDE_H
#define BROKER_WRITER_INSIDE_H

#include <stdatomic.h>

#include "broker/writer.h"
#include "lib/buf.h"

/* How many batches may be on their way at once: one that runs, and some that the loop has not taken
 * back yet. When all are, the writer waits for the loop. */
enum { WRITER_BATCHES = 4 };

/* Operations that go through one transaction. */
struct writer_batch {
    struct list link; /* in writer.spares or writer.done, or nowhere while it runs */
    struct list ops;
    struct buf counts; /* a struct writer_count and the name, for each queue that changed */
    struct buf lanes;  /* a struct store_lane_view and its texts, for each lane that did */
};

struct writer_count {
    struct store_counts counts;
    size_t name_len;
};

struct writer {
    struct runner runner;
    struct writer_callbacks callbacks;
    struct store *store;
    struct writer_batch batches[WRITER_BATCHES];

    /* The loop's own. */
    struct list fresh; /* submitted in this turn */
    struct list gates; /* runner_gate.link, by rising seq */
    uv_async_t async;
    uv_prepare_t prepare;
    uv_check_t check;
    unsigned open_handles;
    bool is_closing;
    bool has_told_fatal;
    bool is_finished; /* both threads are joined */

    atomic_uint_fast64_t started_seq;
    atomic_uint_fast64_t synced_seq;

    uv_thread_t thread;
    uv_thread_t checkpointer;
    uv_mutex_t lock; /* guards what follows */
    uv_cond_t wake;  /* the writer: inbox, spares, wants_sync, is_stopping */
    uv_cond_t tick;  /* the checkpointer: has_news, has_stopped, is_fatal */
    struct list inbox;
    struct list spares;
    struct list done; /* batches for the loop */
    bool wants_sync;  /* a gate waits */
    bool needs_spare; /* the writer sleeps over an inbox that is not empty */
    bool has_news;    /* the WAL is worth a checkpoint, and was written to since the last began */
    bool is_stopping;
    bool has_stopped; /* the writer thread is at its end */
    bool is_fatal;
    struct writer_stats stats;

    /* The writer thread's own. */
    uint64_t unsynced_since_ns; /* 0: all that is committed is on disk */
    bool is_sync_asked;         /* a gate waited when the batch was taken */
};

/* The two threads; `arg` is the writer. */
void writer_threads_write(void *arg);
void writer_threads_checkpoint(void *arg);

#endif
