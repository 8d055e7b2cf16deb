/* A valid image layout and host device tree for tests of the boot shim, with places to break. */
#ifndef PARAPET_TESTS_UNIT_SHIM_FIXTURE_H
#define PARAPET_TESTS_UNIT_SHIM_FIXTURE_H

#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/abi/shim.h"
#include "loader/image.h"

/* Image of 32 MiB at 128 MiB: persisted state, kernel, shim, initrd, then the fixed regions */
#define FIX_BASE	SHIM_DEFAULT_BASE
#define FIX_MEMORY_SIZE (32 * MiB)
#define FIX_KERNEL	(FIX_BASE + SHIM_PERSISTED_BYTES)
#define FIX_SHIM	(FIX_BASE + 4 * MiB)
#define FIX_SHIM_SIZE	(1 * MiB)
#define FIX_INITRD	(FIX_BASE + 6 * MiB)
#define FIX_INITRD_SIZE 5000u
#define FIX_GDT		(FIX_BASE + 8 * MiB)
#define FIX_PARAMS	(FIX_GDT + SHIM_GDT_PAGES * PAGE_SIZE)
#define FIX_CMDLINE	(FIX_PARAMS + SHIM_PARAM_PAGES * PAGE_SIZE)
#define FIX_RESERVED	(FIX_CMDLINE + SHIM_CMDLINE_PAGES * PAGE_SIZE)
#define FIX_CONFIG	(FIX_RESERVED + SHIM_RESERVED_PAGES * PAGE_SIZE)
#define FIX_LOG		(FIX_CONFIG + SHIM_CONFIG_PAGES * PAGE_SIZE)
#define FIX_HEAP	(FIX_LOG + SHIM_LOG_PAGES * PAGE_SIZE)
#define FIX_USED_END	(FIX_HEAP + (SHIM_HEAP_PAGES + 7) * PAGE_SIZE)
#define FIX_HOST_DT	(FIX_CONFIG + SHIM_CONFIG_DT * PAGE_SIZE)

static inline struct shim_params fix_params(void)
{
	s64 shim = (s64)FIX_SHIM;

	return (struct shim_params){
		.kernel_entry = (s64)FIX_KERNEL + 0x200 - shim,
		.cmdline = (s64)FIX_CMDLINE - shim,
		.initrd = (s64)FIX_INITRD - shim,
		.initrd_size = FIX_INITRD_SIZE,
		.isolation = SHIM_ISOLATION_NONE_OR_VBS,
		.memory_start = (s64)FIX_BASE - shim,
		.memory_size = FIX_MEMORY_SIZE,
		.parameter_region = (s64)FIX_CONFIG - shim,
		.parameter_region_size = SHIM_CONFIG_PAGES * PAGE_SIZE,
		.reserved_region = (s64)FIX_RESERVED - shim,
		.reserved_region_size = SHIM_RESERVED_PAGES * PAGE_SIZE,
		.used_start = (s64)FIX_BASE - shim,
		.used_end = (s64)FIX_USED_END - shim,
		.log_buffer = (s64)FIX_LOG - shim,
		.log_buffer_size = SHIM_LOG_PAGES * PAGE_SIZE,
		.heap = (s64)FIX_HEAP - shim,
		.heap_size = SHIM_HEAP_PAGES * PAGE_SIZE,
		.persisted_state = (s64)FIX_BASE - shim,
		.persisted_state_size = SHIM_PERSISTED_BYTES,
	};
}

static inline int fix_image(struct shim_image *image, const struct shim_params *params,
			    struct shim_error *err)
{
	const struct addr_range shim = {FIX_SHIM, FIX_SHIM + FIX_SHIM_SIZE};

	return shim_image_check(image, params, shim, FIX_PARAMS, err);
}

/* ---- host device tree */

#define FIX_TREE_SIZE (SHIM_CONFIG_DT_PAGES * PAGE_SIZE)

struct fix_ram {
	u64 base, size;
	u32 node;
	s64 type; /* -1: no property */
};

/* Zero-initialised fields mean the valid default of fix_tree_default(). */
struct fix_tree {
	u32 cpus;
	u32 ram_count;
	struct fix_ram ram[8];
	u32 mmio0_count, mmio2_count;
	u64 mmio0[8][2], mmio2[8][2];
	const char *bootargs;
	const char *mode;	    /* NULL: no openhcl node */
	u64 memory_size, mmio_size; /* 0: no property */
	u32 com3_speed;		    /* 0: no serial port */
	u32 entropy;
};

static inline struct fix_tree fix_tree_default(void)
{
	return (struct fix_tree){
		.cpus = 2,
		.ram_count = 2,
		.ram = {{0, FIX_BASE, 0, -1}, {FIX_BASE, FIX_MEMORY_SIZE, 0, 3}},
		.mmio0_count = 2,
		.mmio0 = {{0xf8000000, 0x4000000}, {0x1000000000, 0x1000000000}},
		.mmio2_count = 1,
		.mmio2 = {{0x2000000000, 0x8000000}},
		.bootargs = "loglevel=4",
		.mode = "host",
		.com3_speed = 115200,
		.entropy = 64,
	};
}

