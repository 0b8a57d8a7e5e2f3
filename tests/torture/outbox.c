/*
 * outbox.c: a worker's events on their way to Redis while the n-th allocation of a send fails, for
 * every n: each arrives soon, without another event that takes it along. It arms the area (area.h)
 * itself, and only around the send. Usage: torture_outbox SOCKET
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "schema/errors.h"
#include "tests/torture/area.h"
#include "worker/outbox.h"

enum { ROUNDS = 200, SOON_MS = 5000 };

struct test {
    uv_loop_t loop;
    struct redis_line *link;
    struct outbox outbox;
    uv_timer_t soon;
    struct torture_area *area;
    bool is_late;
};

static struct test test;

static void on_state(void *data, bool is_up, const char *words)
{
    (void)data;
    (void)words;
    if (is_up)
        outbox_flush(&test.outbox);
}

static void on_empty(struct outbox *outbox)
{
    (void)outbox;
}

static void on_late(uv_timer_t *timer)
{
    (void)timer;
    test.is_late = true;
}

static bool is_up(void)
{
    return redis_line_is_up(test.link);
}

static bool is_empty(void)
{
    return outbox_is_empty(&test.outbox);
}

static bool turn_until(bool (*is_done)(void))
{
    if (uv_timer_start(&test.soon, on_late, SOON_MS, 0) != 0)
        return false;
    while (!is_done() && !test.is_late)
        (void)uv_run(&test.loop, UV_RUN_ONCE);
    return !test.is_late;
}

static void flush_with_failure(uint64_t n)
{
    atomic_store(&test.area->seen, 0);
    atomic_store(&test.area->fired, 0);
    atomic_store(&test.area->at, n);
    atomic_store(&test.area->error, ENOMEM);
    atomic_store(&test.area->kind, TORTURE_ALLOC);
    outbox_flush(&test.outbox);
    atomic_store(&test.area->kind, TORTURE_NONE);
}

/* The event's job is its round. True if an allocation failed. */
static bool run_round(uint64_t n)
{
    struct wire_event event = {.kind = WIRE_SUCCEEDED, .id = n, .attempt = 1};
    struct wire_held held = {.id = n, .attempt = 1};

    if (!turn_until(is_up) || !outbox_put(&test.outbox, &held, &event))
        return false;
    flush_with_failure(n);
    return turn_until(is_empty) && atomic_load(&test.area->fired) != 0;
}

static void open_area(void)
{
    const char *path = getenv("JM_TORTURE_AREA");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;

    test.area = mmap(NULL, TORTURE_AREA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static bool open_all(const char *socket)
{
    struct redis_address address;
    char words[120];

    snprintf(words, sizeof(words), "unix:%s", socket);
    open_area();
    return test.area != MAP_FAILED && uv_loop_init(&test.loop) == 0 &&
           uv_timer_init(&test.loop, &test.soon) == 0 && redis_parse_address(words, &address) &&
           redis_line_open(&test.loop, &address, on_state, NULL, &test.link) == 0 &&
           outbox_open(&test.outbox, &test.loop, test.link, on_empty) == 0;
}

int main(int argc, char **argv)
{
    uint64_t n = 1;

    if (!open_all(argc > 1 ? argv[1] : ""))
        return 2;
    while (n < ROUNDS && run_round(n))
        n++;
    redis_line_close(test.link);
    outbox_close(&test.outbox);
    uv_close((uv_handle_t *)&test.soon, NULL);
    (void)uv_run(&test.loop, UV_RUN_DEFAULT);
    printf("%u allocations failed%s\n", (unsigned)n - 1,
           test.is_late ? ", and what was to be sent then was not" : "");
    return test.is_late || n < 3 || n == ROUNDS || uv_loop_close(&test.loop) != 0;
}
