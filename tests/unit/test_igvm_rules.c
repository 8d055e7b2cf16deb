/*
 * The rules of the IGVM format, one row each: what the rule says, how a file breaks it, what the
 * error says. The rows change single fields of a file that holds every header type.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "tests/unit/igvm_samples.h"

#define FIXED_HEADER	  0xffff0000u /* instead of a type: offset counts from the file's start */
#define TLV_TYPE	  (-8)
#define TLV_LENGTH	  (-4)
#define KEEP_CHECKSUM	  BIT(0)
#define FIELD(type, name) offsetof(struct type, name), sizeof(((struct type *)0)->name)

struct row {
	const char *rule;
	u32 type, nth; /* header to be changed */
	int offset;    /* in its content */
	u32 size;      /* of the field */
	u64 value;
	const char *text; /* NULL: the file stays valid */
	u32 flags;
};

static const struct row x64_rows[] = {
	{"magic", FIXED_HEADER, 0, 0, 4, 0x4d564748, "not an IGVM file"},
	{"version 1 or 2", FIXED_HEADER, 0, 4, 4, 3, "format version 3"},
	{"headers begin behind the fixed header", FIXED_HEADER, 0, 8, 4, 24, "wrong offset"},
	{"headers begin at a multiple of 8", FIXED_HEADER, 0, 8, 4, 36, "wrong offset"},
	{"headers end inside the file", FIXED_HEADER, 0, 12, 4, 0x7ffffff8, "does not fit",
	 KEEP_CHECKSUM},
	{"no wrap of offset + size", FIXED_HEADER, 0, 12, 4, 0xfffffff0, "does not fit",
	 KEEP_CHECKSUM},
	{"headers are a multiple of 8", FIXED_HEADER, 0, 12, 4, 0x104, "does not fit"},
	{"total size", FIXED_HEADER, 0, 16, 4, 0x1000, "truncated or damaged"},
	{"checksum", FIXED_HEADER, 0, 20, 4, 0, "checksum", KEEP_CHECKSUM},
	{"known architecture", FIXED_HEADER, 0, 24, 4, 2, "architecture 2"},
	{"pages of 4096 bytes", FIXED_HEADER, 0, 28, 4, 16384, "page size 16384"},

	{"type 0 is invalid", IGVM_PAGE_DATA, 0, TLV_TYPE, 4, 0, "unknown header type"},
	{"type 0x306 is never used", IGVM_PAGE_DATA, 0, TLV_TYPE, 4, 0x306, "unknown header type"},
	{"types between sections", IGVM_PAGE_DATA, 0, TLV_TYPE, 4, 0x250, "unknown header type"},
	{"types behind all sections", IGVM_PAGE_DATA, 0, TLV_TYPE, 4, 0x401, "unknown header type"},
	{"unknown type of a section", IGVM_GUEST_POLICY, 0, TLV_TYPE, 4, 0x1ff, "unknown header"},
	{"optional type", IGVM_ERROR_RANGE, 0, TLV_TYPE, 4, 0x80000301, NULL},
	{"optional type without section", IGVM_ERROR_RANGE, 0, TLV_TYPE, 4, 0x80000999, NULL},
	{"optional types keep the order too", IGVM_ERROR_RANGE, 0, TLV_TYPE, 4, 0x80000101,
	 "later section"},
	{"sections in order: platform", IGVM_ERROR_RANGE, 0, TLV_TYPE, 4, 1, "later section"},
	{"sections in order: init", IGVM_ERROR_RANGE, 0, TLV_TYPE, 4, 0x101, "later section"},
	{"exact length", IGVM_PAGE_DATA, 0, TLV_LENGTH, 4, 16, "must be 24"},
	{"length inside the section", IGVM_PAGE_DATA, 0, TLV_LENGTH, 4, 0xffffff00,
	 "passes the end"},
	{"length of an optional type", 0x80000377, 0, TLV_LENGTH, 4, 9, "passes the end"},
	{"padding is zero", IGVM_VP_CONTEXT, 0, 20, 4, 1, "padding"},
	{"padding is one digit only", IGVM_VP_CONTEXT, 0, 20, 4, 0x30003030, "padding"},
	{"padding of igvm-tooling", IGVM_VP_CONTEXT, 0, 20, 4, 0x30303030, NULL},

	{"platform mask has one bit", IGVM_SUPPORTED_PLATFORM, 1,
	 FIELD(igvm_supported_platform, mask), 0x41, "must be one bit"},
	{"platform mask is not 0", IGVM_SUPPORTED_PLATFORM, 1, FIELD(igvm_supported_platform, mask),
	 0, "must be one bit"},
	{"platform masks differ", IGVM_SUPPORTED_PLATFORM, 1, FIELD(igvm_supported_platform, mask),
	 8, "two platforms"},
	{"highest VTL 0 or 2", IGVM_SUPPORTED_PLATFORM, 1,
	 FIELD(igvm_supported_platform, highest_vtl), 1, "highest VTL 1"},
	{"known platform type", IGVM_SUPPORTED_PLATFORM, 1,
	 FIELD(igvm_supported_platform, platform_type), 7, "platform type 7"},
	{"each platform type once", IGVM_SUPPORTED_PLATFORM, 1,
	 FIELD(igvm_supported_platform, platform_type), 0, "occurs twice"},
	{"platform of the architecture", IGVM_SUPPORTED_PLATFORM, 1,
	 FIELD(igvm_supported_platform, platform_type), 6, "does not exist"},
	{"platform version 1", IGVM_SUPPORTED_PLATFORM, 1,
	 FIELD(igvm_supported_platform, platform_version), 2, "version 2"},
	{"no boundary on native", IGVM_SUPPORTED_PLATFORM, 0,
	 FIELD(igvm_supported_platform, shared_gpa_boundary), 4096, "boundary"},
	{"no boundary on VSM", IGVM_SUPPORTED_PLATFORM, 1,
	 FIELD(igvm_supported_platform, shared_gpa_boundary), 4096, "boundary"},
	{"any boundary on SNP", IGVM_SUPPORTED_PLATFORM, 2,
	 FIELD(igvm_supported_platform, shared_gpa_boundary), 12345, NULL},

	{"mask is not 0", IGVM_PAGE_DATA, 0, FIELD(igvm_page_data, mask), 0, "mask 0"},
	{"mask bits of no platform", IGVM_PAGE_DATA, 0, FIELD(igvm_page_data, mask), 0x8000003f,
	 NULL},
	{"mask of no platform at all", IGVM_PAGE_DATA, 0, FIELD(igvm_page_data, mask), 0x80000000,
	 NULL},

	{"policy: reserved", IGVM_GUEST_POLICY, 0, FIELD(igvm_guest_policy, reserved), 1,
	 "reserved"},
	{"policy: once", IGVM_GUEST_POLICY, 1, FIELD(igvm_guest_policy, mask), SNP, "second guest"},
	{"policy: ignored where there is none", IGVM_GUEST_POLICY, 1,
	 FIELD(igvm_guest_policy, mask), VSM, NULL},
	{"CCA policy on AArch64 only", 0x80000107, 0, TLV_TYPE, 4, IGVM_CCA_POLICY, "must be 32"},

	{"region: flags", IGVM_RELOCATABLE_REGION, 0, FIELD(igvm_relocatable_region, flags), 8,
	 "unknown flags"},
	{"region: alignment not 0", IGVM_RELOCATABLE_REGION, 0,
	 FIELD(igvm_relocatable_region, alignment), 0, "must be multiples"},
	{"region: alignment of pages", IGVM_RELOCATABLE_REGION, 0,
	 FIELD(igvm_relocatable_region, alignment), 0x800, "must be multiples"},
	{"region: size not 0", IGVM_RELOCATABLE_REGION, 0, FIELD(igvm_relocatable_region, size), 0,
	 "must be multiples"},
	{"region: size of pages", IGVM_RELOCATABLE_REGION, 0, FIELD(igvm_relocatable_region, size),
	 0x10001, "must be multiples"},
	{"region: address aligned", IGVM_RELOCATABLE_REGION, 0, FIELD(igvm_relocatable_region, gpa),
	 0x8001000, "not a multiple of the alignment"},
	{"region: minimum aligned", IGVM_RELOCATABLE_REGION, 0,
	 FIELD(igvm_relocatable_region, minimum_gpa), 0x8001000, "not a multiple"},
	{"region: maximum aligned", IGVM_RELOCATABLE_REGION, 0,
	 FIELD(igvm_relocatable_region, maximum_gpa), 0x88001000, "not a multiple"},
	{"region: fits its range", IGVM_RELOCATABLE_REGION, 0,
	 FIELD(igvm_relocatable_region, maximum_gpa), SAMPLE_BASE, "does not fit"},
	{"region: no wrap", IGVM_RELOCATABLE_REGION, 0, FIELD(igvm_relocatable_region, size),
	 ~0xfffull, "does not fit"},
	{"region: VP 0", IGVM_RELOCATABLE_REGION, 0, FIELD(igvm_relocatable_region, vp_index), 1,
	 "virtual processor 1"},
	{"region: VTL exists", IGVM_RELOCATABLE_REGION, 0, FIELD(igvm_relocatable_region, vtl), 3,
	 "VTL 3"},
	{"region: VTL has a context", IGVM_RELOCATABLE_REGION, 0,
	 FIELD(igvm_relocatable_region, vtl), 1, "without a VP context"},
	{"region: VSM only", IGVM_RELOCATABLE_REGION, 0, FIELD(igvm_relocatable_region, mask),
	 VSM | SNP, "only the VSM platform"},
	{"region: no overlap", IGVM_RELOCATABLE_REGION, 0, FIELD(igvm_relocatable_region, size),
	 0x11000, "overlaps that of header"},

	{"tables: reserved", IGVM_PAGE_TABLE_RELOCATION, 0,
	 FIELD(igvm_page_table_relocation, reserved), 1, "reserved"},
	{"tables: address of a page", IGVM_PAGE_TABLE_RELOCATION, 0,
	 FIELD(igvm_page_table_relocation, gpa), SAMPLE_BASE + 0x10800, "wrong address or size"},
	{"tables: size of pages", IGVM_PAGE_TABLE_RELOCATION, 0,
	 FIELD(igvm_page_table_relocation, size), 0x7001, "wrong address or size"},
	{"tables: size not 0", IGVM_PAGE_TABLE_RELOCATION, 0,
	 FIELD(igvm_page_table_relocation, size), 0, "wrong address or size"},
	{"tables: used pages", IGVM_PAGE_TABLE_RELOCATION, 0,
	 FIELD(igvm_page_table_relocation, used_size), 0x2800, "wrong address or size"},
	{"tables: used not more than size", IGVM_PAGE_TABLE_RELOCATION, 0,
	 FIELD(igvm_page_table_relocation, used_size), 0x8000, "wrong address or size"},
	{"tables: hold the root", IGVM_PAGE_TABLE_RELOCATION, 0,
	 FIELD(igvm_page_table_relocation, gpa), SAMPLE_BASE + 0x11000, "CR3 does not point"},
	{"tables: no overlap", IGVM_PAGE_TABLE_RELOCATION, 0,
	 FIELD(igvm_page_table_relocation, gpa), SAMPLE_BASE + 0xf000, "overlaps that of header"},
	{"tables: VTL has a context", IGVM_PAGE_TABLE_RELOCATION, 0,
	 FIELD(igvm_page_table_relocation, vtl), 1, "without a VP context"},

	{"CoRIM: reserved", IGVM_CORIM_DOCUMENT, 0, FIELD(igvm_corim, reserved), 1, "reserved"},
	{"CoRIM: has data", IGVM_CORIM_DOCUMENT, 0, FIELD(igvm_corim, file_offset), 0,
	 "without data"},
	{"CoRIM: data in the file", IGVM_CORIM_DOCUMENT, 0, FIELD(igvm_corim, size_bytes),
	 0x40000000, "pass the end"},
	{"CoRIM: document in front", IGVM_CORIM_DOCUMENT, 0, FIELD(igvm_corim, mask), VSM,
	 "without a document"},
	{"CoRIM: one document", IGVM_CORIM_SIGNATURE, 0, TLV_TYPE, 4, IGVM_CORIM_DOCUMENT,
	 "second CoRIM document"},
	{"CoRIM: one signature", IGVM_CORIM_DOCUMENT, 0, TLV_TYPE, 4, IGVM_CORIM_SIGNATURE,
	 "without a document"},

	{"area: whole pages", IGVM_PARAMETER_AREA, 0, FIELD(igvm_parameter_area, number_of_bytes),
	 0x1800, "whole pages"},
	{"area: not empty", IGVM_PARAMETER_AREA, 0, FIELD(igvm_parameter_area, number_of_bytes), 0,
	 "whole pages"},
	{"area: limit", IGVM_PARAMETER_AREA, 0, FIELD(igvm_parameter_area, number_of_bytes),
	 1ull << 40, "more than 64 MiB"},
	{"area: each index once", IGVM_PARAMETER_AREA, 1, FIELD(igvm_parameter_area, index), 0,
	 "declared twice"},
	{"area: data in the file", IGVM_PARAMETER_AREA, 1,
	 FIELD(igvm_parameter_area, number_of_bytes), 0x200000, "pass the end"},
	{"parameter: area exists", IGVM_MADT, 0, FIELD(igvm_parameter, area), 1, "not declared"},
	{"parameter: fits, u32", IGVM_VP_COUNT, 0, FIELD(igvm_parameter, byte_offset), 0x1ffd,
	 "does not fit"},
	{"parameter: fits, last place", IGVM_VP_COUNT, 0, FIELD(igvm_parameter, byte_offset),
	 0x1ffc, NULL},
	{"parameter: fits, ranges", IGVM_MMIO_RANGES, 0, FIELD(igvm_parameter, byte_offset), 0x1fe1,
	 "does not fit"},
	{"parameter: fits, table", IGVM_DEVICE_TREE, 0, FIELD(igvm_parameter, byte_offset), 0x2000,
	 "does not fit"},
	{"insert: area exists", IGVM_PARAMETER_INSERT, 0, FIELD(igvm_parameter_insert, area), 1,
	 "not declared"},
	{"insert: once", IGVM_PARAMETER_INSERT, 1, FIELD(igvm_parameter_insert, area), 0,
	 "already inserted"},
	{"insert: page", IGVM_PARAMETER_INSERT, 0, FIELD(igvm_parameter_insert, gpa), 0x800,
	 "not page aligned"},
	{"insert: no wrap", IGVM_PARAMETER_INSERT, 0, FIELD(igvm_parameter_insert, gpa), ~0xfffull,
	 "address space"},
	{"insert: whole area outside the tables", IGVM_PARAMETER_INSERT, 0,
	 FIELD(igvm_parameter_insert, gpa), SAMPLE_BASE + 0xf000, "page-table region"},
	{"insert: no overlap", IGVM_PARAMETER_INSERT, 1, FIELD(igvm_parameter_insert, gpa),
	 SAMPLE_BASE + 0x5000, "overlaps that of header"},

	{"page: reserved", IGVM_PAGE_DATA, 0, FIELD(igvm_page_data, reserved), 1, "reserved"},
	{"page: flags", IGVM_PAGE_DATA, 0, FIELD(igvm_page_data, flags), 8, "unknown flag"},
	{"page: data type", IGVM_PAGE_DATA, 0, FIELD(igvm_page_data, data_type), 4, "data type 4"},
	{"page: aligned", IGVM_PAGE_DATA, 0, FIELD(igvm_page_data, gpa), 0x800, "not aligned"},
	{"page: 2 MiB aligned", IGVM_PAGE_DATA, 5, FIELD(igvm_page_data, gpa), 0x10001000,
	 "not aligned"},
	{"page: 2 MiB without data", IGVM_PAGE_DATA, 0, FIELD(igvm_page_data, flags), 1,
	 "2 MiB pages with data"},
	{"page: no wrap", IGVM_PAGE_DATA, 0, FIELD(igvm_page_data, gpa), ~0xfffull,
	 "address space"},
	{"page: once", IGVM_PAGE_DATA, 1, FIELD(igvm_page_data, gpa), SAMPLE_BASE,
	 "overlaps that of header"},
	{"page: not in an area", IGVM_PAGE_DATA, 1, FIELD(igvm_page_data, gpa),
	 SAMPLE_BASE + 0x5000, "overlaps that of header"},
	{"page: data behind the headers", IGVM_PAGE_DATA, 0, FIELD(igvm_page_data, file_offset),
	 0x40, "not in the file"},
	{"page: data begins in the file", IGVM_PAGE_DATA, 0, FIELD(igvm_page_data, file_offset),
	 0xffffffff, "not in the file"},
	{"page: without data, zeros", IGVM_PAGE_DATA, 0, FIELD(igvm_page_data, file_offset), 0,
	 NULL},

	{"context: reserved", IGVM_VP_CONTEXT, 0, FIELD(igvm_vp_context, reserved), 1, "reserved"},
	{"context: one platform", IGVM_VP_CONTEXT, 2, FIELD(igvm_vp_context, mask), SNP | SEV_ES,
	 "must be one platform"},
	{"context: declared platform", IGVM_VP_CONTEXT, 2, FIELD(igvm_vp_context, mask), 0x80,
	 "must be one platform"},
	{"context: none on TDX", IGVM_VP_CONTEXT, 4, FIELD(igvm_vp_context, mask), TDX,
	 "has no VP context"},
	{"context: has data", IGVM_VP_CONTEXT, 2, FIELD(igvm_vp_context, file_offset), 0,
	 "without data"},
	{"context: VSM has VP 0 only", IGVM_VP_CONTEXT, 0, FIELD(igvm_vp_context, vp_index), 1,
	 "virtual processor 0 only"},
	{"context: VSM has no address", IGVM_VP_CONTEXT, 0, FIELD(igvm_vp_context, gpa), 4096,
	 "no guest address"},
	{"context: native has no address", IGVM_VP_CONTEXT, 5, FIELD(igvm_vp_context, gpa), 4096,
	 "no guest address"},
	{"context: VMSA on a page", IGVM_VP_CONTEXT, 2, FIELD(igvm_vp_context, gpa), 0x800,
	 "not page aligned"},
	{"context: each VP once", IGVM_VP_CONTEXT, 3, FIELD(igvm_vp_context, vp_index), 0,
	 "second context"},

	{"required: reserved", IGVM_REQUIRED_MEMORY, 0, FIELD(igvm_required_memory, reserved), 1,
	 "reserved"},
	{"required: flags", IGVM_REQUIRED_MEMORY, 0, FIELD(igvm_required_memory, flags), 2,
	 "unknown flag"},
	{"required: address of a page", IGVM_REQUIRED_MEMORY, 0, FIELD(igvm_required_memory, gpa),
	 1, "range of pages"},
	{"required: size of pages", IGVM_REQUIRED_MEMORY, 0,
	 FIELD(igvm_required_memory, number_of_bytes), 0x1001, "range of pages"},
	{"required: no wrap", IGVM_REQUIRED_MEMORY, 0, FIELD(igvm_required_memory, gpa), ~0xfffull,
	 "range of pages"},
	{"required: VTL2 memory where there is no VTL2", IGVM_REQUIRED_MEMORY, 0,
	 FIELD(igvm_required_memory, mask), NATIVE, NULL},

	{"ID block: SNP only", IGVM_SNP_ID_BLOCK, 0, FIELD(igvm_snp_id_block, mask), VSM,
	 "SEV-SNP platform only"},
	{"ID block: flag 0 or 1", IGVM_SNP_ID_BLOCK, 0,
	 FIELD(igvm_snp_id_block, author_key_enabled), 2, "reserved"},
	{"ID block: reserved", IGVM_SNP_ID_BLOCK, 0, FIELD(igvm_snp_id_block, reserved), 1,
	 "reserved"},
	{"ID block: reserved in a key", IGVM_SNP_ID_BLOCK, 0,
	 offsetof(struct igvm_snp_id_block, author_public_key.reserved), 4, 1, "reserved"},
	{"VBS measurement: VSM only", IGVM_VBS_MEASUREMENT, 0, FIELD(igvm_vbs_measurement, mask),
	 SNP, "VSM platform only"},
	{"error range: address of a page", IGVM_ERROR_RANGE, 0, FIELD(igvm_error_range, gpa), 1,
	 "range of pages"},
	{"error range: size of pages", IGVM_ERROR_RANGE, 0, FIELD(igvm_error_range, size_bytes), 1,
	 "range of pages"},
	{"error range: not empty", IGVM_ERROR_RANGE, 0, FIELD(igvm_error_range, size_bytes), 0,
	 "range of pages"},
	{"error range: no overlap", IGVM_ERROR_RANGE, 0, FIELD(igvm_error_range, gpa), SAMPLE_BASE,
	 "overlaps that of header"},
};

