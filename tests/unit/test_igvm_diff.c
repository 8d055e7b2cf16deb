/* Comparison of images, lists of pages, endorsements: damaged and contradictory input first. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/endorse.h"
#include "igvm/igvm.h"
#include "tests/unit/igvm_fixture.h"
#include "tests/unit/igvm_repair.h"

struct seen {
	u64 count;
	struct igvm_difference first;
};

static void see(void *ctx, const struct igvm_difference *d)
{
	struct seen *s = ctx;

	if (!s->count++)
		s->first = *d;
}

/* Number of differences; *first is the first one. Frees both. */
static u64 differences(u8 *a, size_t a_len, u8 *b, size_t b_len, struct igvm_difference *first)
{
	struct seen seen = {0};
	struct igvm ia, ib;
	u64 count, back;

	assert_int_equal(igvm_open(&ia, a, a_len, NULL), 0);
	assert_int_equal(igvm_open(&ib, b, b_len, NULL), 0);
	assert_int_equal(igvm_diff(&ia, &ib, see, &seen, &count, NULL), 0);
	assert_int_equal(count, seen.count);
	assert_int_equal(igvm_diff(&ib, &ia, NULL, NULL, &back, NULL), 0);
	assert_int_equal(count, back);
	if (first)
		*first = seen.first;
	free(a);
	free(b);
	return count;
}

static void equal_images(void **state)
{
	size_t a_len, b_len;
	u8 *a = fixture_distinct_pages(&a_len);
	u8 *b = fixture_distinct_pages(&b_len);

	(void)state;
	assert_int_equal(differences(a, a_len, b, b_len, NULL), 0);
}

static void digests_of(const u8 *file, size_t len, u8 out[3][2 * IGVM_MAX_DIGEST])
{
	struct igvm_measurement m;
	struct igvm ig;

	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	for (u32 i = 0; i < 3; i++) {
		assert_int_equal(igvm_measure(&ig, &ig.platform[i], NULL, NULL, &m, NULL), 0);
		memcpy(out[i], m.digest, sizeof(m.digest));
		assert_int_equal(
			igvm_measure_rest(&ig, &ig.platform[i], out[i] + IGVM_MAX_DIGEST, NULL), 0);
	}
}

/*
 * A bit flipped anywhere is refused by the reader, or a difference, or without meaning (bits of
 * masks that no platform has): then no measurement and no digest of the rest changes either.
 */
static void every_changed_bit_is_a_difference(void **state)
{
	u8 before[3][2 * IGVM_MAX_DIGEST], after[3][2 * IGVM_MAX_DIGEST];
	size_t len, compared = 0;
	u8 *good = fixture_distinct_pages(&len);
	struct igvm ig;

	(void)state;
	digests_of(good, len, before);
	for (size_t at = 24; at < len; at += at < 1000 ? 1 : 251) {
		u8 *a = malloc(len), *b = malloc(len);
		bool same;

		memcpy(a, good, len);
		memcpy(b, good, len);
		b[at] ^= 1u << (at % 8);
		fix_checksum(b);
		if (igvm_open(&ig, b, len, NULL)) {
			free(a);
			free(b);
			continue;
		}
		compared++;
		digests_of(b, len, after);
		same = differences(a, len, b, len, NULL) == 0;
		assert_int_equal(memcmp(before, after, sizeof(before)) == 0, same);
	}
	assert_true(compared > 150);
	free(good);
}

static void names_the_place(void **state)
{
	struct igvm_page_data page = {.gpa = 0x1000, .mask = 7}, other = page;
	struct igvm_difference d;
	size_t a_len, b_len;
	u8 *a = fixture_one_page(&page, &a_len);
	u8 *b = fixture_one_page(&page, &b_len);

	(void)state;
	b[b_len - 4096 + 5] ^= 0x80;
	assert_int_equal(differences(a, a_len, b, b_len, &d), 3);
	assert_int_equal(d.kind, IGVM_DIFF_DATA);
	assert_int_equal(d.platform, IGVM_PLATFORM_VSM);
	assert_int_equal(d.type, IGVM_PAGE_DATA);
	assert_int_equal(d.gpa, 0x1000);
	assert_int_equal(d.header_a, 4);
	assert_int_equal(d.at, 5);
	assert_int_equal(d.bytes, 1);
	assert_int_equal(d.len, 4096);

	other.flags = IGVM_PAGE_UNMEASURED;
	a = fixture_one_page(&page, &a_len);
	b = fixture_one_page(&other, &b_len);
	assert_int_equal(differences(a, a_len, b, b_len, &d), 3);
	assert_int_equal(d.kind, IGVM_DIFF_FIELD);
	assert_string_equal(d.field, "flags");
	assert_int_equal(d.value_a, 0);
	assert_int_equal(d.value_b, 2);

	other.gpa = 0x5000;
	a = fixture_one_page(&page, &a_len);
	b = fixture_one_page(&other, &b_len);
	assert_int_equal(differences(a, a_len, b, b_len, &d), 6);
	assert_int_equal(d.kind, IGVM_DIFF_ONLY_A);
	assert_int_equal(d.header_b, IGVM_NO_HEADER);
}

