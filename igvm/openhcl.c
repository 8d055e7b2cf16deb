/*
 * Builds an OpenHCL-style x64 image for one platform: places kernel, shim, initrd and the small
 * regions behind each other, makes page tables, GDT, parameters and CPU state, writes the file.
 * Layout and order of directives: openvmm vm/loader/src/paravisor.rs. Platforms differ in the
 * pages that are imported shared, in page tables and in the form of the CPU state.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/crc32.h"
#include "igvm/build_parts.h"
#include "igvm/cpu_state.h"
#include "igvm/elf.h"
#include "igvm/hash.h"
#include "igvm/internal.h"
#include "igvm/pages.h"
#include "igvm/snp.h"
#include "igvm/tables.h"
#include "igvm/tdx.h"
#include "igvm/uefi.h"

#define PLATFORM_BIT 1u
#define VTL	     2u
#define MAX_BASE     BIT(48)

#define GDT_CODE_SELECTOR 0x10
#define GDT_DATA_SELECTOR 0x18

#define CR0_PG_NE_PE	    0x80000021ull
#define CR4_OSXSAVE_MCE_PAE 0x40060ull
#define EFER_NXE_LMA_LME    0xd00ull
#define MAX_REGISTERS	    16

/* What the shim maps other pages to while it accepts them; identity at first */
#define LOCAL_MAP      (2 * MiB)
#define LOCAL_MAP_SIZE (2 * MiB)
#define BOUNCE_BYTES   (2 * MiB)

/* Pages of the reserved region */
#define RESERVED_VMSA	  0
#define RESERVED_CPUID	  1
#define RESERVED_CPUID_XF 2
#define RESERVED_SECRETS  3

/* List of page hashes: this header, then SHA-384 of each shared page */
#define HASHES_MAGIC   0x53485045u
#define HASHES_VERSION 1u
#define HASHES_HEADER  16u
#define HASHES_MAX     (u32)((SHIM_CONFIG_HASHES_PAGES * PAGE_SIZE - HASHES_HEADER) / SHA384_BYTES)

#define VTL0_CONTEXT_GPA PAGE_SIZE /* of the UEFI firmware */

#define AREAS 3u

#define FAIL(...) igvm_fail(err, IGVM_NO_HEADER, 0, __VA_ARGS__)

/* Where things are, in guest addresses of the unrelocated image, ascending */
struct layout {
	u64 base, size;
	u64 persisted;
	u64 bounce; /* SNP, TDX */
	u64 kernel, kernel_entry;
	u64 sidecar, sidecar_size, sidecar_entry; /* size 0: none */
	u64 shim, shim_entry;
	u64 initrd;
	u64 gdt;
	u64 params;
	u64 cmdline;
	u64 reserved;
	u64 config;
	u64 log;
	u64 heap;
	u64 tables, tables_size, tables_used;
	u64 end; /* of what the image uses */
};

struct builder {
	const struct manifest_config *c;
	const struct blob *resource;
	u32 index;
	bool is_shared; /* kernel and initrd come as shared pages: SNP, TDX */
	struct elf_image kernel;
	struct elf_image sidecar;
	struct elf_image shim;
	struct layout l;
	struct page_plan plan; /* written in ascending order */
	struct page_plan last; /* hash region, imported-regions page */
	struct igvm_register regs[MAX_REGISTERS];
	u32 reg_count;
	u8 gdt[32];
	struct shim_params params;
	struct shim_cmdline cmdline;
	struct shim_measured_vtl0 vtl0;
	u8 vtl2[PAGE_SIZE]; /* struct shim_measured_vtl2, product policy */
	struct shim_imported_regions imported;
	u8 *hashes;
	size_t hashes_len;
	u8 *tables;
	u8 vmsa[PAGE_SIZE];
	u8 cpuid[PAGE_SIZE];
	u8 reset[PAGE_SIZE];
	struct uefi_guest *uefi;
	u8 uefi_context[IGVM_ENCODED_REGISTERS];
};

