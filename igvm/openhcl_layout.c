/* Layout of OpenHCL-style images: files, addresses, page tables. openvmm vm/loader/src/paravisor.rs
 */
#include <stdlib.h>

#include "igvm/openhcl.h"
#include "igvm/snp.h"
#include "igvm/tables.h"

/* What the shim maps other pages to while it accepts them; identity at first */
#define LOCAL_MAP      (2 * MiB)
#define LOCAL_MAP_SIZE (2 * MiB)

#define FAIL(...) igvm_fail(err, IGVM_NO_HEADER, 0, __VA_ARGS__)

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
		l->bounce = place(next, OPENHCL_BOUNCE_BYTES);
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

static int place_all(struct builder *b, struct igvm_error *err)
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

int openhcl_make_layout(struct builder *b, struct igvm_error *err)
{
	int ret = parse_inputs(b, err);

	if (!ret)
		ret = place_all(b, err);
	return ret ? ret : make_page_tables(b, err);
}
