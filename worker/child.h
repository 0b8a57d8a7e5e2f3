/*
 * child.h: the program that a slot runs: claim, run, publish, in a straight line, with a blocking
 * connection of its own. It is started by slot.c with these descriptors open and nothing else.
 */
#ifndef WORKER_CHILD_H
#define WORKER_CHILD_H

enum {
    CHILD_SHM_FD = 3,  /* struct shm */
    CHILD_WAKE_FD = 4, /* a byte written here wakes the parent */
};

#define CHILD_ARGUMENT "--child" /* the one argument that makes a worker a child */

/* Never returns but when it cannot start: then the exit code. */
int child_main(void);

#endif
