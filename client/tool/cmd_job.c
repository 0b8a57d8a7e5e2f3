#include <stdio.h>

#include "client/tool/cmd_job.h"
#include "client/tool/field.h"
#include "client/tool/shape.h"
#include "client/tool/sheet.h"
#include "client/tool/table.h"
#include "client/tool/tool.h"

static const struct opt opts[] = {TOOL_OPTS};
static const struct tool_syntax syntax = TOOL_SYNTAX(opts, 1, 1);

/* ---- get ---- */

static const struct shape attempts_shape = {
    "attempts",
    {">TRY", "OUTCOME", ">RAN", "BEGUN", "ENDED", "WORKER", "ERROR", NULL},
    {"attempt", "outcome", "run_us", "begun_at", "ended_at", "worker", "error.message"}};

int cmd_job_print(struct jobmill_job *job, int is_json)
{
    struct span whole = field_of_value(jobmill_job_value(job));
    int exit;

    if (is_json)
        return tool_print_json(jobmill_job_value(job));
    exit = sheet_print(whole, "attempts", false);
    if (exit != TOOL_OK || jobmill_job_history_count(job) == 0)
        return exit;
    puts("\nattempts that have ended:");
    return shape_print(&attempts_shape, whole);
}

static int get(struct jobmill *mill, const struct opt_rest *rest, const void *conf)
{
    const struct tool_conf *tool = conf;
    struct jobmill_job *job = NULL;
    int error = jobmill_get(mill, rest->operands[0], &job);
    int exit = error != 0 ? tool_fail(mill, error) : cmd_job_print(job, tool->is_json);

    jobmill_job_free(job);
    return exit;
}

int cmd_job_get(int argc, char **argv)
{
    struct tool_conf conf = {0};

    return tool_run(argc, argv, &syntax, &conf, get);
}

/* ---- result ---- */

static int result(struct jobmill *mill, const struct opt_rest *rest, const void *conf)
{
    struct jobmill_value *value = NULL;
    int error = jobmill_result(mill, rest->operands[0], &value);
    int exit;

    (void)conf; /* a result is JSON in any case */
    if (error == JOBMILL_ENOTFINISHED)
        return tool_say(TOOL_UNFINISHED, "%s", jobmill_error_text(mill));
    exit = error != 0 ? tool_fail(mill, error) : tool_print_json(value);
    jobmill_value_free(value);
    return exit;
}

int cmd_job_result(int argc, char **argv)
{
    struct tool_conf conf = {0};

    return tool_run(argc, argv, &syntax, &conf, result);
}

/* ---- explain ---- */

/* The member as text, or "?". */
static void put_member(struct buf *out, struct span map, const char *name)
{
    struct span value;

    if (field_find(map, name, &value))
        field_put(out, value);
    else
        buf_put_u8(out, '?');
}

/* "  MESSAGE (CODE, until TIME)" */
static void put_reason(struct buf *out, struct span reason)
{
    struct span until;

    buf_put_str(out, "  ");
    put_member(out, reason, "message");
    buf_put_str(out, " (");
    put_member(out, reason, "code");
    if (field_find(reason, "until", &until)) {
        buf_put_str(out, ", until ");
        field_put(out, until);
    }
    buf_put_str(out, ")\n");
}

static void put_reasons(struct buf *out, struct span answer)
{
    struct span reasons, reason;
    struct mp_cursor c;
    uint32_t count;

    if (!field_find(answer, "reasons", &reasons))
        return;
    mp_open(&c, reasons);
    if (!mp_next_array(&c, &count))
        return;
    for (; count > 0 && mp_skip(&c, FIELD_DEPTH, &reason); count--)
        put_reason(out, reason);
}

/* "ID is queued:" and a line for each reason, in the broker's words. */
static int print_explanation(struct span answer)
{
    struct buf out;
    struct span id, before;
    struct mp_cursor c;
    uint64_t number;

    if (!field_find(answer, "id", &id))
        return tool_say(TOOL_FAILED, "the broker's answer is no explanation");
    buf_init(&out, SIZE_MAX);
    field_put(&out, id);
    buf_put_str(&out, " is ");
    put_member(&out, answer, "state");
    buf_put_str(&out, ":\n");
    put_reasons(&out, answer);
    if (field_find(answer, "jobs_before", &before)) {
        mp_open(&c, before);
        if (mp_next_uint(&c, UINT64_MAX, &number) && number > 0)
            buf_printf(&out, "  jobs that go before it: %llu\n", (unsigned long long)number);
    }
    printf("%.*s", (int)out.len, (const char *)out.data);
    buf_done(&out);
    return TOOL_OK;
}

static int explain(struct jobmill *mill, const struct opt_rest *rest, const void *conf)
{
    const struct tool_conf *tool = conf;
    struct jobmill_value *value = NULL;
    int error = jobmill_explain(mill, rest->operands[0], &value);
    int exit = error != 0      ? tool_fail(mill, error)
               : tool->is_json ? tool_print_json(value)
                               : print_explanation(field_of_value(value));

    jobmill_value_free(value);
    return exit;
}

int cmd_job_explain(int argc, char **argv)
{
    struct tool_conf conf = {0};

    return tool_run(argc, argv, &syntax, &conf, explain);
}
