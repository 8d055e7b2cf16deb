/* Memory plan: host memory map + image layout -> VTL2 RAM, MMIO split and the partition map. */
#include "loader/memory_plan.h"

#include <string.h>

/* One byte of the hypervisor's VTL permission bitmap covers 8 pages: VTL2 RAM keeps to it. */
#define CHUNK (8 * PAGE_SIZE)

#define fail(err, ...) shim_fail(err, "memory plan: " __VA_ARGS__)

typedef unsigned long long ull;

bool plan_type_is_reserved(u32 type)
{
	switch (type) {
	case SHIM_MEM_VTL2_CONFIG:
	case SHIM_MEM_VTL2_SIDECAR_IMAGE:
	case SHIM_MEM_VTL2_SIDECAR_NODE:
	case SHIM_MEM_VTL2_RESERVED:
	case SHIM_MEM_VTL2_GPA_POOL:
	case SHIM_MEM_VTL2_TDX_PAGE_TABLES:
	case SHIM_MEM_VTL2_LOG:
	case SHIM_MEM_VTL2_PERSISTED_HEADER:
	case SHIM_MEM_VTL2_PERSISTED_PROTOBUF: return true;
	default: return false;
	}
}

/* ---- the partition map */

static int insert_entry(struct memory_plan *plan, u32 at, const struct plan_entry *e,
			struct shim_error *err)
{
	if (plan->entry_count == PLAN_MAX_ENTRIES)
		return fail(err, "more than %d map entries", PLAN_MAX_ENTRIES);
	memmove(&plan->entry[at + 1], &plan->entry[at],
		(plan->entry_count - at) * sizeof(plan->entry[0]));
	plan->entry[at] = *e;
	plan->entry_count++;
	return 0;
}

static u32 find_entry(const struct memory_plan *plan, u64 address)
{
	u32 i = 0;

	while (i < plan->entry_count && plan->entry[i].range.end <= address)
		i++;
	return i;
}

/* Splits entry `at` so that one begins at `address`, which lies inside it. */
static int split_entry(struct memory_plan *plan, u32 at, u64 address, struct shim_error *err)
{
	struct plan_entry low = plan->entry[at];

	if (address == low.range.start)
		return 0;
	low.range.end = address;
	if (insert_entry(plan, at, &low, err))
		return -1;
	plan->entry[at + 1].range.start = address;
	return 0;
}

/* Gives `range` the type `to`. Every byte of it must be mapped with the type `from`. */
static int paint(struct memory_plan *plan, struct addr_range range, u32 from, u32 to,
		 const char *what, struct shim_error *err)
{
	u64 at = range.start;

	for (u32 i = find_entry(plan, at); at < range.end; i++) {
		if (i == plan->entry_count || plan->entry[i].range.start > at ||
		    plan->entry[i].type != from)
			return fail(err, "%s %llx-%llx is not in %s at %llx", what,
				    (ull)range.start, (ull)range.end,
				    from == SHIM_MEM_VTL0 ? "the host's memory map" : "VTL2 RAM",
				    (ull)at);
		if (split_entry(plan, i, at, err))
			return -1;
		if (plan->entry[i].range.start != at)
			i++;
		if (plan->entry[i].range.end > range.end && split_entry(plan, i, range.end, err))
			return -1;
		plan->entry[i].type = to;
		at = plan->entry[i].range.end;
	}
	return 0;
}

static int add_mmio(struct memory_plan *plan, struct addr_range range, u32 type,
		    struct shim_error *err)
{
	struct plan_entry e = {.range = range, .type = type};

	return insert_entry(plan, find_entry(plan, range.start), &e, err);
}

