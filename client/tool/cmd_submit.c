/*
 * How it works: NAME=VALUE operands become a msgpack map. With --wait the job is submitted first
 * and waited for by a second request: a broken connection then costs nothing, where one request for
 * both would leave the submit's fate unknown for as long as the wait lasts.
 */
#include <stdio.h>
#include <string.h>
#include <msgpack/pack.h>

#include "client/tool/cmd_submit.h"
#include "client/tool/cmd_wait.h"
#include "client/tool/job_fields.h"
#include "client/tool/tool.h"
#include "lib/json.h"
#include "schema/limits.h"

struct submit_conf {
    struct tool_conf tool;
    struct job_fields fields;
    const char *queue;
    const char *limit_key;
    const char *key;
    const char *unique;
    struct opt_list unique_args;
    const char *unique_while;
    uint64_t unique_ms;
    const char *on_conflict;
    uint64_t grace_ms;
    uint64_t wait_ms;
};

#define ROW(option, field, kind, ...)                                                            \
    {                                                                                            \
        .name = option, .type = kind, .offset = offsetof(struct submit_conf, field), __VA_ARGS__ \
    }

static const struct opt opts[] = {
    TOOL_OPTS,
    ROW("queue", queue, OPT_STR, .value = "NAME", .help = "The queue; `default` unless told."),
    JOB_FIELDS_OPTS(submit_conf, fields),
    ROW("grace", grace_ms, OPT_DURATION, .min = 1, .max = JM_GRACE_LIMIT_MS,
        .help = "How long it has from SIGTERM to SIGKILL."),
    ROW("limit-key", limit_key, OPT_STR, .value = "KEY",
        .help = "What the queue's limits for keys count it by, a customer for instance."),
    ROW("unique", unique, OPT_STR, .value = "KEY", .implied = "",
        .help = "Not while a job with the same KEY is there, or, without a KEY, with the same "
                "task, queue and arguments."),
    ROW("unique-arg", unique_args, OPT_LIST, .max = JM_UNIQUE_ARGS, .value = "NAME",
        .help = "Only this argument counts for --unique."),
    ROW("unique-while", unique_while, OPT_STR, .value = "STATE",
        .help = "What `there` means: `queued`, or `unfinished` (unless told)."),
    ROW("unique-for", unique_ms, OPT_DURATION, .min = 1, .max = JM_UNIQUE_PERIOD_LIMIT_MS,
        .help = "Or so long after the other was submitted, whatever became of it."),
    ROW("on-conflict", on_conflict, OPT_STR, .value = "WORD",
        .help = "What becomes of a submit that is not unique: `existing` gives the job that is "
                "there, `reject` refuses, `replace` cancels that job if it does not run."),
    ROW("key", key, OPT_STR, .value = "KEY",
        .help = "An Idempotency-Key: the same submit with the same key is the same job, so that "
                "it can be repeated safely."),
    ROW("wait", wait_ms, OPT_DURATION, .implied = CMD_WAIT_FOREVER, .max = CMD_WAIT_FOREVER_MS,
        .help = "Wait for the end of the job and print its result; without a time as long as it "
                "takes."),
};

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

/* On stderr, what the id alone doesn't say. */
static void tell_surprises(const struct jobmill_job *job)
{
    if (jobmill_job_is_existing(job))
        tool_say(0, "%s was there already and is %s", jobmill_job_id(job),
                 jobmill_job_state_name(job));
    if (jobmill_job_replaced(job) != NULL)
        tool_say(0, "%s is cancelled in its favour", jobmill_job_replaced(job));
    if (jobmill_job_warning(job) != NULL)
        tool_say(0, "%s", jobmill_job_warning(job));
}

static int submit(struct jobmill *mill, const struct submit_conf *conf,
                  const struct jobmill_submit_options *options)
{
    struct jobmill_job *job = NULL;
    int error = jobmill_submit(mill, options, &job);
    int exit = TOOL_OK;

    if (error != 0)
        return tool_fail(mill, error);
    if (!conf->tool.is_json)
        tell_surprises(job);
    if (conf->wait_ms > 0) {
        exit = cmd_wait_for(mill, jobmill_job_id(job), conf->wait_ms, conf->tool.is_json);
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

/* ---- options to what the library takes ---- */

/* Any of its options makes a job unique. */
static bool read_unique(const struct submit_conf *conf, struct jobmill_unique *ret_unique)
{
    bool has_key = conf->unique != NULL && *conf->unique != '\0';

    *ret_unique = (struct jobmill_unique){
        .size = sizeof(*ret_unique),
        .key = has_key ? conf->unique : NULL,
        .args = conf->unique_args.count > 0 ? conf->unique_args.items : NULL,
        .arg_count = conf->unique_args.count,
        .while_state =
            conf->unique_ms > 0 && conf->unique_while == NULL ? "period" : conf->unique_while,
        .period_ms = (int64_t)conf->unique_ms,
        .on_conflict = conf->on_conflict,
    };
    return conf->unique != NULL || conf->unique_args.count > 0 || conf->unique_while != NULL ||
           conf->unique_ms > 0 || conf->on_conflict != NULL;
}

static void set_options(const struct submit_conf *conf, const struct job_fields_parts *parts,
                        const struct jobmill_unique *unique, struct jobmill_submit_options *options)
{
    const struct job_fields *f = &conf->fields;

    *options = (struct jobmill_submit_options){
        .size = sizeof(*options),
        .args_json = f->args,
        .queue = conf->queue,
        .timeout_ms = (int64_t)f->timeout_ms,
        .max_attempts = (unsigned)f->max_attempts,
        .tags = f->tags.items,
        .tag_count = f->tags.count,
        .idempotency_key = conf->key,
        .priority = (unsigned)f->priority,
        .run_at = f->at != NULL ? parts->run_at : NULL,
        .delay_ms = (int64_t)f->delay_ms,
        .expires_at = f->expires != NULL ? parts->expires_at : NULL,
        .grace_ms = (int64_t)conf->grace_ms,
        .backoff = f->backoff != NULL ? &parts->backoff : NULL,
        .limit_key = conf->limit_key,
        .retain_ms = (int64_t)f->retain_ms,
        .unique = unique,
    };
}

static int submit_operands(struct jobmill *mill, const struct opt_rest *rest, const void *context)
{
    const struct submit_conf *conf = context;
    struct jobmill_submit_options options;
    struct job_fields_parts parts = {0};
    struct jobmill_unique unique;
    bool is_unique = read_unique(conf, &unique);
    struct buf args;
    int exit = job_fields_read(&conf->fields, &parts);

    if (exit == TOOL_OK && conf->fields.args != NULL && rest->operand_count > 1)
        exit = tool_say(TOOL_USAGE, "arguments come as NAME=VALUE or with --args, not both");
    if (exit != TOOL_OK)
        return exit;
    set_options(conf, &parts, is_unique ? &unique : NULL, &options);
    options.task = rest->operands[0];
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
    static const struct tool_syntax syntax = TOOL_SYNTAX(opts, 1, SIZE_MAX);
    struct submit_conf conf = {0};

    return tool_run(argc, argv, &syntax, &conf, submit_operands);
}
