/*
 * hosts.h: which worker hosts live, and which dispatched jobs are lost.
 *
 * Once a heartbeat interval the broker *polls*: it asks for the epoch (has Redis been emptied or
 * swapped?) and reads all heartbeats. A host is alive until no new beat was seen for one lease,
 * measured on the *live clock*: time that counts only between two polls that both succeeded, so
 * that an unreachable Redis kills nobody. A reconnect or another epoch grants every known host a
 * full lease and starts every count below over.
 *
 * A job that is out is lost when, in this order:
 *   1. no fresh beat names it, and its queue's list was read and does not hold it;
 *   2. after that, every live host has beaten twice without naming it;
 *   3. after that, the results list was read to its end and applied;
 * and it is still out. (A job moves list → slot → results list, and a worker names it from before
 * it leaves the one until after it is in the other; so who looks in this order cannot overlook it.)
 * If it had begun and its host is dead, or if it was never named and a host died meanwhile, the
 * death is charged to it; else it is sent again free of charge. Loop thread only.
 */
#ifndef BROKER_HOSTS_H
#define BROKER_HOSTS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/carrier.h"
#include "broker/foreign.h"
#include "broker/runner.h"
#include "broker/timer.h"
#include "lib/buf.h"
#include "lib/hash.h"
#include "lib/list.h"
#include "schema/wire.h"

struct core;

struct host {
    struct hash_node by_id;
    struct list in_order; /* hosts.all */
    uint64_t id;
    uint64_t seq;
    uint64_t beat_poll[2]; /* polls that saw its last beat, and the one before */
    uint64_t seen_live_ms; /* live clock at its last beat */
    uint64_t seen_poll;    /* the last poll in which its field was there */
    uint8_t absent_polls;  /* in a row in which it was not: it has taken its leave */
    struct wire_beat beat; /* as last read; spans point into `copy` */
    struct buf copy;
    uint64_t learned_hash; /* of the task list that was stored last */
};

struct hosts_stats {
    uint64_t polls;
    uint64_t epochs;
    uint64_t died;
    uint64_t left;
    uint64_t strange; /* fields that no worker host wrote */
    uint64_t no_room; /* beats of a host above JM_HOSTS */
    uint64_t lost_free;
    uint64_t lost_charged;
};

struct hosts {
    struct core *core;
    struct hash by_id;
    struct list all;
    struct timer tick;
    uint64_t poll;       /* number of the present poll, from 1 */
    uint64_t since_poll; /* the poll with which the counts began */
    uint64_t live_ms;    /* the live clock */
    uint64_t last_ok_ms; /* monotonic time of the last good poll; 0 after an error */
    uint64_t died_ms;    /* monotonic time of the last death of a host; 0: none yet */
    bool is_link_up;
    bool is_polling;  /* its answers have not all come */
    bool has_failed;  /* one of them was an error */
    bool awaits_read; /* a verdict waits for the results to be read */

    char epoch_proposed[33];
    struct span epoch_value;
    char epoch[128]; /* epoch word and run_id as last seen */
    struct carrier_req epoch_req;
    struct carrier_req hosts_req;

    bool is_learning; /* a host's tasks are on their way to the store */
    bool is_changed;  /* a host came, went, or serves something else */
    struct hosts_stats stats;
    struct foreign foreign; /* hosts of another protocol version: not followed */
};

void hosts_init(struct hosts *hs, struct core *core);
void hosts_done(struct hosts *hs);
void hosts_start(struct hosts *hs);
void hosts_on_link(struct hosts *hs, bool is_up);

size_t hosts_count(const struct hosts *hs);
struct host *hosts_find(const struct hosts *hs, uint64_t id);

/* The results were read to their end: verdicts that waited for it can be spoken. */
void hosts_on_read(struct hosts *hs);

/* Milliseconds of the live clock since its last beat, and whether that is within the lease. */
uint64_t hosts_silent_ms(const struct hosts *hs, const struct host *h);

/* Slots of the hosts that serve `queue`. */
uint32_t hosts_slots(const struct hosts *hs, struct span queue);

/* Whether a host that takes jobs of `queue` serves `task`. */
bool hosts_serve_task(const struct hosts *hs, struct span task, struct span queue);

/* Orders `host` (0: every host) to kill that attempt. Repeated at each poll while a beat names a
 * job that is_over. */
void hosts_order_kill(struct hosts *hs, uint64_t host, uint64_t id, uint32_t attempt);

/* Walks the hosts: LIST_EACH(node, &hs->all) with this. */
static inline struct host *hosts_entry(struct list *node)
{
    return LIST_ENTRY(node, struct host, in_order);
}

#endif
