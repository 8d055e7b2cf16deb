/* Measurement, digest of the rest, ID block check, comparison, signing of any IGVM file. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/endorse.h"
#include "igvm/igvm.h"
#include "tests/unit/igvm_repair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_PAGES 2000 /* that the fuzzer's time is spent on */

static u64 pages_of(const struct igvm *ig)
{
	u64 pages = 0;
	struct igvm_iter it;
	struct igvm_header h;

	for (igvm_first(ig, &it); igvm_next(&it, &h);) {
		if (h.type == IGVM_PAGE_DATA)
			pages += igvm_page_bytes(&h) / IGVM_PAGE_SIZE;
		else if (h.type == IGVM_PARAMETER_AREA)
			pages += h.u.area.number_of_bytes / IGVM_PAGE_SIZE;
		else if (h.type == IGVM_ERROR_RANGE)
			pages += h.u.error_range.size_bytes / IGVM_PAGE_SIZE;
	}
	return pages;
}

static void check_id_blocks(const struct igvm *ig)
{
	struct igvm_id_check check;
	struct igvm_iter it;
	struct igvm_header h;

	for (igvm_first(ig, &it); igvm_next_of(&it, IGVM_SNP_ID_BLOCK, 0, &h);)
		igvm_check_id_block(h.u.snp_id_block, 0x30000, &check);
}

/* With and without steps the same, and the listing leads to itself. */
static void measure(const struct igvm *ig, const struct igvm_supported_platform *p)
{
	struct page_list pages = {0}, again = {0};
	struct igvm_measurement a, b;
	struct page_difference d;
	u8 rest[IGVM_MAX_DIGEST];
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	igvm_measure_rest(ig, p, rest, NULL);
	if (igvm_measure(ig, p, NULL, NULL, &a, NULL))
		return;
	if (igvm_measure(ig, p, page_list_step, &pages, &b, NULL) ||
	    memcmp(a.digest, b.digest, sizeof(a.digest)) || a.measured_pages != b.measured_pages ||
	    a.shared_pages != b.shared_pages)
		abort();
	f = open_memstream(&text, &len);
	if (f) {
		explain_platform(f, p->platform_type);
		igvm_measure(ig, p, explain_step, f, &b, NULL);
		fclose(f);
		if (page_list_from_text(text, len, p->platform_type, &again))
			abort();
		page_list_compare(&pages, &again, &d);
		if (d.measured || d.unmeasured)
			abort();
	}
	free(text);
	page_list_free(&pages);
	page_list_free(&again);
}

/* An image equals itself, and the copy that the writer makes of it. */
static void compare(const struct igvm *ig)
{
	struct igvm_writer *w = igvm_writer_new(ig->version, ig->arch);
	struct igvm_iter it;
	struct igvm_header h;
	struct igvm copy;
	size_t len;
	void *out;
	u64 count;

	if (!w)
		return;
	for (igvm_first(ig, &it); igvm_next(&it, &h);)
		igvm_write_copy(w, &h);
	if (!igvm_writer_finish(w, &out, &len, NULL)) {
		if (igvm_open(&copy, out, len, NULL) ||
		    igvm_diff(ig, &copy, NULL, NULL, &count, NULL) || count)
			abort();
		free(out);
	}
	igvm_writer_free(w);
}

/* A file that differs here and there: any answer is good. */
static void compare_changed(const struct igvm *ig, const uint8_t *data, size_t size)
{
	struct igvm other;
	u8 *file = malloc(size + 1);
	u64 count;

	if (!file)
		return;
	memcpy(file, data, size);
	for (size_t i = ig->headers_offset + 40; i + 8 < size; i += 97)
		file[i] ^= data[i + 1] & 3;
	igvm_repair(file, size);
	if (!igvm_open(&other, file, size, NULL)) {
		igvm_diff(ig, &other, NULL, NULL, &count, NULL);
		igvm_diff(&other, ig, NULL, NULL, &count, NULL);
	}
	free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	u8 *file = malloc(size ? size : 1);
	struct igvm ig;

	if (!file)
		return 0;
	memcpy(file, data, size);
	igvm_repair(file, size);
	if (!igvm_open(&ig, file, size, NULL)) {
		if (pages_of(&ig) <= MAX_PAGES) {
			for (u32 i = 0; i < ig.platform_count; i++)
				measure(&ig, &ig.platform[i]);
		}
		check_id_blocks(&ig);
		compare(&ig);
		compare_changed(&ig, file, size);
	}
	free(file);
	return 0;
}
