/* Images of isolated platforms: each directive against numbers that are written down here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <Zydis/Zydis.h>
#include <errno.h>
#include <stdio.h>

#include "loader/image.h"
#include "tests/unit/igvm_build_fixture.h"

/* Where the fixture's files end up behind persisted state and bounce buffer */
#define BASE	 0x8000000ull
#define BOUNCE	 0x8200000ull
#define KERNEL	 0x8400000ull /* 2 pages */
#define KERNEL2	 0x8800000ull /* 4 pages */
#define SHIM	 0x8804000ull
#define INITRD	 0x8807000ull /* 2 pages */
#define GDT	 0x8809000ull
#define PARAMS	 0x880a000ull
#define CMDLINE	 0x880b000ull
#define RESERVED 0x880c000ull
#define CONFIG	 0x8810000ull
#define LOG	 0x897a000ull
#define HEAP	 0x897c000ull
#define TABLES	 0x898c000ull
#define RESET	 0xfffff000ull

/*
 * SHA-384 over the shared pages (kernel: bytes 0x1000-0x27ff and 0x3000-0x3fff of kernel_file,
 * both filled up with zeros to 2 and 4 pages; initrd: 2 pages), of the first and of the last one;
 * computed with Python's hashlib from the same formulas.
 */
static const char shared_hash[] = "cd854ab566b2792afb033796cfacecd5a65000d1bf48bcc1eea3e58af7d07370"
				  "b6628eddc5b67c23cfb4ed7041d105c5";
static const char first_hash[] = "436324398bc6f355f079e71ad9dab89427a5f1bef35a71b42035dfaad0812bb3"
				 "b9922fa4aaa19e12952b586bee829bfb";
static const char last_hash[] = "83dc8001f1967f3458f2b4f25a6f439986c014fa71917a67c5e14eec8883fa70"
				"8ae3edd8d1c7f9391f018b7f8613d718";

#define IMAGE(fields) "\"image\":{\"openhcl\":{\"memory_page_count\":16384" fields "}}}"
#define SNP_CONFIG(debug, injection, avic, fields)                                             \
	"{\"guest_svn\":3,\"isolation_type\":{\"snp\":{\"shared_gpa_boundary_bits\":46,"       \
	"\"policy\":196639,\"enable_debug\":" #debug ",\"injection_type\":\"" #injection "\"," \
	"\"secure_avic\":\"" #avic "\"}}," IMAGE(fields)
#define TDX_CONFIG(debug, no_ve, fields)                                         \
	"{\"guest_svn\":3,\"isolation_type\":{\"tdx\":{\"enable_debug\":" #debug \
	",\"sept_ve_disable\":" #no_ve "}}," IMAGE(fields)
#define VBS_CONFIG(debug, fields) \
	"{\"guest_svn\":3,\"isolation_type\":{\"vbs\":{\"enable_debug\":" #debug "}}," IMAGE(fields)
#define NONE_CONFIG(fields) "{\"isolation_type\":\"none\"," IMAGE(fields)
#define FILE_OF(configs)    "{\"guest_arch\":\"x64\",\"guest_configs\":[" configs "]}"
#define SNP		    SNP_CONFIG(false, normal, enabled, "")
#define TDX		    TDX_CONFIG(false, true, "")
#define VBS		    VBS_CONFIG(false, "")

static void *must_build(const char *json, size_t *len, struct igvm *ig)
{
	struct igvm_error err;
	void *image = build(json, len, &err);

	if (!image)
		fail_msg("%s", err.text);
	assert_int_equal(igvm_open(ig, image, *len, &err), 0);
	return image;
}

static int setup(void **state)
{
	(void)state;
	make_inputs();
	return 0;
}

static void assert_hash(const u8 *got, const char *want)
{
	char text[97];

	for (u32 i = 0; i < 48; i++)
		snprintf(text + 2 * i, 3, "%02x", got[i]);
	assert_string_equal(text, want);
}

/* The first header of a type for the platform; fails the test if there is none. */
static struct igvm_header first_of(const struct igvm *ig, u32 type, u32 mask)
{
	struct igvm_iter it;
	struct igvm_header h = {0};

	igvm_first(ig, &it);
	if (!igvm_next_of(&it, type, mask, &h))
		fail_msg("no header of type 0x%x", type);
	return h;
}

static u32 count_of(const struct igvm *ig, u32 type, u32 mask)
{
	struct igvm_iter it;
	struct igvm_header h;
	u32 count = 0;

	for (igvm_first(ig, &it); igvm_next_of(&it, type, mask, &h);)
		count++;
	return count;
}

/* --- what SNP and TDX have in common */

struct expected_page {
	u64 gpa;
	u32 pages;
	u32 flags;
	u32 type;
};

/* All pages up to the hash region, in this order; nothing else but the two last regions */
static void check_pages(const struct igvm *ig, u32 mask, const struct expected_page *want,
			u32 count)
{
	struct igvm_iter it;
	struct igvm_header h;

	igvm_first(ig, &it);
	for (u32 i = 0; i < count; i++) {
		for (u32 j = 0; j < want[i].pages; j++) {
			assert_true(igvm_next_of(&it, IGVM_PAGE_DATA, mask, &h));
			assert_int_equal(h.u.page.gpa, want[i].gpa + j * 4096);
			assert_int_equal(h.u.page.flags, want[i].flags);
			assert_int_equal(h.u.page.data_type, want[i].type);
		}
	}
	for (u32 i = 0; i <= 256; i++) {
		assert_true(igvm_next_of(&it, IGVM_PAGE_DATA, mask, &h));
		assert_int_equal(h.u.page.gpa,
				 i < 256 ? CONFIG + (106 + i) * 4096 : CONFIG + 104 * 4096);
		assert_int_equal(h.u.page.flags | h.u.page.data_type, 0);
	}
	assert_false(igvm_next_of(&it, IGVM_PAGE_DATA, mask, &h));
}

