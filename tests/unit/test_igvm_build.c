/* Image builder without isolation, and VTL0 payloads: refused inputs first, then the layout. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32.h"
#include "igvm/inspect.h"
#include "tests/unit/igvm_build_fixture.h"

#define BASE 0x8000000ull

static int setup(void **state)
{
	(void)state;
	make_inputs();
	return 0;
}

/* Any damage of the ELF headers gives an error or an image, nothing else. */
static void damaged_inputs(void **state)
{
	u8 *const files[] = {kernel_file, shim_file};
	struct igvm_error err;
	size_t len;

	(void)state;
	for (u32 f = 0; f < ARRAY_SIZE(files); f++) {
		for (u32 at = 0; at < 64 + 3 * 56; at++) {
			for (u32 v = 0; v < 4; v++) {
				static const u8 values[] = {0, 1, 0x7f, 0xff};
				u8 old = files[f][at];

				files[f][at] = values[v];
				free(build(RELEASE, &len, &err));
				files[f][at] = old;
			}
		}
	}
}

static void resources_missing(void **state)
{
	struct blob resource[RESOURCE_COUNT] = {
		[RESOURCE_KERNEL] = {kernel_file, sizeof(kernel_file)},
		[RESOURCE_SHIM] = {shim_file, sizeof(shim_file)},
	};
	struct igvm_error err;
	struct manifest m;
	void *image;
	size_t len;

	(void)state;
	assert_int_equal(manifest_parse(&m, RELEASE, strlen(RELEASE), &err), 0);
	assert_int_equal(image_build(&m, resource, &image, &len, &err), -EINVAL);
	assert_non_null(strstr(err.text, "underhill_initrd"));
	resource[RESOURCE_INITRD] = (struct blob){initrd_file, sizeof(initrd_file)};
	resource[RESOURCE_KERNEL].len = 0x2000;
	assert_int_equal(image_build(&m, resource, &image, &len, &err), -EINVAL);
	assert_non_null(strstr(err.text, "truncated"));
	manifest_free(&m);
}

/* --- layout */

