/* The partition as the boot shim describes it: memory map, processors, isolation type. */
#ifndef PARAPET_PARAVISOR_CONFIG_H
#define PARAPET_PARAVISOR_CONFIG_H

#include "common/abi/shim.h"
#include "common/types.h"

#define CONFIG_MAX_RANGES 256
#define CONFIG_MAX_VPS	  64

struct config_range {
	u64 base;
	u64 size; /* bytes, never 0; base + size does not wrap */
	u32 type; /* enum shim_memory_type */
	u32 node;
};

enum config_isolation { ISOLATION_NONE, ISOLATION_VBS, ISOLATION_SNP, ISOLATION_TDX };

struct config {
	enum config_isolation isolation;
	u32 vp_count;
	u32 apic_id[CONFIG_MAX_VPS]; /* by VP index */
	u32 vp_node[CONFIG_MAX_VPS];
	u32 range_count;
	struct config_range range[CONFIG_MAX_RANGES]; /* ascending, no overlap */
};

/*
 * Reads the device tree that the shim gives to user space (/openhcl, /cpus). 0, or -1 with
 * *reason set to a static text. The tree is foreign data: any content is survived.
 */
int config_parse(const void *fdt, size_t size, struct config *config, const char **reason);

/* The host's random seed, /openhcl/entropy; NULL if there is none. Points into the tree. */
const void *config_entropy(const void *fdt, size_t size, size_t *length);

/* Memory of VTL2 that VTL0 must not reach. */
bool config_is_vtl2_memory(const struct config_range *range);

/* True when [base, base + size) is VTL0 RAM throughout. */
bool config_is_vtl0_ram(const struct config *config, u64 base, u64 size);

/*
 * Checks what the image says about the VTL0 payload (measured at guest page 0). 0, or -1 with
 * *reason set.
 */
int config_check_vtl0(const struct shim_measured_vtl0 *vtl0, const struct config *config,
		      const char **reason);

#endif
