/*
 * The messages as tables for record.h; the number in brackets is the field's key in the map and is
 * never given to another field. PROTOCOL.md has the same tables for people. The lists in a beat are
 * arrays of arrays, whose items may grow at their end: a reader skips what it does not know.
 */
#include "schema/wire.h"

#include <msgpack.h>

#include "lib/mp.h"
#include "schema/errors.h"
#include "schema/id.h"
#include "schema/limits.h"
#include "schema/name.h"
#include "schema/record.h"

#define REQUIRED RECORD_REQUIRED
#define OPTIONAL RECORD_OPTIONAL

_Static_assert(sizeof(enum wire_event_kind) == sizeof(uint32_t), "an enum is read as a uint32_t");
_Static_assert(sizeof(enum wire_retry) == sizeof(uint32_t), "an enum is read as a uint32_t");
_Static_assert(sizeof(enum wire_order_kind) == sizeof(uint32_t), "an enum is read as a uint32_t");

/* One item of each list in a beat. */
static bool next_held(struct mp_cursor *c);
static bool next_task(struct mp_cursor *c);
static bool next_name(struct mp_cursor *c);

#define AT(member) offsetof(struct wire_job, member)
static const struct record_field job_fields[] = {
    [1] = {RECORD_U32, OPTIONAL, AT(node), JM_NODES - 1, NULL},
    [2] = {RECORD_U64, REQUIRED, AT(id), ID_MAX, NULL},
    [3] = {RECORD_U32, REQUIRED, AT(attempt), UINT32_MAX, NULL},
    [4] = {RECORD_U64, OPTIONAL, AT(timeout_ms), JM_TIMEOUT_LIMIT_MS, NULL},
    [5] = {RECORD_U64, OPTIONAL, AT(grace_ms), JM_TIMEOUT_LIMIT_MS, NULL},
    [6] = {RECORD_NAME, REQUIRED, AT(queue), JM_QUEUE_NAME_BYTES, NULL},
    [7] = {RECORD_NAME, REQUIRED, AT(task), JM_TASK_NAME_BYTES, NULL},
    [8] = {RECORD_BYTES, OPTIONAL, AT(args), JM_ARGS_BYTES, NULL},
};
#undef AT

#define AT(member) offsetof(struct wire_event, member)
static const struct record_field event_fields[] = {
    [1] = {RECORD_U32, REQUIRED, AT(kind), WIRE_HANDED_BACK, NULL},
    [2] = {RECORD_U64, REQUIRED, AT(id), ID_MAX, NULL},
    [3] = {RECORD_U32, REQUIRED, AT(attempt), UINT32_MAX, NULL},
    [4] = {RECORD_U64, OPTIONAL, AT(host), UINT64_MAX, NULL},
    [5] = {RECORD_U32, OPTIONAL, AT(slot), JM_SLOTS - 1, NULL},
    [6] = {RECORD_U32, OPTIONAL, AT(pid), INT32_MAX, NULL},
    [7] = {RECORD_BOOL, OPTIONAL, AT(has_begun), 1, NULL},
    [8] = {RECORD_I64, OPTIONAL, AT(begun_at_ms), INT64_MAX, NULL},
    [9] = {RECORD_U64, OPTIONAL, AT(run_us), INT64_MAX, NULL},
    [10] = {RECORD_BYTES, OPTIONAL, AT(result), JM_RESULT_BYTES, NULL},
    [11] = {RECORD_NAME, OPTIONAL, AT(code), JM_ERROR_CODE_BYTES, NULL},
    [12] = {RECORD_TEXT, OPTIONAL, AT(message), JM_ERROR_MESSAGE_BYTES, NULL},
    [13] = {RECORD_BYTES, OPTIONAL, AT(stderr_tail), JM_STDERR_TAIL_BYTES, NULL},
    [14] = {RECORD_U32, OPTIONAL, AT(signal), UINT8_MAX, NULL},
    [15] = {RECORD_U32, OPTIONAL, AT(exit_status), UINT8_MAX, NULL},
    [16] = {RECORD_U64, OPTIONAL, AT(user_us), INT64_MAX, NULL},
    [17] = {RECORD_U64, OPTIONAL, AT(system_us), INT64_MAX, NULL},
    [18] = {RECORD_U64, OPTIONAL, AT(maxrss_bytes), INT64_MAX, NULL},
    [19] = {RECORD_U32, OPTIONAL, AT(retry), WIRE_RETRY_AFTER, NULL},
    [20] = {RECORD_U64, OPTIONAL, AT(retry_after_ms), JM_RETRY_AFTER_LIMIT_MS, NULL},
};
#undef AT

#define AT(member) offsetof(struct wire_order, member)
static const struct record_field order_fields[] = {
    [1] = {RECORD_U32, REQUIRED, AT(kind), WIRE_DRAIN, NULL},
    [2] = {RECORD_U64, OPTIONAL, AT(id), ID_MAX, NULL},
    [3] = {RECORD_U32, OPTIONAL, AT(attempt), UINT32_MAX, NULL},
};
#undef AT

