/*
 * opt.c: every source ends in set_value, which turns one text into one field or says in one
 * sentence why not. The parts: values (text to field), and sources (file, environment, argv). What
 * is made from the table for people to read is in opt_text.c.
 */
#include "lib/opt.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/opt_inside.h"

enum { OPT_CONFIG_BYTES = 64 * 1024 };

struct opt_run {
    const struct opt_program *program;
    void *conf;
    struct buf *text;
};

static enum opt_outcome refuse(struct opt_run *run, const char *fmt, ...) JM_PRINTF(2, 3);

static enum opt_outcome refuse(struct opt_run *run, const char *fmt, ...)
{
    char sentence[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(sentence, sizeof(sentence), fmt, args);
    va_end(args);
    buf_clear(run->text);
    buf_put_str(run->text, sentence);
    return OPT_REFUSED;
}

static bool find_factor(enum opt_type type, const char *word, uint64_t *ret_factor)
{
    size_t count;
    const struct opt_unit *units = opt_units(type, &count);

    if (word[0] == '\0') {
        *ret_factor = type == OPT_DURATION ? 1000 : 1;
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(units[i].word, word) != 0)
            continue;
        *ret_factor = units[i].factor;
        return true;
    }
    return false;
}

bool opt_parse_number(enum opt_type type, const char *text, uint64_t *ret_value)
{
    uint64_t value, factor;
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0 || !find_factor(type, end, &factor) || value > UINT64_MAX / factor)
        return false;
    *ret_value = value * factor;
    return true;
}

static enum opt_outcome set_number(struct opt_run *run, const struct opt *opt, const char *text)
{
    uint64_t value;

    if (opt_parse_number(opt->type, text, &value) && value >= opt->min && value <= opt->max) {
        *(uint64_t *)opt_field(run->conf, opt) = value;
        return OPT_GO_ON;
    }
    (void)refuse(run, "--%s: '%s' is not a %s from ", opt->name, text,
                 opt->type == OPT_DURATION ? "time"
                 : opt->type == OPT_BYTES  ? "size"
                                           : "number");
    opt_format_number(opt->type, opt->min, run->text);
    buf_put_str(run->text, " to ");
    opt_format_number(opt->type, opt->max, run->text);
    return OPT_REFUSED;
}

static enum opt_outcome set_bool(struct opt_run *run, const struct opt *opt, const char *text)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};

    for (size_t i = 0; i < JM_COUNT_OF(yes); i++) {
        bool is_yes = strcmp(text, yes[i]) == 0;

        if (!is_yes && strcmp(text, no[i]) != 0)
            continue;
        *(bool *)opt_field(run->conf, opt) = is_yes;
        return OPT_GO_ON;
    }
    return refuse(run, "--%s: '%s' is neither yes nor no", opt->name, text);
}

static enum opt_outcome set_word(struct opt_run *run, const struct opt *opt, const char *text)
{
    for (unsigned i = 0; opt->words[i] != NULL; i++) {
        if (strcmp(opt->words[i], text) != 0)
            continue;
        *(unsigned *)opt_field(run->conf, opt) = i;
        return OPT_GO_ON;
    }
    (void)refuse(run, "--%s: '%s' is none of", opt->name, text);
    for (unsigned i = 0; opt->words[i] != NULL; i++)
        buf_printf(run->text, "%s %s", i == 0 ? "" : ",", opt->words[i]);
    return OPT_REFUSED;
}

static enum opt_outcome add_item(struct opt_run *run, const struct opt *opt, const char *text)
{
    struct opt_list *list = opt_field(run->conf, opt);

    assert(opt->max <= OPT_LIST_ITEMS);
    if (list->count >= opt->max)
        return refuse(run, "--%s may be given at most %" PRIu64 " times", opt->name, opt->max);
    list->items[list->count++] = text;
    return OPT_GO_ON;
}

static enum opt_outcome set_value(struct opt_run *run, const struct opt *opt, const char *text)
{
    switch (opt->type) {
    case OPT_BOOL:
        return set_bool(run, opt, text);
    case OPT_ENUM:
        return set_word(run, opt, text);
    case OPT_STR:
        *(const char **)opt_field(run->conf, opt) = text;
        return OPT_GO_ON;
    case OPT_LIST:
        return add_item(run, opt, text);
    case OPT_U64:
    case OPT_BYTES:
    case OPT_DURATION:
        break;
    }
    return set_number(run, opt, text);
}

static const struct opt *find_name(const struct opt_program *program, const char *name, size_t len)
{
    for (size_t i = 0; i < program->opt_count; i++)
        if (strncmp(program->opts[i].name, name, len) == 0 && program->opts[i].name[len] == '\0')
            return &program->opts[i];
    return NULL;
}

const struct opt *opt_find_letter(const struct opt_program *program, char letter)
{
    for (size_t i = 0; i < program->opt_count; i++)
        if (program->opts[i].letter == letter)
            return &program->opts[i];
    return NULL;
}

