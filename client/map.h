/*
 * map.h: writes a request's body, a msgpack map, member by member; what has no value is left out.
 * Internal to libjobmill; pure functions. The bytes go to a struct buf, which remembers a failure.
 */
#ifndef CLIENT_MAP_H
#define CLIENT_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "client/jobmill.h"
#include "lib/buf.h"

enum { MAP_MEMBERS = 15 }; /* the most that one map may get */

struct map {
    struct buf *out;
    size_t head; /* where the count belongs */
    unsigned count;
};

/* A map inside another is opened behind a map_name and closed before the outer one goes on. */
void map_open(struct map *map, struct buf *out);
void map_close(struct map *map);

/* A name alone: the caller appends the value. */
void map_name(struct map *map, const char *name);

void map_text(struct map *map, const char *name, const char *text); /* NULL: nothing */
void map_number(struct map *map, const char *name, int64_t number);
void map_real(struct map *map, const char *name, double number);
void map_bool(struct map *map, const char *name, int is_true);
void map_null(struct map *map, const char *name);
void map_texts(struct map *map, const char *name, const char *const *texts, size_t count);

/* 0: nothing; below 0: the number nought. */
void map_time(struct map *map, const char *name, int64_t ms);

/* 0: nothing; below 0: null. */
void map_limit(struct map *map, const char *name, int64_t number);

/* NULL: nothing; "": null. */
void map_text_or_null(struct map *map, const char *name, const char *text);

/* NULL: nothing; a kind of "": null. */
void map_backoff(struct map *map, const char *name, const struct jobmill_backoff *backoff);

#endif
