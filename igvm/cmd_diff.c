/* igvm diff: where two images differ. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/cli.h"

#define CONTEXT 16 /* bytes shown from the first that differs */

struct printer {
	u64 shown;
	u64 limit;
};

static void print_bytes(const char *side, const struct igvm_difference *d, const u8 *data)
{
	u32 n = MIN(d->len - d->at, CONTEXT);

	printf("    %s at 0x%x:", side, d->at);
	for (u32 i = 0; i < n; i++)
		printf(" %02x", data ? data[d->at + i] : 0);
	putchar('\n');
}

static void print_header(const struct igvm_difference *d)
{
	if (d->platform >= 0)
		printf("%s: ", igvm_platform_name((u32)d->platform));
	if (d->kind == IGVM_DIFF_FILE)
		return;
	printf("%s", igvm_type_name(d->type));
	if (d->has_gpa)
		printf(" 0x%" PRIx64, d->gpa);
	if (d->header_a == IGVM_NO_HEADER)
		printf(" (header %u of B)", d->header_b);
	else if (d->header_b == IGVM_NO_HEADER)
		printf(" (header %u of A)", d->header_a);
	else
		printf(" (header %u of A, %u of B)", d->header_a, d->header_b);
}

static void print_difference(void *ctx, const struct igvm_difference *d)
{
	struct printer *p = ctx;

	if (p->shown++ >= p->limit)
		return;
	print_header(d);
	switch (d->kind) {
	case IGVM_DIFF_FILE:
		if (d->platform >= 0)
			printf("only in %s\n", d->value_a ? "A" : "B");
		else
			printf("%s: %" PRIu64 ", %" PRIu64 "\n", d->field, d->value_a, d->value_b);
		break;
	case IGVM_DIFF_ONLY_A: puts(": only in A"); break;
	case IGVM_DIFF_ONLY_B: puts(": only in B"); break;
	case IGVM_DIFF_FIELD:
		printf(": %s 0x%" PRIx64 ", 0x%" PRIx64 "\n", d->field, d->value_a, d->value_b);
		break;
	case IGVM_DIFF_DATA:
		printf(": %s%sdiffers in %u of %u bytes\n", d->field ? d->field : "",
		       d->field ? " " : "", d->bytes, d->len);
		print_bytes("A", d, d->data_a);
		print_bytes("B", d, d->data_b);
		break;
	}
}

/* Files that cannot be compared are no difference: exit code 2, as of wrong usage. */
static int open_image(const char *path, struct blob *file, struct igvm *ig)
{
	return cli_open_image(path, file, ig) ? CLI_EXIT_USAGE : 0;
}

static int compare(const struct igvm *a, const struct igvm *b, struct printer *p)
{
	struct igvm_error err;
	u64 count;

	if (igvm_diff(a, b, print_difference, p, &count, &err)) {
		cli_failed_with("diff", &err);
		return CLI_EXIT_USAGE;
	}
	if (!count)
		return 0;
	if (p->shown > p->limit)
		printf("%" PRIu64 " differences, the first %" PRIu64 " shown\n", count, p->limit);
	else
		printf("%" PRIu64 " difference%s\n", count, count == 1 ? "" : "s");
	return EXIT_FAILURE;
}

int cmd_diff(int argc, char **argv)
{
	static const struct option options[] = {{"all", no_argument, NULL, 'a'}, {0}};
	struct printer printer = {.limit = 10};
	struct blob file_a, file_b;
	struct igvm a, b;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt != 'a')
			return cli_usage_error("diff: wrong option", argv[optind - 1]);
		printer.limit = ~0ull;
	}
	if (optind + 2 != argc)
		return cli_usage_error("diff: needs two files", NULL);
	ret = open_image(argv[optind], &file_a, &a);
	if (ret)
		return ret;
	ret = open_image(argv[optind + 1], &file_b, &b);
	if (!ret) {
		ret = compare(&a, &b, &printer);
		free((void *)file_b.data);
	}
	free((void *)file_a.data);
	if (fflush(stdout)) {
		cli_failed("standard output", strerror(errno));
		ret = CLI_EXIT_USAGE;
	}
	return ret;
}
