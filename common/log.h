/* Log lines for the programs that have a libc: level, printf format, one sink per process. */
#ifndef PARAPET_COMMON_LOG_H
#define PARAPET_COMMON_LOG_H

#include <stdarg.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Lines above this level are dropped before they are formatted. Default LOG_INFO. */
extern enum log_level log_max_level;

/* Receives one finished line without newline. Called from any thread. */
typedef void (*log_sink_fn)(enum log_level level, const char *line);

/* Replaces the default sink, which writes "NAME: line" to stderr. NULL restores it. */
void log_set_sink(log_sink_fn sink);
/* Name in front of lines of the default sink; must stay valid. */
void log_set_name(const char *name);

__attribute__((format(printf, 2, 3))) void log_at(enum log_level level, const char *fmt, ...);

/* One line per line of `text`. */
void log_lines(enum log_level level, const char *text);

#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                  \
	do {                                            \
		if (log_max_level >= LOG_DEBUG)         \
			log_at(LOG_DEBUG, __VA_ARGS__); \
	} while (0)

#endif
