/* UEFI firmware for VTL0: checks a firmware file and lays it out in guest memory. */
#ifndef PARAPET_IGVM_UEFI_H
#define PARAPET_IGVM_UEFI_H

#include "igvm/pages.h"

/* Fixed places of Microsoft's firmware (MsvmPkg) on x64 */
#define UEFI_BASE	 0x100000ull
#define UEFI_BYTES	 (6 * MiB)
#define UEFI_SEC_VOLUME	 0x5e0000ull /* in the file: the volume with the entry point */
#define UEFI_TABLES	 (UEFI_BASE + UEFI_BYTES)
#define UEFI_TABLE_BYTES (6 * PAGE_SIZE)
#define UEFI_GDT	 (UEFI_TABLES + UEFI_TABLE_BYTES)
#define UEFI_MISC	 (UEFI_GDT + PAGE_SIZE)
#define UEFI_MISC_BYTES	 (2 * PAGE_SIZE)
#define UEFI_END	 (UEFI_MISC + UEFI_MISC_BYTES) /* the configuration blob goes here */

#define UEFI_MAX_REGISTERS 24

struct uefi_guest {
	u64 entry; /* of the SEC core */
	u8 tables[UEFI_TABLE_BYTES];
	u8 gdt[32];
};

/*
 * Checks that `file` is such a firmware, finds its entry point, makes its page tables and GDT.
 * PI specification volume 3 for firmware volumes and files.
 */
int uefi_prepare(struct uefi_guest *g, const void *file, size_t len, struct igvm_error *err);
/* Plans the firmware and what belongs to it. g and file must stay until the pages are written. */
int uefi_plan(struct page_plan *plan, const struct uefi_guest *g, const void *file,
	      struct igvm_error *err);
/*
 * The processor state at its entry, in the order in which it is measured. eax, ebx: what it is
 * told of the isolation, as in CPUID leaf 0x4000000c. Returns the count, at most
 * UEFI_MAX_REGISTERS.
 */
u32 uefi_registers(const struct uefi_guest *g, u8 vtl, u32 eax, u32 ebx,
		   struct igvm_register regs[UEFI_MAX_REGISTERS]);

#endif