static const struct {
	enum igvm_type type;
	u32 page;
	u32 pages;
	const char *tag;
} areas[AREAS] = {
	{IGVM_SLIT, SHIM_CONFIG_SLIT, SHIM_CONFIG_SLIT_PAGES, "slit"},
	{IGVM_PPTT, SHIM_CONFIG_PPTT, SHIM_CONFIG_PPTT_PAGES, "pptt"},
	{IGVM_DEVICE_TREE, SHIM_CONFIG_DT, SHIM_CONFIG_DT_PAGES, "host-device-tree"},
};

static int parse_elf(const struct builder *b, enum resource r, struct elf_image *elf,
		     struct igvm_error *err)
{
	return elf_parse(elf, b->resource[r].data, b->resource[r].len, resource_key(r), err);
}

/* A program that is placed by its addresses from 0 on */
static int parse_from_zero(const struct builder *b, enum resource r, struct elf_image *elf,
			   struct igvm_error *err)
{
	int ret = parse_elf(b, r, elf, err);

	if (!ret && elf->high > 4 * GiB)
		return FAIL("%s: must be linked at 0", resource_key(r));
	return ret;
}

static int parse_inputs(struct builder *b, struct igvm_error *err)
{
	int ret = parse_elf(b, RESOURCE_KERNEL, &b->kernel, err);

	if (!ret)
		ret = parse_from_zero(b, RESOURCE_SHIM, &b->shim, err);
	if (!ret && b->resource[RESOURCE_SIDECAR].len)
		ret = parse_from_zero(b, RESOURCE_SIDECAR, &b->sidecar, err);
	if (ret)
		return ret;
	/* The shim finds its load address by its own ELF header. */
	if (b->shim.segment[0].paddr != 0 || b->shim.segment[0].file_offset != 0 ||
	    b->shim.segment[0].filesz < 64)
		return FAIL("%s: must be linked at 0 and load its ELF header",
			    resource_key(RESOURCE_SHIM));
	if (!b->c->uefi)
		return 0;
	b->uefi = malloc(sizeof(*b->uefi));
	return b->uefi ? uefi_prepare(b->uefi, b->resource[RESOURCE_UEFI].data,
				      b->resource[RESOURCE_UEFI].len, err)
		       : igvm_fail_memory(err);
}

/* Takes the next free pages. */
static u64 place(u64 *next, u64 bytes)
{
	u64 gpa = *next;

	*next += ALIGN_UP(bytes, PAGE_SIZE);
	return gpa;
}

/* Page directories for [start, start + size) */
static u64 directories_for(u64 start, u64 size)
{
	return (start + size - 1) / GiB - start / GiB + 1;
}

/* Room for the tables of another place: a root's worth more than needed here */
static u64 table_pages(const struct builder *b)
{
	u64 pages = 5 + 2 * directories_for(b->l.base, b->l.size);

	if (b->is_shared)
		pages += directories_for(LOCAL_MAP, LOCAL_MAP_SIZE);
	if (b->c->isolation.kind == MANIFEST_TDX)
		pages += 3; /* for the reset page */
	return pages;
}

static void place_programs(struct builder *b, u64 *next)
{
	struct layout *l = &b->l;

	l->persisted = place(next, SHIM_PERSISTED_BYTES);
	if (b->is_shared)
		l->bounce = place(next, BOUNCE_BYTES);
	l->kernel = place(next, b->kernel.high - b->kernel.low);
	if (b->sidecar.count) {
		*next = ALIGN_UP(*next, SHIM_ALIGNMENT);
		l->sidecar_size = b->sidecar.high;
		l->sidecar = place(next, l->sidecar_size);
	}
	l->shim = place(next, b->shim.high);
	l->initrd = place(next, b->resource[RESOURCE_INITRD].len);
}

