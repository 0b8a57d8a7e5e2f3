/*
 * The functions of jobmill.h about many jobs: lists, and changes by filter.
 */
#include "client/jobmill_call.h"
#include "client/jobmill_job.h"
#include "client/options.h"
#include "client/record.h"
#include "client/target.h"
#include "schema/errors.h"

static void put_filter(struct buf *target, const struct jobmill_list_options *filter)
{
    target_put_text(target, "state", filter->state);
    target_put_text(target, "queue", filter->queue);
    target_put_text(target, "task", filter->task);
    target_put_text(target, "tag", filter->tag);
    target_put_text(target, "limit_key", filter->limit_key);
    target_put_text(target, "worker", filter->worker);
    target_put_text(target, "error", filter->error);
    target_put_text(target, "created_after", filter->created_after);
    target_put_text(target, "created_before", filter->created_before);
}

static bool copy_filter(struct jobmill_list_options *own, const struct jobmill_list_options *theirs)
{
    return options_copy(own, sizeof(*own), OPTIONS_FIRST(jobmill_list_options, tag), theirs);
}

int jobmill_list(struct jobmill *mill, const struct jobmill_list_options *options,
                 struct jobmill_page **ret_page)
{
    struct jobmill_list_options own = {0};
    struct transport_answer answer;
    struct buf target;
    int error;

    if (!copy_filter(&own, options))
        return jobmill_call_refuse_newer(mill);
    target_init(&target, "/v1/jobs");
    put_filter(&target, &own);
    target_put_text(&target, "cursor", own.cursor);
    target_put_number(&target, "limit", own.limit);
    error = jobmill_call(mill, "GET", &target, NULL, &answer);
    if (error != 0)
        return error;
    error = jobmill_page_parse(buf_span(&answer.body), answer.body.data, ret_page);
    if (error == 0)
        return 0;
    transport_answer_done(&answer);
    return jobmill_error_set(&mill->failure, error, "%s: not a list of jobs", errors_title(error));
}

/* ---- changes by filter ---- */

/* What one answer tells. */
struct bulk {
    int64_t matched;
    int64_t changed;
    char *next_cursor; /* NULL: that was all */
};

static const struct record_member bulk_members[] = {
    {"matched", RECORD_NUMBER, offsetof(struct bulk, matched), NULL},
    {"changed", RECORD_NUMBER, offsetof(struct bulk, changed), NULL},
    {"next_cursor", RECORD_TEXT, offsetof(struct bulk, next_cursor), NULL},
    {0},
};

static int read_bulk(struct jobmill *mill, struct span bytes, struct bulk *ret_bulk)
{
    int error;

    *ret_bulk = (struct bulk){.matched = -1, .changed = -1};
    error = record_read(ret_bulk, bytes, bulk_members);
    if (error == 0 && (ret_bulk->matched < 0 || ret_bulk->changed < 0))
        error = JM_EANSWER;
    return error == 0 ? 0
                      : jobmill_error_set(&mill->failure, error, "%s: not the counts of a change",
                                          errors_title(error));
}

/* One request; `ret_bulk` is to be ended with record_done in any case. */
static int change_some(struct jobmill *mill, const char *path,
                       const struct jobmill_list_options *filter, int is_dry_run,
                       const char *cursor, struct bulk *ret_bulk)
{
    struct transport_answer answer;
    struct buf target;
    int error;

    *ret_bulk = (struct bulk){0};
    target_init(&target, path);
    put_filter(&target, filter);
    target_put_text(&target, "dry_run", is_dry_run ? "true" : NULL);
    target_put_text(&target, "cursor", cursor);
    error = jobmill_call(mill, "POST", &target, NULL, &answer);
    if (error != 0)
        return error;
    error = read_bulk(mill, buf_span(&answer.body), ret_bulk);
    transport_answer_done(&answer);
    return error;
}

static int change_all(struct jobmill *mill, const char *path,
                      const struct jobmill_list_options *filter, int is_dry_run,
                      uint64_t *ret_matched, uint64_t *ret_changed)
{
    struct jobmill_list_options own = {0};
    uint64_t matched = 0, changed = 0;
    struct bulk bulk = {0};
    int error;

    if (!copy_filter(&own, filter))
        return jobmill_call_refuse_newer(mill);
    do {
        struct bulk before = bulk;

        error = change_some(mill, path, &own, is_dry_run, before.next_cursor, &bulk);
        record_done(&before, bulk_members);
        matched += error == 0 ? (uint64_t)bulk.matched : 0;
        changed += error == 0 ? (uint64_t)bulk.changed : 0;
    } while (error == 0 && bulk.next_cursor != NULL);
    record_done(&bulk, bulk_members);
    if (error != 0)
        return error;
    if (ret_matched != NULL)
        *ret_matched = matched;
    if (ret_changed != NULL)
        *ret_changed = changed;
    return 0;
}

int jobmill_cancel_all(struct jobmill *mill, const struct jobmill_list_options *filter,
                       int is_dry_run, uint64_t *ret_matched, uint64_t *ret_changed)
{
    return change_all(mill, "/v1/jobs/cancel", filter, is_dry_run, ret_matched, ret_changed);
}

int jobmill_retry_all(struct jobmill *mill, const struct jobmill_list_options *filter,
                      int is_dry_run, uint64_t *ret_matched, uint64_t *ret_changed)
{
    return change_all(mill, "/v1/jobs/retry", filter, is_dry_run, ret_matched, ret_changed);
}

int jobmill_delete_all(struct jobmill *mill, const struct jobmill_list_options *filter,
                       int is_dry_run, uint64_t *ret_matched, uint64_t *ret_changed)
{
    return change_all(mill, "/v1/jobs/delete", filter, is_dry_run, ret_matched, ret_changed);
}
