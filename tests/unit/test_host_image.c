/* Loading an IGVM image: damaged and impossible ones first, then every page, register, parameter.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "host/image.h"
#include "loader/host_dt.h"
#include "loader/memory_plan.h"
#include "tests/unit/host_fixture.h"
#include "tests/unit/host_image_fixture.h"

static unsigned errors;
static char last_error[512];

static void count_errors(enum log_level level, const char *line)
{
	if (level == LOG_ERROR) {
		errors++;
		snprintf(last_error, sizeof(last_error), "%s", line);
	}
}

/* Opens, checks and loads; 0 or -1. A failure must have said one line, success none. */
static int load(const u8 *file, size_t len, u64 vtl0_bytes, struct host_fix **out)
{
	struct image *image = calloc(1, sizeof(*image));
	struct host_fix *f = NULL;
	int ret = -1;

	log_set_sink(count_errors);
	errors = 0;
	if (!image_open(image, file, len) && !image_check(image, vtl0_bytes)) {
		f = host_fix_new(vtl0_bytes, image->needs.vtl2_size);
		log_set_sink(count_errors);
		memory_destroy(&f->vm.mem);
		assert_int_equal(memory_create(&f->vm.mem, vtl0_bytes, image->needs.vtl2_size,
					       image->needs.vtl2_align, image->needs.vtl2_min),
				 0);
		ret = image_load(image, &f->vm);
	}
	log_set_sink(NULL);
	free(image);
	if (errors != (ret ? 1 : 0))
		fail_msg("result %d with %u error lines: %s", ret, errors, last_error);
	if (ret || !out) {
		if (f)
			host_fix_free(f);
	} else {
		*out = f;
	}
	return ret;
}

static u8 *copy_of(const u8 *file, size_t len)
{
	u8 *copy = malloc(len ? len : 1);

	memcpy(copy, file, len);
	return copy;
}

static void truncated(void **state)
{
	size_t len;
	u8 *file = image_fix_build(&len);
	u32 headers = get_le32(file + 8) + get_le32(file + 12);

	(void)state;
	for (size_t cut = 0; cut < len; cut += cut < headers + 8 ? 4 : 4099) {
		u8 *copy = copy_of(file, cut);

		assert_int_equal(load(copy, cut, GiB, NULL), -1);
		free(copy);
	}
	free(file);
}

/* Each header's length, type and content words flipped, checksum right: told or loaded, no crash.
 */
static void flipped(void **state)
{
	size_t len;
	u8 *file = image_fix_build(&len);
	u32 from = get_le32(file + 8), to = from + get_le32(file + 12);
	static const u32 flips[] = {1, 0x80, 0x1000, 0x80000000, 0xffffffff};
	unsigned refused = 0, tries = 0;

	(void)state;
	for (u32 at = 0; at < to; at += at < from ? 4 : 4 * 37) {
		for (size_t i = 0; i < ARRAY_SIZE(flips); i++) {
			u8 *copy = copy_of(file, len);

			put_le32(copy + at, get_le32(copy + at) ^ flips[i]);
			igvm_repair(copy, len);
			refused += load(copy, len, 64 * MiB, NULL) != 0;
			tries++;
			free(copy);
		}
	}
	assert_true(refused > tries / 4);
	free(file);
}

/* Applies one change to the header of that type; loads; the text must be in the error line. */
static void refuse(u32 type, u32 offset, u64 value, const char *text)
{
	size_t len;
	u8 *file = image_fix_build(&len);
	struct igvm_header h;
	struct igvm_iter it;
	struct igvm ig;

	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	igvm_first(&ig, &it);
	assert_true(igvm_next_of(&it, type, 1, &h));
	put_le64(file + (h.content - file) + offset, value);
	igvm_repair(file, len);
	assert_int_equal(load(file, len, GiB, NULL), -1);
	if (!strstr(last_error, text))
		fail_msg("want \"%s\", got \"%s\"", text, last_error);
	free(file);
}

#define REGION(field) IGVM_RELOCATABLE_REGION, offsetof(struct igvm_relocatable_region, field)

static void impossible_places(void **state)
{
	(void)state;
	refuse(REGION(alignment), 0x3000, "");
	refuse(REGION(maximum_gpa), 0x8000000 + 256 * MiB, "cannot be loaded");
	refuse(REGION(minimum_gpa), BIT(45), "cannot be loaded");
	refuse(REGION(minimum_gpa), 0xfffffffff0000000, "");
}

