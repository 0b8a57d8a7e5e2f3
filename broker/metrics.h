/*
 * metrics.h: what /metrics shows, in Prometheus' text format (version 0.0.4). The figures of the
 * core are read from it; those of the parts that the core does not know come through the struct
 * below, which the program fills.
 */
#ifndef BROKER_METRICS_H
#define BROKER_METRICS_H

#include <stdint.h>

#include "broker/core.h"
#include "broker/writer.h"
#include "lib/buf.h"

struct metrics_outside {
    struct writer_stats writer;
    uint64_t http_connections; /* open now */
    uint64_t http_requests;
    uint64_t http_rejected; /* connections and requests that the front turned away, by reason */
    uint64_t http_framing_errors;
    uint64_t http_timeouts;
    uint64_t http_stalled;
    uint64_t http_unread_bytes; /* kept for clients now */
    uint64_t damaged_reads;
    uint64_t redis_requests; /* answered */
    uint64_t redis_strange_keys;
    uint64_t redis_round_trip_ns_sum;
    uint64_t redis_round_trip_ns_max;
};

/* Appends the whole page. */
void metrics_write(struct buf *out, const struct core *core, const struct metrics_outside *outside);

#endif
