/*
 * Each list is an answer {"NAME": [{…}, …]}; a table says which members become columns.
 */
#include <stdio.h>
#include <string.h>

#include "client/tool/cmd_list.h"
#include "client/tool/field.h"
#include "client/tool/table.h"
#include "client/tool/tool.h"
#include "schema/limits.h"

enum { CELL_BYTES = 60 }; /* a longer one is cut, unless it stands at the end of the line */

struct shape {
    const char *name;                        /* of the array in the answer */
    const char *headings[TABLE_COLUMNS + 1]; /* as table_init likes them */
    const char *members[TABLE_COLUMNS];
};

static const struct shape jobs_shape = {
    "jobs",
    {"ID", "STATE", "TASK", "QUEUE", ">TRY", ">RAN", "CREATED", NULL},
    {"id", "state", "task", "queue", "attempt", "run_us", "created_at"}};

static const struct shape queues_shape = {"queues",
                                          {"QUEUE", ">SCHEDULED", ">QUEUED", ">RUNNING",
                                           ">SUCCEEDED", ">FAILED", ">CANCELLED", ">EXPIRED", NULL},
                                          {"name", "jobs.scheduled", "jobs.queued", "jobs.running",
                                           "jobs.succeeded", "jobs.failed", "jobs.cancelled",
                                           "jobs.expired"}};

static const struct shape workers_shape = {
    "workers",
    {"WORKER", "HOST", ">PID", ">SLOTS", ">HOLDS", ">SILENT", "DRAINS", "QUEUES", "TASKS", NULL},
    {"id", "hostname", "pid", "slots", "holds", "silent_ms", "is_draining", "queues", "tasks"}};

static const struct shape tasks_shape = {"tasks",
                                         {"TASK", "KIND", ">WORKERS", "WHAT IT DOES", NULL},
                                         {"name", "kind", "workers", "doc"}};

/* A time, by the unit in its member's name, in the unit that people like. */
static bool put_time(struct buf *out, const char *member, struct span value)
{
    size_t len = strlen(member);
    bool is_us = len > 3 && strcmp(member + len - 3, "_us") == 0;
    bool is_ms = len > 3 && strcmp(member + len - 3, "_ms") == 0;
    struct mp_cursor c;
    uint64_t us;

    mp_open(&c, value);
    if ((!is_us && !is_ms) || !mp_next_uint(&c, UINT64_MAX / 1000, &us))
        return false;
    us *= is_ms ? 1000 : 1;
    if (us < 1000)
        buf_printf(out, "%llu µs", (unsigned long long)us);
    else if (us < 1000000)
        buf_printf(out, "%.1f ms", (double)us / 1e3);
    else
        buf_printf(out, "%.2f s", (double)us / 1e6);
    return true;
}

static void put_cell(struct buf *out, const char *member, bool is_number, struct span value)
{
    struct mp_cursor c;
    uint32_t count;

    mp_open(&c, value);
    if (is_number && mp_next_array(&c, &count))
        buf_printf(out, "%u", count);
    else if (!put_time(out, member, value))
        field_put(out, value);
}

static void cut(struct buf *cell)
{
    size_t len = CELL_BYTES - 3;

    if (cell->len <= CELL_BYTES)
        return;
    while ((cell->data[len] & 0xC0) == 0x80)
        len--; /* not in the middle of a character */
    buf_truncate(cell, len);
    buf_put_str(cell, "…");
}

static void add_cell(struct table *table, const struct shape *shape, size_t column, struct span row,
                     struct buf *cell)
{
    const char *member = shape->members[column];
    struct span value;

    buf_clear(cell);
    if (field_find_path(row, member, &value))
        put_cell(cell, member, shape->headings[column][0] == '>', value);
    else
        buf_put_u8(cell, '-');
    if (column + 1 < table->columns)
        cut(cell);
    table_add(table, buf_span(cell));
}

static int add_rows(struct table *table, const struct shape *shape, struct span answer)
{
    struct span array, row;
    struct mp_cursor c;
    struct buf cell;
    uint32_t count;

    if (!field_find(answer, shape->name, &array))
        return tool_say(TOOL_FAILED, "the broker's answer has no '%s'", shape->name);
    mp_open(&c, array);
    if (!mp_next_array(&c, &count))
        return tool_say(TOOL_FAILED, "'%s' in the broker's answer is no list", shape->name);
    buf_init(&cell, SIZE_MAX);
    while (count-- > 0 && mp_skip(&c, FIELD_DEPTH, &row))
        for (size_t i = 0; i < table->columns; i++)
            add_cell(table, shape, i, row, &cell);
    buf_done(&cell);
    return TOOL_OK;
}

static int print_table(const struct table *table)
{
    return table_print(table) == 0 ? TOOL_OK : tool_say(TOOL_FAILED, "out of memory");
}

/* ---- queues, workers, tasks ---- */

static const struct opt list_opts[] = {TOOL_OPTS};

