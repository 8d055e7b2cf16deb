/*
 * IGVM reader and its consumers on any file: iteration, inspection, relocation, rewriting,
 * extraction, changes.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/extract.h"
#include "igvm/igvm.h"
#include "igvm/inspect.h"
#include "tests/unit/igvm_repair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_headers(const struct igvm *ig)
{
	struct igvm_page_table_relocation pt = {0};
	struct igvm_relocatable_region region = {0};
	struct igvm_iter it;
	struct igvm_header h;
	struct igvm_register reg;
	u64 cr3 = 0;
	u8 *tables;

	for (igvm_first(ig, &it); igvm_next(&it, &h);) {
		volatile u8 sink = 0;

		if (h.data_len)
			sink = (u8)(h.data[0] + h.data[h.data_len - 1]);
		(void)sink;
		if (h.type == IGVM_PAGE_TABLE_RELOCATION)
			pt = h.u.page_table;
		if (h.type == IGVM_RELOCATABLE_REGION)
			region = h.u.relocatable;
		if (h.type != IGVM_VP_CONTEXT || igvm_platform_of(ig, h.mask) != IGVM_PLATFORM_VSM)
			continue;
		for (u32 i = 0; i < igvm_register_count(&h); i++)
			igvm_register_get(ig, &h, i, &reg);
		igvm_register_u64(ig, &h, IGVM_X64_CR3, &cr3);
	}
	if (!pt.size || !region.size || ig->arch != IGVM_ARCH_X64)
		return;
	tables = calloc(1, pt.size);
	if (!tables)
		return;
	for (igvm_first(ig, &it); igvm_next_of(&it, IGVM_PAGE_DATA, pt.mask, &h);) {
		if (h.data && h.u.page.gpa >= pt.gpa && h.u.page.gpa - pt.gpa < pt.size)
			memcpy(tables + (h.u.page.gpa - pt.gpa), h.data, h.data_len);
	}
	igvm_relocate_page_tables(tables, &pt, &region, region.alignment * 3, &cr3, NULL);
	free(tables);
}

/* What the reader takes, the writer can write, and the reader takes that again. */
static void rewrite(const struct igvm *ig, struct igvm_writer *w, bool same)
{
	struct igvm_iter it;
	struct igvm_header h;
	void *out;
	size_t len;

	if (!w)
		return;
	for (igvm_first(ig, &it); igvm_next(&it, &h);)
		igvm_write_copy(w, &h);
	if (igvm_writer_finish(w, &out, &len, NULL))
		abort();
	if (same && (len != ig->file_size || memcmp(out, ig->file, len)))
		abort();
	free(out);
	igvm_writer_free(w);
}

static void inspect(const struct igvm *ig)
{
	static FILE *null;
	json_t *d = inspect_describe(ig);

	if (!null)
		null = fopen("/dev/null", "w");
	if (d && null)
		inspect_print(null, d);
	json_decref(d);
	json_decref(inspect_describe_some(ig, 1, false));
}

/* The same in every file, so that the image alone decides what happens */
static void change(const u8 *file, size_t size)
{
	static const struct igvm_patch patches[] = {
		{.cmdline = "new", .append = "more", .drop_endorsements = true},
		{.memory_size = 64 * MiB},
		{.memory_size = 1200 * MiB, .drop_endorsements = true},
	};
	void *out;
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(patches); i++) {
		if (!igvm_patch(file, size, &patches[i], &out, &len, NULL))
			free(out);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	u8 *file = malloc(size ? size : 1);
	struct extract_files parts;
	struct igvm_error err;
	struct igvm ig;

	if (!file)
		return 0;
	memcpy(file, data, size);
	igvm_repair(file, size);
	if (igvm_open(&ig, file, size, &err)) {
		if (!err.text[0])
			abort();
	} else {
		use_headers(&ig);
		rewrite(&ig, igvm_writer_new(ig.version, ig.arch), false);
		rewrite(&ig, igvm_writer_like(&ig), true);
		inspect(&ig);
		change(file, size);
		extract_all(&ig, ~0u, &parts, &err);
		extract_free(&parts);
	}
	free(file);
	return 0;
}
