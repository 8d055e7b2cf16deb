/* Shim parameters, imported regions, log buffer and text formatting. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "loader/format.h"
#include "loader/log_buffer.h"
#include "tests/unit/shim_fixture.h"

static struct shim_error err;

static void rejects(const struct shim_params *p, const char *reason)
{
	struct shim_image image;

	memset(&err, 0, sizeof(err));
	assert_int_equal(fix_image(&image, p, &err), -1);
	if (!strstr(err.text, reason))
		fail_msg("\"%s\" is not in \"%s\"", reason, err.text);
}

#define REJECTS(change, reason)                      \
	do {                                         \
		struct shim_params p = fix_params(); \
                                                     \
		change;                              \
		rejects(&p, reason);                 \
	} while (0)

static void isolation_types(void **state)
{
	(void)state;
	REJECTS(p.isolation = 0, "isolation type 0");
	REJECTS(p.isolation = 4, "isolation type 4");
	REJECTS(p.isolation = 0xffffffff, "isolation");
}

static void memory_and_used_range(void **state)
{
	(void)state;
	REJECTS(p.memory_size = 0, "memory at");
	REJECTS(p.memory_size = ~0ull, "memory at");
	REJECTS(p.memory_size = ~0xfffull, "memory at");
	REJECTS(p.memory_size = 1ull << 52, "memory at");
	REJECTS(p.memory_size += 1, "memory at");
	REJECTS(p.memory_start += 0x1000, "used range");
	REJECTS(p.used_start -= 0x1000, "used range");
	REJECTS(p.used_end = p.used_start, "used range");
	REJECTS(p.used_end = p.used_start - 0x1000, "used range");
	REJECTS(p.used_end += 1, "used range");
	REJECTS(p.used_end = p.used_start + (s64)p.memory_size + 0x1000, "used range");
	/* Used range that ends before its parts do */
	REJECTS(p.used_end -= 24 * (s64)PAGE_SIZE, "is not in");
}

static void regions(void **state)
{
	(void)state;
	REJECTS(p.cmdline = INT64_MAX, "command line");
	REJECTS(p.cmdline = INT64_MIN, "command line");
	REJECTS(p.cmdline += 8, "not page aligned");
	REJECTS(p.initrd = p.used_end, "initrd");
	REJECTS(p.initrd_size = ~0ull, "initrd");
	REJECTS(p.initrd_size = 16 * MiB, "initrd");
	REJECTS(p.initrd += 1, "not page aligned");
	REJECTS(p.parameter_region_size -= PAGE_SIZE, "has only");
	REJECTS(p.parameter_region_size = 0, "has only");
	REJECTS(p.parameter_region_size += 0x800, "not page aligned");
	REJECTS(p.log_buffer_size = 0, "log buffer has only");
	REJECTS(p.log_buffer = -(s64)FIX_SHIM, "log buffer");
	REJECTS(p.persisted_state_size = PAGE_SIZE, "persisted state has only");
	REJECTS(p.sidecar_size = PAGE_SIZE; p.sidecar = (s64)1 << 62, "sidecar");
	REJECTS(p.bounce_buffer_size = ~0xfffull; p.bounce_buffer = 0, "bounce buffer");
	REJECTS(p.heap_size = 1ull << 40, "heap");
}

static void overlaps(void **state)
{
	(void)state;
	REJECTS(p.cmdline = (s64)(FIX_PARAMS - FIX_SHIM), "command line overlaps parameter page");
	REJECTS(p.log_buffer = 0x1000, "log buffer overlaps shim");
	REJECTS(p.initrd_size = 2 * MiB + 0x2000, "initrd overlaps");
	REJECTS(p.heap = p.log_buffer + 0x1000, "heap overlaps log buffer");
	REJECTS(p.reserved_region = p.persisted_state, "persisted state overlaps reserved");
	REJECTS(p.sidecar = p.initrd; p.sidecar_size = PAGE_SIZE, "sidecar overlaps initrd");
}

static void kernel_entry(void **state)
{
	(void)state;
	REJECTS(p.kernel_entry = p.used_end, "outside the image");
	REJECTS(p.kernel_entry = INT64_MIN, "outside the image");
	REJECTS(p.kernel_entry = p.used_start - 1, "outside the image");
	REJECTS(p.kernel_entry = 0x40, "in the shim");
	REJECTS(p.kernel_entry = p.initrd, "in the initrd");
	/* The rest of its last page is not free either. */
	REJECTS(p.kernel_entry = p.initrd + FIX_INITRD_SIZE, "in the initrd");
	REJECTS(p.kernel_entry = p.parameter_region + 0x28000, "in the parameter region");
}

/* The pages around the entry that belong to nothing else */
static void kernel_range(void **state)
{
	struct shim_params p = fix_params();
	struct shim_image image;

	(void)state;
	assert_int_equal(fix_image(&image, &p, &err), 0);
	assert_int_equal(image.kernel.start, FIX_KERNEL);
	assert_int_equal(image.kernel.end, FIX_SHIM);
	/* Behind the initrd, which ends inside a page, up to the parameter page */
	p.kernel_entry = (s64)FIX_PARAMS - 1 - (s64)FIX_SHIM;
	assert_int_equal(fix_image(&image, &p, &err), 0);
	assert_int_equal(image.kernel.start, FIX_INITRD + 2 * PAGE_SIZE);
	assert_int_equal(image.kernel.end, FIX_PARAMS);
	/* Behind all: to the end of the image; regions that are absent do not count. */
	p.heap_size = 0;
	p.heap = p.used_end - 0x1000;
	p.kernel_entry = p.used_end - 1;
	assert_int_equal(fix_image(&image, &p, &err), 0);
	assert_int_equal(image.kernel.start, FIX_HEAP);
	assert_int_equal(image.kernel.end, FIX_USED_END);
}