static void too_little_memory(void **state)
{
	struct igvm_header h;
	struct igvm_iter it;
	struct igvm ig;
	size_t len, made_len;
	u8 *file = image_fix_build(&len);
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	void *made;

	(void)state;
	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	for (igvm_first(&ig, &it); igvm_next(&it, &h);)
		igvm_write_copy(w, &h);
	/* a page of the guest's payload just below 100 MiB */
	igvm_write_page(w, 100 * MiB - 4096, 1, 0, IGVM_PAGE_NORMAL, "payload", 7);
	assert_int_equal(igvm_writer_finish(w, &made, &made_len, NULL), 0);
	igvm_writer_free(w);
	assert_int_equal(load(made, made_len, 98 * MiB, NULL), -1);
	assert_non_null(strstr(last_error, "--memory"));
	assert_int_equal(load(made, made_len, 100 * MiB, NULL), 0);
	free(made);
	free(file);
}

static void not_for_this_host(void **state)
{
	struct igvm_supported_platform snp = {.mask = 1,
					      .highest_vtl = 2,
					      .platform_type = IGVM_PLATFORM_SEV_SNP,
					      .platform_version = 1};
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	size_t len;
	void *file;

	(void)state;
	igvm_write_platform(w, &snp);
	igvm_write_page(w, 0x1000, 1, 0, IGVM_PAGE_NORMAL, "x", 1);
	assert_int_equal(igvm_writer_finish(w, &file, &len, NULL), 0);
	igvm_writer_free(w);
	assert_int_equal(load(file, len, GiB, NULL), -1);
	assert_non_null(strstr(last_error, "VSM"));
	free(file);
}

/* As the processor would with the loaded tables */
static u64 translate(const struct host_fix *f, u64 cr3, u64 va)
{
	u64 table = cr3;

	for (int shift = 39; shift >= 12; shift -= 9) {
		const u8 *t = memory_at(&f->vm.mem, table, 4096);
		u64 e;

		if (!t)
			return ~0ull;
		e = get_le64(t + (va >> shift & 511) * 8);
		if (!(e & 1))
			return ~0ull;
		if (shift == 12 || e & 0x80)
			return (e & 0x000ffffffffff000 & ~(BIT(shift) - 1)) |
			       (va & (BIT(shift) - 1));
		table = e & 0x000ffffffffff000;
	}
	return ~0ull;
}

/* Was this page of the file covered by a parameter area at load? */
static bool in_area(const struct igvm *ig, u64 gpa)
{
	struct igvm_header h;
	struct igvm_iter it;

	for (igvm_first(ig, &it); igvm_next_of(&it, IGVM_PARAMETER_INSERT, 1, &h);) {
		struct igvm_header a;
		struct igvm_iter ita;

		for (igvm_first(ig, &ita); igvm_next_of(&ita, IGVM_PARAMETER_AREA, 0, &a);)
			if (a.u.area.index == h.u.insert.area && gpa >= h.u.insert.gpa &&
			    gpa - h.u.insert.gpa < a.u.area.number_of_bytes)
				return true;
	}
	return false;
}

static void check_pages(const struct host_fix *f, const struct igvm *ig,
			const struct igvm_page_table_relocation *pt, u64 offset)
{
	struct igvm_header h;
	struct igvm_iter it;
	unsigned pages = 0;

	for (igvm_first(ig, &it); igvm_next_of(&it, IGVM_PAGE_DATA, 1, &h);) {
		u64 gpa = h.u.page.gpa;
		const u8 *p = memory_at(&f->vm.mem, gpa ? gpa + offset : 0, igvm_page_bytes(&h));

		assert_non_null(p);
		if ((gpa >= pt->gpa && gpa - pt->gpa < pt->size) || in_area(ig, gpa))
			continue;
		if (h.data)
			assert_memory_equal(p, h.data, h.data_len);
		for (u32 i = h.data_len; i < igvm_page_bytes(&h); i++)
			if (p[i])
				fail_msg("page %#llx is not zero at %u", (unsigned long long)gpa,
					 i);
		pages++;
	}
	assert_true(pages > 10);
}

