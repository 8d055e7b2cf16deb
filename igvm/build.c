/*
 * Builds an OpenHCL-style x64 image without isolation: places kernel, shim, initrd and the small
 * regions behind each other, makes page tables, GDT, parameters and CPU state, writes the file.
 * Layout and order of directives: openvmm vm/loader/src/paravisor.rs. Other isolation types will
 * differ in the regions that are imported shared, in the VP state and in the order's first steps.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/crc32.h"
#include "igvm/build.h"
#include "igvm/elf.h"
#include "igvm/internal.h"
#include "igvm/pages.h"

#define PLATFORM_BIT 1u
#define VTL	     2u
#define MAX_BASE     BIT(48)

#define GDT_CODE_SELECTOR 0x10
#define GDT_DATA_SELECTOR 0x18

#define CR0_PG_NE_PE	    0x80000021ull
#define CR4_OSXSAVE_MCE_PAE 0x40060ull
#define EFER_NXE_LMA_LME    0xd00ull
#define PAT_RESET	    0x0007040600070406ull

#define PTE_TABLE 0x23ull /* present, writable, accessed */
#define PTE_LEAF  0xe3ull /* present, writable, accessed, dirty, large */

/* Diagnostic list of page hashes; holds none where no page is shared */
#define HASHES_MAGIC   0x53485045u
#define HASHES_VERSION 1u

#define AREAS 3u

#define FAIL(...) igvm_fail(err, IGVM_NO_HEADER, 0, __VA_ARGS__)

