/* One instruction: decode, choose its group, refuse what the intercept does not cover. */
#include "vtl2-devices/x86emu/emu.h"

/* The given bytes when they hold the whole instruction, else what is at CS:RIP now. */
static enum x86_result load(struct x86_emu *e, const u8 *bytes, u32 n)
{
	enum x86_result res = x86_decode(e->cpu, bytes, n, &e->insn), fetched;
	struct x86_hit hit;

	if (res == X86_RETRY) {
		fetched = x86_fetch_all(e->cpu, e->ops, &hit, e->fault);
		res = x86_decode(e->cpu, hit.bytes, hit.byte_count, &e->insn);
		if (res == X86_RETRY)
			return fetched == X86_OK ? X86_UNSUPPORTED : fetched;
	}
	if (res != X86_OK)
		return res;
	e->next = *e->cpu;
	e->next.rip += e->insn.in.length;
	if (x86_code_bits(e->cpu) != 64)
		e->next.rip &= 0xffffffff;
	return X86_OK;
}

static bool has_memory(const struct x86_insn *insn)
{
	for (unsigned i = 0; i < insn->in.operand_count; i++)
		if (insn->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    insn->op[i].mem.type == ZYDIS_MEMOP_TYPE_MEM)
			return true;
	return false;
}

enum x86_result x86_emulate(struct x86_cpu *cpu, const struct x86_ops *ops, const u8 *bytes, u32 n,
			    struct x86_fault *fault)
{
	struct x86_emu e = {.ops = ops, .cpu = cpu, .fault = fault};
	enum x86_result res = load(&e, bytes, n);

	if (res != X86_OK)
		return res;
	if (x86_is_port(&e.insn) || !has_memory(&e.insn))
		return X86_RETRY;
	if (e.insn.in.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return X86_UNSUPPORTED;
	if (x86_is_string(&e.insn))
		return x86_emulate_string(&e);
	res = x86_emulate_sse(&e);
	return res == X86_UNSUPPORTED ? x86_emulate_integer(&e) : res;
}

enum x86_result x86_emulate_io(struct x86_cpu *cpu, const struct x86_ops *ops, const u8 *bytes,
			       u32 n, const struct x86_io *io, struct x86_fault *fault)
{
	struct x86_emu e = {.ops = ops, .cpu = cpu, .fault = fault};
	enum x86_result res = load(&e, bytes, n);

	if (res != X86_OK)
		return res;
	return x86_is_port(&e.insn) ? x86_emulate_port(&e, io) : X86_RETRY;
}