static int paint_reserved(struct memory_plan *plan, const struct shim_image *image,
			  struct shim_error *err)
{
	u64 header = image->persisted.start;
	u64 state = header + PLAN_PERSISTED_HEADER_PAGES * PAGE_SIZE;
	struct addr_range host_dt = image_host_dt(image);
	const struct {
		struct addr_range range;
		u32 type;
		const char *name;
	} parts[] = {
		{{header, state}, SHIM_MEM_VTL2_PERSISTED_HEADER, "persisted header"},
		{{state, state + PLAN_PERSISTED_STATE_PAGES * PAGE_SIZE},
		 SHIM_MEM_VTL2_PERSISTED_PROTOBUF,
		 "persisted state"},
		{image->sidecar, SHIM_MEM_VTL2_SIDECAR_IMAGE, "sidecar"},
		{image->reserved, SHIM_MEM_VTL2_RESERVED, "reserved region"},
		/* The host device tree between the two is read here for the last time. */
		{{image->config.start, host_dt.start}, SHIM_MEM_VTL2_CONFIG, "configuration"},
		{{host_dt.end, image->config.end}, SHIM_MEM_VTL2_CONFIG, "configuration"},
		{image->log, SHIM_MEM_VTL2_LOG, "log buffer"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (paint(plan, parts[i].range, SHIM_MEM_VTL2_RAM, parts[i].type, parts[i].name,
			  err))
			return -1;
	return 0;
}

static int build_map(struct memory_plan *plan, const struct shim_image *image,
		     const struct host_dt *dt, struct shim_error *err)
{
	plan->entry_count = 0;
	for (u32 i = 0; i < dt->ram_count; i++) {
		struct plan_entry e = {.range = dt->ram[i].range,
				       .node = dt->ram[i].node,
				       .host_type = dt->ram[i].type,
				       .type = SHIM_MEM_VTL0};

		if (insert_entry(plan, plan->entry_count, &e, err))
			return -1;
	}
	for (u32 i = 0; i < plan->ram_count; i++)
		if (paint(plan, plan->ram[i].range, SHIM_MEM_VTL0, SHIM_MEM_VTL2_RAM, "VTL2 RAM",
			  err))
			return -1;
	if (paint_reserved(plan, image, err))
		return -1;
	for (u32 i = 0; i < plan->mmio0_count; i++)
		if (add_mmio(plan, plan->mmio0[i], SHIM_MEM_VTL0_MMIO, err))
			return -1;
	for (u32 i = 0; i < plan->mmio2_count; i++)
		if (add_mmio(plan, plan->mmio2[i], SHIM_MEM_VTL2_MMIO, err))
			return -1;
	return 0;
}

/* ---- VTL2 RAM */

static int add_ram(struct memory_plan *plan, struct addr_range range, u32 node,
		   struct shim_error *err)
{
	u32 at = plan->ram_count;

	if (plan->ram_count == PLAN_MAX_RAM)
		return fail(err, "more than %d VTL2 memory ranges", PLAN_MAX_RAM);
	while (at > 0 && plan->ram[at - 1].range.start > range.start) {
		plan->ram[at] = plan->ram[at - 1];
		at--;
	}
	plan->ram[at] = (struct plan_ram){range, node};
	plan->ram_count++;
	return 0;
}

static u32 node_of(const struct host_dt *dt, u64 address)
{
	for (u32 i = 0; i < dt->ram_count; i++)
		if (address >= dt->ram[i].range.start && address < dt->ram[i].range.end)
			return dt->ram[i].node;
	return 0;
}

/* The host names VTL2's RAM by its type. */
static int host_chosen_ram(struct memory_plan *plan, const struct shim_image *image,
			   const struct host_dt *dt, enum isolation isolation,
			   struct shim_error *err)
{
	u64 sum = 0;
	struct addr_range measured = image->memory;

	for (u32 i = 0; i < dt->ram_count; i++) {
		const struct host_ram *ram = &dt->ram[i];

		if (ram->type != HOST_RAM_VTL2_PROTECTABLE)
			continue;
		sum += range_size(ram->range);
		/* Hardware isolated: only the sum counts, the place is measured. */
		if (isolation != ISOLATION_SNP && isolation != ISOLATION_TDX &&
		    add_ram(plan, ram->range, ram->node, err))
			return -1;
	}
	if (isolation == ISOLATION_SNP || isolation == ISOLATION_TDX) {
		if (add_overflow(measured.start, MAX(sum, range_size(measured)), &measured.end))
			return fail(err, "VTL2 RAM of %llx bytes wraps", (ull)sum);
		return add_ram(plan, measured, 0, err);
	}
	if (plan->ram_count == 0)
		return add_ram(plan, measured, node_of(dt, measured.start), err);
	return 0;
}

/* Free host memory during self-allocation; ascending */
struct free_list {
	u32 count;
	struct plan_ram piece[HOST_DT_MAX_RAM + IMPORTED_MAX + 8];
};

static int take(struct free_list *free_ram, struct addr_range range, const char *what,
		struct shim_error *err)
{
	u64 at = range.start;

	for (u32 i = 0; i < free_ram->count && at < range.end;) {
		struct plan_ram *p = &free_ram->piece[i];
		u64 end = MIN(range.end, p->range.end);

		if (p->range.end <= at) {
			i++;
			continue;
		}
		if (p->range.start > at)
			break;
		if (p->range.start < at && end < p->range.end) {
			if (free_ram->count == ARRAY_SIZE(free_ram->piece))
				return fail(err, "too many memory pieces");
			memmove(p + 1, p, (free_ram->count - i) * sizeof(*p));
			free_ram->count++;
			p[0].range.end = at;
			p[1].range.start = end;
		} else if (p->range.start < at) {
			p->range.end = at;
		} else {
			p->range.start = end;
		}
		at = end;
	}
	if (at < range.end)
		return fail(err, "%s %llx-%llx is not free host memory at %llx", what,
			    (ull)range.start, (ull)range.end, (ull)at);
	return 0;
}

/* The image's own memory counts for the nodes it lies on. */
static int take_image(struct memory_plan *plan, struct free_list *free_ram,
		      const struct host_dt *dt, struct addr_range memory, u64 *wanted,
		      struct shim_error *err)
{
	if (take(free_ram, memory, "image memory", err))
		return -1;
	for (u32 i = 0; i < dt->ram_count; i++) {
		struct addr_range part = {MAX(memory.start, dt->ram[i].range.start),
					  MIN(memory.end, dt->ram[i].range.end)};
		u64 *share = &wanted[dt->ram[i].node];

		if (part.start >= part.end)
			continue;
		*share -= MIN(*share, range_size(part));
		if (add_ram(plan, part, dt->ram[i].node, err))
			return -1;
	}
	return 0;
}

static int take_imported(struct free_list *free_ram, const struct imported_list *imported,
			 struct addr_range memory, enum isolation isolation, struct shim_error *err)
{
	const struct addr_range reset_page = {0xfffff000, 0x100000000};

	for (u32 i = 0; i < imported->count; i++) {
		struct addr_range r = imported->entry[i].range;

		if (range_contains(memory, r))
			continue;
		if (isolation == ISOLATION_TDX && range_contains(reset_page, r))
			continue;
		if (range_overlaps(memory, r))
			return fail(err, "imported region %llx-%llx straddles the image",
				    (ull)r.start, (ull)r.end);
		if (take(free_ram, r, "imported region", err))
			return -1;
	}
	return 0;
}

/* Highest memory of the node first, so that low memory stays for VTL0. */
static int take_node(struct memory_plan *plan, struct free_list *free_ram, u32 node, u64 wanted,
		     struct shim_error *err)
{
	for (u32 i = free_ram->count; i-- > 0 && wanted;) {
		struct plan_ram *p = &free_ram->piece[i];
		u64 start;

		if (p->node != node || range_size(p->range) == 0)
			continue;
		start = p->range.start;
		if (range_size(p->range) > wanted)
			start = MAX(start, ALIGN_DOWN(p->range.end - wanted, CHUNK));
		if (add_ram(plan, (struct addr_range){start, p->range.end}, node, err))
			return -1;
		wanted -= MIN(wanted, p->range.end - start);
		p->range.end = start;
	}
	if (wanted)
		return fail(err, "NUMA node %u has %llx bytes too little for VTL2", node,
			    (ull)wanted);
	return 0;
}

static int self_chosen_ram(struct memory_plan *plan, const struct shim_image *image,
			   const struct imported_list *imported, const struct host_dt *dt,
			   enum isolation isolation, struct shim_error *err)
{
	static struct free_list free_ram;
	u64 wanted[HOST_DT_MAX_NODES] = {0};
	u64 nodes = 0, total = range_size(image->memory), share;
	u32 node_count = 0;

	if (dt->has_memory_size) {
		if (dt->memory_size < total)
			return fail(err, "host gives VTL2 %llx bytes, the image needs %llx",
				    (ull)dt->memory_size, (ull)total);
		total = dt->memory_size;
	}
	free_ram.count = 0;
	for (u32 i = 0; i < dt->ram_count; i++) {
		const struct host_ram *ram = &dt->ram[i];

		if (ram->type != HOST_RAM_MEMORY && ram->type != HOST_RAM_VTL2_PROTECTABLE)
			continue;
		node_count += !(nodes & BIT(ram->node));
		nodes |= BIT(ram->node);
		free_ram.piece[free_ram.count++] = (struct plan_ram){ram->range, ram->node};
	}
	if (!node_count)
		return fail(err, "the host has no usable memory");
	share = total / node_count;
	share = ALIGN_UP(share, CHUNK);
	for (u32 n = 0; n < HOST_DT_MAX_NODES; n++)
		if (nodes & BIT(n))
			wanted[n] = share;
	if (take_image(plan, &free_ram, dt, image->memory, wanted, err) ||
	    take_imported(&free_ram, imported, image->memory, isolation, err))
		return -1;
	for (u32 n = 0; n < HOST_DT_MAX_NODES; n++)
		if (take_node(plan, &free_ram, n, wanted[n], err))
			return -1;
	return 0;
}

/* ---- MMIO */

static int split_mmio(struct memory_plan *plan, const struct host_dt *dt, enum isolation isolation,
		      struct shim_error *err)
{
	u64 wanted = dt->has_mmio_size ? dt->mmio_size : 0, sum = 0;
	struct addr_range *high;

	plan->mmio0_count = dt->vtl0.mmio_count;
	memcpy(plan->mmio0, dt->vtl0.mmio, sizeof(plan->mmio0));
	plan->mmio2_count = dt->vtl2.mmio_count;
	memcpy(plan->mmio2, dt->vtl2.mmio, sizeof(plan->mmio2));
	if (isolation == ISOLATION_NONE && !dt->self_allocate)
		return 0;

	for (u32 i = 0; i < plan->mmio2_count; i++)
		sum += range_size(plan->mmio2[i]);
	if (plan->mmio2_count) {
		if (sum < wanted)
			return fail(err, "VTL2 MMIO of %llx bytes, %llx wanted", (ull)sum,
				    (ull)wanted);
		return 0;
	}
	if (plan->mmio0_count != 2)
		return fail(err, "VTL0 has %u MMIO ranges, not 2", plan->mmio0_count);
	high = &plan->mmio0[1];
	wanted = MAX(wanted, MIN(MAX(range_size(*high) / 2, 128 * MiB), 1 * GiB));
	wanted = ALIGN_UP(wanted, PAGE_SIZE);
	if (high->start < 4 * GiB || range_size(*high) <= wanted)
		return fail(err, "VTL0's MMIO %llx-%llx cannot give %llx bytes to VTL2",
			    (ull)high->start, (ull)high->end, (ull)wanted);
	high->end -= wanted;
	plan->mmio2[0] = (struct addr_range){high->end, high->end + wanted};
	plan->mmio2_count = 1;
	return 0;
}

/* What was loaded outside VTL2's RAM (VTL0's payload) must not wait for acceptance. */
static int check_imported(const struct memory_plan *plan, const struct imported_list *imported,
			  struct shim_error *err)
{
	for (u32 i = 0; i < imported->count; i++) {
		struct addr_range r = imported->entry[i].range;
		bool inside = false;

		for (u32 k = 0; k < plan->ram_count && !inside; k++)
			inside = range_contains(plan->ram[k].range, r);
		if (!inside && !imported->entry[i].accepted)
			return fail(err, "imported region %llx-%llx outside VTL2 is not accepted",
				    (ull)r.start, (ull)r.end);
	}
	return 0;
}

/* The host may not place VTL2 elsewhere than where it has loaded the image. */
static int check_image_inside(const struct memory_plan *plan, struct addr_range used,
			      struct shim_error *err)
{
	u64 at = used.start;

	for (u32 i = 0; i < plan->ram_count && at < used.end; i++)
		if (plan->ram[i].range.start <= at && plan->ram[i].range.end > at)
			at = plan->ram[i].range.end;
	if (at < used.end)
		return fail(err, "image %llx-%llx is not in VTL2 RAM at %llx", (ull)used.start,
			    (ull)used.end, (ull)at);
	return 0;
}

int memory_plan_build(struct memory_plan *plan, const struct shim_image *image,
		      const struct imported_list *imported, const struct host_dt *dt,
		      enum isolation isolation, struct shim_error *err)
{
	plan->ram_count = 0;
	if (dt->self_allocate ? self_chosen_ram(plan, image, imported, dt, isolation, err)
			      : host_chosen_ram(plan, image, dt, isolation, err))
		return -1;
	if (check_image_inside(plan, image->used, err))
		return -1;
	if (split_mmio(plan, dt, isolation, err) || build_map(plan, image, dt, err))
		return -1;
	return check_imported(plan, imported, err);
}
