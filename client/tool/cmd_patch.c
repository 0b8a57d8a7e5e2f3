#include "client/tool/cmd_job.h"
#include "client/tool/cmd_patch.h"
#include "client/tool/job_fields.h"
#include "client/tool/tool.h"
#include "schema/limits.h"

struct patch_conf {
    struct tool_conf tool;
    struct job_fields fields;
    bool has_no_tags;
};

static const struct opt opts[] = {
    TOOL_OPTS,
    JOB_FIELDS_OPTS(patch_conf, fields),
    {.name = "no-tags",
     .type = OPT_BOOL,
     .offset = offsetof(struct patch_conf, has_no_tags),
     .help = "Take all tags away."},
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

static int patch(struct jobmill *mill, const struct opt_rest *rest, const void *context)
{
    const struct patch_conf *conf = context;
    const struct job_fields *f = &conf->fields;
    struct job_fields_parts parts = {0};
    int exit = job_fields_read(f, &parts);
    bool has_tags = f->tags.count > 0;
    struct jobmill_patch_options options = {
        .size = sizeof(options),
        .args_json = f->args,
        .priority = (unsigned)f->priority,
        .run_at = f->at != NULL ? parts.run_at : NULL,
        .delay_ms = (int64_t)f->delay_ms,
        .expires_at = f->expires != NULL ? parts.expires_at : NULL,
        .timeout_ms = (int64_t)f->timeout_ms,
        .max_attempts = (unsigned)f->max_attempts,
        .tags = has_tags || conf->has_no_tags ? f->tags.items : NULL,
        .tag_count = f->tags.count,
        .retain_ms = (int64_t)f->retain_ms,
        .backoff = f->backoff != NULL ? &parts.backoff : NULL,
    };

    if (exit == TOOL_OK && has_tags && conf->has_no_tags)
        exit = tool_say(TOOL_USAGE, "--tag and --no-tags are opposites");
    return exit != TOOL_OK ? exit : send(mill, rest->operands[0], conf, &options);
}

int cmd_patch_run(int argc, char **argv)
{
    static const struct tool_syntax syntax = TOOL_SYNTAX(opts, 1, 1);
    struct patch_conf conf = {0};

    return tool_run(argc, argv, &syntax, &conf, patch);
}
