#include "host/run_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"
#include "host/control_client.h"
#include "host/diag/client.h"
#include "host/vm.h"

#define MIN_MEMORY (64 * MiB)
#define MAX_MEMORY (1024 * GiB)

static const char usage_text[] =
	"usage: parapet run --image FILE.igvm [options]\n"
	"\n"
	"Loads an IGVM image into VTL2 of a new VM and runs it on KVM.\n"
	"\n"
	"  --image FILE        paravisor image (IGVM)\n"
	"  --kernel FILE       Linux kernel for the guest (bzImage or vmlinux), added to the\n"
	"                      image\n"
	"  --initrd FILE       its initial ramdisk\n"
	"  --cmdline TEXT      its command line\n"
	"  --cpus N            virtual processors, 1 to %d (default 1)\n"
	"  --memory SIZE       guest memory, such as 512M or 4G (default 1G)\n"
	"  --serial SPEC       guest COM1: stdio, null, file:PATH or unix:PATH (default stdio)\n"
	"  --serial2 SPEC      guest COM2, as above (default null)\n"
	"  --vtl2-serial SPEC  VTL2's own console (COM3), as above (default: none)\n"
	"  --name NAME         lets 'parapet shell NAME' and the like find this VM\n"
	"  --vsock PATH        Unix socket for connections to the guest (hybrid vsock)\n"
	"  --vtl2-vsock PATH   Unix socket for connections to VTL2, such as those of\n"
	"                      'parapet shell'\n"
	"  --control PATH      Unix socket for 'parapet status' and 'parapet shutdown'\n"
	"  --crash-dir DIR     where core dumps and last words of VTL2 are put\n"
	"  --bootargs TEXT     appended to VTL2's command line if the image allows it\n"
	"  --no-reboot         end when the guest resets\n"
	"  --on-crash ACTION   when the guest reports its crash: end (default), or continue\n"
	"                      where it has a crash kernel (kdump)\n"
	"  --synic-intercepts  deliver intercepts as SynIC messages, without intercept page\n"
	"  --stats-json FILE   counters and boot timeline, written at the end\n"
	"  --stats-after MS    end with counters that long after the guest's user space is up\n"
	"  --mark TEXT         console text that means: user space is up\n"
	"  --verbose           log details\n"
	"  --help              this text\n"
	"\n"
	"On a terminal: Ctrl-A X ends the VM, Ctrl-A Ctrl-A sends Ctrl-A.\n"
	"Exit code: 0 guest powered off, 1 cannot start, 2 usage, %d guest panic, %d guest\n"
	"triple fault, %d paravisor failed, %d host failed, 128+N ended by signal N.\n";

static void usage(FILE *f)
{
	fprintf(f, usage_text, MAX_VPS, EXIT_GUEST_PANIC, EXIT_TRIPLE_FAULT, EXIT_PARAVISOR,
		EXIT_HOST);
}

static int parse_size(const char *text, u64 *bytes)
{
	char *end;
	u64 unit = MiB;

	errno = 0;
	*bytes = strtoull(text, &end, 0);
	if (errno || end == text || *text == '-')
		return -1;
	switch (*end) {
	case 'K':
	case 'k':
		unit = 1024;
		end++;
		break;
	case 'M':
	case 'm': end++; break;
	case 'G':
	case 'g':
		unit = GiB;
		end++;
		break;
	case 'T':
	case 't':
		unit = 1024 * GiB;
		end++;
		break;
	default: break;
	}
	return *end || __builtin_mul_overflow(*bytes, unit, bytes) ? -1 : 0;
}

enum {
	OPT_IMAGE = 256,
	OPT_KERNEL,
	OPT_INITRD,
	OPT_CMDLINE,
	OPT_CPUS,
	OPT_MEMORY,
	OPT_SERIAL,
	OPT_SERIAL2,
	OPT_VTL2_SERIAL,
	OPT_NAME,
	OPT_VSOCK,
	OPT_CONTROL,
	OPT_CRASH_DIR,
	OPT_VTL2_VSOCK,
	OPT_BOOTARGS,
	OPT_NO_REBOOT,
	OPT_ON_CRASH,
	OPT_SYNIC,
	OPT_STATS_JSON,
	OPT_STATS_AFTER,
	OPT_MARK,
	OPT_VERBOSE,
	OPT_HELP,
};

static const struct option long_options[] = {
	{"image", 1, 0, OPT_IMAGE},
	{"kernel", 1, 0, OPT_KERNEL},
	{"initrd", 1, 0, OPT_INITRD},
	{"cmdline", 1, 0, OPT_CMDLINE},
	{"cpus", 1, 0, OPT_CPUS},
	{"memory", 1, 0, OPT_MEMORY},
	{"serial", 1, 0, OPT_SERIAL},
	{"serial2", 1, 0, OPT_SERIAL2},
	{"vtl2-serial", 1, 0, OPT_VTL2_SERIAL},
	{"name", 1, 0, OPT_NAME},
	{"vsock", 1, 0, OPT_VSOCK},
	{"control", 1, 0, OPT_CONTROL},
	{"crash-dir", 1, 0, OPT_CRASH_DIR},
	{"vtl2-vsock", 1, 0, OPT_VTL2_VSOCK},
	{"bootargs", 1, 0, OPT_BOOTARGS},
	{"no-reboot", 0, 0, OPT_NO_REBOOT},
	{"on-crash", 1, 0, OPT_ON_CRASH},
	{"synic-intercepts", 0, 0, OPT_SYNIC},
	{"stats-json", 1, 0, OPT_STATS_JSON},
	{"stats-after", 1, 0, OPT_STATS_AFTER},
	{"mark", 1, 0, OPT_MARK},
	{"verbose", 0, 0, OPT_VERBOSE},
	{"help", 0, 0, OPT_HELP},
	{0},
};

