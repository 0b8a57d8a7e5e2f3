/*
 * options.h: how a caller's options struct, which may be of another version of the library, becomes
 * one of ours. Internal to libjobmill; pure.
 */
#ifndef CLIENT_OPTIONS_H
#define CLIENT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/attr.h"

/* Copies the caller's struct (NULL: nothing is copied), which may be shorter (older) or longer
 * (newer) than ours; its first member is its size, where 0 stands for `first_size`, that of the
 * version in which the struct first appeared. False: a newer one asks, beyond our end, for
 * something that we cannot do. */
bool options_copy(void *own, size_t own_size, size_t first_size, const void *theirs) JM_MUST_CHECK;

/* The same check alone, for a struct that others point to and that is still as it first was. */
bool options_are_known(const void *theirs, size_t own_size) JM_MUST_CHECK;

/* The size of a struct whose first member that came later is `member`. */
#define OPTIONS_FIRST(type, member) offsetof(struct type, member)

#endif
