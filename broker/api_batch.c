/*
 * api_batch.c: POST /v1/jobs/batch.
 *
 * Body, end, refusal, a submit that is done: each only changes the batch, and step() then says what
 * is to be done: answer the items at the front that are done, take more of the body, or finish.
 *
 *     body ──split──▶ item ──read, core_submit──▶ in flight ──done──▶ answer
 *                       └───────── refused ───────────────────────────▲
 *
 * A body that breaks, is too long or has no end is answered with one error more, in the place of
 * the item where it happened. Behind that the rest of the body is read and thrown away, up to a
 * limit: many clients do not read before they have sent everything.
 */
#include <stdlib.h>

#include "broker/api_routes.h"
#include "broker/batch.h"
#include "broker/batch_atomic.h"
#include "broker/call.h"
#include "broker/job_read.h"
#include "schema/errors.h"

enum {
    LEAST_IN_FLIGHT = 32, /* items of one batch, however many there are */
    TURN_REFUSALS = 256,  /* of all batches in a turn: nothing else makes those wait, and a piece of
                             a body can be thousands of them */
    LOOK_AGAIN_MS = 10,   /* while the submits of others take all the room */
};

/* ---- answers ---- */

static void begin_answer(struct call *call)
{
    if (!call->x->is_streamed)
        http_exchange_begin(call->x, 200, body_media_type(call->form));
}

static void answer_item(struct batch *b, struct batch_item *item)
{
    struct call *call = b->call;
    struct buf *out = &call->x->body_out;
    struct core_outcome outcome = {.status = 0};

    begin_answer(call);
    buf_clear(&b->scratch);
    if (!item->is_refused) {
        core_outcome_set(&outcome, &item->submit, 0);
        batch_render_stored(&b->scratch, &outcome);
    }
    if (!batch_put_answer(call->form, buf_span(item->is_refused ? &item->value : &b->scratch),
                          b->answered == 0, out))
        out->failed = true; /* no memory: bytes are missing, so the server closes the connection */
    b->answered++;
    http_exchange_push(call->x);
}

/* ---- the end ---- */

void batch_close(struct batch *b)
{
    timer_disarm(&b->call->timer);
    b->call->batch = NULL;
    batch_atomic_close(b);
    split_done(&b->split);
    buf_done(&b->scratch);
    free(b);
}

static void finish(struct batch *b)
{
    struct call *call = b->call;
    bool is_refused = b->is_refused;
    bool is_empty = b->answered == 0;
    bool is_cut = b->is_cut;

    batch_close(b);
    if (is_refused && is_empty) {
        call_refuse(call);
        return;
    }
    if (is_refused || (is_cut && is_empty)) { /* there was no memory for the last answer; or */
        call_drop(call);                      /* nobody is there to read it */
        return;
    }
    begin_answer(call);
    if (!call->x->is_broken)
        batch_put_end(call->form, is_empty, &call->x->body_out);
    call_finish(call);
}

/* An atomic batch keeps what became of its items apart from them. */
static void refuse_item(struct batch *b, struct batch_item *item, const struct fault *f)
{
    b->refused++;
    if (b->atomic == NULL) {
        batch_refuse_item(item, f);
        return;
    }
    batch_atomic_refuse(b, f);
    batch_close_item(b, item);
}

/* No more items are taken. What was wrong is the answer, in the place of the next item; or of the
 * whole, if that would be the first. */
static void end_items(struct batch *b, const struct fault *f)
{
    struct batch_item *item = b->taken > 0 ? batch_open_item(b) : NULL;

    b->is_over = true;
    if (item != NULL) {
        refuse_item(b, item, f);
        return;
    }
    b->call->fault = *f;
    b->is_refused = true;
}

/* ---- the body ---- */

/* All batches together have their share of the writer, so that others do not wait long. */
static size_t most_in_flight(const struct batch *b)
{
    size_t share = JM_BATCH_IN_FLIGHT / b->call->api->batch_count;

    return share > LEAST_IN_FLIGHT ? share : LEAST_IN_FLIGHT;
}

static bool has_room(const struct batch *b)
{
    if (b->atomic != NULL)
        return batch_atomic_has_room(b);
    return b->item_count < most_in_flight(b) && b->item_bytes < JM_BATCH_FLIGHT_BYTES &&
           !core_is_overloaded(call_core(b->call));
}

/* The loop has others to serve before it refuses more. */
static bool rests(const struct batch *b)
{
    return b->refused > TURN_REFUSALS / b->call->api->batch_count;
}

/* There will be room for a good number of items. */
static bool has_much_room(const struct batch *b)
{
    return b->item_count <= most_in_flight(b) / 2 && b->item_bytes <= JM_BATCH_FLIGHT_BYTES / 2 &&
           !core_is_overloaded(call_core(b->call));
}

static void step(struct batch *b);

static void on_time(struct timer *t)
{
    struct batch *b = JM_CONTAINER_OF(t, struct call, timer)->batch;

    b->refused = 0;
    step(b);
}