static bool is_listed(const struct shim_imported_regions *list, u64 gpa, u8 accepted)
{
	for (u32 i = 0; i < ARRAY_SIZE(list->range) && list->range[i].page_count; i++) {
		if (gpa / 4096 - list->range[i].base_page < list->range[i].page_count)
			return list->range[i].accepted == accepted;
	}
	return false;
}

/* Every page is listed with what was done to it, and the list covers no more. */
static void check_list(const struct igvm *ig, u32 mask, u64 vmsa)
{
	struct shim_imported_regions list;
	struct igvm_iter it;
	struct igvm_header h;
	u64 pages = 20 + 20 + 64, listed = 0, end = 0;

	assert_true(read_pages_of(ig, mask, CONFIG + 104 * 4096, &list, sizeof(list)));
	for (igvm_first(ig, &it); igvm_next_of(&it, IGVM_PAGE_DATA, mask, &h); pages++)
		assert_true(is_listed(&list, h.u.page.gpa, !(h.u.page.flags & IGVM_PAGE_SHARED)));
	assert_true(is_listed(&list, CONFIG, 1));
	assert_true(is_listed(&list, CONFIG + 103 * 4096, 1));
	if (vmsa) {
		assert_true(is_listed(&list, vmsa, 1));
		pages++;
	}
	for (u32 i = 0; i < ARRAY_SIZE(list.range) && list.range[i].page_count; i++) {
		assert_true(list.range[i].base_page >= end);
		end = list.range[i].base_page + list.range[i].page_count;
		listed += list.range[i].page_count;
	}
	assert_int_equal(listed, pages);
}

static void check_hashes(const struct igvm *ig, u32 mask)
{
	static u8 bytes[256 * 4096];
	struct shim_imported_regions list;

	assert_true(read_pages_of(ig, mask, CONFIG + 104 * 4096, &list, sizeof(list)));
	assert_hash(list.sha384, shared_hash);
	assert_true(read_pages_of(ig, mask, CONFIG + 106 * 4096, bytes, sizeof(bytes)));
	assert_memory_equal(bytes, "EPHS", 4);
	assert_int_equal(get_le32(bytes + 4), 1);
	assert_int_equal(get_le32(bytes + 8), 8);
	assert_int_equal(get_le32(bytes + 12), 0);
	assert_hash(bytes + 16, first_hash);
	assert_hash(bytes + 16 + 7 * 48, last_hash);
	for (u32 i = 16 + 8 * 48; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], 0);
}

static void check_params(const struct igvm *ig, u32 mask, u32 isolation, u64 used_end)
{
	struct igvm_error err;
	struct igvm_paravisor pv;

	assert_int_equal(igvm_find_paravisor(ig, mask, &pv, &err), 0);
	assert_int_equal(pv.shim_gpa, SHIM);
	assert_int_equal(pv.params_gpa, PARAMS);
	assert_int_equal(pv.imported_gpa, CONFIG + 104 * 4096);
	assert_int_equal(pv.params.isolation, isolation);
	assert_int_equal(SHIM + (u64)pv.params.kernel_entry, KERNEL + 0x100);
	assert_int_equal(SHIM + (u64)pv.params.initrd, INITRD);
	assert_int_equal(SHIM + (u64)pv.params.memory_start, BASE);
	assert_int_equal(pv.params.memory_size, 64 * MiB);
	assert_int_equal(SHIM + (u64)pv.params.bounce_buffer, BOUNCE);
	assert_int_equal(pv.params.bounce_buffer_size, 2 * MiB);
	assert_int_equal(SHIM + (u64)pv.params.persisted_state, BASE);
	assert_int_equal(SHIM + (u64)pv.params.reserved_region, RESERVED);
	assert_int_equal(SHIM + (u64)pv.params.log_buffer, LOG);
	assert_int_equal(SHIM + (u64)pv.params.heap, HEAP);
	assert_int_equal(SHIM + (u64)pv.params.used_end, used_end);
	assert_true(pv.has_vtl0_config);
	assert_int_equal(pv.vtl0.supported, 0);
}

static void check_vtl2_config(const struct igvm *ig, u32 mask, u8 bit)
{
	u8 page[4096];

	assert_true(read_pages_of(ig, mask, CONFIG + 105 * 4096, page, sizeof(page)));
	assert_memory_equal(page, "2LTVLCHO", 8);
	assert_int_equal(page[8], bit);
	for (u32 i = 9; i < sizeof(page); i++)
		assert_int_equal(page[i], 0);
}

/* Walks the tables of an image as a processor does. 0: not mapped */
static u64 entry_for(const struct igvm *ig, u32 mask, u64 va, u64 extra)
{
	u64 table = TABLES, entry = 0;

	for (u32 shift = 39; shift >= 12; shift -= 9) {
		u8 page[4096];

		assert_true(read_pages_of(ig, mask, table, page, sizeof(page)));
		entry = get_le64(page + (va >> shift & 511) * 8);
		if (!entry || (entry & BIT(7)) || shift == 12)
			return entry;
		assert_int_equal(entry & ~0xffffffff000ull, 0x23 | extra);
		table = entry & 0xffffffff000ull;
	}
	return 0;
}

/* --- SNP */

