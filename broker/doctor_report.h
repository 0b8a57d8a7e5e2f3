/*
 * doctor_report.h: what the doctor found and did, and how it is told.
 */
#ifndef BROKER_DOCTOR_REPORT_H
#define BROKER_DOCTOR_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/buf.h"

enum {
    DOCTOR_FINDINGS_MAX = 64,
    DOCTOR_IDS_SHOWN = 20,
    DOCTOR_TEXT_BYTES = 400,
    DOCTOR_UNNAMED_UNKNOWN = -1, /* the counts that would say it are damaged too */
};

struct doctor_finding {
    const char *code;   /* a stable word; static */
    const char *remedy; /* a sentence; static */
    char what[DOCTOR_TEXT_BYTES];
    int64_t count;
    int64_t ids[DOCTOR_IDS_SHOWN]; /* the first jobs that it is about */
    size_t id_count;
    bool is_mended;
};

struct doctor_report {
    struct doctor_finding findings[DOCTOR_FINDINGS_MAX];
    size_t count;
    struct buf notes;               /* sentences, a line each, about what is no fault */
    struct buf lost;                /* int64_t each: jobs of which something could not be read */
    int64_t unnamed;                /* as many more are gone, or DOCTOR_UNNAMED_UNKNOWN */
    char backup[DOCTOR_TEXT_BYTES]; /* the copy that was made, or "" */
};

void doctor_report_init(struct doctor_report *r);
void doctor_report_done(struct doctor_report *r);

/* A new finding, or the last one again if there is no room. */
struct doctor_finding *doctor_report_add(struct doctor_report *r, const char *code,
                                         const char *remedy, const char *fmt, ...) JM_PRINTF(4, 5);
void doctor_report_note(struct doctor_report *r, const char *fmt, ...) JM_PRINTF(2, 3);
void doctor_finding_add_id(struct doctor_finding *f, int64_t id);

/* Once for each, however often it is added. */
void doctor_report_lose(struct doctor_report *r, int64_t id);

/* Findings that are not mended. */
size_t doctor_report_open(const struct doctor_report *r);

/* Appends the report on the database `path`. */
void doctor_report_write(const struct doctor_report *r, const char *path, bool is_json,
                         struct buf *out);

#endif