static void layout_of_image(void **state)
{
	const u64 kernel = BASE + 2 * MiB, kernel_end = kernel + 0x400000 + 0x4000;
	const u64 shim = kernel_end, initrd = shim + 0x3000, gdt = initrd + 0x2000;
	const u64 params_gpa = gdt + 0x1000, cmdline_gpa = gdt + 0x2000, reserved = gdt + 0x3000;
	const u64 config = gdt + 0x7000, log = config + 0x16a000, heap = log + 0x2000;
	const u64 tables = heap + 0x10000;
	struct igvm_error err = {0};
	struct igvm_paravisor pv;
	struct igvm_header h;
	struct igvm_iter it;
	struct igvm ig;
	struct shim_cmdline cmdline;
	struct shim_measured_vtl2 vtl2;
	struct shim_measured_vtl0 vtl0;
	u8 bytes[0x5000];
	size_t len;
	void *image = build(RELEASE, &len, &err);

	(void)state;
	assert_non_null(image);
	assert_int_equal(igvm_open(&ig, image, len, &err), 0);
	assert_int_equal(ig.version, 1);
	assert_int_equal(ig.platform_count, 1);
	assert_int_equal(ig.platform[0].platform_type, IGVM_PLATFORM_VSM);
	assert_int_equal(ig.platform[0].highest_vtl, 2);

	igvm_first(&ig, &it);
	assert_true(igvm_next_of(&it, IGVM_RELOCATABLE_REGION, 1, &h));
	assert_int_equal(h.u.relocatable.gpa, BASE);
	assert_int_equal(h.u.relocatable.size, tables - BASE);
	assert_int_equal(h.u.relocatable.flags, 7);
	assert_int_equal(h.u.relocatable.alignment, 2 * MiB);
	assert_int_equal(h.u.relocatable.minimum_gpa, BASE);
	assert_int_equal(h.u.relocatable.maximum_gpa, 1ull << 48);
	assert_true(igvm_next_of(&it, IGVM_PAGE_TABLE_RELOCATION, 1, &h));
	assert_int_equal(h.u.page_table.gpa, tables);
	assert_int_equal(h.u.page_table.size, 0x7000);
	assert_int_equal(h.u.page_table.used_size, 0x3000);
	assert_true(igvm_next_of(&it, IGVM_REQUIRED_MEMORY, 1, &h));
	assert_int_equal(h.u.required.gpa, BASE);
	assert_int_equal(h.u.required.number_of_bytes, 48 * MiB);
	assert_int_equal(h.u.required.flags, IGVM_MEMORY_VTL2_PROTECTABLE);

	assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, &err), 0);
	assert_int_equal(pv.shim_gpa, shim);
	assert_int_equal(pv.params_gpa, params_gpa);
	assert_int_equal(shim + (u64)pv.params.kernel_entry, kernel + 0x100);
	assert_int_equal(shim + (u64)pv.params.cmdline, cmdline_gpa);
	assert_int_equal(shim + (u64)pv.params.initrd, initrd);
	assert_int_equal(pv.params.initrd_size, sizeof(initrd_file));
	assert_int_equal(pv.params.initrd_crc, crc32(0, initrd_file, sizeof(initrd_file)));
	assert_int_equal(pv.params.isolation, SHIM_ISOLATION_NONE_OR_VBS);
	assert_int_equal(shim + (u64)pv.params.memory_start, BASE);
	assert_int_equal(pv.params.memory_size, 48 * MiB);
	assert_int_equal(shim + (u64)pv.params.parameter_region, config);
	assert_int_equal(pv.params.parameter_region_size, 0x16a000);
	assert_int_equal(shim + (u64)pv.params.reserved_region, reserved);
	assert_int_equal(pv.params.sidecar_size, 0);
	assert_int_equal(shim + (u64)pv.params.used_start, BASE);
	assert_int_equal(shim + (u64)pv.params.used_end, tables + 0x7000);
	assert_int_equal(pv.params.bounce_buffer_size, 0);
	assert_int_equal(shim + (u64)pv.params.log_buffer, log);
	assert_int_equal(shim + (u64)pv.params.heap, heap);
	assert_int_equal(pv.params.heap_size, 0x10000);
	assert_int_equal(shim + (u64)pv.params.persisted_state, BASE);
	assert_int_equal(pv.params.persisted_state_size, 2 * MiB);

	assert_true(read_pages(&ig, kernel, bytes, 0x2000));
	assert_memory_equal(bytes, kernel_file + 0x1000, 0x1800);
	assert_int_equal(bytes[0x1800], 0);
	assert_true(read_pages(&ig, kernel + 0x400000, bytes, 0x4000));
	assert_memory_equal(bytes, kernel_file + 0x3000, 0x1000);
	assert_int_equal(bytes[0x1000] | bytes[0x3fff], 0);
	assert_true(read_pages(&ig, initrd, bytes, 0x2000));
	assert_memory_equal(bytes, initrd_file, sizeof(initrd_file));
	assert_true(read_pages(&ig, cmdline_gpa, &cmdline, sizeof(cmdline)));
	assert_int_equal(cmdline.policy, SHIM_CMDLINE_APPEND_CHOSEN);
	assert_int_equal(cmdline.length, 9);
	assert_memory_equal(cmdline.text, "quiet x=1", 10);
	assert_true(read_pages(&ig, config + 105 * 4096, &vtl2, sizeof(vtl2)));
	assert_memory_equal(&vtl2.magic, "2LTVLCHO", 8);
	assert_true(read_pages(&ig, 0, &vtl0, sizeof(vtl0)));
	assert_memory_equal(&vtl0.magic, "0LTVLCHO", 8);
	assert_int_equal(vtl0.supported, 0);
	/* Not imported: persisted state, reserved pages, what follows the page tables */
	assert_false(read_pages(&ig, BASE, bytes, 4096));
	assert_false(read_pages(&ig, reserved, bytes, 4096));
	assert_false(read_pages(&ig, tables + 0x7000, bytes, 4096));
	free(image);
}