/* Where things are, in guest addresses of the unrelocated image, ascending */
struct layout {
	u64 base, size;
	u64 persisted;
	u64 kernel, kernel_entry;
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
	const struct manifest *m;
	const struct blob *resource;
	struct elf_image kernel;
	struct elf_image shim;
	struct layout l;
	struct page_plan plan; /* written in ascending order */
	struct page_plan last; /* hash region, imported-regions page */
	u8 gdt[32];
	struct shim_params params;
	struct shim_cmdline cmdline;
	struct shim_measured_vtl0 vtl0;
	struct shim_measured_vtl2 vtl2;
	struct shim_imported_regions imported;
	u8 hashes[16];
	u8 *tables;
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

static int parse_inputs(struct builder *b, struct igvm_error *err)
{
	int ret;

	for (u32 i = 0; i < RESOURCE_COUNT; i++) {
		if (manifest_needs(b->m, i) && !b->resource[i].len)
			return FAIL("resource %s is missing or empty", resource_key(i));
	}
	ret = elf_parse(&b->kernel, b->resource[RESOURCE_KERNEL].data,
			b->resource[RESOURCE_KERNEL].len, resource_key(RESOURCE_KERNEL), err);
	if (!ret)
		ret = elf_parse(&b->shim, b->resource[RESOURCE_SHIM].data,
				b->resource[RESOURCE_SHIM].len, resource_key(RESOURCE_SHIM), err);
	if (ret)
		return ret;
	/* The shim finds its load address by its own ELF header. */
	if (b->shim.segment[0].paddr != 0 || b->shim.segment[0].file_offset != 0 ||
	    b->shim.segment[0].filesz < 64)
		return FAIL("%s: must be linked at 0 and load its ELF header",
			    resource_key(RESOURCE_SHIM));
	return 0;
}

/* Takes the next free pages. */
static u64 place(u64 *next, u64 bytes)
{
	u64 gpa = *next;

	*next += ALIGN_UP(bytes, PAGE_SIZE);
	return gpa;
}

static int make_layout(struct builder *b, struct igvm_error *err)
{
	struct layout *l = &b->l;
	u64 next, directories, entry;
	int ret;

	l->base = b->m->memory_page_base * PAGE_SIZE;
	l->size = b->m->memory_page_count * PAGE_SIZE;
	next = l->base;
	l->persisted = place(&next, SHIM_PERSISTED_BYTES);
	l->kernel = place(&next, b->kernel.high - b->kernel.low);
	l->shim = place(&next, b->shim.high);
	l->initrd = place(&next, b->resource[RESOURCE_INITRD].len);
	l->gdt = place(&next, SHIM_GDT_PAGES * PAGE_SIZE);
	l->params = place(&next, SHIM_PARAM_PAGES * PAGE_SIZE);
	l->cmdline = place(&next, SHIM_CMDLINE_PAGES * PAGE_SIZE);
	l->reserved = place(&next, SHIM_RESERVED_PAGES * PAGE_SIZE);
	l->config = place(&next, SHIM_CONFIG_PAGES * PAGE_SIZE);
	l->log = place(&next, SHIM_LOG_PAGES * PAGE_SIZE);
	l->heap = place(&next, SHIM_HEAP_PAGES * PAGE_SIZE);
	/* Room for the tables of another place: a root's worth more than needed here */
	directories = (l->base + l->size - 1) / GiB - l->base / GiB + 1;
	l->tables_size = (5 + 2 * directories) * PAGE_SIZE;
	l->tables = place(&next, l->tables_size);
	l->end = next;
	if (l->end > l->base + l->size)
		return FAIL("guest_configs[0].image.openhcl.memory_page_count: %llu pages are too "
			    "few, the image alone takes %llu",
			    (unsigned long long)b->m->memory_page_count,
			    (unsigned long long)(l->end - l->base) / PAGE_SIZE);

	ret = elf_entry(&b->kernel, &entry, resource_key(RESOURCE_KERNEL), err);
	if (ret)
		return ret;
	l->kernel_entry = entry - b->kernel.low + l->kernel;
	ret = elf_entry(&b->shim, &entry, resource_key(RESOURCE_SHIM), err);
	l->shim_entry = entry + l->shim;
	return ret;
}

/*
 * Identity map of [base, base + size) in 2 MiB leaves. Never in larger ones: such a leaf could not
 * move by 2 MiB.
 */
static int make_page_tables(struct builder *b, struct igvm_error *err)
{
	struct layout *l = &b->l;
	u64 used = PAGE_SIZE;

	b->tables = calloc(1, l->tables_size);
	if (!b->tables)
		return igvm_fail_memory(err);
	for (u64 gpa = l->base; gpa < l->base + l->size; gpa += 2 * MiB) {
		u64 table = 0;

		for (u32 shift = 39; shift > 21; shift -= 9) {
			u8 *slot = b->tables + table + (gpa >> shift & 511) * 8;

			if (!get_le64(slot)) {
				put_le64(slot, (l->tables + used) | PTE_TABLE);
				used += PAGE_SIZE;
			}
			table = (get_le64(slot) & ~0xfffull) - l->tables;
		}
		put_le64(b->tables + table + (gpa >> 21 & 511) * 8, gpa | PTE_LEAF);
	}
	l->tables_used = used;
	return 0;
}

static void make_small_pages(struct builder *b)
{
	static const u8 gdt[32] = {
		[16] = 0xff, 0xff, 0, 0, 0, 0x9b, 0xa0, 0, /* 64-bit code */
		[24] = 0xff, 0xff, 0, 0, 0, 0x93, 0xc0, 0, /* data */
	};
	const struct blob *initrd = &b->resource[RESOURCE_INITRD];
	const struct layout *l = &b->l;
	u64 shim = l->shim;

	memcpy(b->gdt, gdt, sizeof(gdt));
	b->params = (struct shim_params){
		.kernel_entry = (s64)(l->kernel_entry - shim),
		.cmdline = (s64)(l->cmdline - shim),
		.initrd = (s64)(l->initrd - shim),
		.initrd_size = initrd->len,
		.initrd_crc = crc32(0, initrd->data, initrd->len),
		.isolation = SHIM_ISOLATION_NONE_OR_VBS,
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
	b->cmdline.policy = b->m->static_command_line ? SHIM_CMDLINE_STATIC
						      : SHIM_CMDLINE_APPEND_CHOSEN;
	b->cmdline.length = (u16)strlen(b->m->command_line); /* limited by the manifest reader */
	memcpy(b->cmdline.text, b->m->command_line, b->cmdline.length);
	b->vtl0.magic = SHIM_MEASURED_VTL0_MAGIC;
	b->vtl2.magic = SHIM_MEASURED_VTL2_MAGIC;
	put_le32(b->hashes, HASHES_MAGIC);
	put_le32(b->hashes + 4, HASHES_VERSION);
}

static int make_plan(struct builder *b, struct igvm_error *err)
{
	const struct blob *initrd = &b->resource[RESOURCE_INITRD];
	const struct layout *l = &b->l;
	u64 config = l->config;
	const struct {
		u64 gpa;
		const void *data;
		size_t len;
		u64 bytes;
		const char *tag;
	} pieces[] = {
		{0, &b->vtl0, sizeof(b->vtl0), PAGE_SIZE, "vtl0-config"},
		{l->initrd, initrd->data, initrd->len, initrd->len, "initrd"},
		{l->gdt, b->gdt, sizeof(b->gdt), PAGE_SIZE, "gdt"},
		{l->params, &b->params, sizeof(b->params), PAGE_SIZE, "shim-params"},
		{l->cmdline, &b->cmdline, sizeof(b->cmdline), PAGE_SIZE, "command-line"},
		{config + SHIM_CONFIG_MEASURED * PAGE_SIZE, &b->vtl2, sizeof(b->vtl2), PAGE_SIZE,
		 "vtl2-config"},
		{l->log, NULL, 0, SHIM_LOG_PAGES * PAGE_SIZE, "log"},
		{l->heap, NULL, 0, SHIM_HEAP_PAGES * PAGE_SIZE, "heap"},
		{l->tables, b->tables, l->tables_size, l->tables_size, "page-tables"},
	};
	int ret = page_plan_add_elf(&b->plan, &b->kernel, l->kernel - b->kernel.low, "kernel", err);

	if (!ret)
		ret = page_plan_add_elf(&b->plan, &b->shim, l->shim, "shim", err);
	for (u32 i = 0; i < ARRAY_SIZE(pieces) && !ret; i++)
		ret = page_plan_add(&b->plan, pieces[i].gpa, pieces[i].data, pieces[i].len,
				    pieces[i].bytes, pieces[i].tag, err);
	page_plan_sort(&b->plan);
	/* The hash region comes first so that the page behind it can list it. */
	if (!ret)
		ret = page_plan_add(&b->last, config + SHIM_CONFIG_HASHES * PAGE_SIZE, b->hashes,
				    sizeof(b->hashes), SHIM_CONFIG_HASHES_PAGES * PAGE_SIZE,
				    "page-hashes", err);
	if (!ret)
		ret = page_plan_add(&b->last, config + SHIM_CONFIG_IMPORTED * PAGE_SIZE,
				    &b->imported, sizeof(b->imported), PAGE_SIZE,
				    "imported-regions", err);
	return ret;
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
			.base_page = page, .page_count = all.run[i].pages, .accepted = 1};
		last_tag = all.run[i].tag;
	}
	return 0;
}

