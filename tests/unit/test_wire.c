/* The messages in Redis: what is written is read back, and what is wrong is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/mp.h"
#include "schema/errors.h"
#include "schema/id.h"
#include "schema/limits.h"
#include "schema/wire.h"
#include "tests/unit/guard.h"
#include "tests/unit/hex.h"

#define TEXT(text) span_of(text, sizeof(text) - 1)
#define assert_span_equal(a, b) assert_true(span_is_equal(a, b))

enum { FRAME_BYTES = 64 << 10 };

static struct guard guard;
static struct buf out;

static struct wire_job full_job(void)
{
    return (struct wire_job){.node = 1023,
                             .id = ID_MAX,
                             .attempt = UINT32_MAX,
                             .timeout_ms = JM_TIMEOUT_LIMIT_MS,
                             .grace_ms = 5000,
                             .queue = TEXT("default"),
                             .task = TEXT("fib:v2.x_y-z"),
                             .args = TEXT("\x81\xa1n\x23")};
}

static struct wire_event full_event(void)
{
    return (struct wire_event){.kind = WIRE_HANDED_BACK,
                               .id = 1,
                               .attempt = 2,
                               .host = UINT64_MAX,
                               .slot = JM_SLOTS - 1,
                               .pid = 4711,
                               .has_begun = true,
                               .begun_at_ms = -1,
                               .run_us = INT64_MAX,
                               .result = TEXT("\x2a"),
                               .code = TEXT("task_failed"),
                               .message = TEXT("na\xc3\xafve"),
                               .stderr_tail = TEXT("\xff\xfe raw"),
                               .signal = 11,
                               .exit_status = 255,
                               .user_us = 1,
                               .system_us = 2,
                               .maxrss_bytes = 3,
                               .retry = WIRE_RETRY_AFTER,
                               .retry_after_ms = JM_RETRY_AFTER_LIMIT_MS};
}

static void assert_job_equal(const struct wire_job *a, const struct wire_job *b)
{
    assert_int_equal(a->node, b->node);
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->attempt, b->attempt);
    assert_int_equal(a->timeout_ms, b->timeout_ms);
    assert_int_equal(a->grace_ms, b->grace_ms);
    assert_span_equal(a->queue, b->queue);
    assert_span_equal(a->task, b->task);
    assert_span_equal(a->args, b->args);
}

static void assert_event_equal(const struct wire_event *a, const struct wire_event *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->attempt, b->attempt);
    assert_true(a->host == b->host);
    assert_int_equal(a->slot, b->slot);
    assert_int_equal(a->pid, b->pid);
    assert_int_equal(a->has_begun, b->has_begun);
    assert_int_equal(a->begun_at_ms, b->begun_at_ms);
    assert_int_equal(a->run_us, b->run_us);
    assert_span_equal(a->result, b->result);
    assert_span_equal(a->code, b->code);
    assert_span_equal(a->message, b->message);
    assert_span_equal(a->stderr_tail, b->stderr_tail);
    assert_int_equal(a->signal, b->signal);
    assert_int_equal(a->exit_status, b->exit_status);
    assert_int_equal(a->user_us, b->user_us);
    assert_int_equal(a->system_us, b->system_us);
    assert_int_equal(a->maxrss_bytes, b->maxrss_bytes);
    assert_int_equal(a->retry, b->retry);
    assert_int_equal(a->retry_after_ms, b->retry_after_ms);
}

/* The bytes written so far, ending at the guard page. */
static struct span take_frame(void)
{
    struct span frame;

    assert_false(buf_has_failed(&out));
    frame = guard_copy(&guard, buf_span(&out));
    buf_clear(&out);
    return frame;
}

static void a_job_with_every_field_is_read_back(void **state)
{
    struct wire_job job = full_job();
    struct wire_job back;

    (void)state;
    wire_encode_job(&out, &job);
    assert_int_equal(wire_decode_job(take_frame(), &back), 0);
    assert_job_equal(&job, &back);
}