static void snp_headers(void **state)
{
	static const u32 types[] = {
		IGVM_SUPPORTED_PLATFORM,
		IGVM_GUEST_POLICY,
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
		IGVM_PARAMETER_INSERT,
		IGVM_PAGE_DATA,
	};
	struct igvm_header h;
	struct igvm_iter it;
	struct igvm ig;
	size_t len;
	void *image = must_build(FILE_OF(SNP), &len, &ig);

	(void)state;
	assert_int_equal(ig.version, 1);
	assert_int_equal(ig.platform_count, 1);
	assert_int_equal(ig.platform[0].platform_type, IGVM_PLATFORM_SEV_SNP);
	assert_int_equal(ig.platform[0].mask, 1);
	assert_int_equal(ig.platform[0].highest_vtl, 2);
	assert_int_equal(ig.platform[0].shared_gpa_boundary, 1ull << 46);
	igvm_first(&ig, &it);
	for (u32 i = 0; i < ARRAY_SIZE(types); i++) {
		assert_true(igvm_next(&it, &h));
		assert_int_equal(h.type, types[i]);
	}
	h = first_of(&ig, IGVM_GUEST_POLICY, 1);
	assert_int_equal(h.u.guest_policy.policy, 0x3001f);
	h = first_of(&ig, IGVM_REQUIRED_MEMORY, 1);
	assert_int_equal(h.u.required.gpa, BASE);
	assert_int_equal(h.u.required.number_of_bytes, 64 * MiB);
	assert_int_equal(h.u.required.flags, 1);
	free(image);
}

static void snp_pages(void **state)
{
	static const struct expected_page pages[] = {
		{0, 1, 0, 0},
		{KERNEL, 2, IGVM_PAGE_SHARED, 0},
		{KERNEL2, 4, IGVM_PAGE_SHARED, 0},
		{SHIM, 3, 0, 0},
		{INITRD, 2, IGVM_PAGE_SHARED, 0},
		{GDT, 1, 0, 0},
		{PARAMS, 1, 0, 0},
		{CMDLINE, 1, 0, 0},
		{RESERVED + 0x1000, 1, 0, IGVM_PAGE_CPUID_DATA},
		{RESERVED + 0x2000, 1, 0, IGVM_PAGE_CPUID_XF},
		{RESERVED + 0x3000, 1, 0, IGVM_PAGE_SECRETS},
		{CONFIG + 105 * 4096, 1, 0, 0},
		{LOG, 2, 0, 0},
		{HEAP, 16, 0, 0},
		{TABLES, 8, 0, 0},
	};
	struct igvm ig;
	size_t len;
	void *image = must_build(FILE_OF(SNP), &len, &ig);

	(void)state;
	check_pages(&ig, 1, pages, ARRAY_SIZE(pages));
	check_list(&ig, 1, RESERVED);
	check_hashes(&ig, 1);
	check_params(&ig, 1, SHIM_ISOLATION_SNP, TABLES + 8 * 4096);
	check_vtl2_config(&ig, 1, 46);
	free(image);
}

static void snp_vmsa(void **state)
{
	/* Offset, bytes, value; everything else is 0 */
	static const struct {
		u32 at, size;
		u64 value;
	} fields[] = {
		{0x000, 2, 0x18},
		{0x002, 2, 0xc93},
		{0x004, 4, 0xffffffff}, /* ES */
		{0x010, 2, 0x10},
		{0x012, 2, 0xa9b},
		{0x014, 4, 0xffffffff}, /* CS */
		{0x020, 2, 0x18},
		{0x022, 2, 0xc93},
		{0x024, 4, 0xffffffff}, /* SS */
		{0x030, 2, 0x18},
		{0x032, 2, 0xc93},
		{0x034, 4, 0xffffffff}, /* DS */
		{0x040, 2, 0x18},
		{0x042, 2, 0xc93},
		{0x044, 4, 0xffffffff}, /* FS */
		{0x050, 2, 0x18},
		{0x052, 2, 0xc93},
		{0x054, 4, 0xffffffff}, /* GS */
		{0x064, 4, 0x1f},
		{0x068, 8, GDT}, /* GDTR */
		{0x092, 2, 0x8b},
		{0x094, 4, 0xffff}, /* TR */
		{0x0d0, 8, 0x1d00}, /* EFER: SVME, NXE, LMA, LME */
		{0x148, 8, 0x40060},
		{0x150, 8, TABLES},
		{0x158, 8, 0x80000021},		/* CR4 CR3 CR0 */
		{0x178, 8, SHIM + 0x120},	/* RIP */
		{0x268, 8, 0x0007040600070406}, /* PAT */
		{0x330, 8, PARAMS - SHIM},	/* RSI */
		{0x3b0, 8, 0x2140e1},		/* SEV_FEATURES */
		{0x3e8, 8, 1},			/* XCR0 */
	};
	u8 want[4096] = {0};
	struct igvm_header h;
	struct igvm ig;
	size_t len;
	void *image = must_build(FILE_OF(SNP), &len, &ig);

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(fields); i++)
		memcpy(want + fields[i].at, &fields[i].value, fields[i].size);
	h = first_of(&ig, IGVM_VP_CONTEXT, 1);
	assert_int_equal(h.u.vp.gpa, RESERVED);
	assert_int_equal(h.u.vp.vp_index, 0);
	assert_int_equal(h.data_len, 4096);
	assert_memory_equal(h.data, want, 4096);
	free(image);
}

static void snp_cpuid_page(void **state)
{
	struct igvm ig;
	u8 page[4096];
	size_t len;
	void *image = must_build(FILE_OF(SNP), &len, &ig);

	(void)state;
	assert_true(read_pages(&ig, RESERVED + 0x1000, page, sizeof(page)));
	assert_int_equal(get_le32(page), 35);
	assert_int_equal(get_le32(page + 16), 0x8000001f);
	for (u32 i = 0; i < 64; i++) {
		const u8 *record = page + 16 + i * 48;

		if (i >= 35)
			assert_int_equal(get_le32(record), 0);
		/* Only leaf 0xd asks for something of XCR0; the firmware fills in the results. */
		assert_int_equal(get_le64(record + 8), get_le32(record) == 0xd);
		for (u32 j = 16; j < 48; j++)
			assert_int_equal(record[j], 0);
		for (u32 j = 0; j < i && i < 35; j++)
			assert_true(memcmp(record, page + 16 + j * 48, 8) != 0);
	}
	free(image);
}

