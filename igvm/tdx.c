/* The reset page of TDX images: code from igvm/tdx_reset.S, context from registers. */
#include <string.h>

#include "common/bytes.h"
#include "igvm/tdx.h"

__asm__(".pushsection .rodata.tdx_reset, \"a\", @progbits\n"
	".include \"igvm/tdx_reset.S\"\n"
	".popsection\n");
extern const u8 tdx_reset_page[PAGE_SIZE];

/* In the code's own table, for the way into 64-bit mode */
#define STATIC_CODE64 0x00a09b000000ffffull

void tdx_make_reset_page(u8 page[PAGE_SIZE], const struct igvm_register *regs, u32 count)
{
	struct shim_tdx_reset c = {
		.static_gdt_limit = sizeof(c.static_gdt) - 1,
		.static_gdt_base = (u32)(SHIM_TDX_RESET_PAGE +
					 offsetof(struct shim_tdx_reset, static_gdt)),
		.static_gdt = {0, STATIC_CODE64},
	};

	for (u32 i = 0; i < count; i++) {
		const struct igvm_register *r = &regs[i];

		switch (r->name) {
		case IGVM_X64_GDTR:
			c.gdtr_limit = r->u.table.limit;
			c.gdtr_base = r->u.table.base;
			break;
		case IGVM_X64_DS: /* and all other data segments, which are the same */
			c.data_selector = r->u.segment.selector;
			break;
		case IGVM_X64_CS: c.code_selector = r->u.segment.selector; break;
		case IGVM_X64_TR: c.task_selector = r->u.segment.selector; break;
		case IGVM_X64_CR0: c.cr0 = r->u.value; break;
		case IGVM_X64_CR3:
			c.cr3 = r->u.value;
			c.transition_cr3 = (u32)r->u.value;
			break;
		case IGVM_X64_CR4: c.cr4 = r->u.value; break;
		case IGVM_X64_RBP: c.rbp = r->u.value; break;
		case IGVM_X64_RSI: c.rsi = r->u.value; break;
		case IGVM_X64_RIP: c.initial_rip = r->u.value; break;
		case IGVM_X64_R8: c.r8 = r->u.value; break;
		case IGVM_X64_R9: c.r9 = r->u.value; break;
		case IGVM_X64_R10: c.r10 = r->u.value; break;
		case IGVM_X64_R11: c.r11 = r->u.value; break;
		}
	}
	memcpy(page, tdx_reset_page, PAGE_SIZE);
	memcpy(page, &c, sizeof(c));
}
