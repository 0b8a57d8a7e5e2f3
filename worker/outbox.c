/*
 * outbox.c: one LPUSH at a time, with the first entries that go to the same node. The order is kept
 * within a node, so that a job's RUNNING never comes behind its end.
 */
#include "worker/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "lib/crash.h"
#include "lib/log.h"
#include "schema/errors.h"
#include "schema/keys.h"
#include "schema/limits.h"

enum {
    OUTBOX_PUSH_ENTRIES = 128,
    OUTBOX_PUSH_BYTES = 1 << 20,
    OUTBOX_RUNNING_MAX = 4096, /* with more entries, RUNNING is given up */
    OUTBOX_RETRY_MS = 200,
};

static void on_pushed(struct redis_command *command, int error, const struct redis_claim *claim);

int outbox_open(struct outbox *outbox, uv_loop_t *loop, struct redis_line *link,
                void (*on_empty)(struct outbox *outbox))
{
    *outbox = (struct outbox){.link = link, .push = {.done = on_pushed}, .on_empty = on_empty};
    list_init(&outbox->entries);
    return uv_timer_init(loop, &outbox->retry) == 0 ? 0 : JM_EIO;
}

static void drop_first(struct outbox *outbox)
{
    struct list *node = list_pop_front(&outbox->entries);

    outbox->count--;
    free(LIST_ENTRY(node, struct outbox_entry, node));
}

void outbox_close(struct outbox *outbox)
{
    while (!list_is_empty(&outbox->entries))
        drop_first(outbox);
    uv_close((uv_handle_t *)&outbox->retry, NULL);
}

static bool put(struct outbox *outbox, const struct wire_held *held, struct span frame, bool is_end)
{
    struct outbox_entry *entry = malloc(sizeof(*entry) + frame.len);

    if (entry == NULL) {
        log_error("no memory for an event of %zu bytes", frame.len);
        return false;
    }
    entry->held = *held;
    entry->is_end = is_end;
    entry->len = frame.len;
    memcpy(entry->frame, frame.data, frame.len);
    list_push_back(&outbox->entries, &entry->node);
    outbox->count++;
    return true;
}

bool outbox_put(struct outbox *outbox, const struct wire_held *held, const struct wire_event *event)
{
    struct buf frame;
    bool is_put = false;

    if (event->kind == WIRE_RUNNING && outbox->count >= OUTBOX_RUNNING_MAX)
        return true;
    buf_init(&frame, JM_EVENT_BYTES);
    wire_encode_event(&frame, event);
    if (buf_has_failed(&frame))
        log_error("no memory for an event");
    else
        is_put = put(outbox, held, buf_span(&frame), event->kind != WIRE_RUNNING);
    buf_done(&frame);
    return is_put;
}

bool outbox_put_frame(struct outbox *outbox, const struct wire_held *held, struct span frame)
{
    return put(outbox, held, frame, true);
}

/* The words of one LPUSH into `words`; returns how many entries it carries. */
static size_t gather(struct outbox *outbox, struct span *words)
{
    uint32_t node_id = LIST_ENTRY(outbox->entries.next, struct outbox_entry, node)->held.node;
    size_t count = 0, bytes = 0;

    LIST_EACH(node, &outbox->entries)
    {
        struct outbox_entry *entry = LIST_ENTRY(node, struct outbox_entry, node);

        if (entry->held.node != node_id || count == OUTBOX_PUSH_ENTRIES ||
            (count > 0 && bytes + entry->len > OUTBOX_PUSH_BYTES))
            break;
        bytes += entry->len;
        words[count++] = span_of(entry->frame, entry->len);
    }
    return count;
}

static void on_retry(uv_timer_t *timer)
{
    outbox_flush(JM_CONTAINER_OF(timer, struct outbox, retry));
}

static void flush_later(struct outbox *outbox)
{
    (void)uv_timer_start(&outbox->retry, on_retry, OUTBOX_RETRY_MS, 0);
}

void outbox_flush(struct outbox *outbox)
{
    struct span words[2 + OUTBOX_PUSH_ENTRIES];
    char key[KEYS_BYTES];
    size_t count;

    if (outbox->push.is_in_flight || list_is_empty(&outbox->entries) ||
        uv_is_active((uv_handle_t *)&outbox->retry))
        return;
    count = gather(outbox, words + 2);
    keys_results(key, LIST_ENTRY(outbox->entries.next, struct outbox_entry, node)->held.node);
    words[0] = span_of_str("LPUSH");
    words[1] = span_of_str(key);
    CRASH_POINT("before-events");
    if (redis_line_send(outbox->link, &outbox->push, words, 2 + count) == 0)
        outbox->sent_count = count;
    else if (redis_line_is_up(outbox->link))
        flush_later(outbox); /* no memory; when a link comes up, the outbox is flushed anyway */
}

static void on_pushed(struct redis_command *command, int error, const struct redis_claim *claim)
{
    struct outbox *outbox = JM_CONTAINER_OF(command, struct outbox, push);

    (void)claim;
    CRASH_POINT("events-published");
    if (error == 0) {
        while (outbox->sent_count-- > 0)
            drop_first(outbox);
        outbox->is_failing = false;
    } else if (error == JM_EREFUSED) {
        if (!outbox->is_failing)
            log_warn("Redis refuses events: %s", command->error);
        outbox->is_failing = true;
        flush_later(outbox);
    }
    outbox->sent_count = 0;
    if (list_is_empty(&outbox->entries))
        outbox->on_empty(outbox);
    else
        outbox_flush(outbox);
}

bool outbox_is_empty(const struct outbox *outbox)
{
    return list_is_empty(&outbox->entries);
}
