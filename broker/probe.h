/*
 * probe.h: do writes succeed? One small write behind an fsync, at most once a second; whoever asks
 * meanwhile shares it. Loop thread only.
 */
#ifndef BROKER_PROBE_H
#define BROKER_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core.h"
#include "lib/list.h"

struct probe {
    struct core *core;
    struct store_probe op;
    struct list askers;
    struct timer limit; /* a disk that hangs is one that fails */
    bool is_running;
    bool has_answer;
    int status; /* of the last probe */
    uint64_t answered_ms;
    void *owner;
    void (*on_idle)(void *owner);
};

/* `on_idle` is called whenever a probe is over. */
void probe_init(struct probe *p, struct core *core, void *owner, void (*on_idle)(void *owner));

/* Whether an answer of this second is there: then `ret_status` is 0 or JM_E…. */
bool probe_has_answer(const struct probe *p, int *ret_status) JM_MUST_CHECK;

/* Begins a probe if none is running, and calls on_answer once with its status, never from inside.
 */
struct probe_asker {
    struct list link;
    void (*on_answer)(struct probe_asker *asker, int status);
};
void probe_ask(struct probe *p, struct probe_asker *asker);

#endif
