/*
 * up_parts.h: the three parts of `jobmill up` with their command lines.
 */
#ifndef CLIENT_TOOL_UP_PARTS_H
#define CLIENT_TOOL_UP_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "client/tool/part.h"
#include "client/tool/up_place.h"
#include "lib/attr.h"

enum { UP_REDIS, UP_BROKER, UP_WORKER, UP_PARTS };

/* The options of `up`. */
struct up_conf {
    const char *data;
    const char *listen;
    const char *queues;
    const char *tasks_dir;
    const char *file_root;
    uint64_t slots; /* 0: the worker's own default */
    uint64_t drain_grace_ms;
    bool has_test_tasks;
};

/* Describes the parts; ended by part_done each. False, after a sentence on stderr and with nothing
 * to end, if there is no Redis on this machine. */
bool up_parts_init(struct part parts[UP_PARTS], const struct up_conf *conf,
                   const struct up_place *place) JM_MUST_CHECK;

/* The broker said where it listens ("http://ADDR:PORT", "unix:PATH"): so that a port 0 stays the
 * same when it is started again. */
void up_parts_set_address(struct part parts[UP_PARTS], const char *address);

#endif
