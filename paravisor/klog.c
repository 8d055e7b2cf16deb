/* Log sink on /dev/kmsg: "<priority>name: line". */
#include "paravisor/klog.h"

#include "common/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define FACILITY_DAEMON (3 << 3)

static int kmsg_fd = -1;
static const char *program;

static void kmsg_sink(enum log_level level, const char *line)
{
	static const int priority[] = {3, 4, 6, 7};
	char text[600];
	int n;

	n = snprintf(text, sizeof(text), "<%d>%s: %s\n", FACILITY_DAEMON | priority[level], program,
		     line);
	if (n > 0 && write(kmsg_fd, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1))
		return; /* nowhere to complain */
}

void klog_start(const char *name)
{
	program = name;
	kmsg_fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (kmsg_fd >= 0)
		log_set_sink(kmsg_sink);
	else
		log_set_name(name);
}
