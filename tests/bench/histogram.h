/*
 * histogram.h: counts of durations in log-linear buckets: 64 to each power of two, so that a
 * quantile is within 1.6 % of the truth, in constant memory. Source: G. Tene's HdrHistogram.
 */
#ifndef TESTS_BENCH_HISTOGRAM_H
#define TESTS_BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 64 * 40 };

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max_ns;
};

void histogram_add(struct histogram *h, uint64_t ns);

/* The smallest duration that at least `share` (0 to 1) of all are not above; 0 if there are none.
 */
uint64_t histogram_quantile(const struct histogram *h, double share);

#endif