static int find_entries(struct builder *b, struct igvm_error *err)
{
	struct layout *l = &b->l;
	u64 entry = 0;
	int ret = elf_entry(&b->kernel, &entry, resource_key(RESOURCE_KERNEL), err);

	l->kernel_entry = entry - b->kernel.low + l->kernel;
	if (!ret)
		ret = elf_entry(&b->shim, &entry, resource_key(RESOURCE_SHIM), err);
	l->shim_entry = entry + l->shim;
	if (!ret && l->sidecar_size) {
		ret = elf_entry(&b->sidecar, &entry, resource_key(RESOURCE_SIDECAR), err);
		l->sidecar_entry = entry + l->sidecar;
	}
	return ret;
}

static int make_layout(struct builder *b, struct igvm_error *err)
{
	struct layout *l = &b->l;
	u64 next;

	l->base = b->c->memory_page_base * PAGE_SIZE;
	l->size = b->c->memory_page_count * PAGE_SIZE;
	next = l->base;
	place_programs(b, &next);
	l->gdt = place(&next, SHIM_GDT_PAGES * PAGE_SIZE);
	l->params = place(&next, SHIM_PARAM_PAGES * PAGE_SIZE);
	l->cmdline = place(&next, SHIM_CMDLINE_PAGES * PAGE_SIZE);
	l->reserved = place(&next, SHIM_RESERVED_PAGES * PAGE_SIZE);
	l->config = place(&next, SHIM_CONFIG_PAGES * PAGE_SIZE);
	l->log = place(&next, SHIM_LOG_PAGES * PAGE_SIZE);
	l->heap = place(&next, SHIM_HEAP_PAGES * PAGE_SIZE);
	l->tables_size = table_pages(b) * PAGE_SIZE;
	l->tables = place(&next, l->tables_size);
	l->end = next;
	if (l->end > l->base + l->size)
		return FAIL("guest_configs[%u].image.openhcl.memory_page_count: %llu pages are too "
			    "few, the image alone takes %llu",
			    b->index, (unsigned long long)b->c->memory_page_count,
			    (unsigned long long)(l->end - l->base) / PAGE_SIZE);
	if (b->uefi && l->base < UEFI_END)
		return FAIL("guest_configs[%u].image.openhcl.memory_page_base: the UEFI firmware "
			    "takes the memory below page %llu",
			    b->index, UEFI_END / PAGE_SIZE);
	return find_entries(b, err);
}

static int make_page_tables(struct builder *b, struct igvm_error *err)
{
	struct layout *l = &b->l;
	struct page_tables t = {.bytes = l->tables_size, .gpa = l->tables};

	b->tables = calloc(1, l->tables_size);
	if (!b->tables)
		return igvm_fail_memory(err);
	t.table = b->tables;
	if (b->c->isolation.kind == MANIFEST_SNP)
		t.extra = BIT(SNP_C_BIT);
	if (b->is_shared)
		page_tables_map(&t, LOCAL_MAP, LOCAL_MAP + LOCAL_MAP_SIZE);
	page_tables_map(&t, l->base, l->base + l->size);
	if (b->c->isolation.kind == MANIFEST_TDX)
		page_tables_map_page(&t, SHIM_TDX_RESET_PAGE);
	if (t.is_full)
		return FAIL("internal error: too few pages for page tables");
	l->tables_used = t.used;
	return 0;
}