static const struct row aarch64_rows[] = {
	{"platform of the architecture", IGVM_SUPPORTED_PLATFORM, 1,
	 FIELD(igvm_supported_platform, platform_type), IGVM_PLATFORM_TDX, "does not exist"},
	{"tables: hold the root", IGVM_PAGE_TABLE_RELOCATION, 0,
	 FIELD(igvm_page_table_relocation, gpa), SAMPLE_BASE + 0x11000, "TTBR0 does not point"},
	{"CCA policy: reserved", IGVM_CCA_POLICY, 0, FIELD(igvm_cca_policy, reserved), 1,
	 "reserved"},
	{"CCA policy: reserved at the end", IGVM_CCA_POLICY, 0, FIELD(igvm_cca_policy, reserved2),
	 1, "reserved"},
	{"CCA policy: zeroes and ones", IGVM_CCA_POLICY, 0, FIELD(igvm_cca_policy, required_zeroes),
	 3, "contradictory"},
	{"CCA policy: hash", IGVM_CCA_POLICY, 0, FIELD(igvm_cca_policy, hash_algorithm), 3,
	 "unknown CCA policy"},
	{"CCA policy: LFA", IGVM_CCA_POLICY, 0, FIELD(igvm_cca_policy, lfa_policy), 2,
	 "unknown CCA policy"},
	{"CCA policy: CCA only", IGVM_CCA_POLICY, 0, FIELD(igvm_cca_policy, mask), VSM,
	 "CCA platform only"},
	{"CCA context has no address", IGVM_VP_CONTEXT, 1, FIELD(igvm_vp_context, gpa), 4096,
	 "no guest address"},
};

