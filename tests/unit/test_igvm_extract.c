/* igvm extract: what comes out is what went in, and can go in again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "igvm/extract.h"
#include "tests/unit/igvm_build_fixture.h"
#include "tests/unit/igvm_samples.h"

#define FIELDS                                                                       \
	"\"memory_page_count\": 16384, \"command_line\": \"quiet x=1\", \"linux\": " \
	"{\"use_initrd\""                                                            \
	": true, \"command_line\": \"console=ttyS0\"}"
#define NONE_IMAGE OPENHCL(FIELDS)
#define CONFIG(isolation, line)                                                                    \
	"{\"guest_svn\":1,\"max_vtl\":2,\"isolation_type\":" isolation ",\"image\":{\"openhcl\":{" \
	"\"memory_page_count\": 16384, \"command_line\": \"" line "\"}}}"
#define TWO_PLATFORMS                                                                            \
	"{\"guest_arch\":\"x64\",\"guest_configs\":[" CONFIG(                                    \
		"{\"vbs\":{\"enable_debug\":false}}",                                            \
		"one") "," CONFIG("{\"snp\":{\"shared_gpa_boundary_bits\":46,\"policy\":196639," \
				  "\"enable_debug\":false,\"injection_type\":\"normal\"}}",      \
				  "two") "]}"

static const struct extract_file *find(const struct extract_files *files, const char *name,
				       u32 platform)
{
	for (u32 i = 0; i < files->count; i++) {
		const struct extract_file *f = &files->v[i];

		if (!strcmp(f->name, name) && (f->common || f->platform == platform))
			return f;
	}
	fail_msg("no file %s", name);
	return NULL;
}

static void check_content(const struct extract_files *files, const char *name, u32 platform,
			  const void *want, size_t len)
{
	const struct extract_file *f = find(files, name, platform);

	if (f->len != len || memcmp(f->data, want, len))
		fail_msg("%s: wrong content", name);
}

/* A name can be nothing but one in the folder. */
static void check_names(const struct extract_files *files)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-.";

	for (u32 i = 0; i < files->count; i++) {
		const char *name = files->v[i].name;

		assert_true(*name && *name != '.' && strspn(name, allowed) == strlen(name));
		for (u32 j = 0; j < i; j++)
			assert_true(strcmp(name, files->v[j].name) ||
				    (!files->v[i].common &&
				     files->v[i].platform != files->v[j].platform));
	}
}

static u8 *build_with_kernel(const char *json, const void *kernel, size_t kernel_len, size_t *len)
{
	struct blob resource[RESOURCE_COUNT] = {
		[RESOURCE_KERNEL] = {kernel, kernel_len},
		[RESOURCE_SHIM] = {shim_file, sizeof(shim_file)},
		[RESOURCE_INITRD] = {initrd_file, sizeof(initrd_file)},
		[RESOURCE_LINUX_KERNEL] = {bzimage, sizeof(bzimage)},
		[RESOURCE_LINUX_INITRD] = {initrd_file, sizeof(initrd_file)},
	};
	struct igvm_error err;
	struct manifest m;
	void *image = NULL;

	if (manifest_parse(&m, json, strlen(json), &err) ||
	    image_build(&m, resource, &image, len, &err))
		fail_msg("%s", err.text);
	manifest_free(&m);
	return image;
}

static void parts_of_a_paravisor(void **state)
{
	struct extract_files files;
	const struct extract_file *f;
	struct igvm_error err;
	struct igvm ig;
	size_t len, len2;
	u8 *image = build(NONE_IMAGE, &len, &err), *again;

	(void)state;
	assert_non_null(image);
	assert_int_equal(igvm_open(&ig, image, len, NULL), 0);
	assert_int_equal(extract_all(&ig, ~0u, &files, &err), 0);
	check_names(&files);
	check_content(&files, "initrd.bin", 0, initrd_file, sizeof(initrd_file));
	check_content(&files, "vtl0-initrd.bin", 0, initrd_file, sizeof(initrd_file));
	check_content(&files, "vtl0-kernel.bin", 0, bzimage, sizeof(bzimage));
	check_content(&files, "command-line.txt", 0, "quiet x=1", 9);
	check_content(&files, "vtl0-command-line.txt", 0, "console=ttyS0", 13);
	f = find(&files, "kernel.bin", 0);
	assert_int_equal(f->gpa, SHIM_DEFAULT_BASE + 2 * MiB);
	assert_int_equal(f->len, 0x404000);
	assert_memory_equal(f->data, kernel_file + 0x1000, 0x1800);
	assert_memory_equal(f->data + 0x400000, kernel_file + 0x3000, 0x1000);
	f = find(&files, "shim.bin", 0);
	assert_int_equal(f->len, 0x3000);
	assert_memory_equal(f->data, shim_file, 0x800);
	assert_true(extract_matches(f, "shim"));
	assert_true(extract_matches(f, "shim.bin"));
	assert_false(extract_matches(f, "shi"));
	assert_false(extract_matches(f, "shim.binary"));

	/* The rebuilt ELF file is as good as the kernel itself. */
	f = find(&files, "kernel.elf", 0);
	again = build_with_kernel(NONE_IMAGE, f->data, f->len, &len2);
	assert_int_equal(len, len2);
	assert_memory_equal(again, image, len);
	free(again);
	free(image);
	extract_free(&files);
}

