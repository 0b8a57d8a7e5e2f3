/*
 * area.h: the page that a torture script shares with the program under test through a file. The
 * script says which call is to fail, the shim (shim.c) counts and fails it. torture.py knows this
 * layout, too.
 */
#ifndef TORTURE_AREA_H
#define TORTURE_AREA_H

#include <stdatomic.h>
#include <stdint.h>

/* What is counted apart from each other. */
enum torture_kind {
    TORTURE_NONE,
    TORTURE_ALLOC,      /* malloc, calloc, realloc, posix_memalign, aligned_alloc */
    TORTURE_FILE_WRITE, /* to a regular file, at or not at an offset */
    TORTURE_SYNC,       /* fsync, fdatasync */
    TORTURE_FILE_READ,
    TORTURE_RECEIVE, /* read, readv, recv, recvmsg of a socket */
    TORTURE_SEND,
    TORTURE_CONNECT,
    TORTURE_OPEN,   /* open, openat, fopen */
    TORTURE_HANDLE, /* socket, socketpair, pipe2, eventfd, epoll_create1, memfd_create, dup */
    TORTURE_ACCEPT,
    TORTURE_POLL, /* epoll_ctl */
    TORTURE_THREAD,
    TORTURE_FORK,
    TORTURE_EXEC,
    TORTURE_MAP,  /* mmap of a file */
    TORTURE_LOCK, /* fcntl F_SETLK… */
    TORTURE_SIZE, /* ftruncate, posix_fallocate */
    TORTURE_NAME, /* unlink, rename */
    TORTURE_PIPE, /* write to a pipe */
};

enum {
    TORTURE_STACKS = 1 << 15,
    TORTURE_AREA_BYTES = 4096 + TORTURE_STACKS * 16,
};

/* A place where calls come from: the whole stack of callers, in every process the same. */
struct torture_stack {
    _Atomic uint64_t id;   /* 0: a free place of the table */
    _Atomic uint64_t seen; /* calls from there, while at == 0 */
};

struct torture_area {
    _Atomic uint32_t kind;  /* enum torture_kind; 0: nothing is counted */
    _Atomic uint32_t error; /* errno of the failure */
    _Atomic uint64_t at;    /* the call that fails, from 1 on; 0: none */
    _Atomic uint64_t seen;  /* calls of the kind, and of the stack, so far */
    _Atomic uint64_t fired; /* 1: it has failed */
    _Atomic uint32_t role;  /* 0: every program; 1: not the children of a worker; 2: only they */
    _Atomic uint64_t stack; /* only calls with this stack count; 0: all */
    _Atomic uint64_t order; /* so many stacks were met */
    char rest[4096 - 56];
    struct torture_stack stacks[TORTURE_STACKS]; /* hashed by id */
};

#endif
