/* Finds the parts of an OpenHCL-style paravisor image by its VP context and shim parameters. */
#include <string.h>

#include "igvm/elf.h"
#include "igvm/internal.h"
#include "igvm/snp.h"

/* The data of the page at gpa; NULL if it is not there or zero */
static const u8 *find_page(const struct igvm *ig, u32 mask, u64 gpa)
{
	struct igvm_iter it;
	struct igvm_header h;

	igvm_first(ig, &it);
	while (igvm_next_of(&it, IGVM_PAGE_DATA, mask, &h)) {
		if (h.u.page.gpa == gpa)
			return h.data;
	}
	return NULL;
}

/* The shim's ELF header is at its load address: the nearest one below its entry point. */
static bool find_shim(const struct igvm *ig, u32 mask, u64 rip, u64 *gpa)
{
	struct igvm_iter it;
	struct igvm_header h;
	bool found = false;

	igvm_first(ig, &it);
	while (igvm_next_of(&it, IGVM_PAGE_DATA, mask, &h)) {
		if (h.data && h.u.page.gpa <= rip && elf_has_magic(h.data, h.data_len) &&
		    (!found || h.u.page.gpa > *gpa)) {
			*gpa = h.u.page.gpa;
			found = true;
		}
	}
	return found;
}

/* Where the boot processor starts, and the parameter that it gets in RSI */
static bool find_start(const struct igvm *ig, u32 mask, u64 *rip, u64 *rsi)
{
	struct shim_tdx_reset reset;
	const u8 *page;
	struct igvm_iter it;
	struct igvm_header vp;

	igvm_first(ig, &it);
	switch (igvm_platform_of(ig, mask)) {
	case IGVM_PLATFORM_VSM:
		return igvm_next_of(&it, IGVM_VP_CONTEXT, mask, &vp) &&
		       igvm_register_u64(ig, &vp, IGVM_X64_RIP, rip) &&
		       igvm_register_u64(ig, &vp, IGVM_X64_RSI, rsi);
	case IGVM_PLATFORM_SEV_SNP:
		if (!igvm_next_of(&it, IGVM_VP_CONTEXT, mask, &vp))
			return false;
		snp_vmsa_entry(vp.data, rip, rsi);
		return true;
	case IGVM_PLATFORM_TDX:
		page = find_page(ig, mask, SHIM_TDX_RESET_PAGE);
		if (!page)
			return false;
		memcpy(&reset, page, sizeof(reset));
		*rip = reset.initial_rip;
		*rsi = reset.rsi;
		return true;
	}
	return false;
}

/* The VTL2 range that the parameters name must be the one that the image asks for. */
static bool memory_matches(const struct igvm *ig, const struct igvm_paravisor *p)
{
	struct igvm_iter it;
	struct igvm_header h;

	igvm_first(ig, &it);
	while (igvm_next_of(&it, IGVM_REQUIRED_MEMORY, p->mask, &h)) {
		if ((h.u.required.flags & IGVM_MEMORY_VTL2_PROTECTABLE) &&
		    h.u.required.gpa == p->shim_gpa + (u64)p->params.memory_start &&
		    h.u.required.number_of_bytes == p->params.memory_size)
			return true;
	}
	return false;
}

int igvm_find_paravisor(const struct igvm *ig, u32 mask, struct igvm_paravisor *out,
			struct igvm_error *err)
{
	const u8 *page;
	u64 rip, rsi;

	memset(out, 0, sizeof(*out));
	out->mask = mask;
	if (ig->arch != IGVM_ARCH_X64 || !find_start(ig, mask, &rip, &rsi) ||
	    !find_shim(ig, mask, rip, &out->shim_gpa))
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "not a paravisor image: no boot shim at its entry point");
	out->params_gpa = out->shim_gpa + rsi;
	page = find_page(ig, mask, out->params_gpa);
	if (page)
		memcpy(&out->params, page, sizeof(out->params));
	if (!page || !memory_matches(ig, out))
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "not a paravisor image: no shim parameters at 0x%llx",
				 (unsigned long long)out->params_gpa);
	out->imported_gpa = out->shim_gpa + (u64)out->params.parameter_region +
			    SHIM_CONFIG_IMPORTED * PAGE_SIZE;
	page = find_page(ig, mask, 0);
	if (page) {
		memcpy(&out->vtl0, page, sizeof(out->vtl0));
		out->has_vtl0_config = out->vtl0.magic == SHIM_MEASURED_VTL0_MAGIC;
	}
	return 0;
}
