/*
 * outbox.h: the parent's events on their way to the brokers. An entry leaves only when Redis has
 * confirmed it; until then it is sent again after each failure (the broker drops repeats) and the
 * heartbeat names its job. Loop thread only.
 *
 * It is bounded by what the slots can hold, for each event but RUNNING is the end of a held job,
 * and RUNNING is given up when the outbox is long.
 */
#ifndef WORKER_OUTBOX_H
#define WORKER_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/list.h"
#include "schema/wire.h"
#include "worker/redis.h"

struct outbox {
    struct list entries; /* outbox_entry, oldest first */
    size_t count;
    size_t sent_count; /* the first so many are in the LPUSH in flight */
    struct redis_line *link;
    struct redis_command push;
    uv_timer_t retry;
    bool is_failing; /* told already */
    void (*on_empty)(struct outbox *outbox);
};

/* One event. `held` is what the heartbeat says of its job. */
struct outbox_entry {
    struct list node;
    struct wire_held held;
    bool is_end; /* not RUNNING */
    size_t len;
    uint8_t frame[];
};

/* `link` is borrowed; `on_empty` is called when Redis has confirmed the last entry. Returns 0 or
 * JM_EIO. */
int outbox_open(struct outbox *outbox, uv_loop_t *loop, struct redis_line *link,
                void (*on_empty)(struct outbox *outbox)) JM_MUST_CHECK;

/* Drops what is left. The caller has closed the link. */
void outbox_close(struct outbox *outbox);

/* Adds an event, or an end that a child has encoded. `held` and the frame are copied. False if
 * there is no memory, which is logged: brokers then find the job lost when it is named no more. */
bool outbox_put(struct outbox *outbox, const struct wire_held *held,
                const struct wire_event *event);
bool outbox_put_frame(struct outbox *outbox, const struct wire_held *held, struct span frame);

/* Sends what waits, if nothing is in flight and the link is up. To be called after puts, and when
 * the link has come up. */
void outbox_flush(struct outbox *outbox);

bool outbox_is_empty(const struct outbox *outbox);

#endif