static struct igvm_register reg_u64(u32 name, u64 value)
{
	return (struct igvm_register){.vtl = VTL, .name = name, .u.value = value};
}

static struct igvm_register reg_segment(u32 name, u16 selector, u32 limit, u16 attributes)
{
	return (struct igvm_register){
		.vtl = VTL,
		.name = name,
		.form = IGVM_REG_SEGMENT,
		.u.segment = {.selector = selector, .limit = limit, .attributes = attributes}};
}

static void write_registers(const struct builder *b, struct igvm_writer *w)
{
	const struct layout *l = &b->l;
	const struct igvm_register regs[] = {
		{.vtl = VTL,
		 .name = IGVM_X64_GDTR,
		 .form = IGVM_REG_TABLE,
		 .u.table = {.base = l->gdt, .limit = sizeof(b->gdt) - 1}},
		reg_segment(IGVM_X64_DS, GDT_DATA_SELECTOR, 0xffffffff, 0xc093),
		reg_segment(IGVM_X64_ES, GDT_DATA_SELECTOR, 0xffffffff, 0xc093),
		reg_segment(IGVM_X64_FS, GDT_DATA_SELECTOR, 0xffffffff, 0xc093),
		reg_segment(IGVM_X64_GS, GDT_DATA_SELECTOR, 0xffffffff, 0xc093),
		reg_segment(IGVM_X64_SS, GDT_DATA_SELECTOR, 0xffffffff, 0xc093),
		reg_segment(IGVM_X64_CS, GDT_CODE_SELECTOR, 0xffffffff, 0xa09b),
		/* Hosts are known that would leave TR zero when VTL2 is enabled. */
		reg_segment(IGVM_X64_TR, 0, 0xffff, 0x8b),
		reg_u64(IGVM_X64_CR0, CR0_PG_NE_PE),
		reg_u64(IGVM_X64_CR3, l->tables),
		reg_u64(IGVM_X64_CR4, CR4_OSXSAVE_MCE_PAE),
		reg_u64(IGVM_X64_EFER, EFER_NXE_LMA_LME),
		reg_u64(IGVM_X64_PAT, PAT_RESET),
		reg_u64(IGVM_X64_RSI, l->params - l->shim),
		reg_u64(IGVM_X64_RIP, l->shim_entry),
	};

	igvm_write_registers(w, PLATFORM_BIT, regs, ARRAY_SIZE(regs));
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

static int write_image(const struct builder *b, void **out, size_t *out_len, struct igvm_error *err)
{
	static const struct igvm_supported_platform platform = {.mask = PLATFORM_BIT,
								.highest_vtl = VTL,
								.platform_type = IGVM_PLATFORM_VSM,
								.platform_version = 1};
	/* V1: older hosts know no other. */
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	int ret;

	if (!w)
		return igvm_fail_memory(err);
	igvm_write_platform(w, &platform);
	if (b->m->relocatable)
		write_relocation(b, w);
	igvm_write_required(w, b->l.base, PLATFORM_BIT, (u32)b->l.size,
			    IGVM_MEMORY_VTL2_PROTECTABLE);
	for (u32 i = 0; i < AREAS; i++) {
		igvm_write_area(w, i, areas[i].pages * PAGE_SIZE, NULL, 0);
		igvm_write_parameter(w, areas[i].type, i, 0);
	}
	write_registers(b, w);
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
static int add_payload(const struct manifest *m, const struct blob *resource, void **image,
		       size_t *len, struct igvm_error *err)
{
	struct igvm_vtl0_linux payload = {.kernel = resource[RESOURCE_LINUX_KERNEL].data,
					  .kernel_len = resource[RESOURCE_LINUX_KERNEL].len,
					  .cmdline = m->linux_command_line};
	void *base = *image;
	int ret;

	if (m->linux_initrd) {
		payload.initrd = resource[RESOURCE_LINUX_INITRD].data;
		payload.initrd_len = resource[RESOURCE_LINUX_INITRD].len;
	}
	ret = igvm_add_vtl0_linux(base, *len, &payload, image, len, err);
	free(base);
	return ret;
}

int image_build(const struct manifest *m, const struct blob resource[RESOURCE_COUNT], void **out,
		size_t *out_len, struct igvm_error *err)
{
	struct builder *b = calloc(1, sizeof(*b));
	void *image = NULL;
	size_t len = 0;
	int ret;

	if (!b)
		return igvm_fail_memory(err);
	b->m = m;
	b->resource = resource;
	ret = parse_inputs(b, err);
	if (!ret)
		ret = make_layout(b, err);
	if (!ret)
		ret = make_page_tables(b, err);
	if (!ret) {
		make_small_pages(b);
		ret = make_plan(b, err);
	}
	if (!ret)
		ret = make_imported_list(b, err);
	if (!ret)
		ret = write_image(b, &image, &len, err);
	free(b->tables);
	free(b);
	if (!ret && m->has_linux)
		ret = add_payload(m, resource, &image, &len, err);
	if (ret)
		return ret;
	*out = image;
	*out_len = len;
	return 0;
}
