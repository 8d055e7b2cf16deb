/*
 * Whole files: single-bit corruption, files shaped like those of other programs, and reading and
 * writing any of them again without a changed byte.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "igvm/internal.h"
#include "tests/unit/igvm_samples.h"

/* --- what a file means: all that a loader acts on */

static bool next_known(struct igvm_iter *it, struct igvm_header *h)
{
	while (igvm_next(it, h)) {
		if (!(h->type & IGVM_TYPE_IS_OPTIONAL))
			return true;
	}
	return false;
}

/* Content without file offset and without mask bits of no platform */
static void normal_content(const struct igvm *ig, const struct igvm_header *h, u8 *out)
{
	const struct igvm_type_info *info = igvm_type_info(h->type);

	memcpy(out, h->content, h->length);
	if (info->file_offset_at >= 0)
		put_le32(out + info->file_offset_at, 0);
	if (info->mask_at >= 0)
		put_le32(out + info->mask_at, h->mask & ig->platform_mask);
}

static bool same_meaning(const struct igvm *a, const struct igvm *b)
{
	struct igvm_iter ia, ib;
	struct igvm_header ha, hb;
	u8 ca[1024], cb[1024];

	if (a->version != b->version || a->arch != b->arch ||
	    a->platform_count != b->platform_count ||
	    memcmp(a->platform, b->platform, sizeof(a->platform)))
		return false;
	igvm_first(a, &ia);
	igvm_first(b, &ib);
	while (next_known(&ia, &ha)) {
		if (!next_known(&ib, &hb) || ha.type != hb.type || ha.data_len != hb.data_len ||
		    !ha.data != !hb.data || (ha.data_len && memcmp(ha.data, hb.data, ha.data_len)))
			return false;
		normal_content(a, &ha, ca);
		normal_content(b, &hb, cb);
		if (memcmp(ca, cb, ha.length))
			return false;
	}
	return !next_known(&ib, &hb);
}

/* --- writing again */

static u8 *copy_with(struct igvm_writer *w, const struct igvm *ig, size_t *len)
{
	struct igvm_error err;
	struct igvm_iter it;
	struct igvm_header h;
	void *out;

	for (igvm_first(ig, &it); igvm_next(&it, &h);)
		igvm_write_copy(w, &h);
	if (igvm_writer_finish(w, &out, len, &err))
		fail_msg("header %u: %s", err.header, err.text);
	igvm_writer_free(w);
	return out;
}

/* Any file: the same bytes. Files of the usual serializers: from the plain writer too. */
static void check_round_trip(const char *name, const u8 *file, size_t len, bool usual)
{
	struct igvm ig, again;
	struct igvm_error err;
	size_t len2;
	u8 *copy;

	if (igvm_open(&ig, file, len, &err))
		fail_msg("%s: header %u at 0x%llx: %s", name, err.header,
			 (unsigned long long)err.offset, err.text);
	copy = copy_with(igvm_writer_like(&ig), &ig, &len2);
	if (len2 != len || memcmp(copy, file, len))
		fail_msg("%s: the copy differs", name);
	free(copy);

	copy = copy_with(igvm_writer_new(ig.version, ig.arch), &ig, &len2);
	assert_int_equal(igvm_open(&again, copy, len2, NULL), 0);
	assert_true(same_meaning(&ig, &again));
	if (usual && (len2 != len || memcmp(copy, file, len)))
		fail_msg("%s: written again, it differs", name);
	free(copy);
}

static void samples_round_trip(void **state)
{
	size_t len;
	u8 *file;

	(void)state;
	for (u32 version = 1; version <= 2; version++) {
		file = x64_sample(version, &len);
		check_round_trip("x64 sample", file, len, true);
		free(file);
	}
	file = aarch64_sample(&len);
	check_round_trip("AArch64 sample", file, len, true);
	free(file);
}

/* --- corruption */

static void flip(u8 *file, u32 bit)
{
	file[bit / 8] ^= (u8)(1u << (bit % 8));
}

/*
 * (a) Each bit of fixed and variable headers: refused, as the checksum covers them.
 * (b) With a checksum that somebody made right, the bit is a different file, not a damaged one:
 *     refused, or everything that can be read of it is consistent.
 */
