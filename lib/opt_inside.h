/*
 * opt_inside.h: what opt.c and opt_text.c share; for no one else.
 */
#ifndef LIB_OPT_INSIDE_H
#define LIB_OPT_INSIDE_H

#include "lib/opt.h"

enum { OPT_TEXT_BYTES = 64 * 1024 };

struct opt_unit {
    const char *word;
    uint64_t factor;
};

/* The units that a number of that type may have, from the smallest on. */
const struct opt_unit *opt_units(enum opt_type type, size_t *ret_count);

/* Where an option's value is in the conf struct. */
void *opt_field(const void *conf, const struct opt *opt);

/* The option with that short form, or NULL. */
const struct opt *opt_find_letter(const struct opt_program *program, char letter);

/* A value in the largest unit that shows it exactly. */
void opt_format_number(enum opt_type type, uint64_t value, struct buf *out);

#endif