/* No submit of its own will come back and say that there is room again. */
static void look_again(struct batch *b, uint64_t in_ms)
{
    struct core_seams *seams = &call_core(b->call)->seams;

    if (timer_is_armed(&b->call->timer))
        return;
    timer_init(&b->call->timer, on_time);
    timers_arm(seams->timers, &b->call->timer, clock_mono_ms(seams->clock) + in_ms);
}

static void on_submitted(struct core_submit *s, int status)
{
    struct batch_item *item = JM_CONTAINER_OF(s, struct batch_item, submit);
    struct fault f;

    item->is_done = true;
    if (status != 0) {
        job_read_tell_refusal(s, status, JOB_KEY_FIELD, &f);
        batch_refuse_item(item, &f);
    }
    step(item->batch);
}

static int read_item(struct batch *b, struct batch_item *item, struct span raw, struct fault *f)
{
    struct span value;
    int rc;

    item->value.max = BODY_MSGPACK_BYTES(raw.len);
    rc = body_read(b->call->taken, raw, &item->value, &value, f);
    if (rc == 0 && b->call->taken == BODY_MSGPACK)
        buf_put_span(&item->value, raw);
    if (rc == 0 && buf_has_failed(&item->value))
        rc = fault_set(f, JM_ENOMEM, span_of(NULL, 0), 0, "no memory for the item");
    b->item_bytes += item->value.len;
    if (rc != 0)
        return rc;
    item->submit = (struct core_submit){.on_done = on_submitted};
    return job_read_item(&b->reader, buf_span(&item->value), &item->options, &item->submit, f);
}

static void submit_item(struct batch *b, struct batch_item *item, struct span raw)
{
    struct fault f;
    int rc = read_item(b, item, raw, &f);

    if (rc == 0 && b->atomic != NULL) {
        batch_atomic_take(b, item);
        batch_close_item(b, item);
        return;
    }
    if (rc == 0) {
        rc = core_submit(call_core(b->call), &item->submit);
        if (rc != 0)
            job_read_tell_refusal(&item->submit, rc, JOB_KEY_FIELD, &f);
    }
    if (rc != 0)
        refuse_item(b, item, &f);
}

static void end_bad(struct batch *b)
{
    struct fault f;

    fault_set(&f, b->call->taken == BODY_MSGPACK ? JM_EMSGPACK : JM_EJSON, span_of(NULL, 0),
              b->split.limit, "%s (behind %llu items)", b->split.problem,
              (unsigned long long)b->taken);
    end_items(b, &f);
}

static void take_item(struct batch *b, enum split_result result, struct span raw)
{
    struct batch_item *item;
    struct fault f;

    if (b->taken == JM_BATCH_ITEMS) {
        fault_set(&f, JM_EBATCHSIZE, span_of(NULL, 0), JM_BATCH_ITEMS,
                  "a batch has at most %d items; this one and all behind it are not stored",
                  JM_BATCH_ITEMS);
        end_items(b, &f);
        return;
    }
    item = batch_open_item(b);
    if (item == NULL) {
        fault_set(&f, JM_ENOMEM, span_of(NULL, 0), 0, "out of memory");
        end_items(b, &f);
    } else if (result == SPLIT_LARGE) {
        fault_set(&f, JM_EBODYSIZE, span_of(NULL, 0), b->split.max_bytes,
                  "the item is larger than %zu bytes", b->split.max_bytes);
        refuse_item(b, item, &f);
    } else {
        submit_item(b, item, raw);
    }
}

/* Takes what there is room for. */
static size_t take_items(struct batch *b, struct span data)
{
    size_t at = 0;

    b->reader = api_job_reader(b->call->api);
    while (at < data.len && !b->is_over && has_room(b) && !rests(b)) {
        struct span raw;
        size_t used;
        enum split_result result =
            split_next(&b->split, span_of(data.data + at, data.len - at), &used, &raw);

        at += used;
        if (result == SPLIT_BAD)
            end_bad(b);
        else if (result != SPLIT_MORE)
            take_item(b, result, raw);
    }
    return at;
}

/* ---- */

bool batch_has_come(const struct batch *b)
{
    return b->has_end || b->discarded_bytes > JM_BATCH_DISCARD_BYTES;
}

/* Answers what can be answered, in order. `b` may be gone afterwards. */
static void step(struct batch *b)
{
    if (b->atomic != NULL) {
        batch_atomic_step(b);
        return;
    }
    while (!list_is_empty(&b->items)) {
        struct batch_item *item = LIST_ENTRY(b->items.next, struct batch_item, link);

        if (!item->is_done)
            break;
        answer_item(b, item);
        batch_close_item(b, item);
    }
    if (list_is_empty(&b->items) && batch_has_come(b)) {
        finish(b);
    } else if (b->is_paused && !b->is_over && rests(b)) {
        look_again(b, 0);
    } else if (b->is_paused && (b->is_over || has_much_room(b))) {
        b->is_paused = false;
        http_exchange_resume(b->call->x);
    } else if (b->is_paused && list_is_empty(&b->items)) {
        look_again(b, LOOK_AGAIN_MS);
    }
}

