/* Which memory is VTL2's: its RAM, its reserved parts, the MMIO of both VTLs, the whole map. */
#ifndef PARAPET_LOADER_MEMORY_PLAN_H
#define PARAPET_LOADER_MEMORY_PLAN_H

#include "loader/host_dt.h"
#include "loader/image.h"
#include "loader/isolation.h"

#define PLAN_MAX_RAM	 64
#define PLAN_MAX_ENTRIES (HOST_DT_MAX_RAM + 2 * PLAN_MAX_RAM + 32)

/* Header page and saved state at the start of the persisted region; the rest of it is RAM. */
#define PLAN_PERSISTED_HEADER_PAGES 1
#define PLAN_PERSISTED_STATE_PAGES  19

struct plan_ram {
	struct addr_range range;
	u32 node;
};

struct plan_entry {
	struct addr_range range;
	u32 node;      /* RAM only */
	u32 host_type; /* RAM only: enum host_ram_type */
	u32 type;      /* enum shim_memory_type */
};

struct memory_plan {
	u32 ram_count;
	struct plan_ram ram[PLAN_MAX_RAM]; /* VTL2's RAM, reserved parts included; ascending */
	u32 mmio0_count, mmio2_count;
	struct addr_range mmio0[HOST_DT_MAX_MMIO], mmio2[HOST_DT_MAX_MMIO];
	u32 entry_count;
	struct plan_entry entry[PLAN_MAX_ENTRIES]; /* partition map: ascending, no overlap */
};

/* Fails when the host's map cannot hold the image, or a rule of the reference is broken. */
int memory_plan_build(struct memory_plan *plan, const struct shim_image *image,
		      const struct imported_list *imported, const struct host_dt *dt,
		      enum isolation isolation, struct shim_error *err);

/* VTL2's, but not for Linux's page allocator. */
bool plan_type_is_reserved(u32 type);

static inline bool plan_type_is_mmio(u32 type)
{
	return type == SHIM_MEM_VTL0_MMIO || type == SHIM_MEM_VTL2_MMIO;
}

#endif