static enum opt_outcome read_defaults(struct opt_run *run)
{
    for (size_t i = 0; i < run->program->opt_count; i++) {
        const struct opt *opt = &run->program->opts[i];
        enum opt_outcome outcome = OPT_GO_ON;

        assert(opt->help != NULL);
        if (opt->fallback != NULL)
            outcome = set_value(run, opt, opt->fallback);
        assert(outcome == OPT_GO_ON);
    }
    return OPT_GO_ON;
}

static enum opt_outcome read_environment(struct opt_run *run)
{
    for (size_t i = 0; i < run->program->opt_count; i++) {
        const struct opt *opt = &run->program->opts[i];
        const char *text = opt->env != NULL ? getenv(opt->env) : NULL;

        if (text == NULL || text[0] == '\0')
            continue;
        if (set_value(run, opt, text) == OPT_GO_ON)
            continue;
        buf_printf(run->text, " (from the environment variable %s)", opt->env);
        return OPT_REFUSED;
    }
    return OPT_GO_ON;
}

static char *trim(char *text)
{
    size_t len;

    while (isspace((unsigned char)*text))
        text++;
    len = strlen(text);
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        text[--len] = '\0';
    return text;
}

static enum opt_outcome read_config_line(struct opt_run *run, char *line, const char *path,
                                         unsigned number)
{
    char *name = trim(line);
    char *equals = strchr(name, '=');
    const struct opt *opt;

    if (name[0] == '\0' || name[0] == '#')
        return OPT_GO_ON;
    if (equals == NULL)
        return refuse(run, "%s:%u: a line is `name = value`", path, number);
    *equals = '\0';
    name = trim(name);
    opt = find_name(run->program, name, strlen(name));
    if (opt == NULL)
        return refuse(run, "%s:%u: there is no option '%s'", path, number, name);
    if (set_value(run, opt, trim(equals + 1)) == OPT_GO_ON)
        return OPT_GO_ON;
    buf_printf(run->text, " (%s:%u)", path, number);
    return OPT_REFUSED;
}

static enum opt_outcome read_config(struct opt_run *run, const char *path, char **ret_text)
{
    char *text = calloc(1, OPT_CONFIG_BYTES + 1);
    FILE *file = fopen(path, "re");
    char *next = text;
    size_t len = 0;

    *ret_text = text; /* the conf's strings point into it */
    if (file == NULL || text == NULL) {
        int error = errno;

        if (file != NULL)
            fclose(file);
        return refuse(run, "--config: cannot open '%s': %s", path, strerror(error));
    }
    len = fread(text, 1, OPT_CONFIG_BYTES + 1, file);
    fclose(file);
    if (len > OPT_CONFIG_BYTES)
        return refuse(run, "--config: '%s' is larger than %d bytes", path, OPT_CONFIG_BYTES);
    for (unsigned number = 1; next != NULL; number++) {
        char *line = strsep(&next, "\n");
        enum opt_outcome outcome = read_config_line(run, line, path, number);

        if (outcome != OPT_GO_ON)
            return outcome;
    }
    return OPT_GO_ON;
}

/* The path of --config, which must be known before the rest of the command line is read. */
static const char *find_config(const struct opt_program *program, int argc, char **argv)
{
    const char *path = NULL;

    for (int i = 1; program->has_config && i < argc; i++) {
        if (strcmp(argv[i], "--") == 0)
            break;
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            path = argv[++i];
        else if (strncmp(argv[i], "--config=", 9) == 0)
            path = argv[i] + 9;
    }
    return path;
}

/* Sets `opt` to `value` (what stood behind '=', or NULL) or to the next word, which then is used
 * up. */
static enum opt_outcome take_value(struct opt_run *run, const struct opt *opt, const char *value,
                                   int argc, char **argv, int *at)
{
    if (value == NULL && opt->type == OPT_BOOL)
        value = "yes";
    if (value == NULL)
        value = opt->implied;
    if (value == NULL && *at + 1 < argc)
        value = argv[++*at];
    if (value == NULL)
        return refuse(run, "--%s: a value is missing", opt->name);
    return set_value(run, opt, value);
}

enum builtin { BUILTIN_NONE, BUILTIN_HELP, BUILTIN_VERSION, BUILTIN_CONFIG, BUILTIN_DUMP };

static enum builtin find_builtin(const struct opt_program *program, const char *word)
{
    if (strcmp(word, "--help") == 0 || (strcmp(word, "-h") == 0 && !opt_find_letter(program, 'h')))
        return BUILTIN_HELP;
    if (strcmp(word, "--version") == 0 ||
        (strcmp(word, "-V") == 0 && !opt_find_letter(program, 'V')))
        return BUILTIN_VERSION;
    if (!program->has_config)
        return BUILTIN_NONE;
    if (strcmp(word, "--config") == 0 || strncmp(word, "--config=", 9) == 0)
        return BUILTIN_CONFIG;
    return strcmp(word, "--dump-config") == 0 ? BUILTIN_DUMP : BUILTIN_NONE;
}

