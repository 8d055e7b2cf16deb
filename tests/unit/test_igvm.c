/* IGVM reader and writer: damaged files first, then the known vector, round trips, relocation. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/igvm_repair.h"

#define FIXED 24

static const struct igvm_supported_platform vsm = {
	.mask = 1, .highest_vtl = 2, .platform_type = IGVM_PLATFORM_VSM, .platform_version = 1};
static const struct igvm_supported_platform snp = {
	.mask = 2, .highest_vtl = 2, .platform_type = IGVM_PLATFORM_SEV_SNP, .platform_version = 1};
static const struct igvm_relocatable_region region = {.mask = 1,
						      .vtl = 2,
						      .flags = 7,
						      .alignment = 2 * MiB,
						      .gpa = 0x8000000,
						      .size = 0x10000,
						      .minimum_gpa = 0x8000000,
						      .maximum_gpa = 1ull << 48};
static const struct igvm_page_table_relocation page_table = {
	.mask = 1, .vtl = 2, .gpa = 0x8010000, .size = 0x7000, .used_size = 0x3000};
static const struct igvm_register registers[] = {
	{.vtl = 2,
	 .name = IGVM_X64_GDTR,
	 .form = IGVM_REG_TABLE,
	 .u.table = {.base = 0x8001000, .limit = 0x1f}},
	{.vtl = 2,
	 .name = IGVM_X64_CS,
	 .form = IGVM_REG_SEGMENT,
	 .u.segment = {.limit = 0xffffffff, .selector = 0x10, .attributes = 0xa09b}},
	{.vtl = 2, .name = IGVM_X64_CR3, .u.value = 0x8010000},
	{.vtl = 2, .name = IGVM_X64_RIP, .u.value = 0x8002000},
};

/* A file with most kinds of headers; free() it. */
static u8 *make_image(size_t *len, u32 version)
{
	struct igvm_writer *w = igvm_writer_new(version, IGVM_ARCH_X64);
	struct igvm_guest_policy policy = {.policy = 0x30000, .mask = 2};
	u8 page[4096];
	struct igvm_error err;
	void *out;

	igvm_write_platform(w, &vsm);
	igvm_write_platform(w, &snp);
	igvm_write(w, IGVM_GUEST_POLICY, &policy, sizeof(policy), NULL, 0);
	igvm_write(w, IGVM_RELOCATABLE_REGION, &region, sizeof(region), NULL, 0);
	igvm_write(w, IGVM_PAGE_TABLE_RELOCATION, &page_table, sizeof(page_table), NULL, 0);
	igvm_write_required(w, 0x8000000, 1, 48 * MiB, IGVM_MEMORY_VTL2_PROTECTABLE);
	igvm_write_area(w, 0, 0x2000, NULL, 0);
	igvm_write_parameter(w, IGVM_DEVICE_TREE, 0, 0);
	igvm_write_area(w, 7, 0x1000, "initial", 7);
	igvm_write_parameter(w, IGVM_VP_COUNT, 7, 0xffc);
	igvm_write_registers(w, 1, registers, ARRAY_SIZE(registers));
	igvm_write_insert(w, 0x8004000, 3, 0);
	igvm_write_insert(w, 0x8006000, 3, 7);
	for (u32 i = 0; i < 3; i++) {
		memset(page, (int)(0x11 * (i / 2 + 1)), sizeof(page));
		igvm_write_page(w, 0x8000000 + i * 0x1000, 3, 0, IGVM_PAGE_NORMAL, page,
				sizeof(page));
	}
	igvm_write_page(w, 0x8003000, 3, IGVM_PAGE_UNMEASURED, IGVM_PAGE_NORMAL, NULL, 0);
	igvm_write_page(w, 0x8010000, 3, 0, IGVM_PAGE_NORMAL, "x", 1);
	assert_int_equal(igvm_writer_finish(w, &out, len, &err), 0);
	igvm_writer_free(w);
	return out;
}