static void a_job_with_the_required_fields_only_is_read_back(void **state)
{
    struct wire_job job = {.id = 1, .attempt = 1, .queue = TEXT("q"), .task = TEXT("t")};
    struct wire_job back;
    struct span frame;

    (void)state;
    wire_encode_job(&out, &job);
    frame = take_frame();
    assert_span_equal(frame, TEXT("\x85\x00\x01\x02\x01\x03\x01\x06\xa1q\x07\xa1t"));
    assert_int_equal(wire_decode_job(frame, &back), 0);
    assert_job_equal(&job, &back);
}

static void an_event_with_every_field_is_read_back(void **state)
{
    struct wire_event event = full_event();
    struct wire_event back;

    (void)state;
    wire_encode_event(&out, &event);
    assert_int_equal(wire_decode_event(take_frame(), &back), 0);
    assert_event_equal(&event, &back);
}

static void an_event_of_each_kind_is_read_back(void **state)
{
    struct wire_event back;

    (void)state;
#define X(name, number, word)                                            \
    {                                                                    \
        struct wire_event event = {.kind = name, .id = 9, .attempt = 1}; \
        wire_encode_event(&out, &event);                                 \
        assert_int_equal(wire_decode_event(take_frame(), &back), 0);     \
        assert_event_equal(&event, &back);                               \
        assert_int_equal(name, number);                                  \
        assert_string_equal(wire_event_word(name), word);                \
    }
    WIRE_EVENT_KINDS(X)
#undef X
}

static void an_order_is_read_back(void **state)
{
    struct wire_order kill = {.kind = WIRE_KILL, .id = 5, .attempt = 3};
    struct wire_order drain = {.kind = WIRE_DRAIN};
    struct wire_order back;

    (void)state;
    wire_encode_order(&out, &kill);
    assert_int_equal(wire_decode_order(take_frame(), &back), 0);
    assert_int_equal(back.kind, WIRE_KILL);
    assert_int_equal(back.id, 5);
    assert_int_equal(back.attempt, 3);
    wire_encode_order(&out, &drain);
    assert_int_equal(wire_decode_order(take_frame(), &back), 0);
    assert_int_equal(back.kind, WIRE_DRAIN);
    assert_int_equal(back.id, 0);
}

static const struct wire_held held_jobs[] = {
    {.node = 0, .id = 1, .attempt = 1, .has_begun = true, .run_ms = 12345, .slot = 0},
    {.node = 1023, .id = ID_MAX, .attempt = UINT32_MAX, .run_ms = INT64_MAX, .slot = JM_SLOTS - 1},
    {.id = 2,
     .attempt = 1,
     .has_begun = true,
     .done = UINT64_MAX,
     .total = UINT64_MAX,
     .message = {(const uint8_t *)"h\xc3\xa4lf", 5}},
    {.id = 3, .attempt = 1, .has_begun = true, .total = 9},
};

/* A beat with all three lists, written into `out`. */
static void encode_full_beat(void)
{
    struct wire_beat beat = {.host = UINT64_MAX,
                             .seq = 7,
                             .pid = 1,
                             .is_draining = true,
                             .started_at_ms = 1790000000000,
                             .slots = JM_SLOTS,
                             .hostname = TEXT("node-1"),
                             .version = TEXT("0.1.0")};
    struct wire_task task = {TEXT("fib"), TEXT("builtin"), TEXT("Fibonacci, na\xc3\xafvely")};
    struct buf held;
    struct buf tasks;
    struct buf queues;

    buf_init(&held, FRAME_BYTES);
    buf_init(&tasks, FRAME_BYTES);
    buf_init(&queues, FRAME_BYTES);
    wire_encode_list(&held, JM_COUNT_OF(held_jobs));
    for (size_t i = 0; i < JM_COUNT_OF(held_jobs); i++)
        wire_encode_held(&held, &held_jobs[i]);
    wire_encode_list(&tasks, 1);
    wire_encode_task(&tasks, &task);
    wire_encode_list(&queues, 2);
    wire_encode_name(&queues, TEXT("default"));
    wire_encode_name(&queues, TEXT("slow"));
    beat.held = buf_span(&held);
    beat.tasks = buf_span(&tasks);
    beat.queues = buf_span(&queues);
    wire_encode_beat(&out, &beat);
    buf_done(&held);
    buf_done(&tasks);
    buf_done(&queues);
}

