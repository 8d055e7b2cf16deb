/* The image builder: one image for each configuration of a manifest, joined to one file. */
#include <errno.h>
#include <stdlib.h>

#include "igvm/build_parts.h"
#include "igvm/internal.h"

/* What a TDX guest may do, in the form of IGVM's policy header */
#define TDX_POLICY_DEBUG	   BIT(0)
#define TDX_POLICY_SEPT_VE_DISABLE BIT(1)

#define FAIL(...) igvm_fail(err, IGVM_NO_HEADER, 0, __VA_ARGS__)

struct igvm_supported_platform config_platform(const struct manifest_config *c)
{
	struct igvm_supported_platform p = {
		.mask = 1, .highest_vtl = c->max_vtl, .platform_version = 1};

	switch (c->isolation.kind) {
	case MANIFEST_NONE:
	case MANIFEST_VBS: p.platform_type = IGVM_PLATFORM_VSM; break;
	case MANIFEST_SNP:
		p.platform_type = IGVM_PLATFORM_SEV_SNP;
		if (c->isolation.has_boundary)
			p.shared_gpa_boundary = BIT(c->isolation.boundary_bits);
		break;
	case MANIFEST_TDX:
		p.platform_type = IGVM_PLATFORM_TDX;
		p.shared_gpa_boundary = BIT(TDX_SHARED_BIT);
		break;
	}
	return p;
}

bool config_policy(const struct manifest_config *c, u64 *policy)
{
	*policy = 0;
	if (c->isolation.kind == MANIFEST_SNP)
		*policy = c->isolation.policy;
	else if (c->isolation.kind == MANIFEST_TDX)
		*policy = (c->isolation.debug ? TDX_POLICY_DEBUG : 0) |
			  (c->isolation.sept_ve_disable ? TDX_POLICY_SEPT_VE_DISABLE : 0);
	return *policy;
}

void config_isolation_cpuid(const struct manifest_config *c, u32 *eax, u32 *ebx)
{
	u32 bits = 0;

	if (c->isolation.kind == MANIFEST_SNP && c->isolation.has_boundary)
		bits = c->isolation.boundary_bits;
	else if (c->isolation.kind == MANIFEST_TDX)
		bits = TDX_SHARED_BIT;
	*eax = c->max_vtl == 2; /* there is a paravisor */
	*ebx = (u32)c->isolation.kind | (bits ? BIT(5) | bits << 6 : 0);
}

static int build_config(const struct config_input *in, struct blob *out, struct igvm_error *err)
{
	void *image = NULL;
	int ret = -EINVAL;

	switch (in->config->image) {
	case MANIFEST_IMAGE_OPENHCL: ret = openhcl_build(in, &image, &out->len, err); break;
	case MANIFEST_IMAGE_NONE:
		FAIL("guest_configs[%u].image: there is nothing to build", in->index);
		break;
	case MANIFEST_IMAGE_UEFI:
		FAIL("guest_configs[%u].image.uefi: firmware without a paravisor cannot be built; "
		     "use \"openhcl\" with \"uefi\": true",
		     in->index);
		break;
	case MANIFEST_IMAGE_LINUX:
		FAIL("guest_configs[%u].image.linux: a bare kernel has no processor state; use "
		     "\"openhcl\" with \"linux\"",
		     in->index);
		break;
	case MANIFEST_IMAGE_SNP_LINUX:
		FAIL("guest_configs[%u].image.snp_linux_direct: a guest without a paravisor cannot "
		     "be built",
		     in->index);
		break;
	}
	out->data = image;
	return ret;
}

static int check_resources(const struct manifest *m, const struct blob *resource,
			   struct igvm_error *err)
{
	for (u32 i = 0; i < RESOURCE_COUNT; i++) {
		if (manifest_needs(m, i) && !resource[i].len)
			return FAIL("resource %s is missing or empty", resource_key(i));
	}
	return 0;
}

int image_build(const struct manifest *m, const struct blob resource[RESOURCE_COUNT], void **out,
		size_t *out_len, struct igvm_error *err)
{
	struct blob image[MANIFEST_MAX_CONFIGS] = {0};
	int ret = check_resources(m, resource, err);

	for (u32 i = 0; i < m->count && !ret; i++) {
		struct config_input in = {
			.config = &m->config[i], .resource = resource, .index = i};

		ret = build_config(&in, &image[i], err);
	}
	if (!ret)
		ret = images_merge(image, m->count, out, out_len, err);
	for (u32 i = 0; i < m->count; i++)
		free((void *)image[i].data);
	return ret;
}
