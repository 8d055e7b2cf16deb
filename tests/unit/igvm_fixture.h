/* Images for the tests of measurement and signing. All results: free() them. */
#ifndef PARAPET_TESTS_UNIT_IGVM_FIXTURE_H
#define PARAPET_TESTS_UNIT_IGVM_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/igvm.h"

#define FIXTURE_VSM    1u
#define FIXTURE_SNP    2u
#define FIXTURE_TDX    4u
#define FIXTURE_ALL    7u
#define FIXTURE_POLICY 0x3001full

static inline void fixture_platform(struct igvm_writer *w, enum igvm_platform_type type, u32 mask)
{
	struct igvm_supported_platform p = {
		.mask = mask, .highest_vtl = 2, .platform_type = (u8)type, .platform_version = 1};

	igvm_write_platform(w, &p);
}

static inline struct igvm_writer *fixture_begin(u32 policy_mask)
{
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	struct igvm_guest_policy policy = {.policy = FIXTURE_POLICY, .mask = policy_mask};

	fixture_platform(w, IGVM_PLATFORM_VSM, FIXTURE_VSM);
	fixture_platform(w, IGVM_PLATFORM_SEV_SNP, FIXTURE_SNP);
	fixture_platform(w, IGVM_PLATFORM_TDX, FIXTURE_TDX);
	if (policy_mask)
		igvm_write(w, IGVM_GUEST_POLICY, &policy, sizeof(policy), NULL, 0);
	return w;
}

