/* Shim parameters and imported regions: everything that the image builder tells the shim. */
#include "loader/image.h"

/* Highest address + 1 that any x64 processor maps */
#define ADDRESS_LIMIT BIT(52)

/* One region of the parameter page, and what is asked of it */
struct region {
	const char *name;
	struct addr_range *range;
	s64 offset;
	u64 size;
	u64 minimum_size;
	bool page_sized;
};

static int place(const struct region *r, u64 base, struct addr_range within, struct shim_error *err)
{
	u64 start = base + (u64)r->offset;
	u64 end;

	if (r->size == 0 && r->minimum_size == 0) {
		*r->range = (struct addr_range){0, 0};
		return 0;
	}
	if (r->size < r->minimum_size)
		return shim_fail(err, "shim parameters: %s has only %llu bytes", r->name,
				 (unsigned long long)r->size);
	if (add_overflow(start, r->size, &end) || start < within.start || end > within.end)
		return shim_fail(err,
				 "shim parameters: %s at %llx, %llx bytes, is not in %llx-%llx",
				 r->name, (unsigned long long)start, (unsigned long long)r->size,
				 (unsigned long long)within.start, (unsigned long long)within.end);
	if (!IS_ALIGNED(start, PAGE_SIZE) || (r->page_sized && !IS_ALIGNED(end, PAGE_SIZE)))
		return shim_fail(err, "shim parameters: %s at %llx is not page aligned", r->name,
				 (unsigned long long)start);
	*r->range = (struct addr_range){start, end};
	return 0;
}

/* The used range starts with the memory range and lies in it. */
static int check_memory(struct shim_image *image, const struct shim_params *p, u64 base,
			struct shim_error *err)
{
	struct addr_range memory = {base + (u64)p->memory_start, 0};
	struct addr_range used = {base + (u64)p->used_start, base + (u64)p->used_end};

	if (!p->memory_size || add_overflow(memory.start, p->memory_size, &memory.end) ||
	    memory.end > ADDRESS_LIMIT || !range_page_aligned(memory))
		return shim_fail(err, "shim parameters: memory at %llx, %llx bytes, is not usable",
				 (unsigned long long)memory.start,
				 (unsigned long long)p->memory_size);
	if (used.start != memory.start || used.end <= used.start || used.end > memory.end ||
	    !range_page_aligned(used))
		return shim_fail(
			err, "shim parameters: used range %llx-%llx does not fit memory %llx-%llx",
			(unsigned long long)used.start, (unsigned long long)used.end,
			(unsigned long long)memory.start, (unsigned long long)memory.end);
	image->memory = memory;
	image->used = used;
	return 0;
}

/* Takes a region's pages away from `gap`, of which the part around `address` stays. */
static int exclude(struct addr_range *gap, u64 address, struct addr_range region)
{
	u64 end = ALIGN_UP(region.end, PAGE_SIZE);

	if (region.start == region.end)
		return 0;
	if (region.start > address)
		gap->end = MIN(gap->end, region.start);
	else if (end <= address)
		gap->start = MAX(gap->start, end);
	else
		return -1;
	return 0;
}

int shim_image_check(struct shim_image *image, const struct shim_params *p, struct addr_range shim,
		     u64 params_at, struct shim_error *err)
{
	u64 base = shim.start;
	const struct region regions[] = {
		{"shim", &image->shim, 0, range_size(shim), 1},
		{"parameter page", &image->params, (s64)(params_at - base), PAGE_SIZE, PAGE_SIZE,
		 true},
		{"command line", &image->cmdline, p->cmdline, PAGE_SIZE, PAGE_SIZE, true},
		{"initrd", &image->initrd, p->initrd, p->initrd_size, 0},
		{"parameter region", &image->config, p->parameter_region, p->parameter_region_size,
		 SHIM_CONFIG_PAGES * PAGE_SIZE, true},
		{"reserved region", &image->reserved, p->reserved_region, p->reserved_region_size,
		 0, true},
		{"sidecar", &image->sidecar, p->sidecar, p->sidecar_size, 0, true},
		{"bounce buffer", &image->bounce, p->bounce_buffer, p->bounce_buffer_size, 0, true},
		{"log buffer", &image->log, p->log_buffer, p->log_buffer_size, PAGE_SIZE, true},
		{"heap", &image->heap, p->heap, p->heap_size, 0, true},
		{"persisted state", &image->persisted, p->persisted_state, p->persisted_state_size,
		 SHIM_PERSISTED_BYTES, true},
	};

	if (p->isolation < SHIM_ISOLATION_NONE_OR_VBS || p->isolation > SHIM_ISOLATION_TDX)
		return shim_fail(err, "shim parameters: unknown isolation type %u", p->isolation);
	image->isolation = (enum shim_isolation)p->isolation;
	if (check_memory(image, p, base, err))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(regions); i++) {
		if (place(&regions[i], base, image->used, err))
			return -1;
		for (size_t k = 0; k < i; k++)
			if (range_overlaps(*regions[i].range, *regions[k].range))
				return shim_fail(err, "shim parameters: %s overlaps %s",
						 regions[i].name, regions[k].name);
	}
	image->kernel_entry = base + (u64)p->kernel_entry;
	if (image->kernel_entry < image->used.start || image->kernel_entry >= image->used.end)
		return shim_fail(err, "shim parameters: kernel entry %llx is outside the image",
				 (unsigned long long)image->kernel_entry);
	image->kernel = image->used;
	for (size_t i = 0; i < ARRAY_SIZE(regions); i++)
		if (exclude(&image->kernel, image->kernel_entry, *regions[i].range))
			return shim_fail(err, "shim parameters: kernel entry %llx is in the %s",
					 (unsigned long long)image->kernel_entry, regions[i].name);
	image->initrd_crc = p->initrd_crc;
	return 0;
}

int imported_list_read(struct imported_list *list, const struct shim_imported_regions *page,
		       struct shim_error *err)
{
	u64 last = 0;

	list->count = 0;
	for (size_t i = 0; i < IMPORTED_MAX && page->range[i].page_count; i++) {
		const struct shim_imported_range *r = &page->range[i];

		if (r->base_page < last || r->base_page > ADDRESS_LIMIT >> PAGE_SHIFT ||
		    r->page_count > (ADDRESS_LIMIT >> PAGE_SHIFT) - r->base_page || r->accepted > 1)
			return shim_fail(err, "imported regions: entry %zu (page %llx) is invalid",
					 i, (unsigned long long)r->base_page);
		last = r->base_page + r->page_count;
		list->entry[list->count].range = (struct addr_range){r->base_page << PAGE_SHIFT,
								     last << PAGE_SHIFT};
		list->entry[list->count].accepted = r->accepted;
		list->count++;
	}
	return 0;
}
