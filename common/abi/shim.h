/*
 * What the image builder, the boot shim and the paravisor agree on inside an OpenHCL-style x64
 * image: region layout, shim parameters, command line page, measured configuration.
 * Layouts are OpenHCL's (openvmm: vm/loader/loader_defs/src/{shim,paravisor}.rs).
 */
#ifndef PARAPET_COMMON_ABI_SHIM_H
#define PARAPET_COMMON_ABI_SHIM_H

#include "common/types.h"

#define SHIM_DEFAULT_BASE 0x8000000ull /* 128 MiB: where a relocatable image is linked */
#define SHIM_ALIGNMENT	  (2 * MiB)

/* Sizes in pages of the regions that follow the initrd, in ascending order */
#define SHIM_GDT_PAGES	     1
#define SHIM_PARAM_PAGES     1
#define SHIM_CMDLINE_PAGES   1
#define SHIM_RESERVED_PAGES  4
#define SHIM_CONFIG_PAGES    362
#define SHIM_LOG_PAGES	     2
#define SHIM_HEAP_PAGES	     16
#define SHIM_PERSISTED_BYTES (2 * MiB)

/* Page indexes inside the parameter/config region */
#define SHIM_CONFIG_SLIT	 0
#define SHIM_CONFIG_SLIT_PAGES	 20
#define SHIM_CONFIG_PPTT	 20
#define SHIM_CONFIG_PPTT_PAGES	 20
#define SHIM_CONFIG_DT		 40
#define SHIM_CONFIG_DT_PAGES	 64
#define SHIM_CONFIG_IMPORTED	 104
#define SHIM_CONFIG_MEASURED	 105
#define SHIM_CONFIG_HASHES	 106
#define SHIM_CONFIG_HASHES_PAGES 256

/*
 * At the start of the shim parameter page; RSI at entry = its offset from the shim's base.
 * i64 values are offsets from the shim's base.
 */
struct shim_params {
	s64 kernel_entry;
	s64 cmdline;
	s64 initrd;
	u64 initrd_size;
	u32 initrd_crc;
	u32 isolation; /* enum shim_isolation */
	s64 memory_start;
	u64 memory_size;
	s64 parameter_region;
	u64 parameter_region_size;
	s64 reserved_region;
	u64 reserved_region_size;
	s64 sidecar;
	u64 sidecar_size;
	s64 sidecar_entry;
	s64 used_start;
	s64 used_end;
	s64 bounce_buffer;
	u64 bounce_buffer_size;
	s64 log_buffer;
	u64 log_buffer_size;
	s64 heap;
	u64 heap_size;
	s64 persisted_state;
	u64 persisted_state_size;
};
_Static_assert(sizeof(struct shim_params) == 192, "OpenHCL");

enum shim_isolation {
	SHIM_ISOLATION_NONE_OR_VBS = 1,
	SHIM_ISOLATION_SNP = 2,
	SHIM_ISOLATION_TDX = 3,
};

struct shim_cmdline {
	u16 policy; /* enum shim_cmdline_policy */
	u16 length;
	char text[4092];
};
_Static_assert(sizeof(struct shim_cmdline) == PAGE_SIZE, "one page");
enum shim_cmdline_policy {
	SHIM_CMDLINE_STATIC = 0,
	SHIM_CMDLINE_APPEND_CHOSEN = 1,
};

/* Imported-regions page: SHA-384 of shared pages, then ranges; count 0 ends */
struct shim_imported_range {
	u64 base_page;
	u64 page_count;
	u8 accepted;
	u8 reserved[7];
};
struct shim_imported_regions {
	u8 sha384[48];
	struct shim_imported_range range[168];
};
_Static_assert(sizeof(struct shim_imported_regions) <= PAGE_SIZE, "one page");

