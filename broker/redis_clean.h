/*
 * redis_clean.h: takes a broker's dispatched jobs out of Redis again, while that broker is down,
 * and puts them back into the backlog. A part of the wrapper around hiredis, for the doctor alone.
 */
#ifndef BROKER_REDIS_CLEAN_H
#define BROKER_REDIS_CLEAN_H

#include "broker/doctor_inside.h"

/* What a worker has taken already, and what it has delivered, is left alone; so is every job of
 * another broker on the same Redis. A job goes back only if its message was removed here: of one
 * that is found nowhere the broker's next start finds that out by itself, and sends it again.
 * Returns 0, or DOCTOR_CANNOT_RUN with the reason in `d`. */
int redis_clean_run(struct doctor *d) JM_MUST_CHECK;

#endif
