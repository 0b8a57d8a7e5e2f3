/*
 * How it works: NAME=VALUE operands become a msgpack map. With --wait the job is submitted first
 * and waited for by a second request: a broken connection then costs nothing, where one request for
 * both would leave the submit's fate unknown for as long as the wait lasts.
 */
#include <stdio.h>
#include <string.h>
#include <msgpack/pack.h>

#include "client/tool/cmd_job.h"
#include "client/tool/cmd_submit.h"
#include "client/tool/tool.h"
#include "lib/json.h"
#include "schema/limits.h"

struct submit_conf {
    struct tool_conf tool;
    const char *args;
    const char *queue;
    const char *tag;
    const char *key;
    uint64_t timeout_ms;
    uint64_t max_attempts;
    uint64_t wait_ms;
};

#define ROW(option, field, kind, ...)                                                            \
    {                                                                                            \
        .name = option, .type = kind, .offset = offsetof(struct submit_conf, field), __VA_ARGS__ \
    }

static const struct opt opts[] = {
    TOOL_OPTS,
    ROW("args", args, OPT_STR, .value = "JSON", .help = "All arguments at once, as JSON."),
    ROW("queue", queue, OPT_STR, .value = "NAME", .help = "The queue; `default` unless told."),
    ROW("timeout", timeout_ms, OPT_DURATION, .min = 1, .max = JM_TIMEOUT_LIMIT_MS,
        .help = "How long one attempt may run."),
    ROW("max-attempts", max_attempts, OPT_U64, .min = 1, .max = JM_MAX_ATTEMPTS_LIMIT,
        .help = "How often the job is tried."),
    ROW("tag", tag, OPT_STR, .value = "TAG", .help = "A tag; may be given up to 16 times."),
    ROW("key", key, OPT_STR, .value = "KEY",
        .help = "An Idempotency-Key: the same submit with the same key is the same job, so that "
                "it can be repeated safely."),
    ROW("wait", wait_ms, OPT_DURATION, .implied = CMD_JOB_FOREVER, .max = CMD_JOB_FOREVER_MS,
        .help = "Wait for the end of the job and print its result; without a time as long as it "
                "takes."),
};

/* --tag may be repeated, and the option table keeps the last one only. Reads argv before its
 * operands are moved. Returns false if there are too many. */
static bool collect_tags(int argc, char **argv, const char **tags, size_t *ret_count)
{
    *ret_count = 0;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *tag = NULL;

        if (strcmp(argv[i], "--tag") == 0 && i + 1 < argc)
            tag = argv[++i];
        else if (strncmp(argv[i], "--tag=", 6) == 0)
            tag = argv[i] + 6;
        if (tag == NULL)
            continue;
        if (*ret_count == JM_TAGS_PER_JOB)
            return false;
        tags[(*ret_count)++] = tag;
    }
    return true;
}

static void put_text(struct buf *out, struct span text)
{
    msgpack_packer pk;

    msgpack_packer_init(&pk, out, buf_write_msgpack);
    msgpack_pack_str(&pk, text.len);
    msgpack_pack_str_body(&pk, text.data, text.len);
}

/* Appends the pairs NAME=VALUE as one map. Returns TOOL_OK or an exit code after a sentence. */
static int put_pairs(struct buf *out, char *const *pairs, size_t count)
{
    struct json_error problem;
    msgpack_packer pk;

    msgpack_packer_init(&pk, out, buf_write_msgpack);
    msgpack_pack_map(&pk, count);
    for (size_t i = 0; i < count; i++) {
        const char *equals = strchr(pairs[i], '=');
        struct span value;

        if (equals == NULL || equals == pairs[i])
            return tool_say(TOOL_USAGE, "'%s' is not NAME=VALUE", pairs[i]);
        put_text(out, span_of(pairs[i], (size_t)(equals - pairs[i])));
        value = span_of_str(equals + 1);
        if (json_to_msgpack(value, &JSON_DEFAULT_LIMITS, out, NULL) != JSON_OK)
            put_text(out, value);
    }
    if (buf_has_failed(out))
        return tool_say(TOOL_FAILED, "out of memory");
    if (json_check_msgpack(buf_span(out), &JSON_DEFAULT_LIMITS, &problem) != JSON_OK)
        return tool_say(TOOL_USAGE, "the arguments: %s", json_problem_words(problem.problem));
    return TOOL_OK;
}

static int submit(struct jobmill *mill, const struct submit_conf *conf,
                  const struct jobmill_submit_options *options)
{
    struct jobmill_job *job = NULL;
    int error = jobmill_submit(mill, options, &job);
    int exit = TOOL_OK;

    if (error != 0)
        return tool_fail(mill, error);
    if (conf->wait_ms > 0) {
        exit = cmd_job_await(mill, jobmill_job_id(job), conf->wait_ms, conf->tool.is_json);
        if (exit != TOOL_OK && exit != TOOL_BAD_END && exit != TOOL_UNFINISHED)
            tool_say(exit, "the job was submitted: %s", jobmill_job_id(job));
    } else if (conf->tool.is_json) {
        exit = tool_print_json(jobmill_job_value(job));
    } else {
        puts(jobmill_job_id(job));
    }
    jobmill_job_free(job);
    return exit;
}

static int submit_operands(struct jobmill *mill, const struct submit_conf *conf,
                           const struct opt_rest *rest, const char *const *tags, size_t tag_count)
{
    struct jobmill_submit_options options = {.size = sizeof(options),
                                             .task = rest->operands[0],
                                             .args_json = conf->args,
                                             .queue = conf->queue,
                                             .timeout_ms = (int64_t)conf->timeout_ms,
                                             .max_attempts = (unsigned)conf->max_attempts,
                                             .tags = tags,
                                             .tag_count = tag_count,
                                             .idempotency_key = conf->key};
    struct buf args;
    int exit = TOOL_OK;

    if (conf->args != NULL && rest->operand_count > 1)
        return tool_say(TOOL_USAGE, "arguments come as NAME=VALUE or with --args, not both");
    buf_init(&args, SIZE_MAX);
    if (rest->operand_count > 1) {
        exit = put_pairs(&args, rest->operands + 1, rest->operand_count - 1);
        options.args_msgpack = args.data;
        options.args_msgpack_bytes = args.len;
    }
    if (exit == TOOL_OK)
        exit = submit(mill, conf, &options);
    buf_done(&args);
    return exit;
}

int cmd_submit_run(int argc, char **argv)
{
    const char *tags[JM_TAGS_PER_JOB];
    struct jobmill *mill = NULL;
    struct submit_conf conf = {0};
    struct opt_rest rest;
    size_t tag_count;
    int exit;

    if (!collect_tags(argc, argv, tags, &tag_count))
        return tool_say(TOOL_USAGE, "a job has at most %d tags", JM_TAGS_PER_JOB);
    exit = tool_read_options(argc, argv, opts, JM_COUNT_OF(opts), 1, SIZE_MAX, &conf, &rest);
    if (exit < 0)
        exit = tool_open(&conf.tool, &mill);
    if (exit == TOOL_OK && mill != NULL)
        exit = tool_end(submit_operands(mill, &conf, &rest, tags, tag_count));
    jobmill_close(mill);
    opt_done(&rest);
    return exit;
}
