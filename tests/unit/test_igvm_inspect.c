/* igvm inspect: what platforms measure, holes, decoded bits; hostile text does not get out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "igvm/decode.h"
#include "igvm/inspect.h"
#include "igvm/inspect_layout.h"
#include "tests/unit/igvm_samples.h"

static json_t *describe(const u8 *file, size_t len)
{
	struct igvm ig;
	json_t *d;

	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	d = inspect_describe(&ig);
	assert_non_null(d);
	return d;
}

static json_t *platform_of(json_t *d, const char *name)
{
	json_t *p;
	size_t i;

	json_array_foreach(json_object_get(d, "platforms"), i, p)
	{
		if (!strcmp(json_string_value(json_object_get(p, "platform")), name))
			return p;
	}
	fail_msg("no platform %s", name);
	return NULL;
}

static long long total(json_t *platform, const char *kind)
{
	return json_integer_value(json_object_get(json_object_get(platform, "totals"), kind));
}

static const char *text(json_t *obj, const char *key)
{
	const char *t = json_string_value(json_object_get(obj, key));

	return t ? t : "";
}

/* Rows ascend, do not overlap, and sum up to the totals. */
static void check_layout(json_t *platform)
{
	unsigned long long end = 0;
	long long sum = 0, totals = 0;
	const char *key;
	json_t *row, *value;
	size_t i;

	json_array_foreach(json_object_get(platform, "layout"), i, row)
	{
		unsigned long long start = strtoull(text(row, "start"), NULL, 16);

		assert_true(start >= end);
		end = strtoull(text(row, "end"), NULL, 16);
		assert_int_equal(end - start, json_integer_value(json_object_get(row, "bytes")));
		sum += (long long)(end - start);
	}
	json_object_foreach(json_object_get(platform, "totals"), key, value)
		totals += json_integer_value(value);
	assert_int_equal(sum, totals);
}

static void platforms_and_totals(void **state)
{
	size_t len;
	u8 *file = x64_sample(2, &len);
	json_t *d = describe(file, len), *p;
	size_t i;

	(void)state;
	assert_int_equal(json_array_size(json_object_get(d, "platforms")), 6);
	json_array_foreach(json_object_get(d, "platforms"), i, p) check_layout(p);
	p = platform_of(d, "vsm");
	assert_int_equal(total(p, "measured"), 4 * 4096 + 2 * MiB);
	assert_int_equal(total(p, "unmeasured"), 4096);
	assert_int_equal(total(p, "parameter"), 3 * 4096);
	assert_int_equal(total(p, "shared"), 0);
	/* required: 48 MiB, minus what lies in it */
	assert_int_equal(total(p, "not imported"), 48 * MiB - 8 * 4096);
	p = platform_of(d, "sev-snp");
	assert_int_equal(total(p, "measured"), 5 * 4096 + 2 * MiB); /* with the place of VMSAs */
	assert_int_equal(total(p, "unmeasured"), 4 * 4096); /* with secrets and both CPUID pages */
	assert_int_equal(total(p, "shared"), 4096);
	p = platform_of(d, "native");
	assert_int_equal(total(p, "measured"), 0);
	assert_int_equal(total(p, "loaded"), 4 * 4096 + 2 * MiB + 4096);
	json_decref(d);
	free(file);
}

static void one_platform(void **state)
{
	size_t len, i;
	u8 *file = x64_sample(2, &len);
	struct igvm ig;
	json_t *d, *h;

	(void)state;
	assert_int_equal(igvm_open(&ig, file, len, NULL), 0);
	d = inspect_describe_some(&ig, TDX, true);
	assert_int_equal(json_array_size(json_object_get(d, "platforms")), 1);
	json_array_foreach(json_object_get(d, "headers"), i, h)
	{
		const char *mask = text(h, "mask");

		assert_true(!*mask || (strtoul(mask, NULL, 16) & TDX));
	}
	json_decref(d);
	d = inspect_describe_some(&ig, TDX, false);
	assert_null(json_object_get(d, "headers"));
	json_decref(d);
	free(file);
}

