/*
 * index.h: finds elements of an array by a number of theirs (a job's id), where a scan would cost
 * more than all else. The array is the user's, and grows at its end only; the index knows
 * positions, and walks those of one number from the newest to the oldest.
 */
#ifndef TESTS_SIM_INDEX_H
#define TESTS_SIM_INDEX_H

#include <stddef.h>
#include <stdint.h>

#define SIM_INDEX_NONE SIZE_MAX

struct sim_index_entry {
    uint64_t key;
    size_t next; /* older, in the same chain */
};

/* A zeroed one is empty. */
struct sim_index {
    struct sim_index_entry *entries;
    size_t *chains; /* the newest of each */
    size_t count;
    size_t room; /* of both; a power of two, or 0 */
};

void sim_index_done(struct sim_index *x);

/* The array has one more element at its end. */
void sim_index_add(struct sim_index *x, uint64_t key);
/* It has only the first `count` of its elements left. */
void sim_index_cut(struct sim_index *x, size_t count);

/* Position of the newest element with this key, and of the next older one; or SIM_INDEX_NONE. */
size_t sim_index_find(const struct sim_index *x, uint64_t key);
size_t sim_index_find_older(const struct sim_index *x, size_t at);

#endif