static size_t on_body(struct call *call, struct span data)
{
    struct batch *b = call->batch;
    uint64_t taken = b->taken;
    size_t used = take_items(b, data);

    if (b->taken > taken)
        http_exchange_renew(call->x);
    if (b->is_over) {
        b->discarded_bytes += data.len - used;
        used = data.len;
    }
    b->is_paused = used < data.len;
    step(b);
    return used;
}

static void end_split(struct batch *b)
{
    struct span raw;
    enum split_result result;

    while (!b->is_over && (result = split_end(&b->split, &raw)) != SPLIT_MORE) {
        if (result == SPLIT_BAD)
            end_bad(b);
        else
            take_item(b, result, raw);
    }
}

/* A broken body has an answer of its own only if nothing was taken of it: else the answer's missing
 * end tells. */
static void on_end(struct call *call, const struct problem *broken)
{
    struct batch *b = call->batch;

    if (broken == NULL) {
        end_split(b);
    } else if (b->taken == 0 || b->atomic != NULL) {
        fault_set(&call->fault, broken->error, broken->field, broken->limit, "%.*s",
                  (int)broken->detail.len, (const char *)broken->detail.data);
        b->is_refused = true;
    }
    b->is_over = true;
    b->has_end = true;
    step(b);
}

/* Behind the end of the body it is of no matter: a client that only half-closed gets its answer. */
static void on_gone(struct call *call)
{
    struct batch *b = call->batch;

    b->is_cut = b->is_cut || !b->has_end;
    b->is_over = true;
    b->has_end = true;
    step(b);
}

static void on_stop(struct call *call)
{
    struct batch *b = call->batch;
    struct fault f;

    if (!b->has_end) {
        fault_set(&f, JM_ESHUTDOWN, span_of(NULL, 0), 0,
                  "the broker is shutting down; this item and all behind it are not stored");
        if (b->atomic != NULL) {
            call->fault = f;
            b->is_refused = true;
        } else if (!b->is_over) {
            end_items(b, &f);
        }
        b->is_over = true;
        b->has_end = true;
    }
    step(b);
}

/* ---- the beginning ---- */

static const struct call_stream stream = {
    .on_body = on_body, .on_end = on_end, .on_gone = on_gone, .on_stop = on_stop};

static enum split_form split_form_of(enum body_form form)
{
    return form == BODY_JSON ? SPLIT_JSON : form == BODY_LINES ? SPLIT_LINES : SPLIT_MSGPACK;
}

/* What a client does not read takes up room as the rest does. */
static void on_released(void *owner)
{
    ((struct api *)owner)->batch_count--;
}

static struct batch *open_batch(struct call *call)
{
    struct batch *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return NULL;
    b->call = call;
    split_init(&b->split, split_form_of(call->taken), call->api->conf.max_item_bytes);
    list_init(&b->items);
    buf_init(&b->scratch, BATCH_ANSWER_BYTES);
    call->api->batch_count++;
    call->x->on_released = on_released;
    call->x->released_owner = call->api;
    if (call->query.is_atomic && !batch_atomic_open(b)) {
        batch_close(b);
        return NULL;
    }
    return b;
}

/* The answer is in the framing of the request, if the client takes that as gladly as others. */
static void choose_form(struct call *call)
{
    struct body_wish wish = {.ranges = 0};

    call_read_accept(call->x, &wish);
    if (body_choose_near(&wish, call->route->offers, call->taken, &call->form) != 0)
        call->form = call->taken; /* api.c has refused those that take none */
}

/* One key for all is not kept: who thinks that it is shall not find out by a repeat. */
static int check_key(struct call *call)
{
    struct span key;
    int rc = call_header_once(call, "Idempotency-Key", &key);

    if (rc != 0 || key.data == NULL)
        return rc;
    return fault_set(&call->fault, JM_EHEADER, span_of_str("Idempotency-Key"), 0,
                     "Idempotency-Key: give each job of a batch its own " JOB_KEY_FIELD);
}

static int check_room(struct call *call)
{
    if (call->api->batch_count < JM_BATCHES)
        return 0;
    return fault_set(&call->fault, JM_EOVERLOAD, span_of(NULL, 0), JM_BATCHES,
                     "at most %d batches are taken at a time", JM_BATCHES);
}

void api_batch_run(struct call *call)
{
    choose_form(call);
    if (check_key(call) != 0 || check_room(call) != 0) {
        call_refuse(call);
        return;
    }
    call->batch = open_batch(call);
    if (call->batch == NULL) {
        call_refuse_error(call, JM_EIO, "no memory, or no room for a temporary file");
        return;
    }
    call->stream = &stream;
    call->state = CALL_STREAMING;
}