static void put(u8 *p, u64 value, u32 size)
{
	memset(p, 0, size);
	for (u32 i = 0; i < size && i < 8; i++)
		p[i] = (u8)(value >> (8 * i));
}

static void check_row(const struct row *row, const u8 *file, size_t len)
{
	struct igvm_error err = {0};
	struct igvm_header h = {.index = IGVM_NO_HEADER};
	struct igvm ig;
	u8 *copy = malloc(len);
	u8 *at = copy;
	int ret;

	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	memcpy(copy, file, len);
	if (row->type != FIXED_HEADER) {
		if (!find_header(&ig, row->type, row->nth, &h))
			fail_msg("%s: no such header", row->rule);
		at = copy + (h.content - file);
	}
	if (!memcmp(at + row->offset, (u64[]){row->value}, MIN(row->size, 8)))
		fail_msg("%s: changes nothing", row->rule);
	put(at + row->offset, row->value, row->size);
	if (!(row->flags & KEEP_CHECKSUM) && get_le32(copy + 8) + (u64)get_le32(copy + 12) <= len)
		fix_checksum(copy);
	ret = igvm_open(&ig, copy, len, &err);
	if (!row->text) {
		if (ret)
			fail_msg("%s: must be valid: header %u: %s", row->rule, err.header,
				 err.text);
	} else if (ret != -EINVAL || !strstr(err.text, row->text)) {
		fail_msg("%s: want \"%s\", got %d \"%s\"", row->rule, row->text, ret, err.text);
	} else if (err.header != IGVM_NO_HEADER) {
		/* The place is a header's, by index and by offset. */
		struct igvm original;

		assert_int_equal(igvm_open(&original, file, len, NULL), 0);
		assert_true(find_header(&original, 0, err.header, &h));
		assert_int_equal(err.offset, h.offset);
	}
	free(copy);
}

