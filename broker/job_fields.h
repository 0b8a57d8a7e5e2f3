/*
 * job_fields.h: the tables of those fields of a job that are objects, for fields.h: what
 * job_fields.def says of them. A backoff is also part of what is set for queues and tasks.
 */
#ifndef BROKER_JOB_FIELDS_H
#define BROKER_JOB_FIELDS_H

#include "broker/fields.h"

/* A struct backoff: what is not said of it is as usual. */
extern const struct field_object job_fields_backoff;

/* A struct unique_asked. */
extern const struct field_object job_fields_unique;

/* The words, in the order of enum backoff_kind, unique_while and unique_conflict, from their first
 * on that has one. */
extern const char *const job_fields_kinds[];
extern const char *const job_fields_whiles[];
extern const char *const job_fields_conflicts[];

#endif
