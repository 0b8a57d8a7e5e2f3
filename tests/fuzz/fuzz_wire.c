/*
 * Any bytes as each of the messages: what decodes is encoded again, decodes again, and is then
 * encoded to the same bytes. The lists of a beat are walked to their ends.
 */
#include <stdlib.h>

#include "lib/mp.h"
#include "schema/wire.h"
#include "tests/fuzz/mutate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Decodes `input` as a message of one kind and appends its encoding; false if it is none. */
typedef bool recode(struct span input, struct buf *out);

static bool recode_job(struct span input, struct buf *out)
{
    struct wire_job job;

    if (wire_decode_job(input, &job) != 0)
        return false;
    require(job.id > 0 && job.attempt > 0 && job.queue.len > 0 && job.task.len > 0);
    wire_encode_job(out, &job);
    return true;
}

static bool recode_event(struct span input, struct buf *out)
{
    struct wire_event event;

    if (wire_decode_event(input, &event) != 0)
        return false;
    require(event.id > 0 && event.attempt > 0);
    require(wire_event_word(event.kind) != NULL);
    wire_encode_event(out, &event);
    return true;
}

static bool recode_order(struct span input, struct buf *out)
{
    struct wire_order order;

    if (wire_decode_order(input, &order) != 0)
        return false;
    wire_encode_order(out, &order);
    return true;
}

static void walk_lists(const struct wire_beat *beat)
{
    struct mp_cursor c;
    struct wire_held held;
    struct wire_task task;
    struct span name;

    for (wire_open_list(beat->held, &c); wire_next_held(&c, &held);)
        require(held.id > 0 && held.attempt > 0);
    require(mp_is_at_end(&c));
    for (wire_open_list(beat->tasks, &c); wire_next_task(&c, &task);)
        require(task.name.len > 0);
    require(mp_is_at_end(&c));
    for (wire_open_list(beat->queues, &c); wire_next_name(&c, &name);)
        require(name.len > 0);
    require(mp_is_at_end(&c));
}

static bool recode_beat(struct span input, struct buf *out)
{
    struct wire_beat beat;

    if (wire_decode_beat(input, &beat) != 0)
        return false;
    walk_lists(&beat);
    wire_encode_beat(out, &beat);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static recode *const kinds[] = {recode_job, recode_event, recode_order, recode_beat};
    struct buf first;
    struct buf second;

    buf_init(&first, 1 << 20);
    buf_init(&second, 1 << 20);
    for (size_t i = 0; i < JM_COUNT_OF(kinds); i++) {
        buf_clear(&first);
        buf_clear(&second);
        if (!kinds[i](span_of(data, size), &first))
            continue;
        require(first.len <= size); /* ours is the shortest form */
        require(kinds[i](buf_span(&first), &second));
        require(span_is_equal(buf_span(&first), buf_span(&second)));
    }
    buf_done(&first);
    buf_done(&second);
    return 0;
}
