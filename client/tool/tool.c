#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
    va_list args;

    fputs("jobmill: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return exit;
}

int tool_print_json(struct jobmill_value *value)
{
    const char *json = jobmill_value_json(value);

    if (json == NULL)
        return tool_say(TOOL_FAILED, "out of memory");
    puts(json);
    return TOOL_OK;
}

int tool_end(int exit)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return exit;
    return tool_say(TOOL_FAILED, "cannot write to stdout");
}
