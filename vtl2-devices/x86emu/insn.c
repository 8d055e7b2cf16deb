/* Instruction decode by Zydis, and the addresses of memory operands. */
#include "vtl2-devices/x86emu/insn.h"

#define OP_WRITES (ZYDIS_OPERAND_ACTION_WRITE | ZYDIS_OPERAND_ACTION_CONDWRITE)

enum x86_result x86_decode(const struct x86_cpu *cpu, const u8 *bytes, u32 n, struct x86_insn *insn)
{
	unsigned bits = x86_code_bits(cpu);
	bool big_stack = cpu->seg[X86_SS].attributes & BIT(14);
	ZydisMachineMode mode = bits == 64   ? ZYDIS_MACHINE_MODE_LONG_64
				: bits == 32 ? ZYDIS_MACHINE_MODE_LEGACY_32
					     : ZYDIS_MACHINE_MODE_LEGACY_16;
	ZydisStackWidth stack = bits == 64  ? ZYDIS_STACK_WIDTH_64
				: big_stack ? ZYDIS_STACK_WIDTH_32
					    : ZYDIS_STACK_WIDTH_16;
	ZydisDecoder decoder;
	ZyanStatus rc;

	if (n == 0)
		return X86_RETRY;
	if (ZYAN_FAILED(ZydisDecoderInit(&decoder, mode, stack)))
		return X86_UNSUPPORTED;
	rc = ZydisDecoderDecodeFull(&decoder, bytes, MIN(n, X86_INSN_MAX), &insn->in, insn->op);
	if (rc == ZYDIS_STATUS_NO_MORE_DATA && n < X86_INSN_MAX)
		return X86_RETRY;
	return ZYAN_SUCCESS(rc) ? X86_OK : X86_UNSUPPORTED;
}

u8 x86_rep_prefix(const struct x86_insn *insn)
{
	u8 last = 0;

	for (unsigned i = 0; i < insn->in.raw.prefix_count; i++) {
		u8 p = insn->in.raw.prefixes[i].value;

		if (p == 0xf2 || p == 0xf3)
			last = p;
	}
	return last;
}

bool x86_is_string(const struct x86_insn *insn)
{
	u8 op = insn->in.opcode;

	if (insn->in.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
	    insn->in.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
		return false;
	return (op >= 0x6c && op <= 0x6f) || (op >= 0xa4 && op <= 0xa7) ||
	       (op >= 0xaa && op <= 0xaf);
}

bool x86_gpr_of(ZydisRegister reg, unsigned *index, unsigned *bits, bool *high)
{
	*high = false;
	if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL) {
		*index = reg - ZYDIS_REGISTER_AL;
		*bits = 8;
	} else if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
		*index = reg - ZYDIS_REGISTER_AH;
		*bits = 8;
		*high = true;
	} else if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B) {
		*index = X86_RSP + (reg - ZYDIS_REGISTER_SPL);
		*bits = 8;
	} else if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15W) {
		*index = reg - ZYDIS_REGISTER_AX;
		*bits = 16;
	} else if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D) {
		*index = reg - ZYDIS_REGISTER_EAX;
		*bits = 32;
	} else if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15) {
		*index = reg - ZYDIS_REGISTER_RAX;
		*bits = 64;
	} else {
		return false;
	}
	return true;
}

u64 x86_gpr_get(const struct x86_cpu *cpu, ZydisRegister reg)
{
	unsigned index, bits;
	bool high;

	if (!x86_gpr_of(reg, &index, &bits, &high))
		return 0;
	return cpu->gpr[index] >> (high ? 8 : 0) & x86_width_mask(bits);
}

unsigned x86_seg_of(ZydisRegister reg)
{
	switch (reg) {
	case ZYDIS_REGISTER_ES: return X86_ES;
	case ZYDIS_REGISTER_CS: return X86_CS;
	case ZYDIS_REGISTER_SS: return X86_SS;
	case ZYDIS_REGISTER_FS: return X86_FS;
	case ZYDIS_REGISTER_GS: return X86_GS;
	default: return X86_DS;
	}
}

static bool is_stack_pointer(ZydisRegister reg)
{
	return reg == ZYDIS_REGISTER_RSP || reg == ZYDIS_REGISTER_ESP || reg == ZYDIS_REGISTER_SP;
}

/* Byte distance from the operand to the word that a register bit number selects. */
static u64 bit_string_offset(const struct x86_cpu *cpu, const struct x86_insn *insn)
{
	const ZydisDecodedOperand *src = &insn->op[1];
	s64 bit;

	switch (insn->in.mnemonic) {
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC: break;
	default: return 0;
	}
	if (src->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return 0;
	bit = (s64)x86_gpr_get(cpu, src->reg.value);
	if (src->size == 16)
		return (u64)((int16_t)bit >> 4) * 2;
	if (src->size == 32)
		return (u64)((s32)bit >> 5) * 4;
	return (u64)(bit >> 6) * 8;
}

u64 x86_operand_offset(const struct x86_cpu *cpu, const struct x86_insn *insn,
		       const ZydisDecodedOperand *op)
{
	ZydisRegister base = op->mem.base;
	unsigned width = insn->in.address_width;
	u64 offset = (u64)op->mem.disp.value;

	if (op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && is_stack_pointer(base)) {
		width = insn->in.stack_width;
		offset = cpu->gpr[X86_RSP];
		if (op->actions & OP_WRITES)
			offset -= op->size / 8;
		return offset & x86_width_mask(width);
	}
	if (base == ZYDIS_REGISTER_RIP || base == ZYDIS_REGISTER_EIP)
		offset += cpu->rip + insn->in.length;
	else
		offset += x86_gpr_get(cpu, base);
	/* POP computes an address on the stack pointer after it has moved. */
	if (insn->in.mnemonic == ZYDIS_MNEMONIC_POP && is_stack_pointer(base))
		offset += op->size / 8;
	offset += x86_gpr_get(cpu, op->mem.index) * op->mem.scale;
	offset += bit_string_offset(cpu, insn);
	if (insn->in.mnemonic == ZYDIS_MNEMONIC_XLAT)
		offset += cpu->gpr[X86_RAX] & 0xff;
	return offset & x86_width_mask(width);
}

u64 x86_linear_wrap(const struct x86_cpu *cpu, u64 linear)
{
	return x86_code_bits(cpu) == 64 ? linear : linear & 0xffffffff;
}

u64 x86_linear(const struct x86_cpu *cpu, unsigned seg, u64 offset)
{
	if (x86_code_bits(cpu) == 64)
		return seg == X86_FS || seg == X86_GS ? cpu->seg[seg].base + offset : offset;
	return (cpu->seg[seg].base + offset) & 0xffffffff;
}
