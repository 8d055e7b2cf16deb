/* Common options of the diagnostics commands. */
#include "host/diag/options.h"

#include <errno.h>
#include <stdlib.h>

#include "common/log.h"

const char diag_common_help[] =
	"\n"
	"  --vm VM        the VM, instead of the first word (so does $PARAPET_VM)\n"
	"  --wait S       wait up to S seconds for the VM to answer\n"
	"  --help         this text\n"
	"\n"
	"VM is the path of a hybrid-vsock socket (that of `parapet run --vtl2-vsock`, or of\n"
	"another VMM that runs OpenHCL), or the name of a running VM.\n";

void diag_common_init(struct diag_common *common)
{
	*common = (struct diag_common){.vm = getenv("PARAPET_VM"), .exit = -1};
	if (common->vm && !*common->vm)
		common->vm = NULL;
	optind = 0;
}

bool diag_parse_number(const char *option, const char *text, u64 min, u64 max, u64 *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	if (!errno && end != text && !*end && *text != '-' && *value >= min && *value <= max)
		return true;
	log_error("%s %s: a number from %llu to %llu is needed", option, text,
		  (unsigned long long)min, (unsigned long long)max);
	return false;
}

bool diag_parse_seconds(const char *option, const char *text, double min, double *value)
{
	char *end;

	*value = strtod(text, &end);
	if (end != text && !*end && *value >= min && *value <= 1000000)
		return true;
	log_error("%s %s: seconds are needed, at least %g", option, text, min);
	return false;
}

void diag_common_option(struct diag_common *common, int option, const char *name, const char *usage)
{
	u64 value;

	switch (option) {
	case DIAG_OPT_HELP:
		printf("%s%s", usage, diag_common_help);
		common->exit = 0;
		break;
	case DIAG_OPT_VM: common->vm = optarg; break;
	case DIAG_OPT_WAIT:
		if (diag_parse_number("--wait", optarg, 0, 100000, &value))
			common->wait_s = (unsigned)value;
		else
			common->exit = DIAG_EXIT_USAGE;
		break;
	default:
		/* getopt has said what is wrong */
		fprintf(stderr, "see 'parapet %s --help'\n", name);
		common->exit = DIAG_EXIT_USAGE;
		break;
	}
}

bool diag_common_vm(struct diag_common *common, int argc, char **argv, const char *name)
{
	if (!common->vm && optind < argc)
		common->vm = argv[optind++];
	if (common->vm)
		return true;
	log_error("which VM? see 'parapet %s --help'", name);
	common->exit = DIAG_EXIT_USAGE;
	return false;
}

bool diag_common_end(struct diag_common *common, int argc, char **argv, const char *name)
{
	if (optind >= argc)
		return true;
	log_error("'%s' is too much; see 'parapet %s --help'", argv[optind], name);
	common->exit = DIAG_EXIT_USAGE;
	return false;
}
