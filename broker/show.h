/*
 * show.h: shows one job to whoever asked: waits for its end if that was asked for, reads it, waits
 * until an end that it shows is on disk, and answers. Loop thread only.
 */
#ifndef BROKER_SHOW_H
#define BROKER_SHOW_H

#include "broker/call.h"
#include "broker/render.h"

/* Answers the call with what `on_show` makes of the job call->id, at the latest after call->wait_ms
 * (0: at once), behind its end if it comes before. */
void show_job(struct call *call, call_show_cb on_show);

/* For an on_show: adds all members of the job, with args, result and attempts. The job's spans are
 * not valid afterwards. Returns 0, or JM_E… with call->fault. */
int show_whole_job(struct call *call, struct render_map *m,
                   const struct job_view *job) JM_MUST_CHECK;

/* The usual on_show: 200 and the whole job. */
int show_on_job(struct call *call, const struct job_view *job);

/* Refuses a change of the job call->id, which is in that state (JOB_NONE: not known). */
void show_refusal(struct call *call, int status, enum job_state state);

/* Ends the wait now, and answers with the job as it is. Only in CALL_WAITING. */
void show_now(struct call *call);

/* Gives up: the client has gone. Only in CALL_WAITING. */
void show_give_up(struct call *call);

#endif
