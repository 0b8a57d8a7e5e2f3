#include <stdio.h>
#include <string.h>

#include "client/tool/cmd_list.h"
#include "client/tool/field.h"
#include "client/tool/filter.h"
#include "client/tool/shape.h"
#include "client/tool/tool.h"
#include "schema/limits.h"

static const struct shape jobs_shape = {
    "jobs",
    {"ID", "STATE", "TASK", "QUEUE", ">PRI", ">TRY", ">RAN", "CREATED", NULL},
    {"id", "state", "task", "queue", "priority", "attempt", "run_us", "created_at"}};

static const struct shape queues_shape = {
    "queues",
    {"QUEUE", ">SCHEDULED", ">QUEUED", ">RUNNING", ">SUCCEEDED", ">FAILED", ">CANCELLED",
     ">EXPIRED", "PAUSED", NULL},
    {"name", "jobs.scheduled", "jobs.queued", "jobs.running", "jobs.succeeded", "jobs.failed",
     "jobs.cancelled", "jobs.expired", "paused"}};

static const struct shape workers_shape = {
    "workers",
    {"WORKER", "HOST", ">PID", ">SLOTS", ">HOLDS", ">SILENT", "DRAINS", "QUEUES", "TASKS", NULL},
    {"id", "hostname", "pid", "slots", "holds", "silent_ms", "is_draining", "queues", "tasks"}};

static const struct shape tasks_shape = {"tasks",
                                         {"TASK", "KIND", ">WORKERS", "WHAT IT DOES", NULL},
                                         {"name", "kind", "workers", "doc"}};

/* ---- queues, workers, tasks ---- */

static const struct opt list_opts[] = {TOOL_OPTS};

static int print_list(const struct tool_conf *conf, const struct shape *shape,
                      struct jobmill_value *value)
{
    return conf->is_json ? tool_print_json(value) : shape_print(shape, field_of_value(value));
}

typedef int (*fetch)(struct jobmill *mill, struct jobmill_value **ret_value);

static int show_list(struct jobmill *mill, const struct tool_conf *conf, const struct shape *shape,
                     fetch get)
{
    struct jobmill_value *value = NULL;
    int error = get(mill, &value);
    int exit = error == 0 ? print_list(conf, shape, value) : tool_fail(mill, error);

    jobmill_value_free(value);
    return exit;
}

static int queues(struct jobmill *mill, const struct opt_rest *rest, const void *conf)
{
    (void)rest;
    return show_list(mill, conf, &queues_shape, jobmill_queues);
}

static int workers(struct jobmill *mill, const struct opt_rest *rest, const void *conf)
{
    (void)rest;
    return show_list(mill, conf, &workers_shape, jobmill_workers);
}

static int tasks(struct jobmill *mill, const struct opt_rest *rest, const void *conf)
{
    (void)rest;
    return show_list(mill, conf, &tasks_shape, jobmill_tasks);
}

static int run_list(int argc, char **argv, tool_action act)
{
    static const struct tool_syntax syntax = TOOL_SYNTAX(list_opts, 0, 0);
    struct tool_conf conf = {0};

    return tool_run(argc, argv, &syntax, &conf, act);
}

int cmd_list_queues(int argc, char **argv)
{
    return run_list(argc, argv, queues);
}

int cmd_list_workers(int argc, char **argv)
{
    return run_list(argc, argv, workers);
}

int cmd_list_tasks(int argc, char **argv)
{
    return run_list(argc, argv, tasks);
}

/* ---- jobs ---- */

struct jobs_conf {
    struct tool_conf tool;
    struct filter filter;
    const char *cursor;
    uint64_t limit;
    bool is_all;
};

#define ROW(option, field, kind, ...)                                                          \
    {                                                                                          \
        .name = option, .type = kind, .offset = offsetof(struct jobs_conf, field), __VA_ARGS__ \
    }

static const struct opt jobs_opts[] = {
    TOOL_OPTS,
    FILTER_OPTS(jobs_conf, filter),
    ROW("limit", limit, OPT_U64, .fallback = "50", .min = 1, .max = JM_PAGE_LIMIT,
        .help = "Jobs on a page."),
    ROW("cursor", cursor, OPT_STR, .value = "TEXT", .help = "Go on behind an earlier page."),
    ROW("all", is_all, OPT_BOOL, .help = "All pages, not only the first."),
};

/* Shows one page and sets `cursor` to the next one's; with --json a page is a line. */
static int take_page(struct jobmill *mill, const struct jobmill_list_options *options, bool is_json,
                     struct table *table, char *cursor, size_t size)
{
    struct jobmill_page *page = NULL;
    int error = jobmill_list(mill, options, &page);
    const char *next;
    int exit;

    if (error != 0)
        return tool_fail(mill, error);
    exit = is_json ? tool_print_json(jobmill_page_value(page))
                   : shape_add_rows(&jobs_shape, field_of_value(jobmill_page_value(page)), table);
    next = jobmill_page_next_cursor(page);
    snprintf(cursor, size, "%s", next != NULL ? next : "");
    jobmill_page_free(page);
    return exit;
}

static int take_pages(struct jobmill *mill, const struct jobs_conf *conf, struct table *table)
{
    struct jobmill_list_options options = {.size = sizeof(options), .limit = (unsigned)conf->limit};
    struct filter_times times;
    char cursor[1024];
    int exit = filter_read(&conf->filter, &times, &options);

    snprintf(cursor, sizeof(cursor), "%s", conf->cursor != NULL ? conf->cursor : "");
    if (exit != TOOL_OK)
        return exit;
    do {
        options.cursor = cursor[0] != '\0' ? cursor : NULL;
        exit = take_page(mill, &options, conf->tool.is_json, table, cursor, sizeof(cursor));
    } while (exit == TOOL_OK && conf->is_all && cursor[0] != '\0');
    if (exit == TOOL_OK && !conf->tool.is_json)
        exit = shape_print_table(table);
    if (exit == TOOL_OK && !conf->tool.is_json && cursor[0] != '\0')
        tool_say(0, "there are more, with --cursor %s or --all", cursor);
    return exit;
}

static int jobs(struct jobmill *mill, const struct opt_rest *rest, const void *conf)
{
    struct table table;
    int exit;

    (void)rest;
    table_init(&table, jobs_shape.headings);
    exit = take_pages(mill, conf, &table);
    table_done(&table);
    return exit;
}

int cmd_list_jobs(int argc, char **argv)
{
    static const struct tool_syntax syntax = TOOL_SYNTAX(jobs_opts, 0, 0);
    struct jobs_conf conf = {0};

    return tool_run(argc, argv, &syntax, &conf, jobs);
}