/* The boot shim's own checks on what was loaded: its parameters, the tree, the memory plan. */
static void check_as_shim(const struct host_fix *f, const struct igvm_paravisor *pv, u64 offset)
{
	static struct host_dt dt;
	static struct memory_plan plan;
	static struct imported_list imported;
	const struct shim_params *params = memory_at(&f->vm.mem, pv->params_gpa + offset,
						     sizeof(*params));
	const struct addr_range shim = {pv->shim_gpa + offset, pv->shim_gpa + offset + 0x2000};
	struct shim_image image;
	struct shim_error err;

	if (shim_image_check(&image, params, shim, pv->params_gpa + offset, &err) ||
	    imported_list_read(&imported,
			       memory_at(&f->vm.mem,
					 image.config.start + SHIM_CONFIG_IMPORTED * PAGE_SIZE,
					 PAGE_SIZE),
			       &err) ||
	    host_dt_read(&dt,
			 memory_at(&f->vm.mem, image_host_dt(&image).start,
				   range_size(image_host_dt(&image))),
			 range_size(image_host_dt(&image)), &err) ||
	    memory_plan_build(&plan, &image, &imported, &dt, ISOLATION_NONE, &err))
		fail_msg("%s", err.text);
	assert_int_equal(image.memory.start, f->vm.mem.vtl2_base);
	assert_int_equal(plan.ram[0].range.start, f->vm.mem.vtl2_base);
	assert_int_equal(dt.cpu_count, HOST_FIX_VPS);
}

static void check_loaded(u64 vtl0_bytes)
{
	struct igvm_page_table_relocation pt = {0};
	struct igvm_paravisor pv;
	struct igvm_header h, context = {0};
	struct igvm_iter it;
	struct host_fix *f;
	struct igvm ig;
	size_t len;
	u8 *file = image_fix_build(&len);
	u64 offset, base, cr3, rip, region_gpa = 0, loaded_cr3;

	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, NULL), 0);
	for (igvm_first(&ig, &it); igvm_next(&it, &h);) {
		if (h.type == IGVM_PAGE_TABLE_RELOCATION)
			pt = h.u.page_table;
		if (h.type == IGVM_RELOCATABLE_REGION)
			region_gpa = h.u.relocatable.gpa;
		if (h.type == IGVM_VP_CONTEXT)
			context = h;
	}
	assert_true(igvm_register_u64(&ig, &context, HV_REG_CR3, &cr3));
	assert_true(igvm_register_u64(&ig, &context, HV_REG_RIP, &rip));
	assert_int_equal(load(file, len, vtl0_bytes, &f), 0);
	base = f->vm.mem.vtl2_base;
	offset = base - region_gpa;
	assert_int_not_equal(offset, 0);
	assert_int_equal(f->vm.mem.vtl2_size, IMAGE_FIX_MEMORY_PAGES * 4096);
	loaded_cr3 = sregs_of(&f->vp[0], VTL2)->cr3;
	assert_int_equal(loaded_cr3, cr3 + offset);
	assert_int_equal(regs_of(&f->vp[0], VTL2)->rip, rip + offset);
	assert_int_equal(regs_of(&f->vp[0], VTL0)->rip, 0);
	assert_true(sregs_of(&f->vp[0], VTL2)->efer & BIT(10));
	assert_false(sregs_of(&f->vp[0], VTL2)->cr4 & BIT(18));
	/* the image, its page tables included, is mapped one to one */
	for (u64 at = 0; at < pt.gpa + pt.size - region_gpa; at += 0x1000 - 8)
		assert_int_equal(translate(f, loaded_cr3, base + at), base + at);
	check_pages(f, &ig, &pt, offset);
	check_as_shim(f, &pv, offset);
	/*
	 * Page 0, the VTL0 configuration, stays where it is. Nothing went to where the image was
	 * linked, or anywhere else in the guest's memory.
	 */
	assert_int_equal(*(u64 *)memory_at(&f->vm.mem, 0, 8), SHIM_MEASURED_VTL0_MAGIC);
	for (u64 gpa = 4096; gpa < MIN(vtl0_bytes, 256 * MiB); gpa += 4096)
		assert_int_equal(*(u64 *)memory_at(&f->vm.mem, gpa, 8), 0);
	host_fix_free(f);
	free(file);
}

static void loaded(void **state)
{
	(void)state;
	check_loaded(64 * MiB);
	check_loaded(3584 * MiB);
	check_loaded(4608 * MiB);
	check_loaded(64 * GiB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(truncated),	     cmocka_unit_test(flipped),
		cmocka_unit_test(impossible_places), cmocka_unit_test(too_little_memory),
		cmocka_unit_test(not_for_this_host), cmocka_unit_test(loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
