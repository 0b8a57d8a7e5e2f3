/*
 * job_fields.h: the options that say how a job is to be done, which `submit` gives to a new job and
 * `patch` to one that waits.
 */
#ifndef CLIENT_TOOL_JOB_FIELDS_H
#define CLIENT_TOOL_JOB_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include "client/jobmill.h"
#include "lib/attr.h"
#include "lib/opt.h"
#include "lib/rfc3339.h"

struct job_fields {
    const char *args;
    const char *at;
    const char *expires;
    const char *backoff;
    uint64_t priority;
    uint64_t delay_ms;
    uint64_t timeout_ms;
    uint64_t max_attempts;
    uint64_t retain_ms;
    struct opt_list tags;
};

#define JOB_FIELDS_ROW(conf, member, option, field, kind, ...)                                    \
    {                                                                                             \
        .name = (option), .type = (kind),                                                         \
        .offset = offsetof(struct conf, member) + offsetof(struct job_fields, field), __VA_ARGS__ \
    }

/* Rows for a conf struct that has a struct job_fields as its member `member`. */
#define JOB_FIELDS_OPTS(conf, member)                                                              \
    JOB_FIELDS_ROW(conf, member, "args", args, OPT_STR, .value = "JSON",                           \
                   .help = "All arguments at once, as JSON."),                                     \
        JOB_FIELDS_ROW(conf, member, "priority", priority, OPT_U64, .min = JM_PRIORITY_MIN,        \
                       .max = JM_PRIORITY_MAX, .help = "9 goes first; 5 unless told."),            \
        JOB_FIELDS_ROW(conf, member, "delay", delay_ms, OPT_DURATION, .max = JM_DELAY_LIMIT_MS,    \
                       .help = "Not before this time has passed."),                                \
        JOB_FIELDS_ROW(conf, member, "at", at, OPT_STR, .value = "TIME",                           \
                       .help = "Not before this time: 2026-11-23T09:21:00Z, or 10m from now."),    \
        JOB_FIELDS_ROW(conf, member, "expires", expires, OPT_STR, .value = "TIME",                 \
                       .help = "Not at all if it has not begun by then; a time or a duration, as " \
                               "for --at."),                                                       \
        JOB_FIELDS_ROW(conf, member, "timeout", timeout_ms, OPT_DURATION, .min = 1,                \
                       .max = JM_TIMEOUT_LIMIT_MS, .help = "How long one attempt may run."),       \
        JOB_FIELDS_ROW(conf, member, "max-attempts", max_attempts, OPT_U64, .min = 1,              \
                       .max = JM_MAX_ATTEMPTS_LIMIT, .help = "How often the job is tried."),       \
        JOB_FIELDS_ROW(conf, member, "backoff", backoff, OPT_STR, .value = "BACKOFF",              \
                       .help = "The pause before the next attempt: fixed:5s, or "                  \
                               "exponential:base=1s,factor=2,ceiling=1h,jitter=0.1 or a part of "  \
                               "it."),                                                             \
        JOB_FIELDS_ROW(conf, member, "retain", retain_ms, OPT_DURATION, .min = 1,                  \
                       .max = JM_DELAY_LIMIT_MS, .help = "How long the ended job is kept."),       \
        JOB_FIELDS_ROW(conf, member, "tag", tags, OPT_LIST, .max = JM_TAGS_PER_JOB,                \
                       .value = "TAG", .help = "A tag.")

/* What the words among them mean. */
struct job_fields_parts {
    char run_at[RFC3339_BYTES]; /* "": not given; likewise */
    char expires_at[RFC3339_BYTES];
    struct jobmill_backoff backoff;
};

/* Returns TOOL_OK, or TOOL_USAGE after a sentence. */
int job_fields_read(const struct job_fields *fields,
                    struct job_fields_parts *ret_parts) JM_MUST_CHECK;

#endif
