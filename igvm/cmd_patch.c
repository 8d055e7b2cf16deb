/* igvm patch: changes the command line or VTL2's memory size of a built image. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/cli.h"

/* "64M", "1G", "65536K" or bytes; 0 if it is none of these */
static u64 parse_size(const char *text)
{
	static const char units[] = "KMG";
	unsigned long long value;
	const char *unit;
	char *end;
	u64 size;

	if (*text < '0' || *text > '9')
		return 0;
	value = strtoull(text, &end, 0);
	unit = *end ? strchr(units, *end & ~0x20) : NULL;
	if (*end && (!unit || end[1]))
		return 0;
	size = value;
	for (u32 i = unit ? (u32)(unit - units) + 1 : 0; i > 0; i--) {
		if (size > ~0ull / 1024)
			return 0;
		size *= 1024;
	}
	return size;
}

static void warn(const struct igvm_patch *patch)
{
	fputs("igvm: patch: the launch measurement of every platform changes; endorsements and "
	      "policies that name the old one do not match any more\n",
	      stderr);
	if (patch->drop_endorsements)
		fputs("igvm: patch: ID block, VBS measurement and CoRIM are left out; sign the "
		      "image again\n",
		      stderr);
}

int cmd_patch(int argc, char **argv)
{
	static const struct option options[] = {{"cmdline", required_argument, NULL, 'c'},
						{"append-cmdline", required_argument, NULL, 'a'},
						{"vtl2-memory", required_argument, NULL, 'm'},
						{"drop-endorsements", no_argument, NULL, 'd'},
						{"output", required_argument, NULL, 'o'},
						{0}};
	const char *output = NULL;
	struct igvm_patch patch = {0};
	struct igvm_error err;
	struct blob file;
	void *image;
	size_t len;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		switch (opt) {
		case 'c': patch.cmdline = optarg; break;
		case 'a': patch.append = optarg; break;
		case 'm':
			patch.memory_size = parse_size(optarg);
			if (!patch.memory_size)
				return cli_usage_error("patch: not a size such as 64M", optarg);
			break;
		case 'd': patch.drop_endorsements = true; break;
		case 'o': output = optarg; break;
		default: return cli_usage_error("patch: wrong option", argv[optind - 1]);
		}
	}
	if (optind + 1 != argc || !output)
		return cli_usage_error("patch: needs one file, and -o", NULL);
	if (!patch.cmdline && !patch.append && !patch.memory_size && !patch.drop_endorsements)
		return cli_usage_error("patch: nothing to change", NULL);
	ret = cli_read_file(argv[optind], &file);
	if (ret)
		return ret;
	if (igvm_patch(file.data, file.len, &patch, &image, &len, &err)) {
		ret = cli_failed_with(argv[optind], &err);
		if (strstr(err.text, "would not match"))
			fputs("igvm: patch: --drop-endorsements leaves such headers out\n", stderr);
	} else {
		warn(&patch);
		ret = cli_write_image(output, image, len);
		free(image);
	}
	free((void *)file.data);
	return ret;
}
