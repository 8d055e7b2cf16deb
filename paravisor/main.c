/* Entry of the VTL2 binary: which program is meant by argv[0]. */
#include "paravisor/programs.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*main)(int argc, char **argv);
	} program[] = {
		{"paravisor", paravisor_main},
		{"diag", diag_main},
		/* names that OpenHCL's clients know */
		{"underhill-crash", crash_main},
		{"underhill-dump", dump_main},
	};
	const char *name = argc > 0 ? argv[0] : "";
	const char *slash = strrchr(name, '/');

	name = slash ? slash + 1 : name;
	if (getpid() == 1)
		return init_main(argc, argv);
	for (unsigned i = 0; i < sizeof(program) / sizeof(program[0]); i++) {
		if (strcmp(name, program[i].name) != 0)
			continue;
		/* the kernel took "exe" for it */
		prctl(PR_SET_NAME, program[i].name);
		return program[i].main(argc, argv);
	}
	fprintf(stderr, "%s: unknown program, or not to be started by hand\n", name);
	return 2;
}
