/* `parapet check`: can this machine run VMs, and what is missing. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/kvm.h"
#include "host/run.h"

int check_command(int argc, char **argv)
{
	struct kvm_check checks[32];
	size_t n;
	int fd;

	if (argc > 1) {
		int help = !strcmp(argv[1], "--help");

		fprintf(help ? stdout : stderr,
			"usage: parapet check\n"
			"\n"
			"Tells whether this machine can run VMs with parapet and what is missing.\n"
			"Exit code 0: it can; 1: it cannot.\n");
		return help ? 0 : 2;
	}
	fd = kvm_open(checks, sizeof(checks) / sizeof(checks[0]), &n);
	for (size_t i = 0; i < n; i++)
		printf("%-7s %-28s %s\n", checks[i].ok ? "ok" : "MISSING", checks[i].what,
		       checks[i].detail);
	printf("%s\n", fd >= 0 ? "This machine can run parapet natively."
			       : "This machine cannot run parapet natively.");
	if (fd >= 0)
		close(fd);
	return fd >= 0 ? 0 : 1;
}