static void snp_page_tables(void **state)
{
	const u64 c_bit = 1ull << 51;
	struct igvm ig;
	size_t len;
	void *image = must_build(FILE_OF(SNP), &len, &ig);

	(void)state;
	assert_int_equal(entry_for(&ig, 1, 0, c_bit), 0);
	assert_int_equal(entry_for(&ig, 1, 2 * MiB, c_bit), 2 * MiB | 0xe3 | c_bit);
	assert_int_equal(entry_for(&ig, 1, 4 * MiB, c_bit), 0);
	assert_int_equal(entry_for(&ig, 1, BASE - 1, c_bit), 0);
	assert_int_equal(entry_for(&ig, 1, BASE, c_bit), BASE | 0xe3 | c_bit);
	assert_int_equal(entry_for(&ig, 1, BASE + 64 * MiB - 1, c_bit),
			 (BASE + 62 * MiB) | 0xe3 | c_bit);
	assert_int_equal(entry_for(&ig, 1, BASE + 64 * MiB, c_bit), 0);
	free(image);
}

static void snp_variants(void **state)
{
	static const struct {
		const char *json;
		u64 features, policy;
	} cases[] = {
		{FILE_OF(SNP_CONFIG(false, normal, disabled, "")), 0x2040e1, 0x3001f},
		{FILE_OF(SNP_CONFIG(false, normal, enabled, "")), 0x2140e1, 0x3001f},
		{FILE_OF(SNP_CONFIG(true, normal, disabled, "")), 0x2040e1, 0xb001f},
		{FILE_OF(SNP_CONFIG(false, restricted, disabled, "")), 0x2040e9, 0x3001f},
		{FILE_OF(SNP_CONFIG(true, restricted, enabled, "")), 0x2140e9, 0xb001f},
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		struct igvm ig;
		size_t len;
		void *image = must_build(cases[i].json, &len, &ig);
		struct igvm_header vp = first_of(&ig, IGVM_VP_CONTEXT, 1);

		assert_int_equal(get_le64(vp.data + 0x3b0), cases[i].features);
		assert_int_equal(first_of(&ig, IGVM_GUEST_POLICY, 1).u.guest_policy.policy,
				 cases[i].policy);
		free(image);
	}
}

/* --- TDX */

static void tdx_headers(void **state)
{
	static const struct {
		const char *json;
		u64 policy;
	} cases[] = {
		{FILE_OF(TDX_CONFIG(false, true, "")), 2},
		{FILE_OF(TDX_CONFIG(true, true, "")), 3},
		{FILE_OF(TDX_CONFIG(true, false, "")), 1},
		{FILE_OF(TDX_CONFIG(false, false, "")), 0},
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		struct igvm ig;
		size_t len;
		void *image = must_build(cases[i].json, &len, &ig);

		assert_int_equal(ig.platform[0].platform_type, IGVM_PLATFORM_TDX);
		assert_int_equal(ig.platform[0].shared_gpa_boundary, 1ull << 47);
		assert_int_equal(ig.platform[0].highest_vtl, 2);
		assert_int_equal(count_of(&ig, IGVM_VP_CONTEXT, 1), 0);
		assert_int_equal(count_of(&ig, IGVM_RELOCATABLE_REGION, 1), 0);
		assert_int_equal(count_of(&ig, IGVM_GUEST_POLICY, 1), cases[i].policy != 0);
		if (cases[i].policy)
			assert_int_equal(first_of(&ig, IGVM_GUEST_POLICY, 1).u.guest_policy.policy,
					 cases[i].policy);
		free(image);
	}
}

static void tdx_pages(void **state)
{
	static const struct expected_page pages[] = {
		{0, 1, 0, 0},
		{KERNEL, 2, IGVM_PAGE_SHARED, 0},
		{KERNEL2, 4, IGVM_PAGE_SHARED, 0},
		{SHIM, 3, 0, 0},
		{INITRD, 2, IGVM_PAGE_SHARED, 0},
		{GDT, 1, 0, 0},
		{PARAMS, 1, 0, 0},
		{CMDLINE, 1, 0, 0},
		{CONFIG + 105 * 4096, 1, 0, 0},
		{LOG, 2, 0, 0},
		{HEAP, 16, 0, 0},
		{TABLES, 11, 0, 0},
		{RESET, 1, 0, 0},
	};
	struct igvm ig;
	size_t len;
	void *image = must_build(FILE_OF(TDX), &len, &ig);

	(void)state;
	check_pages(&ig, 1, pages, ARRAY_SIZE(pages));
	check_list(&ig, 1, 0);
	check_hashes(&ig, 1);
	check_params(&ig, 1, SHIM_ISOLATION_TDX, TABLES + 11 * 4096);
	check_vtl2_config(&ig, 1, 47);
	assert_int_equal(entry_for(&ig, 1, RESET, 0), RESET | 0x63);
	assert_int_equal(entry_for(&ig, 1, RESET - 1, 0), 0);
	assert_int_equal(entry_for(&ig, 1, 2 * MiB, 0), 2 * MiB | 0xe3);
	assert_int_equal(entry_for(&ig, 1, BASE, 0), BASE | 0xe3);
	free(image);
}

static void tdx_reset_context(void **state)
{
	static const struct {
		u32 at, size;
		u64 value;
	} fields[] = {
		{0x14, 2, 0x18},				      /* data selector */
		{0x16, 2, 0x0f},				      /* static GDT */
		{0x18, 4, 0xfffff098}, {0x28, 8, SHIM + 0x120},	      /* RIP */
		{0x30, 2, 0x10},				      /* code selector */
		{0x36, 2, 0x1f},				      /* GDTR */
		{0x38, 8, GDT},	       {0x50, 8, PARAMS - SHIM},      /* RSI */
		{0x78, 8, 0x80000021},				      /* CR0 */
		{0x80, 8, TABLES},				      /* CR3 */
		{0x88, 8, 0x40060},				      /* CR4 */
		{0x90, 4, TABLES},     {0xa0, 8, 0x00a09b000000ffff}, /* selector 8 */
	};
	u8 want[0xa8] = {0}, page[4096];
	struct igvm ig;
	size_t len;
	void *image = must_build(FILE_OF(TDX), &len, &ig);

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(fields); i++)
		memcpy(want + fields[i].at, &fields[i].value, fields[i].size);
	assert_true(read_pages(&ig, RESET, page, sizeof(page)));
	assert_memory_equal(page, want, sizeof(want));
	free(image);
}