#define SHIM_MEASURED_VTL2_MAGIC 0x4f48434c56544c32ull /* "OHCLVTL2" */
struct shim_measured_vtl2 {
	u64 magic;
	u8 vtom_bit;
	u8 reserved[7];
	u32 product_policy_size;
	u32 reserved2;
};
_Static_assert(sizeof(struct shim_measured_vtl2) == 24, "OpenHCL");

/* Measured VTL0 configuration: guest page 0 on x64. Page count 0: absent. */
#define SHIM_MEASURED_VTL0_MAGIC 0x4f48434c56544c30ull /* "OHCLVTL0" */
#define SHIM_VTL0_UEFI		 BIT(0)
#define SHIM_VTL0_PCAT		 BIT(1)
#define SHIM_VTL0_LINUX		 BIT(2)
struct shim_measured_vtl0 {
	u64 magic;
	u64 supported;
	u64 uefi_base_page, uefi_pages, uefi_context_page, uefi_context_pages;
	/*
	 * Linux kernel: a vmlinux at its physical addresses, or a whole bzImage file as it is
	 * (recognised by its "HdrS" setup header at byte 0x202 of the first page).
	 */
	u64 kernel_base_page, kernel_pages, kernel_entry;
	u64 initrd_base_page, initrd_pages, initrd_size;
	u64 cmdline_page, cmdline_pages;
};
_Static_assert(sizeof(struct shim_measured_vtl0) == 112, "OpenHCL");

/*
 * TDX: start of the reset page, from which all processors start. The shim rewrites it for the
 * processors that it starts, and the mailbox is the one that Linux is told of (ACPI multiprocessor
 * wakeup: command 1 sends processor apic_id to wakeup_vector, and is cleared by it).
 */
#define SHIM_TDX_RESET_PAGE 0xfffff000ull
#define SHIM_TDX_WAKEUP	    1
struct shim_tdx_reset {
	u16 mailbox_command;
	u16 reserved;
	u32 mailbox_apic_id;
	u64 wakeup_vector;
	u32 reserved2;
	u16 data_selector; /* for DS, ES, FS, GS, SS */
	u16 static_gdt_limit;
	u32 static_gdt_base;
	u16 task_selector; /* 0: TR is not loaded */
	u16 idtr_limit;	   /* 0: IDTR is not loaded */
	u64 idtr_base;
	u64 initial_rip;
	u16 code_selector; /* 0: CS stays that of the static table */
	u16 reserved3[2];
	u16 gdtr_limit; /* 0: no descriptor table, no selector is loaded */
	u64 gdtr_base;
	u64 rsp, rbp, rsi, r8, r9, r10, r11;
	u64 cr0, cr3, cr4;
	u32 transition_cr3;
	u32 reserved4;
	u64 static_gdt[2];
} __attribute__((packed));
_Static_assert(sizeof(struct shim_tdx_reset) == 0xa8, "OpenHCL");

/* Log buffer: this header, then text */
struct shim_log {
	u16 capacity;
	u16 used;
	u16 dropped;
	char text[];
};

/* Property openhcl,memory-type of the device tree that the shim gives to user space */
enum shim_memory_type {
	SHIM_MEM_VTL0 = 0,
	SHIM_MEM_VTL2_RAM = 1,
	SHIM_MEM_VTL2_CONFIG = 2,
	SHIM_MEM_VTL2_SIDECAR_IMAGE = 3,
	SHIM_MEM_VTL2_SIDECAR_NODE = 4,
	SHIM_MEM_VTL0_MMIO = 5,
	SHIM_MEM_VTL2_MMIO = 6,
	SHIM_MEM_VTL2_RESERVED = 7,
	SHIM_MEM_VTL2_GPA_POOL = 8,
	SHIM_MEM_VTL2_TDX_PAGE_TABLES = 9,
	SHIM_MEM_VTL2_LOG = 10,
	SHIM_MEM_VTL2_PERSISTED_HEADER = 11,
	SHIM_MEM_VTL2_PERSISTED_PROTOBUF = 12,
};

#endif