/* The socket that the client looks for under that name. */
static int use_name(struct run_options *o, const char *name)
{
	char *slash;

	if (!*name || strchr(name, '/') || strchr(name, ':') ||
	    !diag_running_path(name, o->named, sizeof(o->named)) ||
	    !control_path(name, o->named_control, sizeof(o->named_control))) {
		log_error("--name %s: expected a short word without '/' and ':'", name);
		return -1;
	}
	slash = strrchr(o->named, '/');
	*slash = 0;
	if (mkdir(o->named, 0700) && errno != EEXIST) {
		log_error("%s: %s", o->named, strerror(errno));
		return -1;
	}
	*slash = '/';
	o->vtl2_vsock = o->named;
	if (!o->control)
		o->control = o->named_control;
	return 0;
}

int run_parse_options(int argc, char **argv, struct run_options *o)
{
	const char *name = NULL;
	unsigned long n;
	char *end;
	int opt;

	*o = (struct run_options){.cpus = 1,
				  .memory = GiB,
				  .serial = {"stdio", "null", "null", "null"},
				  .mark = "PARAPET-GUEST-USERSPACE"};
	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (opt) {
		case OPT_IMAGE: o->image = optarg; break;
		case OPT_KERNEL: o->kernel = optarg; break;
		case OPT_INITRD: o->initrd = optarg; break;
		case OPT_CMDLINE: o->cmdline = optarg; break;
		case OPT_BOOTARGS: o->bootargs = optarg; break;
		case OPT_SERIAL: o->serial[0] = optarg; break;
		case OPT_SERIAL2: o->serial[1] = optarg; break;
		case OPT_VTL2_SERIAL: o->vtl2_serial = optarg; break;
		case OPT_NAME: name = optarg; break;
		case OPT_VSOCK: o->vsock = optarg; break;
		case OPT_CONTROL: o->control = optarg; break;
		case OPT_CRASH_DIR: o->crash_dir = optarg; break;
		case OPT_VTL2_VSOCK: o->vtl2_vsock = optarg; break;
		case OPT_STATS_JSON: o->stats_json = optarg; break;
		case OPT_MARK: o->mark = optarg; break;
		case OPT_NO_REBOOT: o->no_reboot = true; break;
		case OPT_ON_CRASH:
			o->crash_continues = !strcmp(optarg, "continue");
			if (!o->crash_continues && strcmp(optarg, "end") != 0) {
				log_error("--on-crash %s: expected end or continue", optarg);
				return 3;
			}
			break;
		case OPT_SYNIC: o->synic_intercepts = true; break;
		case OPT_VERBOSE: log_max_level = LOG_DEBUG; break;
		case OPT_CPUS:
			n = strtoul(optarg, &end, 10);
			if (*end || n < 1 || n > MAX_VPS) {
				log_error("--cpus %s: expected 1 to %d", optarg, MAX_VPS);
				return 3;
			}
			o->cpus = (unsigned)n;
			break;
		case OPT_STATS_AFTER:
			n = strtoul(optarg, &end, 10);
			if (*end || n < 1 || n > 86400000) {
				log_error("--stats-after %s: expected milliseconds", optarg);
				return 3;
			}
			o->stats_after_ms = (unsigned)n;
			break;
		case OPT_MEMORY:
			if (parse_size(optarg, &o->memory) || o->memory < MIN_MEMORY ||
			    o->memory > MAX_MEMORY || !IS_ALIGNED(o->memory, 2 * MiB)) {
				log_error("--memory %s: expected 64M to 1024G, a multiple of 2M",
					  optarg);
				return 3;
			}
			break;
		case OPT_HELP: usage(stdout); return 1;
		default: fprintf(stderr, "See 'parapet run --help'.\n"); return 3;
		}
	}
	if (optind < argc) {
		log_error("unexpected argument '%s'; see 'parapet run --help'", argv[optind]);
		return 3;
	}
	if (!o->image) {
		log_error("--image is missing; see 'parapet run --help'");
		return 3;
	}
	if (name && (o->vtl2_vsock || use_name(o, name))) {
		if (o->vtl2_vsock)
			log_error("--name and --vtl2-vsock exclude each other");
		return 3;
	}
	if ((o->initrd || o->cmdline) && !o->kernel) {
		log_error("--initrd and --cmdline need --kernel");
		return 3;
	}
	return 0;
}