/* A copy of exactly this size, so that ASan sees a read behind it. */
static int open_copy(const u8 *file, size_t len, struct igvm_error *err)
{
	u8 *copy = malloc(len ? len : 1);
	struct igvm ig;
	int ret;

	memcpy(copy, file, len);
	ret = igvm_open(&ig, copy, len, err);
	free(copy);
	return ret;
}

static void every_truncation(void **state)
{
	size_t len;
	u8 *file = make_image(&len, 1);
	u32 data = get_le32(file + 8) + get_le32(file + 12);
	struct igvm_error err;

	(void)state;
	for (size_t cut = 0; cut < len; cut += cut < data + 16 ? 1 : 509) {
		assert_int_equal(open_copy(file, cut, &err), -EINVAL);
		assert_true(err.text[0]);
		/* The same with a size field that fits: only the content can show it. */
		if (cut >= FIXED) {
			u8 *copy = malloc(cut);

			memcpy(copy, file, cut);
			put_le32(copy + 0x10, (u32)cut);
			if (cut > data)
				fix_checksum(copy);
			assert_int_equal(open_copy(copy, cut, &err), -EINVAL);
			free(copy);
		}
	}
	free(file);
}

/* Truncated at a header boundary with all numbers in order: later headers are gone, data moved. */
static void cut_at_header_boundaries(void **state)
{
	size_t len;
	u8 *file = make_image(&len, 1);
	struct igvm ig;
	struct igvm_iter it;
	struct igvm_header h;

	(void)state;
	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	for (igvm_first(&ig, &it); igvm_next(&it, &h);) {
		u8 *copy = malloc(len);
		struct igvm other;

		memcpy(copy, file, len);
		put_le32(copy + 12, h.offset - FIXED);
		fix_checksum(copy);
		if (!igvm_open(&other, copy, len, NULL)) {
			assert_true(other.header_count == h.index);
			touch_all(&other);
		}
		free(copy);
	}
	free(file);
}

/* Each bit of the headers, with the checksum right and wrong: refused, or safe to use. */
static void every_header_bit(void **state)
{
	for (u32 version = 1; version <= 2; version++) {
		size_t len;
		u8 *file = make_image(&len, version);
		u32 end = get_le32(file + 8) + get_le32(file + 12);

		(void)state;
		for (u32 bit = 0; bit < end * 8; bit++) {
			u8 *copy = malloc(len);
			struct igvm ig;

			memcpy(copy, file, len);
			copy[bit / 8] ^= (u8)(1u << (bit % 8));
			assert_int_not_equal(igvm_open(&ig, copy, len, NULL), 0);
			if (bit / 8 >= FIXED) {
				fix_checksum(copy);
				if (!igvm_open(&ig, copy, len, NULL))
					touch_all(&ig);
			}
			free(copy);
		}
		free(file);
	}
}

/* Each u32 of the headers replaced by extreme values */
static void every_header_field(void **state)
{
	static const u32 values[] = {0, 1, 7, 0xfff, 0x1000, 0x7fffffff, 0xfffffff8, 0xffffffff};
	size_t len;
	u8 *file = make_image(&len, 1);
	u32 end = get_le32(file + 8) + get_le32(file + 12);

	(void)state;
	for (u32 at = FIXED; at < end; at += 4) {
		for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
			u8 *copy = malloc(len);
			struct igvm ig;

			memcpy(copy, file, len);
			put_le32(copy + at, values[v]);
			fix_checksum(copy);
			if (!igvm_open(&ig, copy, len, NULL))
				touch_all(&ig);
			free(copy);
		}
	}
	free(file);
}

/* --- single rules: an otherwise valid file, one header changed by the test */

typedef void (*change_fn)(struct igvm_writer *w);

static int finish(struct igvm_writer *w, struct igvm_error *err)
{
	void *out;
	size_t len;
	int ret = igvm_writer_finish(w, &out, &len, err);

	igvm_writer_free(w);
	if (!ret)
		free(out);
	return ret;
}

