/* Entry of the VTL2 binary: which program is meant by argv[0]. */
#include "paravisor/programs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*main)(void);
	} program[] = {
		{"init", init_main},
		{"paravisor", paravisor_main},
		{"diag", diag_main},
	};
	const char *name = argc > 0 ? argv[0] : "";
	const char *slash = strrchr(name, '/');

	name = slash ? slash + 1 : name;
	if (getpid() == 1)
		return init_main();
	for (unsigned i = 0; i < sizeof(program) / sizeof(program[0]); i++) {
		if (strcmp(name, program[i].name) == 0)
			return program[i].main();
	}
	fprintf(stderr, "%s: unknown program; known: init, paravisor, diag\n", name);
	return 2;
}
