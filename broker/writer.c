/*
 * The store's thread. Three parties share a struct writer:
 *
 *     loop ── inbox ──▶ writer thread ── done ──▶ loop            checkpoint thread
 *        (once per turn)   run, sync     (uv_async)                 (every 50 ms, above 1 MB)
 *
 * The loop collects what is submitted in a turn and hands it over once, before it sleeps (prepare)
 * and after it was woken (check), so that a turn's operations share a batch. A batch travels
 * through the threads as one struct batch; operations keep their order from end to end.
 *
 * What is committed and what is on disk are two rising numbers. `started_seq` rises *before* a
 * batch commits, so whoever has read something and then asks (is_synced) never finds a number that
 * is too low; `synced_seq` rises behind the sync. A gate opens when synced_seq has reached what
 * started_seq was when the gate came.
 *
 * After an error that is final nothing is run any more: everything comes back with JM_ESTORE, gates
 * stay shut, and the owner is told once, before any of it.
 */
#include "broker/writer_inside.h"

#include <assert.h>
#include <stdlib.h>

#include "schema/errors.h"

/* Room for the counts of JM_QUEUES queues and for JM_LANES lanes, and what of it is kept from batch
 * to batch. */
enum { COUNTS_BYTES = 1 << 20, COUNTS_KEEP_BYTES = 4 << 10, LANES_BYTES = 128 << 20 };

/* The signal comes behind the lock, which the woken thread needs first. */
void writer_flush(struct writer *w)
{
    if (list_is_empty(&w->fresh))
        return;
    uv_mutex_lock(&w->lock);
    list_splice_back(&w->inbox, &w->fresh);
    uv_mutex_unlock(&w->lock);
    uv_cond_signal(&w->wake);
}

static void on_prepare(uv_prepare_t *handle)
{
    writer_flush(JM_CONTAINER_OF(handle, struct writer, prepare));
}

static void on_check(uv_check_t *handle)
{
    writer_flush(JM_CONTAINER_OF(handle, struct writer, check));
}

static void submit(struct runner *r, struct store_op *op)
{
    struct writer *w = JM_CONTAINER_OF(r, struct writer, runner);

    assert(!w->is_finished);
    list_push_back(&w->fresh, &op->link); /* if it closes meanwhile, finish() gives it back */
}

static bool is_synced(struct runner *r)
{
    struct writer *w = JM_CONTAINER_OF(r, struct writer, runner);

    return atomic_load(&w->synced_seq) >= atomic_load(&w->started_seq);
}

static void wait_synced(struct runner *r, struct runner_gate *gate)
{
    struct writer *w = JM_CONTAINER_OF(r, struct writer, runner);

    assert(!w->is_finished);
    gate->seq = atomic_load(&w->started_seq);
    list_push_back(&w->gates, &gate->link);
    uv_mutex_lock(&w->lock);
    w->wants_sync = true;
    uv_mutex_unlock(&w->lock);
    uv_cond_signal(&w->wake);
    uv_async_send(&w->async); /* it may be open already */
}

static void tell_counts(struct writer *w, struct writer_batch *b)
{
    struct span rest = buf_span(&b->counts);

    while (rest.len > 0) {
        struct writer_count row;
        struct span name;

        memcpy(&row, rest.data, sizeof(row));
        name = span_of(rest.data + sizeof(row), row.name_len);
        w->callbacks.on_counts(w->callbacks.owner, name, &row.counts);
        rest.data += sizeof(row) + row.name_len;
        rest.len -= sizeof(row) + row.name_len;
    }
}

static struct span take_text(struct span *rest, struct span text)
{
    struct span found = span_of(rest->data, text.len);

    rest->data += text.len;
    rest->len -= text.len;
    return found;
}

