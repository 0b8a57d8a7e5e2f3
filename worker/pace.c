#include "worker/pace.h"

#include "schema/limits.h"

enum { PACE_DECAY = 8, PACE_GROWTH = 4, PACE_FLOOR_NS = 1000 };

void pace_note(struct pace *pace, uint64_t run_ns)
{
    if (run_ns < PACE_FLOOR_NS)
        run_ns = PACE_FLOOR_NS;
    if (pace->average_ns == 0)
        pace->average_ns = run_ns;
    else if (run_ns > pace->average_ns)
        pace->average_ns += (run_ns - pace->average_ns) / 2;
    else
        pace->average_ns -= (pace->average_ns - run_ns) / PACE_DECAY;
}

unsigned pace_claim(struct pace *pace)
{
    uint64_t count = 1;

    if (pace->average_ns != 0)
        count = UINT64_C(1000000) * JM_CLAIM_WORK_MS / pace->average_ns;
    if (count > (uint64_t)pace->last * PACE_GROWTH)
        count = (uint64_t)pace->last * PACE_GROWTH;
    if (count > JM_CLAIM_JOBS)
        count = JM_CLAIM_JOBS;
    if (count < 1)
        count = 1;
    pace->last = (unsigned)count;
    return pace->last;
}
