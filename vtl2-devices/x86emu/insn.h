/* One decoded instruction and where its memory operands are; private to x86emu. */
#ifndef PARAPET_VTL2_DEVICES_X86EMU_INSN_H
#define PARAPET_VTL2_DEVICES_X86EMU_INSN_H

#include <Zydis/Zydis.h>

#include "vtl2-devices/x86emu/x86emu.h"

struct x86_insn {
	ZydisDecodedInstruction in;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
};

/* X86_OK, X86_RETRY: the instruction goes on after n bytes, X86_UNSUPPORTED: no instruction. */
enum x86_result x86_decode(const struct x86_cpu *cpu, const u8 *bytes, u32 n,
			   struct x86_insn *insn);

/* Last of the prefixes F2 and F3, 0 when there is none. */
u8 x86_rep_prefix(const struct x86_insn *insn);
/* Movs, stos, lods, cmps, scas, ins, outs: what a rep prefix repeats. */
bool x86_is_string(const struct x86_insn *insn);

/* General register: index into gpr, width in bits, second byte (AH..BH). False for other registers.
 */
bool x86_gpr_of(ZydisRegister reg, unsigned *index, unsigned *bits, bool *high);
/* Value of a general register, zero extended; 0 for other registers. */
u64 x86_gpr_get(const struct x86_cpu *cpu, ZydisRegister reg);

/* Segment register to index into seg; X86_DS for anything else. */
unsigned x86_seg_of(ZydisRegister reg);

/*
 * Offset in its segment of a memory operand, as the instruction sees it when it starts: a push
 * below the stack pointer, a bit string at the word that holds the bit. Index registers of vector
 * type count 0.
 */
u64 x86_operand_offset(const struct x86_cpu *cpu, const struct x86_insn *insn,
		       const ZydisDecodedOperand *op);

/* Linear address of an offset, without any check. */
u64 x86_linear(const struct x86_cpu *cpu, unsigned seg, u64 offset);
/* Wraps a linear address at 4 GiB outside 64-bit mode. */
u64 x86_linear_wrap(const struct x86_cpu *cpu, u64 linear);

/* As x86_fetch, but X86_OK only for 15 bytes; else byte_count of them, and *hit or *fault says what
 * stopped it. */
enum x86_result x86_fetch_all(const struct x86_cpu *cpu, const struct x86_ops *ops,
			      struct x86_hit *hit, struct x86_fault *fault);

static inline u64 x86_width_mask(unsigned bits)
{
	return bits >= 64 ? ~0ull : BIT(bits) - 1;
}

#endif