static inline u8 *fixture_end(struct igvm_writer *w, size_t *len)
{
	struct igvm_error err;
	void *out;

	if (igvm_writer_finish(w, &out, len, &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	igvm_writer_free(w);
	return out;
}

static inline void fixture_page(struct igvm_writer *w, u64 gpa, u32 flags, u8 fill)
{
	u8 page[4096];

	memset(page, fill, sizeof(page));
	igvm_write_page(w, gpa, FIXTURE_ALL, flags, IGVM_PAGE_NORMAL, page, sizeof(page));
}

static inline void fixture_vmsa(struct igvm_writer *w, u32 mask)
{
	struct igvm_vp_context vp = {.gpa = 0x5000, .mask = mask};
	u8 page[4096] = {0};

	put_le64(page + 0x178, 0x1234); /* RIP */
	igvm_write(w, IGVM_VP_CONTEXT, &vp, sizeof(vp), page, sizeof(page));
}

static inline void fixture_registers(struct igvm_writer *w)
{
	static const struct igvm_register regs[] = {
		{.vtl = 2, .name = IGVM_X64_RIP, .u.value = 0x1234},
		{.vtl = 2,
		 .name = IGVM_X64_GDTR,
		 .form = IGVM_REG_TABLE,
		 .u.table = {.base = 0x9000, .limit = 0x1f}},
	};

	igvm_write_registers(w, FIXTURE_VSM, regs, ARRAY_SIZE(regs));
}

static inline u8 *fixture_five_pages(size_t *len)
{
	struct igvm_writer *w = fixture_begin(FIXTURE_SNP);

	igvm_write_area(w, 0, 0x2000, NULL, 0);
	fixture_vmsa(w, FIXTURE_SNP);
	fixture_registers(w);
	igvm_write_insert(w, 0x10000, FIXTURE_ALL, 0);
	fixture_page(w, 0x1000, 0, 0xaa);
	igvm_write_page(w, 0x2000, FIXTURE_ALL, 0, IGVM_PAGE_NORMAL, NULL, 0);
	fixture_page(w, 0x3000, IGVM_PAGE_UNMEASURED, 0xbb);
	fixture_page(w, 0x4000, IGVM_PAGE_SHARED, 0xcc);
	fixture_page(w, 0x6000, 0, 0xdd);
	return fixture_end(w, len);
}

static inline u8 *fixture_twelve_pages(size_t *len)
{
	static const u8 data[] = {0, 5};
	struct igvm_writer *w = fixture_begin(FIXTURE_SNP);

	for (u64 page = 0; page < 10; page++)
		igvm_write_page(w, page * 4096, FIXTURE_ALL,
				page < 5 ? 0 : (u32)IGVM_PAGE_UNMEASURED, IGVM_PAGE_NORMAL, data,
				page == 0 || page == 5 ? sizeof(data) : 0);
	igvm_write_page(w, 0xa000, FIXTURE_ALL, 0, IGVM_PAGE_NORMAL, data, sizeof(data));
	igvm_write_page(w, 0x14000, FIXTURE_ALL, IGVM_PAGE_SHARED, IGVM_PAGE_NORMAL, data,
			sizeof(data));
	return fixture_end(w, len);
}

/* Every page and area with content of its own, so that a change is in one place only */
static inline u8 *fixture_distinct_pages(size_t *len)
{
	struct igvm_writer *w = fixture_begin(FIXTURE_SNP);
	u8 area[4096];

	memset(area, 0x77, sizeof(area));
	igvm_write_area(w, 3, 0x3000, area, sizeof(area));
	igvm_write_parameter(w, IGVM_DEVICE_TREE, 3, 0);
	fixture_page(w, 0x1000, 0, 1);
	fixture_page(w, 0x2000, IGVM_PAGE_UNMEASURED, 2);
	fixture_page(w, 0x3000, IGVM_PAGE_SHARED, 3);
	igvm_write_insert(w, 0x10000, FIXTURE_ALL, 3);
	fixture_page(w, 0x4000, 0, 4);
	fixture_vmsa(w, FIXTURE_SNP);
	fixture_registers(w);
	fixture_page(w, 0x6000, 0, 5);
	igvm_write_required(w, 0x100000, FIXTURE_ALL, 0x10000, 0);
	return fixture_end(w, len);
}

static inline u8 *fixture_one_page(const struct igvm_page_data *page, size_t *len)
{
	struct igvm_writer *w = fixture_begin(FIXTURE_SNP);
	u8 data[16] = "one page";

	igvm_write(w, IGVM_PAGE_DATA, page, sizeof(*page), data, sizeof(data));
	return fixture_end(w, len);
}

static inline u8 *fixture_without_policy(size_t *len)
{
	struct igvm_writer *w = fixture_begin(0);

	fixture_page(w, 0x1000, 0, 1);
	return fixture_end(w, len);
}

/* 2 MiB of zeros as one page, or as 512 */
static inline u8 *fixture_zero_range(bool large, size_t *len)
{
	struct igvm_writer *w = fixture_begin(FIXTURE_SNP);

	for (u64 at = 0; at < 2 * MiB; at += large ? 2 * MiB : 4096)
		igvm_write_page(w, 2 * MiB + at, FIXTURE_ALL, large ? (u32)IGVM_PAGE_2MB : 0,
				IGVM_PAGE_NORMAL, NULL, 0);
	return fixture_end(w, len);
}

static inline u8 *fixture_huge_range(size_t *len)
{
	struct igvm_writer *w = fixture_begin(FIXTURE_SNP);

	for (u64 i = 0; i < 5000; i++)
		igvm_write_page(w, i * 2 * MiB, FIXTURE_ALL, IGVM_PAGE_2MB, IGVM_PAGE_NORMAL, NULL,
				0);
	return fixture_end(w, len);
}

/* The same SNP guest; `merged`: with other mask bits and area numbers, beside a TDX guest */
static inline u8 *fixture_platforms(bool merged, size_t *len)
{
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	u32 snp = merged ? 8 : 1, area = merged ? 7 : 0;
	struct igvm_guest_policy policy = {.policy = FIXTURE_POLICY, .mask = snp};

	if (merged)
		fixture_platform(w, IGVM_PLATFORM_TDX, 1);
	fixture_platform(w, IGVM_PLATFORM_SEV_SNP, snp);
	igvm_write(w, IGVM_GUEST_POLICY, &policy, sizeof(policy), NULL, 0);
	if (merged) {
		igvm_write_area(w, 0, 0x1000, NULL, 0);
		igvm_write_parameter(w, IGVM_VP_COUNT, 0, 0);
		igvm_write_insert(w, 0x10000, 1, 0);
	}
	igvm_write_area(w, area, 0x2000, "text", 4);
	igvm_write_parameter(w, IGVM_DEVICE_TREE, area, 0x1000);
	igvm_write_insert(w, 0x10000, snp, area);
	igvm_write_page(w, 0x1000, snp, IGVM_PAGE_SHARED, IGVM_PAGE_NORMAL, "shared", 6);
	return fixture_end(w, len);
}

static inline u8 *fixture_sev_es(size_t *len)
{
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	struct igvm_vp_context vp = {.gpa = 0x5000, .mask = 1};
	u8 page[4096];

	fixture_platform(w, IGVM_PLATFORM_SEV_ES, 1);
	memset(page, 0xaa, sizeof(page));
	igvm_write_page(w, 0x1000, 1, 0, IGVM_PAGE_NORMAL, page, sizeof(page));
	igvm_write_page(w, 0x2000, 1, 0, IGVM_PAGE_NORMAL, NULL, 0);
	memset(page, 0, sizeof(page));
	page[0x178] = 0x34;
	igvm_write(w, IGVM_VP_CONTEXT, &vp, sizeof(vp), page, sizeof(page));
	return fixture_end(w, len);
}

#endif