static u32 check_flips(const u8 *file, size_t len)
{
	u32 end = get_le32(file + 8) + get_le32(file + 12);
	u32 fixed = get_le32(file + 4) == 2 ? 32 : 24;
	u32 accepted = 0;
	u8 *copy = malloc(len);
	struct igvm_error err;
	struct igvm ig;

	memcpy(copy, file, len);
	for (u32 bit = 0; bit < end * 8; bit++) {
		flip(copy, bit);
		err.text[0] = 0;
		if (igvm_open(&ig, copy, len, &err) != -EINVAL || !err.text[0])
			fail_msg("bit %u of byte 0x%x is not noticed", bit % 8, bit / 8);
		if (bit / 8 < 8 || bit / 8 >= fixed) { /* sizes: the checksum has another range */
			fix_checksum(copy);
			if (!igvm_open(&ig, copy, len, NULL)) {
				if (accepted++ % 16 == 0)
					check_round_trip("flipped", copy, len, false);
				touch_all(&ig);
			}
			memcpy(copy + 0x14, file + 0x14, 4);
		}
		flip(copy, bit);
	}
	free(copy);
	return accepted;
}

static void every_header_bit(void **state)
{
	size_t len;
	u8 *file;

	(void)state;
	for (u32 version = 1; version <= 2; version++) {
		file = x64_sample(version, &len);
		/* Such as addresses of pages, values in ID blocks, unused mask bits */
		assert_true(check_flips(file, len) > 1000);
		free(file);
	}
	file = aarch64_sample(&len);
	assert_true(check_flips(file, len) > 100);
	free(file);
}

/* No checksum covers what lies between the headers, but it has no meaning either. */
static void every_bit_of_a_gap(void **state)
{
	static struct raw r;
	struct igvm ig, other;
	u8 *copy;

	(void)state;
	raw_begin(&r, 1, 0, 16);
	RAW(&r, IGVM_SUPPORTED_PLATFORM,
	    (struct igvm_supported_platform){
		    .mask = 1, .platform_type = IGVM_PLATFORM_VSM, .platform_version = 1});
	raw_end_headers(&r);
	raw_data(&r, 0, "data", 4);
	raw_end(&r);
	assert_int_equal(igvm_open(&ig, r.file, r.len, NULL), 0);
	copy = malloc(r.len);
	for (u32 bit = 24 * 8; bit < 40 * 8; bit++) {
		memcpy(copy, r.file, r.len);
		flip(copy, bit);
		assert_int_equal(igvm_open(&other, copy, r.len, NULL), 0);
		assert_true(same_meaning(&ig, &other));
		check_round_trip("gap", copy, r.len, false);
	}
	free(copy);
}

/* --- files as other programs make them */

static void platform(struct raw *r, u32 mask, u8 vtl, enum igvm_platform_type type, u64 boundary)
{
	RAW(r, IGVM_SUPPORTED_PLATFORM,
	    (struct igvm_supported_platform){.mask = mask,
					     .highest_vtl = vtl,
					     .platform_type = (u8)type,
					     .platform_version = 1,
					     .shared_gpa_boundary = boundary});
}

/* Returns the place of its file offset. */
static u32 page(struct raw *r, u64 gpa, u32 mask, u32 flags, u16 type)
{
	return RAW(r, IGVM_PAGE_DATA,
		   (struct igvm_page_data){
			   .gpa = gpa, .mask = mask, .flags = flags, .data_type = type}) +
	       12;
}

static void fill(u8 *p, u8 value)
{
	memset(p, value, 4096);
}

/* microsoft/igvm, igvm_c/test_data: a policy for VSM, and one for a platform that is not there */
static void like_igvm_c_test_data(struct raw *r)
{
	static const u8 pages[] = {0, 1, 2, 4, 10, 11, 12, 14};
	u32 at[ARRAY_SIZE(pages)];
	u8 data[4096];

	raw_begin(r, 1, 0, 0);
	platform(r, 1, 0, IGVM_PLATFORM_VSM, 0);
	RAW(r, IGVM_GUEST_POLICY, (struct igvm_guest_policy){.policy = 0x30000, .mask = 1});
	RAW(r, IGVM_GUEST_POLICY, (struct igvm_guest_policy){.policy = 0x30000, .mask = 2});
	for (u32 i = 0; i < ARRAY_SIZE(pages); i++)
		at[i] = page(r, pages[i] * 4096ull, 1, 0, 0);
	RAW(r, IGVM_PARAMETER_AREA, (struct igvm_parameter_area){.number_of_bytes = 4096});
	RAW(r, IGVM_VP_COUNT, (struct igvm_parameter){0});
	RAW(r, IGVM_PARAMETER_INSERT, (struct igvm_parameter_insert){.gpa = 20 * 4096, .mask = 1});
	raw_end_headers(r);
	for (u32 i = 0; i < 4; i++) {
		fill(data, (u8)(i + 1));
		put_le32(r->file + at[i + 4], r->len);
		raw_data(r, at[i], data, sizeof(data));
	}
	raw_end(r);
}