static void valid(void **state)
{
	struct shim_params p = fix_params();
	struct shim_image image;

	(void)state;
	assert_int_equal(fix_image(&image, &p, &err), 0);
	assert_int_equal(image.kernel_entry, FIX_KERNEL + 0x200);
	assert_int_equal(image.memory.start, FIX_BASE);
	assert_int_equal(image.memory.end, FIX_BASE + FIX_MEMORY_SIZE);
	assert_int_equal(image.used.end, FIX_USED_END);
	assert_int_equal(image.initrd.end, FIX_INITRD + FIX_INITRD_SIZE);
	assert_int_equal(image_host_dt(&image).start, FIX_HOST_DT);
	assert_int_equal(range_size(image_host_dt(&image)), 256 * 1024);
	assert_int_equal(range_size(image.sidecar), 0);
	/* No initrd at all */
	p.initrd_size = 0;
	p.initrd = INT64_MAX;
	assert_int_equal(fix_image(&image, &p, &err), 0);
	assert_int_equal(range_size(image.initrd), 0);
}

static void imported(void **state)
{
	static struct shim_imported_regions page;
	struct imported_list list;

	(void)state;
	memset(&page, 0, sizeof(page));
	assert_int_equal(imported_list_read(&list, &page, &err), 0);
	assert_int_equal(list.count, 0);

	page.range[0] = (struct shim_imported_range){
		.base_page = 1, .page_count = 2, .accepted = 1};
	page.range[1] = (struct shim_imported_range){.base_page = 3, .page_count = 1};
	assert_int_equal(imported_list_read(&list, &page, &err), 0);
	assert_int_equal(list.count, 2);
	assert_int_equal(list.entry[0].range.start, 0x1000);
	assert_int_equal(list.entry[0].range.end, 0x3000);
	assert_true(list.entry[0].accepted);
	assert_false(list.entry[1].accepted);

	page.range[1].base_page = 2;
	assert_int_equal(imported_list_read(&list, &page, &err), -1);
	page.range[1].base_page = ~0ull;
	assert_int_equal(imported_list_read(&list, &page, &err), -1);
	page.range[1].base_page = 3;
	page.range[1].page_count = ~0ull;
	assert_int_equal(imported_list_read(&list, &page, &err), -1);
	page.range[1].page_count = 1;
	page.range[1].accepted = 2;
	assert_int_equal(imported_list_read(&list, &page, &err), -1);

	/* A full page has no end mark. */
	for (u32 i = 0; i < IMPORTED_MAX; i++)
		page.range[i] = (struct shim_imported_range){.base_page = i, .page_count = 1};
	assert_int_equal(imported_list_read(&list, &page, &err), 0);
	assert_int_equal(list.count, 168);
}

static void log_buffer(void **state)
{
	u8 memory[64 + 8];
	struct shim_log *log = (void *)memory;

	(void)state;
	memset(memory, 0xaa, sizeof(memory));
	log_buffer_init(log, 64);
	assert_int_equal(log->capacity, 58);
	log_buffer_append(log, "0123456789", 10);
	assert_memory_equal(log->text, "0123456789", 10);
	for (int i = 0; i < 10; i++)
		log_buffer_append(log, "0123456789", 10);
	assert_int_equal(log->used, 50);
	assert_int_equal(log->dropped, 6);
	/* A smaller message still fits; nothing is written behind the end. */
	log_buffer_append(log, "12345678", 8);
	assert_int_equal(log->used, 58);
	for (u32 i = 64; i < sizeof(memory); i++)
		assert_int_equal(memory[i], 0xaa);
	for (int i = 0; i < 70000; i++)
		log_buffer_append(log, "x", 1);
	assert_int_equal(log->dropped, 65535);
}

static void formats(void **state)
{
	char buf[40];

	(void)state;
	assert_int_equal(
		shim_format(buf, sizeof(buf), "%s %u %x %d %c%%", "a", 5u, 0xbeefu, -7, 'z'), 14);
	assert_string_equal(buf, "a 5 beef -7 z%");
	shim_format(buf, sizeof(buf), "%llx|%08x|%4d|%zu|%.2s|%.*s", 0xfedcba9876543210ull, 0x1fu,
		    -5, (size_t)9, "abcd", 1, "xyz");
	assert_string_equal(buf, "fedcba9876543210|0000001f|  -5|9|ab|x");
	assert_int_equal(shim_format(buf, 4, "%s", "abcdef"), 3);
	assert_string_equal(buf, "abc");
	assert_int_equal(shim_format(buf, 1, "%d", 12345), 0);
	assert_string_equal(buf, "");
	shim_format(buf, sizeof(buf), "%lld %llu", INT64_MIN + 0ll, ~0ull);
	assert_string_equal(buf, "-9223372036854775808 184467440737095516");
	assert_int_equal(shim_fail(&err, "x%u", 1u), -1);
	assert_string_equal(err.text, "x1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(isolation_types), cmocka_unit_test(memory_and_used_range),
		cmocka_unit_test(regions),	   cmocka_unit_test(overlaps),
		cmocka_unit_test(kernel_entry),	   cmocka_unit_test(kernel_range),
		cmocka_unit_test(valid),	   cmocka_unit_test(imported),
		cmocka_unit_test(log_buffer),	   cmocka_unit_test(formats),
	};

	return cmocka_run_group_tests_name("shim_image", tests, NULL, NULL);
}