static void each_rule_x64(void **state)
{
	size_t len;
	u8 *file = x64_sample(2, &len);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(x64_rows); i++)
		check_row(&x64_rows[i], file, len);
	free(file);
}

static void each_rule_aarch64(void **state)
{
	size_t len;
	u8 *file = aarch64_sample(&len);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(aarch64_rows); i++)
		check_row(&aarch64_rows[i], file, len);
	free(file);
}

/* Rules on what VP contexts hold: a byte of the data is changed. */
static void each_rule_of_contexts(void **state)
{
	static const struct {
		const char *rule;
		u32 context, offset, size;
		u64 value;
		const char *text;
	} rows[] = {
		{"at least one register", 0, 0, 4, 0, "0 registers"},
		{"not more than fit", 0, 0, 4, 65, "65 registers"},
		{"count and file size", 0, 0, 4, 0x10000000, "pass the end"},
		{"known VTL", 0, 4, 1, 3, "VTL 3"},
		{"one VTL for all", 0, 4 + 32, 1, 0, "must be the same"},
		{"two contexts for one VTL", 1, 4, 1, 2, "second context for VTL 2"},
		{"known register", 0, 5, 4, 0x20000, "unknown name"},
		{"each register once", 0, 5 + 32, 4, IGVM_X64_GDTR, "occurs twice"},
		{"zero behind the name", 0, 9, 1, 1, "reserved bytes"},
		{"zero in front of a table", 0, 4 + 16, 1, 1, "reserved bytes"},
		{"zero behind a u64", 0, 4 + 2 * 32 + 24, 1, 1, "reserved bytes"},
		{"native: reserved", 5, 0x9a, 1, 1, "reserved bytes"},
		{"native: attribute bits 8-11", 5, 0xab, 1, 0xc1, "reserved bytes"},
		{"native: rest of the page", 5, 0xe8, 1, 1, "reserved bytes"},
		{"VMSA: anything", 2, 0xfff, 1, 1, NULL},
	};
	size_t len;
	u8 *file = x64_sample(2, &len);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct igvm_error err = {0};
		struct igvm_header h;
		struct igvm ig;
		u8 *copy = malloc(len);
		int ret;

		memcpy(copy, file, len);
		assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
		assert_true(find_header(&ig, IGVM_VP_CONTEXT, rows[i].context, &h));
		put(copy + (h.data - file) + rows[i].offset, rows[i].value, rows[i].size);
		ret = igvm_open(&ig, copy, len, &err);
		if (rows[i].text ? ret != -EINVAL || !strstr(err.text, rows[i].text) : ret)
			fail_msg("%s: got %d \"%s\"", rows[i].rule, ret, err.text);
		free(copy);
	}
	free(file);

	file = aarch64_sample(&len);
	{
		struct igvm_error err;
		struct igvm_header h;
		struct igvm ig;

		assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
		assert_true(find_header(&ig, IGVM_VP_CONTEXT, 1, &h));
		file[h.data - file + IGVM_CCA_CONTEXT_BYTES] = 1;
		assert_int_equal(igvm_open(&ig, file, len, &err), -EINVAL);
		assert_non_null(strstr(err.text, "CCA context"));
	}
	free(file);
}