/* One page more in front: one difference, not all pages behind it. */
static void an_inserted_page_is_one_difference(void **state)
{
	size_t a_len, b_len;
	u8 *file[2];

	(void)state;
	for (int more = 0; more < 2; more++) {
		struct igvm_writer *w = fixture_begin(FIXTURE_SNP);

		for (u64 i = 0; i < 20; i++) {
			if (i != 7 || more)
				fixture_page(w, 0x1000 * (i + 1), 0, (u8)i);
		}
		file[more] = fixture_end(w, more ? &b_len : &a_len);
	}
	assert_int_equal(differences(file[0], a_len, file[1], b_len, NULL), 3);
}

/* The platform beside it counts once; the same guest with other masks and areas not at all. */
static void other_platforms(void **state)
{
	struct igvm_difference d;
	size_t a_len, b_len;
	u8 *a = fixture_platforms(false, &a_len);
	u8 *b = fixture_platforms(true, &b_len);

	(void)state;
	assert_int_equal(differences(a, a_len, b, b_len, &d), 1);
	assert_int_equal(d.kind, IGVM_DIFF_FILE);
	assert_int_equal(d.platform, IGVM_PLATFORM_TDX);
}

static void collect(const u8 *file, size_t len, enum igvm_platform_type type, struct igvm *ig,
		    struct igvm_measurement *m, struct page_list *pages)
{
	assert_int_equal(igvm_open(ig, file, len, NULL), 0);
	assert_int_equal(
		igvm_measure(ig, igvm_find_platform(ig, type), page_list_step, pages, m, NULL), 0);
}

static void page_lists(void **state)
{
	struct page_list pages = {0}, read = {0};
	struct page_difference d;
	struct igvm_measurement m;
	struct igvm ig;
	size_t len, text_len;
	u8 *file = fixture_distinct_pages(&len);
	char *text, name[48];
	json_t *json;
	FILE *f;

	(void)state;
	collect(file, len, IGVM_PLATFORM_VSM, &ig, &m, &pages);
	json = page_list_json(&pages);
	assert_int_equal(page_list_from_json(json, &read), 0);
	page_list_compare(&pages, &read, &d);
	assert_int_equal(read.count, pages.count);
	assert_int_equal(d.measured + d.unmeasured, 0);
	json_decref(json);

	/* measured page, register, unmeasured page, a page less */
	read.v[0].digest[0] ^= 1;
	page_list_compare(&pages, &read, &d);
	assert_int_equal(d.measured, 1);
	assert_string_equal(page_entry_name(&d.first_measured, name, sizeof(name)), "page 0x1000");
	read.v[0].digest[0] ^= 1;
	read.v[read.count - 2].digest[3] ^= 1;
	page_list_compare(&pages, &read, &d);
	assert_string_equal(page_entry_name(&d.first_measured, name, sizeof(name)), "register rip");
	read.v[read.count - 2].digest[3] ^= 1;
	read.v[1].digest[3] ^= 1;
	page_list_compare(&pages, &read, &d);
	assert_int_equal(d.measured, 0);
	assert_int_equal(d.unmeasured, 1);
	assert_int_equal(d.first_unmeasured.gpa, 0x2000);
	read.v[1].digest[3] ^= 1;
	memmove(read.v, read.v + 1, (read.count - 1) * sizeof(*read.v));
	read.count--;
	page_list_compare(&pages, &read, &d);
	assert_int_equal(d.measured, 1);
	assert_int_equal(d.first_measured.gpa, 0x1000);
	page_list_compare(&read, &pages, &d);
	assert_int_equal(d.measured, 1);
	assert_int_equal(d.first_measured.gpa, 0x1000);
	page_list_free(&read);

	f = open_memstream(&text, &text_len);
	explain_platform(f, IGVM_PLATFORM_VSM);
	assert_int_equal(igvm_measure(&ig, igvm_find_platform(&ig, IGVM_PLATFORM_VSM), explain_step,
				      f, &m, NULL),
			 0);
	fclose(f);
	assert_int_equal(page_list_from_text(text, text_len, IGVM_PLATFORM_VSM, &read), 0);
	page_list_compare(&pages, &read, &d);
	assert_int_equal(read.count, pages.count);
	assert_int_equal(d.measured + d.unmeasured, 0);
	page_list_free(&read);
	assert_int_equal(page_list_from_text(text, text_len, IGVM_PLATFORM_TDX, &read), -ENOENT);
	text[100] = '?';
	assert_int_equal(page_list_from_text(text, text_len, IGVM_PLATFORM_VSM, &read), -EINVAL);
	page_list_free(&read);
	page_list_free(&pages);
	free(text);
	free(file);
}

