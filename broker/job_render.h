/*
 * job_render.h: a job as clients see it. schema/openapi.yaml describes it as "Job"; a test compares
 * the members' names. Pure functions.
 */
#ifndef BROKER_JOB_RENDER_H
#define BROKER_JOB_RENDER_H

#include "broker/reader.h"
#include "broker/render.h"
#include "lib/buf.h"

/* Adds the members of a job to a map. `with_blobs`: also args and result. What does not apply
 * (a result before the end, an error that did not happen) is left out. */
void job_render(struct render_map *m, const struct job_view *job, bool with_blobs);

/* Adds the member "backoff"; nothing for one of which nothing is set. */
void job_render_backoff(struct render_map *m, const struct backoff *backoff);

/* Adds the member "progress"; nothing if all is zero, as it is before a task has said anything. */
void job_render_progress(struct render_map *m, uint64_t done, uint64_t total, struct span message);

/* A number that differs when anything of the job that can change has changed. */
uint64_t job_render_version(const struct job_view *job);

#endif
