/*
 * link.c: the broker's link to Redis while the n-th allocation of a send fails, for every n: each
 * command that was taken gets its own answer or none, and one that was refused was never sent. It
 * arms the area (area.h) itself, and only around the sends. Usage: torture_link SOCKET
 */
#include <errno.h>
#include <fcntl.h>
#include <hiredis/async.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "broker/redis_link.h"
#include "tests/torture/area.h"

enum { COMMANDS = 6, ROUNDS = 200, TURN_LIMIT = 200000 };

struct test {
    uv_loop_t loop;
    struct redis_address address;
    struct redis_link link;
    struct torture_area *area;
    unsigned round;
    unsigned open;    /* commands that have no answer yet */
    unsigned refused; /* so many were not taken, in all rounds */
    bool is_closed;
    const char *fault;
};

static struct test test;

static void on_state(struct redis_link *l)
{
    (void)l;
}

static void on_closed(struct redis_link *l)
{
    (void)l;
    test.is_closed = true;
}

/* An ECHO knows its answer. */
static void on_reply(redisAsyncContext *ac, void *reply, void *data)
{
    const redisReply *r = reply;
    const char *expected = data;

    (void)ac;
    test.open--;
    if (r == NULL)
        return;
    if (r->type != REDIS_REPLY_STRING || strcmp(r->str, expected) != 0)
        test.fault = "a command got the answer of another one";
}

static void turn_until(bool (*is_done)(void))
{
    for (unsigned i = 0; i < TURN_LIMIT && !is_done() && test.fault == NULL; i++) {
        redis_link_flush(&test.link);
        (void)uv_run(&test.loop, UV_RUN_ONCE);
    }
    if (!is_done() && test.fault == NULL)
        test.fault = "it hangs";
}

static bool is_up(void)
{
    return test.link.is_up && test.link.ac->c.err == 0;
}

static bool has_no_open(void)
{
    return test.open == 0;
}

static bool is_closed(void)
{
    return test.is_closed;
}

/* True if an allocation failed. */
static bool run_round(uint64_t n)
{
    static char words[COMMANDS][16];
    bool has_fired;

    turn_until(is_up);
    atomic_store(&test.area->seen, 0);
    atomic_store(&test.area->fired, 0);
    atomic_store(&test.area->at, n);
    atomic_store(&test.area->error, ENOMEM);
    for (int i = 0; i < COMMANDS; i++) {
        const char *argv[] = {"ECHO", words[i]};
        size_t lens[] = {4, 0};

        lens[1] = (size_t)snprintf(words[i], sizeof(words[i]), "%u-%d", test.round, i);
        atomic_store(&test.area->kind, TORTURE_ALLOC);
        if (redis_link_send(&test.link, on_reply, words[i], 2, argv, lens) == 0)
            test.open++;
        else
            test.refused++;
        atomic_store(&test.area->kind, TORTURE_NONE);
    }
    has_fired = atomic_load(&test.area->fired) != 0;
    turn_until(has_no_open);
    test.round++;
    return has_fired;
}

static struct torture_area *open_area(void)
{
    const char *path = getenv("JM_TORTURE_AREA");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;

    return mmap(NULL, TORTURE_AREA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

int main(int argc, char **argv)
{
    char address[120];
    uint64_t n = 1;

    test.area = open_area();
    snprintf(address, sizeof(address), "unix:%s", argc > 1 ? argv[1] : "");
    test.link = (struct redis_link){
        .purpose = "torture", .on_up = on_state, .on_down = on_state, .on_closed = on_closed};
    if (test.area == MAP_FAILED || uv_loop_init(&test.loop) != 0 ||
        redis_address_parse(address, &test.address) != 0 ||
        redis_link_init(&test.link, &test.loop, &test.address) != 0)
        return 2;
    redis_link_start(&test.link);
    while (n < ROUNDS && run_round(n) && test.fault == NULL)
        n++;
    redis_link_close(&test.link);
    turn_until(is_closed);
    printf("%u allocations failed, %u commands were refused%s%s\n", (unsigned)n - 1, test.refused,
           test.fault != NULL ? ": " : "", test.fault != NULL ? test.fault : "");
    return test.fault != NULL || n < COMMANDS || n == ROUNDS || uv_loop_close(&test.loop) != 0;
}
