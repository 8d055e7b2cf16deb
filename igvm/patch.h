/* Changes the command line or the VTL2 memory size of paravisor images. */
#ifndef PARAPET_IGVM_PATCH_H
#define PARAPET_IGVM_PATCH_H

#include "igvm/igvm.h"

struct igvm_patch {
	const char *cmdline;	/* replaces VTL2's command line; NULL: as it is */
	const char *append;	/* goes behind it, after a space; NULL: nothing */
	u64 memory_size;	/* of VTL2, bytes; 0: as it is */
	bool drop_endorsements; /* ID block, VBS measurement, CoRIM: they do not fit any more */
};

/*
 * Applies the patch to every platform of the image, each of which must be a paravisor image with
 * page tables as image_build() makes them if the memory size changes. The result is what
 * image_build() gives for a manifest with these values, but for a VTL0 payload that it would
 * place elsewhere. Measurements change. *out: free() it.
 * Refused: an image with endorsements, unless they are to be dropped; sizes that are no multiple
 * of 2 MiB, too small for the image or so large that other pages are in the way.
 */
int igvm_patch(const void *image, size_t len, const struct igvm_patch *patch, void **out,
	       size_t *out_len, struct igvm_error *err);

#endif
