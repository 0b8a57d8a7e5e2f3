/* peer.h: what the drivers of the peers in C share: a clock, a list of times, and one line of JSON.
 */
#ifndef PEER_H
#define PEER_H

#include <stddef.h>
#include <stdint.h>

enum { PEER_TIMES = 1 << 20 };

struct peer_run {
    uint64_t begun_ns;
    uint64_t until_ns;
    uint64_t done;
    uint32_t *times_us; /* of up to PEER_TIMES jobs */
    size_t time_count;
};

uint64_t peer_now_ns(void);
void peer_begin(struct peer_run *run, double seconds);
int peer_goes_on(const struct peer_run *run);
void peer_note(struct peer_run *run, uint64_t begun_ns); /* one more job, and how long it took */
void peer_tell(struct peer_run *run);                    /* the rate, p50 and p99 */
void peer_die(const char *what, const char *why) __attribute__((noreturn));

#endif
