#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/tool/spec.h"
#include "client/tool/tool.h"
#include "lib/clock.h"

enum { WORD_BYTES = 64 };

/* ---- times ---- */

int spec_time(const char *option, const char *text, enum spec_way way, char ret_time[RFC3339_BYTES])
{
    int64_t now_ms = clock_wall_ms(clock_real()), wall_ms;
    uint64_t ms;

    if (text == NULL) {
        ret_time[0] = '\0';
        return TOOL_OK;
    }
    if (rfc3339_parse(span_of_str(text), &wall_ms)) {
        rfc3339_format(wall_ms, ret_time);
        return TOOL_OK;
    }
    if (!opt_parse_number(OPT_DURATION, text + (text[0] == '+' && way == SPEC_AHEAD), &ms) ||
        ms > INT64_MAX / 2)
        return tool_say(TOOL_USAGE,
                        "--%s: '%s' is neither a time such as 2026-11-23T09:21:00Z nor a duration "
                        "such as 10m",
                        option, text);
    rfc3339_format(way == SPEC_AHEAD ? now_ms + (int64_t)ms : now_ms - (int64_t)ms, ret_time);
    return TOOL_OK;
}

/* ---- rates ---- */

int spec_rate(const char *option, const char *text, int64_t *ret_limit, int64_t *ret_period_ms)
{
    const char *slash = text != NULL ? strchr(text, '/') : NULL;
    char limit_word[WORD_BYTES], period_word[WORD_BYTES];
    uint64_t limit, period_ms;

    if (text == NULL)
        return TOOL_OK;
    if (slash != NULL && slash - text < WORD_BYTES) {
        snprintf(limit_word, sizeof(limit_word), "%.*s", (int)(slash - text), text);
        /* "/s" is "/1s". */
        snprintf(period_word, sizeof(period_word), "%s%s",
                 isalpha((unsigned char)slash[1]) ? "1" : "", slash + 1);
        if (opt_parse_number(OPT_U64, limit_word, &limit) &&
            opt_parse_number(OPT_DURATION, period_word, &period_ms) && limit > 0 && period_ms > 0 &&
            limit <= INT64_MAX && period_ms <= INT64_MAX) {
            *ret_limit = (int64_t)limit;
            *ret_period_ms = (int64_t)period_ms;
            return TOOL_OK;
        }
    }
    return tool_say(TOOL_USAGE, "--%s: '%s' is not a rate such as 100/s or 100/10s", option, text);
}

/* ---- backoffs ---- */

static bool read_ms(const char *text, int64_t *ret_ms)
{
    uint64_t ms;

    if (!opt_parse_number(OPT_DURATION, text, &ms) || ms > INT64_MAX)
        return false;
    *ret_ms = ms > 0 ? (int64_t)ms : -1; /* as the library says nought */
    return true;
}

static bool read_real(const char *text, double *ret_real)
{
    char *end;
    double real = strtod(text, &end);

    if (!isdigit((unsigned char)text[0]) || *end != '\0')
        return false;
    *ret_real = real > 0 ? real : -1;
    return true;
}

/* One "name=value"; a value alone is the base. */
static bool read_part(char *part, struct jobmill_backoff *backoff)
{
    char *value = strchr(part, '=');

    if (value == NULL)
        return read_ms(part, &backoff->base_ms);
    *value++ = '\0';
    if (strcmp(part, "base") == 0)
        return read_ms(value, &backoff->base_ms);
    if (strcmp(part, "ceiling") == 0)
        return read_ms(value, &backoff->ceiling_ms);
    if (strcmp(part, "factor") == 0)
        return read_real(value, &backoff->factor) && backoff->factor > 0;
    return strcmp(part, "jitter") == 0 && read_real(value, &backoff->jitter);
}

static bool read_backoff(char *text, struct jobmill_backoff *ret_backoff)
{
    static const char *const kinds[] = {"fixed", "exponential"};
    struct jobmill_backoff backoff = {.size = sizeof(backoff)};
    char *parts = strchr(text, ':'), *part;

    if (parts != NULL)
        *parts++ = '\0';
    for (size_t i = 0; i < JM_COUNT_OF(kinds); i++)
        if (strcmp(text, kinds[i]) == 0)
            backoff.kind = kinds[i];
    if (backoff.kind == NULL)
        return false;
    while ((part = strsep(&parts, ",")) != NULL)
        if (!read_part(part, &backoff))
            return false;
    *ret_backoff = backoff;
    return true;
}

int spec_backoff(const char *option, const char *text, struct jobmill_backoff *ret_backoff)
{
    char words[4 * WORD_BYTES];

    if ((size_t)snprintf(words, sizeof(words), "%s", text) < sizeof(words) &&
        read_backoff(words, ret_backoff))
        return TOOL_OK;
    return tool_say(TOOL_USAGE,
                    "--%s: '%s' is not a backoff such as fixed:5s or "
                    "exponential:base=1s,factor=2,ceiling=1h,jitter=0.1",
                    option, text);
}