static inline void fix_cells(void *fdt, u32 address, u32 size)
{
	fdt_property_u32(fdt, "#address-cells", address);
	fdt_property_u32(fdt, "#size-cells", size);
}

static inline void fix_pair(void *fdt, const char *name, u64 a, u64 b)
{
	fdt64_t v[2] = {cpu_to_fdt64(a), cpu_to_fdt64(b)};

	fdt_property(fdt, name, v, sizeof(v));
}

static inline void fix_vmbus(void *fdt, const char *name, u32 vtl, u32 connection,
			     const u64 mmio[][2], u32 count)
{
	fdt64_t ranges[24];

	for (u32 i = 0; i < count; i++) {
		ranges[3 * i] = ranges[3 * i + 1] = cpu_to_fdt64(mmio[i][0]);
		ranges[3 * i + 2] = cpu_to_fdt64(mmio[i][1]);
	}
	fdt_begin_node(fdt, name);
	fix_cells(fdt, 2, 2);
	fdt_property_string(fdt, "compatible", "microsoft,vmbus");
	fdt_property_u32(fdt, "microsoft,vtl", vtl);
	fdt_property_u32(fdt, "microsoft,message-connection-id", connection);
	fdt_property(fdt, "ranges", ranges, (int)count * 24);
	fdt_end_node(fdt);
}

/* Writes the tree to buf[FIX_TREE_SIZE], with some room for later changes. */
static inline void fix_tree_write(void *buf, const struct fix_tree *t)
{
	static const u8 random_bytes[512] = {1, 2, 3};
	char name[32];

	memset(buf, 0, FIX_TREE_SIZE);
	fdt_create(buf, FIX_TREE_SIZE);
	fdt_finish_reservemap(buf);
	fdt_begin_node(buf, "");
	fix_cells(buf, 2, 2);
	fdt_property_string(buf, "model", "microsoft,hyperv");
	fdt_begin_node(buf, "cpus");
	fix_cells(buf, 1, 0);
	for (u32 i = 0; i < t->cpus; i++) {
		snprintf(name, sizeof(name), "cpu@%x", i + 1);
		fdt_begin_node(buf, name);
		fdt_property_string(buf, "device_type", "cpu");
		fdt_property_u32(buf, "reg", i);
		fdt_property_u32(buf, "numa-node-id", 0);
		fdt_property_string(buf, "status", "okay");
		fdt_end_node(buf);
	}
	fdt_end_node(buf);
	for (u32 i = t->ram_count; i-- > 0;) {
		snprintf(name, sizeof(name), "memory@%llx", (unsigned long long)t->ram[i].base);
		fdt_begin_node(buf, name);
		fdt_property_string(buf, "device_type", "memory");
		fix_pair(buf, "reg", t->ram[i].base, t->ram[i].size);
		fdt_property_u32(buf, "numa-node-id", t->ram[i].node);
		if (t->ram[i].type >= 0)
			fdt_property_u32(buf, "microsoft,igvm-type", (u32)t->ram[i].type);
		fdt_end_node(buf);
	}
	fdt_begin_node(buf, "bus");
	fix_cells(buf, 2, 2);
	fdt_property_string(buf, "compatible", "simple-bus");
	fdt_property(buf, "ranges", NULL, 0);
	fix_vmbus(buf, "vmbus-vtl0", 0, 1, t->mmio0, t->mmio0_count);
	fix_vmbus(buf, "vmbus-vtl2", 2, 4, t->mmio2, t->mmio2_count);
	fdt_end_node(buf);
	if (t->com3_speed) {
		fdt_begin_node(buf, "pio-bus");
		fix_cells(buf, 1, 1);
		fdt_property_string(buf, "compatible", "x86-pio-bus");
		fdt_begin_node(buf, "serial@3e8");
		fdt_property_string(buf, "compatible", "ns16550");
		fdt_property_u32(buf, "clock-frequency", 0);
		fdt_property_u32(buf, "current-speed", t->com3_speed);
		fix_pair(buf, "reg", 0x3e8, 8);
		fdt_end_node(buf);
		fdt_end_node(buf);
	}
	if (t->bootargs) {
		fdt_begin_node(buf, "chosen");
		fdt_property_string(buf, "bootargs", t->bootargs);
		fdt_end_node(buf);
	}
	if (t->mode) {
		fdt_begin_node(buf, "openhcl");
		fdt_property_string(buf, "memory-allocation-mode", t->mode);
		if (t->memory_size)
			fdt_property_u64(buf, "memory-size", t->memory_size);
		if (t->mmio_size)
			fdt_property_u64(buf, "mmio-size", t->mmio_size);
		if (t->entropy) {
			fdt_begin_node(buf, "entropy");
			fdt_property(buf, "reg", random_bytes, (int)t->entropy);
			fdt_end_node(buf);
		}
		fdt_begin_node(buf, "keep-alive");
		fdt_property_string(buf, "device-types", "nvme");
		fdt_end_node(buf);
		fdt_end_node(buf);
	}
	fdt_end_node(buf);
	fdt_finish(buf);
}

/* Tree that fdt_setprop and friends may grow. */
static inline void fix_tree_open(void *buf, const struct fix_tree *t)
{
	fix_tree_write(buf, t);
	fdt_open_into(buf, buf, FIX_TREE_SIZE);
}

#endif