static void tell_lanes(struct writer *w, struct writer_batch *b)
{
    struct span rest = buf_span(&b->lanes);

    while (rest.len > 0) {
        struct store_lane_view lane;

        memcpy(&lane, take_text(&rest, span_of(rest.data, sizeof(lane))).data, sizeof(lane));
        lane.queue = take_text(&rest, lane.queue);
        lane.task = take_text(&rest, lane.task);
        lane.limit_key = take_text(&rest, lane.limit_key);
        w->callbacks.on_lane(w->callbacks.owner, &lane);
    }
}

static void complete(struct list *ops)
{
    struct list *node;

    while ((node = list_pop_front(ops)) != NULL) {
        struct store_op *op = LIST_ENTRY(node, struct store_op, link);

        op->on_done(op);
    }
}

static void open_gates(struct writer *w)
{
    uint64_t synced = atomic_load(&w->synced_seq);
    struct list open;

    list_init(&open);
    while (!list_is_empty(&w->gates) &&
           LIST_ENTRY(w->gates.next, struct runner_gate, link)->seq <= synced)
        list_push_back(&open, list_pop_front(&w->gates));
    while (!list_is_empty(&open)) {
        struct runner_gate *gate = LIST_ENTRY(list_pop_front(&open), struct runner_gate, link);

        gate->on_open(gate);
    }
}

static int init_locks(struct writer *w)
{
    if (uv_mutex_init(&w->lock) != 0)
        return -1;
    if (uv_cond_init(&w->wake) != 0)
        goto no_wake;
    if (uv_cond_init(&w->tick) != 0)
        goto no_tick;
    return 0;
no_tick:
    uv_cond_destroy(&w->wake);
no_wake:
    uv_mutex_destroy(&w->lock);
    return -1;
}

/* docs.libuv.org says that prepare and check handles cannot fail. */
static void start_handles(struct writer *w, uv_loop_t *loop)
{
    int rc = uv_prepare_init(loop, &w->prepare);

    if (rc == 0)
        rc = uv_prepare_start(&w->prepare, on_prepare);
    if (rc == 0)
        rc = uv_check_init(loop, &w->check);
    if (rc == 0)
        rc = uv_check_start(&w->check, on_check);
    assert(rc == 0);
    w->async.data = w;
    w->prepare.data = w;
    w->check.data = w;
    w->open_handles = 3;
}

static void stop_thread(struct writer *w)
{
    uv_mutex_lock(&w->lock);
    w->is_stopping = true;
    uv_cond_signal(&w->wake);
    uv_mutex_unlock(&w->lock);
}

static int start_threads(struct writer *w)
{
    if (uv_thread_create(&w->thread, writer_threads_write, w) != 0)
        return -1;
    if (uv_thread_create(&w->checkpointer, writer_threads_checkpoint, w) == 0)
        return 0;
    stop_thread(w);
    (void)uv_thread_join(&w->thread);
    return -1;
}

static struct writer *writer_new(struct store *store, const struct writer_callbacks *callbacks)
{
    struct writer *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return NULL;
    if (init_locks(w) != 0) {
        free(w);
        return NULL;
    }
    w->runner =
        (struct runner){.submit = submit, .is_synced = is_synced, .wait_synced = wait_synced};
    w->callbacks = *callbacks;
    w->store = store;
    list_init(&w->fresh);
    list_init(&w->gates);
    list_init(&w->inbox);
    list_init(&w->spares);
    list_init(&w->done);
    for (size_t i = 0; i < WRITER_BATCHES; i++) {
        list_init(&w->batches[i].ops);
        buf_init(&w->batches[i].counts, COUNTS_BYTES);
        buf_init(&w->batches[i].lanes, LANES_BYTES);
        list_push_back(&w->spares, &w->batches[i].link);
    }
    return w;
}

static struct writer *writer_free(struct writer *w)
{
    for (size_t i = 0; i < WRITER_BATCHES; i++) {
        buf_done(&w->batches[i].counts);
        buf_done(&w->batches[i].lanes);
    }
    uv_cond_destroy(&w->wake);
    uv_cond_destroy(&w->tick);
    uv_mutex_destroy(&w->lock);
    free(w);
    return NULL;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct writer *w = handle->data;
    struct writer_callbacks callbacks = w->callbacks;
    bool was_started = w->is_finished;

