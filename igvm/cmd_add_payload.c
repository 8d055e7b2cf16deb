/* igvm add-payload: adds a Linux guest for VTL0 to a paravisor image. */
#include <getopt.h>
#include <stdlib.h>

#include "igvm/cli.h"

static int add_payload(const char *in, const char *out, const char *kernel, const char *initrd,
		       const char *cmdline)
{
	struct igvm_vtl0_linux payload = {.cmdline = cmdline};
	struct blob image = {0}, kernel_file = {0}, initrd_file = {0};
	struct igvm_error err;
	void *result = NULL;
	size_t len;
	int ret = cli_read_file(in, &image);

	if (!ret)
		ret = cli_read_file(kernel, &kernel_file);
	if (!ret && initrd)
		ret = cli_read_file(initrd, &initrd_file);
	payload.kernel = kernel_file.data;
	payload.kernel_len = kernel_file.len;
	payload.initrd = initrd_file.data;
	payload.initrd_len = initrd_file.len;
	if (!ret && igvm_add_vtl0_linux(image.data, image.len, &payload, &result, &len, &err))
		ret = cli_failed_with(in, &err);
	if (!ret)
		ret = cli_write_image(out, result, len);
	free(result);
	free((void *)image.data);
	free((void *)kernel_file.data);
	free((void *)initrd_file.data);
	return ret;
}

int cmd_add_payload(int argc, char **argv)
{
	enum { OPT_KERNEL = 256, OPT_INITRD, OPT_CMDLINE };
	static const struct option options[] = {
		{"output", required_argument, NULL, 'o'},
		{"kernel", required_argument, NULL, OPT_KERNEL},
		{"initrd", required_argument, NULL, OPT_INITRD},
		{"cmdline", required_argument, NULL, OPT_CMDLINE},
		{0},
	};
	const char *out = NULL, *kernel = NULL, *initrd = NULL, *cmdline = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		switch (opt) {
		case 'o': out = optarg; break;
		case OPT_KERNEL: kernel = optarg; break;
		case OPT_INITRD: initrd = optarg; break;
		case OPT_CMDLINE: cmdline = optarg; break;
		default: return cli_usage_error("add-payload: wrong option", argv[optind - 1]);
		}
	}
	if (optind + 1 != argc || !out || !kernel)
		return cli_usage_error("add-payload: needs an image, -o and --kernel", NULL);
	return add_payload(argv[optind], out, kernel, initrd, cmdline);
}
