/*
 * IGVM files for tests: samples that hold every header type, and a builder of raw files that
 * writes what it is told to, for files as other programs lay them out. Include after cmocka.h.
 */
#ifndef PARAPET_TESTS_UNIT_IGVM_SAMPLES_H
#define PARAPET_TESTS_UNIT_IGVM_SAMPLES_H

#include <stdlib.h>
#include <string.h>

#include "tests/unit/igvm_repair.h"

/* The nth header of that type (any type: 0) */
static inline bool find_header(const struct igvm *ig, u32 type, u32 nth, struct igvm_header *h)
{
	struct igvm_iter it;

	for (igvm_first(ig, &it); igvm_next_of(&it, type, 0, h);) {
		if (nth-- == 0)
			return true;
	}
	return false;
}

/* Platform bits of the samples */
enum { VSM = 1, SNP = 2, TDX = 4, NATIVE = 8, SEV = 16, SEV_ES = 32, CCA = 2 };

#define SAMPLE_BASE 0x8000000ull

/* struct, as a header without data */
#define PUT(w, type, ...)                                          \
	do {                                                       \
		__auto_type put_ = (__VA_ARGS__);                  \
		igvm_write(w, type, &put_, sizeof(put_), NULL, 0); \
	} while (0)

static inline void put_sample_areas(struct igvm_writer *w, u32 mask)
{
	static const enum igvm_type types[] = {
		IGVM_VP_COUNT,	  IGVM_ENVIRONMENT_INFO,
		IGVM_MMIO_RANGES, IGVM_SRAT,
		IGVM_MADT,	  IGVM_SLIT,
		IGVM_PPTT,	  IGVM_COMMAND_LINE,
		IGVM_DEVICE_TREE,
	};

	igvm_write_area(w, 0, 0x2000, NULL, 0);
	igvm_write_area(w, 7, 0x1000, "initial", 7);
	for (u32 i = 0; i < ARRAY_SIZE(types); i++)
		igvm_write_parameter(w, types[i], 0, i * 64);
	igvm_write_parameter(w, IGVM_MEMORY_MAP, 7, 0x10);
	igvm_write_insert(w, SAMPLE_BASE + 0x4000, mask, 0);
	igvm_write_insert(w, SAMPLE_BASE + 0x6000, mask, 7);
}

static inline void put_sample_pages(struct igvm_writer *w, u32 mask)
{
	u8 page[4096];

	for (u32 i = 0; i < 3; i++) {
		memset(page, (int)(0x11 * (i / 2 + 1)), sizeof(page));
		igvm_write_page(w, SAMPLE_BASE + i * 0x1000, mask, 0, IGVM_PAGE_NORMAL, page,
				sizeof(page));
	}
	igvm_write_page(w, SAMPLE_BASE + 0x3000, mask, IGVM_PAGE_UNMEASURED, IGVM_PAGE_NORMAL, NULL,
			0);
	igvm_write_page(w, SAMPLE_BASE + 0x10000, mask, 0, IGVM_PAGE_NORMAL, "x", 1);
	igvm_write_page(w, 0x10000000, mask, IGVM_PAGE_2MB, IGVM_PAGE_NORMAL, NULL, 0);
	PUT(w, IGVM_ERROR_RANGE,
	    (struct igvm_error_range){.gpa = 0x20000000, .mask = mask, .size_bytes = 0x2000});
}

