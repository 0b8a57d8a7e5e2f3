/*
 * batch_atomic.c:
 *
 *   TAKING ─all came─▶ WRITING ─all in the file─▶ STORING ─commit─▶ RENDERING ─▶ (answered: 200)
 *      │ a bad item, and all came                    │ one refused     ▲
 *      │                                             └─────────────────┤
 *      └───────────────────────────────────────────────────────────────┘         (answered: 422)
 *
 * TAKING waits for the body, WRITING for the thread pool (of which every phase before it may have a
 * write under way, too), STORING for the store's thread, which reads the spool itself, RENDERING
 * for the thread pool again: a hundred thousand answers would hold the loop up.
 *
 * A record of the spool is a submit as it lies in memory, with the bytes that its spans borrow from
 * behind it. It is read by the process that wrote it, so that is enough.
 */
#include "broker/batch_atomic.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/call.h"
#include "broker/spool.h"
#include "lib/mp.h"
#include "schema/errors.h"

enum {
    FULL_ERRORS_BYTES =
        2 << 20, /* of errors with all that is known; further ones are codes alone */
    ERRORS_BYTES = 16 << 20,
    ERROR_DEPTH = 4,
};

enum phase { TAKING, WRITING, STORING, RENDERING };

struct batch_atomic {
    struct batch *batch;
    enum phase phase;
    struct spool spool;
    uint64_t counted_bytes; /* of it, in api.spool_bytes */
    struct spool_reader reader;
    struct core_submit present; /* as read from the spool */
    struct buf outcomes;        /* struct core_outcome of each item */
    struct buf errors;          /* what is said of those that are refused, in their order */
    bool is_bad;                /* there is one */
    struct core_batch core;
    uv_work_t work;
};

/* Before a submit in the spool. */
struct record {
    const uint8_t *value; /* where the bytes were */
    const uint8_t *options;
    size_t value_len;
    size_t options_len;
    struct core_submit submit;
};

/* Every span of a submit. */
static const size_t span_offsets[] = {
    offsetof(struct core_submit, op.spec.queue),   offsetof(struct core_submit, op.spec.task),
    offsetof(struct core_submit, op.spec.args),    offsetof(struct core_submit, op.spec.tags),
    offsetof(struct core_submit, op.spec.options), offsetof(struct core_submit, op.spec.limit_key),
    offsetof(struct core_submit, op.key),
};

/* ---- items ---- */

static void on_written(void *owner);

bool batch_atomic_open(struct batch *b)
{
    struct api *api = b->call->api;
    struct batch_atomic *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return false;
    if (spool_open(&a->spool, api->conf.loop, api->conf.store.path, a, on_written) != 0) {
        free(a);
        return false;
    }
    a->batch = b;
    spool_reader_init(&a->reader, &a->spool);
    buf_init(&a->outcomes, sizeof(struct core_outcome) * (JM_BATCH_ITEMS + 1));
    buf_init(&a->errors, ERRORS_BYTES);
    b->atomic = a;
    return true;
}

void batch_atomic_close(struct batch *b)
{
    struct batch_atomic *a = b->atomic;

    if (a == NULL)
        return;
    b->atomic = NULL;
    b->call->api->spool_bytes -= a->counted_bytes;
    spool_reader_done(&a->reader);
    spool_close(&a->spool);
    buf_done(&a->outcomes);
    buf_done(&a->errors);
    free(a);
}

bool batch_atomic_has_room(const struct batch *b)
{
    return !spool_is_behind(&b->atomic->spool);
}

static void put_outcome(struct batch_atomic *a, const struct core_outcome *outcome)
{
    buf_put(&a->outcomes, outcome, sizeof(*outcome));
}

static void put_error(struct batch_atomic *a, const struct fault *f)
{
    struct fault code = {.error = f->error};

    batch_render_fault(&a->errors, a->errors.len < FULL_ERRORS_BYTES ? f : &code);
    a->is_bad = true;
}

static void count_spool(struct batch *b)
{
    struct batch_atomic *a = b->atomic;
    uint64_t bytes = spool_bytes(&a->spool);

    b->call->api->spool_bytes += bytes - a->counted_bytes;
    a->counted_bytes = bytes;
}

/* Nothing will be stored. */
static void discard_spool(struct batch *b)
{
    spool_discard(&b->atomic->spool);
    count_spool(b);
}

void batch_atomic_refuse(struct batch *b, const struct fault *f)
{
    put_outcome(b->atomic, &(struct core_outcome){.status = f->error});
    put_error(b->atomic, f);
    discard_spool(b);
}