static int print_list(const struct tool_conf *conf, const struct shape *shape,
                      struct jobmill_value *value)
{
    struct table table;
    int exit;

    if (conf->is_json)
        return tool_print_json(value);
    table_init(&table, shape->headings);
    exit = add_rows(&table, shape, field_of_value(value));
    if (exit == TOOL_OK)
        exit = print_table(&table);
    table_done(&table);
    return exit;
}

typedef int (*fetch)(struct jobmill *mill, struct jobmill_value **ret_value);

static int run_list(int argc, char **argv, const struct shape *shape, fetch get)
{
    struct jobmill_value *value = NULL;
    struct jobmill *mill = NULL;
    struct tool_conf conf = {0};
    struct opt_rest rest;
    int exit = tool_read_options(argc, argv, list_opts, JM_COUNT_OF(list_opts), 0, 0, &conf, &rest);

    if (exit < 0)
        exit = tool_open(&conf, &mill);
    if (exit == TOOL_OK && mill != NULL) {
        int error = get(mill, &value);

        exit = error == 0 ? tool_end(print_list(&conf, shape, value)) : tool_fail(mill, error);
    }
    jobmill_value_free(value);
    jobmill_close(mill);
    opt_done(&rest);
    return exit;
}

int cmd_list_queues(int argc, char **argv)
{
    return run_list(argc, argv, &queues_shape, jobmill_queues);
}

int cmd_list_workers(int argc, char **argv)
{
    return run_list(argc, argv, &workers_shape, jobmill_workers);
}

int cmd_list_tasks(int argc, char **argv)
{
    return run_list(argc, argv, &tasks_shape, jobmill_tasks);
}

/* ---- jobs ---- */

struct jobs_conf {
    struct tool_conf tool;
    const char *state;
    const char *queue;
    const char *task;
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
    ROW("state", state, OPT_STR, .value = "STATE",
        .help = "Only jobs that are scheduled, queued, running, succeeded, failed, cancelled or "
                "expired."),
    ROW("queue", queue, OPT_STR, .value = "NAME", .help = "Only jobs of this queue."),
    ROW("task", task, OPT_STR, .value = "NAME", .help = "Only jobs of this task."),
    ROW("limit", limit, OPT_U64, .fallback = "50", .min = 1, .max = JM_PAGE_LIMIT,
        .help = "Jobs on a page."),
    ROW("cursor", cursor, OPT_STR, .value = "TEXT", .help = "Go on behind an earlier page."),
    ROW("all", is_all, OPT_BOOL, .help = "All pages, not only the first."),
};

/* Shows one page and sets `cursor` to the next one's; with --json a page is a line. */
static int take_page(struct jobmill *mill, const struct jobs_conf *conf, struct table *table,
                     char *cursor, size_t size)
{
    struct jobmill_list_options options = {.size = sizeof(options),
                                           .state = conf->state,
                                           .queue = conf->queue,
                                           .task = conf->task,
                                           .cursor = cursor[0] != '\0' ? cursor : NULL,
                                           .limit = (unsigned)conf->limit};
    struct jobmill_page *page = NULL;
    int error = jobmill_list(mill, &options, &page);
    const char *next;
    int exit;

    if (error != 0)
        return tool_fail(mill, error);
    exit = conf->tool.is_json
               ? tool_print_json(jobmill_page_value(page))
               : add_rows(table, &jobs_shape, field_of_value(jobmill_page_value(page)));
    next = jobmill_page_next_cursor(page);
    snprintf(cursor, size, "%s", next != NULL ? next : "");
    jobmill_page_free(page);
    return exit;
}

static int take_pages(struct jobmill *mill, const struct jobs_conf *conf, struct table *table)
{
    char cursor[1024];
    int exit;

    snprintf(cursor, sizeof(cursor), "%s", conf->cursor != NULL ? conf->cursor : "");
    do
        exit = take_page(mill, conf, table, cursor, sizeof(cursor));
    while (exit == TOOL_OK && conf->is_all && cursor[0] != '\0');
    if (exit == TOOL_OK && !conf->tool.is_json)
        exit = print_table(table);
    if (exit == TOOL_OK && !conf->tool.is_json && cursor[0] != '\0')
        tool_say(0, "there are more, with --cursor %s or --all", cursor);
    return exit;
}

int cmd_list_jobs(int argc, char **argv)
{
    struct jobmill *mill = NULL;
    struct jobs_conf conf = {0};
    struct opt_rest rest;
    struct table table;
    int exit = tool_read_options(argc, argv, jobs_opts, JM_COUNT_OF(jobs_opts), 0, 0, &conf, &rest);

    if (exit < 0)
        exit = tool_open(&conf.tool, &mill);
    if (exit == TOOL_OK && mill != NULL) {
        table_init(&table, jobs_shape.headings);
        exit = tool_end(take_pages(mill, &conf, &table));
        table_done(&table);
    }
    jobmill_close(mill);
    opt_done(&rest);
    return exit;
}