static void cpu_state(void **state)
{
	static const u32 names[] = {IGVM_X64_GDTR, IGVM_X64_DS,	 IGVM_X64_ES,  IGVM_X64_FS,
				    IGVM_X64_GS,   IGVM_X64_SS,	 IGVM_X64_CS,  IGVM_X64_TR,
				    IGVM_X64_CR0,  IGVM_X64_CR3, IGVM_X64_CR4, IGVM_X64_EFER,
				    IGVM_X64_PAT,  IGVM_X64_RSI, IGVM_X64_RIP};
	struct igvm_paravisor pv;
	struct igvm_register reg;
	struct igvm_header h;
	struct igvm_iter it;
	struct igvm_error err;
	struct igvm ig;
	u64 value, gdt[4];
	size_t len;
	void *image = build(RELEASE, &len, &err);

	(void)state;
	assert_int_equal(igvm_open(&ig, image, len, &err), 0);
	assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, &err), 0);
	igvm_first(&ig, &it);
	assert_true(igvm_next_of(&it, IGVM_VP_CONTEXT, 1, &h));
	assert_int_equal(h.data_len, 484);
	assert_int_equal(igvm_register_count(&h), ARRAY_SIZE(names));
	for (u32 i = 0; i < ARRAY_SIZE(names); i++) {
		igvm_register_get(&ig, &h, i, &reg);
		assert_int_equal(reg.name, names[i]);
		assert_int_equal(reg.vtl, 2);
		if (names[i] == IGVM_X64_GDTR) {
			assert_int_equal(reg.u.table.limit, 31);
			assert_true(read_pages(&ig, reg.u.table.base, gdt, sizeof(gdt)));
			assert_int_equal(gdt[0] | gdt[1], 0);
			assert_int_equal(gdt[2], 0x00a09b000000ffff);
			assert_int_equal(gdt[3], 0x00c093000000ffff);
		}
		if (names[i] == IGVM_X64_CS) {
			assert_int_equal(reg.u.segment.attributes, 0xa09b);
			assert_int_equal(reg.u.segment.selector, 0x10);
		}
	}
	assert_true(igvm_register_u64(&ig, &h, IGVM_X64_RIP, &value));
	assert_int_equal(value, pv.shim_gpa + 0x120);
	assert_true(igvm_register_u64(&ig, &h, IGVM_X64_CR0, &value));
	assert_int_equal(value, 0x80000021);
	assert_true(igvm_register_u64(&ig, &h, IGVM_X64_EFER, &value));
	assert_int_equal(value, 0xd00);
	free(image);
}

/* Required memory, areas with their parameter, registers, inserts, pages: measured in this order */
static void order_of_directives(void **state)
{
	static const u32 types[] = {IGVM_SUPPORTED_PLATFORM,
				    IGVM_RELOCATABLE_REGION,
				    IGVM_PAGE_TABLE_RELOCATION,
				    IGVM_REQUIRED_MEMORY,
				    IGVM_PARAMETER_AREA,
				    IGVM_SLIT,
				    IGVM_PARAMETER_AREA,
				    IGVM_PPTT,
				    IGVM_PARAMETER_AREA,
				    IGVM_DEVICE_TREE,
				    IGVM_VP_CONTEXT,
				    IGVM_PARAMETER_INSERT,
				    IGVM_PARAMETER_INSERT,
				    IGVM_PARAMETER_INSERT};
	struct igvm_paravisor pv;
	struct igvm_header h;
	struct igvm_iter it;
	struct igvm_error err;
	struct igvm ig;
	u64 previous = 0, hashes;
	u32 i = 0;
	size_t len;
	void *image = build(RELEASE, &len, &err);

	(void)state;
	assert_int_equal(igvm_open(&ig, image, len, &err), 0);
	assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, &err), 0);
	hashes = pv.imported_gpa + 2 * 4096;
	for (igvm_first(&ig, &it); igvm_next(&it, &h); i++) {
		if (i < ARRAY_SIZE(types)) {
			assert_int_equal(h.type, types[i]);
			continue;
		}
		assert_int_equal(h.type, IGVM_PAGE_DATA);
		assert_int_equal(h.u.page.flags, 0);
		if (i == ig.header_count - 1)
			assert_int_equal(h.u.page.gpa, pv.imported_gpa);
		else if (i >= ig.header_count - 257)
			assert_int_equal(h.u.page.gpa, hashes + (i + 257 - ig.header_count) * 4096);
		else
			assert_true(h.u.page.gpa >= previous);
		previous = h.u.page.gpa;
	}
	free(image);
}

