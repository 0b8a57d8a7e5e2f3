/*
 * dispatch_inside.h: what the files of dispatch share. Everybody else uses dispatch.h.
 */
#ifndef BROKER_DISPATCH_INSIDE_H
#define BROKER_DISPATCH_INSIDE_H

#include "broker/dispatch.h"

enum {
    BATCH_JOBS = 1000,     /* in one push, take or return */
    BATCH_BYTES = 1 << 20, /* likewise */
};

/* ---- dispatch.c ---- */

/* Adds a job to the table (place RESERVED) and to its queue's window; NULL without memory. */
struct dispatch_job *dispatch_job_new(struct dispatch *d, struct queue *q, uint64_t id,
                                      uint32_t attempt, struct span frame);

/* Gives the place back. The bytes of a job whose push is unanswered belong to the carrier until
 * then; it stays as DISPATCH_GONE, in no table any more, and is freed with the answer. */
void dispatch_job_remove(struct dispatch *d, struct dispatch_job *job);

/* Frees a job that is in no table and no list. */
void dispatch_job_free(struct dispatch_job *job);

/* For a push at the end of the turn; a job that is_over goes instead. */
void dispatch_to_outbox(struct dispatch *d, struct dispatch_job *job);

uint64_t dispatch_now_ms(const struct dispatch *d);

/* Sets one of the "not before" times; the timer makes every queue be looked at again then. */
void dispatch_pause_until(struct dispatch *d, uint64_t *until_ms);

bool dispatch_has_backlog(const struct queue *q);

/* Free places of the queue's window and of all together; bytes of all together. */
size_t dispatch_jobs_room(const struct dispatch *d, const struct queue *q);
size_t dispatch_bytes_room(const struct dispatch *d, const struct queue *q);

/* Room has become free: the queues that found none are looked at again. */
void dispatch_wake_short(struct dispatch *d);

/* ---- dispatch_push.c ---- */

/* Empties the outbox into pushes; what finds no memory stays. */
void dispatch_push_outbox(struct dispatch *d, struct queue *q);

/* Gives jobs that are surely not in Redis back to the backlog. */
void dispatch_put_back(struct dispatch *d, struct list *jobs);

/* ---- dispatch_take.c ---- */

/* Asks the store for more, if there is a backlog and a good part of the window is free. */
void dispatch_take_if_room(struct dispatch *d, struct queue *q);

/* ---- dispatch_recall.c ---- */

/* Answers a recall whose `number` is known. */
void dispatch_finish_recall(struct dispatch_recall *r);

#endif
