/*
 * opt_text.c: numbers with their units, and the texts of --help and --dump-config.
 */
#include "lib/opt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/opt_inside.h"

enum { OPT_HELP_COLUMN = 28, OPT_HELP_WIDTH = 92 };

static const struct opt_unit byte_units[] = {
    {"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}};
static const struct opt_unit time_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}};
static const struct opt_unit plain_units[] = {{"", 1}};

void *opt_field(const void *conf, const struct opt *opt)
{
    return (char *)(uintptr_t)conf + opt->offset;
}

const struct opt_unit *opt_units(enum opt_type type, size_t *ret_count)
{
    if (type == OPT_BYTES) {
        *ret_count = JM_COUNT_OF(byte_units);
        return byte_units;
    }
    if (type == OPT_DURATION) {
        *ret_count = JM_COUNT_OF(time_units);
        return time_units;
    }
    *ret_count = JM_COUNT_OF(plain_units);
    return plain_units;
}

void opt_format_number(enum opt_type type, uint64_t value, struct buf *out)
{
    size_t count, best = 0;
    const struct opt_unit *units = opt_units(type, &count);

    for (size_t i = 0; i < count && value != 0; i++)
        if (value % units[i].factor == 0)
            best = i;
    buf_printf(out, "%" PRIu64 "%s", value / units[best].factor, units[best].word);
}

static const char *placeholder(const struct opt *opt)
{
    static const char *const by_type[] = {
        [OPT_BOOL] = "yes|no", [OPT_U64] = "N",    [OPT_BYTES] = "SIZE", [OPT_DURATION] = "TIME",
        [OPT_ENUM] = "WORD",   [OPT_STR] = "TEXT", [OPT_LIST] = "TEXT"};

    return opt->value != NULL ? opt->value : by_type[opt->type];
}

/* Words from `column` on, each line filled up to the width and indented to the help column. */
static void write_wrapped(struct buf *out, const char *text, size_t column)
{
    while (*text != '\0') {
        size_t len = strcspn(text, " ");

        if (column + 1 + len > OPT_HELP_WIDTH) {
            buf_printf(out, "\n%*s", OPT_HELP_COLUMN, "");
            column = OPT_HELP_COLUMN;
        }
        buf_printf(out, "%s%.*s", column == OPT_HELP_COLUMN ? "" : " ", (int)len, text);
        column += len + (column != OPT_HELP_COLUMN);
        text += len;
        text += strspn(text, " ");
    }
    buf_put_u8(out, '\n');
}

static void write_row(struct buf *out, char letter, const char *name, const char *value,
                      const char *help)
{
    size_t start = out->len;
    size_t width;

    if (letter != '\0')
        buf_printf(out, "  -%c, --%s%s", letter, name, value);
    else
        buf_printf(out, "      --%s%s", name, value);
    width = out->len - start;
    if (width + 2 > OPT_HELP_COLUMN)
        buf_printf(out, "\n%*s", OPT_HELP_COLUMN, "");
    else
        buf_printf(out, "%*s", (int)(OPT_HELP_COLUMN - width), "");
    write_wrapped(out, help, OPT_HELP_COLUMN);
}

static void describe_words(const struct opt *opt, struct buf *out)
{
    for (size_t i = 0; opt->words[i] != NULL; i++)
        buf_printf(out, "%s%s", i == 0 ? " One of " : ", ", opt->words[i]);
    buf_put_str(out, ".");
}

/* The help sentence with what the table knows besides: range, words, default, environment. */
static void describe(const struct opt *opt, struct buf *out)
{
    buf_put_str(out, opt->help);
    if (opt->type == OPT_ENUM)
        describe_words(opt, out);
    if (opt->type == OPT_U64 || opt->type == OPT_BYTES || opt->type == OPT_DURATION) {
        buf_put_str(out, " From ");
        opt_format_number(opt->type, opt->min, out);
        buf_put_str(out, " to ");
        opt_format_number(opt->type, opt->max, out);
        buf_put_str(out, ".");
    }
    if (opt->type == OPT_LIST)
        buf_printf(out, " May be given up to %" PRIu64 " times.", opt->max);
    if (opt->fallback != NULL && opt->fallback[0] != '\0' && opt->type != OPT_BOOL)
        buf_printf(out, " Default %s.", opt->fallback);
    if (opt->env != NULL)
        buf_printf(out, " Environment: %s.", opt->env);
    buf_put_u8(out, '\0');
}

static void write_opt(const struct opt *opt, struct buf *out)
{
    char value[64] = "";
    struct buf help;

    if (opt->type != OPT_BOOL)
        snprintf(value, sizeof(value), opt->implied != NULL ? "[=%s]" : " %s", placeholder(opt));
    buf_init(&help, OPT_TEXT_BYTES);
    describe(opt, &help);
    if (!buf_has_failed(&help))
        write_row(out, opt->letter, opt->name, value, (const char *)help.data);
    buf_done(&help);
}

void opt_write_help(const struct opt_program *program, struct buf *out)
{
    buf_printf(out, "Usage: %s %s\n%s\n\nOptions:\n", program->name, program->usage,
               program->summary);
    for (size_t i = 0; i < program->opt_count; i++)
        write_opt(&program->opts[i], out);
    if (program->has_config) {
        write_row(out, '\0', "config", " FILE", "Read options from FILE, lines `name = value`.");
        write_row(out, '\0', "dump-config", "", "Print the options in force as such a file.");
    }
    write_row(out, opt_find_letter(program, 'h') ? '\0' : 'h', "help", "", "Print this.");
    write_row(out, opt_find_letter(program, 'V') ? '\0' : 'V', "version", "", "Print the version.");
    if (program->epilogue != NULL)
        buf_printf(out, "\n%s\n", program->epilogue);
}

static void write_value(const struct opt *opt, const void *conf, struct buf *out)
{
    const void *field = opt_field(conf, opt);

    switch (opt->type) {
    case OPT_BOOL:
        buf_put_str(out, *(const bool *)field ? "yes" : "no");
        break;
    case OPT_ENUM:
        buf_put_str(out, opt->words[*(const unsigned *)field]);
        break;
    case OPT_STR:
        buf_put_str(out, *(const char *const *)field);
        break;
    case OPT_U64:
    case OPT_BYTES:
    case OPT_DURATION:
        opt_format_number(opt->type, *(const uint64_t *)field, out);
        break;
    case OPT_LIST: /* write_list */
        break;
    }
}

static void write_list(const struct opt *opt, const struct opt_list *list, struct buf *out)
{
    buf_printf(out, "# %s\n", opt->help);
    for (size_t i = 0; i < list->count; i++)
        buf_printf(out, "%s = %s\n", opt->name, list->items[i]);
    if (list->count == 0)
        buf_printf(out, "#%s = \n", opt->name);
    buf_put_u8(out, '\n');
}

static void write_single(const struct opt *opt, const void *conf, struct buf *out)
{
    bool is_unset = opt->type == OPT_STR && *(const char *const *)opt_field(conf, opt) == NULL;

    buf_printf(out, "# %s\n%s%s = ", opt->help, is_unset ? "#" : "", opt->name);
    if (!is_unset)
        write_value(opt, conf, out);
    buf_put_str(out, "\n\n");
}

void opt_write_config(const struct opt_program *program, const void *conf, struct buf *out)
{
    for (size_t i = 0; i < program->opt_count; i++) {
        const struct opt *opt = &program->opts[i];

        if (opt->type == OPT_LIST)
            write_list(opt, opt_field(conf, opt), out);
        else
            write_single(opt, conf, out);
    }
}
