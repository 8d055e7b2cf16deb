/* Small pages of OpenHCL-style images: parameters, configuration, processor state. */
#include <string.h>

#include "common/crc32.h"
#include "igvm/cpu_state.h"
#include "igvm/openhcl.h"
#include "igvm/snp.h"
#include "igvm/tdx.h"

#define GDT_CODE_SELECTOR 0x10
#define GDT_DATA_SELECTOR 0x18

#define CR0_PG_NE_PE	    0x80000021ull
#define CR4_OSXSAVE_MCE_PAE 0x40060ull
#define EFER_NXE_LMA_LME    0xd00ull

static void make_params(struct builder *b)
{
	static const u32 isolation[] = {
		[MANIFEST_NONE] = SHIM_ISOLATION_NONE_OR_VBS,
		[MANIFEST_VBS] = SHIM_ISOLATION_NONE_OR_VBS,
		[MANIFEST_SNP] = SHIM_ISOLATION_SNP,
		[MANIFEST_TDX] = SHIM_ISOLATION_TDX,
	};
	const struct blob *initrd = &b->resource[RESOURCE_INITRD];
	const struct layout *l = &b->l;
	u64 shim = l->shim;

	b->params = (struct shim_params){
		.kernel_entry = (s64)(l->kernel_entry - shim),
		.cmdline = (s64)(l->cmdline - shim),
		.initrd = (s64)(l->initrd - shim),
		.initrd_size = initrd->len,
		.initrd_crc = crc32(0, initrd->data, initrd->len),
		.isolation = isolation[b->c->isolation.kind],
		.memory_start = (s64)(l->base - shim),
		.memory_size = l->size,
		.parameter_region = (s64)(l->config - shim),
		.parameter_region_size = SHIM_CONFIG_PAGES * PAGE_SIZE,
		.reserved_region = (s64)(l->reserved - shim),
		.reserved_region_size = SHIM_RESERVED_PAGES * PAGE_SIZE,
		.used_start = (s64)(l->base - shim),
		.used_end = (s64)(l->end - shim),
		.log_buffer = (s64)(l->log - shim),
		.log_buffer_size = SHIM_LOG_PAGES * PAGE_SIZE,
		.heap = (s64)(l->heap - shim),
		.heap_size = SHIM_HEAP_PAGES * PAGE_SIZE,
		.persisted_state = (s64)(l->persisted - shim),
		.persisted_state_size = SHIM_PERSISTED_BYTES,
	};
	if (b->is_shared) {
		b->params.bounce_buffer = (s64)(l->bounce - shim);
		b->params.bounce_buffer_size = OPENHCL_BOUNCE_BYTES;
	}
	if (l->sidecar_size) {
		b->params.sidecar = (s64)(l->sidecar - shim);
		b->params.sidecar_size = l->sidecar_size;
		b->params.sidecar_entry = (s64)(l->sidecar_entry - shim);
	}
}

static int make_vtl2_config(struct builder *b, struct igvm_error *err)
{
	const struct manifest_isolation *iso = &b->c->isolation;
	struct shim_measured_vtl2 config = {.magic = SHIM_MEASURED_VTL2_MAGIC};
	int ret = product_policy_encode(&b->c->policy, b->vtl2 + sizeof(config),
					&config.product_policy_size, err);

	if (iso->kind == MANIFEST_SNP)
		config.vtom_bit = iso->boundary_bits;
	else if (iso->kind == MANIFEST_TDX)
		config.vtom_bit = TDX_SHARED_BIT;
	memcpy(b->vtl2, &config, sizeof(config));
	return ret;
}

static void make_vtl0_config(struct builder *b)
{
	struct igvm_register regs[UEFI_MAX_REGISTERS];
	u32 eax, ebx;

	b->vtl0.magic = SHIM_MEASURED_VTL0_MAGIC;
	if (!b->uefi)
		return;
	/* The host has a BIOS at hand wherever there is UEFI. */
	b->vtl0.supported = SHIM_VTL0_UEFI | SHIM_VTL0_PCAT;
	b->vtl0.uefi_base_page = UEFI_BASE / PAGE_SIZE;
	b->vtl0.uefi_pages = (UEFI_END - UEFI_BASE) / PAGE_SIZE;
	b->vtl0.uefi_context_page = OPENHCL_VTL0_CONTEXT / PAGE_SIZE;
	b->vtl0.uefi_context_pages = 1;
	config_isolation_cpuid(b->c, &eax, &ebx);
	/* Every context of a file is for its highest VTL; who reads this one knows better. */
	igvm_encode_registers(regs, uefi_registers(b->uefi, OPENHCL_VTL, eax, ebx, regs),
			      b->uefi_context);
}

static void make_small_pages(struct builder *b)
{
	static const u8 gdt[32] = {
		[16] = 0xff, 0xff, 0, 0, 0, 0x9b, 0xa0, 0, /* 64-bit code */
		[24] = 0xff, 0xff, 0, 0, 0, 0x93, 0xc0, 0, /* data */
	};

	memcpy(b->gdt, gdt, sizeof(gdt));
	b->cmdline.policy = b->c->static_command_line ? SHIM_CMDLINE_STATIC
						      : SHIM_CMDLINE_APPEND_CHOSEN;
	b->cmdline.length = (u16)strlen(b->c->command_line); /* limited by the manifest reader */
	memcpy(b->cmdline.text, b->c->command_line, b->cmdline.length);
}

static void make_cpu_state(struct builder *b)
{
	const struct layout *l = &b->l;
	struct cpu_state c = {.regs = b->regs, .vtl = OPENHCL_VTL};

	cpu_set_gdt(&c, l->gdt, sizeof(b->gdt), GDT_CODE_SELECTOR, GDT_DATA_SELECTOR);
	/* Hosts are known that would leave TR zero when VTL2 is enabled. */
	cpu_set_segment(&c, IGVM_X64_TR, 0, 0xffff, 0x8b);
	cpu_set(&c, IGVM_X64_CR0, CR0_PG_NE_PE);
	cpu_set(&c, IGVM_X64_CR3, l->tables);
	cpu_set(&c, IGVM_X64_CR4, CR4_OSXSAVE_MCE_PAE);
	cpu_set(&c, IGVM_X64_EFER, EFER_NXE_LMA_LME);
	cpu_set(&c, IGVM_X64_PAT, CPU_PAT_RESET);
	cpu_set(&c, IGVM_X64_RSI, l->params - l->shim);
	cpu_set(&c, IGVM_X64_RIP, l->shim_entry);
	b->reg_count = c.count;
	if (b->c->isolation.kind == MANIFEST_SNP)
		snp_make_vmsa(b->vmsa, &b->c->isolation, b->regs, b->reg_count);
	else if (b->c->isolation.kind == MANIFEST_TDX)
		tdx_make_reset_page(b->reset, b->regs, b->reg_count);
}

int openhcl_make_contents(struct builder *b, struct igvm_error *err)
{
	make_params(b);
	make_vtl0_config(b);
	make_small_pages(b);
	make_cpu_state(b);
	return make_vtl2_config(b, err);
}
