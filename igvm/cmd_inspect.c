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
	static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
	struct igvm_error err;
	struct igvm ig;
	struct blob file;
	json_t *description;
	bool json = false;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt != 'j')
			return cli_usage_error("inspect: wrong option", argv[optind - 1]);
		json = true;
	}
	if (optind + 1 != argc)
		return cli_usage_error("inspect: needs one file", NULL);
	ret = cli_read_file(argv[optind], &file);
	if (ret)
		return ret;
	if (igvm_open(&ig, file.data, file.len, &err)) {
		free((void *)file.data);
		return cli_failed_with(argv[optind], &err);
	}
	description = inspect_describe(&ig);
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
