/* What SEV-SNP wants in an image: the VMSA of the boot processor and the CPUID page. */
#ifndef PARAPET_IGVM_SNP_H
#define PARAPET_IGVM_SNP_H

#include "igvm/manifest.h"

#define SNP_C_BIT 51 /* in the page tables of images; what Hyper-V's hosts have */

/*
 * Makes the VMSA page of VTL2 (VMPL 0) from registers as a VBS context has them. Registers that
 * it does not list stay 0, but for XCR0 and EFER.SVME. AMD64 manual volume 2, table B-4.
 */
void snp_make_vmsa(u8 page[PAGE_SIZE], const struct manifest_isolation *iso,
		   const struct igvm_register *regs, u32 count);
/* Entry point and parameter of a VMSA */
void snp_vmsa_entry(const u8 page[PAGE_SIZE], u64 *rip, u64 *rsi);

/* The leaves whose values the firmware checks and fills in, in the SEV-SNP ABI's page format */
void snp_make_cpuid_page(u8 page[PAGE_SIZE]);

#endif
