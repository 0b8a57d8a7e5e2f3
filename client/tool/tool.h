/*
 * tool.h: what the commands of `jobmill` share: exit codes, the options that each of them has, the
 * handle, and how a failure is told.
 */
#ifndef CLIENT_TOOL_TOOL_H
#define CLIENT_TOOL_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/jobmill.h"
#include "lib/attr.h"
#include "lib/opt.h"

/* Documented in --help; never renumbered. */
enum tool_exit {
    TOOL_OK = 0,
    TOOL_BAD_END = 1,     /* the job failed, was cancelled or expired; `up` gave up */
    TOOL_USAGE = 2,       /* the command line is wrong */
    TOOL_UNREACHABLE = 3, /* no broker there; nothing was done */
    TOOL_REFUSED = 4,     /* the broker refused or failed */
    TOOL_UNFINISHED = 5,  /* the job had not finished when the time was over */
    TOOL_FATE = 6,        /* sent, but no answer came: perhaps it was done */
    TOOL_FAILED = 7,      /* anything else: an answer not understood, no memory, no output */
};

/* The first members of each command's conf, set by TOOL_OPTS. */
struct tool_conf {
    const char *url;
    bool is_json;
};

#define TOOL_OPTS                                                                        \
    {.name = "url",                                                                      \
     .type = OPT_STR,                                                                    \
     .offset = offsetof(struct tool_conf, url),                                          \
     .fallback = "http://127.0.0.1:7878",                                                \
     .value = "URL",                                                                     \
     .env = "JOBMILL_URL",                                                               \
     .help = "The broker: http://HOST:PORT or unix:/PATH."},                             \
    {                                                                                    \
        .name = "json", .type = OPT_BOOL, .offset = offsetof(struct tool_conf, is_json), \
        .help = "Print JSON, for machines."                                              \
    }

struct tool_command {
    const char *name;
    const char *operands;              /* as the usage line shows them, with a blank behind each */
    const char *summary;               /* a few words */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns a tool_exit */
    const char *help;                  /* the same in sentences */
};

/* The commands, in the order of --help; a NULL name ends them. */
const struct tool_command *tool_commands(void);
const struct tool_command *tool_find_command(const char *name); /* NULL: there is none */

/* Reads the options of the command argv[0] into `conf`; it begins with a struct tool_conf where the
 * command talks to a broker. Checks the number of operands. Returns -1 to go on, or the exit code.
 * `ret_rest` is to be given to opt_done in any case. */
int tool_read_options(int argc, char **argv, const struct opt *opts, size_t opt_count,
                      size_t min_operands, size_t max_operands, void *conf,
                      struct opt_rest *ret_rest) JM_MUST_CHECK;

/* What a command takes: its options, and how many operands. */
struct tool_syntax {
    const struct opt *opts;
    size_t opt_count;
    size_t min_operands;
    size_t max_operands;
};

#define TOOL_SYNTAX(table, min, max)                                             \
    {                                                                            \
        .opts = (table), .opt_count = JM_COUNT_OF(table), .min_operands = (min), \
        .max_operands = (max)                                                    \
    }

/* What a command does when its options are read. Returns a tool_exit. */
typedef int (*tool_action)(struct jobmill *mill, const struct opt_rest *rest, const void *conf);

/* A whole command that talks to a broker: reads the options into `conf`, opens the handle, acts,
 * flushes. Returns the exit code. */
int tool_run(int argc, char **argv, const struct tool_syntax *syntax, void *conf, tool_action act);

/* Opens the handle without repeats (a broker that isn't there is told at once). Returns TOOL_OK, or
 * the exit code after a sentence on stderr. */
int tool_open(const struct tool_conf *conf, struct jobmill **ret_mill) JM_MUST_CHECK;

/* Tells the last failure of the handle on stderr; returns the exit code for it. */
int tool_fail(const struct jobmill *mill, int error);

/* One sentence on stderr, where what could steer a terminal is '?'; returns `exit`. */
int tool_say(int exit, const char *fmt, ...) JM_PRINTF(2, 3);

/* Appends JSON in a form that can't steer a terminal. */
void tool_put_json(struct buf *out, const char *json);

/* Prints the value as one such line. Returns a tool_exit. */
int tool_print_json(struct jobmill_value *value);

/* Flushes stdout; what could not be written makes a success a TOOL_FAILED. */
int tool_end(int exit);

#endif
