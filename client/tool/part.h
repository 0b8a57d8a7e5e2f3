/*
 * part.h: one of the programs that `jobmill up` runs: how it is started, what it says, how it ends.
 * When it is started again, or stopped, is decided in up.c. Single-threaded.
 *
 * A part runs in a process group of its own, so that a Ctrl-C on the terminal reaches `up` alone,
 * which then stops the parts in order; it reads from /dev/null; what it writes comes back through a
 * pipe and is passed on to stderr, line by line, behind the part's name. It is killed when `up`
 * dies, however that happens (PR_SET_PDEATHSIG).
 */
#ifndef CLIENT_TOOL_PART_H
#define CLIENT_TOOL_PART_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/attr.h"
#include "lib/buf.h"

enum { PART_ARGS = 32 };

enum part_state {
    PART_IDLE,     /* not started, or ended for good */
    PART_STARTING, /* runs, but has not said that it is ready */
    PART_READY,
    PART_PAUSED,   /* died; is started again at until_ms */
    PART_STOPPING, /* was told to end; is killed at until_ms */
};

struct part {
    const char *name;
    char *args[PART_ARGS + 1]; /* args[0] is the program; the last is NULL */
    size_t arg_count;
    bool has_failed_args; /* out of memory while they were written */
    enum part_state state;
    pid_t pid;         /* 0: no process */
    int log_fd;        /* our end of the pipe, or -1 */
    struct buf log;    /* a line that is not whole yet */
    uint64_t until_ms; /* STARTING, PAUSED, STOPPING: when patience ends, on the monotonic clock */
    bool was_ready;    /* once, at least */
    unsigned deaths;   /* since it was last ready */
};

void part_init(struct part *part, const char *name);
void part_done(struct part *part); /* the process must have ended */

/* Appends one argument. A failure is met again in part_start. */
void part_add_arg(struct part *part, const char *fmt, ...) JM_PRINTF(2, 3);

/* Replaces an argument that was added before. */
void part_set_arg(struct part *part, size_t index, const char *fmt, ...) JM_PRINTF(3, 4);

/* Starts the program; `notify_socket` is its NOTIFY_SOCKET (NULL: none). A program that can't be
 * executed ends at once with status 127 and says why on its log. Returns 0 or a negative errno. */
int part_start(struct part *part, const char *notify_socket, uint64_t until_ms) JM_MUST_CHECK;

/* Sends `signal` to the program, if there is one, and waits until `until_ms` for its end. */
void part_stop(struct part *part, int signal, uint64_t until_ms);

/* The program was reaped: no process any more. */
void part_set_ended(struct part *part);
void part_set_ready(struct part *part);
void part_set_paused(struct part *part, uint64_t until_ms);

/* Passes on what the log pipe holds. */
void part_pump_log(struct part *part);

/* "was killed by signal 9 (Killed)" for a wait status. */
void part_format_end(int status, char *ret_text, size_t size);

#endif
