/*
 * scan.h: the parent's look into a slot's shared memory: announces what runs, enforces time limits,
 * takes back what waits behind a long job. Loop thread only.
 */
#ifndef WORKER_SCAN_H
#define WORKER_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/slot.h"

#define SCAN_NEVER UINT64_MAX

/* Looks at one slot and tells what is to be told (into the outbox, not flushed). Returns when it
 * wants to look again (CLOCK_MONOTONIC, ns), or SCAN_NEVER: the child will wake the parent. */
uint64_t scan_slot(struct slot *slot, uint64_t now_ns);

/* An order of a broker: stops that attempt if the slot holds it. False if it does not. */
bool scan_kill(struct slot *slot, uint64_t id, uint32_t attempt, uint64_t now_ns);

/* Ends a drain's patience: kills the running job, which is handed back. */
void scan_evict(struct slot *slot, uint64_t grace_ms, uint64_t now_ns);

/* Appends the slot's held jobs for the heartbeat; returns how many. */
uint32_t scan_write_held(struct slot *slot, uint64_t now_ns, struct buf *out);

#endif
