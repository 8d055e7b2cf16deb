/*
 * Direct boot of Linux in VTL0: where kernel and initrd go, zero page, identity page tables,
 * initial registers. Linux x86 boot protocol 2.12+, 64-bit entry.
 */
#ifndef PARAPET_PARAVISOR_LINUX_BOOT_H
#define PARAPET_PARAVISOR_LINUX_BOOT_H

#include "common/abi/hv.h"
#include "paravisor/config.h"

/* Low guest memory that the boot data takes; pages 0 and 1 are the image's. */
#define BOOT_ZERO_PAGE	   0x7000u
#define BOOT_GDT	   0x8000u
#define BOOT_PAGE_TABLES   0x9000u /* six pages: 4 GiB in 2 MiB steps */
#define BOOT_CMDLINE	   0x10000u
#define BOOT_CMDLINE_MAX   4096u
#define BOOT_ACPI	   0xe0000u
#define BOOT_ACPI_SIZE	   0x20000u
#define BOOT_LOW_SIZE	   0x100000u
#define BOOT_LOW_RAM_END   0xa0000u
#define BOOT_SETUP_MINIMUM 0x300u /* bytes of the kernel image that linux_boot_plan looks at */

struct linux_boot_input {
	const struct config *config;
	const struct shim_measured_vtl0 *vtl0;
	const u8 *kernel_head; /* a copy of the kernel region's first bytes */
	size_t kernel_head_size;
	const char *cmdline;
	u64 rsdp;
};

struct linux_boot_move {
	u64 from, to, size; /* size 0: nothing to move; may overlap */
};

struct linux_boot_plan {
	/* Do the initrd first: the kernel may go where the initrd lies */
	struct linux_boot_move initrd_move, kernel_move;
	u64 initrd, initrd_size;
	u64 entry;
	bool is_bzimage;
};

/* 0, or -1 with *reason set: unusable kernel image or too little memory. */
int linux_boot_plan(const struct linux_boot_input *in, struct linux_boot_plan *plan,
		    const char **reason);

/*
 * Writes zero page, GDT, page tables and command line into low, the first BOOT_LOW_SIZE bytes
 * of guest memory. 0, or -1 with *reason set.
 */
int linux_boot_write(const struct linux_boot_input *in, const struct linux_boot_plan *plan, u8 *low,
		     const char **reason);

#define LINUX_BOOT_REGISTERS 24
/* Initial state of the boot processor; the general registers but RSI (zero page) are zero. */
size_t linux_boot_registers(const struct linux_boot_plan *plan,
			    struct hv_register_assoc reg[LINUX_BOOT_REGISTERS]);

#endif
