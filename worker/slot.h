/*
 * slot.h: one child's place in the parent: starts the child, reads its stderr, kills it, tells what
 * was lost with it, starts the next. Loop thread only. What happens to jobs meanwhile is scan.h.
 */
#ifndef WORKER_SLOT_H
#define WORKER_SLOT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <uv.h>

#include "lib/attr.h"
#include "lib/buf.h"
#include "worker/outbox.h"
#include "worker/redis.h"
#include "worker/shm.h"

/* Why the parent kills a child. */
enum slot_kill { SLOT_KILL_NONE, SLOT_KILL_TIMEOUT, SLOT_KILL_ORDER, SLOT_KILL_DRAIN };

/* What all slots of a host share. */
struct slot_env {
    uv_loop_t *loop;
    struct outbox *outbox;
    struct shm_conf conf; /* `slot` is set by each */
    int nice;
    int wake_fd;      /* the children's end */
    bool is_draining; /* no new child is started */
};

/* Our end of one child's output. libuv gives the handle back some time after it is closed, when the
 * slot may have the next child already: so it is not a part of the slot. */
struct slot_pipe {
    uv_poll_t poll;
    int fd;
    struct slot *slot;
};

struct slot {
    struct slot_env *env;
    uint32_t index;
    pid_t pid; /* 0: no child */
    struct shm *shm;
    int shm_fd;

    uint64_t spawned_ns;
    uint64_t respawn_ns; /* when the next child starts, if pid is 0 */
    unsigned failures;   /* children in a row that died young and idle */

    uint64_t announced; /* generation word of the job that was announced as running; 0: none */

    enum slot_kill kill;
    uint64_t kill_id; /* whom it is meant for */
    uint32_t kill_attempt;
    uint64_t hard_ns; /* when SIGKILL follows; 0: it was sent */

    struct slot_pipe *errors; /* the child's stdout and stderr; NULL: closed */
    struct buf tail;          /* the last bytes of it */
    uint64_t tail_id;         /* the job that was running when they came */
    uint64_t passed_second, passed_bytes, dropped_bytes; /* what went on to the log */

    struct redis_command unblock; /* CLIENT UNBLOCK, for a drain */
};

/* Makes the slot; slot_spawn then starts its first child. Returns 0 or JM_EIO. */
int slot_open(struct slot *slot, struct slot_env *env, uint32_t index) JM_MUST_CHECK;

/* Kills the child, if there is one, and frees all but the slot itself. Takes a zeroed slot. */
void slot_close(struct slot *slot);

/* Starts a child. A failure is logged and makes respawn_ns later. */
void slot_spawn(struct slot *slot, uint64_t now_ns);

/* Sends SIGTERM to the child's process group, SIGKILL after `grace_ms`. The job that it is meant
 * for is told apart from one that begins just then. A second call for the same job does nothing. */
void slot_kill(struct slot *slot, enum slot_kill reason, const struct shm_held *held,
               uint64_t grace_ms, uint64_t now_ns);

/* SIGKILL to the child's process group. */
void slot_kill_hard(struct slot *slot);

/* The child has died and was reaped: tells the fate of each job it held, and says when the next
 * one may start (respawn_ns). */
void slot_bury(struct slot *slot, int status, const struct rusage *usage, uint64_t now_ns);

/* Whether the child holds a job in any state, or may be about to. */
bool slot_is_busy(struct slot *slot);

/* What the heartbeat says of a job. */
struct wire_held slot_describe(const struct slot *slot, const struct shm_held *held,
                               uint64_t now_ns);

/* Puts an event about `held` into the outbox; `event` has what is particular to it. */
void slot_tell(struct slot *slot, const struct shm_held *held, struct wire_event *event,
               uint64_t now_ns);

/* If the child has left the end of `held` (DONE or SENDING) in shared memory, puts it into the
 * outbox and returns true. Whether it is really that job's end is checked: the memory is the
 * child's. */
bool slot_tell_end(struct slot *slot, const struct shm_held *held, uint64_t now_ns);

#endif