static void assert_held_equal(const struct wire_held *a, const struct wire_held *b)
{
    assert_int_equal(a->node, b->node);
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->attempt, b->attempt);
    assert_int_equal(a->has_begun, b->has_begun);
    assert_int_equal(a->run_ms, b->run_ms);
    assert_int_equal(a->slot, b->slot);
    assert_true(a->done == b->done && a->total == b->total);
    assert_span_equal(a->message, b->message);
}

static void a_beat_with_its_lists_is_read_back(void **state)
{
    struct wire_beat beat;
    struct wire_held held;
    struct wire_task task;
    struct span name;
    struct mp_cursor c;
    size_t n = 0;

    (void)state;
    encode_full_beat();
    assert_int_equal(wire_decode_beat(take_frame(), &beat), 0);
    assert_true(beat.host == UINT64_MAX && beat.seq == 7 && beat.pid == 1 && beat.is_draining);
    assert_int_equal(beat.started_at_ms, 1790000000000);
    assert_int_equal(beat.slots, JM_SLOTS);
    assert_span_equal(beat.hostname, TEXT("node-1"));
    assert_span_equal(beat.version, TEXT("0.1.0"));
    for (wire_open_list(beat.held, &c); wire_next_held(&c, &held); n++)
        assert_held_equal(&held, &held_jobs[n]);
    assert_int_equal(n, JM_COUNT_OF(held_jobs));
    wire_open_list(beat.tasks, &c);
    assert_true(wire_next_task(&c, &task));
    assert_span_equal(task.name, TEXT("fib"));
    assert_span_equal(task.kind, TEXT("builtin"));
    assert_span_equal(task.doc, TEXT("Fibonacci, na\xc3\xafvely"));
    assert_false(wire_next_task(&c, &task));
    wire_open_list(beat.queues, &c);
    assert_true(wire_next_name(&c, &name) && span_is_str(name, "default"));
    assert_true(wire_next_name(&c, &name) && span_is_str(name, "slow"));
    assert_false(wire_next_name(&c, &name));
}

static void a_beat_without_lists_has_empty_ones(void **state)
{
    struct wire_beat beat = {.host = 1, .seq = 1, .held = TEXT("\x90")};
    struct wire_beat back;
    struct wire_held held;
    struct mp_cursor c;
    struct span frame;

    (void)state;
    wire_encode_beat(&out, &beat);
    frame = take_frame();
    assert_span_equal(frame, TEXT("\x83\x00\x01\x01\x01\x02\x01"));
    assert_int_equal(wire_decode_beat(frame, &back), 0);
    wire_open_list(back.held, &c);
    assert_false(wire_next_held(&c, &held));
}

/* Refused: nothing of a whole frame may be missing. */
static void every_shortened_message_is_refused(void **state)
{
    struct wire_job job = full_job();
    struct wire_event event = full_event();
    struct wire_beat beat;
    uint8_t whole[1024];
    size_t len;

    (void)state;
    wire_encode_job(&out, &job);
    memcpy(whole, out.data, len = out.len);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(wire_decode_job(guard_copy(&guard, span_of(whole, n)), &job), JM_EWIRE);
    buf_clear(&out);
    wire_encode_event(&out, &event);
    memcpy(whole, out.data, len = out.len);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(wire_decode_event(guard_copy(&guard, span_of(whole, n)), &event),
                         JM_EWIRE);
    buf_clear(&out);
    encode_full_beat();
    memcpy(whole, out.data, len = out.len);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(wire_decode_beat(guard_copy(&guard, span_of(whole, n)), &beat), JM_EWIRE);
    buf_clear(&out);
}