/* Every page of the file and of the parameter areas is listed, and nothing else. */
static void check_imported_list(const struct igvm *ig, const struct igvm_paravisor *pv)
{
	struct shim_imported_regions list;
	struct igvm_header h;
	struct igvm_iter it;
	u64 listed = 0, pages = 20 + 20 + 64, end = 0;

	assert_true(read_pages(ig, pv->imported_gpa, &list, sizeof(list)));
	for (u32 i = 0; i < sizeof(list.sha384); i++)
		assert_int_equal(list.sha384[i], 0);
	for (u32 i = 0; i < ARRAY_SIZE(list.range) && list.range[i].page_count; i++) {
		assert_int_equal(list.range[i].accepted, 1);
		assert_true(list.range[i].base_page >= end);
		end = list.range[i].base_page + list.range[i].page_count;
		listed += list.range[i].page_count;
	}
	for (igvm_first(ig, &it); igvm_next_of(&it, IGVM_PAGE_DATA, 1, &h);) {
		bool found = false;

		pages++;
		for (u32 i = 0; i < ARRAY_SIZE(list.range) && list.range[i].page_count; i++)
			found |= h.u.page.gpa / 4096 - list.range[i].base_page <
				 list.range[i].page_count;
		assert_true(found);
	}
	assert_int_equal(listed, pages);
}

static void imported_list(void **state)
{
	struct igvm_paravisor pv;
	struct igvm_error err;
	struct igvm ig;
	size_t len;
	void *image = build(RELEASE, &len, &err);

	(void)state;
	assert_int_equal(igvm_open(&ig, image, len, &err), 0);
	assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, &err), 0);
	check_imported_list(&ig, &pv);
	free(image);
}

static void fixed_base_is_not_relocatable(void **state)
{
	struct igvm_header h;
	struct igvm_iter it;
	struct igvm_error err;
	struct igvm ig;
	size_t len;
	void *image = build(OPENHCL("\"memory_page_count\": 12288, \"memory_page_base\": 65536, "
				    "\"static_command_line\": true"),
			    &len, &err);

	(void)state;
	assert_int_equal(igvm_open(&ig, image, len, &err), 0);
	igvm_first(&ig, &it);
	assert_false(igvm_next_of(&it, IGVM_RELOCATABLE_REGION, 1, &h));
	igvm_first(&ig, &it);
	assert_true(igvm_next_of(&it, IGVM_REQUIRED_MEMORY, 1, &h));
	assert_int_equal(h.u.required.gpa, 256 * MiB);
	free(image);
}

/* The tables of a built image map its memory, and still do after a move across 4 GiB. */
static void image_can_move(void **state)
{
	struct igvm_page_table_relocation pt;
	struct igvm_relocatable_region region;
	struct igvm_header h;
	struct igvm_iter it;
	struct igvm_error err;
	struct igvm ig;
	u64 cr3, entry, target = 4 * GiB - 4 * MiB;
	u8 tables[0x7000];
	size_t len;
	void *image = build(RELEASE, &len, &err);

	(void)state;
	assert_int_equal(igvm_open(&ig, image, len, &err), 0);
	igvm_first(&ig, &it);
	assert_true(igvm_next_of(&it, IGVM_RELOCATABLE_REGION, 1, &h));
	region = h.u.relocatable;
	assert_true(igvm_next_of(&it, IGVM_PAGE_TABLE_RELOCATION, 1, &h));
	pt = h.u.page_table;
	assert_true(igvm_next_of(&it, IGVM_VP_CONTEXT, 1, &h));
	assert_true(igvm_register_u64(&ig, &h, IGVM_X64_CR3, &cr3));
	assert_true(read_pages(&ig, pt.gpa, tables, sizeof(tables)));
	assert_int_equal(get_le64(tables + 0x2000 + 64 * 8), BASE | 0xe3);
	assert_int_equal(get_le64(tables + 0x2000 + 87 * 8), (BASE + 46 * MiB) | 0xe3);
	assert_int_equal(get_le64(tables + 0x2000 + 88 * 8), 0);

	assert_true(igvm_base_is_valid(&region, target));
	assert_int_equal(igvm_relocate_page_tables(tables, &pt, &region, target - BASE, &cr3, &err),
			 0);
	assert_int_equal(cr3, pt.gpa + target - BASE);
	/* 3 GiB: third pointer, a new directory, its last two leaves */
	entry = get_le64(tables + 0x1000 + 3 * 8);
	assert_int_equal(get_le64(tables + (entry & ~0xfffull) - cr3 + 511 * 8),
			 (4 * GiB - 2 * MiB) | 0xe3);
	free(image);
}