#define AT(member) offsetof(struct wire_beat, member)
static const struct record_field beat_fields[] = {
    [1] = {RECORD_U64, REQUIRED, AT(host), UINT64_MAX, NULL},
    [2] = {RECORD_U64, REQUIRED, AT(seq), UINT64_MAX, NULL},
    [3] = {RECORD_U32, OPTIONAL, AT(pid), INT32_MAX, NULL},
    [4] = {RECORD_BOOL, OPTIONAL, AT(is_draining), 1, NULL},
    [5] = {RECORD_I64, OPTIONAL, AT(started_at_ms), INT64_MAX, NULL},
    [6] = {RECORD_U32, OPTIONAL, AT(slots), JM_SLOTS, NULL},
    [7] = {RECORD_TEXT, OPTIONAL, AT(hostname), JM_HOSTNAME_BYTES, NULL},
    [8] = {RECORD_TEXT, OPTIONAL, AT(version), JM_VERSION_BYTES, NULL},
    [9] = {RECORD_VALUES, OPTIONAL, AT(held), JM_SLOTS *JM_CLAIM_JOBS, next_held},
    [10] = {RECORD_VALUES, OPTIONAL, AT(tasks), JM_TASKS, next_task},
    [11] = {RECORD_VALUES, OPTIONAL, AT(queues), JM_QUEUES, next_name},
};
#undef AT

static const struct record job_record = {job_fields, JM_COUNT_OF(job_fields), WIRE_VERSION};
static const struct record event_record = {event_fields, JM_COUNT_OF(event_fields), WIRE_VERSION};
static const struct record order_record = {order_fields, JM_COUNT_OF(order_fields), WIRE_VERSION};
static const struct record beat_record = {beat_fields, JM_COUNT_OF(beat_fields), WIRE_VERSION};

void wire_encode_job(struct buf *out, const struct wire_job *job)
{
    record_encode(out, &job_record, job);
}

void wire_encode_event(struct buf *out, const struct wire_event *event)
{
    struct wire_event cut = *event;

    if (cut.stderr_tail.len > JM_STDERR_TAIL_BYTES) { /* its end says more than its beginning */
        cut.stderr_tail.data += cut.stderr_tail.len - JM_STDERR_TAIL_BYTES;
        cut.stderr_tail.len = JM_STDERR_TAIL_BYTES;
    }
    record_encode(out, &event_record, &cut);
}

void wire_encode_order(struct buf *out, const struct wire_order *order)
{
    record_encode(out, &order_record, order);
}

void wire_encode_beat(struct buf *out, const struct wire_beat *beat)
{
    record_encode(out, &beat_record, beat);
}

int wire_decode_job(struct span frame, struct wire_job *ret_job)
{
    struct wire_job job = {0};

    if (!record_decode(frame, &job_record, &job))
        return JM_EWIRE;
    *ret_job = job;
    return 0;
}

int wire_decode_event(struct span frame, struct wire_event *ret_event)
{
    struct wire_event event = {0};

    if (!record_decode(frame, &event_record, &event))
        return JM_EWIRE;
    *ret_event = event;
    return 0;
}

int wire_decode_order(struct span frame, struct wire_order *ret_order)
{
    struct wire_order order = {0};

    if (!record_decode(frame, &order_record, &order))
        return JM_EWIRE;
    if (order.kind == WIRE_KILL && (order.id == 0 || order.attempt == 0))
        return JM_EWIRE;
    *ret_order = order;
    return 0;
}

int wire_decode_beat(struct span frame, struct wire_beat *ret_beat)
{
    struct wire_beat beat = {0};

    if (!record_decode(frame, &beat_record, &beat))
        return JM_EWIRE;
    *ret_beat = beat;
    return 0;
}

bool wire_peek_version(struct span frame, uint32_t *ret_version)
{
    struct mp_cursor c;
    uint64_t key, version;
    uint32_t count;

    mp_open(&c, frame);
    if (!mp_next_map(&c, &count) || count == 0 || !mp_next_uint(&c, 0, &key) ||
        !mp_next_uint(&c, UINT32_MAX, &version) || version == 0)
        return false;
    *ret_version = (uint32_t)version;
    return true;
}

void wire_encode_list(struct buf *out, uint32_t count)
{
    msgpack_packer pk;

    msgpack_packer_init(&pk, out, buf_write_msgpack);
    msgpack_pack_array(&pk, count);
}

enum { HELD_ITEMS = 6, PROGRESS_ITEMS = 3, TASK_ITEMS = 3 };

