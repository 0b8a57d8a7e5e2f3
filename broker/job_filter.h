/*
 * job_filter.h: which jobs are meant, by a list or by a change of many. What is zero or empty asks
 * nothing; a job has to fit all that is asked. Read from a query string by query.h, searched for by
 * reader_list and reader_find.
 */
#ifndef BROKER_JOB_FILTER_H
#define BROKER_JOB_FILTER_H

#include <stdint.h>

#include "lib/span.h"

struct job_filter {
    unsigned states; /* set of 1 << enum job_state */
    struct span queue;
    struct span task;
    struct span tag;
    struct span limit_key;
    struct span error; /* the code of the error with which the job failed */
    uint64_t worker;   /* the host that runs it or ran it last */
    uint64_t from;     /* only ids from this on */
    uint64_t below;    /* only ids smaller than this */
};

#endif