static void same_bytes_every_time(void **state)
{
	struct igvm_error err;
	size_t len, len2;
	void *a = build(RELEASE, &len, &err), *b = build(RELEASE, &len2, &err);

	(void)state;
	assert_int_equal(len, len2);
	assert_memory_equal(a, b, len);
	free(a);
	free(b);
}

/* --- VTL0 payload */

static struct igvm_vtl0_linux payload(const char *cmdline)
{
	return (struct igvm_vtl0_linux){.kernel = bzimage,
					.kernel_len = sizeof(bzimage),
					.initrd = initrd_file,
					.initrd_len = sizeof(initrd_file),
					.cmdline = cmdline};
}

static void payload_refused(void **state)
{
	struct igvm_vtl0_linux p = payload("a");
	struct igvm_error err;
	size_t len, out_len;
	void *image = build(RELEASE, &len, &err), *out;
	u8 *old = malloc(sizeof(bzimage));
	char *text = malloc(70000);
	static const struct {
		u32 at;
		u64 value;
		u32 size;
		const char *text;
	} cases[] = {
		{0x202, 0, 4, "neither a bzImage"},
		{0x206, 0x20b, 2, "64-bit entry"},
		{0x211, 0, 1, "64-bit entry"},
		{0x236, 0, 2, "64-bit entry"},
		{0x1f4, 0xffffffff, 4, "truncated"},
		{0x1f1, 0xff, 1, "truncated"},
		{0x258, ~0ull, 8, "damaged"},
		{0x258, 0x1000, 8, NULL}, /* relocatable: goes where it is loaded */
		{0x260, 0xffffffff, 4, "damaged"},
		{0x260, 0x7f000000, 4, "needs memory"},
		{0x260, 0x08000000, 4, "too large"}, /* reaches into VTL2 */
		{0x230, 3, 4, "alignment"},
		{0x230, 0, 4, "alignment"},
	};

	(void)state;
	memcpy(old, bzimage, sizeof(bzimage));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int ret;

		memcpy(bzimage + cases[i].at, &cases[i].value, cases[i].size);
		ret = igvm_add_vtl0_linux(image, len, &p, &out, &out_len, &err);
		if (!cases[i].text && !ret)
			free(out);
		else if (!cases[i].text || ret != -EINVAL || !strstr(err.text, cases[i].text))
			fail_msg("case %zu: %d \"%s\"", i, ret, err.text);
		memcpy(bzimage, old, sizeof(bzimage));
	}
	/* Every truncation of the kernel */
	for (size_t cut = 0; cut < sizeof(bzimage); cut += cut < 0x300 ? 1 : 97) {
		u8 *copy = malloc(cut ? cut : 1);

		memcpy(copy, bzimage, cut);
		p.kernel = copy;
		p.kernel_len = cut;
		assert_int_equal(igvm_add_vtl0_linux(image, len, &p, &out, &out_len, &err),
				 -EINVAL);
		free(copy);
	}
	memset(text, 'x', 69999);
	text[69999] = 0;
	p = payload(text);
	assert_int_equal(igvm_add_vtl0_linux(image, len, &p, &out, &out_len, &err), -EINVAL);
	assert_non_null(strstr(err.text, "command line"));
	free(text);
	free(old);
	free(image);
}