/* --- rules on several headers, and limits */

static const struct igvm_relocatable_region region = {.mask = VSM,
						      .vtl = 2,
						      .alignment = 4096,
						      .gpa = 0x100000,
						      .size = 4096,
						      .maximum_gpa = 1ull << 40};
static const struct igvm_page_table_relocation tables = {
	.mask = VSM, .vtl = 2, .gpa = 0x10000000, .size = 4096};

static void too_many_regions(struct igvm_writer *w)
{
	struct igvm_relocatable_region r = region;

	for (u32 i = 0; i <= IGVM_MAX_RELOCATIONS; i++, r.gpa += 8192)
		PUT(w, IGVM_RELOCATABLE_REGION, r);
}
static void two_page_tables(struct igvm_writer *w)
{
	struct igvm_page_table_relocation t = tables;

	PUT(w, IGVM_PAGE_TABLE_RELOCATION, t);
	t.gpa += 8192;
	PUT(w, IGVM_PAGE_TABLE_RELOCATION, t);
}
static void large_page_tables(struct igvm_writer *w)
{
	struct igvm_page_table_relocation t = tables;

	t.size = IGVM_MAX_PAGE_TABLE_BYTES + 4096;
	PUT(w, IGVM_PAGE_TABLE_RELOCATION, t);
}
static void too_many_areas(struct igvm_writer *w)
{
	for (u32 i = 0; i <= IGVM_MAX_AREAS; i++)
		igvm_write_area(w, i * 0x1000193u, 4096, NULL, 0);
}
static void areas_up_to_the_limit(struct igvm_writer *w)
{
	for (u32 i = 0; i < IGVM_MAX_AREAS; i++)
		igvm_write_area(w, i * 0x1000193u, 4096, NULL, 0);
	for (u32 i = 0; i < IGVM_MAX_AREAS; i++) {
		igvm_write_parameter(w, IGVM_MADT, i * 0x1000193u, 4095);
		igvm_write_insert(w, 0x100000000 + i * 4096ull, VSM, i * 0x1000193u);
	}
}
static void cca_policy_on_x64(struct igvm_writer *w)
{
	PUT(w, IGVM_CCA_POLICY, (struct igvm_cca_policy){.mask = 0x80});
}
static void two_id_blocks(struct igvm_writer *w)
{
	PUT(w, IGVM_SNP_ID_BLOCK, (struct igvm_snp_id_block){.mask = SNP});
	PUT(w, IGVM_SNP_ID_BLOCK, (struct igvm_snp_id_block){.mask = SNP});
}
static void two_vbs_measurements(struct igvm_writer *w)
{
	PUT(w, IGVM_VBS_MEASUREMENT, (struct igvm_vbs_measurement){.mask = VSM});
	PUT(w, IGVM_VBS_MEASUREMENT, (struct igvm_vbs_measurement){.mask = VSM});
}
static void two_signatures(struct igvm_writer *w)
{
	struct igvm_corim c = {.mask = VSM, .size_bytes = 1};

	igvm_write(w, IGVM_CORIM_DOCUMENT, &c, sizeof(c), "d", 1);
	igvm_write(w, IGVM_CORIM_SIGNATURE, &c, sizeof(c), "s", 1);
	igvm_write(w, IGVM_CORIM_SIGNATURE, &c, sizeof(c), "t", 1);
}
static void undeclared_twice(struct igvm_writer *w)
{
	/* Nobody can load these, so nothing contradicts itself. */
	PUT(w, IGVM_GUEST_POLICY, (struct igvm_guest_policy){.mask = 0x80});
	PUT(w, IGVM_GUEST_POLICY, (struct igvm_guest_policy){.mask = 0x80});
	igvm_write_page(w, 0x1000, 0x80, 0, IGVM_PAGE_NORMAL, NULL, 0);
	igvm_write_page(w, 0x1000, 0x80, 0, IGVM_PAGE_NORMAL, NULL, 0);
}