/* Decodes the code from `at` in one mode up to an instruction; returns the offset behind it. */
static u32 decode_until(const u8 *page, u32 at, bool is_64, ZydisMnemonic last)
{
	ZydisDecoder decoder;
	ZydisDecodedInstruction in;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];

	ZydisDecoderInit(&decoder,
			 is_64 ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32,
			 is_64 ? ZYDIS_STACK_WIDTH_64 : ZYDIS_STACK_WIDTH_32);
	for (;;) {
		assert_true(at < 0xff0);
		assert_true(ZYAN_SUCCESS(
			ZydisDecoderDecodeFull(&decoder, page + at, 0x1000 - at, &in, op)));
		for (u32 i = 0; i < in.operand_count_visible; i++) {
			u64 target;

			/* Memory is the context's; jumps stay between the code's ends. */
			if (op[i].type != ZYDIS_OPERAND_TYPE_MEMORY &&
			    !(op[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && op[i].imm.is_relative))
				continue;
			assert_true(ZYAN_SUCCESS(
				ZydisCalcAbsoluteAddress(&in, &op[i], RESET + at, &target)));
			target = (u32)target - (u32)RESET;
			if (op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
				assert_true(target < 0xa8);
			else
				assert_true(target >= 0xa8 && target < 0x300);
		}
		at += in.length;
		if (in.mnemonic == last)
			return at;
	}
}

static void tdx_reset_code(void **state)
{
	struct igvm ig;
	u8 page[4096];
	size_t len;
	u32 at;
	void *image = must_build(FILE_OF(TDX), &len, &ig);

	(void)state;
	assert_true(read_pages(&ig, RESET, page, sizeof(page)));
	/* The first instruction jumps to the code behind the context. */
	assert_int_equal(page[0xff0], 0xe9);
	assert_int_equal((int)get_le32(page + 0xff1) + 0xff5, 0xa8);
	at = decode_until(page, 0xa8, false, ZYDIS_MNEMONIC_MOV); /* CR4 first... */
	at = decode_until(page, at, false, ZYDIS_MNEMONIC_JMP);	  /* ...and paging last */
	assert_int_equal(page[at - 7], 0xea);
	assert_int_equal(get_le32(page + at - 6), RESET + at);
	assert_int_equal(page[at - 2], 8);
	at = decode_until(page, at, true, ZYDIS_MNEMONIC_TDCALL);
	at = decode_until(page, at, true, ZYDIS_MNEMONIC_PAUSE);
	at = decode_until(page, at, true, ZYDIS_MNEMONIC_INT3);
	/* The rest stops whoever gets there. */
	while (at < 0xff0)
		assert_int_equal(page[at++], 0xcc);
	for (at = 0xff5; at < 0x1000; at++)
		assert_int_equal(page[at], 0xcc);
	free(image);
}

/* --- VBS, and files of several platforms */

/* The same as an image without isolation at a fixed place */
static void vbs_is_like_none(void **state)
{
	struct igvm a, b;
	size_t len, len2;
	void *image = must_build(FILE_OF(VBS_CONFIG(false, ",\"memory_page_base\":32768")), &len,
				 &a);
	void *none = must_build(FILE_OF(NONE_CONFIG(",\"memory_page_base\":32768")), &len2, &b);

	(void)state;
	assert_int_equal(len, len2);
	assert_memory_equal(image, none, len);
	assert_int_equal(a.platform[0].platform_type, IGVM_PLATFORM_VSM);
	assert_int_equal(count_of(&a, IGVM_RELOCATABLE_REGION, 1), 0);
	assert_int_equal(count_of(&a, IGVM_GUEST_POLICY, 1), 0);
	free(image);
	free(none);
}

/* What a platform gets of a file of several is what it gets of a file of its own. */
static void several_platforms(void **state)
{
	static const char *const single[] = {FILE_OF(SNP), FILE_OF(VBS), FILE_OF(TDX)};
	struct igvm all, one;
	struct igvm_error err;
	size_t len, sum = 0;
	void *image = must_build(FILE_OF(SNP "," VBS "," TDX), &len, &all);

	(void)state;
	assert_int_equal(all.version, 1);
	assert_int_equal(all.platform_count, 3);
	for (u32 i = 0; i < 3; i++) {
		struct igvm_iter a, b;
		struct igvm_header x, y;
		struct igvm_measurement m, n;
		size_t len2;
		void *own = must_build(single[i], &len2, &one);

		assert_int_equal(all.platform[i].mask, 1u << i);
		sum += len2;
		igvm_first(&all, &a);
		igvm_first(&one, &b);
		while (igvm_next(&b, &y)) {
			u32 area = igvm_is_parameter(y.type) || y.type == IGVM_PARAMETER_AREA ||
				   y.type == IGVM_PARAMETER_INSERT;

			do
				assert_true(igvm_next(&a, &x));
			while (x.mask != 1u << i &&
			       !(area && x.mask == ~0u && x.type == y.type &&
				 i == (x.type == IGVM_PARAMETER_AREA ? x.u.area.index
								     : x.u.parameter.area) /
						 3));
			assert_int_equal(x.type, y.type);
			assert_int_equal(x.data_len, y.data_len);
			if (y.data)
				assert_memory_equal(x.data, y.data, y.data_len);
			if (y.type == IGVM_PAGE_DATA)
				assert_int_equal(x.u.page.gpa, y.u.page.gpa);
			if (y.type == IGVM_PARAMETER_INSERT) {
				assert_int_equal(x.u.insert.gpa, y.u.insert.gpa);
				assert_int_equal(x.u.insert.area, y.u.insert.area + 3 * i);
			}
		}
		assert_int_equal(igvm_measure(&all, &all.platform[i], NULL, NULL, &m, &err), 0);
		assert_int_equal(igvm_measure(&one, &one.platform[0], NULL, NULL, &n, &err), 0);
		assert_memory_equal(m.digest, n.digest, m.digest_len);
		free(own);
	}
	assert_true(len < sum); /* equal pages are stored once */
	free(image);
}

static void same_bytes_every_time(void **state)
{
	struct igvm ig;
	size_t len, len2;
	void *a = must_build(FILE_OF(TDX "," SNP), &len, &ig);
	void *b = must_build(FILE_OF(TDX "," SNP), &len2, &ig);

	(void)state;
	assert_int_equal(len, len2);
	assert_memory_equal(a, b, len);
	free(a);
	free(b);
}

/* --- what else goes into an image */

static void kernel_without_room_for_hashes(void **state)
{
	u8 *memsz = kernel_file + 64 + 2 * 56 + 40, old[8];
	struct igvm_error err;
	struct igvm ig;
	size_t len;
	void *image;

	(void)state;
	memcpy(old, memsz, 8);
	put_le64(memsz, (21845ull - 4) * 4096); /* and 2 pages each of the first segment, initrd */
	image = must_build(
		"{\"guest_arch\":\"x64\",\"guest_configs\":[{\"isolation_type\":{\"tdx\":"
		"{\"enable_debug\":false,\"sept_ve_disable\":true}},\"image\":{"
		"\"openhcl\":{\"memory_page_count\":65536}}}]}",
		&len, &ig);
	free(image);
	put_le64(memsz, (21845ull - 4) * 4096 + 1);
	image = build("{\"guest_arch\":\"x64\",\"guest_configs\":[{\"isolation_type\":{\"tdx\":"
		      "{\"enable_debug\":false,\"sept_ve_disable\":true}},\"image\":{\"openhcl\":{"
		      "\"memory_page_count\":65536}}}]}",
		      &len, &err);
	memcpy(memsz, old, 8);
	assert_null(image);
	assert_non_null(strstr(err.text, "more than 21845 pages"));
}

static void product_policy(void **state)
{
	/* Python: fields of the protobuf messages by hand */
	static const u8 want[] = {0x08, 0x80, 0x98, 0xbd, 0x82, 0xc5, 0xe9, 0x90, 0xa4, 0x4f,
				  0x12, 0x12, 0x0a, 0x10, 0x08, 0x01, 0x10, 0x01, 0x18, 0x01,
				  0x2a, 0x08, 0x64, 0x65, 0x61, 0x64, 0x62, 0x65, 0x65, 0x66};
	u8 page[4096];
	struct igvm ig;
	size_t len;
	void *image = must_build(
		FILE_OF(SNP_CONFIG(
			false, normal, enabled,
			",\"product_policy\":{\"sivm\":{\"require_ephemeral_vmgs\":true,"
			"\"require_secure_boot\":true,\"require_secure_boot_vars\":true,"
			"\"require_bcd_integrity\":false,\"custom_uefi_json\":\"ZGVhZGJlZWY=\"}}")),
		&len, &ig);

	(void)state;
	assert_true(read_pages(&ig, CONFIG + 105 * 4096, page, sizeof(page)));
	assert_int_equal(get_le32(page + 16), sizeof(want));
	assert_memory_equal(page + 24, want, sizeof(want));
	assert_int_equal(page[24 + sizeof(want)], 0);
	free(image);
}

static void linux_payload(void **state)
{
	struct igvm_error err;
	struct igvm_paravisor pv;
	struct igvm ig;
	u8 bytes[sizeof(bzimage)];
	size_t len;
	void *image = must_build(
		FILE_OF(TDX_CONFIG(
			false, true,
			",\"linux\":{\"use_initrd\":true,\"command_line\":\"a\"}") "," SNP),
		&len, &ig);

	(void)state;
	assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, &err), 0);
	assert_int_equal(pv.vtl0.supported, SHIM_VTL0_LINUX);
	assert_true(read_pages(&ig, pv.vtl0.kernel_base_page * 4096, bytes, sizeof(bytes)));
	assert_memory_equal(bytes, bzimage, sizeof(bytes));
	check_list(&ig, 1, 0);
	check_hashes(&ig, 1);
	assert_int_equal(igvm_find_paravisor(&ig, 2, &pv, &err), 0);
	assert_int_equal(pv.vtl0.supported, 0);
	check_list(&ig, 2, RESERVED);
	free(image);
}

