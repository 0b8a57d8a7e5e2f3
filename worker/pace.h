/*
 * pace.h: how many jobs a child claims at once: about JM_CLAIM_WORK_MS of work by a running average
 * of what jobs took lately; one while that is unknown. A pure value; one owner.
 */
#ifndef WORKER_PACE_H
#define WORKER_PACE_H

#include <stdint.h>

struct pace {
    uint64_t average_ns; /* 0: no job has ended yet */
    unsigned last;       /* size of the last claim */
};

/* A job took that long. One long job pulls the average up at once, short ones bring it down slowly:
 * to claim too little costs a round trip, to claim too much makes jobs wait. */
void pace_note(struct pace *pace, uint64_t run_ns);

/* The size of the next claim, 1 to JM_CLAIM_JOBS; grows fourfold at most from claim to claim. */
unsigned pace_claim(struct pace *pace);

#endif