static void several_headers(void **state)
{
	static const struct {
		void (*put)(struct igvm_writer *w);
		const char *text;
	} rows[] = {
		{too_many_regions, "more than 64 relocatable regions"},
		{two_page_tables, "second page-table region"},
		{large_page_tables, "is too large"},
		{too_many_areas, "more than 256 parameter areas"},
		{areas_up_to_the_limit, NULL},
		{cca_policy_on_x64, "AArch64 files only"},
		{two_id_blocks, "second SNP ID block"},
		{two_vbs_measurements, "second VBS measurement"},
		{two_signatures, "second CoRIM signature"},
		{undeclared_twice, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
		struct igvm_error err = {0};
		void *out = NULL;
		size_t len;
		int ret;

		for (u32 type = IGVM_PLATFORM_VSM; type <= IGVM_PLATFORM_SEV_SNP; type++)
			PUT(w, IGVM_SUPPORTED_PLATFORM,
			    (struct igvm_supported_platform){.mask = type,
							     .highest_vtl = 2,
							     .platform_type = (u8)type,
							     .platform_version = 1});
		rows[i].put(w);
		ret = igvm_writer_finish(w, &out, &len, &err);
		if (rows[i].text ? ret != -EINVAL || !strstr(err.text, rows[i].text) : ret)
			fail_msg("row %zu: %d %s", i, ret, err.text);
		free(out);
		igvm_writer_free(w);
	}
}

static void two_cca_policies(void **state)
{
	struct igvm_writer *w = igvm_writer_new(2, IGVM_ARCH_AARCH64);
	struct igvm_error err;
	void *out;
	size_t len;

	(void)state;
	PUT(w, IGVM_SUPPORTED_PLATFORM,
	    (struct igvm_supported_platform){
		    .mask = CCA, .platform_type = IGVM_PLATFORM_CCA, .platform_version = 1});
	PUT(w, IGVM_CCA_POLICY, (struct igvm_cca_policy){.mask = CCA});
	PUT(w, IGVM_CCA_POLICY, (struct igvm_cca_policy){.mask = CCA});
	assert_int_equal(igvm_writer_finish(w, &out, &len, &err), -EINVAL);
	assert_non_null(strstr(err.text, "second CCA policy"));
	igvm_writer_free(w);
}

/* What a program can do wrong with the writer, and a file that cannot be one */
static void misuse(void **state)
{
	static const struct igvm_register many[IGVM_MAX_REGISTERS + 1];
	struct igvm_parameter_area area = {.number_of_bytes = 5 * GiB};
	struct igvm_required_memory required = {.mask = 1, .number_of_bytes = 4096};
	struct igvm_error err;
	struct igvm ig;
	void *out;
	size_t len;

	(void)state;
	for (u32 i = 0; i < 4; i++) {
		static const char *const texts[] = {"wrong length", "data for a header",
						    "4 GiB or more", "too many registers"};
		struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);

		if (i == 0)
			igvm_write(w, IGVM_REQUIRED_MEMORY, &required, 16, NULL, 0);
		else if (i == 1)
			igvm_write(w, IGVM_REQUIRED_MEMORY, &required, sizeof(required), "x", 1);
		else if (i == 2)
			igvm_write(w, IGVM_PARAMETER_AREA, &area, sizeof(area), "x", 1);
		else
			igvm_write_registers(w, 1, many, ARRAY_SIZE(many));
		assert_int_equal(igvm_writer_finish(w, &out, &len, &err), -EINVAL);
		if (!strstr(err.text, texts[i]))
			fail_msg("%u: %s", i, err.text);
		igvm_writer_free(w);
	}
	assert_int_equal(igvm_open(&ig, "", (size_t)1 << 32, &err), -EINVAL);
	assert_non_null(strstr(err.text, "4 GiB"));
}