/* UEFI firmware: at its place, with the state that it starts in, for each platform */
static void uefi_payload(void **state)
{
	static const struct {
		const char *json;
		u64 r9;
	} cases[] = {
		{FILE_OF(NONE_CONFIG(",\"uefi\":true")), 0},
		{FILE_OF(VBS_CONFIG(false, ",\"uefi\":true")), 1},
		{FILE_OF(SNP_CONFIG(false, normal, enabled, ",\"uefi\":true")), 2 | 0x20 | 46 << 6},
		{FILE_OF(TDX_CONFIG(false, true, ",\"uefi\":true")), 3 | 0x20 | 47 << 6},
	};
	static const u32 names[] = {0x70001, 0x60003, 0x60000, 0x60004, 0x60005, 0x60002, 0x60001,
				    0x40000, 0x40002, 0x40003, 0x80001, 0x80004, 0x20005, 0x20010,
				    0x20008, 0x20009, 0x2000a, 0x2000b, 0x8000e, 0x80070, 0x80071};
	static u8 bytes[UEFI_BYTES];

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		struct igvm_paravisor pv;
		struct igvm_error err;
		struct igvm ig;
		struct igvm_header h;
		size_t len;
		void *image = must_build(cases[i].json, &len, &ig);

		assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, &err), 0);
		assert_int_equal(pv.vtl0.supported, SHIM_VTL0_UEFI | SHIM_VTL0_PCAT);
		assert_int_equal(pv.vtl0.uefi_base_page, 0x100);
		assert_int_equal(pv.vtl0.uefi_pages, 0x609);
		assert_int_equal(pv.vtl0.uefi_context_page, 1);
		assert_int_equal(pv.vtl0.uefi_context_pages, 1);
		assert_true(read_pages(&ig, 0x100000, bytes, sizeof(bytes)));
		assert_memory_equal(bytes, uefi_file, sizeof(bytes));
		h = first_of(&ig, IGVM_REQUIRED_MEMORY, 1); /* the firmware's comes first */
		assert_int_equal(h.u.required.gpa, 0);
		assert_int_equal(h.u.required.number_of_bytes, 0x709000);
		assert_int_equal(h.u.required.flags, 0);

		assert_true(read_pages(&ig, 0x1000, bytes, 4096));
		assert_int_equal(get_le32(bytes), ARRAY_SIZE(names));
		for (u32 r = 0; r < ARRAY_SIZE(names); r++) {
			assert_int_equal(bytes[4 + r * 32], 2);
			assert_int_equal(get_le32(bytes + 5 + r * 32), names[r]);
		}