/* It may fit when others are through: that is no fault of its own. */
static void refuse_for_now(struct batch *b)
{
    fault_set(&b->call->fault, JM_EOVERLOAD, span_of(NULL, 0), JM_BATCH_SPOOLS_BYTES,
              "the atomic batches on their way have %d bytes together, and can have no more",
              JM_BATCH_SPOOLS_BYTES);
    b->is_refused = b->is_over = true;
    discard_spool(b);
}

static void put_record(struct batch_atomic *a, const struct batch_item *item)
{
    struct record r = {.value = item->value.data,
                       .options = item->options.data,
                       .value_len = item->value.len,
                       .options_len = item->options.len,
                       .submit = item->submit};

    spool_put(&a->spool, span_of(&r, sizeof(r)));
    spool_put(&a->spool, buf_span(&item->value));
    spool_put(&a->spool, buf_span(&item->options));
}

void batch_atomic_take(struct batch *b, struct batch_item *item)
{
    struct batch_atomic *a = b->atomic;
    struct queue *queue = core_need_queue(call_core(b->call), item->submit.op.spec.queue);
    struct fault f;
    int error = 0;

    if (b->call->api->spool_bytes > JM_BATCH_SPOOLS_BYTES) {
        refuse_for_now(b);
        return;
    }
    item->submit.ret_limit = JM_QUEUES;
    if (queue == NULL)
        error = job_read_tell_refusal(&item->submit, JM_EOVERLOAD, JOB_KEY_FIELD, &f);
    else if (spool_bytes(&a->spool) > JM_BATCH_SPOOL_BYTES)
        error = fault_set(&f, JM_EBATCHSIZE, span_of(NULL, 0), JM_BATCH_SPOOL_BYTES,
                          "an atomic batch has at most %d bytes", JM_BATCH_SPOOL_BYTES);
    if (error != 0) {
        batch_atomic_refuse(b, &f);
        return;
    }
    put_outcome(a, &(struct core_outcome){.queue = queue,
                                          .may_be_known = core_may_be_known(&item->submit)});
    if (!a->is_bad && a->spool.status == 0)
        put_record(a, item);
    count_spool(b);
}

/* ---- on the store's thread ---- */

static void move_span(struct span *span, const uint8_t *from, size_t len, const uint8_t *to)
{
    uintptr_t at = (uintptr_t)span->data;

    if (at >= (uintptr_t)from && at < (uintptr_t)from + len)
        span->data = to + (at - (uintptr_t)from);
}

/* A span that points into neither is of something that stays, as "default" is. */
static void move_spans(struct core_submit *s, const struct record *r, const uint8_t *bytes)
{
    for (size_t i = 0; i < JM_COUNT_OF(span_offsets); i++) {
        struct span *span = (struct span *)((uint8_t *)s + span_offsets[i]);
        struct span old = *span;

        move_span(span, r->value, r->value_len, bytes);
        if (span->data == old.data)
            move_span(span, r->options, r->options_len, bytes + r->value_len);
    }
}

static int next(struct core_batch *core, struct core_submit **ret_submit)
{
    struct batch_atomic *a = JM_CONTAINER_OF(core, struct batch_atomic, core);
    struct record r;
    struct span bytes;
    int rc = spool_read(&a->reader, sizeof(r), &bytes);

    if (rc != 0)
        return rc;
    memcpy(&r, bytes.data, sizeof(r));
    rc = spool_read(&a->reader, r.value_len + r.options_len, &bytes);
    if (rc != 0)
        return rc;
    a->present = r.submit;
    move_spans(&a->present, &r, bytes.data);
    *ret_submit = &a->present;
    return 0;
}

static void on_refused(struct core_batch *core, const struct core_submit *s, int status)
{
    struct batch_atomic *a = JM_CONTAINER_OF(core, struct batch_atomic, core);
    struct fault f;

    job_read_tell_refusal(s, status, JOB_KEY_FIELD, &f);
    put_error(a, &f);
}

/* ---- the answer ---- */

static void render_one(struct batch_atomic *a, const struct core_outcome *o,
                       struct mp_cursor *errors, struct span *ret_answer)
{
    struct buf *scratch = &a->batch->scratch;

    if (o->status != 0 && mp_skip(errors, ERROR_DEPTH, ret_answer))
        return;
    buf_clear(scratch);
    if (a->is_bad)
        batch_render_fault(scratch, &(struct fault){.error = JM_EBATCH});
    else
        batch_render_stored(scratch, o);
    *ret_answer = buf_span(scratch);
}

