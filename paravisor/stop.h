/* The ways the partition ends, all reported to the host. */
#ifndef PARAPET_PARAVISOR_STOP_H
#define PARAPET_PARAVISOR_STOP_H

#include "common/abi/hostlink.h"

/* Exit status of the paravisor process, for init: how it ended and what the host knows of it. */
enum stop_status {
	STOP_STATUS_UNLINKED = 3, /* an orderly end, but there is no link to tell the host */
	STOP_STATUS_REPORTED = 4, /* the host has been told why */
};

/*
 * Tells the host and never returns; the first caller's reason counts. Text is cut to one message.
 * For a guest's fault: on the thread of its VP, whose registers the host shows.
 */
__attribute__((noreturn)) void stop_partition(enum hostlink_power how, const char *text);

/* The paravisor cannot go on. */
__attribute__((noreturn, format(printf, 1, 2))) void stop_crash(const char *format, ...);

#endif