/* A file of nothing but headers that fill the address space must not take long or much memory. */
static void many_headers(void **state)
{
	enum { COUNT = 200000 };
	size_t len = 24 + 24 + (size_t)COUNT * 32 + 8;
	u8 *file = calloc(1, len), *p = file + 24;
	struct igvm_error err;
	struct igvm ig;

	(void)state;
	put_le32(file, IGVM_MAGIC);
	put_le32(file + 4, 1);
	put_le32(file + 8, 24);
	put_le32(file + 12, (u32)(len - 24 - 8));
	put_le32(file + 16, (u32)len);
	put_le32(p, IGVM_SUPPORTED_PLATFORM);
	put_le32(p + 4, 16);
	memcpy(p + 8,
	       &(struct igvm_supported_platform){
		       .mask = 1, .platform_type = 1, .platform_version = 1},
	       16);
	p += 24;
	for (u32 i = 0; i < COUNT; i++, p += 32) {
		put_le32(p, IGVM_PAGE_DATA);
		put_le32(p + 4, 24);
		/* No two pages equal or neighbours, in no order: an odd factor permutes */
		put_le64(p + 8, i * 0x9e3779b1ull % BIT(32) * 0x2000);
		put_le32(p + 16, 1);
	}
	fix_checksum(file);
	assert_int_equal(igvm_open(&ig, file, len, &err), 0);
	assert_int_equal(ig.header_count, COUNT + 1);
	/* The last one twice */
	memcpy(p - 32, p - 64, 32);
	fix_checksum(file);
	assert_int_equal(igvm_open(&ig, file, len, &err), -EINVAL);
	assert_int_equal(err.header, COUNT);
	assert_non_null(strstr(err.text, "overlaps that of header 199999"));
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_rule_x64),	 cmocka_unit_test(each_rule_aarch64),
		cmocka_unit_test(each_rule_of_contexts), cmocka_unit_test(several_headers),
		cmocka_unit_test(two_cca_policies),	 cmocka_unit_test(misuse),
		cmocka_unit_test(many_headers),
	};

	return cmocka_run_group_tests_name("igvm rules", tests, NULL, NULL);
}
