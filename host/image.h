/* Loads an IGVM image into VTL2 (and its VTL0 payload into the guest), as a Hyper-V host does. */
#ifndef PARAPET_HOST_IMAGE_H
#define PARAPET_HOST_IMAGE_H

#include "host/vm.h"
#include "igvm/igvm.h"

/* What the memory plan must know of an image */
struct image_needs {
	u64 vtl2_size;
	u64 vtl2_align;
	u64 vtl2_min;
	u64 payload_end; /* lowest amount of VTL0 RAM that holds everything below 4 GiB */
};

struct image {
	struct igvm igvm;
	u32 mask;
	struct igvm_relocatable_region region;
	struct igvm_page_table_relocation tables;
	struct image_needs needs;
};

/* Checks the file and finds what it needs. Returns 0 or -1 after an error line. */
int image_open(struct image *image, const u8 *file, size_t len);

/* Does the image carry a guest to boot? Returns 0 or -1 after an error line. */
int image_check_guest(const struct image *image);

/* Can it be loaded next to `vtl0_bytes` of guest memory? Returns 0 or -1 after an error line. */
int image_check(const struct image *image, u64 vtl0_bytes);

/*
 * Copies pages, fills parameter areas, moves page tables to the VM's VTL2 base and sets the
 * registers of VP 0. Memory and VPs must exist. Returns 0 or -1 after an error line.
 */
int image_load(const struct image *image, struct vm *vm);

#endif