#define VALUE(r) get_le64(bytes + 4 + (r)*32 + 16)
		assert_int_equal(get_le16(bytes + 4 + 22), 0x1f);
		assert_int_equal(get_le64(bytes + 4 + 24), 0x706000);
		assert_int_equal(VALUE(7), 0x80000023);
		assert_int_equal(VALUE(8), 0x700000);
		assert_int_equal(VALUE(9), 0x660);
		assert_int_equal(VALUE(12), 0x100000 + 0x5e0000);
		assert_int_equal(VALUE(13), 0x100000 + FIX_SEC + 0x30 + 0x123);
		assert_int_equal(VALUE(14), 1);
		assert_int_equal(VALUE(15), cases[i].r9);
		assert_int_equal(VALUE(18), 0xc00);
		/* 4 GiB of identity map in 2 MiB pages; GDT; two zero pages */
		assert_true(read_pages(&ig, 0x700000, bytes, 6 * 4096));
		assert_int_equal(get_le64(bytes), 0x701023);
		assert_int_equal(get_le64(bytes + 5 * 4096 + 511 * 8), 0xffe000e3);
		assert_true(read_pages(&ig, 0x706000, bytes, 3 * 4096));
		assert_int_equal(get_le64(bytes + 8), 0x00a09b000000ffff);
		assert_int_equal(get_le64(bytes + 16), 0x00c093000000ffff);
		assert_int_equal(bytes[32] | bytes[3 * 4096 - 1], 0);
		assert_false(read_pages(&ig, 0x709000, bytes, 4096));
		free(image);
	}
}

/* Each header in the firmware is believed only as far as the file reaches. */
static void uefi_refused(void **state)
{
	static const struct {
		u64 at;
		u32 value, size;
		const char *text;
	} cases[] = {
		{UEFI_SEC_VOLUME + 0x28, 0, 4, "no firmware volume"},
		{UEFI_SEC_VOLUME + 0x20, 0x30000, 4, "damaged"}, /* length beyond the file */
		{UEFI_SEC_VOLUME + 0x30, 0, 2, "damaged"},	 /* no header */
		{UEFI_SEC_VOLUME + 0x30, 0xffff, 2, "damaged"},
		{UEFI_SEC_VOLUME + 0x32, 0, 2, "damaged"},	      /* checksum */
		{UEFI_SEC_VOLUME + 0x48 + 0x14, 0, 1, "no SEC core"}, /* file of no bytes */
		{UEFI_SEC_VOLUME + 0x48 + 0x16, 0xff, 1,
		 "no SEC core"},		       /* file beyond the volume */
		{FIX_SEC + 0x12, 7, 1, "no SEC core"}, /* another type */
		{FIX_SEC + 0x16, 0xff, 1, "no SEC core"},
		{FIX_SEC + 0x14, 0x1ff79, 3, "no SEC core"},  /* one byte beyond the volume */
		{FIX_SEC + 0x2c, 0xfd5, 3, "holds no image"}, /* one beyond the file */
		{FIX_SEC + 0x18, 0, 1, "holds no image"},     /* section of no bytes */
		{FIX_SEC + 0x1a, 0xff, 1, "holds no image"},
		{FIX_SEC + 0x2f, 0x19, 1, "holds no image"}, /* another type */
		{FIX_SEC + 0x2c, 5, 3, "no entry point"},    /* section of one byte */
		{FIX_SEC + 0x30, 0, 2, "no entry point"},    /* neither PE nor TE */
		{FIX_SEC + 0x30 + 60, 0xffffffff, 4, "no entry point"},
		{FIX_SEC + 0x30 + 60, 0x1fc, 4, "no entry point"},
		{FIX_SEC + 0x30 + 0x80, 0, 4, "no entry point"},
		{FIX_SEC + 0x30 + 0x80 + 40, 0x1fc, 4, "no entry point"}, /* behind the image */
		{FIX_SEC + 0x30 + 0x80 + 40, 0, 4, "no entry point"},
	};
	struct igvm_error err;
	struct uefi_guest *g = malloc(sizeof(*g));
	u8 *file = malloc(UEFI_BYTES);

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		memcpy(file, uefi_file, UEFI_BYTES);
		memcpy(file + cases[i].at, &cases[i].value, cases[i].size);
		if (!uefi_prepare(g, file, UEFI_BYTES, &err) || !strstr(err.text, cases[i].text))
			fail_msg("case %u: want \"%s\", got \"%s\"", i, cases[i].text, err.text);
	}
	assert_int_equal(uefi_prepare(g, file, UEFI_BYTES - 1, &err), -EINVAL);
	assert_non_null(strstr(err.text, "6291455 bytes"));
	free(file);
	free(g);
}

