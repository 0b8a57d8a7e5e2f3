/*
 * The writer's two threads. The writing one takes all that waits, runs it as one transaction, syncs
 * if somebody asked for it or the last sync is too long ago, and hands the batch back; its pace is
 * the disk's. The checkpointing one moves the WAL into the database behind the writer's back, so
 * that the writer rarely has to. It leaves a small WAL alone: each new start of the WAL costs the
 * next commit a sync of its header, which a single job at idle would pay every time (measured: 0.6
 * to 1.5 ms with this, 1.7 to 2.2 without, on a busy machine).
 */
#include "broker/writer_inside.h"

#include <pthread.h>

#include "schema/errors.h"

enum {
    BATCH_OPS = 1000,
    BATCH_BYTES = 4 << 20,
    SYNC_AFTER_NS = 5000000,
    CHECKPOINT_EVERY_NS = 50000000,
    WAL_WORTH_BYTES = 1 << 20,
    WAL_RESTART_BYTES = 16 << 20,
};

/* For top, perf and ./dev bench. */
static void name_thread(const char *name)
{
    (void)pthread_setname_np(pthread_self(), name);
}

/* ---- the writer thread ---- */

/* Any thread. */
static void enter_fatal(struct writer *w)
{
    uv_mutex_lock(&w->lock);
    w->is_fatal = true;
    uv_cond_signal(&w->tick);
    uv_mutex_unlock(&w->lock);
    uv_async_send(&w->async);
}

static bool is_fatal(struct writer *w)
{
    bool fatal;

    uv_mutex_lock(&w->lock);
    fatal = w->is_fatal;
    uv_mutex_unlock(&w->lock);
    return fatal;
}

static int sync_store(struct writer *w)
{
    uint64_t seq = atomic_load(&w->started_seq);
    uint64_t begin_ns = uv_hrtime();
    int rc = store_sync(w->store);
    uint64_t took_ns = uv_hrtime() - begin_ns;

    if (rc != 0)
        return rc;
    w->unsynced_since_ns = 0;
    atomic_store(&w->synced_seq, seq);
    uv_mutex_lock(&w->lock);
    w->wants_sync = false;
    w->stats.syncs++;
    w->stats.sync_ns_sum += took_ns;
    if (took_ns > w->stats.sync_ns_max)
        w->stats.sync_ns_max = took_ns;
    uv_mutex_unlock(&w->lock);
    return 0;
}

static void keep_counts(void *batch, struct span queue, const struct store_counts *counts)
{
    struct writer_batch *b = batch;
    struct writer_count row = {.counts = *counts, .name_len = queue.len};

    buf_put(&b->counts, &row, sizeof(row));
    buf_put_span(&b->counts, queue);
}

static void keep_lane(void *batch, const struct store_lane_view *lane)
{
    struct writer_batch *b = batch;

    buf_put(&b->lanes, lane, sizeof(*lane));
    buf_put_span(&b->lanes, lane->queue);
    buf_put_span(&b->lanes, lane->task);
    buf_put_span(&b->lanes, lane->limit_key);
}

static bool does_any_want_sync(struct writer_batch *b)
{
    LIST_EACH(node, &b->ops)
    if (LIST_ENTRY(node, struct store_op, link)->wants_sync)
        return true;
    return false;
}

/* Runs and commits. A full disk refuses the batch and is no error here. */
static int run_batch(struct writer *w, struct writer_batch *b)
{
    uint64_t seq = atomic_load(&w->started_seq) + 1;
    uint64_t begin_ns = uv_hrtime();
    bool has_news;
    int rc;

    atomic_store(&w->started_seq, seq);
    rc = store_run(w->store, &b->ops);
    if (rc == JM_EFULL && w->unsynced_since_ns == 0)
        atomic_store(&w->synced_seq, seq); /* nothing came to what is on disk */
    if (rc == JM_EFULL)
        return 0;
    if (rc != 0)
        return rc;
    store_changed_counts(w->store, b, keep_counts);
    store_changed_lanes(w->store, b, keep_lane);
    if (w->unsynced_since_ns == 0)
        w->unsynced_since_ns = begin_ns;
    uv_mutex_lock(&w->lock);
    w->stats.batches++;
    w->stats.commit_ns_sum += uv_hrtime() - begin_ns;
    w->stats.wal_bytes = store_wal_bytes(w->store);
    has_news = !w->has_news && w->stats.wal_bytes >= WAL_WORTH_BYTES;
    w->has_news |= has_news;
    uv_mutex_unlock(&w->lock);
    if (has_news)
        uv_cond_signal(&w->tick);
    return buf_has_failed(&b->counts) || buf_has_failed(&b->lanes) ? JM_ENOMEM : 0;
}

/* Everything in the batch comes back with JM_ESTORE: none of it may be acknowledged. */
static void spoil_batch(struct writer_batch *b)
{
    LIST_EACH(node, &b->ops)
    LIST_ENTRY(node, struct store_op, link)->status = JM_ESTORE;
    buf_clear(&b->counts);
    buf_clear(&b->lanes);
}

static void hand_back(struct writer *w, struct writer_batch *b)
{
    uv_mutex_lock(&w->lock);
    list_push_back(&w->done, &b->link);
    uv_mutex_unlock(&w->lock);
    uv_async_send(&w->async);
}

static bool is_sync_due(const struct writer *w)
{
    return uv_hrtime() - w->unsynced_since_ns >= SYNC_AFTER_NS;
}

/* The checkpoint thread could not keep up: the writer, which alone can stop the WAL's growth, moves
 * the rest. */