/* microsoft/igvm, test_basic_v2_aarch64_cca: a CCA policy, a context for VP 0xabcd */
static void like_igvm_cca(struct raw *r)
{
	u8 data[4096] = {0};
	u32 at, vp;

	raw_begin(r, 2, IGVM_ARCH_AARCH64, 0);
	platform(r, 1, 0, IGVM_PLATFORM_CCA, 0);
	RAW(r, IGVM_CCA_POLICY,
	    (struct igvm_cca_policy){.mask = 1,
				     .required_zeroes = 2,
				     .required_ones = 1,
				     .hash_algorithm = 1,
				     .lfa_policy = 1});
	at = page(r, 0, 1, 0, 0);
	vp = RAW(r, IGVM_VP_CONTEXT, (struct igvm_vp_context){.mask = 1, .vp_index = 0xabcd}) + 12;
	raw_end_headers(r);
	fill(data, 1);
	raw_data(r, at, data, sizeof(data));
	memset(data, 0, sizeof(data));
	raw_data(r, vp, data, sizeof(data));
	raw_end(r);
}

/* microsoft/igvm, test_basic_v2_aarch64_vbs: one register for VTL 0 */
static void like_igvm_aarch64_vbs(struct raw *r)
{
	u8 context[36] = {1};
	u32 vp;

	raw_begin(r, 2, IGVM_ARCH_AARCH64, 0);
	platform(r, 1, 0, IGVM_PLATFORM_VSM, 0);
	vp = RAW(r, IGVM_VP_CONTEXT, (struct igvm_vp_context){.mask = 1}) + 12;
	raw_end_headers(r);
	put_le32(context + 5, 0x20000); /* X0 */
	put_le64(context + 20, 0x1234);
	raw_data(r, vp, context, sizeof(context));
	raw_end(r);
}

/* microsoft/igvm, test_merge_page_data_should_not_merge: one page twice, for two platforms */
static void like_igvm_merged(struct raw *r)
{
	u8 data[4096];
	u32 a, b;

	raw_begin(r, 1, 0, 0);
	platform(r, 1, 0, IGVM_PLATFORM_VSM, 0);
	platform(r, 2, 0, IGVM_PLATFORM_SEV_SNP, 0);
	a = page(r, 0, 2, 0, 0);
	b = page(r, 0x1000, 2, 0, 0);
	page(r, 0, 1, 0, 0);
	page(r, 0x1000, 1, 0, 0);
	raw_end_headers(r);
	fill(data, 1);
	put_le32(r->file + a + 3 * 32, r->len);
	raw_data(r, a, data, sizeof(data));
	fill(data, 2);
	put_le32(r->file + b + 32, r->len);
	raw_data(r, b, data, sizeof(data));
	raw_end(r);
}

/*
 * coconut-svsm/svsm, tools/igvmbuilder without firmware: no VTL2, yet VTL2 memory for VSM; page
 * tables for all platforms that it knows (0x17); VMSA at KVM's place; policy; a zero page for TDX
 * where SNP has CPUID and secrets
 */