/* A TE image: its headers are shorter than those that its addresses count from. */
static void uefi_te_image(void **state)
{
	struct uefi_guest *g = malloc(sizeof(*g));
	u8 *te = uefi_file + FIX_SEC + 0x30, old[64];
	struct igvm_error err;

	(void)state;
	memcpy(old, te, sizeof(old));
	uefi_file[FIX_SEC + 0x2f] = 0x12;
	memcpy(te, "VZ", 2);
	put_le16(te + 6, 0x100);
	put_le32(te + 8, 0x220);
	assert_int_equal(uefi_prepare(g, uefi_file, UEFI_BYTES, &err), 0);
	assert_int_equal(g->entry, 0x100000 + FIX_SEC + 0x30 + 0x220 + 40 - 0x100);
	put_le32(te + 8, 0x100 - 41); /* before the image */
	assert_int_equal(uefi_prepare(g, uefi_file, UEFI_BYTES, &err), -EINVAL);
	memcpy(te, old, sizeof(old));
	uefi_file[FIX_SEC + 0x2f] = 0x10;
	free(g);
}

static void sidecar(void **state)
{
	struct blob resource[RESOURCE_COUNT] = {
		[RESOURCE_KERNEL] = {kernel_file, sizeof(kernel_file)},
		[RESOURCE_SHIM] = {shim_file, sizeof(shim_file)},
		[RESOURCE_INITRD] = {initrd_file, sizeof(initrd_file)},
		[RESOURCE_SIDECAR] = {shim_file, sizeof(shim_file)},
	};
	const u64 at = 0x8a00000; /* the next 2 MiB behind the kernel */
	struct igvm_paravisor pv;
	struct igvm_error err;
	struct manifest m;
	struct igvm ig;
	void *image;
	size_t len;

	(void)state;
	assert_int_equal(manifest_parse(&m, FILE_OF(SNP), strlen(FILE_OF(SNP)), &err), 0);
	assert_int_equal(image_build(&m, resource, &image, &len, &err), 0);
	manifest_free(&m);
	assert_int_equal(igvm_open(&ig, image, len, &err), 0);
	assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, &err), 0);
	assert_int_equal(pv.shim_gpa, at + 0x3000);
	assert_int_equal(pv.shim_gpa + (u64)pv.params.sidecar, at);
	assert_int_equal(pv.params.sidecar_size, 0x3000);
	assert_int_equal(pv.shim_gpa + (u64)pv.params.sidecar_entry, at + 0x120);
	free(image);
}

/* The boot shim's own checks, on what it would find in memory */
static void shim_accepts_images(void **state)
{
	static const struct {
		const char *json;
		enum shim_isolation isolation;
	} cases[] = {
		{RELEASE, SHIM_ISOLATION_NONE_OR_VBS},
		{FILE_OF(VBS), SHIM_ISOLATION_NONE_OR_VBS},
		{FILE_OF(SNP), SHIM_ISOLATION_SNP},
		{FILE_OF(TDX), SHIM_ISOLATION_TDX},
		{FILE_OF(TDX_CONFIG(false, true, ",\"uefi\":true")), SHIM_ISOLATION_TDX},
		{FILE_OF(SNP_CONFIG(false, normal, enabled, ",\"linux\":{\"use_initrd\":true}")),
		 SHIM_ISOLATION_SNP},
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		struct shim_imported_regions page;
		static struct imported_list list;
		struct igvm_paravisor pv;
		struct shim_image shim;
		struct shim_error shim_err;
		struct igvm_error err;
		struct igvm ig;
		size_t len, shared = 0;
		void *image = must_build(cases[i].json, &len, &ig);

		assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, &err), 0);
		if (shim_image_check(&shim, &pv.params,
				     (struct addr_range){pv.shim_gpa, pv.shim_gpa + 0x3000},
				     pv.params_gpa, &shim_err))
			fail_msg("case %u: %s", i, shim_err.text);
		assert_int_equal(shim.isolation, cases[i].isolation);
		assert_int_equal(shim.bounce.end - shim.bounce.start,
				 cases[i].isolation == SHIM_ISOLATION_NONE_OR_VBS ? 0 : 2 * MiB);
		assert_true(read_pages(&ig, pv.imported_gpa, &page, sizeof(page)));
		assert_int_equal(imported_list_read(&list, &page, &shim_err), 0);
		/* What it has to accept and check is kernel and initrd. */
		for (u32 r = 0; r < list.count; r++) {
			struct addr_range range = list.entry[r].range;

			if (list.entry[r].accepted)
				continue;
			assert_true((range.start >= shim.kernel.start &&
				     range.end <= shim.kernel.end) ||
				    range.start == shim.initrd.start);
			shared += (range.end - range.start) / 4096;
		}
		assert_int_equal(shared, cases[i].isolation == SHIM_ISOLATION_NONE_OR_VBS ? 0 : 8);
		free(image);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernel_without_room_for_hashes),
		cmocka_unit_test(uefi_refused),
		cmocka_unit_test(snp_headers),
		cmocka_unit_test(snp_pages),
		cmocka_unit_test(snp_vmsa),
		cmocka_unit_test(snp_cpuid_page),
		cmocka_unit_test(snp_page_tables),
		cmocka_unit_test(snp_variants),
		cmocka_unit_test(tdx_headers),
		cmocka_unit_test(tdx_pages),
		cmocka_unit_test(tdx_reset_context),
		cmocka_unit_test(tdx_reset_code),
		cmocka_unit_test(vbs_is_like_none),
		cmocka_unit_test(several_platforms),
		cmocka_unit_test(same_bytes_every_time),
		cmocka_unit_test(product_policy),
		cmocka_unit_test(linux_payload),
		cmocka_unit_test(uefi_payload),
		cmocka_unit_test(uefi_te_image),
		cmocka_unit_test(sidecar),
		cmocka_unit_test(shim_accepts_images),
	};

	return cmocka_run_group_tests_name("igvm_build_cvm", tests, setup, NULL);
}
