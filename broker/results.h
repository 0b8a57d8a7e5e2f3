/*
 * results.h: takes what the workers report and applies it, exactly once.
 *
 * One list is taken at a time, when there is something: RENAMENX results → results:N, read in
 * slices bounded by bytes from the oldest entry on, each slice one STORE_APPLY, the last one of
 * which commits N; behind its fsync the list is removed. N only rises and is kept in the store, so
 * whatever breaks between any two steps, the next start finds either a list N+1 that has not been
 * applied in full (and applies it again: the attempt check drops what was applied already), or a
 * list N that can be removed. Nothing is ever trimmed by count: a list that was flushed meanwhile
 * would lose entries unread. Loop thread only.
 */
#ifndef BROKER_RESULTS_H
#define BROKER_RESULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/carrier.h"
#include "broker/foreign.h"
#include "broker/runner.h"
#include "broker/timer.h"
#include "lib/buf.h"

struct core;

enum { RESULTS_SLICE_JOBS = 1000, RESULTS_SLICE_BYTES = 1 << 20 };

enum results_state {
    RESULTS_OFF,      /* no link */
    RESULTS_WATCHING, /* a take that waits for something to be there is under way */
    RESULTS_TAKING,   /* likewise, one that does not wait */
    RESULTS_READING,  /* a slice is being read */
    RESULTS_APPLYING, /* a slice is with the store */
    RESULTS_RESTING,  /* nobody waits for an end: some more are let come together first */
    RESULTS_PAUSED,   /* the store refused (full disk) or Redis did: tried again by the timer */
};

struct results_stats {
    uint64_t lists;
    uint64_t slices;
    uint64_t entries;
    uint64_t applied[8]; /* by enum wire_event_kind; 0: losses */
    uint64_t late;
    uint64_t unknown;
    uint64_t invalid;
    uint64_t quarantined;
};

struct results {
    struct core *core;
    enum results_state state;
    bool is_wanted;     /* somebody wants another round when this one is over */
    uint64_t taken;     /* the number of the last list that was applied in full */
    uint64_t removed;   /* likewise, that is no longer in Redis */
    uint64_t rounds;    /* begun */
    uint64_t completed; /* the highest round after which the list was read to its end */
    struct timer retry;

    struct carrier_req await;
    struct carrier_req take;
    struct carrier_req read;
    struct carrier_req remove;
    bool is_await_open; /* their answers have not come */
    bool is_take_open;
    bool is_read_open;
    bool is_remove_open;
    bool may_rest;    /* nothing waits for what follows from the ends of this round */
    bool is_applying; /* a slice is with the store */
    bool take_failed;
    int64_t take_number;
    size_t offset;     /* entries of this list that are applied */
    size_t slice_jobs; /* how many entries the next slice asks for */

    struct store_apply apply;
    struct buf bytes; /* copies of the slice's frames, which the events point into */
    struct store_event *events;
    struct span *bad;
    struct results_stats stats;
    struct foreign foreign; /* of another protocol version; quarantined too */
};

int results_init(struct results *r, struct core *core) JM_MUST_CHECK;
void results_done(struct results *r);
void results_start(struct results *r, uint64_t last_taken);

void results_on_link(struct results *r, bool is_up);

/* Somebody is about to wait for an end: there is no rest now. */
void results_hurry(struct results *r);

/* A number M such that once results_has_read(M), everything that was in the list when M was asked
 * for has been applied. Sees to it that a round begins. */
uint64_t results_mark(struct results *r);
bool results_has_read(const struct results *r, uint64_t mark);

/* What follows from applied events (also those that the broker makes itself, of losses): places
 * become free, waiters are marked, superseded attempts are stopped. */
void results_follow(struct core *core, const struct store_event *events, size_t count);

#endif
