/* What the command lines of all diagnostics commands have in common. */
#ifndef PARAPET_HOST_DIAG_OPTIONS_H
#define PARAPET_HOST_DIAG_OPTIONS_H

#include <getopt.h>
#include <stdio.h>

#include "host/diag/client.h"

enum { DIAG_EXIT_FAILED = 1, DIAG_EXIT_USAGE = 2 };

/* Every command's table of long options begins with these. */
enum { DIAG_OPT_HELP = 1000, DIAG_OPT_VM, DIAG_OPT_WAIT, DIAG_OPT_OWN = 2000 };
#define DIAG_COMMON_OPTIONS                                                                       \
	{"help", no_argument, NULL, DIAG_OPT_HELP}, {"vm", required_argument, NULL, DIAG_OPT_VM}, \
	{                                                                                         \
		"wait", required_argument, NULL, DIAG_OPT_WAIT                                    \
	}

struct diag_common {
	const char *vm;
	unsigned wait_s;
	int exit; /* what the command has to return now; -1: go on */
};

/* usage: the text of --help; its first line shows the form. Says what is wrong with the line. */
void diag_common_init(struct diag_common *common);
/* Takes a return value of getopt_long that the command does not know itself. */
void diag_common_option(struct diag_common *common, int option, const char *name,
			const char *usage);
/* After the options: takes the VM from --vm, $PARAPET_VM or the next word. */
bool diag_common_vm(struct diag_common *common, int argc, char **argv, const char *name);
/* Fails for words that are left over. */
bool diag_common_end(struct diag_common *common, int argc, char **argv, const char *name);
/* A number from a command line. False (and said) if it is none, or not within min..max. */
bool diag_parse_number(const char *option, const char *text, u64 min, u64 max, u64 *value);
/* Seconds, with a fraction. */
bool diag_parse_seconds(const char *option, const char *text, double min, double *value);

extern const char diag_common_help[];

#endif
