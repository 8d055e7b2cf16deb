/* igvm patch: gives what the builder gives for the same values; what does not fit is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "tests/unit/igvm_build_fixture.h"
#include "tests/unit/igvm_samples.h"

#define NONE_ "\"none\""
#define VBS_  "{\"vbs\":{\"enable_debug\":false}}"
#define SNP_                                                                            \
	"{\"snp\":{\"shared_gpa_boundary_bits\":46,\"policy\":196639,\"enable_debug\":" \
	"false,\"injection_type\":\"normal\"}}"
#define TDX_ "{\"tdx\":{\"enable_debug\":false,\"sept_ve_disable\":true}}"

#define LINUX ",\"linux\":{\"use_initrd\":true,\"command_line\":\"console=ttyS0\"}"

static char json[8192];

static void config(size_t *at, const char *isolation, u32 pages, const char *cmdline,
		   const char *more)
{
	*at += (size_t)snprintf(
		json + *at, sizeof(json) - *at,
		"%s{\"guest_svn\":1,\"max_vtl\":2,\"isolation_type\":%s,\"image\":{"
		"\"openhcl\":{\"memory_page_count\":%u,\"command_line\":\"%s\"%s}}}",
		json[*at - 1] == '[' ? "" : ",", isolation, pages, cmdline, more);
}

/* One platform for each isolation in the list, which NULL ends */
static u8 *image_of(const char *const *isolation, u32 pages, const char *cmdline, const char *more,
		    size_t *len)
{
	size_t at = (size_t)snprintf(json, sizeof(json),
				     "{\"guest_arch\":\"x64\",\"guest_configs\":[");
	struct igvm_error err = {0};
	u8 *image;

	for (; *isolation; isolation++)
		config(&at, *isolation, pages, cmdline, more);
	snprintf(json + at, sizeof(json) - at, "]}");
	image = build(json, len, &err);
	if (!image)
		fail_msg("%s: %s", json, err.text);
	return image;
}

static const char *const none[] = {NONE_, NULL}, *const vbs[] = {VBS_, NULL},
			 *const snp[] = {SNP_, NULL}, *const tdx[] = {TDX_, NULL},
			 *const all[] = {VBS_, SNP_, TDX_, NULL};

/* What is built with one set of values and patched equals what is built with the other. */
static void as_the_builder(void **state)
{
	static const struct {
		const char *name;
		const char *const *isolation;
		u32 pages_before, pages_after;
		const char *cmdline_before, *cmdline_after, *more;
	} cases[] = {
		{"cmdline", none, 12288, 12288, "quiet", "loglevel=7 debug", ""},
		{"cmdline to nothing", none, 12288, 12288, "quiet", "", ""},
		{"cmdline from nothing", none, 12288, 12288, "", "quiet", ""},
		{"cmdline, static", none, 12288, 12288, "a", "b", ",\"static_command_line\":true"},
		{"larger", none, 12288, 16384, "quiet", NULL, ""},
		{"smaller", none, 16384, 12288, "quiet", NULL, ""},
		{"over the first GiB", none, 12288, 512 * 600, "quiet", NULL, ""},
		{"back below it", none, 512 * 600, 12288, "quiet", NULL, ""},
		{"both", none, 12288, 512 * 600, "quiet", "verbose", ""},
		{"VBS", vbs, 12288, 512 * 600, "quiet", "verbose", ""},
		{"SNP", snp, 16384, 512 * 600, "quiet", "verbose", ""},
		{"SNP smaller", snp, 512 * 600, 16384, "quiet", "verbose", ""},
		{"TDX", tdx, 16384, 512 * 600, "quiet", "verbose", ""},
		{"TDX smaller", tdx, 512 * 600, 16384, "quiet", "verbose", ""},
		{"three platforms", all, 16384, 512 * 600, "quiet", "verbose", ""},
		{"payload below", none, 12288, 12288, "quiet", "verbose", LINUX},
		{"payload on SNP", snp, 16384, 512 * 300, "quiet", "verbose", LINUX},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *cmdline_after = cases[i].cmdline_after;
		struct igvm_patch patch = {.cmdline = cmdline_after};
		struct igvm_error err = {0};
		size_t before_len, after_len, len;
		u8 *before, *after;
		void *out;

		if (cases[i].pages_after != cases[i].pages_before)
			patch.memory_size = cases[i].pages_after * 4096ull;
		before = image_of(cases[i].isolation, cases[i].pages_before,
				  cases[i].cmdline_before, cases[i].more, &before_len);
		after = image_of(cases[i].isolation, cases[i].pages_after,
				 cmdline_after ? cmdline_after : cases[i].cmdline_before,
				 cases[i].more, &after_len);
		if (igvm_patch(before, before_len, &patch, &out, &len, &err))
			fail_msg("%s: %s", cases[i].name, err.text);
		if (len != after_len || memcmp(out, after, len))
			fail_msg("%s: not what the builder makes", cases[i].name);
		assert_true(len != before_len || memcmp(out, before, len) != 0);
		free(out);
		free(before);
		free(after);
	}
}