static void make_params(struct builder *b)
{
	static const u32 isolation[] = {
		[MANIFEST_NONE] = SHIM_ISOLATION_NONE_OR_VBS,
		[MANIFEST_VBS] = SHIM_ISOLATION_NONE_OR_VBS,
		[MANIFEST_SNP] = SHIM_ISOLATION_SNP,
		[MANIFEST_TDX] = SHIM_ISOLATION_TDX,
	};
	const struct blob *initrd = &b->resource[RESOURCE_INITRD];
	const struct layout *l = &b->l;
	u64 shim = l->shim;

	b->params = (struct shim_params){
		.kernel_entry = (s64)(l->kernel_entry - shim),
		.cmdline = (s64)(l->cmdline - shim),
		.initrd = (s64)(l->initrd - shim),
		.initrd_size = initrd->len,
		.initrd_crc = crc32(0, initrd->data, initrd->len),
		.isolation = isolation[b->c->isolation.kind],
		.memory_start = (s64)(l->base - shim),
		.memory_size = l->size,
		.parameter_region = (s64)(l->config - shim),
		.parameter_region_size = SHIM_CONFIG_PAGES * PAGE_SIZE,
		.reserved_region = (s64)(l->reserved - shim),
		.reserved_region_size = SHIM_RESERVED_PAGES * PAGE_SIZE,
		.used_start = (s64)(l->base - shim),
		.used_end = (s64)(l->end - shim),
		.log_buffer = (s64)(l->log - shim),
		.log_buffer_size = SHIM_LOG_PAGES * PAGE_SIZE,
		.heap = (s64)(l->heap - shim),
		.heap_size = SHIM_HEAP_PAGES * PAGE_SIZE,
		.persisted_state = (s64)(l->persisted - shim),
		.persisted_state_size = SHIM_PERSISTED_BYTES,
	};
	if (b->is_shared) {
		b->params.bounce_buffer = (s64)(l->bounce - shim);
		b->params.bounce_buffer_size = BOUNCE_BYTES;
	}
	if (l->sidecar_size) {
		b->params.sidecar = (s64)(l->sidecar - shim);
		b->params.sidecar_size = l->sidecar_size;
		b->params.sidecar_entry = (s64)(l->sidecar_entry - shim);
	}
}

static int make_vtl2_config(struct builder *b, struct igvm_error *err)
{
	const struct manifest_isolation *iso = &b->c->isolation;
	struct shim_measured_vtl2 config = {.magic = SHIM_MEASURED_VTL2_MAGIC};
	int ret = product_policy_encode(&b->c->policy, b->vtl2 + sizeof(config),
					&config.product_policy_size, err);

	if (iso->kind == MANIFEST_SNP)
		config.vtom_bit = iso->boundary_bits;
	else if (iso->kind == MANIFEST_TDX)
		config.vtom_bit = TDX_SHARED_BIT;
	memcpy(b->vtl2, &config, sizeof(config));
	return ret;
}

static void make_vtl0_config(struct builder *b)
{
	struct igvm_register regs[UEFI_MAX_REGISTERS];
	u32 eax, ebx;

	b->vtl0.magic = SHIM_MEASURED_VTL0_MAGIC;
	if (!b->uefi)
		return;
	/* The host has a BIOS at hand wherever there is UEFI. */
	b->vtl0.supported = SHIM_VTL0_UEFI | SHIM_VTL0_PCAT;
	b->vtl0.uefi_base_page = UEFI_BASE / PAGE_SIZE;
	b->vtl0.uefi_pages = (UEFI_END - UEFI_BASE) / PAGE_SIZE;
	b->vtl0.uefi_context_page = VTL0_CONTEXT_GPA / PAGE_SIZE;
	b->vtl0.uefi_context_pages = 1;
	config_isolation_cpuid(b->c, &eax, &ebx);
	/* Every context of a file is for its highest VTL; who reads this one knows better. */
	igvm_encode_registers(regs, uefi_registers(b->uefi, VTL, eax, ebx, regs), b->uefi_context);
}

static void make_small_pages(struct builder *b)
{
	static const u8 gdt[32] = {
		[16] = 0xff, 0xff, 0, 0, 0, 0x9b, 0xa0, 0, /* 64-bit code */
		[24] = 0xff, 0xff, 0, 0, 0, 0x93, 0xc0, 0, /* data */
	};

	memcpy(b->gdt, gdt, sizeof(gdt));
	b->cmdline.policy = b->c->static_command_line ? SHIM_CMDLINE_STATIC
						      : SHIM_CMDLINE_APPEND_CHOSEN;
	b->cmdline.length = (u16)strlen(b->c->command_line); /* limited by the manifest reader */
	memcpy(b->cmdline.text, b->c->command_line, b->cmdline.length);
}

