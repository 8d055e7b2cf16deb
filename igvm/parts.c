/* Parts of a paravisor image, from the shim's parameters and the VTL0 configuration. */
#include "igvm/parts.h"

const char *part_group_name(enum part_group group)
{
	static const char *const names[PART_GROUPS] = {
		"kernel",      "initrd", "shim",  "sidecar", "vtl0_payload",
		"page_tables", "config", "other", "headers",
	};

	return names[group];
}

/* The first part that covers an address is the one that counts. */
static void add(struct parts *parts, u64 start, u64 bytes, const char *name, enum part_group group)
{
	u64 end;

	if (!bytes || parts->count == PARTS_MAX)
		return;
	if (add_overflow(start, bytes, &end))
		end = ~0ull;
	parts->part[parts->count++] = (struct part){
		.start = start, .end = end, .name = name, .group = group};
}

static void add_pages(struct parts *parts, u64 page, u64 pages, const char *name)
{
	add(parts, page * PAGE_SIZE, pages * PAGE_SIZE, name, PART_VTL0);
}

static void add_until(struct parts *parts, u64 start, u64 end, const char *name,
		      enum part_group group)
{
	if (start < end)
		add(parts, start, end - start, name, group);
}

static void find_vtl0(struct parts *parts, const struct shim_measured_vtl0 *v)
{
	add(parts, 0, PAGE_SIZE, "vtl0-config", v->supported ? PART_VTL0 : PART_CONFIG);
	add_pages(parts, v->cmdline_page, v->cmdline_pages, "vtl0-command-line");
	add_pages(parts, v->kernel_base_page, v->kernel_pages, "vtl0-kernel");
	add_pages(parts, v->initrd_base_page, v->initrd_pages, "vtl0-initrd");
	add_pages(parts, v->uefi_context_page, v->uefi_context_pages, "vtl0-uefi-context");
	add_pages(parts, v->uefi_base_page, v->uefi_pages, "vtl0-uefi");
}

void parts_find(struct parts *parts, const struct igvm_paravisor *pv)
{
	static const struct {
		u32 page, pages;
		const char *name;
	} config[] = {
		{SHIM_CONFIG_SLIT, SHIM_CONFIG_SLIT_PAGES, "slit"},
		{SHIM_CONFIG_PPTT, SHIM_CONFIG_PPTT_PAGES, "pptt"},
		{SHIM_CONFIG_DT, SHIM_CONFIG_DT_PAGES, "host-device-tree"},
		{SHIM_CONFIG_IMPORTED, 1, "imported-regions"},
		{SHIM_CONFIG_MEASURED, 1, "vtl2-config"},
		{SHIM_CONFIG_HASHES, SHIM_CONFIG_HASHES_PAGES, "page-hashes"},
	};
	const struct shim_params *p = &pv->params;
	u64 shim = pv->shim_gpa;
	u64 start = shim + (u64)p->memory_start;
	u64 initrd = shim + (u64)p->initrd;
	u64 heap_end = shim + (u64)p->heap + p->heap_size;

	parts->count = 0;
	if (pv->has_vtl0_config)
		find_vtl0(parts, &pv->vtl0);
	add(parts, shim + (u64)p->persisted_state, p->persisted_state_size, "persisted-state",
	    PART_OTHER);
	add(parts, shim + (u64)p->bounce_buffer, p->bounce_buffer_size, "bounce-buffer",
	    PART_OTHER);
	add(parts, shim + (u64)p->sidecar, p->sidecar_size, "sidecar", PART_SIDECAR);
	add_until(parts, start, shim, "kernel", PART_KERNEL);
	add(parts, initrd, ALIGN_UP(p->initrd_size, PAGE_SIZE), "initrd", PART_INITRD);
	add_until(parts, shim, initrd, "shim", PART_SHIM);
	add(parts, pv->params_gpa, PAGE_SIZE, "shim-params", PART_CONFIG);
	add(parts, shim + (u64)p->cmdline, PAGE_SIZE, "command-line", PART_CONFIG);
	add(parts, shim + (u64)p->reserved_region, p->reserved_region_size, "reserved",
	    PART_CONFIG);
	for (u32 i = 0; i < ARRAY_SIZE(config); i++)
		add(parts, shim + (u64)p->parameter_region + config[i].page * PAGE_SIZE,
		    config[i].pages * PAGE_SIZE, config[i].name, PART_CONFIG);
	add(parts, shim + (u64)p->log_buffer, p->log_buffer_size, "log", PART_CONFIG);
	add(parts, shim + (u64)p->heap, p->heap_size, "heap", PART_CONFIG);
	add_until(parts, initrd, pv->params_gpa, "gdt", PART_CONFIG);
	add_until(parts, heap_end, shim + (u64)p->used_end, "page-tables", PART_PAGE_TABLES);
	if (p->isolation == SHIM_ISOLATION_TDX)
		add(parts, SHIM_TDX_RESET_PAGE, PAGE_SIZE, "reset-page", PART_CONFIG);
}

const struct part *parts_of(const struct parts *parts, u64 gpa)
{
	static const struct part other = {.name = "other", .group = PART_OTHER};

	for (u32 i = 0; i < parts->count; i++) {
		if (gpa >= parts->part[i].start && gpa < parts->part[i].end)
			return &parts->part[i];
	}
	return &other;
}

u64 parts_next(const struct parts *parts, u64 gpa)
{
	u64 next = ~0ull;

	for (u32 i = 0; i < parts->count; i++) {
		const struct part *p = &parts->part[i];

		if (p->start > gpa)
			next = MIN(next, p->start);
		if (p->end > gpa)
			next = MIN(next, p->end);
	}
	return next;
}

const u8 *parts_page(const struct igvm *ig, u32 platform, u64 gpa)
{
	struct igvm_iter it;
	struct igvm_header h;

	for (igvm_first(ig, &it); igvm_next_of(&it, IGVM_PAGE_DATA, platform, &h);) {
		if (h.u.page.gpa == gpa)
			return h.data;
	}
	return NULL;
}
