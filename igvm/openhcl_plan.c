/* Pages of OpenHCL-style images, hashes of the shared ones, list of all. */
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/hash.h"
#include "igvm/openhcl.h"
#include "igvm/snp.h"

/* List of page hashes: this header, then SHA-384 of each shared page */
#define HASHES_MAGIC   0x53485045u
#define HASHES_VERSION 1u
#define HASHES_HEADER  16u
#define HASHES_MAX     (u32)((SHIM_CONFIG_HASHES_PAGES * PAGE_SIZE - HASHES_HEADER) / SHA384_BYTES)

#define FAIL(...) igvm_fail(err, IGVM_NO_HEADER, 0, __VA_ARGS__)

const struct openhcl_area openhcl_areas[OPENHCL_AREAS] = {
	{IGVM_SLIT, SHIM_CONFIG_SLIT, SHIM_CONFIG_SLIT_PAGES, "slit"},
	{IGVM_PPTT, SHIM_CONFIG_PPTT, SHIM_CONFIG_PPTT_PAGES, "pptt"},
	{IGVM_DEVICE_TREE, SHIM_CONFIG_DT, SHIM_CONFIG_DT_PAGES, "host-device-tree"},
};

/* Kernel and initrd: on SNP and TDX the shim accepts and checks them after a quick launch. */
static int plan_programs(struct builder *b, struct igvm_error *err)
{
	const struct blob *initrd = &b->resource[RESOURCE_INITRD];
	const struct layout *l = &b->l;
	int ret = page_plan_add_elf(&b->plan, &b->kernel, l->kernel - b->kernel.low, "kernel", err);

	if (!ret)
		ret = page_plan_add(&b->plan, l->initrd, initrd->data, initrd->len, initrd->len,
				    "initrd", err);
	if (!ret && b->is_shared)
		page_plan_share(&b->plan, 0);
	if (!ret && l->sidecar_size)
		ret = page_plan_add_elf(&b->plan, &b->sidecar, l->sidecar, "sidecar", err);
	if (!ret)
		ret = page_plan_add_elf(&b->plan, &b->shim, l->shim, "shim", err);
	return ret;
}

struct piece {
	u64 gpa;
	const void *data;
	size_t len;
	u64 bytes;
	const char *tag;
	enum igvm_page_type type;
};

static int plan_pieces(struct page_plan *plan, const struct piece *piece, u32 count,
		       struct igvm_error *err)
{
	for (u32 i = 0; i < count; i++) {
		int ret = page_plan_add(plan, piece[i].gpa, piece[i].data, piece[i].len,
					piece[i].bytes, piece[i].tag, err);

		if (ret)
			return ret;
		plan->run[plan->count - 1].type = piece[i].type;
	}
	return 0;
}

static int plan_platform(struct builder *b, struct igvm_error *err)
{
	u64 reserved = b->l.reserved;
	const struct piece snp[] = {
		{reserved + RESERVED_CPUID * PAGE_SIZE, b->cpuid, PAGE_SIZE, PAGE_SIZE, "cpuid",
		 IGVM_PAGE_CPUID_DATA},
		{reserved + RESERVED_CPUID_XF * PAGE_SIZE, NULL, 0, PAGE_SIZE, "cpuid-xf",
		 IGVM_PAGE_CPUID_XF},
		{reserved + RESERVED_SECRETS * PAGE_SIZE, NULL, 0, PAGE_SIZE, "secrets",
		 IGVM_PAGE_SECRETS},
	};
	const struct piece tdx[] = {
		{SHIM_TDX_RESET_PAGE, b->reset, PAGE_SIZE, PAGE_SIZE, "reset-page",
		 IGVM_PAGE_NORMAL},
	};

	switch (b->c->isolation.kind) {
	case MANIFEST_SNP:
		snp_make_cpuid_page(b->cpuid);
		return plan_pieces(&b->plan, snp, ARRAY_SIZE(snp), err);
	case MANIFEST_TDX: return plan_pieces(&b->plan, tdx, ARRAY_SIZE(tdx), err);
	case MANIFEST_NONE:
	case MANIFEST_VBS: break;
	}
	return 0;
}

static int plan_uefi(struct builder *b, struct igvm_error *err)
{
	int ret;

	if (!b->uefi)
		return 0;
	ret = page_plan_add(&b->plan, OPENHCL_VTL0_CONTEXT, b->uefi_context,
			    sizeof(b->uefi_context), PAGE_SIZE, "vtl0-uefi-context", err);
	return ret ? ret : uefi_plan(&b->plan, b->uefi, b->resource[RESOURCE_UEFI].data, err);
}

static int plan_all(struct builder *b, struct igvm_error *err)
{
	const struct layout *l = &b->l;
	const struct piece pieces[] = {
		{0, &b->vtl0, sizeof(b->vtl0), PAGE_SIZE, "vtl0-config", 0},
		{l->gdt, b->gdt, sizeof(b->gdt), PAGE_SIZE, "gdt", 0},
		{l->params, &b->params, sizeof(b->params), PAGE_SIZE, "shim-params", 0},
		{l->cmdline, &b->cmdline, sizeof(b->cmdline), PAGE_SIZE, "command-line", 0},
		{l->config + SHIM_CONFIG_MEASURED * PAGE_SIZE, b->vtl2, sizeof(b->vtl2), PAGE_SIZE,
		 "vtl2-config", 0},
		{l->log, NULL, 0, SHIM_LOG_PAGES * PAGE_SIZE, "log", 0},
		{l->heap, NULL, 0, SHIM_HEAP_PAGES * PAGE_SIZE, "heap", 0},
		{l->tables, b->tables, l->tables_size, l->tables_size, "page-tables", 0},
	};
	int ret = plan_programs(b, err);

	if (!ret)
		ret = plan_pieces(&b->plan, pieces, ARRAY_SIZE(pieces), err);
	if (!ret)
		ret = plan_platform(b, err);
	if (!ret)
		ret = plan_uefi(b, err);
	page_plan_sort(&b->plan);
	return ret;
}

