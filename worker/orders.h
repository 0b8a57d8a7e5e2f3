/*
 * orders.h: takes the brokers' orders from this host's control list, on a connection of its own
 * that is blocked there. Loop thread only.
 */
#ifndef WORKER_ORDERS_H
#define WORKER_ORDERS_H

#include <uv.h>

#include "lib/attr.h"
#include "schema/wire.h"
#include "worker/redis.h"

typedef void (*orders_cb)(void *data, const struct wire_order *order);

struct orders {
    struct redis_line *link;
    struct redis_command command;
    uv_timer_t timer; /* a silent link, or the wait after a refusal */
    uint64_t host;
    unsigned bad_count;
    orders_cb on_order;
    void *data;
};

int orders_open(struct orders *orders, uv_loop_t *loop, const struct redis_address *address,
                uint64_t host, orders_cb on_order, void *data) JM_MUST_CHECK;
void orders_close(struct orders *orders);

#endif
