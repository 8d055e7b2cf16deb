/* SSE moves between memory and XMM registers, which live in the FXSAVE image. */
#include <string.h>

#include "vtl2-devices/x86emu/emu.h"

#define FXSAVE_XMM0 160

enum { FULL, ALIGNED, LOW, HIGH_HALF, LOW_HALF };

/* How the instruction moves; -1 for all others. LOW clears the rest of the register on a load. */
static int move_kind(const struct x86_insn *insn)
{
	switch (insn->in.mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_LDDQU: return FULL;
	case ZYDIS_MNEMONIC_MOVAPS:
	case ZYDIS_MNEMONIC_MOVAPD:
	case ZYDIS_MNEMONIC_MOVDQA:
	case ZYDIS_MNEMONIC_MOVNTDQ:
	case ZYDIS_MNEMONIC_MOVNTDQA:
	case ZYDIS_MNEMONIC_MOVNTPS:
	case ZYDIS_MNEMONIC_MOVNTPD: return ALIGNED;
	case ZYDIS_MNEMONIC_MOVSS:
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_MOVD:
	case ZYDIS_MNEMONIC_MOVQ: return LOW;
	case ZYDIS_MNEMONIC_MOVHPS:
	case ZYDIS_MNEMONIC_MOVHPD: return HIGH_HALF;
	case ZYDIS_MNEMONIC_MOVLPS:
	case ZYDIS_MNEMONIC_MOVLPD: return LOW_HALF;
	default: return -1;
	}
}

static bool is_xmm(const ZydisDecodedOperand *op)
{
	return op->type == ZYDIS_OPERAND_TYPE_REGISTER && op->reg.value >= ZYDIS_REGISTER_XMM0 &&
	       op->reg.value <= ZYDIS_REGISTER_XMM15;
}

enum x86_result x86_emulate_sse(struct x86_emu *e)
{
	const ZydisDecodedOperand *op = e->insn.op;
	int kind = move_kind(&e->insn);
	bool load = is_xmm(&op[0]);
	const ZydisDecodedOperand *reg = load ? &op[0] : &op[1], *mem = load ? &op[1] : &op[0];
	struct x86_mem m;
	enum x86_result res;
	u64 offset;
	u32 size;
	u8 *xmm, value[16];

	if (kind < 0 || !e->cpu->fxsave || !is_xmm(reg) || mem->type != ZYDIS_OPERAND_TYPE_MEMORY)
		return X86_UNSUPPORTED;
	size = mem->size / 8;
	if (size > sizeof(value))
		return X86_UNSUPPORTED;
	offset = x86_operand_offset(e->cpu, &e->insn, mem);
	if (kind == ALIGNED &&
	    !IS_ALIGNED(x86_linear(e->cpu, x86_seg_of(mem->mem.segment), offset), 16))
		return x86_raise(e, X86_VECTOR_GP);
	res = x86_mem_open(e, &m, x86_seg_of(mem->mem.segment), offset, size,
			   load ? X86_READ : X86_WRITE);
	if (res != X86_OK)
		return res;
	xmm = e->cpu->fxsave + FXSAVE_XMM0 + 16 * (reg->reg.value - ZYDIS_REGISTER_XMM0);
	if (kind == HIGH_HALF)
		xmm += 8;
	if (load) {
		x86_mem_load(e, &m, value);
		if (kind == LOW)
			memset(xmm, 0, 16);
		memcpy(xmm, value, size);
	} else {
		memcpy(value, xmm, size);
		x86_mem_store(e, &m, value);
	}
	return x86_finish(e);
}