static int finish_checkpoint(struct writer *w)
{
    int rc = 0;

    if (store_wal_bytes(w->store) > WAL_RESTART_BYTES)
        rc = store_checkpoint(w->store, true);
    return rc == JM_EFULL ? 0 : rc;
}

static void process_batch(struct writer *w, struct writer_batch *b)
{
    bool broken = is_fatal(w);
    int rc = broken ? JM_ESTORE : run_batch(w, b);

    if (rc == 0 && w->unsynced_since_ns != 0 &&
        (w->is_sync_asked || does_any_want_sync(b) || is_sync_due(w)))
        rc = sync_store(w);
    if (rc != 0) {
        spoil_batch(b);
        enter_fatal(w);
    }
    hand_back(w, b);
    if (rc == 0 && finish_checkpoint(w) != 0)
        enter_fatal(w);
}

static size_t take_ops(struct list *from, struct list *to)
{
    size_t bytes = 0;
    size_t count = 0;

    bool is_alone = false;

    while (!list_is_empty(from) && count < BATCH_OPS && bytes < BATCH_BYTES && !is_alone) {
        struct store_op *op = LIST_ENTRY(from->next, struct store_op, link);

        is_alone = op->is_alone;
        if (is_alone && count > 0)
            break;
        bytes += op->bytes;
        count++;
        list_remove(&op->link);
        list_push_back(to, &op->link);
    }
    return count;
}

/* Until the time of the next sync; 0 if it has come. */
static uint64_t sync_wait_ns(const struct writer *w)
{
    uint64_t age_ns = uv_hrtime() - w->unsynced_since_ns;

    return age_ns < SYNC_AFTER_NS ? SYNC_AFTER_NS - age_ns : 0;
}

/* Waits under the lock until there is something to do, but not beyond the time of the next sync. */
static void wait_for_work(struct writer *w)
{
    while (list_is_empty(&w->inbox) ? !w->is_stopping : list_is_empty(&w->spares)) {
        w->needs_spare = !list_is_empty(&w->inbox);
        if (w->unsynced_since_ns == 0 || w->is_fatal) {
            w->wants_sync = false; /* whoever asked came in between: the gate is open */
            uv_cond_wait(&w->wake, &w->lock);
        } else if (w->wants_sync || sync_wait_ns(w) == 0) {
            break;
        } else {
            (void)uv_cond_timedwait(&w->wake, &w->lock, sync_wait_ns(w)); /* either way: look */
        }
    }
    w->needs_spare = false;
}

/* Syncs what nobody asked for at once, and says so to the gates. */
static void sync_idle(struct writer *w)
{
    if (w->unsynced_since_ns == 0 || is_fatal(w))
        return;
    if (sync_store(w) != 0)
        enter_fatal(w);
    else
        uv_async_send(&w->async);
}

static void stop(struct writer *w)
{
    uv_mutex_lock(&w->lock);
    w->has_stopped = true;
    uv_cond_signal(&w->tick);
    uv_mutex_unlock(&w->lock);
    uv_async_send(&w->async);
}

/* The next batch; NULL if there is none, only something to sync or an end. */
static struct writer_batch *take_batch(struct writer *w, bool *ret_is_end)
{
    struct writer_batch *b = NULL;

    uv_mutex_lock(&w->lock);
    wait_for_work(w);
    if (!list_is_empty(&w->inbox) && !list_is_empty(&w->spares)) {
        b = LIST_ENTRY(list_pop_front(&w->spares), struct writer_batch, link);
        w->stats.operations += take_ops(&w->inbox, &b->ops);
    }
    w->is_sync_asked = w->wants_sync;
    *ret_is_end = w->is_stopping && list_is_empty(&w->inbox) && b == NULL;
    uv_mutex_unlock(&w->lock);
    return b;
}

void writer_threads_write(void *arg)
{
    struct writer *w = arg;
    bool is_end = false;

    name_thread("writer");
    while (!is_end) {
        struct writer_batch *b = take_batch(w, &is_end);

        if (b != NULL)
            process_batch(w, b);
        else
            sync_idle(w);
    }
    stop(w);
}

/* ---- the checkpoint thread ---- */

/* Sleeps while there is little to move; then gives the WAL 50 ms to gather some work. */
static bool wait_for_news(struct writer *w)
{
    bool goes_on;

    uv_mutex_lock(&w->lock);
    while (!w->has_news && !w->has_stopped && !w->is_fatal)
        uv_cond_wait(&w->tick, &w->lock);
    if (!w->has_stopped && !w->is_fatal) {
        uint64_t until_ns = uv_hrtime() + CHECKPOINT_EVERY_NS;
        uint64_t now_ns;

        while (!w->has_stopped && !w->is_fatal && (now_ns = uv_hrtime()) < until_ns)
            (void)uv_cond_timedwait(&w->tick, &w->lock, until_ns - now_ns);
    }
    w->has_news = false;
    goes_on = !w->has_stopped && !w->is_fatal;
    uv_mutex_unlock(&w->lock);
    return goes_on;
}

void writer_threads_checkpoint(void *arg)
{
    struct writer *w = arg;

    name_thread("checkpoint");
    while (wait_for_news(w)) {
        int rc = store_checkpoint(w->store, false);

        if (rc != 0 && rc != JM_EFULL) {
            enter_fatal(w);
            return;
        }
        uv_mutex_lock(&w->lock);
        w->stats.checkpoints++;
        uv_mutex_unlock(&w->lock);
    }
}