enum message { JOB, EVENT, ORDER, BEAT };

static int decode_any(enum message message, struct span frame)
{
    struct wire_job job;
    struct wire_event event;
    struct wire_order order;
    struct wire_beat beat;

    switch (message) {
    case JOB:
        return wire_decode_job(frame, &job);
    case EVENT:
        return wire_decode_event(frame, &event);
    case ORDER:
        return wire_decode_order(frame, &order);
    case BEAT:
        return wire_decode_beat(frame, &beat);
    }
    return JM_EINTERNAL;
}

static void messages_by_hand_are_taken_or_refused(void **state)
{
    static const struct {
        const char *title;
        enum message message;
        const char *hex;
        int expected;
    } cases[] = {
        {"the smallest order", ORDER, "82 0001 0102", 0},
        {"an empty frame", ORDER, "", JM_EWIRE},
        {"an empty map", ORDER, "80", JM_EWIRE},
        {"an array", ORDER, "92 0001", JM_EWIRE},
        {"another version", ORDER, "82 0002 0102", JM_EWIRE},
        {"version 0", ORDER, "82 0000 0102", JM_EWIRE},
        {"the version not first", ORDER, "82 0102 0001", JM_EWIRE},
        {"no version", ORDER, "81 0102", JM_EWIRE},
        {"the version twice", ORDER, "83 0001 0001 0102", JM_EWIRE},
        {"a version that is text", ORDER, "82 00a131 0102", JM_EWIRE},
        {"a byte behind the map", ORDER, "82 0001 0102 c0", JM_EWIRE},
        {"a pair that is missing", ORDER, "83 0001 0102", JM_EWIRE},
        {"integers in longer forms than needed", ORDER, "82 cc00 cd0001 d001 cf0000000000000002",
         0},
        {"a map head in a longer form", ORDER, "de0002 0001 0102", 0},
        {"keys in another order", ORDER, "84 0001 0301 0205 0101", 0},
        {"a known key twice", ORDER, "83 0001 0102 0102", JM_EWIRE},
        {"an unknown key with a scalar", ORDER, "83 0001 0102 10c3", 0},
        {"an unknown key with nested values", ORDER, "83 0001 1092 81a16bc0 90 0102", 0},
        {"an unknown key with an ext", ORDER, "83 0001 0102 10d60102030405", 0},
        {"an unknown key twice", ORDER, "84 0001 0102 10c0 10c0", 0},
        {"a large unknown key", ORDER, "83 0001 0102 ceffffffff01", 0},
        {"a key above 32 bits", ORDER, "83 0001 0102 cf000000010000000001", JM_EWIRE},
        {"a key that is text", ORDER, "83 0001 0102 a16b01", JM_EWIRE},
        {"a negative key", ORDER, "83 0001 0102 ff01", JM_EWIRE},
        {"an unknown value that is cut off", ORDER, "83 0001 0102 109201", JM_EWIRE},
        {"the reserved byte as an unknown value", ORDER, "83 0001 0102 10c1", JM_EWIRE},
        {"a kind that is missing", ORDER, "83 0001 0205 0301", JM_EWIRE},
        {"a kind of 0", ORDER, "82 0001 0100", JM_EWIRE},
        {"a kind that is not known", ORDER, "82 0001 0103", JM_EWIRE},
        {"a kind that is text", ORDER, "82 0001 01a132", JM_EWIRE},
        {"a kind that is a float", ORDER, "82 0001 01ca40000000", JM_EWIRE},
        {"a kill without an id", ORDER, "83 0001 0101 0301", JM_EWIRE},
        {"a kill without an attempt", ORDER, "83 0001 0101 0205", JM_EWIRE},
        {"a kill", ORDER, "84 0001 0101 0205 0301", 0},
        {"an id of ID_MAX", ORDER, "84 0001 0101 02cf7fffffffffffffff 0301", 0},
        {"an id above ID_MAX", ORDER, "84 0001 0101 02cf8000000000000000 0301", JM_EWIRE},
        {"a negative id", ORDER, "84 0001 0101 02ff 0301", JM_EWIRE},

        {"the smallest job", JOB, "85 0001 0201 0301 06a171 07a174", 0},
        {"a job without an id", JOB, "84 0001 0301 06a171 07a174", JM_EWIRE},
        {"a job with id 0", JOB, "85 0001 0200 0301 06a171 07a174", JM_EWIRE},
        {"a job without an attempt", JOB, "84 0001 0201 06a171 07a174", JM_EWIRE},
        {"a job with attempt 0", JOB, "85 0001 0201 0300 06a171 07a174", JM_EWIRE},
        {"an attempt above 32 bits", JOB, "85 0001 0201 03cf0000000100000000 06a171 07a174",
         JM_EWIRE},
        {"a job without a queue", JOB, "84 0001 0201 0301 07a174", JM_EWIRE},
        {"a job with an empty queue", JOB, "85 0001 0201 0301 06a0 07a174", JM_EWIRE},
        {"a job without a task", JOB, "84 0001 0201 0301 06a171", JM_EWIRE},
        {"a task's name with a slash", JOB, "85 0001 0201 0301 06a171 07a22f74", JM_EWIRE},
        {"a task's name with a NUL", JOB, "85 0001 0201 0301 06a171 07a27400", JM_EWIRE},
        {"a queue's name as bin", JOB, "85 0001 0201 0301 06c40171 07a174", JM_EWIRE},
        {"the largest node", JOB, "86 0001 01cd03ff 0201 0301 06a171 07a174", 0},
        {"a node above the largest", JOB, "86 0001 01cd0400 0201 0301 06a171 07a174", JM_EWIRE},
        {"a node of 0 that is written out", JOB, "86 0001 0100 0201 0301 06a171 07a174", 0},
        {"args as bin", JOB, "86 0001 0201 0301 06a171 07a174 08c40180", 0},
        {"args that are empty", JOB, "86 0001 0201 0301 06a171 07a174 08c400", 0},
        {"args as str", JOB, "86 0001 0201 0301 06a171 07a174 08a180", JM_EWIRE},
        {"args as a bare value", JOB, "86 0001 0201 0301 06a171 07a174 0880", JM_EWIRE},
        {"a nil in place of a number", JOB, "86 0001 0201 0301 04c0 06a171 07a174", JM_EWIRE},
        {"the longest timeout", JOB, "86 0001 0201 0301 04ce240c8400 06a171 07a174", 0},
        {"a timeout above the longest", JOB, "86 0001 0201 0301 04ce240c8401 06a171 07a174",
         JM_EWIRE},

        {"the smallest event", EVENT, "84 0001 0101 0201 0301", 0},
        {"an event of kind 8", EVENT, "84 0001 0108 0201 0301", JM_EWIRE},
        {"an event of kind 0", EVENT, "84 0001 0100 0201 0301", JM_EWIRE},
        {"an event without an id", EVENT, "83 0001 0101 0301", JM_EWIRE},
        {"an event without an attempt", EVENT, "83 0001 0101 0201", JM_EWIRE},
        {"the last slot", EVENT, "85 0001 0101 0201 0301 05ccff", 0},
        {"a slot above the last", EVENT, "85 0001 0101 0201 0301 05cd0100", JM_EWIRE},
        {"has_begun as a number", EVENT, "85 0001 0101 0201 0301 0701", JM_EWIRE},
        {"has_begun false", EVENT, "85 0001 0101 0201 0301 07c2", 0},
        {"a time before 1970", EVENT, "85 0001 0101 0201 0301 08ff", 0},
        {"a time above int64", EVENT, "85 0001 0101 0201 0301 08cf8000000000000000", JM_EWIRE},
        {"a run time above int64", EVENT, "85 0001 0101 0201 0301 09cf8000000000000000", JM_EWIRE},
        {"a message that is not UTF-8", EVENT, "85 0001 0103 0201 0301 0ca1ff", JM_EWIRE},
        {"a message with an overlong NUL", EVENT, "85 0001 0103 0201 0301 0ca2c080", JM_EWIRE},
        {"a retry after the longest time", EVENT, "86 0001 0103 0201 0301 1302 14ce240c8400", 0},
        {"a retry after more", EVENT, "86 0001 0103 0201 0301 1302 14ce240c8401", JM_EWIRE},
        {"a retry that is not known", EVENT, "85 0001 0103 0201 0301 1303", JM_EWIRE},
        {"a signal of 256", EVENT, "85 0001 0104 0201 0301 0ecd0100", JM_EWIRE},

        {"the smallest beat", BEAT, "83 0001 0101 0201", 0},
        {"a beat without a host", BEAT, "82 0001 0201", JM_EWIRE},
        {"a beat without a number", BEAT, "82 0001 0101", JM_EWIRE},
        {"a held job", BEAT, "84 0001 0101 0201 0991 96000101c20000", 0},
        {"a held job with progress", BEAT, "84 0001 0101 0201 0991 99000101c300000509a16d", 0},
        {"a held job of a newer writer", BEAT, "84 0001 0101 0201 0991 9a000101c300000509a091c0",
         0},
        {"a held job with half of its progress", BEAT, "84 0001 0101 0201 0991 98000101c300000509",
         JM_EWIRE},
        {"progress that is no number", BEAT, "84 0001 0101 0201 0991 99000101c30000c009a0",
         JM_EWIRE},
        {"negative progress", BEAT, "84 0001 0101 0201 0991 99000101c30000ff09a0", JM_EWIRE},
        {"progress in words that are not UTF-8", BEAT,
         "84 0001 0101 0201 0991 99000101c300000509a1ff", JM_EWIRE},
        {"a held job with too little", BEAT, "84 0001 0101 0201 0991 95000101c200", JM_EWIRE},
        {"a held job with id 0", BEAT, "84 0001 0101 0201 0991 96000001c20000", JM_EWIRE},
        {"a held job with attempt 0", BEAT, "84 0001 0101 0201 0991 96000100c20000", JM_EWIRE},
        {"a held job that is cut off", BEAT, "84 0001 0101 0201 0992 96000101c20000", JM_EWIRE},
        {"held jobs as bin", BEAT, "84 0001 0101 0201 09c40190", JM_EWIRE},
        {"a task", BEAT, "84 0001 0101 0201 0a91 93a174a162a0", 0},
        {"a task of a newer writer", BEAT, "84 0001 0101 0201 0a91 94a174a162a080", 0},
        {"a task without a name", BEAT, "84 0001 0101 0201 0a91 93a0a162a0", JM_EWIRE},
        {"a task with too little", BEAT, "84 0001 0101 0201 0a91 92a174a162", JM_EWIRE},
        {"a queue", BEAT, "84 0001 0101 0201 0b91a171", 0},
        {"a queue's name that is empty", BEAT, "84 0001 0101 0201 0b91a0", JM_EWIRE},
        {"more queues than there may be", BEAT, "84 0001 0101 0201 0bdc1001", JM_EWIRE},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(cases); i++) {
        uint8_t bytes[128];
        size_t len = hex_parse(span_of_str(cases[i].hex), sizeof(bytes), bytes);
        int got = decode_any(cases[i].message, guard_copy(&guard, span_of(bytes, len)));

        if (got != cases[i].expected)
            fail_msg("%s: got %d, expected %d", cases[i].title, got, cases[i].expected);
    }
}