static void refused_endorsements(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"series\":[]}",
		"{\"series\":[{},{}]}",
		"{\"series\":[{\"reference\":{\"snp_ld\":\"00\"}}]}",
		"{\"series\":[{\"reference\":{\"vbs_boot_digest\":"
		"\"0000000000000000000000000000000000000000000000000000000000000000\"},"
		"\"endorsement\":{\"vbs_isvsvn\":-1}}]}",
		"{\"series\":[{\"reference\":{\"vbs_boot_digest\":"
		"\"0000000000000000000000000000000000000000000000000000000000000000\"},"
		"\"endorsement\":{\"vbs_isvsvn\":1}}],\"parapet\":{\"platform\":\"tdx\"}}",
		"\xd9\x01\xf5",
	};
	struct igvm_endorsement e;
	struct page_list pages;
	struct igvm_error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		err.text[0] = 0;
		assert_int_equal(endorse_read(bad[i], strlen(bad[i]), &e, &pages, &err), -EINVAL);
		assert_true(err.text[0]);
		page_list_free(&pages);
	}
}

/* As igvmfilegen writes it: without what is ours */
static void igvmfilegen_document(void **state)
{
	static const char text[] =
		"{\"environment\":{\"class_id\":\"7fb00ee4-a7ff-11ed-9e2f-00155d09de56\"},"
		"\"series\":[{\"reference\":{\"vbs_boot_digest\":"
		"\"30134C9BB89CD72D8A418D1E7AFB75927F45E8571DDA7AC7BE87D4B6C72CA64C\"},"
		"\"endorsement\":{\"vbs_isvsvn\":12,\"build_info\":{\"debug_build\":false}}}]}";
	struct igvm_endorsement e;
	struct page_list pages;
	struct igvm_measurement m;
	struct igvm ig;
	size_t len;
	u8 *file = fixture_twelve_pages(&len);

	(void)state;
	assert_int_equal(endorse_read(text, sizeof(text) - 1, &e, &pages, NULL), 0);
	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	assert_int_equal(
		igvm_measure(&ig, igvm_find_platform(&ig, e.platform), NULL, NULL, &m, NULL), 0);
	assert_int_equal(e.digest_len, m.digest_len);
	assert_memory_equal(e.digest, m.digest, 32);
	assert_int_equal(e.svn, 12);
	assert_false(e.has_rest);
	page_list_free(&pages);
	free(file);
}

static void our_document(void **state)
{
	static const enum igvm_platform_type types[] = {IGVM_PLATFORM_SEV_SNP, IGVM_PLATFORM_TDX,
							IGVM_PLATFORM_VSM};
	size_t len;
	u8 *file = fixture_distinct_pages(&len);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct igvm_endorsement e = {.platform = types[i], .svn = 3, .has_rest = true};
		struct igvm_endorsement read;
		struct page_list pages = {0}, read_pages;
		struct page_difference d;
		struct igvm_measurement m;
		struct igvm ig;
		json_t *json;
		char *text;

		collect(file, len, types[i], &ig, &m, &pages);
		e.digest_len = m.digest_len;
		memcpy(e.digest, m.digest, sizeof(e.digest));
		assert_int_equal(
			igvm_measure_rest(&ig, igvm_find_platform(&ig, types[i]), e.rest, NULL), 0);
		json = endorse_json(&e, false, &pages);
		text = json_dumps(json, 0);
		assert_int_equal(endorse_read(text, strlen(text), &read, &read_pages, NULL), 0);
		assert_memory_equal(&e, &read, sizeof(e));
		page_list_compare(&pages, &read_pages, &d);
		assert_int_equal(read_pages.count, pages.count);
		assert_int_equal(d.measured + d.unmeasured, 0);
		page_list_free(&pages);
		page_list_free(&read_pages);
		json_decref(json);
		free(text);
	}
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused_endorsements),
		cmocka_unit_test(igvmfilegen_document),
		cmocka_unit_test(our_document),
		cmocka_unit_test(page_lists),
		cmocka_unit_test(equal_images),
		cmocka_unit_test(every_changed_bit_is_a_difference),
		cmocka_unit_test(names_the_place),
		cmocka_unit_test(an_inserted_page_is_one_difference),
		cmocka_unit_test(other_platforms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
