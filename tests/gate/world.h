/*
 * world.h: a whole broker in one thread: the program's HTTP front, handlers, core, store and
 * carrier, with clocks that are turned by hand, batches that run when the loop has nothing to do,
 * a Redis (redis.h), a worker host that ends every job at once, and clients on plain sockets. What
 * happens, and in which order, is the same in every run; so is the number of instructions.
 *
 * Only the broker's own work is counted: callgrind's collection is switched on around the loop's
 * turns and the store's batches, and off in everything that stands in this folder.
 */
#ifndef TESTS_GATE_WORLD_H
#define TESTS_GATE_WORLD_H

#include <uv.h>

#include "broker/api.h"
#include "broker/carrier_redis.h"
#include "tests/gate/redis.h"

enum { CLIENTS = 64, ANSWER_BYTES = 1 << 20 };

struct client {
    int fd;
    struct buf in;
    bool waits;
    int status; /* of the last answer, whose body is in.data + body */
    size_t body;
};

struct world {
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_check_t check;
    struct clock clock;
    uint64_t now_ns;
    struct timers timers;
    struct list armed; /* timer.link, by at_ms */
    struct runner runner;
    struct list waiting; /* store_op.link */
    struct list gates;
    struct carrier_redis *carrier;
    struct redis redis;
    uint64_t beats;
    struct store_conf store_conf;
    struct store *store;
    struct reader *reader;
    struct core core;
    struct api api;
    struct http_server *server;
    struct client clients[CLIENTS];
    size_t waiting_clients;
    char dir[64];
    char db[96];
};

JM_PRINTF(1, 2) void world_die(const char *fmt, ...) __attribute__((noreturn));

/* In a directory of its own below the current one. */
void world_open(struct world *w);
void world_close(struct world *w);

/* Everything that can happen now, until nothing more can, and all clients have their answers. */
void world_settle(struct world *w);

/* Time goes on, in steps of a timer each; then settles. */
void world_pass_ms(struct world *w, uint64_t ms);

/* A request of one client, as it goes over the wire; the answer is there after world_settle. */
void world_ask(struct world *w, size_t client, const char *request, size_t len);

/* One request by the first client, settled; ends the program unless the answer has that status. */
void world_call(struct world *w, int status, const char *head, const char *body);

#endif
