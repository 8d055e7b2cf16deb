/* General instructions with a memory operand: moves, arithmetic, bit and stack operations. */
#include "common/bytes.h"
#include "vtl2-devices/x86emu/alu.h"
#include "vtl2-devices/x86emu/emu.h"

/* An operand after its address has been checked. */
struct operand {
	const ZydisDecodedOperand *op;
	unsigned bits;
	struct x86_mem mem;
};

static enum x86_result open_operand(struct x86_emu *e, struct operand *o, unsigned i,
				    enum x86_access access)
{
	const ZydisDecodedOperand *op = &e->insn.op[i];
	unsigned index;
	bool high;

	*o = (struct operand){.op = op, .bits = op->size};
	switch (op->type) {
	case ZYDIS_OPERAND_TYPE_IMMEDIATE: return X86_OK;
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return x86_gpr_of(op->reg.value, &index, &o->bits, &high) ? X86_OK
									  : X86_UNSUPPORTED;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (op->mem.type != ZYDIS_MEMOP_TYPE_MEM || op->size < 8 || op->size > 64)
			return X86_UNSUPPORTED;
		return x86_mem_open(e, &o->mem, x86_seg_of(op->mem.segment),
				    x86_operand_offset(e->cpu, &e->insn, op), op->size / 8, access);
	default: return X86_UNSUPPORTED;
	}
}

/* First two operands: the first with access, the second for reading. */
static enum x86_result open_pair(struct x86_emu *e, struct operand *dst, struct operand *src,
				 enum x86_access access)
{
	enum x86_result res = open_operand(e, dst, 0, access);

	return res == X86_OK ? open_operand(e, src, 1, X86_READ) : res;
}