static void names_are_taken_up_to_their_longest(void **state)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    struct wire_job job = full_job();
    struct wire_job back;

    (void)state;
    job.queue = span_of(name, JM_QUEUE_NAME_BYTES);
    job.task = span_of(name + 1, JM_TASK_NAME_BYTES);
    wire_encode_job(&out, &job);
    assert_int_equal(wire_decode_job(take_frame(), &back), 0);
    assert_job_equal(&job, &back);
    job.task.data--;
    job.task.len++;
    wire_encode_job(&out, &job);
    assert_int_equal(wire_decode_job(take_frame(), &back), JM_EWIRE);
}

static void unknown_values_are_skipped_to_depth_100(void **state)
{
    struct wire_order order;

    (void)state;
    for (unsigned depth = 100; depth <= 101; depth++) {
        buf_put(&out, "\x83\x00\x01\x01\x02\x20", 6);
        for (unsigned i = 0; i < depth; i++)
            buf_put_u8(&out, 0x91);
        buf_put_u8(&out, 0xc0);
        assert_int_equal(wire_decode_order(take_frame(), &order), depth == 100 ? 0 : JM_EWIRE);
    }
}

static void a_refused_message_leaves_the_output_untouched(void **state)
{
    struct wire_order order = {.kind = WIRE_KILL, .id = 77, .attempt = 7};

    (void)state;
    assert_int_equal(wire_decode_order(TEXT("\x84\x00\x01\x01\x02\x02\x05\x03\xff"), &order),
                     JM_EWIRE);
    assert_int_equal(order.kind, WIRE_KILL);
    assert_int_equal(order.id, 77);
    assert_int_equal(order.attempt, 7);
}

