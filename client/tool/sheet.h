/*
 * sheet.h: shows one map, a job or a queue, as lines "name  value".
 */
#ifndef CLIENT_TOOL_SHEET_H
#define CLIENT_TOOL_SHEET_H

#include <stdbool.h>

#include "lib/attr.h"
#include "lib/span.h"

/* Null members and empty lists are left out, and so is the member `without` (NULL: none). A map in
 * it is shown as JSON, or, with `is_flat`, as lines "name.name  value". Returns a tool_exit. */
int sheet_print(struct span map, const char *without, bool is_flat) JM_MUST_CHECK;

#endif
