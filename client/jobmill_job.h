/*
 * jobmill_job.h: how jobs and pages of jobs are read from an answer. Internal to libjobmill.
 */
#ifndef CLIENT_JOBMILL_JOB_H
#define CLIENT_JOBMILL_JOB_H

#include "client/jobmill.h"
#include "lib/attr.h"
#include "lib/span.h"

/* Reads one job from `msgpack`, a whole value; it owns `owned` on success (NULL: the bytes are
 * somebody else's who lives longer). JM_EANSWER: that is no job. JM_ENOMEM. */
int jobmill_job_parse(struct span msgpack, void *owned, struct jobmill_job **ret_job) JM_MUST_CHECK;

/* What the header fields of the answer to a submit say; "": nothing. JM_ENOMEM. */
int jobmill_job_note_submit(struct jobmill_job *job, const char *replaced, const char *warning,
                            const char *replayed) JM_MUST_CHECK;

/* What only the answer to the submit tells goes over to what the job has become since. */
void jobmill_job_move_submit(struct jobmill_job *from, struct jobmill_job *to);

/* Likewise a page: {"jobs": […], "next_cursor": …}. */
int jobmill_page_parse(struct span msgpack, void *owned,
                       struct jobmill_page **ret_page) JM_MUST_CHECK;

#endif
