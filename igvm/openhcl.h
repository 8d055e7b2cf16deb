/* What the parts of the builder of OpenHCL-style images share. */
#ifndef PARAPET_IGVM_OPENHCL_H
#define PARAPET_IGVM_OPENHCL_H

#include "igvm/build_parts.h"
#include "igvm/elf.h"
#include "igvm/pages.h"
#include "igvm/uefi.h"
#include "igvm/internal.h"

#define OPENHCL_VTL	      2u
#define OPENHCL_MAX_REGISTERS 16
#define OPENHCL_BOUNCE_BYTES  (2 * MiB)

#define OPENHCL_VTL0_CONTEXT PAGE_SIZE /* processor state of the UEFI firmware */

/* Pages of the reserved region */
#define RESERVED_VMSA	  0
#define RESERVED_CPUID	  1
#define RESERVED_CPUID_XF 2
#define RESERVED_SECRETS  3

/* Parameter areas, in the order of their indexes and addresses */
#define OPENHCL_AREAS 3u
extern const struct openhcl_area {
	enum igvm_type type;
	u32 page; /* in the configuration region */
	u32 pages;
	const char *tag;
} openhcl_areas[OPENHCL_AREAS];

/* Where things are, in guest addresses of the unrelocated image, ascending */
struct layout {
	u64 base, size;
	u64 persisted;
	u64 bounce; /* SNP, TDX */
	u64 kernel, kernel_entry;
	u64 sidecar, sidecar_size, sidecar_entry; /* size 0: none */
	u64 shim, shim_entry;
	u64 initrd;
	u64 gdt;
	u64 params;
	u64 cmdline;
	u64 reserved;
	u64 config;
	u64 log;
	u64 heap;
	u64 tables, tables_size, tables_used;
	u64 end; /* of what the image uses */
};

struct builder {
	const struct manifest_config *c;
	const struct blob *resource;
	u32 index;
	bool is_shared; /* kernel and initrd come as shared pages: SNP, TDX */
	struct elf_image kernel;
	struct elf_image sidecar;
	struct elf_image shim;
	struct layout l;
	struct page_plan plan; /* written in ascending order */
	struct page_plan last; /* hash region, imported-regions page */
	struct igvm_register regs[OPENHCL_MAX_REGISTERS];
	u32 reg_count;
	u8 gdt[32];
	struct shim_params params;
	struct shim_cmdline cmdline;
	struct shim_measured_vtl0 vtl0;
	u8 vtl2[PAGE_SIZE]; /* struct shim_measured_vtl2, product policy */
	struct shim_imported_regions imported;
	u8 *hashes;
	size_t hashes_len;
	u8 *tables;
	u8 vmsa[PAGE_SIZE];
	u8 cpuid[PAGE_SIZE];
	u8 reset[PAGE_SIZE];
	struct uefi_guest *uefi;
	u8 uefi_context[IGVM_ENCODED_REGISTERS];
};

/* The steps, in this order; each relies on those before it. */

/* Reads the input files, gives everything its address, makes the page tables. */
int openhcl_make_layout(struct builder *b, struct igvm_error *err);
/* Shim parameters, command line, measured configurations, GDT, processor state */
int openhcl_make_contents(struct builder *b, struct igvm_error *err);
/* Which page gets what; hashes of the shared pages, list of imported regions */
int openhcl_make_plan(struct builder *b, struct igvm_error *err);

#endif
