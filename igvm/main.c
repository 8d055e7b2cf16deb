/* Command line `igvm`: finds the command. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/version.h"
#include "igvm/cli.h"

static const char usage_text[] =
	"Usage: igvm COMMAND ...\n"
	"\n"
	"  igvm build MANIFEST [-o OUT] [--resource KEY=PATH ...] [--resources FILE]\n"
	"          [--id-key PEM [--author-key PEM]] [--documents]\n"
	"      Builds the image that MANIFEST describes. OUT: the manifest's name with .igvm, in\n"
	"      the current folder. Keys: underhill_kernel, openhcl_boot, underhill_initrd,\n"
	"      underhill_sidecar, uefi, linux_kernel, linux_initrd. Paths in a file are relative\n"
	"      to that file.\n"
	"      --documents: beside OUT, NAME-snp.json (endorsement), .cbor (CoRIM), .idblock...\n"
	"  igvm inspect FILE [--platform NAME] [--headers] [--json]\n"
	"      Checks FILE and shows platforms, guest memory, what is measured, and size by part.\n"
	"  igvm extract FILE [-o DIR] [--platform NAME] [--force] [--list] [PART ...]\n"
	"      Writes the parts of FILE (kernel, initrd, shim, command line, configuration, VTL0\n"
	"      payload, VP contexts, CoRIM...) to files in DIR, by platform where they differ.\n"
	"  igvm patch FILE -o OUT [--cmdline TEXT] [--append-cmdline TEXT] [--vtl2-memory SIZE]\n"
	"      [--drop-endorsements]\n"
	"      Changes VTL2's command line or memory size in a paravisor image. Its measurements\n"
	"      change; ID block, VBS measurement and CoRIM would not match and must be dropped.\n"
	"  igvm add-payload IN -o OUT --kernel KERNEL [--initrd INITRD] [--cmdline TEXT]\n"
	"      Adds a Linux guest (bzImage or vmlinux) for VTL0 to a paravisor image.\n"
	"  igvm measure FILE [--platform NAME] [--json | --explain | --digest-only]\n"
	"          [--endorsement OUT[.cbor] [--svn N]] [--id-block OUT] [--as-igvmmeasure]\n"
	"          [--native-zero]\n"
	"      Launch measurement, ID block and CoRIM of each platform; --explain: page by page.\n"
	"  igvm diff A B [--all]\n"
	"      Where two images differ in meaning.\n"
	"      Exit code: 0 equal, 1 different, 2 cannot tell.\n"
	"  igvm sign FILE -o OUT --id-key PEM [--author-key PEM] [--family-id ID] [--image-id ID]\n"
	"          [--guest-svn N] [--corim] [--corim-key PEM [--corim-cert PEM] [--issuer TEXT]]\n"
	"          [--platform NAME] [--replace]\n"
	"      or --id-block FILE --id-signature DER --id-public-key PEM instead of --id-key:\n"
	"      signed elsewhere, FILE from igvm measure --id-block.\n"
	"      Adds an SNP ID block, a CoRIM document of the measurement, a signature of that.\n"
	"  igvm verify FILE [--platform NAME] [--measurement HEX] [--endorsement FILE]\n"
	"          [--explain-list FILE] [--id-key PEM] [--id-key-digest HEX] [--corim-key PEM]\n"
	"          [--measured-only]\n"
	"      Exit code: 0 it is that image, 1 it is not, 2 wrong usage.\n"
	"\n"
	"  -h, --help       this text\n"
	"  -V, --version    name and version\n"
	"\n"
	"Exit code: 0 done, 1 failed, 2 wrong usage.\n";

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = {
		{"build", cmd_build},
		{"inspect", cmd_inspect},
		{"extract", cmd_extract},
		{"patch", cmd_patch},
		{"add-payload", cmd_add_payload},
		{"measure", cmd_measure},
		{"diff", cmd_diff},
		{"sign", cmd_sign},
		{"verify", cmd_verify},
	};

	opterr = 0; /* cli_usage_error() says it */
	if (argc < 2)
		return cli_usage_error("no command", NULL);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			fputs(usage_text, stdout);
			return 0;
		}
	}
	if (!strcmp(argv[1], "-V") || !strcmp(argv[1], "--version")) {
		puts("igvm (Parapet) " PARAPET_VERSION);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	}
	return cli_usage_error("unknown command", argv[1]);
}