static void a_strange_message_is_cleaned_and_cut_when_it_is_written(void **state)
{
    uint8_t noise[JM_STDERR_TAIL_BYTES + 100];
    struct wire_event event = {.kind = WIRE_FAILED, .id = 1, .attempt = 1};
    struct wire_event back;

    (void)state;
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)(i * 7);
    event.message = TEXT("bad \xff byte");
    event.stderr_tail = span_of(noise, sizeof(noise));
    wire_encode_event(&out, &event);
    assert_int_equal(wire_decode_event(take_frame(), &back), 0);
    assert_span_equal(back.message, TEXT("bad \xef\xbf\xbd byte"));
    assert_span_equal(back.stderr_tail, span_of(noise + 100, JM_STDERR_TAIL_BYTES));
    event.message = span_of(noise, sizeof(noise));
    wire_encode_event(&out, &event);
    assert_int_equal(wire_decode_event(take_frame(), &back), 0);
    assert_in_range(back.message.len, JM_ERROR_MESSAGE_BYTES - 3, JM_ERROR_MESSAGE_BYTES);
}

static void words_of_progress_are_cut_between_characters(void **state)
{
    struct wire_held held = {.id = 1, .attempt = 1, .has_begun = true}, back;
    struct mp_cursor c;
    char words[JM_PROGRESS_MESSAGE_BYTES + 5] = "x";

    (void)state;
    for (size_t i = 1; i + 1 < sizeof(words); i += 2)
        memcpy(words + i, "\xc3\xa4", 2);
    held.message = span_of(words, JM_PROGRESS_MESSAGE_BYTES + 4); /* its last character is cut */
    wire_encode_list(&out, 1);
    wire_encode_held(&out, &held);
    wire_open_list(take_frame(), &c);
    assert_true(wire_next_held(&c, &back));
    assert_span_equal(back.message, span_of(words, JM_PROGRESS_MESSAGE_BYTES - 1));
}

