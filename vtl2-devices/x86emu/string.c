/* String instructions with their repeat prefixes, and port instructions. */
#include "common/bytes.h"
#include "vtl2-devices/x86emu/alu.h"
#include "vtl2-devices/x86emu/emu.h"

/* Upper bound of one call, so that interrupts and the other processors get their turn. */
#define CHUNK_BYTES 4096u

/* The opcode without its width bit. */
enum {
	OP_INS = 0x6c,
	OP_OUTS = 0x6e,
	OP_MOVS = 0xa4,
	OP_CMPS = 0xa6,
	OP_STOS = 0xaa,
	OP_LODS = 0xac,
	OP_SCAS = 0xae,
	OP_IN_IMM = 0xe4,
	OP_OUT_IMM = 0xe6,
	OP_IN_DX = 0xec,
	OP_OUT_DX = 0xee,
};

struct string {
	u8 op;
	u32 size;	  /* bytes per element */
	unsigned width;	  /* address bits */
	unsigned segment; /* of the source */
	u16 port;
};

static u8 opcode(const struct x86_insn *insn)
{
	return insn->in.opcode & 0xfe;
}

/* Element size and source segment come from the memory operands. */
static void string_init(const struct x86_emu *e, struct string *s)
{
	*s = (struct string){.op = opcode(&e->insn),
			     .size = 1,
			     .width = e->insn.in.address_width,
			     .segment = X86_DS,
			     .port = (u16)e->cpu->gpr[X86_RDX]};
	for (unsigned i = 0; i < e->insn.in.operand_count; i++) {
		const ZydisDecodedOperand *op = &e->insn.op[i];
		unsigned index, bits;
		bool high;

		if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		s->size = op->size / 8;
		if (x86_gpr_of(op->mem.base, &index, &bits, &high) && index == X86_RSI)
			s->segment = x86_seg_of(op->mem.segment);
	}
}

static void advance(struct x86_emu *e, const struct string *s, unsigned index)
{
	u64 *reg = &e->next.gpr[index];
	u64 step = e->cpu->rflags & X86_FLAG_DF ? -(u64)s->size : s->size;

	x86_set_bits(reg, s->width, *reg + step);
}

static enum x86_result open_at(struct x86_emu *e, const struct string *s, struct x86_mem *m,
			       unsigned index, enum x86_access access)
{
	u64 offset = e->cpu->gpr[index] & x86_width_mask(s->width);
	unsigned seg = index == X86_RSI ? s->segment : X86_ES;

	return x86_mem_open(e, m, seg, offset, s->size, access);
}

static bool uses_source(u8 op)
{
	return op == OP_MOVS || op == OP_CMPS || op == OP_LODS || op == OP_OUTS;
}

static bool uses_destination(u8 op)
{
	return op != OP_LODS && op != OP_OUTS;
}

static void port_out(struct x86_emu *e, u16 port, u32 size, u64 value)
{
	e->ops->io_out(e->ops->ctx, port, size, (u32)(value & x86_width_mask(size * 8)));
}

static u64 port_in(struct x86_emu *e, u16 port, u32 size)
{
	return e->ops->io_in(e->ops->ctx, port, size) & x86_width_mask(size * 8);
}

/* One element; next has the registers after it. */
static enum x86_result element(struct x86_emu *e, const struct string *s)
{
	bool stores = s->op == OP_MOVS || s->op == OP_STOS || s->op == OP_INS;
	unsigned bits = s->size * 8;
	u64 acc = e->cpu->gpr[X86_RAX] & x86_width_mask(bits), a;
	struct x86_mem src = {{0}}, dst = {{0}};
	enum x86_result res = X86_OK;

	if (uses_source(s->op))
		res = open_at(e, s, &src, X86_RSI, X86_READ);
	if (res == X86_OK && uses_destination(s->op))
		res = open_at(e, s, &dst, X86_RDI, stores ? X86_WRITE : X86_READ);
	if (res != X86_OK)
		return res;

	switch (s->op) {
	case OP_MOVS: x86_mem_store_int(e, &dst, x86_mem_load_int(e, &src)); break;
	case OP_STOS: x86_mem_store_int(e, &dst, acc); break;
	case OP_LODS: x86_set_bits(&e->next.gpr[X86_RAX], bits, x86_mem_load_int(e, &src)); break;
	case OP_INS: x86_mem_store_int(e, &dst, port_in(e, s->port, s->size)); break;
	case OP_OUTS: port_out(e, s->port, s->size, x86_mem_load_int(e, &src)); break;
	case OP_CMPS:
		a = x86_mem_load_int(e, &src);
		x86_alu(ALU_SUB, a, x86_mem_load_int(e, &dst), bits, &e->next.rflags);
		break;
	case OP_SCAS:
		x86_alu(ALU_SUB, acc, x86_mem_load_int(e, &dst), bits, &e->next.rflags);
		break;
	}
	if (uses_source(s->op))
		advance(e, s, X86_RSI);
	if (uses_destination(s->op))
		advance(e, s, X86_RDI);
	return X86_OK;
}

enum x86_result x86_emulate_string(struct x86_emu *e)
{
	u8 prefix = x86_rep_prefix(&e->insn);
	u64 end = e->next.rip, *count = &e->next.gpr[X86_RCX], mask;
	struct string s;
	bool compares;

	string_init(e, &s);
	mask = x86_width_mask(s.width);
	compares = s.op == OP_CMPS || s.op == OP_SCAS;
	for (u32 done = 0; prefix ? (*count & mask) != 0 : done == 0; done += s.size) {
		enum x86_result res;

		if (done >= CHUNK_BYTES)
			return X86_OK;
		res = element(e, &s);
		if (res != X86_OK)
			return res;
		if (prefix)
			x86_set_bits(count, s.width, *count - 1);
		/* This element is done, whatever the next one meets. */
		e->next.rip = e->cpu->rip;
		*e->cpu = e->next;
		if (prefix && compares && !(e->next.rflags & X86_FLAG_ZF) == (prefix == 0xf3))
			break;
	}
	e->next.rip = end;
	return x86_finish(e);
}

bool x86_is_port(const struct x86_insn *insn)
{
	if (insn->in.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
	    insn->in.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
		return false;
	switch (opcode(insn)) {
	case OP_INS:
	case OP_OUTS:
	case OP_IN_IMM:
	case OP_IN_DX:
	case OP_OUT_IMM:
	case OP_OUT_DX: return true;
	default: return false;
	}
}

enum x86_result x86_emulate_port(struct x86_emu *e, const struct x86_io *io)
{
	u8 op = opcode(&e->insn);
	bool write = op == OP_OUTS || op == OP_OUT_IMM || op == OP_OUT_DX;
	bool immediate = op == OP_IN_IMM || op == OP_OUT_IMM;
	u32 size = !(e->insn.in.opcode & 1) ? 1 : e->insn.in.operand_width == 16 ? 2 : 4;
	u16 port = (u16)e->cpu->gpr[X86_RDX];

	if (immediate)
		port = (u8)e->insn.op[write ? 0 : 1].imm.value.u;
	if (io->port != port || io->size != size || io->write != write)
		return X86_RETRY;
	if (op == OP_INS || op == OP_OUTS)
		return x86_emulate_string(e);
	if (write)
		port_out(e, port, size, e->cpu->gpr[X86_RAX]);
	else
		x86_set_bits(&e->next.gpr[X86_RAX], size * 8, port_in(e, port, size));
	return x86_finish(e);
}