    if (--w->open_handles > 0)
        return;
    writer_free(w);
    if (was_started)
        callbacks.on_closed(callbacks.owner);
}

static void close_handles(struct writer *w)
{
    uv_close((uv_handle_t *)&w->async, on_handle_closed);
    uv_close((uv_handle_t *)&w->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&w->check, on_handle_closed);
}

/* Both threads are at their end: what came in too late goes back, then all is closed. */
static void finish(struct writer *w, bool fatal)
{
    int rc = uv_thread_join(&w->thread);

    if (rc == 0)
        rc = uv_thread_join(&w->checkpointer);
    assert(rc == 0);
    w->store = store_close(w->store);
    do {
        list_splice_back(&w->inbox, &w->fresh);
        LIST_EACH(node, &w->inbox)
        LIST_ENTRY(node, struct store_op, link)->status = fatal ? JM_ESTORE : JM_ESHUTDOWN;
        complete(&w->inbox);
        if (!fatal)
            open_gates(w);
    } while (!list_is_empty(&w->fresh) || (!fatal && !list_is_empty(&w->gates)));
    w->is_finished = true;
    close_handles(w);
}

/* Told before anything of the broken batch comes back. */
static void tell_fatal(struct writer *w)
{
    const char *sentence;

    if (w->has_told_fatal)
        return;
    w->has_told_fatal = true;
    sentence = store_last_error(w->store);
    w->callbacks.on_fatal(w->callbacks.owner, sentence[0] != '\0' ? sentence : "Out of memory.");
}

static void give_back_batches(struct writer *w, struct list *batches)
{
    struct list *node;

    while ((node = list_pop_front(batches)) != NULL) {
        struct writer_batch *b = LIST_ENTRY(node, struct writer_batch, link);
        bool needs_spare;

        tell_counts(w, b);
        tell_lanes(w, b);
        complete(&b->ops);
        buf_shrink(&b->counts, COUNTS_KEEP_BYTES);
        buf_shrink(&b->lanes, COUNTS_KEEP_BYTES);
        uv_mutex_lock(&w->lock);
        list_push_back(&w->spares, &b->link);
        needs_spare = w->needs_spare;
        uv_mutex_unlock(&w->lock);
        if (needs_spare)
            uv_cond_signal(&w->wake);
    }
}

static void on_async(uv_async_t *handle)
{
    struct writer *w = JM_CONTAINER_OF(handle, struct writer, async);
    struct list done;
    bool fatal;
    bool stopped;

    list_init(&done);
    uv_mutex_lock(&w->lock);
    list_splice_back(&done, &w->done);
    fatal = w->is_fatal;
    stopped = w->has_stopped;
    uv_mutex_unlock(&w->lock);
    if (fatal)
        tell_fatal(w);
    give_back_batches(w, &done);
    if (!fatal)
        open_gates(w);
    if (stopped && !w->is_finished)
        finish(w, fatal);
}

int writer_start(uv_loop_t *loop, struct store *store, const struct writer_callbacks *callbacks,
                 struct writer **ret_writer)
{
    struct writer *w = writer_new(store, callbacks);

    if (w == NULL)
        return JM_ENOMEM;
    if (uv_async_init(loop, &w->async, on_async) != 0) {
        writer_free(w);
        return JM_EIO;
    }
    start_handles(w, loop);
    if (start_threads(w) != 0) {
        close_handles(w); /* frees it from the loop; the store stays the caller's */
        return JM_EIO;
    }
    *ret_writer = w;
    return 0;
}

void writer_close(struct writer *w)
{
    assert(!w->is_closing);
    writer_flush(w);
    w->is_closing = true;
    stop_thread(w);
}

struct runner *writer_runner(struct writer *w)
{
    return &w->runner;
}

void writer_stats(struct writer *w, struct writer_stats *ret_stats)
{
    uv_mutex_lock(&w->lock);
    *ret_stats = w->stats;
    uv_mutex_unlock(&w->lock);
}
