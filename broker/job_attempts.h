/*
 * job_attempts.h: how the attempts of a job have ended, as clients see it.
 */
#ifndef BROKER_JOB_ATTEMPTS_H
#define BROKER_JOB_ATTEMPTS_H

#include "broker/reader.h"
#include "broker/render.h"
#include "lib/attr.h"

/* Adds the member "attempts", the oldest first; that of the job's end comes last. `job` is what
 * `reader` has just given, and its spans are not valid afterwards. Returns 0 or JM_E…. */
int job_attempts_render(struct render_map *m, const struct job_view *job,
                        struct reader *reader) JM_MUST_CHECK;

#endif
