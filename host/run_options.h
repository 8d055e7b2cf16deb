/* The command line of `parapet run`. */
#ifndef PARAPET_HOST_RUN_OPTIONS_H
#define PARAPET_HOST_RUN_OPTIONS_H

#include "host/hostlink.h"
#include "host/hvsocket.h"

/* Exit codes beside 0 (power-off, Ctrl-A X), 1 (cannot start) and 2 (usage) */
enum {
	EXIT_GUEST_PANIC = 10,
	EXIT_TRIPLE_FAULT = 11,
	EXIT_PARAVISOR = 12,
	EXIT_HOST = 13,
};

struct run_options {
	const char *image, *kernel, *initrd, *cmdline, *bootargs;
	const char *serial[HOSTLINK_PORTS];
	const char *vtl2_serial, *stats_json, *mark;
	const char *vsock, *vtl2_vsock, *control, *crash_dir;
	/* what --name stands for */
	char named[HVSOCKET_PATH_MAX], named_control[HVSOCKET_PATH_MAX];
	unsigned cpus;
	u64 memory;
	bool no_reboot, synic_intercepts, crash_continues;
	unsigned stats_after_ms;
};

/* Returns 0, or the exit code plus one when the program is done. o points into argv and itself. */
int run_parse_options(int argc, char **argv, struct run_options *o);

#endif
