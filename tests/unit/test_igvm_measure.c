/*
 * Launch measurements: published vectors, what must and must not change a digest, hostile files.
 *
 * vector                       source
 * 5-page image, three          computed with an independent program and found equal to the
 *   platforms                  measurement sources of microsoft/igvm
 * 12-page image, SNP, VBS      microsoft/openvmm, vm/loader/igvmfilegen/src/file_loader.rs, tests
 *                              test_snp_measurement and test_vbs_digest
 * 12-page image, TDX           same place, test_tdx_measurement without its own reset page
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/hash.h"
#include "igvm/igvm.h"
#include "tests/unit/igvm_fixture.h"

static const struct vector {
	const char *name;
	u8 *(*make)(size_t *len);
	enum igvm_platform_type platform;
	const char *digest;
} vectors[] = {
	{"5 pages", fixture_five_pages, IGVM_PLATFORM_SEV_SNP,
	 "935d6eb50941cb156c67e4c57f28fbcec70f33de385419913e9baa3f1ce47a42"
	 "1333d49a283db7e62ba2ffa934623af8"},
	{"5 pages", fixture_five_pages, IGVM_PLATFORM_TDX,
	 "c86bb480074a10e71b8e22f396e4154e738114c0c441e853666c2dddffa1692d"
	 "f4986c43f6e958904393173572fae4ab"},
	{"5 pages", fixture_five_pages, IGVM_PLATFORM_VSM,
	 "ede20288119405aea0a055b40c9d9c9da939f46a705180f5188f312963af5f75"},
	{"12 pages", fixture_twelve_pages, IGVM_PLATFORM_SEV_SNP,
	 "889a19386c82e2219bded3e92a764e8c00c29b966d04a662bca6cfdfec647b90"
	 "51995653390783846557913263d71c4f"},
	{"12 pages", fixture_twelve_pages, IGVM_PLATFORM_VSM,
	 "30134c9bb89cd72d8a418d1e7afb75927f45e8571dda7ac7be87d4b6c72ca64c"},
	{"12 pages", fixture_twelve_pages, IGVM_PLATFORM_TDX,
	 "f27e034eb6ac59aa46c29ca630d3dc6344a88de5bfdd84d5564749f403602396"
	 "f3b2471a4e9272a75c50ae31f6319479"},
};

static void measure(const u8 *file, size_t len, enum igvm_platform_type type, u32 flags,
		    struct igvm_measurement *m)
{
	struct igvm_error err;
	struct igvm ig;

	if (igvm_open(&ig, file, len, &err))
		fail_msg("%s", err.text);
	if (igvm_measure_with(&ig, igvm_find_platform(&ig, type), flags, NULL, NULL, m, &err))
		fail_msg("%s", err.text);
}

static void rest(const u8 *file, size_t len, enum igvm_platform_type type, u8 *digest)
{
	struct igvm ig;

	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	assert_int_equal(igvm_measure_rest(&ig, igvm_find_platform(&ig, type), digest, NULL), 0);
}

static void published_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		struct igvm_measurement m;
		char text[2 * IGVM_MAX_DIGEST + 1];
		size_t len;
		u8 *file = vectors[i].make(&len);

		measure(file, len, vectors[i].platform, 0, &m);
		igvm_hex(m.digest, m.digest_len, text);
		assert_string_equal(text, vectors[i].digest);
		free(file);
	}
}

static void counts(void **state)
{
	struct igvm_measurement m;
	size_t len;
	u8 *file = fixture_five_pages(&len);

	(void)state;
	measure(file, len, IGVM_PLATFORM_SEV_SNP, 0, &m);
	assert_int_equal(m.measured_pages, 4);
	assert_int_equal(m.unmeasured_pages, 3);
	assert_int_equal(m.shared_pages, 1);
	assert_int_equal(m.digest_len, 48);
	measure(file, len, IGVM_PLATFORM_TDX, 0, &m);
	assert_int_equal(m.measured_pages, 3);
	/* each page a record, each measured one 16 more with 256 bytes each */
	assert_int_equal(m.hashed_bytes - 4096, 6 * 128 + 3 * 16 * (128 + 256));
	free(file);
}

/* What the steps say must lead to the same digest. */
static void snp_step(void *ctx, const struct igvm_measure_step *s)
{
	u8 info[112] = {0}, *digest = ctx;

	if (s->shared)
		return;
	memcpy(info, digest, 48);
	if (s->measured)
		memcpy(info + 48, s->contents, 48);
	put_le16(info + 96, 112);
	info[98] = s->snp_page_type;
	put_le64(info + 104, s->gpa);
	assert_int_equal(igvm_sha384(info, sizeof(info), digest), 0);
	assert_memory_equal(digest, s->chain, 48);
}