void wire_encode_held(struct buf *out, const struct wire_held *held)
{
    bool has_progress = held->done > 0 || held->total > 0 || held->message.len > 0;
    msgpack_packer pk;

    msgpack_packer_init(&pk, out, buf_write_msgpack);
    msgpack_pack_array(&pk, HELD_ITEMS + (has_progress ? PROGRESS_ITEMS : 0));
    msgpack_pack_uint32(&pk, held->node);
    msgpack_pack_uint64(&pk, held->id);
    msgpack_pack_uint32(&pk, held->attempt);
    if (held->has_begun)
        msgpack_pack_true(&pk);
    else
        msgpack_pack_false(&pk);
    msgpack_pack_uint64(&pk, held->run_ms);
    msgpack_pack_uint32(&pk, held->slot);
    if (!has_progress)
        return;
    msgpack_pack_uint64(&pk, held->done);
    msgpack_pack_uint64(&pk, held->total);
    record_encode_text(out, held->message, JM_PROGRESS_MESSAGE_BYTES);
}

void wire_encode_task(struct buf *out, const struct wire_task *task)
{
    wire_encode_list(out, TASK_ITEMS);
    wire_encode_name(out, task->name);
    record_encode_text(out, task->kind, JM_TASK_KIND_BYTES);
    record_encode_text(out, task->doc, JM_TASK_DOC_BYTES);
}

void wire_encode_name(struct buf *out, struct span name)
{
    msgpack_packer pk;

    msgpack_packer_init(&pk, out, buf_write_msgpack);
    msgpack_pack_str_with_body(&pk, name.data, name.len);
}

/* The head of an item of at least `known` values; how many more there are. */
static bool next_item(struct mp_cursor *c, uint32_t known, uint32_t *ret_unknown)
{
    uint32_t count;

    if (!mp_next_array(c, &count) || count < known)
        return false;
    *ret_unknown = count - known;
    return true;
}

static bool skip_unknown(struct mp_cursor *c, uint32_t count)
{
    struct span value;

    while (count-- > 0)
        if (!mp_skip(c, RECORD_SKIP_DEPTH, &value))
            return false;
    return true;
}

static bool next_u32(struct mp_cursor *c, uint32_t max, uint32_t *ret_number)
{
    uint64_t number;

    if (!mp_next_uint(c, max, &number))
        return false;
    *ret_number = (uint32_t)number;
    return true;
}

/* All of it or nothing, as the item's length says. */
static bool next_progress(struct mp_cursor *c, uint32_t *rest, struct wire_held *held)
{
    if (*rest == 0)
        return true;
    if (*rest < PROGRESS_ITEMS || !mp_next_uint(c, UINT64_MAX, &held->done) ||
        !mp_next_uint(c, UINT64_MAX, &held->total) ||
        !record_next_text(c, JM_PROGRESS_MESSAGE_BYTES, &held->message))
        return false;
    *rest -= PROGRESS_ITEMS;
    return true;
}

bool wire_next_held(struct mp_cursor *c, struct wire_held *ret_held)
{
    struct wire_held held = {0};
    uint32_t unknown;

    if (!next_item(c, HELD_ITEMS, &unknown) || !next_u32(c, JM_NODES - 1, &held.node) ||
        !mp_next_uint(c, ID_MAX, &held.id) || held.id == 0 ||
        !next_u32(c, UINT32_MAX, &held.attempt) || held.attempt == 0 ||
        !mp_next_bool(c, &held.has_begun) || !mp_next_uint(c, INT64_MAX, &held.run_ms) ||
        !next_u32(c, JM_SLOTS - 1, &held.slot) || !next_progress(c, &unknown, &held) ||
        !skip_unknown(c, unknown))
        return false;
    *ret_held = held;
    return true;
}

bool wire_next_task(struct mp_cursor *c, struct wire_task *ret_task)
{
    struct wire_task task;
    uint32_t unknown;

    if (!next_item(c, TASK_ITEMS, &unknown) || !mp_next_str(c, &task.name) ||
        !name_is_valid(task.name, JM_TASK_NAME_BYTES) ||
        !record_next_text(c, JM_TASK_KIND_BYTES, &task.kind) ||
        !record_next_text(c, JM_TASK_DOC_BYTES, &task.doc) || !skip_unknown(c, unknown))
        return false;
    *ret_task = task;
    return true;
}

bool wire_next_name(struct mp_cursor *c, struct span *ret_name)
{
    struct span name;

    if (!mp_next_str(c, &name) || !name_is_valid(name, JM_QUEUE_NAME_BYTES))
        return false;
    *ret_name = name;
    return true;
}

static bool next_held(struct mp_cursor *c)
{
    struct wire_held held;

    return wire_next_held(c, &held);
}

static bool next_task(struct mp_cursor *c)
{
    struct wire_task task;

    return wire_next_task(c, &task);
}

static bool next_name(struct mp_cursor *c)
{
    struct span name;

    return wire_next_name(c, &name);
}

void wire_open_list(struct span list, struct mp_cursor *ret_cursor)
{
    uint32_t count;

    mp_open(ret_cursor, list);
    if (!mp_next_array(ret_cursor, &count))
        mp_open(ret_cursor, span_of(NULL, 0)); /* an empty list was left out */
}

const char *wire_event_word(enum wire_event_kind kind)
{
    switch (kind) {
#define X(name, number, word) \
    case name:                \
        return word;
        WIRE_EVENT_KINDS(X)
#undef X
    }
    return "unknown";
}
