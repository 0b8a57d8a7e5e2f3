/*
 * log.h: one line on stderr for each thing worth telling, with the priority prefix that systemd's
 * journal understands (sd-daemon(3), "<3>" to "<7>") when stderr goes to the journal, else with a
 * time and a word. Only programs log; lib and schema never do. Any thread may call it.
 */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include "lib/attr.h"

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/* Called once at start, before any thread: the program's name, and the least urgent level shown. */
void log_setup(const char *program, enum log_level level);

/* "error", "warn", "info" or "debug" as a level, or -1. */
int log_parse_level(const char *word);

void log_error(const char *fmt, ...) JM_PRINTF(1, 2);
void log_warn(const char *fmt, ...) JM_PRINTF(1, 2);
void log_info(const char *fmt, ...) JM_PRINTF(1, 2);
void log_debug(const char *fmt, ...) JM_PRINTF(1, 2);

#endif
