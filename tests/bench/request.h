/*
 * request.h: the request that the generator repeats. It is written once; what differs from one to
 * the next stands at marks, and is put in place just before it is sent:
 *
 *     {n}     a number of 12 digits that is never the same twice in a run
 *     {n%K}   12 digits that count from 0 to K − 1, again and again
 *     {v}     the next line of a file of lines that are equally long, again and again
 */
#ifndef TESTS_BENCH_REQUEST_H
#define TESTS_BENCH_REQUEST_H

#include "lib/buf.h"

enum { REQUEST_BYTES = 1 << 20, REQUEST_MARKS = 10000 };

struct request_conf {
    const char *method;
    const char *path;   /* with its query; may have marks */
    const char *body;   /* JSON, may have marks; empty: none */
    uint64_t batch;     /* 0, or the body is an array of that many of it */
    const char *values; /* the file of {v}; empty: none */
};

struct request_mark {
    size_t offset;
    uint64_t modulus; /* 0: never the same twice */
    bool is_value;
};

struct request {
    struct buf bytes;
    struct request_mark marks[REQUEST_MARKS];
    size_t mark_count;
    uint64_t number;
    struct buf values;
    size_t value_len;
    size_t value_count;
    size_t value;
};

/* Returns NULL, or what is wrong. */
const char *request_init(struct request *r, const struct request_conf *conf);
void request_done(struct request *r);

/* Puts the next values into a copy of its bytes. */
void request_stamp(struct request *r, uint8_t *bytes);

#endif