static void like_coconut(struct raw *r, u32 mask, u32 version)
{
	static const struct igvm_native_context native = {
		.rip = 0x10002, .code_attributes = 0xc09b, .data_attributes = 0xa093};
	u8 data[4096];
	u32 vmsa = 0, vsm = 0, n = 0, tables, cpuid = 0, kernel;

	raw_begin(r, version, 0, 0);
	if (mask & 1)
		platform(r, 1, 0, IGVM_PLATFORM_SEV_SNP, 1ull << 46);
	if (mask & 4)
		platform(r, 4, 0, IGVM_PLATFORM_TDX, 0);
	if (mask & 0x10)
		platform(r, 0x10, 0, IGVM_PLATFORM_VSM, 0);
	if (mask & 2)
		platform(r, 2, 0, IGVM_PLATFORM_NATIVE, 0);
	RAW(r, IGVM_GUEST_POLICY, (struct igvm_guest_policy){.policy = 0x30000, .mask = 1});
	if (mask & ~0x10u)
		RAW(r, IGVM_REQUIRED_MEMORY,
		    (struct igvm_required_memory){
			    .gpa = 0x8000000, .mask = mask & ~0x10u, .number_of_bytes = 0x1000000});
	if (mask & 0x10)
		RAW(r, IGVM_REQUIRED_MEMORY,
		    (struct igvm_required_memory){.gpa = 0x8000000,
						  .mask = 0x10,
						  .number_of_bytes = 0x1000000,
						  .flags = 1});
	for (u32 i = 0; i < 4; i++) {
		static const u8 order[] = {1, 2, 3, 0};

		RAW(r, IGVM_PARAMETER_AREA,
		    (struct igvm_parameter_area){.number_of_bytes = 0x1000, .index = order[i]});
	}
	RAW(r, IGVM_VP_COUNT, (struct igvm_parameter){0});
	RAW(r, IGVM_ENVIRONMENT_INFO, (struct igvm_parameter){.byte_offset = 4});
	RAW(r, IGVM_MADT, (struct igvm_parameter){.area = 2});
	RAW(r, IGVM_DEVICE_TREE, (struct igvm_parameter){.area = 3});
	RAW(r, IGVM_MEMORY_MAP, (struct igvm_parameter){.area = 1});
	for (u32 i = 0; i < 4; i++)
		RAW(r, IGVM_PARAMETER_INSERT,
		    (struct igvm_parameter_insert){
			    .gpa = 0x80a0000 + i * 0x1000, .mask = mask, .area = i});
	if (mask & 1)
		vmsa = RAW(r, IGVM_VP_CONTEXT,
			   (struct igvm_vp_context){.gpa = 0xfffffffff000, .mask = 1}) +
		       12;
	if (mask & 0x10)
		vsm = RAW(r, IGVM_VP_CONTEXT, (struct igvm_vp_context){.mask = 0x10}) + 12;
	if (mask & 2)
		n = RAW(r, IGVM_VP_CONTEXT, (struct igvm_vp_context){.mask = 2}) + 12;
	kernel = page(r, 0x8000000, mask, 0, 0);
	tables = page(r, 0x12000, 0x17, 0, 0);
	page(r, 0x11000, mask, 0, 0);
	if (mask & 1) {
		cpuid = page(r, 0x13000, 1, 0, IGVM_PAGE_CPUID_DATA);
		page(r, 0x14000, 1, 0, IGVM_PAGE_SECRETS);
	}
	if (mask & 4) {
		page(r, 0x13000, 4, 0, 0);
		page(r, 0x14000, 4, 0, 0);
	}
	raw_end_headers(r);
	memset(data, 0, sizeof(data));
	if (vmsa) {
		put_le64(data + 0x178, 0x10002);
		raw_data(r, vmsa, data, sizeof(data));
		memset(data, 0, sizeof(data));
	}
	if (vsm) {
		put_le32(data, 2);
		put_le32(data + 5, IGVM_X64_RFLAGS);
		put_le64(data + 20, 2);
		put_le32(data + 37, IGVM_X64_RIP);
		raw_data(r, vsm, data, 4 + 64);
		memset(data, 0, sizeof(data));
	}
	if (n) {
		memcpy(data, &native, sizeof(native));
		raw_data(r, n, data, sizeof(data));
	}
	fill(data, 0x90);
	raw_data(r, kernel, data, sizeof(data));
	fill(data, 0x63);
	raw_data(r, tables, data, sizeof(data));
	if (cpuid) {
		fill(data, 0x1f);
		raw_data(r, cpuid, data, sizeof(data));
	}
	raw_end(r);
}

static void like_coconut_all(struct raw *r)
{
	like_coconut(r, 0x17, 2);
}
static void like_coconut_snp(struct raw *r)
{
	like_coconut(r, 1, 1);
}
static void like_coconut_vsm(struct raw *r)
{
	like_coconut(r, 0x10, 1);
}

/*
 * microsoft/igvm-tooling: padding is the digit '0', equal pages are stored twice, the VMSA lies
 * among the pages, "guest invalid" pages have the flag that is "shared" now
 */
