/*
 * lost.h: the search for dispatched jobs that are nowhere, in the three steps that hosts.h tells. A
 * part of hosts.c, in a file of its own. Loop thread only.
 */
#ifndef BROKER_LOST_H
#define BROKER_LOST_H

#include "broker/hosts.h"

/* The host's last beat, if it is fresh, vouches for the jobs it names. */
void lost_note_beat(struct hosts *hs, struct host *h);

/* Step 1: reads the lists of the queues that have unvouched jobs. */
void lost_search(struct hosts *hs);

/* Steps 2 and 3, and the verdict. */
void lost_judge(struct hosts *hs);

/* Starts every count over: a broken link, another Redis. */
void lost_forget_counts(struct hosts *hs);

#endif