static void make_cpu_state(struct builder *b)
{
	const struct layout *l = &b->l;
	struct cpu_state c = {.regs = b->regs, .vtl = VTL};

	cpu_set_gdt(&c, l->gdt, sizeof(b->gdt), GDT_CODE_SELECTOR, GDT_DATA_SELECTOR);
	/* Hosts are known that would leave TR zero when VTL2 is enabled. */
	cpu_set_segment(&c, IGVM_X64_TR, 0, 0xffff, 0x8b);
	cpu_set(&c, IGVM_X64_CR0, CR0_PG_NE_PE);
	cpu_set(&c, IGVM_X64_CR3, l->tables);
	cpu_set(&c, IGVM_X64_CR4, CR4_OSXSAVE_MCE_PAE);
	cpu_set(&c, IGVM_X64_EFER, EFER_NXE_LMA_LME);
	cpu_set(&c, IGVM_X64_PAT, CPU_PAT_RESET);
	cpu_set(&c, IGVM_X64_RSI, l->params - l->shim);
	cpu_set(&c, IGVM_X64_RIP, l->shim_entry);
	b->reg_count = c.count;
	if (b->c->isolation.kind == MANIFEST_SNP)
		snp_make_vmsa(b->vmsa, &b->c->isolation, b->regs, b->reg_count);
	else if (b->c->isolation.kind == MANIFEST_TDX)
		tdx_make_reset_page(b->reset, b->regs, b->reg_count);
}

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
	if (!b->uefi)
		return 0;
	if (page_plan_add(&b->plan, VTL0_CONTEXT_GPA, b->uefi_context, sizeof(b->uefi_context),
			  PAGE_SIZE, "vtl0-uefi-context", err))
		return -EINVAL;
	return uefi_plan(&b->plan, b->uefi, b->resource[RESOURCE_UEFI].data, err);
}

static int make_plan(struct builder *b, struct igvm_error *err)
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
	for (u32 i = 0; i < AREAS && !ret; i++)
		ret = page_plan_add(&all, b->l.config + areas[i].page * PAGE_SIZE, NULL, 0,
				    areas[i].pages * PAGE_SIZE, areas[i].tag, err);
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

static void write_relocation(const struct builder *b, struct igvm_writer *w)
{
	const struct layout *l = &b->l;
	struct igvm_relocatable_region region = {
		.mask = PLATFORM_BIT,
		.vtl = VTL,
		.flags = IGVM_RELOC_IS_VTL2 | IGVM_RELOC_APPLY_PC | IGVM_RELOC_APPLY_GDTR,
		.alignment = SHIM_ALIGNMENT,
		.gpa = l->base,
		.size = l->tables - l->base,
		.minimum_gpa = SHIM_DEFAULT_BASE,
		.maximum_gpa = MAX_BASE,
	};
	struct igvm_page_table_relocation pt = {
		.mask = PLATFORM_BIT,
		.vtl = VTL,
		.gpa = l->tables,
		.size = l->tables_size,
		.used_size = l->tables_used,
	};

	igvm_write(w, IGVM_RELOCATABLE_REGION, &region, sizeof(region), NULL, 0);
	igvm_write(w, IGVM_PAGE_TABLE_RELOCATION, &pt, sizeof(pt), NULL, 0);
}

static void write_policy(const struct builder *b, struct igvm_writer *w)
{
	struct igvm_guest_policy policy = {.mask = PLATFORM_BIT};

	if (config_policy(b->c, &policy.policy))
		igvm_write(w, IGVM_GUEST_POLICY, &policy, sizeof(policy), NULL, 0);
}

/* TDX has none here: its state is in the reset page. */
static void write_cpu_state(const struct builder *b, struct igvm_writer *w)
{
	struct igvm_vp_context vp = {.gpa = b->l.reserved + RESERVED_VMSA * PAGE_SIZE,
				     .mask = PLATFORM_BIT};

	switch (b->c->isolation.kind) {
	case MANIFEST_NONE:
	case MANIFEST_VBS: igvm_write_registers(w, PLATFORM_BIT, b->regs, b->reg_count); break;
	case MANIFEST_SNP:
		igvm_write(w, IGVM_VP_CONTEXT, &vp, sizeof(vp), b->vmsa, sizeof(b->vmsa));
		break;
	case MANIFEST_TDX: break;
	}
}