static void like_igvm_tooling(struct raw *r)
{
	struct igvm_snp_id_block id = {.mask = 1,
				       .version = 1,
				       .guest_svn = 2,
				       .id_key_algorithm = 1,
				       .id_public_key = {.curve = 2}};
	struct igvm_vp_context vp = {.gpa = 0x803000, .mask = 1};
	u32 at[5];
	u8 data[4096];

	raw_begin(r, 1, 0, 0);
	platform(r, 1, 0, IGVM_PLATFORM_SEV_SNP, 0);
	RAW(r, IGVM_GUEST_POLICY, (struct igvm_guest_policy){.policy = 0x3001f, .mask = 1});
	at[0] = page(r, 0, 1, 0, 0);
	at[1] = page(r, 0x800000, 1, 0, IGVM_PAGE_CPUID_DATA);
	page(r, 0x801000, 1, 0, IGVM_PAGE_SECRETS);
	RAW(r, IGVM_PARAMETER_AREA, (struct igvm_parameter_area){.number_of_bytes = 4096});
	RAW(r, IGVM_VP_COUNT, (struct igvm_parameter){0});
	RAW(r, IGVM_MEMORY_MAP, (struct igvm_parameter){.byte_offset = 24});
	RAW(r, IGVM_PARAMETER_INSERT, (struct igvm_parameter_insert){.gpa = 0x802000, .mask = 1});
	at[2] = raw_header(r, IGVM_VP_CONTEXT, &vp, sizeof(vp), '0') + 12;
	at[3] = page(r, 0x1000000, 1, 0, 0);
	at[4] = page(r, 0x1001000, 1, IGVM_PAGE_SHARED, 0);
	RAW(r, IGVM_SNP_ID_BLOCK, id);
	raw_end_headers(r);
	for (u32 i = 0; i < ARRAY_SIZE(at); i++) {
		fill(data, i < 3 ? (u8)i + 1 : 7);
		raw_data(r, at[i], data, sizeof(data));
	}
	raw_end(r);
}

/* roy-hopkins/buildigvm for SEV-ES: platform SNP, VMSAs of all processors at address 0 */
static void like_buildigvm(struct raw *r)
{
	u32 at[3], firmware;
	u8 data[4096];

	raw_begin(r, 1, 0, 0);
	platform(r, 1, 0, IGVM_PLATFORM_SEV_SNP, 0);
	for (u16 i = 0; i < 3; i++)
		at[i] = RAW(r, IGVM_VP_CONTEXT,
			    (struct igvm_vp_context){.mask = 1, .vp_index = i}) +
			12;
	firmware = page(r, 0xfffff000, 1, 0, 0);
	raw_end_headers(r);
	fill(data, 1);
	raw_data(r, at[0], data, sizeof(data));
	fill(data, 2);
	put_le32(r->file + at[2], r->len);
	raw_data(r, at[1], data, sizeof(data));
	fill(data, 0xf4);
	raw_data(r, firmware, data, sizeof(data));
	raw_end(r);
}

/* Firmware for QEMU, as Rust tools on the igvm crate pack it: native platform with VTL 2 */
static void like_qemu_firmware(struct raw *r)
{
	static const struct igvm_native_context native = {.rip = 0xfff0, .cr0 = 0x60000010};
	u8 data[4096] = {0};
	u32 n, vmsa, firmware;

	raw_begin(r, 2, 0, 0);
	platform(r, 1, 2, IGVM_PLATFORM_NATIVE, 0);
	platform(r, 2, 2, IGVM_PLATFORM_SEV_SNP, 0);
	RAW(r, IGVM_GUEST_POLICY, (struct igvm_guest_policy){.policy = 0x30000, .mask = 2});
	n = RAW(r, IGVM_VP_CONTEXT, (struct igvm_vp_context){.mask = 1}) + 12;
	vmsa = RAW(r, IGVM_VP_CONTEXT, (struct igvm_vp_context){.gpa = 0xfffffffff000, .mask = 2}) +
	       12;
	RAW(r, IGVM_PARAMETER_AREA, (struct igvm_parameter_area){.number_of_bytes = 0x2000});
	RAW(r, IGVM_MEMORY_MAP, (struct igvm_parameter){0});
	RAW(r, IGVM_VP_COUNT, (struct igvm_parameter){.byte_offset = 0x1000});
	RAW(r, IGVM_PARAMETER_INSERT, (struct igvm_parameter_insert){.gpa = 0x810000, .mask = 3});
	page(r, 0x80d000, 2, 0, IGVM_PAGE_SECRETS);
	page(r, 0x80e000, 2, 0, IGVM_PAGE_CPUID_DATA);
	firmware = page(r, 0xfffff000, 3, IGVM_PAGE_UNMEASURED, 0);
	raw_end_headers(r);
	memcpy(data, &native, sizeof(native));
	raw_data(r, n, data, sizeof(data));
	memset(data, 0, sizeof(data));
	raw_data(r, vmsa, data, sizeof(data));
	fill(data, 0xf4);
	raw_data(r, firmware, data, sizeof(data));
	raw_end(r);
}

