/*
 * registry.h: which tasks there are: built-in ones, test ones if allowed, and the programs of a
 * directory, which are looked up afresh each time (their cost is nothing beside that of starting
 * one). A value of its options; any thread.
 */
#ifndef WORKER_REGISTRY_H
#define WORKER_REGISTRY_H

#include <stdbool.h>

#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/span.h"
#include "worker/task.h"

struct registry {
    bool has_test_tasks;
    const char *tasks_dir; /* borrowed; NULL or empty: no programs */
};

/* The native task of that name, or NULL. */
const struct task *registry_find(const struct registry *registry, struct span name);

enum { REGISTRY_FILE_BYTES = 256 };

/* The program of that name: a file of exactly that name, or the only one of that name with an
 * extension. False if there is none; its file name is in `ret_file`. */
bool registry_find_program(const struct registry *registry, const char *name,
                           char ret_file[REGISTRY_FILE_BYTES]);

/* Appends a msgpack array of wire_task for the heartbeat. */
void registry_write(const struct registry *registry, struct buf *out);

#endif
