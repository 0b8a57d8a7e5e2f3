/*
 * log.c: a line is formatted into a buffer on the stack and written with one write(2), so that
 * lines of several threads and processes on one pipe do not mix. A line longer than the buffer is
 * cut.
 */
#include "lib/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINE_BYTES = 2048 };

static struct {
    char program[32];
    enum log_level level;
    bool is_journal;
} log_conf = {.program = "jobmill", .level = LOG_LEVEL_INFO};

void log_setup(const char *program, enum log_level level)
{
    snprintf(log_conf.program, sizeof(log_conf.program), "%s", program);
    log_conf.level = level;
    log_conf.is_journal = getenv("JOURNAL_STREAM") != NULL;
}

static const char *level_word(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error";
    case LOG_LEVEL_WARN:
        return "warn";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_DEBUG:
        return "debug";
    }
    return "?";
}

int log_parse_level(const char *word)
{
    static const enum log_level all[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO,
                                         LOG_LEVEL_DEBUG};

    for (size_t i = 0; i < JM_COUNT_OF(all); i++)
        if (strcmp(word, level_word(all[i])) == 0)
            return (int)all[i];
    return -1;
}

static size_t write_prefix(char *line, size_t size, enum log_level level)
{
    struct timespec now;
    struct tm utc;
    int n;

    if (log_conf.is_journal)
        return (size_t)snprintf(line, size, "<%d>", (int)level);
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    n = (int)strftime(line, size, "%FT%T", &utc);
    n += snprintf(line + n, size - (size_t)n, ".%03ldZ %s[%d] %s: ", now.tv_nsec / 1000000,
                  log_conf.program, (int)getpid(), level_word(level));
    return (size_t)n;
}

static void write_line(enum log_level level, const char *fmt, va_list args) JM_PRINTF(2, 0);

static void write_line(enum log_level level, const char *fmt, va_list args)
{
    char line[LOG_LINE_BYTES];
    size_t len;
    int n;

    if (level > log_conf.level)
        return;
    len = write_prefix(line, sizeof(line), level);
    n = vsnprintf(line + len, sizeof(line) - len, fmt, args);
    if (n < 0)
        return;
    len += (size_t)n;
    if (len > sizeof(line) - 1)
        len = sizeof(line) - 1;
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0)
        return; /* nowhere is left to tell it */
}

#define LOG_FUNCTION(name, level)     \
    void name(const char *fmt, ...)   \
    {                                 \
        va_list args;                 \
        va_start(args, fmt);          \
        write_line(level, fmt, args); \
        va_end(args);                 \
    }

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
