/*
 * writer.h: the store's thread. The loop hands it operations; it takes all that wait (up to 1,000
 * or 4 MB), runs them in one transaction, commits, syncs if one of them wants it (and at the latest
 * 5 ms after any other), and hands the whole list back in one wake-up of the loop, where each
 * on_done is called in order. A batch starts when none is running and something waits: at low load
 * without delay, and at high load the fsync itself lets batches form.
 *
 * It implements the seam "when X is done" (runner.h) for the program. All functions are for the
 * loop thread.
 */
#ifndef BROKER_WRITER_H
#define BROKER_WRITER_H

#include <uv.h>

#include "broker/runner.h"
#include "broker/store.h"

struct writer;

struct writer_stats {
    uint64_t batches;
    uint64_t operations;
    uint64_t syncs;
    uint64_t sync_ns_sum;
    uint64_t sync_ns_max;
    uint64_t commit_ns_sum;
    uint64_t checkpoints;
    size_t wal_bytes;
};

/* Starts the thread (and the one that checkpoints); takes the store, and closes it in writer_close.
 * `on_fatal` is called on the loop thread when the disk failed: the program must end without
 * acknowledging anything more. `on_counts` tells each queue's new counts behind each batch, and
 * `on_lane` each lane's backlog, before the batch's on_done. */
struct writer_callbacks {
    void *owner;
    void (*on_fatal)(void *owner, const char *sentence);
    store_counts_cb on_counts;
    store_lane_cb on_lane;
    void (*on_closed)(void *owner);
};
int writer_start(uv_loop_t *loop, struct store *store, const struct writer_callbacks *callbacks,
                 struct writer **ret_writer) JM_MUST_CHECK;

/* Finishes what waits, joins the threads, closes the store, then calls on_closed from the loop. */
void writer_close(struct writer *w);

/* The runner to give to the core; lives as long as the writer. */
struct runner *writer_runner(struct writer *w);

/* Hands over what was submitted in this turn of the loop now; the writer does so itself once per
 * turn, before or behind other hooks of the loop. */
void writer_flush(struct writer *w);

void writer_stats(struct writer *w, struct writer_stats *ret_stats);

#endif