/* All platforms of x64 and every header type that x64 has; version 1 or 2. free() it. */
static inline u8 *x64_sample(u32 version, size_t *len)
{
	static const struct igvm_register registers[] = {
		{.vtl = 2,
		 .name = IGVM_X64_GDTR,
		 .form = IGVM_REG_TABLE,
		 .u.table = {.base = SAMPLE_BASE, .limit = 0x1f}},
		{.vtl = 2,
		 .name = IGVM_X64_CS,
		 .form = IGVM_REG_SEGMENT,
		 .u.segment = {.limit = 0xffffffff, .selector = 0x10, .attributes = 0xa09b}},
		{.vtl = 2, .name = IGVM_X64_CR3, .u.value = SAMPLE_BASE + 0x10000},
		{.vtl = 2, .name = IGVM_X64_RIP, .u.value = SAMPLE_BASE + 0x2000},
	};
	static const struct igvm_register vtl0_registers[] = {
		{.vtl = 0, .name = IGVM_X64_RIP, .u.value = 0xfff0}};
	struct igvm_writer *w = igvm_writer_new(version, IGVM_ARCH_X64);
	u32 all = VSM | SNP | TDX | NATIVE | SEV | SEV_ES;
	struct igvm_snp_id_block id = {
		.mask = SNP, .version = 1, .id_key_algorithm = 1, .id_public_key = {.curve = 2}};
	struct igvm_vbs_measurement vbs = {.mask = VSM, .version = 1, .boot_digest_algo = 1};
	struct igvm_corim corim = {.mask = SNP | TDX};
	struct igvm_vp_context vp = {.gpa = 0xfffffffff000, .mask = SNP};
	struct igvm_native_context native = {
		.rip = 0x1000, .code_attributes = 0xc09b, .data_attributes = 0xc093};
	u8 context[4096] = {0};
	struct igvm_error err;
	void *out;

	for (u32 type = 0; type < IGVM_PLATFORM_CCA; type++) {
		static const u32 bits[] = {NATIVE, VSM, SNP, TDX, SEV, SEV_ES};

		PUT(w, IGVM_SUPPORTED_PLATFORM,
		    (struct igvm_supported_platform){
			    .mask = bits[type],
			    .highest_vtl = type <= IGVM_PLATFORM_TDX && type ? 2 : 0,
			    .platform_type = (u8)type,
			    .platform_version = 1,
			    .shared_gpa_boundary = type >= IGVM_PLATFORM_SEV_SNP ? 1ull << 46 : 0});
	}
	PUT(w, IGVM_GUEST_POLICY, (struct igvm_guest_policy){.policy = 0x3001f, .mask = SNP});
	PUT(w, IGVM_GUEST_POLICY, (struct igvm_guest_policy){.policy = 2, .mask = TDX});
	PUT(w, IGVM_RELOCATABLE_REGION,
	    (struct igvm_relocatable_region){.mask = VSM,
					     .vtl = 2,
					     .flags = 7,
					     .alignment = 2 * MiB,
					     .gpa = SAMPLE_BASE,
					     .size = 0x10000,
					     .minimum_gpa = SAMPLE_BASE,
					     .maximum_gpa = 1ull << 48});
	PUT(w, IGVM_PAGE_TABLE_RELOCATION,
	    (struct igvm_page_table_relocation){.mask = VSM,
						.vtl = 2,
						.gpa = SAMPLE_BASE + 0x10000,
						.size = 0x7000,
						.used_size = 0x3000});
	corim.size_bytes = 9;
	igvm_write(w, IGVM_CORIM_DOCUMENT, &corim, sizeof(corim), "document", 9);
	corim.size_bytes = 11;
	igvm_write(w, IGVM_CORIM_SIGNATURE, &corim, sizeof(corim), "signature!", 11);
	igvm_write(w, 0x80000107, "optional", 8, NULL, 0);
	igvm_write_required(w, SAMPLE_BASE, VSM | SNP | TDX, 48 * MiB,
			    IGVM_MEMORY_VTL2_PROTECTABLE);
	put_sample_areas(w, all);
	igvm_write_registers(w, VSM, registers, ARRAY_SIZE(registers));
	igvm_write_registers(w, VSM, vtl0_registers, ARRAY_SIZE(vtl0_registers));
	put_le64(context + 0x178, 0x8002000);
	igvm_write(w, IGVM_VP_CONTEXT, &vp, sizeof(vp), context, sizeof(context));
	vp.vp_index = 1;
	igvm_write(w, IGVM_VP_CONTEXT, &vp, sizeof(vp), context, sizeof(context));
	vp = (struct igvm_vp_context){.mask = SEV_ES};
	igvm_write(w, IGVM_VP_CONTEXT, &vp, sizeof(vp), context, sizeof(context));
	memset(context, 0, sizeof(context));
	memcpy(context, &native, sizeof(native));
	vp.mask = NATIVE;
	igvm_write(w, IGVM_VP_CONTEXT, &vp, sizeof(vp), context, sizeof(context));
	vp.mask = SEV;
	igvm_write(w, IGVM_VP_CONTEXT, &vp, sizeof(vp), context, sizeof(context));
	put_sample_pages(w, all);
	igvm_write_page(w, 0x30000000, SNP, 0, IGVM_PAGE_SECRETS, NULL, 0);
	igvm_write_page(w, 0x30001000, SNP, 0, IGVM_PAGE_CPUID_DATA, "cpuid", 5);
	igvm_write_page(w, 0x30002000, SNP, 0, IGVM_PAGE_CPUID_XF, NULL, 0);
	igvm_write_page(w, 0x30003000, SNP | TDX, IGVM_PAGE_SHARED, IGVM_PAGE_NORMAL, "shared", 6);
	PUT(w, IGVM_SNP_ID_BLOCK, id);
	PUT(w, IGVM_VBS_MEASUREMENT, vbs);
	igvm_write(w, 0x80000377, "1234567", 7, NULL, 0);
	if (igvm_writer_finish(w, &out, len, &err))
		fail_msg("sample: header %u: %s", err.header, err.text);
	igvm_writer_free(w);
	return out;
}

