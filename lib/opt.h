/*
 * opt.h: one typed table of options feeds the command line, the environment, a configuration file,
 * --help, --version and --dump-config. A value is written into the program's own conf struct.
 *
 * Where a value comes from, the later winning: the table's default, the file of --config (lines
 * `name = value`, `#` begins a comment line), the environment, the command line.
 *
 * Options come as --name value, --name=value, -x value, -xvalue; a BOOL as --name, --no-name or
 * --name=yes|no. `--` ends the options. Not thread-safe; called once, at start.
 */
#ifndef LIB_OPT_H
#define LIB_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/buf.h"

/* The type says what the conf field at `offset` is. */
enum opt_type {
    OPT_BOOL,     /* bool */
    OPT_U64,      /* uint64_t, min to max */
    OPT_BYTES,    /* uint64_t; accepts K, M, G (powers of 1024); min to max in bytes */
    OPT_DURATION, /* uint64_t, ms; accepts ms, s, m, h, d; bare numbers are seconds; min to max in
                     ms */
    OPT_ENUM,     /* unsigned: the index in `words` */
    OPT_STR,      /* const char *: borrowed from argv, the environment, the table or the file */
    OPT_LIST,     /* struct opt_list: may be given up to `max` times; each source adds to it */
};

enum { OPT_LIST_ITEMS = 32 }; /* the most that `max` of an OPT_LIST can be */

struct opt_list {
    size_t count;
    const char *items[OPT_LIST_ITEMS]; /* borrowed, as an OPT_STR is */
};

struct opt {
    const char *name; /* without dashes */
    char letter;      /* the short form, or 0 */
    enum opt_type type;
    size_t offset;            /* of the field in the conf struct */
    const char *fallback;     /* the default as one would write it; NULL leaves the field alone */
    uint64_t min;             /* U64, BYTES, DURATION */
    uint64_t max;             /* likewise; LIST */
    const char *const *words; /* ENUM: NULL ends them */
    const char *implied;      /* if not NULL, the value is optional (--wait, --wait=5) and this one
                                 is meant when it is left out */
    const char *value;        /* placeholder in --help ("FILE"); NULL takes one by type */
    const char *env;          /* environment variable, or NULL */
    const char *help;         /* one or more sentences; wrapped by --help */
};

struct opt_program {
    const char *name;    /* "jobmill-worker" */
    const char *usage;   /* what follows the name in the usage line: "[options]" */
    const char *summary; /* one sentence */
    const char *version;
    const char *epilogue; /* printed after the options, or NULL */
    const struct opt *opts;
    size_t opt_count;
    bool has_config;       /* whether --config and --dump-config exist */
    bool has_operands;     /* whether words that are no options are allowed */
    bool stops_at_operand; /* the first operand ends the options (a command with its own) */
};

/* What is left when the options are read. */
struct opt_rest {
    char **operands; /* the words that are no options, in order: in argv's own memory */
    size_t operand_count;
    char *config_text; /* owned; strings of the conf may point into it */
};

enum opt_outcome {
    OPT_GO_ON,  /* conf is filled */
    OPT_SHOWN,  /* ret_text is what the user asked for: --help, --version, --dump-config */
    OPT_REFUSED /* ret_text is one sentence that says what is wrong */
};

/* Reads all sources into `conf`, which holds zeroes or what the table leaves alone. Moves operands
 * to the front of argv (argv[0] stays). `ret_rest` is to be given to opt_done in any case. */
enum opt_outcome opt_parse(const struct opt_program *program, int argc, char **argv, void *conf,
                           struct opt_rest *ret_rest, struct buf *ret_text) JM_MUST_CHECK;

/* opt_parse for a main(): prints what is to be printed. Returns -1 to go on, or the exit code: 0
 * after --help and the like, 2 after a refused option. */
int opt_start(const struct opt_program *program, int argc, char **argv, void *conf,
              struct opt_rest *ret_rest) JM_MUST_CHECK;

void opt_done(struct opt_rest *rest);

/* Reads a number as an option of that type (U64, BYTES, DURATION) would, without its bounds. */
bool opt_parse_number(enum opt_type type, const char *text, uint64_t *ret_value) JM_MUST_CHECK;

void opt_write_help(const struct opt_program *program, struct buf *out);

/* `name = value` lines that --config reads back, with each option's help as a comment. */
void opt_write_config(const struct opt_program *program, const void *conf, struct buf *out);

#endif