static void add_raw(struct igvm_writer *w, u32 type, const void *content, u32 length)
{
	igvm_write(w, type, content, length, NULL, 0);
}
#define ADD(w, type, ...)                                      \
	do {                                                   \
		__auto_type content_ = (__VA_ARGS__);          \
		add_raw(w, type, &content_, sizeof(content_)); \
	} while (0)

static void no_change(struct igvm_writer *w)
{
	(void)w;
}
static void second_platform_same_type(struct igvm_writer *w)
{
	struct igvm_supported_platform p = vsm;

	p.mask = 4;
	igvm_write_platform(w, &p);
}
static void second_platform_same_mask(struct igvm_writer *w)
{
	struct igvm_supported_platform p = snp;

	p.mask = 1;
	igvm_write_platform(w, &p);
}
static void platform_two_bits(struct igvm_writer *w)
{
	struct igvm_supported_platform p = snp;

	p.mask = 6;
	igvm_write_platform(w, &p);
}
static void platform_version(struct igvm_writer *w)
{
	struct igvm_supported_platform p = snp;

	p.platform_version = 2;
	igvm_write_platform(w, &p);
}
static void platform_vtl1(struct igvm_writer *w)
{
	struct igvm_supported_platform p = snp;

	p.highest_vtl = 1;
	igvm_write_platform(w, &p);
}
static void cca_on_x64(struct igvm_writer *w)
{
	struct igvm_supported_platform p = snp;

	p.platform_type = IGVM_PLATFORM_CCA;
	igvm_write_platform(w, &p);
}
static void relocation_alignment_0(struct igvm_writer *w)
{
	struct igvm_relocatable_region r = region;

	r.alignment = 0;
	ADD(w, IGVM_RELOCATABLE_REGION, r);
}
static void relocation_size_0(struct igvm_writer *w)
{
	struct igvm_relocatable_region r = region;

	r.size = 0;
	ADD(w, IGVM_RELOCATABLE_REGION, r);
}
static void relocation_without_context(struct igvm_writer *w)
{
	ADD(w, IGVM_RELOCATABLE_REGION, region);
}
static void relocations_overlap(struct igvm_writer *w)
{
	struct igvm_page_table_relocation p = page_table;

	p.gpa = region.gpa + 0xf000;
	ADD(w, IGVM_RELOCATABLE_REGION, region);
	ADD(w, IGVM_PAGE_TABLE_RELOCATION, p);
	igvm_write_registers(w, 1, registers, ARRAY_SIZE(registers));
}
static void cr3_outside(struct igvm_writer *w)
{
	struct igvm_page_table_relocation p = page_table;

	p.gpa += 0x100000;
	ADD(w, IGVM_PAGE_TABLE_RELOCATION, p);
	igvm_write_registers(w, 1, registers, ARRAY_SIZE(registers));
}
static void page_table_used_too_much(struct igvm_writer *w)
{
	struct igvm_page_table_relocation p = page_table;

	p.used_size = p.size + 0x1000;
	ADD(w, IGVM_PAGE_TABLE_RELOCATION, p);
}
static void section_order(struct igvm_writer *w)
{
	igvm_write_page(w, 0x1000, 1, 0, IGVM_PAGE_NORMAL, NULL, 0);
	igvm_write_platform(w, &snp);
}
static void unknown_type(struct igvm_writer *w)
{
	add_raw(w, 0x3ff, "12345678", 8);
}
static void unassigned_section(struct igvm_writer *w)
{
	add_raw(w, 0x80000201, "12345678", 8);
}
static void area_twice(struct igvm_writer *w)
{
	igvm_write_area(w, 1, 0x1000, NULL, 0);
	igvm_write_area(w, 1, 0x1000, NULL, 0);
}
static void area_unaligned(struct igvm_writer *w)
{
	igvm_write_area(w, 1, 0x1001, NULL, 0);
}
static void area_empty(struct igvm_writer *w)
{
	igvm_write_area(w, 1, 0, NULL, 0);
}
static void area_huge(struct igvm_writer *w)
{
	igvm_write_area(w, 1, 1ull << 60, NULL, 0);
}
static void area_unknown(struct igvm_writer *w)
{
	igvm_write_parameter(w, IGVM_SRAT, 1, 0);
}
static void parameter_after_insert(struct igvm_writer *w)
{
	igvm_write_area(w, 1, 0x1000, NULL, 0);
	igvm_write_insert(w, 0x1000, 1, 1);
	igvm_write_parameter(w, IGVM_SRAT, 1, 0);
}
static void parameter_behind_area(struct igvm_writer *w)
{
	igvm_write_area(w, 1, 0x1000, NULL, 0);
	igvm_write_parameter(w, IGVM_VP_COUNT, 1, 0xffd);
}
static void insert_twice(struct igvm_writer *w)
{
	igvm_write_area(w, 1, 0x1000, NULL, 0);
	igvm_write_insert(w, 0x1000, 1, 1);
	igvm_write_insert(w, 0x2000, 1, 1);
}
static void insert_into_page_tables(struct igvm_writer *w)
{
	ADD(w, IGVM_PAGE_TABLE_RELOCATION, page_table);
	igvm_write_registers(w, 1, registers, ARRAY_SIZE(registers));
	igvm_write_area(w, 1, 0x2000, NULL, 0);
	/* Starts in front, ends inside */
	igvm_write_insert(w, page_table.gpa - 0x1000, 1, 1);
}
static void insert_over_page(struct igvm_writer *w)
{
	igvm_write_page(w, 0x3000, 1, 0, IGVM_PAGE_NORMAL, NULL, 0);
	igvm_write_area(w, 1, 0x3000, NULL, 0);
	igvm_write_insert(w, 0x1000, 1, 1);
}
static void insert_wraps(struct igvm_writer *w)
{
	igvm_write_area(w, 1, 0x3000, NULL, 0);
	igvm_write_insert(w, ~0xfffull, 1, 1);
}
static void page_twice(struct igvm_writer *w)
{
	for (u32 i = 0; i < 4; i++)
		igvm_write_page(w, 0x1000 * i, 1, 0, IGVM_PAGE_NORMAL, "a", 1);
	igvm_write_page(w, 0x2000, 1, 0, IGVM_PAGE_NORMAL, "b", 1);
}
static void page_unaligned(struct igvm_writer *w)
{
	igvm_write_page(w, 0x1001, 1, 0, IGVM_PAGE_NORMAL, NULL, 0);
}
static void page_mask_0(struct igvm_writer *w)
{
	igvm_write_page(w, 0x1000, 0, 0, IGVM_PAGE_NORMAL, NULL, 0);
}
static void page_mask_unknown(struct igvm_writer *w)
{
	igvm_write_page(w, 0x1000, 3, 0, IGVM_PAGE_NORMAL, NULL, 0);
}
static void page_flags(struct igvm_writer *w)
{
	igvm_write_page(w, 0x1000, 1, 8, IGVM_PAGE_NORMAL, NULL, 0);
}
static void page_type_4(struct igvm_writer *w)
{
	igvm_write_page(w, 0x1000, 1, 0, (enum igvm_page_type)4, NULL, 0);
}
static void page_2mb_unaligned(struct igvm_writer *w)
{
	igvm_write_page(w, 0x1000, 1, IGVM_PAGE_2MB, IGVM_PAGE_NORMAL, NULL, 0);
}
static void page_2mb_overlap(struct igvm_writer *w)
{
	igvm_write_page(w, 0x200000, 1, IGVM_PAGE_2MB, IGVM_PAGE_NORMAL, NULL, 0);
	igvm_write_page(w, 0x3ff000, 1, 0, IGVM_PAGE_NORMAL, NULL, 0);
}
static void register_unknown(struct igvm_writer *w)
{
	struct igvm_register r = {.vtl = 2, .name = 0x20000};

	igvm_write_registers(w, 1, &r, 1);
}
static void register_twice(struct igvm_writer *w)
{
	struct igvm_register r[2] = {{.vtl = 2, .name = IGVM_X64_RIP},
				     {.vtl = 2, .name = IGVM_X64_RIP}};

	igvm_write_registers(w, 1, r, 2);
}
static void register_two_vtls(struct igvm_writer *w)
{
	struct igvm_register r[2] = {{.vtl = 2, .name = IGVM_X64_RIP},
				     {.vtl = 0, .name = IGVM_X64_RSI}};

	igvm_write_registers(w, 1, r, 2);
}
static void register_no_such_vtl(struct igvm_writer *w)
{
	struct igvm_register r = {.vtl = 3, .name = IGVM_X64_RIP};

	igvm_write_registers(w, 1, &r, 1);
}
static void registers_none(struct igvm_writer *w)
{
	igvm_write_registers(w, 1, NULL, 0);
}
static void contexts_two(struct igvm_writer *w)
{
	igvm_write_registers(w, 1, registers, ARRAY_SIZE(registers));
	igvm_write_registers(w, 1, registers, ARRAY_SIZE(registers));
}
static void required_empty(struct igvm_writer *w)
{
	igvm_write_required(w, 0x1000, 1, 0, 0);
}
static void required_flags(struct igvm_writer *w)
{
	igvm_write_required(w, 0x1000, 1, 0x1000, 2);
}
static void id_block_on_vsm(struct igvm_writer *w)
{
	ADD(w, IGVM_SNP_ID_BLOCK, (struct igvm_snp_id_block){.mask = 1});
}
static void signature_without_document(struct igvm_writer *w)
{
	struct igvm_corim corim = {.mask = 1, .size_bytes = 3};

	igvm_write(w, IGVM_CORIM_SIGNATURE, &corim, sizeof(corim), "abc", 3);
}
static void error_range_empty(struct igvm_writer *w)
{
	ADD(w, IGVM_ERROR_RANGE, (struct igvm_error_range){.gpa = 0x1000, .mask = 1});
}
static void optional_unknown(struct igvm_writer *w)
{
	add_raw(w, 0x80000377, "1234567", 7);
}
static void same_page_other_platform(struct igvm_writer *w)
{
	igvm_write_platform(w, &snp);
	igvm_write_page(w, 0x1000, 1, 0, IGVM_PAGE_NORMAL, "a", 1);
	igvm_write_page(w, 0x1000, 2, 0, IGVM_PAGE_NORMAL, "b", 1);
}