static void an_encoder_without_room_makes_the_buffer_fail(void **state)
{
    struct wire_job job = full_job();
    struct buf small;

    (void)state;
    for (size_t room = 0; room < 40; room++) {
        buf_init(&small, room);
        wire_encode_job(&small, &job);
        assert_true(buf_has_failed(&small));
        buf_done(&small);
    }
}

/* Damage must be refused or read as another valid message; ASan and the guard page watch. */
static void a_damaged_message_never_leads_outside_its_bytes(void **state)
{
    uint8_t bytes[1024];
    size_t len;
    unsigned refused = 0;

    (void)state;
    encode_full_beat();
    memcpy(bytes, out.data, len = out.len);
    buf_clear(&out);
    for (size_t at = 0; at < len; at++) {
        uint8_t kept = bytes[at];

        for (unsigned value = 0; value < 256; value++) {
            bytes[at] = (uint8_t)value;
            refused += decode_any(BEAT, guard_copy(&guard, span_of(bytes, len))) != 0;
        }
        bytes[at] = kept;
    }
    assert_true(refused > 0);
    assert_int_equal(decode_any(BEAT, span_of(bytes, len)), 0);
}

/* Decodes a message and encodes it again into `out`. */
static int recode(const char *kind, struct span frame)
{
    struct wire_job job;
    struct wire_event event;
    struct wire_order order;
    struct wire_beat beat;

    if (strcmp(kind, "job") == 0 && wire_decode_job(frame, &job) == 0) {
        wire_encode_job(&out, &job);
        return 0;
    }
    if (strcmp(kind, "event") == 0 && wire_decode_event(frame, &event) == 0) {
        wire_encode_event(&out, &event);
        return 0;
    }
    if (strcmp(kind, "order") == 0 && wire_decode_order(frame, &order) == 0) {
        wire_encode_order(&out, &order);
        return 0;
    }
    if (strcmp(kind, "beat") == 0 && wire_decode_beat(frame, &beat) == 0) {
        wire_encode_beat(&out, &beat);
        return 0;
    }
    return JM_EWIRE;
}

