/*
 * A page owns the bytes of the answer; its jobs borrow from them.
 */
#include <stdlib.h>

#include "client/jobmill_job.h"
#include "client/jobmill_value.h"
#include "client/record.h"
#include "lib/mp.h"
#include "schema/errors.h"

struct jobmill_page {
    struct span array; /* the jobs' bytes */
    struct jobmill_job **jobs;
    size_t count;
    char *next_cursor;
    struct jobmill_value *whole;
};

static const struct record_member page_members[] = {
    {"jobs", RECORD_BYTES, offsetof(struct jobmill_page, array), NULL},
    {"next_cursor", RECORD_TEXT, offsetof(struct jobmill_page, next_cursor), NULL},
    {0},
};

static int read_jobs(struct jobmill_page *page)
{
    struct mp_cursor c;
    uint32_t count;

    mp_open(&c, page->array);
    if (!mp_next_array(&c, &count) || count > page->array.len)
        return JM_EANSWER;
    page->jobs = calloc((size_t)count + 1, sizeof(struct jobmill_job *));
    if (page->jobs == NULL)
        return JM_ENOMEM;
    for (; page->count < count; page->count++) {
        struct span value;
        int error;

        if (!mp_skip(&c, JOBMILL_VALUE_DEPTH, &value))
            return JM_EANSWER;
        error = jobmill_job_parse(value, NULL, &page->jobs[page->count]);
        if (error != 0)
            return error;
    }
    return 0;
}

static int read_page(struct jobmill_page *page, struct span msgpack)
{
    int error = record_read(page, msgpack, page_members);

    return error != 0 ? error : read_jobs(page);
}

int jobmill_page_parse(struct span msgpack, void *owned, struct jobmill_page **ret_page)
{
    struct jobmill_page *page = calloc(1, sizeof(*page));
    int error;

    if (page == NULL)
        return JM_ENOMEM;
    page->whole = jobmill_value_new(msgpack, NULL);
    error = page->whole == NULL ? JM_ENOMEM : read_page(page, msgpack);
    if (error != 0) {
        jobmill_page_free(page);
        return error;
    }
    page->whole->owned = owned;
    *ret_page = page;
    return 0;
}

void jobmill_page_free(struct jobmill_page *page)
{
    if (page == NULL)
        return;
    for (size_t i = 0; i < page->count; i++)
        jobmill_job_free(page->jobs[i]);
    free(page->jobs);
    record_done(page, page_members);
    jobmill_value_free(page->whole);
    free(page);
}

size_t jobmill_page_count(const struct jobmill_page *page)
{
    return page->count;
}

struct jobmill_job *jobmill_page_job(struct jobmill_page *page, size_t index)
{
    return index < page->count ? page->jobs[index] : NULL;
}

const char *jobmill_page_next_cursor(const struct jobmill_page *page)
{
    return page->next_cursor;
}

struct jobmill_value *jobmill_page_value(struct jobmill_page *page)
{
    return page->whole;
}
