#include "client/tool/filter.h"
#include "client/tool/spec.h"
#include "client/tool/tool.h"

bool filter_is_empty(const struct filter *filter)
{
    return filter->state == NULL && filter->queue == NULL && filter->task == NULL &&
           filter->tag == NULL && filter->limit_key == NULL && filter->error == NULL &&
           filter->worker == NULL && filter->since == NULL && filter->until == NULL;
}

int filter_read(const struct filter *filter, struct filter_times *times,
                struct jobmill_list_options *ret_options)
{
    int exit = spec_time("since", filter->since, SPEC_AGO, times->since);

    if (exit == TOOL_OK)
        exit = spec_time("until", filter->until, SPEC_AGO, times->until);
    ret_options->state = filter->state;
    ret_options->queue = filter->queue;
    ret_options->task = filter->task;
    ret_options->tag = filter->tag;
    ret_options->limit_key = filter->limit_key;
    ret_options->error = filter->error;
    ret_options->worker = filter->worker;
    ret_options->created_after = filter->since != NULL ? times->since : NULL;
    ret_options->created_before = filter->until != NULL ? times->until : NULL;
    return exit;
}
