/*
 * starve.h: the n-th allocation of everything that is linked here fails: the linker sends malloc,
 * calloc and realloc to starve.c. What libraries allocate for themselves does not count.
 */
#ifndef TORTURE_STARVE_H
#define TORTURE_STARVE_H

#include <stdbool.h>
#include <stddef.h>

/* Runs `once` with the first, the second, … allocation failing, until none is left to fail. Returns
 * how many failed. */
size_t starve_every(void (*once)(void));

/* Whether one has failed since `once` was called. */
bool starve_has_failed(void);

/* What is allocated meanwhile does not count: it is the test's own. Returns what was so before. */
bool starve_spare(bool is_spared);

#endif