/* Value as bits wide; immediates are sign extended by the decoder. */
static u64 get(struct x86_emu *e, const struct operand *o, unsigned bits)
{
	u64 value;

	if (o->op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		value = o->op->imm.value.u;
	else if (o->op->type == ZYDIS_OPERAND_TYPE_REGISTER)
		value = x86_gpr_get(e->cpu, o->op->reg.value);
	else
		value = x86_mem_load_int(e, &o->mem);
	return value & x86_width_mask(bits);
}

static void put(struct x86_emu *e, const struct operand *o, u64 value)
{
	unsigned index, bits;
	bool high;
	u64 *reg;

	if (o->op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		x86_mem_store_int(e, &o->mem, value);
		return;
	}
	if (!x86_gpr_of(o->op->reg.value, &index, &bits, &high))
		return;
	reg = &e->next.gpr[index];
	if (high)
		*reg = (*reg & ~0xff00ull) | (value & 0xff) << 8;
	else
		x86_set_bits(reg, bits, value);
}

static enum x86_result move(struct x86_emu *e, bool sign)
{
	struct operand dst, src;
	enum x86_result res = open_pair(e, &dst, &src, X86_WRITE);
	u64 value;

	if (res != X86_OK)
		return res;
	value = get(e, &src, src.op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? dst.bits : src.bits);
	if (sign && value >> (src.bits - 1) & 1)
		value |= ~x86_width_mask(src.bits);
	put(e, &dst, value & x86_width_mask(dst.bits));
	return x86_finish(e);
}

static enum x86_result move_swapped(struct x86_emu *e)
{
	struct operand dst, src;
	enum x86_result res = open_pair(e, &dst, &src, X86_WRITE);

	if (res != X86_OK)
		return res;
	put(e, &dst, __builtin_bswap64(get(e, &src, dst.bits)) >> (64 - dst.bits));
	return x86_finish(e);
}

static enum x86_result arithmetic(struct x86_emu *e, enum x86_alu_op op, bool store)
{
	struct operand dst, src;
	enum x86_result res = open_pair(e, &dst, &src, store ? X86_WRITE : X86_READ);
	u64 a, value;

	if (res != X86_OK)
		return res;
	a = get(e, &dst, dst.bits);
	value = x86_alu(op, a, get(e, &src, dst.bits), dst.bits, &e->next.rflags);
	if (store)
		put(e, &dst, value);
	return x86_finish(e);
}

static enum x86_result unary(struct x86_emu *e)
{
	struct operand dst;
	enum x86_result res = open_operand(e, &dst, 0, X86_WRITE);
	u64 a, value, *flags = &e->next.rflags;

	if (res != X86_OK)
		return res;
	a = get(e, &dst, dst.bits);
	switch (e->insn.in.mnemonic) {
	case ZYDIS_MNEMONIC_INC: value = x86_alu_step(a, 1, dst.bits, flags); break;
	case ZYDIS_MNEMONIC_DEC: value = x86_alu_step(a, -1, dst.bits, flags); break;
	case ZYDIS_MNEMONIC_NEG: value = x86_alu(ALU_SUB, 0, a, dst.bits, flags); break;
	default: value = ~a & x86_width_mask(dst.bits); break;
	}
	put(e, &dst, value);
	return x86_finish(e);
}

static enum x86_result shift(struct x86_emu *e, enum x86_shift_op op)
{
	struct operand dst, count;
	enum x86_result res = open_pair(e, &dst, &count, X86_WRITE);
	u64 a;

	if (res != X86_OK)
		return res;
	a = get(e, &dst, dst.bits);
	put(e, &dst, x86_alu_shift(op, a, (unsigned)get(e, &count, 8), dst.bits, &e->next.rflags));
	return x86_finish(e);
}

static enum x86_result bit_test(struct x86_emu *e)
{
	ZydisMnemonic what = e->insn.in.mnemonic;
	struct operand dst, src;
	enum x86_result res = open_pair(e, &dst, &src,
					what == ZYDIS_MNEMONIC_BT ? X86_READ : X86_WRITE);
	u64 value, bit;

	if (res != X86_OK)
		return res;
	value = get(e, &dst, dst.bits);
	/* the operand's address is already that of the word with the bit */
	bit = BIT(get(e, &src, 8) & (dst.bits - 1));
	e->next.rflags &= ~X86_FLAG_CF;
	if (value & bit)
		e->next.rflags |= X86_FLAG_CF;
	if (what == ZYDIS_MNEMONIC_BTS)
		put(e, &dst, value | bit);
	else if (what == ZYDIS_MNEMONIC_BTR)
		put(e, &dst, value & ~bit);
	else if (what == ZYDIS_MNEMONIC_BTC)
		put(e, &dst, value ^ bit);
	return x86_finish(e);
}

/* XCHG and XADD: the second operand receives what was in the first. */
static enum x86_result exchange(struct x86_emu *e, bool sum)
{
	struct operand dst, src;
	enum x86_result res = open_operand(e, &dst, 0, X86_WRITE);
	u64 a, b;

	if (res == X86_OK)
		res = open_operand(e, &src, 1, X86_WRITE);
	if (res != X86_OK)
		return res;
	a = get(e, &dst, dst.bits);
	b = get(e, &src, dst.bits);
	put(e, &src, a);
	if (sum)
		b = x86_alu(ALU_ADD, a, b, dst.bits, &e->next.rflags);
	put(e, &dst, b);
	return x86_finish(e);
}

static enum x86_result compare_exchange(struct x86_emu *e)
{
	struct operand dst, src;
	enum x86_result res = open_pair(e, &dst, &src, X86_WRITE);
	u64 a, acc;

	if (res != X86_OK)
		return res;
	a = get(e, &dst, dst.bits);
	acc = e->cpu->gpr[X86_RAX] & x86_width_mask(dst.bits);
	x86_alu(ALU_SUB, acc, a, dst.bits, &e->next.rflags);
	/* the processor stores in both cases */
	if (acc == a) {
		put(e, &dst, get(e, &src, dst.bits));
	} else {
		x86_set_bits(&e->next.gpr[X86_RAX], dst.bits, a);
		put(e, &dst, a);
	}
	return x86_finish(e);
}

/* CMPXCHG8B, CMPXCHG16B: half is the size of one register of each pair. */
static enum x86_result compare_exchange_pair(struct x86_emu *e, u32 half)
{
	const ZydisDecodedOperand *op = &e->insn.op[0];
	unsigned seg = x86_seg_of(op->mem.segment), bits = half * 8;
	u64 offset, low, high, *gpr = e->next.gpr, mask = x86_width_mask(bits);
	u8 buf[16] = {0};
	struct x86_mem m;
	enum x86_result res;

	if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
		return X86_UNSUPPORTED;
	offset = x86_operand_offset(e->cpu, &e->insn, op);
	if (half == 8 && !IS_ALIGNED(x86_linear(e->cpu, seg, offset), 16))
		return x86_raise(e, X86_VECTOR_GP);
	res = x86_mem_open(e, &m, seg, offset, half * 2, X86_WRITE);
	if (res != X86_OK)
		return res;
	x86_mem_load(e, &m, buf);
	low = get_le64(buf) & mask;
	high = get_le64(buf + half) & mask;
	e->next.rflags &= ~X86_FLAG_ZF;
	if (low == (gpr[X86_RAX] & mask) && high == (gpr[X86_RDX] & mask)) {
		e->next.rflags |= X86_FLAG_ZF;
		put_le64(buf, gpr[X86_RBX] & mask);
		if (half == 4)
			put_le32(buf + 4, (u32)gpr[X86_RCX]);
		else
			put_le64(buf + 8, gpr[X86_RCX]);
	} else {
		x86_set_bits(&gpr[X86_RAX], bits, low);
		x86_set_bits(&gpr[X86_RDX], bits, high);
	}
	x86_mem_store(e, &m, buf);
	return x86_finish(e);
}

static enum x86_result conditional_move(struct x86_emu *e)
{
	struct operand dst, src;
	enum x86_result res = open_pair(e, &dst, &src, X86_WRITE);
	u64 value;

	if (res != X86_OK)
		return res;
	/* the load happens either way, and so does the clearing of the upper half */
	value = get(e, &src, dst.bits);
	if (!x86_condition(e->insn.in.opcode, e->cpu->rflags))
		value = get(e, &dst, dst.bits);
	put(e, &dst, value);
	return x86_finish(e);
}

static enum x86_result set_condition(struct x86_emu *e)
{
	struct operand dst;
	enum x86_result res = open_operand(e, &dst, 0, X86_WRITE);

	if (res != X86_OK)
		return res;
	put(e, &dst, x86_condition(e->insn.in.opcode, e->cpu->rflags));
	return x86_finish(e);
}

static enum x86_result translate_byte(struct x86_emu *e)
{
	struct operand src;
	enum x86_result res = open_operand(e, &src, 0, X86_READ);

	if (res != X86_OK)
		return res;
	x86_set_bits(&e->next.gpr[X86_RAX], 8, get(e, &src, 8));
	return x86_finish(e);
}

/* ---- stack ---- */

/* The hidden stack operand, NULL when the instruction has none. */
static const ZydisDecodedOperand *stack_operand(const struct x86_emu *e)
{
	for (unsigned i = 0; i < e->insn.in.operand_count; i++) {
		const ZydisDecodedOperand *op = &e->insn.op[i];

		if (op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
		    op->type == ZYDIS_OPERAND_TYPE_MEMORY)
			return op;
	}
	return NULL;
}

static enum x86_result open_stack(struct x86_emu *e, struct operand *o, enum x86_access access)
{
	const ZydisDecodedOperand *op = stack_operand(e);

	if (!op || op->size < 16 || op->size > 64)
		return X86_UNSUPPORTED;
	return open_operand(e, o, (unsigned)(op - e->insn.op), access);
}

static void move_stack_pointer(struct x86_emu *e, s64 bytes)
{
	u64 *rsp = &e->next.gpr[X86_RSP];

	x86_set_bits(rsp, e->insn.in.stack_width, *rsp + (u64)bytes);
}

/* Near branch target; refuses what the next fetch could not reach. */
static enum x86_result jump(struct x86_emu *e, u64 target)
{
	unsigned bits = x86_code_bits(e->cpu);

	if (bits == 64) {
		unsigned sign = e->cpu->cr4 & X86_CR4_LA57 ? 56 : 47;

		if (target >> sign && target >> sign != ~0ull >> sign)
			return x86_raise(e, X86_VECTOR_GP);
	} else {
		target &= x86_width_mask(e->insn.in.operand_width);
		if (target > e->cpu->seg[X86_CS].limit)
			return x86_raise(e, X86_VECTOR_GP);
	}
	e->next.rip = target;
	return X86_OK;
}

static enum x86_result push(struct x86_emu *e)
{
	struct operand src, stack;
	enum x86_result res = open_operand(e, &src, 0, X86_READ);

	if (res == X86_OK)
		res = open_stack(e, &stack, X86_WRITE);
	if (res != X86_OK)
		return res;
	move_stack_pointer(e, -(s64)(stack.bits / 8));
	put(e, &stack, get(e, &src, stack.bits));
	return x86_finish(e);
}

static enum x86_result pop(struct x86_emu *e)
{
	struct operand dst, stack;
	enum x86_result res = open_operand(e, &dst, 0, X86_WRITE);

	if (res == X86_OK)
		res = open_stack(e, &stack, X86_READ);
	if (res != X86_OK)
		return res;
	move_stack_pointer(e, stack.bits / 8);
	put(e, &dst, get(e, &stack, stack.bits));
	return x86_finish(e);
}

static bool is_near(const struct x86_emu *e)
{
	return e->insn.in.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR;
}

static enum x86_result call(struct x86_emu *e)
{
	u64 back = e->next.rip, target;
	struct operand dst, stack;
	enum x86_result res = is_near(e) ? open_operand(e, &dst, 0, X86_READ) : X86_UNSUPPORTED;

	if (res == X86_OK)
		res = open_stack(e, &stack, X86_WRITE);
	if (res != X86_OK)
		return res;
	target = get(e, &dst, 64);
	if (dst.op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		target += back;
	res = jump(e, target);
	if (res != X86_OK)
		return res;
	move_stack_pointer(e, -(s64)(stack.bits / 8));
	put(e, &stack, back);
	return x86_finish(e);
}

static enum x86_result jump_indirect(struct x86_emu *e)
{
	struct operand dst;
	enum x86_result res = is_near(e) ? open_operand(e, &dst, 0, X86_READ) : X86_UNSUPPORTED;

	if (res == X86_OK)
		res = jump(e, get(e, &dst, 64));
	return res == X86_OK ? x86_finish(e) : res;
}

static enum x86_result ret(struct x86_emu *e)
{
	struct operand stack;
	enum x86_result res = is_near(e) ? open_stack(e, &stack, X86_READ) : X86_UNSUPPORTED;
	s64 release;

	if (res != X86_OK)
		return res;
	res = jump(e, get(e, &stack, stack.bits));
	if (res != X86_OK)
		return res;
	release = stack.bits / 8;
	if (e->insn.op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		release += (s64)(e->insn.op[0].imm.value.u & 0xffff);
	move_stack_pointer(e, release);
	return x86_finish(e);
}

/* SETcc and CMOVcc have a mnemonic per condition; their opcodes are ranges. */
static enum x86_result by_opcode(struct x86_emu *e)
{
	if (e->insn.in.opcode_map != ZYDIS_OPCODE_MAP_0F)
		return X86_UNSUPPORTED;
	switch (e->insn.in.opcode & 0xf0) {
	case 0x40: return conditional_move(e);
	case 0x90: return set_condition(e);
	default: return X86_UNSUPPORTED;
	}
}

enum x86_result x86_emulate_integer(struct x86_emu *e)
{
	switch (e->insn.in.mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_MOVZX:
	case ZYDIS_MNEMONIC_MOVNTI:
	case ZYDIS_MNEMONIC_MOVDIRI: return move(e, false);
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD: return move(e, true);
	case ZYDIS_MNEMONIC_MOVBE: return move_swapped(e);
	case ZYDIS_MNEMONIC_ADD: return arithmetic(e, ALU_ADD, true);
	case ZYDIS_MNEMONIC_OR: return arithmetic(e, ALU_OR, true);
	case ZYDIS_MNEMONIC_ADC: return arithmetic(e, ALU_ADC, true);
	case ZYDIS_MNEMONIC_SBB: return arithmetic(e, ALU_SBB, true);
	case ZYDIS_MNEMONIC_AND: return arithmetic(e, ALU_AND, true);
	case ZYDIS_MNEMONIC_SUB: return arithmetic(e, ALU_SUB, true);
	case ZYDIS_MNEMONIC_XOR: return arithmetic(e, ALU_XOR, true);
	case ZYDIS_MNEMONIC_CMP: return arithmetic(e, ALU_SUB, false);
	case ZYDIS_MNEMONIC_TEST: return arithmetic(e, ALU_AND, false);
	case ZYDIS_MNEMONIC_INC:
	case ZYDIS_MNEMONIC_DEC:
	case ZYDIS_MNEMONIC_NEG:
	case ZYDIS_MNEMONIC_NOT: return unary(e);
	case ZYDIS_MNEMONIC_ROL: return shift(e, SHIFT_ROL);
	case ZYDIS_MNEMONIC_ROR: return shift(e, SHIFT_ROR);
	case ZYDIS_MNEMONIC_RCL: return shift(e, SHIFT_RCL);
	case ZYDIS_MNEMONIC_RCR: return shift(e, SHIFT_RCR);
	case ZYDIS_MNEMONIC_SHL: return shift(e, SHIFT_SHL);
	case ZYDIS_MNEMONIC_SHR: return shift(e, SHIFT_SHR);
	case ZYDIS_MNEMONIC_SAR: return shift(e, SHIFT_SAR);
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC: return bit_test(e);
	case ZYDIS_MNEMONIC_XCHG: return exchange(e, false);
	case ZYDIS_MNEMONIC_XADD: return exchange(e, true);
	case ZYDIS_MNEMONIC_CMPXCHG: return compare_exchange(e);
	case ZYDIS_MNEMONIC_CMPXCHG8B: return compare_exchange_pair(e, 4);
	case ZYDIS_MNEMONIC_CMPXCHG16B: return compare_exchange_pair(e, 8);
	case ZYDIS_MNEMONIC_XLAT: return translate_byte(e);
	case ZYDIS_MNEMONIC_PUSH: return push(e);
	case ZYDIS_MNEMONIC_POP: return pop(e);
	case ZYDIS_MNEMONIC_CALL: return call(e);
	case ZYDIS_MNEMONIC_JMP: return jump_indirect(e);
	case ZYDIS_MNEMONIC_RET: return ret(e);
	default: return by_opcode(e);
	}
}
