/* The image builder: makes the image that a manifest describes from the files that it names. */
#ifndef PARAPET_IGVM_BUILD_H
#define PARAPET_IGVM_BUILD_H

#include "igvm/manifest.h"

struct blob {
	const void *data;
	size_t len;
};

/*
 * Builds the image from the contents of the resources; the same input gives the same bytes. The
 * configurations become platforms with the bits 1, 2, 4 in their order. *out: free() it.
 */
int image_build(const struct manifest *m, const struct blob resource[RESOURCE_COUNT], void **out,
		size_t *out_len, struct igvm_error *err);

#endif