static void single_rules(void **state)
{
	static const struct {
		change_fn change;
		const char *text; /* NULL: valid */
	} cases[] = {
		{no_change, NULL},
		{optional_unknown, NULL},
		{same_page_other_platform, NULL},
		{second_platform_same_type, "occurs twice"},
		{second_platform_same_mask, "two platforms"},
		{platform_two_bits, "must be one bit"},
		{platform_version, "platform version 2"},
		{platform_vtl1, "highest VTL 1"},
		{cca_on_x64, "does not exist"},
		{relocation_alignment_0, "must be multiples"},
		{relocation_size_0, "must be multiples"},
		{relocation_without_context, "without a VP context"},
		{relocations_overlap, "overlap"},
		{cr3_outside, "CR3"},
		{page_table_used_too_much, "page-table region"},
		{section_order, "later section"},
		{unknown_type, "unknown header type"},
		{unassigned_section, NULL},
		{area_twice, "declared twice"},
		{area_unaligned, "whole pages"},
		{area_empty, "whole pages"},
		{area_huge, "more than 64 MiB"},
		{area_unknown, "not declared"},
		{parameter_after_insert, "already inserted"},
		{parameter_behind_area, "does not fit"},
		{insert_twice, "already inserted"},
		{insert_into_page_tables, "page-table region"},
		{insert_over_page, "overlap"},
		{insert_wraps, "address space"},
		{page_twice, "overlaps that of header"},
		{page_unaligned, "not aligned"},
		{page_mask_0, "mask 0"},
		{page_mask_unknown, NULL},
		{page_flags, "unknown flag"},
		{page_type_4, "data type 4"},
		{page_2mb_unaligned, "not aligned"},
		{page_2mb_overlap, "overlap"},
		{register_unknown, "unknown name"},
		{register_twice, "occurs twice"},
		{register_two_vtls, "VTL"},
		{register_no_such_vtl, "VTL"},
		{registers_none, "0 registers"},
		{contexts_two, "second context"},
		{required_empty, "required memory"},
		{required_flags, "unknown flag"},
		{id_block_on_vsm, "SEV-SNP"},
		{signature_without_document, "without a document"},
		{error_range_empty, "range of pages"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
		struct igvm_error err = {0};
		int ret;

		igvm_write_platform(w, &vsm);
		cases[i].change(w);
		ret = finish(w, &err);
		if (!cases[i].text) {
			assert_int_equal(ret, 0);
			continue;
		}
		if (ret != -EINVAL || !strstr(err.text, cases[i].text))
			fail_msg("case %zu: want \"%s\", got %d \"%s\"", i, cases[i].text, ret,
				 err.text);
	}
}

static void no_platform(void **state)
{
	struct igvm_error err;

	(void)state;
	assert_int_equal(finish(igvm_writer_new(1, IGVM_ARCH_X64), &err), -EINVAL);
	assert_non_null(strstr(err.text, "no supported platform"));
}

static void padding_must_be_zero(void **state)
{
	size_t len;
	u8 *file = make_image(&len, 1);
	struct igvm ig;
	struct igvm_iter it;
	struct igvm_header h;
	struct igvm_error err;

	(void)state;
	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	igvm_first(&ig, &it);
	assert_true(igvm_next_of(&it, IGVM_VP_CONTEXT, 1, &h));
	file[h.offset + 8 + 20] = 1;
	fix_checksum(file);
	assert_int_equal(igvm_open(&ig, file, len, &err), -EINVAL);
	assert_non_null(strstr(err.text, "padding"));
	assert_int_equal(err.header, h.index);
	assert_int_equal(err.offset, h.offset);
	free(file);
}

/* Vector of the format's own implementation: 56 header bytes, size 0x1050, CRC 0xF4D0BF9E */
static void known_vector(void **state)
{
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	u8 page[4096];
	void *out;
	size_t len;
	struct igvm ig;
	struct igvm_iter it;
	struct igvm_header h;

	(void)state;
	memset(page, 0xaa, sizeof(page));
	igvm_write_platform(w, &vsm);
	igvm_write_page(w, 0x1000, 1, 0, IGVM_PAGE_NORMAL, page, sizeof(page));
	assert_int_equal(igvm_writer_finish(w, &out, &len, NULL), 0);
	igvm_writer_free(w);
	assert_int_equal(len, 4176);
	assert_int_equal(get_le32((u8 *)out + 12), 56);
	assert_int_equal(get_le32((u8 *)out + 20), 0xf4d0bf9e);
	assert_int_equal(igvm_open(&ig, out, len, NULL), 0);
	assert_int_equal(ig.checksum, 0xf4d0bf9e);
	assert_int_equal(ig.header_count, 2);
	igvm_first(&ig, &it);
	assert_true(igvm_next_of(&it, IGVM_PAGE_DATA, 1, &h));
	assert_int_equal(h.u.page.file_offset, 0x50);
	assert_memory_equal(h.data, page, sizeof(page));
	assert_false(igvm_next(&it, &h));
	free(out);
}

static void reads_what_was_written(void **state)
{
	size_t len;
	u8 *file = make_image(&len, 1);
	struct igvm ig;
	struct igvm_iter it;
	struct igvm_header h;
	struct igvm_register reg;
	u64 value;
	u32 pages = 0;

	(void)state;
	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	assert_int_equal(igvm_find_platform(&ig, IGVM_PLATFORM_VSM)->mask, 1);
	assert_int_equal(igvm_find_platform(&ig, IGVM_PLATFORM_SEV_SNP)->mask, 2);
	assert_null(igvm_find_platform(&ig, IGVM_PLATFORM_TDX));

	igvm_first(&ig, &it);
	assert_true(igvm_next_of(&it, IGVM_PAGE_TABLE_RELOCATION, 1, &h));
	assert_memory_equal(&h.u.page_table, &page_table, sizeof(page_table));
	assert_true(igvm_next_of(&it, IGVM_PARAMETER_AREA, 1, &h));
	assert_null(h.data);
	assert_true(igvm_next_of(&it, IGVM_PARAMETER_AREA, 1, &h));
	assert_int_equal(h.u.area.index, 7);
	assert_int_equal(h.data_len, 0x1000);
	assert_memory_equal(h.data, "initial\0", 8);
	assert_true(igvm_next_of(&it, IGVM_VP_CONTEXT, 1, &h));
	assert_int_equal(igvm_register_count(&h), ARRAY_SIZE(registers));
	for (u32 i = 0; i < ARRAY_SIZE(registers); i++) {
		igvm_register_get(&ig, &h, i, &reg);
		assert_memory_equal(&reg, &registers[i], sizeof(reg));
	}
	assert_true(igvm_register_u64(&ig, &h, IGVM_X64_CR3, &value));
	assert_int_equal(value, 0x8010000);
	assert_false(igvm_register_u64(&ig, &h, IGVM_X64_RSI, &value));

	igvm_first(&ig, &it);
	while (igvm_next_of(&it, IGVM_PAGE_DATA, 1, &h)) {
		if (pages == 1)
			assert_int_equal(h.data[4095], 0x11);
		if (pages == 3)
			assert_null(h.data);
		pages++;
	}
	assert_int_equal(pages, 5);
	/* No VBS context on the SNP platform */
	igvm_first(&ig, &it);
	assert_false(igvm_next_of(&it, IGVM_VP_CONTEXT, 2, &h));
	free(file);
}

/* Equal pages are stored once; reading and writing again gives the same bytes. */
static void round_trip(void **state)
{
	(void)state;
	for (u32 version = 1; version <= 2; version++) {
		size_t len, len2;
		u8 *file = make_image(&len, version);
		struct igvm_writer *w;
		struct igvm ig;
		struct igvm_iter it;
		struct igvm_header h;
		void *out;

		assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
		w = igvm_writer_new(ig.version, ig.arch);
		for (igvm_first(&ig, &it); igvm_next(&it, &h);)
			igvm_write_copy(w, &h);
		assert_int_equal(igvm_writer_finish(w, &out, &len2, NULL), 0);
		assert_int_equal(len, len2);
		assert_memory_equal(out, file, len);
		/* area, context (4 + 4 * 32), two different pages, the page "x" */
		assert_int_equal(len - ig.headers_offset - ig.headers_size, 4096 * 4 + 132);
		igvm_writer_free(w);
		free(out);
		free(file);
	}
}

static void writer_errors_stick(void **state)
{
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	u8 big[4097] = {0};
	struct igvm_error err;

	(void)state;
	igvm_write_platform(w, &vsm);
	igvm_write_page(w, 0, 1, 0, IGVM_PAGE_NORMAL, big, sizeof(big));
	igvm_write_page(w, 0, 1, 0, IGVM_PAGE_NORMAL, big, 1);
	assert_int_equal(finish(w, &err), -EINVAL);
	assert_non_null(strstr(err.text, "more data"));
	assert_int_equal(finish(igvm_writer_new(1, IGVM_ARCH_AARCH64), &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(cut_at_header_boundaries),
		cmocka_unit_test(every_header_bit),
		cmocka_unit_test(every_header_field),
		cmocka_unit_test(single_rules),
		cmocka_unit_test(no_platform),
		cmocka_unit_test(padding_must_be_zero),
		cmocka_unit_test(known_vector),
		cmocka_unit_test(reads_what_was_written),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(writer_errors_stick),
	};

	return cmocka_run_group_tests_name("igvm", tests, NULL, NULL);
}
