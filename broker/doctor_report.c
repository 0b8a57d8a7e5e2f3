#include "broker/doctor_report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

static void put_id(struct buf *out, int64_t id)
{
    char text[ID_TEXT_BYTES];

    if (id <= 0) { /* nobody was ever told such a one */
        buf_printf(out, "%" PRId64, id);
        return;
    }
    id_format((uint64_t)id, text);
    buf_put_str(out, text);
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
static void put_string(struct buf *out, const char *text)
{
    bool is_text = utf8_is_valid(span_of_str(text));

    buf_put_str(out, "\"");
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20)
            buf_printf(out, "\\u%04x", c);
        else
            buf_put_u8(out, c >= 0x80 && !is_text ? '?' : c);
    }
    buf_put_str(out, "\"");
}

static void put_member(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "\"%s\":", name);
    put_string(out, value);
}

static void put_json_id(struct buf *out, size_t i, int64_t id)
{
    buf_put_str(out, i > 0 ? ",\"" : "\"");
    put_id(out, id);
    buf_put_str(out, "\"");
}

static void write_json_finding(const struct doctor_finding *f, struct buf *out)
{
    buf_put_str(out, "{");
    put_member(out, "code", f->code);
    buf_put_str(out, ",");
    put_member(out, "what", f->what);
    buf_put_str(out, ",");
    put_member(out, "remedy", f->remedy);
    buf_printf(out, ",\"count\":%" PRId64 ",\"mended\":%s,\"jobs\":[", f->count,
               f->is_mended ? "true" : "false");
    for (size_t i = 0; i < f->id_count; i++)
        put_json_id(out, i, f->ids[i]);
    buf_put_str(out, "]}");
}

static void write_notes(const struct doctor_report *r, struct buf *out)
{
    struct span rest = buf_span(&r->notes);
    char line[DOCTOR_TEXT_BYTES];
    bool is_first = true;

    while (rest.len > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        size_t len = end != NULL ? (size_t)(end - rest.data) : rest.len;

        snprintf(line, sizeof(line), "%.*s", (int)len, (const char *)rest.data);
        buf_put_str(out, is_first ? "" : ",");
        put_string(out, line);
        is_first = false;
        len += end != NULL;
        rest = span_of(rest.data + len, rest.len - len);
    }
}

static void write_json(const struct doctor_report *r, const char *path, struct buf *out)
{
    const char *status = doctor_report_open(r) > 0 ? "damaged"
                         : r->count > 0            ? "mended"
                                                   : "healthy";

    buf_put_str(out, "{");
    put_member(out, "database", path);
    buf_put_str(out, ",");
    put_member(out, "status", status);
    buf_put_str(out, ",\"findings\":[");
    for (size_t i = 0; i < r->count; i++) {
        buf_put_str(out, i > 0 ? "," : "");
        write_json_finding(&r->findings[i], out);
    }
    buf_put_str(out, "],\"lost\":[");
    for (size_t i = 0; i < r->lost.len / sizeof(int64_t); i++)
        put_json_id(out, i, lost_id(r, i));
    buf_put_str(out, "],\"notes\":[");
    write_notes(r, out);
    buf_put_str(out, "],");
    put_member(out, "backup", r->backup);
    buf_put_str(out, "}\n");
}

void doctor_report_write(const struct doctor_report *r, const char *path, bool is_json,
                         struct buf *out)
{
    if (is_json)
        write_json(r, path, out);
    else
        write_text(r, path, out);
}