/*
 * Hashes of the shared pages, which no launch measurement covers: one over all, for the
 * imported-regions page, and one of each page, which tell where a difference is.
 */
static int make_hashes(struct builder *b, struct igvm_error *err)
{
	struct igvm_hash all;
	u32 count = 0;
	int ret = 0;

	b->hashes = calloc(1, SHIM_CONFIG_HASHES_PAGES * PAGE_SIZE);
	if (!b->hashes)
		return igvm_fail_memory(err);
	igvm_hash_init(&all, SHA384_BYTES);
	for (u32 r = 0; r < b->plan.count && !ret; r++) {
		const struct page_run *run = &b->plan.run[r];

		for (u64 i = 0; (run->flags & IGVM_PAGE_SHARED) && i < run->pages && !ret; i++) {
			u8 scratch[PAGE_SIZE], page[PAGE_SIZE] = {0};
			size_t len;
			const u8 *p = page_run_get(run, i, scratch, &len);

			if (count == HASHES_MAX) {
				ret = FAIL("kernel and initrd have more than %u pages", HASHES_MAX);
				break;
			}
			if (len)
				memcpy(page, p, len);
			igvm_hash_update(&all, page, sizeof(page));
			ret = igvm_sha384(page, sizeof(page),
					  b->hashes + HASHES_HEADER + count++ * SHA384_BYTES);
		}
	}
	put_le32(b->hashes, HASHES_MAGIC);
	put_le32(b->hashes + 4, HASHES_VERSION);
	put_le32(b->hashes + 8, count);
	b->hashes_len = HASHES_HEADER + count * SHA384_BYTES;
	if (count)
		igvm_hash_finish(&all, b->imported.sha384);
	if (all.failed)
		ret = igvm_fail_memory(err);
	igvm_hash_free(&all);
	return ret;
}

/* What the launch measures last, in this order */
static int make_last_plan(struct builder *b, struct igvm_error *err)
{
	u64 config = b->l.config;
	const struct piece pieces[] = {
		/* The hash region comes first so that the page behind it can list it. */
		{config + SHIM_CONFIG_HASHES * PAGE_SIZE, b->hashes, b->hashes_len,
		 SHIM_CONFIG_HASHES_PAGES * PAGE_SIZE, "page-hashes", 0},
		{config + SHIM_CONFIG_IMPORTED * PAGE_SIZE, &b->imported, sizeof(b->imported),
		 PAGE_SIZE, "imported-regions", 0},
	};

	return plan_pieces(&b->last, pieces, ARRAY_SIZE(pieces), err);
}

/* Lists all that the loader fills; neighbours of one kind are one range. */
static int make_imported_list(struct builder *b, struct igvm_error *err)
{
	struct page_plan all = b->plan;
	const char *last_tag = NULL;
	u32 count = 0;
	int ret = 0;

	for (u32 i = 0; i < b->last.count && !ret; i++)
		ret = page_plan_add(&all, b->last.run[i].gpa, NULL, 0,
				    b->last.run[i].pages * PAGE_SIZE, b->last.run[i].tag, err);
	for (u32 i = 0; i < OPENHCL_AREAS && !ret; i++)
		ret = page_plan_add(&all, b->l.config + openhcl_areas[i].page * PAGE_SIZE, NULL, 0,
				    openhcl_areas[i].pages * PAGE_SIZE, openhcl_areas[i].tag, err);
	if (!ret && b->c->isolation.kind == MANIFEST_SNP)
		ret = page_plan_add(&all, b->l.reserved + RESERVED_VMSA * PAGE_SIZE, NULL, 0,
				    PAGE_SIZE, "vmsa", err);
	if (ret)
		return ret;
	page_plan_sort(&all);
	_Static_assert(PAGE_PLAN_MAX_RUNS <= ARRAY_SIZE(b->imported.range),
		       "all runs fit the list");
	for (u32 i = 0; i < all.count; i++) {
		struct shim_imported_range *last = &b->imported.range[count ? count - 1 : 0];
		u64 page = all.run[i].gpa / PAGE_SIZE;

		if (count && last->base_page + last->page_count == page &&
		    !strcmp(last_tag, all.run[i].tag)) {
			last->page_count += all.run[i].pages;
			continue;
		}
		b->imported.range[count++] = (struct shim_imported_range){
			.base_page = page,
			.page_count = all.run[i].pages,
			.accepted = !(all.run[i].flags & IGVM_PAGE_SHARED)};
		last_tag = all.run[i].tag;
	}
	return 0;
}

int openhcl_make_plan(struct builder *b, struct igvm_error *err)
{
	int ret = plan_all(b, err);

	if (!ret)
		ret = make_hashes(b, err);
	if (!ret)
		ret = make_last_plan(b, err);
	return ret ? ret : make_imported_list(b, err);
}
