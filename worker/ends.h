/*
 * ends.h: a child's ends on their way to Redis. An end waits in shared memory, where the parent can
 * see it, until it is put into the pipe with others; its word becomes FREE when Redis has confirmed
 * it. The child's only thread.
 */
#ifndef WORKER_ENDS_H
#define WORKER_ENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/buf.h"
#include "schema/wire.h"
#include "worker/redis.h"
#include "worker/shm.h"

/* One end in the pipe. */
struct end {
    uint64_t position;
    uint32_t node;
    struct span frame;
};

struct ends {
    struct shm *shm;
    struct buf frame;  /* the last end, encoded */
    uint32_t out_len;  /* bytes of shm->out in use */
    uint64_t first_ns; /* of the oldest unpublished end; 0: there is none */
    struct end put[SHM_JOBS];
    size_t put_count;
    size_t push_count; /* commands that carry them */
};

void ends_init(struct ends *ends, struct shm *shm);

/* Encodes an end. False if there is no memory. */
bool ends_encode(struct ends *ends, const struct wire_event *event) JM_MUST_CHECK;

/* Whether the encoded end needs others published before it can be kept. */
bool ends_needs_room(const struct ends *ends);

/* The job at `position` has ended with what was encoded last. False if it is too large for shared
 * memory: then it has to be published before the next one is encoded. */
bool ends_keep(struct ends *ends, uint64_t position, uint64_t now_ns) JM_MUST_CHECK;

/* Puts all ends that are not confirmed into the pipe; again too, if that failed before. */
int ends_put(struct ends *ends, struct redis_pipe *pipe) JM_MUST_CHECK;

/* Waits for the answers to what ends_put has put; if all are good, the ends are published. After
 * JM_EREFUSED all answers were read and the pipe can be used. */
int ends_wait(struct ends *ends, struct redis_pipe *pipe) JM_MUST_CHECK;

#endif
