/*
 * Uses libigvm as another project would: one header, one archive. Writes an image, reads, measures
 * and changes it. Proves that the archive needs nothing else of this tree; and a function of its
 * own named as one inside of the library is no clash.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/igvm.h"

unsigned crc32(const char *text);

/* The archive has a function of this name too, which must stay inside. */
unsigned crc32(const char *text)
{
	return (unsigned)strlen(text);
}

static int fail(const char *what, const struct igvm_error *err)
{
	char text[300];

	fprintf(stderr, "use_igvm: %s: %s\n", what, igvm_error_string(err, text, sizeof(text)));
	return 1;
}

int main(void)
{
	struct igvm_supported_platform platform = {
		.mask = 1, .platform_type = IGVM_PLATFORM_SEV_SNP, .platform_version = 1};
	struct igvm_guest_policy policy = {.policy = 0x30000, .mask = 1};
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	struct igvm_patch patch = {.cmdline = "quiet"};
	struct igvm_measurement m;
	struct igvm_error err = {0};
	struct igvm ig;
	void *file, *other;
	size_t len, other_len;

	igvm_write_platform(w, &platform);
	igvm_write(w, IGVM_GUEST_POLICY, &policy, sizeof(policy), NULL, 0);
	igvm_write_page(w, 0x1000, 1, 0, IGVM_PAGE_NORMAL, "hello", 5);
	if (igvm_writer_finish(w, &file, &len, &err))
		return fail("write", &err);
	igvm_writer_free(w);
	if (igvm_open(&ig, file, len, &err))
		return fail("read", &err);
	if (igvm_measure(&ig, &ig.platform[0], NULL, NULL, &m, &err))
		return fail("measure", &err);
	if (!igvm_patch(file, len, &patch, &other, &other_len, &err)) {
		fputs("use_igvm: an image without paravisor was changed\n", stderr);
		return 1;
	}
	free(file);
	return ig.header_count == 3 && m.digest_len == 48 && crc32("four") == 4 ? 0 : 1;
}
