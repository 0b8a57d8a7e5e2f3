/*
 * render.h: writes maps and arrays of an answer as msgpack, whose size need not be known before:
 * the head is written first and its count filled in at the end (map 16, array 32). Whether there
 * was room is asked of the buffer, as always. Pure functions.
 */
#ifndef BROKER_RENDER_H
#define BROKER_RENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/span.h"

struct render_map {
    struct buf *out;
    size_t at;
    uint16_t count;
};

void render_open_map(struct render_map *m, struct buf *out);
void render_close_map(struct render_map *m);

/* Each adds one member. */
void render_str(struct render_map *m, const char *key, struct span text);
void render_word(struct render_map *m, const char *key, const char *text);
void render_u64(struct render_map *m, const char *key, uint64_t value);
void render_i64(struct render_map *m, const char *key, int64_t value);
void render_double(struct render_map *m, const char *key, double value);
void render_bool(struct render_map *m, const char *key, bool value);
void render_nil(struct render_map *m, const char *key);
void render_time(struct render_map *m, const char *key, int64_t wall_ms); /* RFC 3339 */
void render_id(struct render_map *m, const char *key, uint64_t job_id);
void render_value(struct render_map *m, const char *key, struct span msgpack);

/* A member whose value the caller writes next, with the functions above or below. */
void render_key(struct render_map *m, const char *key);

struct render_array {
    struct buf *out;
    size_t at;
    uint32_t count;
};

void render_open_array(struct render_array *a, struct buf *out);
void render_close_array(struct render_array *a);

/* One more item, which the caller writes next. */
void render_item(struct render_array *a);
void render_item_str(struct render_array *a, struct span text);

#endif
