#include "client/tool/cmd_job.h"
#include "client/tool/cmd_patch.h"
#include "client/tool/job_fields.h"
#include "client/tool/tool.h"
#include "schema/limits.h"

struct patch_conf {
    struct tool_conf tool;
    struct job_fields fields;
    bool has_no_expires;
    bool has_no_backoff;
    bool has_no_retain;
    bool has_no_tags;
};

#define CLEAR_ROW(option, field, text)                                                  \
    {                                                                                   \
        .name = option, .type = OPT_BOOL, .offset = offsetof(struct patch_conf, field), \
        .help = text                                                                    \
    }

static const struct opt opts[] = {
    TOOL_OPTS,
    JOB_FIELDS_OPTS(patch_conf, fields),
    CLEAR_ROW("no-expires", has_no_expires, "Let it not expire."),
    CLEAR_ROW("no-backoff", has_no_backoff, "Take its own backoff away."),
    CLEAR_ROW("no-retain", has_no_retain, "Keep it as long as others."),
    CLEAR_ROW("no-tags", has_no_tags, "Take all tags away."),
};

static int send(struct jobmill *mill, const char *id, const struct patch_conf *conf,
                const struct jobmill_patch_options *options)
{
    struct jobmill_job *job = NULL;
    int error = jobmill_patch(mill, id, options, &job);
    int exit = error != 0 ? tool_fail(mill, error) : cmd_job_print(job, conf->tool.is_json);

    jobmill_job_free(job);
    return exit;
}

/* An option and its opposite at once: which of them would hold is a guess. */
static int check(const struct patch_conf *conf)
{
    const struct job_fields *f = &conf->fields;

    if (conf->has_no_expires && f->expires != NULL)
        return tool_say(TOOL_USAGE, "--expires and --no-expires are opposites");
    if (conf->has_no_backoff && f->backoff != NULL)
        return tool_say(TOOL_USAGE, "--backoff and --no-backoff are opposites");
    if (conf->has_no_retain && f->retain_ms > 0)
        return tool_say(TOOL_USAGE, "--retain and --no-retain are opposites");
    if (conf->has_no_tags && f->tags.count > 0)
        return tool_say(TOOL_USAGE, "--tag and --no-tags are opposites");
    return TOOL_OK;
}

static int patch(struct jobmill *mill, const struct opt_rest *rest, const void *context)
{
    const struct patch_conf *conf = context;
    const struct job_fields *f = &conf->fields;
    struct job_fields_parts parts = {.backoff = {.kind = ""}};
    int exit = job_fields_read(f, &parts);
    struct jobmill_patch_options options = {
        .size = sizeof(options),
        .args_json = f->args,
        .priority = (unsigned)f->priority,
        .run_at = f->at != NULL ? parts.run_at : NULL,
        .delay_ms = (int64_t)f->delay_ms,
        /* "" clears, as the kind of the backoff does. */
        .expires_at = f->expires != NULL || conf->has_no_expires ? parts.expires_at : NULL,
        .timeout_ms = (int64_t)f->timeout_ms,
        .max_attempts = (unsigned)f->max_attempts,
        .tags = f->tags.count > 0 || conf->has_no_tags ? f->tags.items : NULL,
        .tag_count = f->tags.count,
        .retain_ms = conf->has_no_retain ? -1 : (int64_t)f->retain_ms,
        .backoff = f->backoff != NULL || conf->has_no_backoff ? &parts.backoff : NULL,
    };

    if (exit == TOOL_OK)
        exit = check(conf);
    return exit != TOOL_OK ? exit : send(mill, rest->operands[0], conf, &options);
}

int cmd_patch_run(int argc, char **argv)
{
    static const struct tool_syntax syntax = TOOL_SYNTAX(opts, 1, 1);
    struct patch_conf conf = {0};

    return tool_run(argc, argv, &syntax, &conf, patch);
}