static void payload_twice(void **state)
{
	struct igvm_vtl0_linux p = payload("a");
	struct igvm_error err;
	size_t len, len2;
	void *image = build(RELEASE, &len, &err), *out, *again;

	(void)state;
	assert_int_equal(igvm_add_vtl0_linux(image, len, &p, &out, &len2, &err), 0);
	assert_int_equal(igvm_add_vtl0_linux(out, len2, &p, &again, &len, &err), -EINVAL);
	assert_non_null(strstr(err.text, "already"));
	free(image);
	free(out);
}

/* Any valid image that is not a paravisor's */
static void payload_into_foreign_image(void **state)
{
	static const struct igvm_supported_platform vsm = {.mask = 1,
							   .highest_vtl = 2,
							   .platform_type = IGVM_PLATFORM_VSM,
							   .platform_version = 1};
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	struct igvm_vtl0_linux p = payload("a");
	struct igvm_error err;
	void *image, *out;
	size_t len;

	(void)state;
	igvm_write_platform(w, &vsm);
	igvm_write_page(w, 0x1000, 1, 0, IGVM_PAGE_NORMAL, "a", 1);
	assert_int_equal(igvm_writer_finish(w, &image, &len, &err), 0);
	igvm_writer_free(w);
	assert_int_equal(igvm_add_vtl0_linux(image, len, &p, &out, &len, &err), -EINVAL);
	assert_non_null(strstr(err.text, "not a paravisor image"));
	free(image);
}

static void payload_bzimage(void **state)
{
	struct igvm_vtl0_linux p = payload("console=ttyS0 a b");
	/* Behind 18 MiB (the base behind the setup code, aligned) + init_size */
	const u64 initrd = ALIGN_UP(18 * MiB + 0x3123456, 2 * MiB);
	struct igvm_paravisor pv;
	struct igvm_error err;
	struct igvm ig;
	size_t len, out_len;
	void *image = build(RELEASE, &len, &err), *out;
	u8 bytes[sizeof(bzimage)];

	(void)state;
	assert_int_equal(igvm_add_vtl0_linux(image, len, &p, &out, &out_len, &err), 0);
	assert_int_equal(igvm_open(&ig, out, out_len, &err), 0);
	assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, &err), 0);
	assert_int_equal(pv.vtl0.supported, SHIM_VTL0_LINUX);
	assert_int_equal(pv.vtl0.kernel_base_page, 16 * MiB / 4096);
	assert_int_equal(pv.vtl0.kernel_pages, sizeof(bzimage) / 4096);
	assert_int_equal(pv.vtl0.kernel_entry, 16 * MiB + 4 * 512 + 0x200);
	assert_int_equal(pv.vtl0.initrd_base_page, initrd / 4096);
	assert_int_equal(pv.vtl0.initrd_pages, 2);
	assert_int_equal(pv.vtl0.initrd_size, sizeof(initrd_file));
	assert_int_equal(pv.vtl0.cmdline_page, 1);
	assert_int_equal(pv.vtl0.cmdline_pages, 1);
	assert_true(read_pages(&ig, 16 * MiB, bytes, sizeof(bzimage)));
	assert_memory_equal(bytes, bzimage, sizeof(bzimage));
	assert_true(read_pages(&ig, initrd, bytes, 8192));
	assert_memory_equal(bytes, initrd_file, sizeof(initrd_file));
	assert_int_equal(bytes[sizeof(initrd_file)], 0);
	assert_true(read_pages(&ig, 0x1000, bytes, 4096));
	assert_string_equal((char *)bytes, "console=ttyS0 a b");
	check_imported_list(&ig, &pv);
	free(out);
	free(image);
}

