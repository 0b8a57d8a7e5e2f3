#include "tests/bench/histogram.h"

enum { SUB_BITS = 6, SUB = 1 << SUB_BITS };

static unsigned bucket_of(uint64_t ns)
{
    unsigned power, bucket;

    if (ns < SUB)
        return (unsigned)ns;
    power = 63 - (unsigned)__builtin_clzll(ns) - SUB_BITS;
    bucket = (power + 1) * SUB + (unsigned)((ns >> power) - SUB);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t top_of(unsigned bucket)
{
    unsigned power;

    if (bucket < SUB)
        return bucket;
    power = bucket / SUB - 1;
    return ((uint64_t)(SUB + bucket % SUB + 1) << power) - 1;
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    h->counts[bucket_of(ns)]++;
    h->total++;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

uint64_t histogram_quantile(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)h->total + 0.5), seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen >= wanted && seen > 0)
            return top_of(i) < h->max_ns ? top_of(i) : h->max_ns;
    }
    return h->max_ns;
}
