/* The image builder: manifest in OpenVMM's JSON form, and the x64 image made from it. */
#ifndef PARAPET_IGVM_BUILD_H
#define PARAPET_IGVM_BUILD_H

#include "igvm/igvm.h"

/* Input files by the key that manifests use */
enum resource {
	RESOURCE_KERNEL,       /* underhill_kernel: vmlinux of VTL2 */
	RESOURCE_SHIM,	       /* openhcl_boot */
	RESOURCE_INITRD,       /* underhill_initrd */
	RESOURCE_LINUX_KERNEL, /* linux_kernel: for VTL0 */
	RESOURCE_LINUX_INITRD, /* linux_initrd */
	RESOURCE_COUNT
};

/* "underhill_kernel"...; NULL behind the last one */
const char *resource_key(u32 resource);
/* RESOURCE_COUNT if there is no such key */
enum resource resource_find(const char *key, size_t len);

struct manifest {
	u32 guest_svn;
	char *command_line; /* of VTL2 */
	bool static_command_line;
	bool relocatable; /* no memory_page_base given */
	u64 memory_page_base;
	u64 memory_page_count;
	bool has_linux; /* VTL0 payload */
	bool linux_initrd;
	char *linux_command_line;
	char *resource[RESOURCE_COUNT]; /* paths as written, or NULL */
};

/*
 * Reads a manifest. Unknown, contradictory and unsupported fields are refused with the field's
 * path. manifest_free() in any case.
 */
int manifest_parse(struct manifest *m, const char *json, size_t len, struct igvm_error *err);
/* Adds the paths of a resources file: {"resources": {KEY: PATH}} */
int manifest_parse_resources(struct manifest *m, const char *json, size_t len,
			     struct igvm_error *err);
void manifest_free(struct manifest *m);
/* True if an image of this manifest needs the resource. */
bool manifest_needs(const struct manifest *m, enum resource resource);

struct blob {
	const void *data;
	size_t len;
};

/* Builds the image from the contents of the resources. *out: free() it. */
int image_build(const struct manifest *m, const struct blob resource[RESOURCE_COUNT], void **out,
		size_t *out_len, struct igvm_error *err);

#endif
