/* One instruction on its way: state, memory operands, register results; private to x86emu. */
#ifndef PARAPET_VTL2_DEVICES_X86EMU_EMU_H
#define PARAPET_VTL2_DEVICES_X86EMU_EMU_H

#include "vtl2-devices/x86emu/insn.h"

/* Last translation for loads and for stores: a string instruction mostly stays on a page. */
struct x86_page {
	bool valid;
	u64 linear, gpa;
};

struct x86_emu {
	const struct x86_ops *ops;
	struct x86_cpu *cpu; /* as it was; changed only when a step is complete */
	struct x86_cpu next; /* as it will be; RIP starts out at the following instruction */
	struct x86_fault *fault;
	struct x86_insn insn;
	struct x86_page page[2]; /* by enum x86_access */
};

/* A memory operand whose translation has succeeded: loads and stores cannot fail any more. */
struct x86_mem {
	u64 gpa[2];
	u32 len[2]; /* len[1] is 0 unless it crosses a page */
};

/*
 * Checks and translates len bytes at seg:offset. Done for every operand before the first access, as
 * a device access cannot be undone. X86_FAULT or X86_RETRY: the instruction ends.
 */
enum x86_result x86_mem_open(struct x86_emu *e, struct x86_mem *m, unsigned seg, u64 offset,
			     u32 len, enum x86_access access);
void x86_mem_load(struct x86_emu *e, const struct x86_mem *m, void *buf);
void x86_mem_store(struct x86_emu *e, const struct x86_mem *m, const void *buf);
/* Little endian integers of 1 to 8 bytes. */
u64 x86_mem_load_int(struct x86_emu *e, const struct x86_mem *m);
void x86_mem_store_int(struct x86_emu *e, const struct x86_mem *m, u64 value);

/* Register write with its rules: 32 bits clear the upper half, 8 and 16 bits keep the rest. */
void x86_set_bits(u64 *reg, unsigned bits, u64 value);

/* Sets *fault; returns X86_FAULT. */
enum x86_result x86_raise(struct x86_emu *e, u8 vector);
/* Makes next the current state: the instruction is complete. Returns X86_OK. */
enum x86_result x86_finish(struct x86_emu *e);

/* Instruction groups. X86_UNSUPPORTED when the instruction is not one of theirs. */
enum x86_result x86_emulate_string(struct x86_emu *e);
/* INS, OUTS; IN and OUT without memory. */
enum x86_result x86_emulate_port(struct x86_emu *e, const struct x86_io *io);
bool x86_is_port(const struct x86_insn *insn);
enum x86_result x86_emulate_sse(struct x86_emu *e);
enum x86_result x86_emulate_integer(struct x86_emu *e);

#endif