static void payload_vmlinux(void **state)
{
	struct igvm_vtl0_linux p = {.kernel = kernel_file, .kernel_len = sizeof(kernel_file)};
	struct igvm_paravisor pv;
	struct igvm_error err;
	struct igvm ig;
	size_t len, out_len;
	void *image = build(RELEASE, &len, &err), *out;
	u8 bytes[0x4000];

	(void)state;
	assert_int_equal(igvm_add_vtl0_linux(image, len, &p, &out, &out_len, &err), 0);
	assert_int_equal(igvm_open(&ig, out, out_len, &err), 0);
	assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, &err), 0);
	assert_int_equal(pv.vtl0.kernel_base_page, 0x1000);
	assert_int_equal(pv.vtl0.kernel_pages, 0x404);
	assert_int_equal(pv.vtl0.kernel_entry, 0x1000100);
	assert_int_equal(pv.vtl0.initrd_pages, 0);
	assert_true(read_pages(&ig, 0x1400000, bytes, 0x4000));
	assert_memory_equal(bytes, kernel_file + 0x3000, 0x1000);
	assert_int_equal(bytes[0x1000] | bytes[0x3fff], 0);
	check_imported_list(&ig, &pv);
	free(out);
	free(image);
}

/* An initrd that does not fit between kernel and VTL2 goes behind VTL2. */
static void payload_large_initrd(void **state)
{
	struct igvm_vtl0_linux p = payload("");
	struct igvm_paravisor pv;
	struct igvm_error err;
	struct igvm ig;
	size_t len, out_len;
	void *image = build(RELEASE, &len, &err), *out;

	(void)state;
	p.initrd_len = 100 * MiB;
	p.initrd = calloc(1, p.initrd_len);
	assert_int_equal(igvm_add_vtl0_linux(image, len, &p, &out, &out_len, &err), 0);
	assert_int_equal(igvm_open(&ig, out, out_len, &err), 0);
	assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, &err), 0);
	assert_int_equal(pv.vtl0.initrd_base_page, (BASE + 48 * MiB) / 4096);
	check_imported_list(&ig, &pv);
	free((void *)p.initrd);
	free(out);
	free(image);
}

static void payload_by_manifest(void **state)
{
	struct igvm_vtl0_linux p = payload("root=x");
	struct igvm_error err;
	size_t len, len2, len3;
	void *image = build(OPENHCL("\"memory_page_count\": 12288, \"linux\": {\"use_initrd\": "
				    "true, \"command_line\": \"root=x\"}"),
			    &len, &err);
	void *base = build(OPENHCL("\"memory_page_count\": 12288"), &len2, &err), *out;

	(void)state;
	assert_non_null(image);
	assert_int_equal(igvm_add_vtl0_linux(base, len2, &p, &out, &len3, &err), 0);
	assert_int_equal(len, len3);
	assert_memory_equal(image, out, len);
	free(image);
	free(base);
	free(out);
}

static void inspect_sums_up(void **state)
{
	struct igvm_error err;
	struct igvm ig;
	json_t *d, *value;
	const char *key;
	json_int_t sum = 0;
	size_t len;
	void *image = build(RELEASE, &len, &err);
	FILE *null = fopen("/dev/null", "w");

	(void)state;
	assert_int_equal(igvm_open(&ig, image, len, &err), 0);
	d = inspect_describe(&ig);
	json_object_foreach(json_object_get(d, "parts"), key, value)
		sum += json_integer_value(value);
	assert_int_equal(sum, len);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(d, "parts"), "initrd")),
			 8192);
	inspect_print(null, d);
	fclose(null);
	json_decref(d);
	free(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damaged_inputs),
		cmocka_unit_test(resources_missing),
		cmocka_unit_test(payload_refused),
		cmocka_unit_test(payload_twice),
		cmocka_unit_test(payload_into_foreign_image),
		cmocka_unit_test(layout_of_image),
		cmocka_unit_test(cpu_state),
		cmocka_unit_test(order_of_directives),
		cmocka_unit_test(imported_list),
		cmocka_unit_test(fixed_base_is_not_relocatable),
		cmocka_unit_test(image_can_move),
		cmocka_unit_test(same_bytes_every_time),
		cmocka_unit_test(payload_bzimage),
		cmocka_unit_test(payload_vmlinux),
		cmocka_unit_test(payload_large_initrd),
		cmocka_unit_test(payload_by_manifest),
		cmocka_unit_test(inspect_sums_up),
	};

	return cmocka_run_group_tests_name("igvm_build", tests, setup, NULL);
}