static void by_platform(void **state)
{
	struct extract_files files;
	struct igvm_error err;
	struct igvm ig;
	size_t len;
	u8 *image = build(TWO_PLATFORMS, &len, &err);

	(void)state;
	if (!image)
		fail_msg("%s", err.text);
	assert_int_equal(igvm_open(&ig, image, len, NULL), 0);
	assert_int_equal(extract_all(&ig, ~0u, &files, &err), 0);
	check_names(&files);
	assert_true(find(&files, "initrd.bin", 0)->common);
	check_content(&files, "command-line.txt", 0, "one", 3);
	check_content(&files, "command-line.txt", 1, "two", 3);
	assert_false(find(&files, "page-tables.bin", 0)->common);
	extract_free(&files);
	/* One platform alone has nothing to differ from. */
	assert_int_equal(extract_all(&ig, 2, &files, &err), 0);
	check_content(&files, "command-line.txt", 0, "two", 3);
	assert_true(find(&files, "page-tables.bin", 0)->common);
	extract_free(&files);
	free(image);
}

static void any_image(void **state)
{
	struct extract_files files;
	struct igvm_error err;
	struct igvm ig;
	size_t len;
	u8 *image = x64_sample(1, &len);

	(void)state;
	assert_int_equal(igvm_open(&ig, image, len, NULL), 0);
	assert_int_equal(extract_all(&ig, ~0u, &files, &err), 0);
	check_names(&files);
	check_content(&files, "corim.cbor", 2, "document", 9);
	check_content(&files, "corim-signature.cbor", 2, "signature!", 11);
	assert_int_equal(find(&files, "pages-0x8000000.bin", 0)->len, 0x4000);
	assert_int_equal(find(&files, "snp-id-block.bin", 2)->len, 696);
	assert_int_equal(find(&files, "vp-context-0.bin", 0)->len, 4096);
	assert_int_equal(find(&files, "vp-context-0-vtl0.bin", 1)->len, 36);
	extract_free(&files);
	free(image);
}

/* Parameters that name a terabyte as kernel */
static void sparse_parts(void **state)
{
	struct extract_files files;
	struct igvm_error err;
	struct igvm_paravisor pv;
	struct igvm_header h;
	struct igvm ig;
	size_t len;
	u8 *image = build(RELEASE, &len, &err);

	(void)state;
	assert_int_equal(igvm_open(&ig, image, len, NULL), 0);
	assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, &err), 0);
	pv.params.persisted_state = -(s64)pv.shim_gpa;
	pv.params.persisted_state_size = 0;
	pv.params.sidecar = 1ll << 40;
	pv.params.sidecar_size = 1;
	for (u32 i = 0; find_header(&ig, IGVM_PAGE_DATA, i, &h); i++) {
		if (h.u.page.gpa == pv.params_gpa)
			memcpy(image + (h.data - image), &pv.params, sizeof(pv.params));
		/* the last one goes far away */
		if (i == ig.header_count - 15 || h.u.page.gpa == SHIM_DEFAULT_BASE + 2 * MiB)
			put_le64(image + (h.content - image), (1ull << 40) - 4096 * (i + 1));
	}
	fix_checksum(image);
	assert_int_equal(igvm_open(&ig, image, len, &err), 0);
	assert_int_equal(extract_all(&ig, ~0u, &files, &err), -EINVAL);
	assert_non_null(strstr(err.text, "larger than"));
	extract_free(&files);
	free(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sparse_parts),
		cmocka_unit_test(any_image),
		cmocka_unit_test(parts_of_a_paravisor),
		cmocka_unit_test(by_platform),
	};

	make_inputs();
	return cmocka_run_group_tests_name("igvm extract", tests, NULL, NULL);
}
