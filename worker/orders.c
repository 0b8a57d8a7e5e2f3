#include "worker/orders.h"

#include "lib/log.h"
#include "schema/errors.h"
#include "schema/keys.h"

enum {
    ORDERS_BLOCK_S = 30,
    ORDERS_SILENT_MS = (ORDERS_BLOCK_S + 5) * 1000,
    ORDERS_RETRY_MS = 1000,
};

static void listen_for(struct orders *orders);

static void on_silent(uv_timer_t *timer)
{
    struct orders *orders = JM_CONTAINER_OF(timer, struct orders, timer);

    if (orders->command.is_in_flight)
        redis_line_break(orders->link, "no answer to the wait for orders");
    else
        listen_for(orders);
}

/* Of a list full of rubbish, once for 1, 2, 4, 8 … */
static void tell_bad_order(struct orders *orders)
{
    orders->bad_count++;
    if ((orders->bad_count & (orders->bad_count - 1)) == 0)
        log_warn("an order cannot be decoded and is dropped (number %u)", orders->bad_count);
}

static void on_answer(struct redis_command *command, int error, const struct redis_claim *claim)
{
    struct orders *orders = JM_CONTAINER_OF(command, struct orders, command);
    struct wire_order order;

    for (size_t i = 0; i < claim->count; i++) {
        if (wire_decode_order(redis_claim_frame(claim, i), &order) == 0)
            orders->on_order(orders->data, &order);
        else
            tell_bad_order(orders);
    }
    if (error == 0)
        listen_for(orders);
    else if (error == JM_EREFUSED) /* as while Redis loads; the timer asks again */
        (void)uv_timer_start(&orders->timer, on_silent, ORDERS_RETRY_MS, 0);
}

static void listen_for(struct orders *orders)
{
    char key[KEYS_BYTES];
    struct span words[] = {span_of_str("BLMPOP"), span_of_str("30"),    span_of_str("1"),
                           span_of_str(""),       span_of_str("RIGHT"), span_of_str("COUNT"),
                           span_of_str("100")};
    bool is_sent;

    if (orders->command.is_in_flight)
        return;
    keys_control(key, orders->host);
    words[3] = span_of_str(key);
    is_sent = redis_line_send(orders->link, &orders->command, words, JM_COUNT_OF(words)) == 0;
    (void)uv_timer_start(&orders->timer, on_silent, is_sent ? ORDERS_SILENT_MS : ORDERS_RETRY_MS,
                         0);
}

static void on_state(void *data, bool is_up, const char *words)
{
    struct orders *orders = data;

    (void)words; /* the other link tells the log */
    if (is_up)
        listen_for(orders);
    else
        (void)uv_timer_stop(&orders->timer);
}

int orders_open(struct orders *orders, uv_loop_t *loop, const struct redis_address *address,
                uint64_t host, orders_cb on_order, void *data)
{
    *orders = (struct orders){
        .command = {.done = on_answer}, .host = host, .on_order = on_order, .data = data};
    if (uv_timer_init(loop, &orders->timer) != 0)
        return JM_EIO;
    return redis_line_open(loop, address, on_state, orders, &orders->link);
}

void orders_close(struct orders *orders)
{
    redis_line_close(orders->link);
    uv_close((uv_handle_t *)&orders->timer, NULL);
}
