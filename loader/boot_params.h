/* Linux's x86 boot parameters (zero page), e820 map and setup_data chain. */
#ifndef PARAPET_LOADER_BOOT_PARAMS_H
#define PARAPET_LOADER_BOOT_PARAMS_H

#include "loader/memory_plan.h"

#define BOOT_E820_MAX	  128
#define BOOT_E820_EXT_MAX 512

/* Header of one setup_data element; `len` bytes follow. */
struct boot_setup_data {
	u64 next;
	u32 type;
	u32 len;
};
#define BOOT_SETUP_E820_EXT 1
#define BOOT_SETUP_DTB	    2

#define BOOT_E820_ENTRY_SIZE 20
struct boot_e820_ext {
	struct boot_setup_data header;
	u8 entries[BOOT_E820_EXT_MAX * BOOT_E820_ENTRY_SIZE];
};

struct boot_params_input {
	const struct memory_plan *plan;
	struct addr_range initrd;
	u64 cmdline;			/* address of the terminated line */
	struct boot_setup_data *dtb;	/* header in front of the device tree, filled here */
	u64 dtb_address;		/* its guest physical address */
	u32 dtb_size;			/* bytes of the tree */
	struct boot_e820_ext *e820_ext; /* used when the zero page is too small */
	u64 e820_ext_address;
};

/* Fills the zero page. Fails when the map has more entries than Linux takes. */
int boot_params_fill(u8 page[PAGE_SIZE], const struct boot_params_input *in,
		     struct shim_error *err);

#endif
