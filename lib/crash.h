/*
 * crash.h: named points at which a process can be made to die as by SIGKILL, to prove that no
 * moment of a job's life is a bad one for a crash. Only the build flavour `crash` (JM_CRASH_POINTS)
 * has them; elsewhere CRASH_POINT is nothing. Any thread.
 *
 *     JM_CRASH_AT=NAME:N    die when the process comes to the point NAME for the N-th time
 *     JM_CRASH_LOG=FILE     append a line "NAME PID" before, so that a test can tell this death
 *
 * tests/faults/crash.py lists the points, and compares the list with the sources.
 */
#ifndef LIB_CRASH_H
#define LIB_CRASH_H

#ifdef JM_CRASH_POINTS
#define CRASH_POINT(name) crash_point(name)
#define CRASH_WITHIN(name) crash_within(name)
#else
#define CRASH_POINT(name) ((void)0)
#define CRASH_WITHIN(name) ((void)0)
#endif

void crash_point(const char *name);

/* Not here, but at a random moment of the next two milliseconds, while something goes on that has
 * no inside of ours: a checkpoint, an fsync. */
void crash_within(const char *name);

#endif
