/* What the parts of the image builder share: images of one configuration, and joining them. */
#ifndef PARAPET_IGVM_BUILD_PARTS_H
#define PARAPET_IGVM_BUILD_PARTS_H

#include "igvm/build.h"

/* Address bit from which TDX guests share memory with the host */
#define TDX_SHARED_BIT 47

/* One configuration on its way into an image */
struct config_input {
	const struct manifest_config *config;
	const struct blob *resource; /* RESOURCE_COUNT of them */
	u32 index;		     /* in guest_configs, for error texts */
};

/* Each makes an image of one platform with bit 1. *out: free() it. */
int openhcl_build(const struct config_input *in, void **out, size_t *out_len,
		  struct igvm_error *err);

/* Platform header and guest policy of a configuration: bit 1 */
struct igvm_supported_platform config_platform(const struct manifest_config *c);
/* False if the configuration has none. */
bool config_policy(const struct manifest_config *c, u64 *policy);
/* What a VTL0 firmware is told of its isolation: EAX and EBX of CPUID leaf 0x4000000c */
void config_isolation_cpuid(const struct manifest_config *c, u32 *eax, u32 *ebx);

/*
 * Joins images of x64 in format version 1: image i gets platform bit 1 << i, parameter areas are
 * numbered through. Directives stay in their order, image by image, so that no measurement
 * changes.
 */
int images_merge(const struct blob *image, u32 count, void **out, size_t *out_len,
		 struct igvm_error *err);

struct node;
/* Reads openhcl.product_policy; p->custom_uefi is to be freed in any case. */
int product_policy_parse(struct manifest_product_policy *p, const struct node *n);
/* The body of a product policy as it stands behind the measured VTL2 configuration */
#define PRODUCT_POLICY_MAX (PAGE_SIZE - sizeof(struct shim_measured_vtl2))
int product_policy_encode(const struct manifest_product_policy *p, u8 out[PRODUCT_POLICY_MAX],
			  u32 *len, struct igvm_error *err);

#endif
