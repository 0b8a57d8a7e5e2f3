/*
 * shm.h: what a child and its parent share: one memfd per slot, mapped by both.
 *
 * The child writes its jobs and their ends here, the parent reads along: it learns what runs since
 * when without a word from the child, and what was held when the child dies. Who may do what with a
 * job is decided by one word, moved only by compare-and-swap:
 *
 *     FREE ──claim──▶ CLAIMED ──begin──▶ BEGUN ──end──▶ DONE ──publish──▶ SENDING ──▶ FREE
 *                        │ parent                        │ parent
 *                        └───────────▶ TAKEN ◀───────────┘        (child frees it)
 *
 * All moves but the two into TAKEN are the child's. The word also holds the job's place in
 * the row of all that the child claimed, so that a copy made beside a reuse is recognised, a swap
 * on it fails, and no two jobs of a child have the same word.
 *
 * The file is sealed against a change of its size: a child that goes astray can spoil the bytes,
 * which the parent checks, but cannot make the parent's mapping fault.
 */
#ifndef WORKER_SHM_H
#define WORKER_SHM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/span.h"
#include "schema/limits.h"

enum shm_state { SHM_FREE, SHM_CLAIMED, SHM_BEGUN, SHM_DONE, SHM_SENDING, SHM_TAKEN };

enum {
    /* Ends whose publishing failed may fill half of it while a full claim arrives. */
    SHM_JOBS = 2 * JM_CLAIM_JOBS,
    SHM_OUT_BYTES = 256 << 10, /* room for unpublished ends; a larger one is published alone */
    SHM_PATH_BYTES = 1024,
    SHM_QUEUES_BYTES = 4096,
    SHM_MESSAGE_BYTES =
        JM_PROGRESS_MESSAGE_BYTES + 4, /* so that it can be cut between characters */
};

/* What the parent watches for in a slot; the child wakes it only for the rest. */
enum shm_watch {
    SHM_WATCH_ALL,   /* looks again within milliseconds: never wake */
    SHM_WATCH_BEGUN, /* looks again soon: wake it for a claim of several jobs */
    SHM_WATCH_NONE,  /* asleep: wake it for any claim and any begin */
};

struct shm_job {
    _Atomic uint64_t word; /* (position + 1) << 8 | state */
    uint64_t id;
    uint64_t timeout_ms;
    uint64_t grace_ms;
    uint64_t begun_ns; /* CLOCK_MONOTONIC; from BEGUN on */
    int64_t begun_at_ms;
    uint32_t node;
    uint32_t attempt;
    uint32_t out_offset; /* the encoded end in `out`, from DONE on */
    uint32_t out_len;    /* 0: it is not there but in the child's own memory */
};

/* How far the running job is. A sequence lock: `turn` is odd while the child writes. */
struct shm_progress {
    _Atomic uint64_t turn;
    uint64_t word; /* of the job while it was BEGUN; 0: nothing was reported */
    uint64_t done;
    uint64_t total;
    uint32_t message_len;
    char message[SHM_MESSAGE_BYTES];
};

/* What the parent tells the child at its start. */
struct shm_conf {
    uint64_t host;
    uint32_t slot;
    uint32_t log_level;
    uint32_t has_test_tasks;
    char redis[SHM_PATH_BYTES];
    char queues[SHM_QUEUES_BYTES]; /* separated by commas */
    char tasks_dir[SHM_PATH_BYTES];
    char file_root[SHM_PATH_BYTES];
};

struct shm {
    uint64_t magic;
    struct shm_conf conf;

    /* The parent's. */
    _Atomic uint64_t beat_ns; /* CLOCK_MONOTONIC when the last confirmed heartbeat was sent */
    _Atomic uint32_t is_draining;
    _Atomic uint32_t watch; /* enum shm_watch; the child resets it when it wakes the parent */

    /* The child's. */
    _Atomic uint64_t client_id; /* of its connection; 0 while there is none */
    _Atomic uint32_t is_claiming;
    _Atomic uint64_t steps; /* rises with each claim and each begin */
    _Atomic uint64_t claims;
    _Atomic uint64_t bad_frames;
    _Atomic uint64_t tail; /* jobs[tail % SHM_JOBS] to jobs[head % SHM_JOBS] may be in use */
    _Atomic uint64_t head;

    struct shm_progress progress;
    struct shm_job jobs[SHM_JOBS];
    uint8_t out[SHM_OUT_BYTES];
};

/* A consistent copy of a job's entry. */
struct shm_held {
    uint64_t word; /* as it was when the copy was made */
    enum shm_state state;
    uint32_t node;
    uint64_t id;
    uint32_t attempt;
    uint64_t timeout_ms;
    uint64_t grace_ms;
    uint64_t begun_ns;
    int64_t begun_at_ms;
    struct span out; /* borrowed from the mapping; empty if the end is not there */
};

/* Makes the file and maps it, zeroed. Returns 0 or JM_EIO. */
int shm_create(struct shm **ret_shm, int *ret_fd) JM_MUST_CHECK;

/* Maps what a parent of the same program made. Returns 0, JM_EINVAL or JM_EIO. */
int shm_attach(int fd, struct shm **ret_shm) JM_MUST_CHECK;

/* Takes NULL. */
void shm_unmap(struct shm *shm);

/* The parent, before it starts another child on the same file. */
void shm_reset(struct shm *shm);

/* Copies the entry at `position`. False if it is free or was changed meanwhile. */
bool shm_peek(struct shm *shm, uint64_t position, struct shm_held *ret_held);

/* The range of positions in use: at most SHM_JOBS, whatever the child may have written. */
void shm_range(struct shm *shm, uint64_t *ret_tail, uint64_t *ret_head);

/* The parent takes a job that is CLAIMED or DONE, as it was copied. False: the child was faster. */
bool shm_take(struct shm *shm, uint64_t position, const struct shm_held *held) JM_MUST_CHECK;

/* A copy of what the job has reported, if it is BEGUN as it was copied; false if it has reported
 * nothing, or writes just now without end. */
bool shm_read_progress(struct shm *shm, const struct shm_held *held,
                       struct shm_progress *ret_progress);

/* The child tells how far its running job is; what of `message` is too long is cut. */
void shm_report(struct shm *shm, uint64_t position, uint64_t done, uint64_t total,
                struct span message);

/* The child's moves. shm_claim needs a free entry (shm_free_count > 0) and returns its position. */
uint64_t shm_claim(struct shm *shm, uint32_t node, uint64_t id, uint32_t attempt,
                   uint64_t timeout_ms, uint64_t grace_ms);
uint64_t shm_free_count(struct shm *shm);
bool shm_begin(struct shm *shm, uint64_t position, uint64_t begun_ns,
               int64_t begun_at_ms) JM_MUST_CHECK;
void shm_end(struct shm *shm, uint64_t position, uint32_t out_offset, uint32_t out_len);

/* DONE → SENDING. False if the parent has taken it; also true for what is SENDING already. */
bool shm_send(struct shm *shm, uint64_t position) JM_MUST_CHECK;
void shm_free(struct shm *shm, uint64_t position);

#endif
