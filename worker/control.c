#include "worker/control.h"

#include <string.h>

#include "lib/log.h"
#include "schema/limits.h"

enum { CONTROL_SHOWN_BYTES = 80 /* of a line that is not understood, in the log */ };

void control_init(struct control *control, struct task_call *call)
{
    *control = (struct control){.call = call};
}

/* The next word of a line; empty at its end. */
static struct span next_word(struct span *line)
{
    struct span word;

    *line = span_trim(*line);
    word = span_of(line->data, 0);
    while (word.len < line->len && line->data[word.len] != ' ' && line->data[word.len] != '\t')
        word.len++;
    *line = span_of(line->data + word.len, line->len - word.len);
    return word;
}

/* Decimal digits and nothing else. */
static bool next_number(struct span *line, uint64_t max, uint64_t *ret_number)
{
    struct span word = next_word(line);
    uint64_t number = 0;

    for (size_t i = 0; i < word.len; i++) {
        uint64_t digit = (uint64_t)word.data[i] - '0';

        if (digit > 9 || number > (max - digit) / 10)
            return false;
        number = 10 * number + digit;
    }
    if (word.len == 0)
        return false;
    *ret_number = number;
    return true;
}

static bool take_progress(struct control *control, struct span line)
{
    uint64_t done, total = 0;

    if (!next_number(&line, UINT64_MAX, &done))
        return false;
    line = span_trim(line);
    if (line.len > 0 && !next_number(&line, UINT64_MAX, &total))
        return false;
    line = span_trim(line);
    task_progress(control->call, done, total, "%.*s", (int)line.len, (const char *)line.data);
    return true;
}

static bool take_retry(struct control *control, struct span line)
{
    struct span word = next_word(&line);
    enum wire_retry retry = WIRE_RETRY_NEVER;
    uint64_t ms = 0;

    if (span_is_str(word, "after") && next_number(&line, JM_RETRY_AFTER_LIMIT_MS, &ms))
        retry = WIRE_RETRY_AFTER;
    else if (!span_is_str(word, "never"))
        return false;
    if (span_trim(line).len > 0)
        return false;
    control->retry = retry;
    control->retry_after_ms = ms;
    return true;
}

static void take_line(struct control *control)
{
    struct span line = span_of(control->line, control->len);
    struct span rest = line, word;
    bool is_known = false;

    if (line.len > 0 && line.data[line.len - 1] == '\r')
        rest.len--;
    word = next_word(&rest);
    if (span_is_str(word, "progress"))
        is_known = take_progress(control, rest);
    else if (span_is_str(word, "retry"))
        is_known = take_retry(control, rest);
    if (is_known || word.len == 0)
        return;
    if (control->ignored++ == 0)
        log_warn("task '%s': a line on descriptor 3 is not understood: '%.*s'",
                 task_name(control->call),
                 (int)(line.len < CONTROL_SHOWN_BYTES ? line.len : CONTROL_SHOWN_BYTES),
                 (const char *)line.data);
}

void control_take(struct control *control, struct span bytes)
{
    while (bytes.len > 0) {
        const uint8_t *end = memchr(bytes.data, '\n', bytes.len);
        size_t part = end != NULL ? (size_t)(end - bytes.data) : bytes.len;
        size_t room = CONTROL_LINE_BYTES - control->len;
        size_t kept = part < room ? part : room;

        memcpy(control->line + control->len, bytes.data, kept);
        control->len += kept;
        if (end == NULL)
            return;
        take_line(control);
        control->len = 0;
        bytes = span_of(end + 1, bytes.len - part - 1);
    }
}

void control_finish(struct control *control)
{
    if (control->len > 0)
        take_line(control);
    control->len = 0;
    if (control->ignored > 1)
        log_warn("task '%s': %llu lines on descriptor 3 were not understood",
                 task_name(control->call), (unsigned long long)control->ignored);
}
