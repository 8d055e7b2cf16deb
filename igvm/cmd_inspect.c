/* igvm inspect: shows what a file holds. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/cli.h"
#include "igvm/inspect.h"

int cmd_inspect(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"headers", no_argument, NULL, 'h'},
						{"platform", required_argument, NULL, 'p'},
						{0}};
	const char *platform = NULL;
	struct igvm ig;
	struct blob file;
	json_t *description;
	bool json = false, headers = false;
	u32 mask = ~0u;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'j': json = true; break;
		case 'h': headers = true; break;
		case 'p': platform = optarg; break;
		default: return cli_usage_error("inspect: wrong option", argv[optind - 1]);
		}
	}
	if (optind + 1 != argc)
		return cli_usage_error("inspect: needs one file", NULL);
	ret = cli_open_image(argv[optind], &file, &ig);
	if (ret)
		return ret;
	if (platform && cli_find_platform(&ig, platform, &mask)) {
		free((void *)file.data);
		return cli_failed(argv[optind], "has no such platform (vsm, sev-snp, tdx, native, "
						"sev, sev-es, cca)");
	}
	description = inspect_describe_some(&ig, mask, headers || json);
	if (!description) {
		ret = cli_failed(argv[optind], "out of memory");
	} else if (json) {
		json_dumpf(description, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		inspect_print(stdout, description);
	}
	json_decref(description);
	free((void *)file.data);
	if (!ret && fflush(stdout))
		ret = cli_failed("standard output", strerror(errno));
	return ret;
}
