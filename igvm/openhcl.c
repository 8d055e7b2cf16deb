/*
 * Builds an OpenHCL-style x64 image for one platform: places kernel, shim, initrd and the small
 * regions behind each other, makes page tables, GDT, parameters and CPU state, writes the file.
 * Layout and order of directives: openvmm vm/loader/src/paravisor.rs. Platforms differ in the
 * pages that are imported shared, in page tables and in the form of the CPU state.
 */
#include <stdlib.h>

#include "igvm/openhcl.h"

#define PLATFORM_BIT 1u
#define MAX_BASE     BIT(48)

static void write_relocation(const struct builder *b, struct igvm_writer *w)
{
	const struct layout *l = &b->l;
	struct igvm_relocatable_region region = {
		.mask = PLATFORM_BIT,
		.vtl = OPENHCL_VTL,
		.flags = IGVM_RELOC_IS_VTL2 | IGVM_RELOC_APPLY_PC | IGVM_RELOC_APPLY_GDTR,
		.alignment = SHIM_ALIGNMENT,
		.gpa = l->base,
		.size = l->tables - l->base,
		.minimum_gpa = SHIM_DEFAULT_BASE,
		.maximum_gpa = MAX_BASE,
	};
	struct igvm_page_table_relocation pt = {
		.mask = PLATFORM_BIT,
		.vtl = OPENHCL_VTL,
		.gpa = l->tables,
		.size = l->tables_size,
		.used_size = l->tables_used,
	};

	igvm_write(w, IGVM_RELOCATABLE_REGION, &region, sizeof(region), NULL, 0);
	igvm_write(w, IGVM_PAGE_TABLE_RELOCATION, &pt, sizeof(pt), NULL, 0);
}

static void write_policy(const struct builder *b, struct igvm_writer *w)
{
	struct igvm_guest_policy policy = {.mask = PLATFORM_BIT};

	if (config_policy(b->c, &policy.policy))
		igvm_write(w, IGVM_GUEST_POLICY, &policy, sizeof(policy), NULL, 0);
}

/* TDX has none here: its state is in the reset page. */
static void write_cpu_state(const struct builder *b, struct igvm_writer *w)
{
	struct igvm_vp_context vp = {.gpa = b->l.reserved + RESERVED_VMSA * PAGE_SIZE,
				     .mask = PLATFORM_BIT};

	switch (b->c->isolation.kind) {
	case MANIFEST_NONE:
	case MANIFEST_VBS: igvm_write_registers(w, PLATFORM_BIT, b->regs, b->reg_count); break;
	case MANIFEST_SNP:
		igvm_write(w, IGVM_VP_CONTEXT, &vp, sizeof(vp), b->vmsa, sizeof(b->vmsa));
		break;
	case MANIFEST_TDX: break;
	}
}

static int write_image(const struct builder *b, void **out, size_t *out_len, struct igvm_error *err)
{
	struct igvm_supported_platform platform = config_platform(b->c);
	/* V1: older hosts know no other. */
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	int ret;

	if (!w)
		return igvm_fail_memory(err);
	igvm_write_platform(w, &platform);
	if (b->c->relocatable)
		write_relocation(b, w);
	write_policy(b, w);
	if (b->uefi)
		igvm_write_required(w, 0, PLATFORM_BIT, UEFI_END, 0);
	igvm_write_required(w, b->l.base, PLATFORM_BIT, (u32)b->l.size,
			    IGVM_MEMORY_VTL2_PROTECTABLE);
	for (u32 i = 0; i < OPENHCL_AREAS; i++) {
		igvm_write_area(w, i, openhcl_areas[i].pages * PAGE_SIZE, NULL, 0);
		igvm_write_parameter(w, openhcl_areas[i].type, i, 0);
	}
	write_cpu_state(b, w);
	for (u32 i = 0; i < OPENHCL_AREAS; i++)
		igvm_write_insert(w, b->l.config + openhcl_areas[i].page * PAGE_SIZE, PLATFORM_BIT,
				  i);
	for (u32 i = 0; i < b->plan.count; i++)
		page_run_write(&b->plan.run[i], w, PLATFORM_BIT);
	for (u32 i = 0; i < b->last.count; i++)
		page_run_write(&b->last.run[i], w, PLATFORM_BIT);
	ret = igvm_writer_finish(w, out, out_len, err);
	igvm_writer_free(w);
	return ret;
}

/* Replaces *image by one with the guest that the manifest asks for. */
static int add_payload(const struct config_input *in, void **image, size_t *len,
		       struct igvm_error *err)
{
	const struct manifest_linux *guest = &in->config->linux_guest;
	struct igvm_vtl0_linux payload = {.kernel = in->resource[RESOURCE_LINUX_KERNEL].data,
					  .kernel_len = in->resource[RESOURCE_LINUX_KERNEL].len,
					  .cmdline = guest->command_line};
	void *base = *image;
	int ret;

	if (guest->use_initrd) {
		payload.initrd = in->resource[RESOURCE_LINUX_INITRD].data;
		payload.initrd_len = in->resource[RESOURCE_LINUX_INITRD].len;
	}
	*image = NULL;
	ret = igvm_add_vtl0_linux(base, *len, &payload, image, len, err);
	free(base);
	return ret;
}

static int run_builder(struct builder *b, void **image, size_t *len, struct igvm_error *err)
{
	int ret = openhcl_make_layout(b, err);

	if (!ret)
		ret = openhcl_make_contents(b, err);
	if (!ret)
		ret = openhcl_make_plan(b, err);
	return ret ? ret : write_image(b, image, len, err);
}

int openhcl_build(const struct config_input *in, void **out, size_t *out_len,
		  struct igvm_error *err)
{
	struct builder *b = calloc(1, sizeof(*b));
	void *image = NULL;
	size_t len = 0;
	int ret;

	if (!b)
		return igvm_fail_memory(err);
	b->c = in->config;
	b->resource = in->resource;
	b->index = in->index;
	b->is_shared = b->c->isolation.kind >= MANIFEST_SNP;
	ret = run_builder(b, &image, &len, err);
	free(b->tables);
	free(b->hashes);
	free(b->uefi);
	free(b);
	if (!ret && in->config->linux_guest.present)
		ret = add_payload(in, &image, &len, err);
	if (ret)
		return ret;
	*out = image;
	*out_len = len;
	return 0;
}
