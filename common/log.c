#include "common/log.h"

#include <stdio.h>
#include <string.h>

enum log_level log_max_level = LOG_INFO;
static log_sink_fn current_sink;
static const char *name = "parapet";

static void stderr_sink(enum log_level level, const char *line)
{
	static const char *const tag[] = {"error: ", "warning: ", "", "debug: "};

	fprintf(stderr, "%s: %s%s\n", name, tag[level], line);
}

void log_set_sink(log_sink_fn sink)
{
	current_sink = sink;
}

void log_set_name(const char *new_name)
{
	name = new_name;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (level > log_max_level)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	(current_sink ? current_sink : stderr_sink)(level, line);
}

void log_lines(enum log_level level, const char *text)
{
	for (;;) {
		int len = (int)strcspn(text, "\n");

		log_at(level, "%.*s", len, text);
		if (!text[len])
			return;
		text += len + 1;
	}
}