static void append_and_nothing(void **state)
{
	size_t len, len2, want_len;
	u8 *image = image_of(none, 12288, "quiet", "", &len);
	u8 *want = image_of(none, 12288, "quiet x=1", "", &want_len);
	struct igvm_patch patch = {.append = "x=1"};
	struct igvm_error err;
	void *out;

	(void)state;
	assert_int_equal(igvm_patch(image, len, &patch, &out, &len2, &err), 0);
	assert_int_equal(len2, want_len);
	assert_memory_equal(out, want, len2);
	free(out);
	/* To the new text; not one space at the start */
	patch = (struct igvm_patch){.cmdline = "", .append = "quiet x=1"};
	assert_int_equal(igvm_patch(image, len, &patch, &out, &len2, &err), 0);
	assert_memory_equal(out, want, len2);
	free(out);
	/* The size that it has */
	patch = (struct igvm_patch){.memory_size = 12288 * 4096};
	assert_int_equal(igvm_patch(image, len, &patch, &out, &len2, &err), 0);
	assert_int_equal(len2, len);
	assert_memory_equal(out, image, len);
	free(out);
	free(image);
	free(want);
}

static char long_text[4200];

static void refused(void **state)
{
	static const struct {
		struct igvm_patch patch;
		const char *text;
	} cases[] = {
		{{.memory_size = 4096}, "multiple of 2 MiB"},
		{{.memory_size = 4 * GiB}, "below 4 GiB"},
		{{.memory_size = ~0ull << 21}, "below 4 GiB"},
		{{.memory_size = 6 * MiB}, "too small"},
		{{.cmdline = long_text}, "4199 characters"},
		{{.append = long_text}, "4205 characters"},
		{{.cmdline = "", .append = long_text}, "4200 characters"},
	};
	size_t len, len2;
	u8 *image = image_of(none, 12288, "quiet", "", &len);
	struct igvm_error err;
	void *out;

	(void)state;
	memset(long_text, 'x', sizeof(long_text) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		err.text[0] = 0;
		if (igvm_patch(image, len, &cases[i].patch, &out, &len2, &err) != -EINVAL ||
		    !strstr(err.text, cases[i].text))
			fail_msg("want \"%s\", got \"%s\"", cases[i].text, err.text);
	}
	/* All that fits: 4092 characters */
	long_text[4092] = 0;
	assert_int_equal(igvm_patch(image, len, &cases[4].patch, &out, &len2, &err), 0);
	free(out);
	free(image);

	/* Not a paravisor */
	image = x64_sample(1, &len);
	assert_int_equal(igvm_patch(image, len,
				    &(struct igvm_patch){.cmdline = "x", .drop_endorsements = true},
				    &out, &len2, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "not a paravisor"));
	free(image);
}

static u8 *copy_and_add(const u8 *image, size_t len, u64 gpa, const u8 *id, size_t *out_len)
{
	struct igvm_writer *w;
	struct igvm_error err;
	struct igvm_iter it;
	struct igvm_header h;
	struct igvm ig;
	void *out;

	assert_int_equal(igvm_open(&ig, image, len, NULL), 0);
	w = igvm_writer_new(ig.version, ig.arch);
	for (igvm_first(&ig, &it); igvm_next(&it, &h);)
		igvm_write_copy(w, &h);
	if (gpa)
		igvm_write_page(w, gpa, 1, 0, IGVM_PAGE_NORMAL, "mine", 4);
	if (id)
		igvm_write(w, IGVM_SNP_ID_BLOCK, id, sizeof(struct igvm_snp_id_block), NULL, 0);
	if (igvm_writer_finish(w, &out, out_len, &err))
		fail_msg("%s", err.text);
	igvm_writer_free(w);
	return out;
}

/* Pages that VTL2's memory would grow over */
static void pages_in_the_way(void **state)
{
	size_t len, len2, len3;
	u8 *image = image_of(none, 12288, "quiet", "", &len);
	u8 *other = copy_and_add(image, len, SHIM_DEFAULT_BASE + 64 * MiB, NULL, &len2);
	struct igvm_patch patch = {.memory_size = 66 * MiB};
	struct igvm_error err;
	void *out;

	(void)state;
	assert_int_equal(igvm_patch(other, len2, &patch, &out, &len3, &err), -EINVAL);
	assert_non_null(strstr(err.text, "would cover page 0xc000000"));
	patch.memory_size = 64 * MiB;
	assert_int_equal(igvm_patch(other, len2, &patch, &out, &len3, &err), 0);
	free(out);
	free(other);
	free(image);
}

static void endorsements(void **state)
{
	static const struct igvm_snp_id_block id = {.mask = 1, .version = 1};
	size_t len, len2, len3, want_len;
	u8 *image = image_of(snp, 16384, "quiet", "", &len);
	u8 *want = image_of(snp, 16384, "loud", "", &want_len);
	u8 *other = copy_and_add(image, len, 0, (const u8 *)&id, &len2);
	struct igvm_patch patch = {.cmdline = "loud"};
	struct igvm_error err;
	void *out;

	(void)state;
	assert_int_equal(igvm_patch(other, len2, &patch, &out, &len3, &err), -EINVAL);
	assert_non_null(strstr(err.text, "snp-id-block would not match"));
	patch.drop_endorsements = true;
	assert_int_equal(igvm_patch(other, len2, &patch, &out, &len3, &err), 0);
	assert_int_equal(len3, want_len);
	assert_memory_equal(out, want, want_len);
	free(out);
	free(other);
	free(want);
	free(image);
}