static void last_chain(void *ctx, const struct igvm_measure_step *s)
{
	if (!s->shared)
		memcpy(ctx, s->chain, s->digest_len);
}

static void steps_lead_to_the_digest(void **state)
{
	static const enum igvm_platform_type types[] = {IGVM_PLATFORM_SEV_SNP, IGVM_PLATFORM_TDX,
							IGVM_PLATFORM_VSM};
	struct igvm_measurement m, plain;
	struct igvm ig;
	size_t len;
	u8 *file = fixture_five_pages(&len);

	(void)state;
	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		u8 chain[48] = {0};

		measure(file, len, types[i], 0, &plain);
		assert_int_equal(igvm_measure(&ig, igvm_find_platform(&ig, types[i]),
					      i ? last_chain : snp_step, chain, &m, NULL),
				 0);
		assert_memory_equal(m.digest, plain.digest, sizeof(m.digest));
		assert_memory_equal(m.digest, chain, m.digest_len);
	}
	free(file);
}

/* Each byte of every page: the digest changes exactly if the page is measured, else the rest. */
static void any_flipped_bit_is_seen(void **state)
{
	static const enum igvm_platform_type types[] = {IGVM_PLATFORM_SEV_SNP, IGVM_PLATFORM_TDX,
							IGVM_PLATFORM_VSM};
	size_t len;
	u8 *file = fixture_distinct_pages(&len);
	struct igvm_header h;
	struct igvm_iter it;
	struct igvm ig;
	u32 seen = 0;

	(void)state;
	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		const struct igvm_supported_platform *p = igvm_find_platform(&ig, types[i]);
		struct igvm_measurement good, bad;
		u8 good_rest[48], bad_rest[48];

		measure(file, len, types[i], 0, &good);
		rest(file, len, types[i], good_rest);
		for (igvm_first(&ig, &it); igvm_next_of(&it, 0, p->mask, &h);) {
			bool measured = h.type == IGVM_VP_CONTEXT ||
					(h.type == IGVM_PAGE_DATA &&
					 !(h.u.page.flags &
					   (IGVM_PAGE_SHARED | IGVM_PAGE_UNMEASURED)));

			for (u32 at = 0; h.data && at < h.data_len; at += 509) {
				u8 *byte = file + (h.data - ig.file) + at;

				if (types[i] == IGVM_PLATFORM_VSM && h.type == IGVM_VP_CONTEXT)
					byte = file + (h.data - ig.file) + 4 + 16; /* value */
				*byte ^= 1u << (at % 8);
				measure(file, len, types[i], 0, &bad);
				rest(file, len, types[i], bad_rest);
				assert_int_equal(memcmp(good.digest, bad.digest, 48) != 0,
						 measured);
				assert_int_equal(memcmp(good_rest, bad_rest, 48) != 0, !measured);
				*byte ^= 1u << (at % 8);
				seen |= BIT(measured);
			}
		}
	}
	assert_int_equal(seen, 3);
	free(file);
}

static void page_attributes_are_measured(void **state)
{
	struct igvm_page_data a = {.gpa = 0x1000, .mask = 7}, b;
	u8 digest[2][48];

	(void)state;
	/* address, flags, type: in the digest or in the rest, on every platform */
	for (int field = 0; field < 4; field++) {
		for (int type = IGVM_PLATFORM_VSM; type <= IGVM_PLATFORM_TDX; type++) {
			b = a;
			if (field == 0)
				b.gpa = 0x2000;
			else if (field == 1)
				b.flags = IGVM_PAGE_UNMEASURED;
			else if (field == 2)
				b.flags = IGVM_PAGE_SHARED;
			else if (type == IGVM_PLATFORM_SEV_SNP)
				b.data_type = IGVM_PAGE_CPUID_DATA;
			else
				continue;
			for (int i = 0; i < 2; i++) {
				struct igvm_measurement m;
				size_t len;
				u8 *file = fixture_one_page(i ? &b : &a, &len);

				measure(file, len, type, 0, &m);
				memcpy(digest[i], m.digest, 48);
				free(file);
			}
			assert_memory_not_equal(digest[0], digest[1], 48);
		}
	}
}

/* A 2 MiB page counts as the 512 pages that it is. */
static void large_pages(void **state)
{
	static const enum igvm_platform_type types[] = {IGVM_PLATFORM_SEV_SNP, IGVM_PLATFORM_TDX,
							IGVM_PLATFORM_VSM};
	size_t small_len, large_len;
	u8 *small = fixture_zero_range(false, &small_len);
	u8 *large = fixture_zero_range(true, &large_len);
	struct igvm_measurement a, b;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		measure(small, small_len, types[i], 0, &a);
		measure(large, large_len, types[i], 0, &b);
		assert_int_equal(a.measured_pages, 512);
		assert_int_equal(b.measured_pages, 512);
		assert_memory_equal(a.digest, b.digest, 48);
	}
	free(small);
	free(large);
}