static void policies(void **state)
{
	static const struct {
		int platform;
		u64 policy;
		const char *json;
	} cases[] = {
		{IGVM_PLATFORM_SEV_SNP, 0x3001f,
		 "{\"policy\": \"0x3001f\", \"abi_minimum\": \"0.31\", \"debug\": false, "
		 "\"allowed\": [\"smt\"]}"},
		{IGVM_PLATFORM_SEV_SNP, 0x1c0137,
		 "{\"policy\": \"0x1c0137\", \"abi_minimum\": \"1.55\", \"debug\": true, "
		 "\"allowed\": [\"migrate-ma\", \"debug\", \"single-socket\"], "
		 "\"invalid\": \"bit 17 is 0, must be 1\"}"},
		{IGVM_PLATFORM_SEV_SNP, BIT(63) | BIT(17),
		 "{\"policy\": \"0x8000000000020000\", \"abi_minimum\": \"0.0\", \"debug\": false, "
		 "\"allowed\": [\"bit 63\"]}"},
		{IGVM_PLATFORM_TDX, 7,
		 "{\"policy\": \"0x7\", \"debug\": true, "
		 "\"attributes\": [\"debug\", \"sept-ve-disable\", \"migratable\"]}"},
		{IGVM_PLATFORM_VSM, 7, "{\"policy\": \"0x7\"}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *is = json_object(), *want = json_loads(cases[i].json, 0, NULL);

		assert_non_null(want);
		decode_policy(is, cases[i].platform, cases[i].policy);
		if (!json_equal(is, want))
			fail_msg("%s", json_dumps(is, 0));
		json_decref(is);
		json_decref(want);
	}
}

static void vmsa(void **state)
{
	struct igvm ig = {.platform_count = 1,
			  .platform[0] = {.mask = 1, .platform_type = IGVM_PLATFORM_SEV_SNP}};
	u8 page[4096] = {0};
	struct igvm_header h = {.mask = 1, .data = page, .data_len = sizeof(page)};
	json_t *obj = json_object(), *want;

	(void)state;
	put_le16(page + 0x10, 8);
	put_le16(page + 0x12, 0xa9b);
	put_le32(page + 0x14, 0xffffffff);
	page[0xca] = 3;
	put_le64(page + 0x178, 0x1234);
	put_le64(page + 0x3b0, 0x2140e1);
	put_le64(page + 0x3e8, 1);
	decode_context(obj, &ig, &h);
	want = json_loads("{\"vmpl\": 3, \"sev_features\": [\"snp\", \"debug-swap\", "
			  "\"prevent-host-ibs\", \"btb-isolation\", \"vmsa-reg-protection\", "
			  "\"secure-avic\", \"ibpb-on-entry\"], \"registers\": {\"cs\": "
			  "{\"selector\": \"0x8\", \"base\": \"0x0\", \"limit\": \"0xffffffff\", "
			  "\"attributes\": \"0xa9b\"}, \"rip\": \"0x1234\", \"xcr0\": \"0x1\"}}",
			  0, NULL);
	assert_non_null(want);
	if (!json_equal(obj, want))
		fail_msg("%s", json_dumps(obj, 0));
	json_decref(obj);
	json_decref(want);
}

/* Every sample as text: all platforms and headers are named, and nothing but printable text. */
static void as_text(void **state)
{
	(void)state;
	for (u32 i = 0; i < 3; i++) {
		size_t len, n;
		u8 *file = i < 2 ? x64_sample(i + 1, &len) : aarch64_sample(&len);
		json_t *d = describe(file, len);
		char *out;
		FILE *f = open_memstream(&out, &n);

		inspect_print(f, d);
		fclose(f);
		for (size_t c = 0; c < n; c++)
			assert_true((out[c] >= 0x20 && out[c] <= 0x7e) || out[c] == '\n');
		assert_null(strstr(out, " \n"));
		if (i < 2) {
			assert_non_null(strstr(out, "Platform sev-es: mask 0x20"));
			assert_non_null(strstr(out, "allowed smt"));
			assert_non_null(strstr(out, "as for sev"));
			assert_non_null(strstr(out, "snp-id-block"));
			assert_non_null(strstr(out, "optional               code=0x80000377"));
		} else {
			assert_non_null(strstr(out, "required_ones debug"));
			assert_non_null(strstr(out, "ttbr0    0x8010001"));
		}
		free(out);
		json_decref(d);
		free(file);
	}
}

/* Required memory that overlaps itself and pages in any order */
static void overlapping_requirements(void **state)
{
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	struct igvm_supported_platform p = {
		.mask = 1, .platform_type = IGVM_PLATFORM_VSM, .platform_version = 1};
	json_t *d;
	void *file;
	size_t len;

	(void)state;
	igvm_write_platform(w, &p);
	igvm_write_required(w, 0x10000, 1, 0x10000, 0);
	igvm_write_required(w, 0x18000, 1, 0x10000, 0);
	igvm_write_required(w, 0x19000, 1, 0x1000, 0);
	igvm_write_required(w, 0x100000, 1, 0x1000, 0);
	igvm_write_page(w, 0x1f000, 1, 0, IGVM_PAGE_NORMAL, NULL, 0);
	igvm_write_page(w, 0x1000, 1, 0, IGVM_PAGE_NORMAL, NULL, 0);
	igvm_write_page(w, 0x10000, 1, 0, IGVM_PAGE_NORMAL, NULL, 0);
	igvm_write_page(w, 0x100000, 1, 0, IGVM_PAGE_NORMAL, NULL, 0);
	assert_int_equal(igvm_writer_finish(w, &file, &len, NULL), 0);
	igvm_writer_free(w);
	d = describe(file, len);
	check_layout(platform_of(d, "vsm"));
	assert_int_equal(total(platform_of(d, "vsm"), "not imported"), 0x18000 - 0x2000);
	assert_int_equal(total(platform_of(d, "vsm"), "measured"), 0x4000);
	json_decref(d);
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(platforms_and_totals),
		cmocka_unit_test(one_platform),
		cmocka_unit_test(policies),
		cmocka_unit_test(vmsa),
		cmocka_unit_test(as_text),
		cmocka_unit_test(overlapping_requirements),
	};

	return cmocka_run_group_tests_name("igvm inspect", tests, NULL, NULL);
}