/* Reads one "```hex KIND" block behind its first line: hex up to '#' in each line. */
static struct span read_hex_block(FILE *file, uint8_t *bytes, size_t room)
{
    char line[512];
    size_t len = 0;

    while (fgets(line, sizeof(line), file) != NULL && strncmp(line, "```", 3) != 0)
        len += hex_parse(span_of_str(line), room - len, bytes + len);
    return guard_copy(&guard, span_of(bytes, len));
}

static void the_examples_in_the_protocol_are_messages_as_we_write_them(void **state)
{
    FILE *file = fopen(JM_SOURCE_DIR "/schema/PROTOCOL.md", "r");
    char line[512];
    char kind[16];
    unsigned count = 0;

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        uint8_t bytes[1024];
        struct span frame;

        if (sscanf(line, "```hex %15s", kind) != 1)
            continue;
        frame = read_hex_block(file, bytes, sizeof(bytes));
        if (recode(kind, frame) != 0)
            fail_msg("example %u is no %s", count + 1, kind);
        assert_span_equal(buf_span(&out), frame);
        buf_clear(&out);
        count++;
    }
    fclose(file);
    assert_int_equal(count, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_with_every_field_is_read_back),
        cmocka_unit_test(a_job_with_the_required_fields_only_is_read_back),
        cmocka_unit_test(an_event_with_every_field_is_read_back),
        cmocka_unit_test(an_event_of_each_kind_is_read_back),
        cmocka_unit_test(an_order_is_read_back),
        cmocka_unit_test(a_beat_with_its_lists_is_read_back),
        cmocka_unit_test(a_beat_without_lists_has_empty_ones),
        cmocka_unit_test(every_shortened_message_is_refused),
        cmocka_unit_test(messages_by_hand_are_taken_or_refused),
        cmocka_unit_test(names_are_taken_up_to_their_longest),
        cmocka_unit_test(unknown_values_are_skipped_to_depth_100),
        cmocka_unit_test(a_refused_message_leaves_the_output_untouched),
        cmocka_unit_test(a_strange_message_is_cleaned_and_cut_when_it_is_written),
        cmocka_unit_test(words_of_progress_are_cut_between_characters),
        cmocka_unit_test(an_encoder_without_room_makes_the_buffer_fail),
        cmocka_unit_test(a_damaged_message_never_leads_outside_its_bytes),
        cmocka_unit_test(the_examples_in_the_protocol_are_messages_as_we_write_them),
    };
    int failed;

    guard_init(&guard);
    buf_init(&out, FRAME_BYTES);
    failed = cmocka_run_group_tests_name("wire", tests, NULL, NULL);
    buf_done(&out);
    guard_done(&guard);
    return failed;
}