/* Legal, though nobody does it: a gap, odd and overlapping places of data, data of nobody */
static void oddly_placed(struct raw *r)
{
	u32 a, b, c;
	u8 data[4097];

	raw_begin(r, 1, 0, 24);
	memcpy(r->file + 24, "anything may stand here", 24);
	platform(r, 1, 0, IGVM_PLATFORM_VSM, 0);
	a = page(r, 0x1000, 1, 0, 0);
	b = page(r, 0x2000, 1, 0, 0);
	c = page(r, 0x3000, 1, 0, 0);
	raw_header(r, 0x80000abc, "123", 3, 0);
	raw_end_headers(r);
	raw_data(r, 0, "unused", 7);
	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 13);
	put_le32(r->file + b, r->len + 1);
	put_le32(r->file + c, r->len);
	raw_data(r, a, data, sizeof(data));
	raw_data(r, 0, "end", 3);
	raw_end(r);
}

static void files_of_others(void **state)
{
	static const struct {
		const char *name;
		void (*make)(struct raw *r);
		bool usual; /* equal data once, in the order of headers, nothing else */
	} files[] = {
		{"igvm crate, C test data", like_igvm_c_test_data, true},
		{"igvm crate, CCA", like_igvm_cca, true},
		{"igvm crate, AArch64 VBS", like_igvm_aarch64_vbs, true},
		{"igvm crate, merged", like_igvm_merged, true},
		{"igvmbuilder, all platforms", like_coconut_all, true},
		{"igvmbuilder, SNP", like_coconut_snp, true},
		{"igvmbuilder, VSM", like_coconut_vsm, true},
		{"igvm-tooling", like_igvm_tooling, false},
		{"buildigvm", like_buildigvm, true},
		{"QEMU firmware", like_qemu_firmware, true},
		{"oddly placed", oddly_placed, false},
	};
	static struct raw r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		files[i].make(&r);
		check_round_trip(files[i].name, r.file, r.len, files[i].usual);
	}
}

/* --- random files */

static u64 seed;

static u32 random_below(u32 limit)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(seed >> 33) % limit;
}

/* A random valid file of the plain writer */
static u8 *random_file(size_t *len)
{
	u32 version = 1 + random_below(2), platforms = 1 + random_below(5), mask = 0;
	struct igvm_writer *w = igvm_writer_new(version, IGVM_ARCH_X64);
	struct igvm_vp_context vp = {.gpa = 0x1000};
	u8 data[4096];
	void *out;

	for (u32 type = 0; type < platforms; type++) {
		mask |= 1u << (type * 3);
		PUT(w, IGVM_SUPPORTED_PLATFORM,
		    (struct igvm_supported_platform){.mask = 1u << (type * 3),
						     .highest_vtl = 2,
						     .platform_type = (u8)type,
						     .platform_version = 1});
	}
	for (u32 i = random_below(3); i > 0; i--) {
		struct igvm_corim corim = {.mask = 0x100u << i, .size_bytes = 1 + i};

		igvm_write(w, IGVM_CORIM_DOCUMENT, &corim, sizeof(corim), "corim", 1 + i);
	}
	for (u32 i = 0; i < 30; i++) {
		u32 some = 1 + random_below(0xffff);

		memset(data, (int)random_below(4), sizeof(data));
		switch (random_below(7)) {
		case 0:
			igvm_write_area(w, i, 0x1000 * (1 + random_below(3)), data,
					random_below(3) * 100);
			igvm_write_parameter(w, IGVM_MADT, i, random_below(0x1000));
			if (random_below(2))
				igvm_write_insert(w, i * MiB + 0x100000000, some, i);
			break;
		case 1: igvm_write_required(w, i * MiB, some, 0x1000, random_below(2)); break;
		case 2:
			if (platforms > IGVM_PLATFORM_SEV_SNP) {
				vp.vp_index = (u16)i;
				vp.mask = 1u << (3 * IGVM_PLATFORM_SEV_SNP);
				igvm_write(w, IGVM_VP_CONTEXT, &vp, sizeof(vp), data, sizeof(data));
			}
			break;
		case 3: igvm_write(w, 0x80000300 + i, data, i, NULL, 0); break;
		default:
			igvm_write_page(w, i * MiB, some, random_below(4) * 2,
					(enum igvm_page_type)random_below(4), data,
					random_below(4) ? 1 + random_below(4096) : 0);
		}
	}
	assert_int_equal(igvm_writer_finish(w, &out, len, NULL), 0);
	igvm_writer_free(w);
	return out;
}