/* On a thread of the pool. */
static void on_work(uv_work_t *work)
{
    struct batch_atomic *a = JM_CONTAINER_OF(work, struct batch_atomic, work);
    struct call *call = a->batch->call;
    struct buf *out = &call->x->body_out;
    const struct core_outcome *outcomes = (const struct core_outcome *)(void *)a->outcomes.data;
    size_t count = a->outcomes.len / sizeof(*outcomes);
    struct mp_cursor errors;

    mp_open(&errors, buf_span(&a->errors));
    for (size_t i = 0; i < count; i++) {
        struct span answer;

        render_one(a, &outcomes[i], &errors, &answer);
        if (!batch_put_answer(call->form, answer, i == 0, out))
            out->failed = true;
    }
    batch_put_end(call->form, count == 0, out);
}

static void on_worked(uv_work_t *work, int status)
{
    struct batch_atomic *a = JM_CONTAINER_OF(work, struct batch_atomic, work);
    struct call *call = a->batch->call;
    bool is_bad = a->is_bad;

    assert(status == 0); /* nobody cancels */
    batch_close(a->batch);
    call_answer_text(call, is_bad ? errors_http_status(JM_EBATCH) : 200,
                     body_media_type(call->form));
}

static void render(struct batch_atomic *a)
{
    int rc;

    a->phase = RENDERING;
    buf_clear(&a->batch->call->x->body_out);
    rc = uv_queue_work(a->batch->call->api->conf.loop, &a->work, on_work, on_worked);
    assert(rc == 0); /* fails only without a work callback */
}

/* ---- steps ---- */

static void refuse_whole(struct batch *b)
{
    struct call *call = b->call;
    bool is_cut = b->is_cut;

    batch_close(b);
    if (is_cut)
        call_drop(call);
    else
        call_refuse(call);
}

static void fail(struct batch *b, int error)
{
    fault_set(&b->call->fault, error, span_of(NULL, 0), 0,
              error == JM_EFULL ? "nothing was stored; try again when there is room"
                                : "nothing of the batch was stored");
    refuse_whole(b);
}

static void on_stored(struct core_batch *core, int status)
{
    struct batch_atomic *a = JM_CONTAINER_OF(core, struct batch_atomic, core);

    if (status == 0 || status == JM_EBATCH)
        render(a);
    else
        fail(a->batch, status);
}

/* The first queue that has no room. */
static void tell_full_queue(struct batch_atomic *a)
{
    for (size_t i = 0; i < a->core.count && !a->is_bad; i++) {
        struct core_submit s = {.queue = a->core.outcomes[i].queue};
        struct fault f;

        if (a->core.outcomes[i].status == 0)
            continue;
        s.op.spec.queue = s.queue->name;
        s.ret_limit = s.queue->conf.max_queued;
        job_read_tell_refusal(&s, JM_EQUEUEFULL, JOB_KEY_FIELD, &f);
        put_error(a, &f);
    }
}

static void store(struct batch_atomic *a)
{
    int rc;

    a->phase = STORING;
    a->core = (struct core_batch){
        .outcomes = (struct core_outcome *)(void *)a->outcomes.data,
        .count = a->outcomes.len / sizeof(struct core_outcome),
        .next = next,
        .on_refused = on_refused,
        .on_done = on_stored,
    };
    rc = core_batch_submit(call_core(a->batch->call), &a->core);
    if (rc == JM_EBATCH) {
        tell_full_queue(a);
        render(a);
    } else if (rc != 0) {
        fail(a->batch, rc);
    }
}

static void on_written(void *owner)
{
    struct batch_atomic *a = owner;

    batch_atomic_step(a->batch);
}

/* All of the body has come. */
static void step_writing(struct batch *b)
{
    struct batch_atomic *a = b->atomic;

    if (a->spool.is_writing)
        return; /* whatever comes next */
    if (b->is_refused || b->is_cut)
        refuse_whole(b);
    else if (buf_has_failed(&a->outcomes) || buf_has_failed(&a->errors))
        fail(b, JM_ENOMEM);
    else if (a->is_bad)
        render(a);
    else if (a->spool.status != 0)
        fail(b, a->spool.status);
    else if (spool_flush(&a->spool))
        store(a);
    else if (a->spool.status != 0) /* it could not even begin to write */
        fail(b, a->spool.status);
}

void batch_atomic_step(struct batch *b)
{
    struct batch_atomic *a = b->atomic;

    if (a->phase == TAKING && batch_has_come(b))
        a->phase = WRITING;
    if (a->phase == WRITING)
        step_writing(b);
    else if (a->phase == TAKING && b->is_paused && (b->is_over || batch_atomic_has_room(b))) {
        b->is_paused = false;
        http_exchange_resume(b->call->x);
    }
}
