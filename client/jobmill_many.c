/*
 * The functions of jobmill.h about many jobs: lists, and changes by filter.
 */
#include <stdlib.h>
#include <string.h>

#include "client/jobmill_call.h"
#include "client/jobmill_job.h"
#include "client/jobmill_value.h"
#include "client/options.h"
#include "client/target.h"
#include "lib/mp.h"
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

/* What one answer tells, and what all of them so far. */
struct bulk {
    uint64_t matched;
    uint64_t changed;
    char *cursor; /* of the next request; NULL: there is none */
};

static int read_bulk(struct span answer, struct bulk *bulk)
{
    struct mp_cursor c;
    uint32_t count;
    uint64_t matched = 0, changed = 0;
    bool has_counts = false;

    free(bulk->cursor);
    bulk->cursor = NULL;
    mp_open(&c, answer);
    if (!mp_next_map(&c, &count))
        return JM_EANSWER;
    while (count-- > 0) {
        struct span name, value, text;
        struct mp_cursor inner;

        if (!mp_next_str(&c, &name) || !mp_skip(&c, JOBMILL_VALUE_DEPTH, &value))
            return JM_EANSWER;
        mp_open(&inner, value);
        if (span_is_str(name, "matched"))
            has_counts = mp_next_uint(&inner, INT64_MAX, &matched);
        else if (span_is_str(name, "changed"))
            (void)!mp_next_uint(&inner, INT64_MAX, &changed);
        else if (span_is_str(name, "next_cursor") && mp_next_str(&inner, &text))
            bulk->cursor = strndup((const char *)text.data, text.len);
    }
    bulk->matched += matched;
    bulk->changed += changed;
    return has_counts ? 0 : JM_EANSWER;
}

static int bulk_once(struct jobmill *mill, const char *path,
                     const struct jobmill_list_options *filter, int is_dry_run, struct bulk *bulk)
{
    struct transport_answer answer;
    struct buf target;
    int error;

    target_init(&target, path);
    put_filter(&target, filter);
    target_put_text(&target, "dry_run", is_dry_run ? "true" : NULL);
    target_put_text(&target, "cursor", bulk->cursor);
    error = jobmill_call(mill, "POST", &target, NULL, &answer);
    if (error != 0)
        return error;
    error = read_bulk(buf_span(&answer.body), bulk);
    transport_answer_done(&answer);
    return error == 0 ? 0
                      : jobmill_error_set(&mill->failure, error, "%s: not the counts of a change",
                                          errors_title(error));
}

static int change_all(struct jobmill *mill, const char *path,
                      const struct jobmill_list_options *filter, int is_dry_run,
                      uint64_t *ret_matched, uint64_t *ret_changed)
{
    struct jobmill_list_options own = {0};
    struct bulk bulk = {0};
    int error;

    if (!copy_filter(&own, filter))
        return jobmill_call_refuse_newer(mill);
    do
        error = bulk_once(mill, path, &own, is_dry_run, &bulk);
    while (error == 0 && bulk.cursor != NULL);
    free(bulk.cursor);
    if (error != 0)
        return error;
    if (ret_matched != NULL)
        *ret_matched = bulk.matched;
    if (ret_changed != NULL)
        *ret_changed = bulk.changed;
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