static int write_image(const struct builder *b, void **out, size_t *out_len, struct igvm_error *err)
{
	struct igvm_supported_platform platform = config_platform(b->c);
	/* V1: older hosts know no other. */
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	int ret;

	if (!w)
		return igvm_fail_memory(err);
	igvm_write_platform(w, &platform);
	if (b->c->relocatable)
		write_relocation(b, w);
	write_policy(b, w);
	if (b->uefi)
		igvm_write_required(w, 0, PLATFORM_BIT, UEFI_END, 0);
	igvm_write_required(w, b->l.base, PLATFORM_BIT, (u32)b->l.size,
			    IGVM_MEMORY_VTL2_PROTECTABLE);
	for (u32 i = 0; i < AREAS; i++) {
		igvm_write_area(w, i, areas[i].pages * PAGE_SIZE, NULL, 0);
		igvm_write_parameter(w, areas[i].type, i, 0);
	}
	write_cpu_state(b, w);
	for (u32 i = 0; i < AREAS; i++)
		igvm_write_insert(w, b->l.config + areas[i].page * PAGE_SIZE, PLATFORM_BIT, i);
	for (u32 i = 0; i < b->plan.count; i++)
		page_run_write(&b->plan.run[i], w, PLATFORM_BIT);
	for (u32 i = 0; i < b->last.count; i++)
		page_run_write(&b->last.run[i], w, PLATFORM_BIT);
	ret = igvm_writer_finish(w, out, out_len, err);
	igvm_writer_free(w);
	return ret;
}

/* Replaces *image by one with the guest that the manifest asks for. */
static int add_payload(const struct config_input *in, void **image, size_t *len,
		       struct igvm_error *err)
{
	const struct manifest_linux *guest = &in->config->linux_guest;
	struct igvm_vtl0_linux payload = {.kernel = in->resource[RESOURCE_LINUX_KERNEL].data,
					  .kernel_len = in->resource[RESOURCE_LINUX_KERNEL].len,
					  .cmdline = guest->command_line};
	void *base = *image;
	int ret;

	if (guest->use_initrd) {
		payload.initrd = in->resource[RESOURCE_LINUX_INITRD].data;
		payload.initrd_len = in->resource[RESOURCE_LINUX_INITRD].len;
	}
	*image = NULL;
	ret = igvm_add_vtl0_linux(base, *len, &payload, image, len, err);
	free(base);
	return ret;
}

static int run_builder(struct builder *b, void **image, size_t *len, struct igvm_error *err)
{
	int ret = parse_inputs(b, err);

	if (!ret)
		ret = make_layout(b, err);
	if (!ret)
		ret = make_page_tables(b, err);
	if (!ret)
		ret = make_vtl2_config(b, err);
	if (ret)
		return ret;
	make_params(b);
	make_vtl0_config(b);
	make_small_pages(b);
	make_cpu_state(b);
	ret = make_plan(b, err);
	if (!ret)
		ret = make_hashes(b, err);
	if (!ret)
		ret = make_last_plan(b, err);
	if (!ret)
		ret = make_imported_list(b, err);
	return ret ? ret : write_image(b, image, len, err);
}

int openhcl_build(const struct config_input *in, void **out, size_t *out_len,
		  struct igvm_error *err)
{
	struct builder *b = calloc(1, sizeof(*b));
	void *image = NULL;
	size_t len = 0;
	int ret;

	if (!b)
		return igvm_fail_memory(err);
	b->c = in->config;
	b->resource = in->resource;
	b->index = in->index;
	b->is_shared = b->c->isolation.kind >= MANIFEST_SNP;
	ret = run_builder(b, &image, &len, err);
	free(b->tables);
	free(b->hashes);
	free(b->uefi);
	free(b);
	if (!ret && in->config->linux_guest.present)
		ret = add_payload(in, &image, &len, err);
	if (ret)
		return ret;
	*out = image;
	*out_len = len;
	return 0;
}
