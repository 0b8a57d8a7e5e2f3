/*
 * Each command is a row of `kinds`: what it does with one job, and what with all that a filter
 * matches.
 */
#include <stdio.h>
#include <string.h>

#include "client/tool/cmd_change.h"
#include "client/tool/filter.h"
#include "client/tool/tool.h"

struct change_conf {
    struct tool_conf tool;
    struct filter filter;
    bool is_dry_run;
};

static const struct opt opts[] = {
    TOOL_OPTS,
    FILTER_OPTS(change_conf, filter),
    {.name = "dry-run",
     .type = OPT_BOOL,
     .offset = offsetof(struct change_conf, is_dry_run),
     .help = "With a filter: only count the jobs."},
};

/* ---- one job ---- */

static int print_changed(struct jobmill_job *job, bool is_json)
{
    const char *stopped = jobmill_job_stopped(job);

    if (is_json)
        return tool_print_json(jobmill_job_value(job));
    printf("%s is %s%s\n", jobmill_job_id(job), jobmill_job_state_name(job),
           stopped == NULL || strcmp(stopped, "true") == 0 ? ""
           : strcmp(stopped, "false") == 0                 ? "; its worker is being told to stop it"
                                           : "; whether it still runs is not known");
    return TOOL_OK;
}

/* Both of these return a tool_exit. */
static int change_one(struct jobmill *mill, const char *id, bool is_json,
                      int (*change)(struct jobmill *, const char *, struct jobmill_job **))
{
    struct jobmill_job *job = NULL;
    int error = change(mill, id, &job);
    int exit = error == 0 ? print_changed(job, is_json) : tool_fail(mill, error);

    jobmill_job_free(job);
    return exit;
}

static int cancel_one(struct jobmill *mill, const char *id, bool is_json)
{
    return change_one(mill, id, is_json, jobmill_cancel);
}

static int retry_one(struct jobmill *mill, const char *id, bool is_json)
{
    return change_one(mill, id, is_json, jobmill_retry);
}

static int delete_one(struct jobmill *mill, const char *id, bool is_json)
{
    int error = jobmill_delete(mill, id);

    if (error != 0)
        return tool_fail(mill, error);
    if (!is_json)
        printf("%s is deleted\n", id);
    return TOOL_OK;
}

/* ---- the kinds ---- */

struct kind {
    int (*one)(struct jobmill *mill, const char *id, bool is_json);
    int (*all)(struct jobmill *mill, const struct jobmill_list_options *filter, int is_dry_run,
               uint64_t *ret_matched, uint64_t *ret_changed);
    const char *done; /* "3 of 5 jobs …" */
};

static const struct kind cancel_kind = {cancel_one, jobmill_cancel_all, "are cancelled"};
static const struct kind retry_kind = {retry_one, jobmill_retry_all, "are tried again"};
static const struct kind delete_kind = {delete_one, jobmill_delete_all, "are deleted"};

/* What the broker refuses for one job is told, and the others are gone on with. */
static int change_ids(struct jobmill *mill, const struct opt_rest *rest, bool is_json,
                      const struct kind *kind)
{
    int exit = TOOL_OK;

    for (size_t i = 0; i < rest->operand_count; i++) {
        int one = kind->one(mill, rest->operands[i], is_json);

        exit = one != TOOL_OK ? one : exit;
        if (one != TOOL_OK && one != TOOL_REFUSED)
            break;
    }
    return exit;
}

static int change_matching(struct jobmill *mill, const struct change_conf *conf,
                           const struct kind *kind)
{
    struct jobmill_list_options options = {.size = sizeof(options)};
    struct filter_times times;
    uint64_t matched = 0, changed = 0;
    int exit = filter_read(&conf->filter, &times, &options);
    int error;

    if (exit != TOOL_OK)
        return exit;
    error = kind->all(mill, &options, conf->is_dry_run, &matched, &changed);
    if (error != 0)
        return tool_fail(mill, error);
    if (conf->tool.is_json)
        printf("{\"matched\":%llu,\"changed\":%llu,\"dry_run\":%s}\n", (unsigned long long)matched,
               (unsigned long long)changed, conf->is_dry_run ? "true" : "false");
    else if (conf->is_dry_run)
        printf("%llu jobs match; nothing is changed\n", (unsigned long long)matched);
    else
        printf("%llu of %llu jobs %s\n", (unsigned long long)changed, (unsigned long long)matched,
               kind->done);
    return TOOL_OK;
}

static int change(struct jobmill *mill, const struct opt_rest *rest, const struct change_conf *conf,
                  const struct kind *kind)
{
    bool is_by_filter = !filter_is_empty(&conf->filter);

    if (is_by_filter == (rest->operand_count > 0))
        return tool_say(TOOL_USAGE, is_by_filter ? "jobs are chosen by ids or by a filter, not both"
                                                 : "which jobs? give ids, or a filter; see --help");
    if (conf->is_dry_run && !is_by_filter)
        return tool_say(TOOL_USAGE, "--dry-run goes with a filter");
    return is_by_filter ? change_matching(mill, conf, kind)
                        : change_ids(mill, rest, conf->tool.is_json, kind);
}

/* ---- the commands ---- */

static int cancel(struct jobmill *mill, const struct opt_rest *rest, const void *conf)
{
    return change(mill, rest, conf, &cancel_kind);
}

static int retry(struct jobmill *mill, const struct opt_rest *rest, const void *conf)
{
    return change(mill, rest, conf, &retry_kind);
}

static int delete (struct jobmill *mill, const struct opt_rest *rest, const void *conf)
{
    return change(mill, rest, conf, &delete_kind);
}

static int run(int argc, char **argv, tool_action act)
{
    static const struct tool_syntax syntax = TOOL_SYNTAX(opts, 0, SIZE_MAX);
    struct change_conf conf = {0};

    return tool_run(argc, argv, &syntax, &conf, act);
}

int cmd_change_cancel(int argc, char **argv)
{
    return run(argc, argv, cancel);
}

int cmd_change_retry(int argc, char **argv)
{
    return run(argc, argv, retry);
}

int cmd_change_delete(int argc, char **argv)
{
    return run(argc, argv, delete);
}
