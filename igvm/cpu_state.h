/* Lists of registers: the state in which an image's processor starts. */
#ifndef PARAPET_IGVM_CPU_STATE_H
#define PARAPET_IGVM_CPU_STATE_H

#include "igvm/igvm.h"

#define CPU_PAT_RESET 0x0007040600070406ull

struct cpu_state {
	struct igvm_register *regs; /* the caller's, large enough for what is set */
	u32 count;
	u8 vtl;
};

static inline void cpu_set(struct cpu_state *c, u32 name, u64 value)
{
	c->regs[c->count++] = (struct igvm_register){.vtl = c->vtl, .name = name, .u.value = value};
}

static inline void cpu_set_segment(struct cpu_state *c, u32 name, u16 selector, u32 limit,
				   u16 attributes)
{
	c->regs[c->count++] = (struct igvm_register){
		.vtl = c->vtl,
		.name = name,
		.form = IGVM_REG_SEGMENT,
		.u.segment = {.selector = selector, .limit = limit, .attributes = attributes}};
}

/* GDTR and flat 64-bit segments */
static inline void cpu_set_gdt(struct cpu_state *c, u64 gdt, u16 bytes, u16 code, u16 data)
{
	static const u32 names[] = {IGVM_X64_DS, IGVM_X64_ES, IGVM_X64_FS, IGVM_X64_GS,
				    IGVM_X64_SS};

	c->regs[c->count++] = (struct igvm_register){
		.vtl = c->vtl,
		.name = IGVM_X64_GDTR,
		.form = IGVM_REG_TABLE,
		.u.table = {.base = gdt, .limit = (u16)(bytes - 1)}};
	for (u32 i = 0; i < ARRAY_SIZE(names); i++)
		cpu_set_segment(c, names[i], data, 0xffffffff, 0xc093);
	cpu_set_segment(c, IGVM_X64_CS, code, 0xffffffff, 0xa09b);
}

#endif
