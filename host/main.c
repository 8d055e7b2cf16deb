/* `parapet`: subcommand dispatch. */
#include <stdio.h>
#include <string.h>

#include "common/io.h"
#include "common/log.h"
#include "common/version.h"
#include "host/control_client.h"
#include "host/diag/commands.h"
#include "host/kvp.h"
#include "host/run.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"run", run_command, "run a VM with a paravisor image in VTL2"},
	{"status", control_command, "what a guest with integration components tells of itself"},
	{"kvp", kvp_command, "key-value pairs of a guest"},
	{"shutdown", control_command, "ask a guest to shut down or to reboot"},
	{"check", check_command, "tell whether this machine can run VMs, and what is missing"},
};

static void usage(FILE *f)
{
	fprintf(f, "usage: parapet COMMAND [options]\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].help);
	fprintf(f, "\nin a running VM, with its socket or name:\n\n");
	for (size_t i = 0; i < diag_command_count; i++)
		fprintf(f, "  %-10s %s\n", diag_commands[i].name, diag_commands[i].help);
	fprintf(f,
		"\n'parapet COMMAND --help' tells more; 'parapet --version' tells the version.\n");
}

int main(int argc, char **argv)
{
	io_open_standard();
	log_set_name("parapet");
	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	if (!strcmp(argv[1], "--help")) {
		usage(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("parapet %s\n", PARAPET_VERSION);
		return 0;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	for (size_t i = 0; i < diag_command_count; i++)
		if (!strcmp(argv[1], diag_commands[i].name))
			return diag_commands[i].run(argc - 1, argv + 1);
	log_error("unknown command '%s'; see 'parapet --help'", argv[1]);
	return 2;
}
