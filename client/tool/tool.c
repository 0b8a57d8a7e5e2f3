#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/tool/table.h"
#include "client/tool/tool.h"

int tool_read_options(int argc, char **argv, const struct opt *opts, size_t opt_count,
                      size_t min_operands, size_t max_operands, void *conf,
                      struct opt_rest *ret_rest)
{
    const struct tool_command *command = tool_find_command(argv[0]);
    char name[64], usage[128];
    struct opt_program program = {.name = name,
                                  .usage = usage,
                                  .summary = command->help,
                                  .version = JM_VERSION,
                                  .opts = opts,
                                  .opt_count = opt_count,
                                  .has_operands = max_operands > 0};
    int exit;

    snprintf(name, sizeof(name), "jobmill %s", command->name);
    snprintf(usage, sizeof(usage), "%s[options]", command->operands);
    exit = opt_start(&program, argc, argv, conf, ret_rest);
    if (exit >= 0)
        return exit;
    if (ret_rest->operand_count >= min_operands && ret_rest->operand_count <= max_operands)
        return -1;
    return tool_say(TOOL_USAGE, "usage: jobmill %s %s", command->name, usage);
}

int tool_open(const struct tool_conf *conf, struct jobmill **ret_mill)
{
    struct jobmill_options options = {.size = sizeof(options), .url = conf->url, .retry_ms = -1};
    int error = jobmill_open(&options, ret_mill);

    if (error == 0)
        return TOOL_OK;
    if (error == JOBMILL_EINVAL)
        return tool_say(TOOL_USAGE,
                        "'%s' is no broker's address: it is http://HOST:PORT, or unix: and the "
                        "path of a socket (at most 107 bytes)",
                        conf->url);
    return tool_say(TOOL_FAILED, "%s", jobmill_error_title(error));
}

int tool_run(int argc, char **argv, const struct tool_syntax *syntax, void *conf, tool_action act)
{
    struct jobmill *mill = NULL;
    struct opt_rest rest;
    int exit = tool_read_options(argc, argv, syntax->opts, syntax->opt_count, syntax->min_operands,
                                 syntax->max_operands, conf, &rest);

    if (exit < 0)
        exit = tool_open(conf, &mill);
    if (exit == TOOL_OK && mill != NULL)
        exit = tool_end(act(mill, &rest, conf));
    jobmill_close(mill);
    opt_done(&rest);
    return exit;
}

static int exit_for(int error)
{
    switch (error) {
    case JOBMILL_EINVAL:
        return TOOL_USAGE;
    case JOBMILL_ECONNECT:
    case JOBMILL_ETIMEDOUT:
        return TOOL_UNREACHABLE;
    case JOBMILL_EFATE:
        return TOOL_FATE;
    case JOBMILL_ENOMEM:
    case JOBMILL_EANSWER:
    case JOBMILL_ELIMIT:
        return TOOL_FAILED;
    default:
        return TOOL_REFUSED;
    }
}

int tool_fail(const struct jobmill *mill, int error)
{
    int exit = exit_for(error);

    tool_say(exit, "%s (%s)", jobmill_error_text(mill), jobmill_error_code(mill));
    if (error == JOBMILL_ECONNECT)
        tool_say(exit, "is it running? `jobmill up` starts one; JOBMILL_URL or --url says where");
    if (error == JOBMILL_EFATE)
        tool_say(exit, "it may or may not have been done; with --key KEY a submit can be repeated "
                       "safely");
    return exit;
}

int tool_say(int exit, const char *fmt, ...)
{
    struct buf line;
    char *text = NULL;
    va_list args;

    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        text = NULL;
    va_end(args);
    buf_init(&line, SIZE_MAX);
    buf_put_str(&line, "jobmill: ");
    table_put_clean(&line, span_of_str(text != NULL ? text : "out of memory"));
    if (buf_has_failed(&line))
        fputs("jobmill: out of memory\n", stderr);
    else
        fprintf(stderr, "%.*s\n", (int)line.len, (const char *)line.data);
    buf_done(&line);
    free(text);
    return exit;
}

/* DEL and the C1 controls, which JSON allows in a string as they are and terminals obey, as
 * escapes: the same text for whoever parses it. */
void tool_put_json(struct buf *out, const char *json)
{
    for (const unsigned char *at = (const unsigned char *)json; *at != '\0'; at++) {
        bool is_c1 = at[0] == 0xC2 && at[1] < 0xA0;

        at += is_c1;
        if (is_c1 || *at == 0x7f)
            buf_printf(out, "\\u%04x", *at);
        else
            buf_put_u8(out, *at);
    }
}

int tool_print_json(struct jobmill_value *value)
{
    const char *json = jobmill_value_json(value);
    struct buf text;
    int exit = TOOL_OK;

    buf_init(&text, SIZE_MAX);
    if (json != NULL)
        tool_put_json(&text, json);
    if (json == NULL || buf_has_failed(&text))
        exit = tool_say(TOOL_FAILED, "out of memory");
    else
        printf("%.*s\n", (int)text.len, (const char *)text.data);
    buf_done(&text);
    return exit;
}

int tool_end(int exit)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return exit;
    return tool_say(TOOL_FAILED, "cannot write to stdout");
}