static void refusals(void **state)
{
	struct igvm_supported_platform cca = {.mask = 1, .platform_type = IGVM_PLATFORM_CCA};
	struct igvm_page_data secrets = {.gpa = 0x1000, .mask = 7, .data_type = IGVM_PAGE_SECRETS};
	struct igvm_measurement m;
	struct igvm_error err;
	struct igvm ig;
	size_t len;
	u8 *file = fixture_one_page(&secrets, &len);

	(void)state;
	assert_int_equal(igvm_open(&ig, file, len, &err), 0);
	assert_int_equal(igvm_measure(&ig, &cca, NULL, NULL, &m, &err), -EINVAL);
	assert_non_null(strstr(err.text, "cca"));
	assert_int_equal(
		igvm_measure(&ig, igvm_find_platform(&ig, IGVM_PLATFORM_VSM), NULL, NULL, &m, &err),
		-EINVAL);
	assert_non_null(strstr(err.text, "page type 1"));
	free(file);

	file = fixture_without_policy(&len);
	assert_int_equal(igvm_open(&ig, file, len, &err), 0);
	assert_int_equal(igvm_measure(&ig, igvm_find_platform(&ig, IGVM_PLATFORM_SEV_SNP), NULL,
				      NULL, &m, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "policy"));
	free(file);

	/* Gigabytes of pages from a small file must not be hashed for ever. */
	file = fixture_huge_range(&len);
	assert_int_equal(igvm_open(&ig, file, len, &err), 0);
	assert_int_equal(igvm_measure(&ig, igvm_find_platform(&ig, IGVM_PLATFORM_SEV_SNP), NULL,
				      NULL, &m, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "pages to measure"));
	free(file);
}

/* The same guest, its masks and area numbers changed and another platform added: the same rest. */
static void rest_ignores_other_platforms(void **state)
{
	u8 a[48], b[48];
	size_t len;
	u8 *file = fixture_platforms(false, &len);

	(void)state;
	rest(file, len, IGVM_PLATFORM_SEV_SNP, a);
	free(file);
	file = fixture_platforms(true, &len);
	rest(file, len, IGVM_PLATFORM_SEV_SNP, b);
	assert_memory_equal(a, b, 48);
	rest(file, len, IGVM_PLATFORM_TDX, b);
	assert_memory_not_equal(a, b, 48);
	free(file);
}

/* The differences of igvmmeasure: areas count one page, shared pages count, zero pages type 3 */
static void as_igvmmeasure(void **state)
{
	struct igvm_measurement m;
	size_t len;
	u8 *file = fixture_five_pages(&len), other[48];

	(void)state;
	measure(file, len, IGVM_PLATFORM_SEV_SNP, 0, &m);
	memcpy(other, m.digest, 48);
	measure(file, len, IGVM_PLATFORM_SEV_SNP, IGVM_MEASURE_AS_IGVMMEASURE, &m);
	assert_int_equal(m.measured_pages, 5);
	assert_int_equal(m.unmeasured_pages, 2);
	assert_int_equal(m.shared_pages, 0);
	assert_memory_not_equal(m.digest, other, 48);
	memcpy(other, m.digest, 48);
	measure(file, len, IGVM_PLATFORM_SEV_SNP,
		IGVM_MEASURE_AS_IGVMMEASURE | IGVM_MEASURE_ZERO_PAGES, &m);
	assert_memory_not_equal(m.digest, other, 48);
	free(file);
}

static void sev_hashes_data_and_vmsa(void **state)
{
	struct igvm_measurement m;
	u8 expected[32], page[4096];
	struct igvm_hash hash;
	size_t len;
	u8 *file = fixture_sev_es(&len);

	(void)state;
	igvm_hash_init(&hash, 32);
	memset(page, 0xaa, sizeof(page));
	igvm_hash_update(&hash, page, sizeof(page));
	memset(page, 0, sizeof(page));
	page[0x178] = 0x34;
	igvm_hash_update(&hash, page, sizeof(page));
	igvm_hash_finish(&hash, expected);
	igvm_hash_free(&hash);
	measure(file, len, IGVM_PLATFORM_SEV_ES, 0, &m);
	assert_int_equal(m.digest_len, 32);
	assert_memory_equal(m.digest, expected, 32);
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refusals),
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(counts),
		cmocka_unit_test(steps_lead_to_the_digest),
		cmocka_unit_test(any_flipped_bit_is_seen),
		cmocka_unit_test(page_attributes_are_measured),
		cmocka_unit_test(large_pages),
		cmocka_unit_test(rest_ignores_other_platforms),
		cmocka_unit_test(as_igvmmeasure),
		cmocka_unit_test(sev_hashes_data_and_vmsa),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