static enum opt_outcome read_long(struct opt_run *run, int argc, char **argv, int *at)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct opt *opt = find_name(run->program, name, len);

    if (opt != NULL)
        return take_value(run, opt, equals != NULL ? equals + 1 : NULL, argc, argv, at);
    if (equals == NULL && strncmp(name, "no-", 3) == 0) {
        opt = find_name(run->program, name + 3, len - 3);
        if (opt != NULL && opt->type == OPT_BOOL)
            return set_value(run, opt, "no");
    }
    return refuse(run, "there is no option '--%.*s'; see --help", (int)len, name);
}

static enum opt_outcome read_short(struct opt_run *run, int argc, char **argv, int *at)
{
    const char *word = argv[*at];
    const struct opt *opt = opt_find_letter(run->program, word[1]);

    if (opt == NULL)
        return refuse(run, "there is no option '-%c'; see --help", word[1]);
    return take_value(run, opt, word[2] != '\0' ? word + 2 : NULL, argc, argv, at);
}

static enum opt_outcome show_builtin(struct opt_run *run, enum builtin builtin)
{
    if (builtin == BUILTIN_HELP)
        opt_write_help(run->program, run->text);
    else
        buf_printf(run->text, "%s %s\n", run->program->name, run->program->version);
    return OPT_SHOWN;
}

static enum opt_outcome read_arguments(struct opt_run *run, int argc, char **argv,
                                       struct opt_rest *rest, bool *ret_is_dump)
{
    bool is_over = false;

    for (int i = 1; i < argc; i++) {
        enum builtin builtin = is_over ? BUILTIN_NONE : find_builtin(run->program, argv[i]);
        enum opt_outcome outcome = OPT_GO_ON;

        if (builtin == BUILTIN_HELP || builtin == BUILTIN_VERSION)
            return show_builtin(run, builtin);
        if (builtin == BUILTIN_DUMP) {
            *ret_is_dump = true;
        } else if (builtin == BUILTIN_CONFIG) {
            i += argv[i][8] == '\0';
            if (i >= argc)
                return refuse(run, "--config: a value is missing");
        } else if (is_over || argv[i][0] != '-' || argv[i][1] == '\0') {
            if (!run->program->has_operands)
                return refuse(run, "'%s' is not an option; see --help", argv[i]);
            rest->operands[rest->operand_count++] = argv[i];
            is_over = is_over || run->program->stops_at_operand;
        } else if (strcmp(argv[i], "--") == 0) {
            is_over = true;
        } else {
            outcome = argv[i][1] == '-' ? read_long(run, argc, argv, &i)
                                        : read_short(run, argc, argv, &i);
        }
        if (outcome != OPT_GO_ON)
            return outcome;
    }
    return OPT_GO_ON;
}

enum opt_outcome opt_parse(const struct opt_program *program, int argc, char **argv, void *conf,
                           struct opt_rest *ret_rest, struct buf *ret_text)
{
    struct opt_run run = {.program = program, .conf = conf, .text = ret_text};
    const char *path = find_config(program, argc, argv);
    enum opt_outcome outcome;
    bool is_dump = false;

    *ret_rest = (struct opt_rest){.operands = argv + (argc > 0)};
    buf_clear(ret_text);
    outcome = read_defaults(&run);
    if (outcome == OPT_GO_ON && path != NULL)
        outcome = read_config(&run, path, &ret_rest->config_text);
    if (outcome == OPT_GO_ON)
        outcome = read_environment(&run);
    if (outcome == OPT_GO_ON)
        outcome = read_arguments(&run, argc, argv, ret_rest, &is_dump);
    if (outcome != OPT_GO_ON || !is_dump)
        return outcome;
    opt_write_config(program, conf, ret_text);
    return OPT_SHOWN;
}

int opt_start(const struct opt_program *program, int argc, char **argv, void *conf,
              struct opt_rest *ret_rest)
{
    enum opt_outcome outcome;
    struct buf text;

    buf_init(&text, OPT_TEXT_BYTES);
    outcome = opt_parse(program, argc, argv, conf, ret_rest, &text);
    if (outcome != OPT_GO_ON && buf_has_failed(&text)) {
        fprintf(stderr, "%s: out of memory\n", program->name);
        outcome = OPT_REFUSED;
    } else if (outcome == OPT_SHOWN) {
        fwrite(text.data, 1, text.len, stdout);
    } else if (outcome == OPT_REFUSED) {
        fprintf(stderr, "%s: %.*s\n", program->name, (int)text.len, (const char *)text.data);
    }
    buf_done(&text);
    if (outcome == OPT_GO_ON)
        return -1;
    return outcome == OPT_SHOWN && fflush(stdout) == 0 ? 0 : 2;
}

void opt_done(struct opt_rest *rest)
{
    free(rest->config_text);
    *rest = (struct opt_rest){0};
}