/* The same file with a gap in front and its data moved apart, in another order */
static u8 *scatter(const u8 *file, size_t len, size_t *out_len)
{
	u32 gap = 8 * random_below(4), fixed = get_le32(file + 4) == 2 ? 32 : 24;
	struct igvm ig;
	struct igvm_iter it;
	struct igvm_header h;
	u8 *out;
	u32 at;

	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	out = calloc(1, gap + len + (size_t)ig.header_count * (4096 * 3 + 16));
	memcpy(out, file, fixed);
	memset(out + fixed, 0x5a, gap);
	memcpy(out + fixed + gap, file + fixed, ig.headers_size);
	put_le32(out + 8, fixed + gap);
	at = fixed + gap + ig.headers_size + random_below(16);
	for (igvm_first(&ig, &it); igvm_next(&it, &h);) {
		const struct igvm_type_info *info = igvm_type_info(h.type);

		if (!h.data)
			continue;
		memcpy(out + at, h.data, h.data_len);
		put_le32(out + gap + h.offset + 8 + (u32)info->file_offset_at, at);
		at += h.data_len + random_below(16);
	}
	*out_len = at + 1;
	put_le32(out + 16, at + 1);
	fix_checksum(out);
	return out;
}

static void random_files_round_trip(void **state)
{
	(void)state;
	for (seed = 1; seed < 200; seed++) {
		u64 this = seed;
		size_t len, len2;
		u8 *file = random_file(&len);
		u8 *other = scatter(file, len, &len2);
		struct igvm a, b;

		check_round_trip("random", file, len, true);
		check_round_trip("scattered", other, len2, false);
		assert_int_equal(igvm_open(&a, file, len, NULL), 0);
		assert_int_equal(igvm_open(&b, other, len2, NULL), 0);
		assert_true(same_meaning(&a, &b));
		free(file);
		free(other);
		seed = this;
	}
}

/* Headers and data put into another file's layout: everything moves, nothing is lost. */
static void editing_keeps_the_rest(void **state)
{
	static struct raw r;
	struct igvm ig, edited;
	struct igvm_writer *w;
	struct igvm_iter it;
	struct igvm_header h;
	void *out;
	size_t len;

	(void)state;
	oddly_placed(&r);
	assert_int_equal(igvm_open(&ig, r.file, r.len, NULL), 0);
	w = igvm_writer_like(&ig);
	for (igvm_first(&ig, &it); igvm_next(&it, &h);)
		igvm_write_copy(w, &h);
	igvm_write_page(w, 0x4000, 1, 0, IGVM_PAGE_NORMAL, "new", 3);
	assert_int_equal(igvm_writer_finish(w, &out, &len, NULL), 0);
	igvm_writer_free(w);
	assert_int_equal(len, r.len + 32 + 4096);
	assert_int_equal(igvm_open(&edited, out, len, NULL), 0);
	assert_true(find_header(&edited, IGVM_PAGE_DATA, 1, &h));
	assert_int_equal(h.data[0], 13);
	assert_true(find_header(&edited, IGVM_PAGE_DATA, 3, &h));
	assert_string_equal((const char *)h.data, "new");
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_header_bit),	   cmocka_unit_test(every_bit_of_a_gap),
		cmocka_unit_test(samples_round_trip),	   cmocka_unit_test(files_of_others),
		cmocka_unit_test(random_files_round_trip), cmocka_unit_test(editing_keeps_the_rest),
	};

	return cmocka_run_group_tests_name("igvm files", tests, NULL, NULL);
}