/* Page tables that somebody else made are left alone. */
static void foreign_tables(void **state)
{
	size_t len, len2;
	u8 *image = image_of(none, 12288, "quiet", "", &len);
	struct igvm_patch patch = {.memory_size = 64 * MiB};
	struct igvm_error err;
	struct igvm_header h;
	struct igvm ig;
	void *out;
	u64 cr3;

	(void)state;
	assert_int_equal(igvm_open(&ig, image, len, NULL), 0);
	assert_true(find_header(&ig, IGVM_VP_CONTEXT, 0, &h));
	assert_true(igvm_register_u64(&ig, &h, IGVM_X64_CR3, &cr3));
	for (u32 i = 0; find_header(&ig, IGVM_PAGE_DATA, i, &h); i++) {
		if (h.u.page.gpa == cr3)
			image[h.data - image] ^= 0x40;
	}
	assert_int_equal(igvm_patch(image, len, &patch, &out, &len2, &err), -EINVAL);
	assert_non_null(strstr(err.text, "cannot be changed"));
	free(image);
}

/* Gives the data of the page at gpa to `change`; its result is the page's new data, NULL: none. */
static u8 *change_page(const u8 *image, size_t len, u64 gpa, bool drop,
		       void (*change)(u8 *page, const struct igvm_paravisor *pv), size_t *out_len)
{
	struct igvm_paravisor pv;
	struct igvm_writer *w;
	struct igvm_iter it;
	struct igvm_header h;
	struct igvm ig;
	u8 page[4096];
	void *out;

	assert_int_equal(igvm_open(&ig, image, len, NULL), 0);
	assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, NULL), 0);
	w = igvm_writer_new(ig.version, ig.arch);
	for (igvm_first(&ig, &it); igvm_next(&it, &h);) {
		if (h.type != IGVM_PAGE_DATA || h.u.page.gpa != gpa) {
			igvm_write_copy(w, &h);
			continue;
		}
		memset(page, 0, sizeof(page));
		if (h.data)
			memcpy(page, h.data, sizeof(page));
		if (!drop) {
			change(page, &pv);
			igvm_write_page(w, gpa, h.mask, 0, IGVM_PAGE_NORMAL, page, sizeof(page));
		}
	}
	assert_int_equal(igvm_writer_finish(w, &out, out_len, NULL), 0);
	igvm_writer_free(w);
	return out;
}

static void larger_use(u8 *page, const struct igvm_paravisor *pv)
{
	struct shim_params p = pv->params;

	p.used_end += 4096;
	memcpy(page, &p, sizeof(p));
}
static void heap_far_away(u8 *page, const struct igvm_paravisor *pv)
{
	struct shim_params p = pv->params;

	p.heap_size = 1ull << 40;
	memcpy(page, &p, sizeof(p));
}
static void empty_list(u8 *page, const struct igvm_paravisor *pv)
{
	(void)pv;
	memset(page + 48, 0, 24);
}

/* Images that only look like ours are not changed half. */
static void contradictions(void **state)
{
	size_t len, len2, len3;
	u8 *image = image_of(none, 12288, "quiet", "", &len);
	struct igvm_patch patch = {.memory_size = 64 * MiB};
	struct igvm_paravisor pv;
	struct igvm ig;
	u64 tables;

	(void)state;
	assert_int_equal(igvm_open(&ig, image, len, NULL), 0);
	assert_int_equal(igvm_find_paravisor(&ig, 1, &pv, NULL), 0);
	tables = pv.shim_gpa + (u64)pv.params.heap + pv.params.heap_size;
	const struct {
		u64 gpa;
		bool drop;
		void (*change)(u8 *page, const struct igvm_paravisor *pv);
		const char *text;
	} cases[] = {{pv.params_gpa, false, larger_use, "another size"},
		     {pv.params_gpa, false, heap_far_away, "contradict"},
		     {tables + 0x6000, true, NULL, "not all of its page tables"},
		     {pv.imported_gpa, false, empty_list, "list of imported regions"}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		u8 *other = change_page(image, len, cases[i].gpa, cases[i].drop, cases[i].change,
					&len2);
		struct igvm_error err = {0};
		void *out;

		if (igvm_patch(other, len2, &patch, &out, &len3, &err) != -EINVAL ||
		    !strstr(err.text, cases[i].text))
			fail_msg("want \"%s\", got \"%s\"", cases[i].text, err.text);
		free(other);
	}
	free(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused),	  cmocka_unit_test(pages_in_the_way),
		cmocka_unit_test(endorsements),	  cmocka_unit_test(contradictions),
		cmocka_unit_test(foreign_tables), cmocka_unit_test(append_and_nothing),
		cmocka_unit_test(as_the_builder),
	};

	make_inputs();
	return cmocka_run_group_tests_name("igvm patch", tests, NULL, NULL);
}