/* Both platforms of AArch64; free() it. */
static inline u8 *aarch64_sample(size_t *len)
{
	static const struct igvm_register registers[] = {
		{.vtl = 2, .name = IGVM_AARCH64_PC, .u.value = SAMPLE_BASE + 0x2000},
		{.vtl = 2, .name = IGVM_AARCH64_TTBR0, .u.value = SAMPLE_BASE + 0x10001},
	};
	struct igvm_writer *w = igvm_writer_new(2, IGVM_ARCH_AARCH64);
	struct igvm_vp_context vp = {.mask = CCA, .vp_index = 0xabcd};
	u8 context[4096] = {1, 2, 3};
	struct igvm_error err;
	void *out;

	PUT(w, IGVM_SUPPORTED_PLATFORM,
	    (struct igvm_supported_platform){.mask = VSM,
					     .highest_vtl = 2,
					     .platform_type = IGVM_PLATFORM_VSM,
					     .platform_version = 1});
	PUT(w, IGVM_SUPPORTED_PLATFORM,
	    (struct igvm_supported_platform){
		    .mask = CCA, .platform_type = IGVM_PLATFORM_CCA, .platform_version = 1});
	PUT(w, IGVM_CCA_POLICY,
	    (struct igvm_cca_policy){.mask = CCA,
				     .required_zeroes = 2,
				     .required_ones = 1,
				     .hash_algorithm = 1,
				     .lfa_policy = 1});
	PUT(w, IGVM_PAGE_TABLE_RELOCATION,
	    (struct igvm_page_table_relocation){.mask = VSM,
						.vtl = 2,
						.gpa = SAMPLE_BASE + 0x10000,
						.size = 0x7000,
						.used_size = 0x3000});
	put_sample_areas(w, VSM | CCA);
	igvm_write_registers(w, VSM, registers, ARRAY_SIZE(registers));
	igvm_write(w, IGVM_VP_CONTEXT, &vp, sizeof(vp), context, sizeof(context));
	put_sample_pages(w, VSM | CCA);
	if (igvm_writer_finish(w, &out, len, &err))
		fail_msg("sample: header %u: %s", err.header, err.text);
	igvm_writer_free(w);
	return out;
}

/* --- raw files: every byte as the caller says */

struct raw {
	u8 file[1 << 17];
	u32 len;     /* of what is there */
	u32 headers; /* offset of the variable headers */
};

/* gap: bytes between fixed and variable headers */
static inline void raw_begin(struct raw *r, u32 version, u32 arch, u32 gap)
{
	memset(r, 0, sizeof(*r));
	put_le32(r->file, IGVM_MAGIC);
	put_le32(r->file + 4, version);
	r->headers = r->len = (version == 2 ? 32 : 24) + gap;
	if (version == 2) {
		put_le32(r->file + 0x18, arch);
		put_le32(r->file + 0x1c, IGVM_PAGE_SIZE);
	}
}

/* Returns the offset of the content. */
static inline u32 raw_header(struct raw *r, u32 type, const void *content, u32 length, u8 padding)
{
	u32 at = r->len + 8;

	put_le32(r->file + r->len, type);
	put_le32(r->file + r->len + 4, length);
	memcpy(r->file + at, content, length);
	memset(r->file + at + length, padding, ALIGN_UP(length, 8) - length);
	r->len = at + (u32)ALIGN_UP(length, 8);
	return at;
}
#define RAW(r, type, ...)                                    \
	({                                                   \
		__auto_type raw_ = (__VA_ARGS__);            \
		raw_header(r, type, &raw_, sizeof(raw_), 0); \
	})

static inline void raw_end_headers(struct raw *r)
{
	put_le32(r->file + 8, r->headers);
	put_le32(r->file + 12, r->len - r->headers);
}

/* Appends data and lets the u32 at `pointer` (0: none) point to it. */
static inline void raw_data(struct raw *r, u32 pointer, const void *data, u32 len)
{
	if (pointer)
		put_le32(r->file + pointer, r->len);
	memcpy(r->file + r->len, data, len);
	r->len += len;
}

static inline void raw_end(struct raw *r)
{
	put_le32(r->file + 0x10, r->len);
	fix_checksum(r->file);
}

#endif
