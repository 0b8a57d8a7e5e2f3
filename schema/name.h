/*
 * name.h: what a queue's or a task's name may be. Pure functions.
 */
#ifndef SCHEMA_NAME_H
#define SCHEMA_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/span.h"

/* 1 to `max_bytes` (JM_QUEUE_NAME_BYTES, JM_TASK_NAME_BYTES) letters, digits, '_', '-', '.', ':'.
 */
bool name_is_valid(struct span name, size_t max_bytes);

#endif
