/*
 * redis.h: as much of Redis as the broker speaks to, in this thread: lists, one hash, one string,
 * and a blocking move. The broker's own carrier connects to it, so that what hiredis costs is
 * counted; what stands here is not.
 */
#ifndef TESTS_GATE_REDIS_H
#define TESTS_GATE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/list.h"
#include "lib/span.h"
#include "schema/keys.h"

enum { REDIS_LINKS = 2, REDIS_WORDS_MAX = 8192 };

struct redis_value {
    struct list link;
    size_t len;
    uint8_t bytes[];
};

struct redis_key {
    struct list link;
    char name[KEYS_BYTES];
    struct list values; /* left to right */
    size_t count;
};

struct redis_peer {
    int fd; /* -1: none */
    struct buf in;
    struct buf out;
    char waits_for[KEYS_BYTES]; /* in a blocking move; empty: it does not wait */
    uint64_t waits_since_ns;
};

struct redis {
    int listener;
    struct redis_peer peers[REDIS_LINKS];
    struct list keys;
    struct buf hosts; /* the answer to HGETALL */
    struct span words[REDIS_WORDS_MAX];
};

void redis_open(struct redis *r, const char *path);
void redis_close(struct redis *r);

/* Carries out what has come. False if there was nothing to do. */
bool redis_serve(struct redis *r);

void redis_push(struct redis *r, const char *key, struct span value);
struct redis_value *redis_pop(struct redis *r, const char *key); /* the oldest, to be freed; NULL */
void redis_set_host(struct redis *r, const char *field, struct span beat);

#endif
