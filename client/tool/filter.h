/*
 * filter.h: the options that choose jobs: for `jobs`, and for `cancel`, `retry` and `delete`
 * without ids.
 */
#ifndef CLIENT_TOOL_FILTER_H
#define CLIENT_TOOL_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "client/jobmill.h"
#include "lib/attr.h"
#include "lib/opt.h"
#include "lib/rfc3339.h"

struct filter {
    const char *state;
    const char *queue;
    const char *task;
    const char *tag;
    const char *limit_key;
    const char *error;
    const char *worker;
    const char *since;
    const char *until;
};

#define FILTER_ROW(conf, member, option, field, placeholder, text)                \
    {                                                                             \
        .name = (option), .type = OPT_STR,                                        \
        .offset = offsetof(struct conf, member) + offsetof(struct filter, field), \
        .value = (placeholder), .help = (text)                                    \
    }

/* Rows for a conf struct that has a struct filter as its member `member`. */
#define FILTER_OPTS(conf, member)                                                                  \
    FILTER_ROW(conf, member, "state", state, "STATE",                                              \
               "Only jobs that are scheduled, queued, running, succeeded, failed, cancelled or "   \
               "expired."),                                                                        \
        FILTER_ROW(conf, member, "queue", queue, "NAME", "Only jobs of this queue."),              \
        FILTER_ROW(conf, member, "task", task, "NAME", "Only jobs of this task."),                 \
        FILTER_ROW(conf, member, "tag", tag, "TAG", "Only jobs with this tag."),                   \
        FILTER_ROW(conf, member, "limit-key", limit_key, "KEY", "Only jobs with this limit key."), \
        FILTER_ROW(conf, member, "error", error, "CODE",                                           \
                   "Only jobs that failed with this code (`crashed`, `timed_out`, …)."),           \
        FILTER_ROW(conf, member, "worker", worker, "ID",                                           \
                   "Only jobs that this worker host has or "                                       \
                   "had."),                                                                        \
        FILTER_ROW(conf, member, "since", since, "TIME",                                           \
                   "Only jobs that were submitted after this time: 2026-11-23T09:21:00Z, or a "    \
                   "duration such as 1h for an hour ago."),                                        \
        FILTER_ROW(conf, member, "until", until, "TIME",                                           \
                   "Only jobs that were submitted before it, likewise.")

/* The times that the library's options point to. */
struct filter_times {
    char since[RFC3339_BYTES];
    char until[RFC3339_BYTES];
};

bool filter_is_empty(const struct filter *filter);

/* Sets the filter members of `ret_options`, which borrow from both others. Returns TOOL_OK, or
 * TOOL_USAGE after a sentence. */
int filter_read(const struct filter *filter, struct filter_times *times,
                struct jobmill_list_options *ret_options) JM_MUST_CHECK;

#endif
