#include "broker/doctor_report.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker/body.h"
#include "broker/render.h"
#include "lib/utf8.h"
#include "schema/id.h"

enum { NOTES_BYTES = 64 << 10, LOST_BYTES = 64 << 20, LOST_COMPARED = 4096 };

void doctor_report_init(struct doctor_report *r)
{
    *r = (struct doctor_report){.count = 0};
    buf_init(&r->notes, NOTES_BYTES);
    buf_init(&r->lost, LOST_BYTES);
}

void doctor_report_done(struct doctor_report *r)
{
    buf_done(&r->notes);
    buf_done(&r->lost);
}

struct doctor_finding *doctor_report_add(struct doctor_report *r, const char *code,
                                         const char *remedy, const char *fmt, ...)
{
    struct doctor_finding *f = &r->findings[r->count];
    va_list args;

    if (r->count == DOCTOR_FINDINGS_MAX)
        return f - 1;
    r->count++;
    *f = (struct doctor_finding){.code = code, .remedy = remedy, .count = 1};
    va_start(args, fmt);
    vsnprintf(f->what, sizeof(f->what), fmt, args);
    va_end(args);
    return f;
}

void doctor_report_note(struct doctor_report *r, const char *fmt, ...)
{
    char text[DOCTOR_TEXT_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    buf_printf(&r->notes, "%s\n", text);
}

void doctor_finding_add_id(struct doctor_finding *f, int64_t id)
{
    if (f->id_count < DOCTOR_IDS_SHOWN)
        f->ids[f->id_count++] = id;
}

void doctor_report_lose(struct doctor_report *r, int64_t id)
{
    size_t compared = LOST_COMPARED * sizeof(id); /* of very many, one may stand there twice */
    int64_t other;

    for (size_t at = 0; at < r->lost.len && at < compared; at += sizeof(id)) {
        memcpy(&other, r->lost.data + at, sizeof(other));
        if (other == id)
            return;
    }
    buf_put(&r->lost, &id, sizeof(id));
}

size_t doctor_report_open(const struct doctor_report *r)
{
    size_t open = 0;

    for (size_t i = 0; i < r->count; i++)
        open += !r->findings[i].is_mended;
    return open;
}

/* ---- for people ---- */

enum { JOB_TEXT_BYTES = 24 };

static void format_job(int64_t id, char ret_text[JOB_TEXT_BYTES])
{
    if (id <= 0) /* nobody was ever told such a one */
        snprintf(ret_text, JOB_TEXT_BYTES, "%" PRId64, id);
    else
        id_format((uint64_t)id, ret_text);
}

static void put_id(struct buf *out, int64_t id)
{
    char text[JOB_TEXT_BYTES];

    format_job(id, text);
    buf_put_str(out, text);
}

static void render_job(struct render_array *a, int64_t id)
{
    char text[JOB_TEXT_BYTES];

    format_job(id, text);
    render_item_str(a, span_of_str(text));
}

static int64_t lost_id(const struct doctor_report *r, size_t i)
{
    int64_t id;

    memcpy(&id, r->lost.data + i * sizeof(id), sizeof(id));
    return id;
}

static void write_finding(const struct doctor_finding *f, struct buf *out)
{
    buf_printf(out, "%s  %s: %s\n", f->is_mended ? "mended" : "FOUND ", f->code, f->what);
    if (f->id_count > 0)
        buf_put_str(out, "        jobs:");
    for (size_t i = 0; i < f->id_count; i++) {
        buf_put_str(out, " ");
        put_id(out, f->ids[i]);
    }
    if (f->id_count > 0)
        buf_printf(out, "%s\n", f->count > (int64_t)f->id_count ? " …" : "");
    buf_printf(out, "        %s\n", f->remedy);
}

static void write_text(const struct doctor_report *r, const char *path, struct buf *out)
{
    size_t open = doctor_report_open(r), lost = r->lost.len / sizeof(int64_t);

    for (size_t i = 0; i < r->count; i++)
        write_finding(&r->findings[i], out);
    if (lost > 0) {
        buf_printf(out, "lost    of %zu jobs something could not be read:", lost);
        for (size_t i = 0; i < lost; i++) {
            buf_put_str(out, " ");
            put_id(out, lost_id(r, i));
        }
        buf_put_str(out, "\n");
    }
    if (r->unnamed > 0)
        buf_printf(out, "lost    %" PRId64 " jobs besides, of which not even the id can be read\n",
                   r->unnamed);
    buf_put_span(out, buf_span(&r->notes));
    if (r->backup[0] != '\0')
        buf_printf(out, "The files as they were before: %s\n", r->backup);
    if (r->count == 0)
        buf_printf(out, "%s is healthy.\n", path);
    else if (open == 0)
        buf_printf(out, "%s is mended; a broker may start.\n", path);
    else
        buf_printf(out, "%s has %zu findings that are not mended.\n", path, open);
}

/* ---- for machines ---- */

/* What is no UTF-8 (a path may be anything) becomes '?'. */
static struct span clean(const char *text, char ret_clean[PATH_MAX])
{
    bool is_text = utf8_is_valid(span_of_str(text));

    snprintf(ret_clean, PATH_MAX, "%s", text);
    for (char *at = ret_clean; !is_text && *at != '\0'; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    return span_of_str(ret_clean);
}

static void render_text(struct render_map *m, const char *key, const char *text)
{
    char cleaned[PATH_MAX];

    render_str(m, key, clean(text, cleaned));
}

static void render_finding(const struct doctor_finding *f, struct buf *out)
{
    struct render_array jobs;
    struct render_map m;

    render_open_map(&m, out);
    render_word(&m, "code", f->code);
    render_text(&m, "what", f->what);
    render_word(&m, "remedy", f->remedy);
    render_i64(&m, "count", f->count);
    render_bool(&m, "mended", f->is_mended);
    render_key(&m, "jobs");
    render_open_array(&jobs, out);
    for (size_t i = 0; i < f->id_count; i++)
        render_job(&jobs, f->ids[i]);
    render_close_array(&jobs);
    render_close_map(&m);
}

static void render_notes(const struct doctor_report *r, struct buf *out)
{
    struct span rest = buf_span(&r->notes);
    char line[DOCTOR_TEXT_BYTES], cleaned[PATH_MAX];
    struct render_array notes;

    render_open_array(&notes, out);
    while (rest.len > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        size_t len = end != NULL ? (size_t)(end - rest.data) : rest.len;

        snprintf(line, sizeof(line), "%.*s", (int)len, (const char *)rest.data);
        render_item_str(&notes, clean(line, cleaned));
        len += end != NULL;
        rest = span_of(rest.data + len, rest.len - len);
    }
    render_close_array(&notes);
}

static void render_lists(const struct doctor_report *r, struct render_map *m, struct buf *out)
{
    struct render_array list;

    render_key(m, "findings");
    render_open_array(&list, out);
    for (size_t i = 0; i < r->count; i++) {
        render_item(&list);
        render_finding(&r->findings[i], out);
    }
    render_close_array(&list);
    render_key(m, "lost");
    render_open_array(&list, out);
    for (size_t i = 0; i < r->lost.len / sizeof(int64_t); i++)
        render_job(&list, lost_id(r, i));
    render_close_array(&list);
    if (r->unnamed == DOCTOR_UNNAMED_UNKNOWN)
        render_nil(m, "unnamed");
    else
        render_i64(m, "unnamed", r->unnamed);
    render_key(m, "notes");
    render_notes(r, out);
}

static void render_report(const struct doctor_report *r, const char *path, struct buf *out)
{
    struct render_map m;

    render_open_map(&m, out);
    render_text(&m, "database", path);
    render_word(&m, "status",
                doctor_report_open(r) > 0 ? "damaged"
                : r->count > 0            ? "mended"
                                          : "healthy");
    render_lists(r, &m, out);
    render_text(&m, "backup", r->backup);
    render_close_map(&m);
}

static void write_json(const struct doctor_report *r, const char *path, struct buf *out)
{
    struct buf msgpack;
    struct fault fault;

    buf_init(&msgpack, out->max);
    render_report(r, path, &msgpack);
    if (buf_has_failed(&msgpack) || body_write(BODY_JSON, buf_span(&msgpack), out, &fault) != 0)
        out->failed = true;
    buf_put_str(out, "\n");
    buf_done(&msgpack);
}

void doctor_report_write(const struct doctor_report *r, const char *path, bool is_json,
                         struct buf *out)
{
    if (is_json)
        write_json(r, path, out);
    else
        write_text(r, path, out);
}
