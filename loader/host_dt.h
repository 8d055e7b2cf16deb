/* What the host tells VTL2 in its device tree: processors, memory map, VMBus, serial, options. */
#ifndef PARAPET_LOADER_HOST_DT_H
#define PARAPET_LOADER_HOST_DT_H

#include "loader/error.h"
#include "loader/range.h"

#define HOST_DT_MAX_CPUS     2048
#define HOST_DT_MAX_RAM	     1024
#define HOST_DT_MAX_NODES    64 /* NUMA node numbers are below */
#define HOST_DT_MAX_MMIO     2
#define HOST_DT_MAX_BOOTARGS 8192
#define HOST_DT_MAX_ENTROPY  256

/* Property microsoft,igvm-type of a memory node */
enum host_ram_type {
	HOST_RAM_MEMORY = 0,
	HOST_RAM_PLATFORM_RESERVED = 1,
	HOST_RAM_PERSISTENT = 2,
	HOST_RAM_VTL2_PROTECTABLE = 3,
	HOST_RAM_SPECIFIC_PURPOSE = 4,
	HOST_RAM_HIDDEN = 5,
};

struct host_cpu {
	u32 apic_id;
	u32 node;
};

struct host_ram {
	struct addr_range range;
	u32 node;
	u32 type; /* enum host_ram_type */
};

struct host_vmbus {
	bool present;
	u32 connection_id;
	u32 mmio_count;
	struct addr_range mmio[HOST_DT_MAX_MMIO]; /* ascending */
};

struct host_dt {
	u32 bsp_apic_id;
	u32 cpu_count;
	struct host_cpu cpu[HOST_DT_MAX_CPUS]; /* position is the VP index */
	u32 ram_count;
	struct host_ram ram[HOST_DT_MAX_RAM]; /* ascending, no overlap, none empty */
	struct host_vmbus vtl0, vtl2;	      /* both present after a successful read */
	bool com3;
	u32 com3_speed;	    /* baud */
	bool self_allocate; /* memory-allocation-mode "vtl2": the shim chooses VTL2's memory */
	bool has_memory_size, has_mmio_size, has_alias_map;
	u64 memory_size, mmio_size; /* bytes */
	u64 alias_map;
	bool nvme_keep_alive;
	u64 dma_pages;
	u32 bootargs_length;
	char bootargs[HOST_DT_MAX_BOOTARGS + 1];
	u32 entropy_length;
	u8 entropy[HOST_DT_MAX_ENTROPY];
};

/*
 * Reads the flattened tree in `area` (8-byte aligned, `size` bytes) into *dt. Every length,
 * count, alignment and overlap rule is checked; the work is bounded by `size`. After success
 * nothing in *dt points into the area.
 */
int host_dt_read(struct host_dt *dt, const void *area, size_t size, struct shim_error *err);

#endif
