/* Integer results and flags (AMD64 manual volume 3, "Instruction effects on RFLAGS"). */
#include "vtl2-devices/x86emu/alu.h"
#include "vtl2-devices/x86emu/insn.h"

#define FLAGS_ZSP   (X86_FLAG_ZF | X86_FLAG_SF | X86_FLAG_PF)
#define FLAGS_ARITH (FLAGS_ZSP | X86_FLAG_CF | X86_FLAG_AF | X86_FLAG_OF)

static bool msb(u64 v, unsigned bits)
{
	return v >> (bits - 1) & 1;
}

static u64 zsp(u64 res, unsigned bits)
{
	return (res == 0 ? X86_FLAG_ZF : 0) | (msb(res, bits) ? X86_FLAG_SF : 0) |
	       (__builtin_parity((unsigned)(res & 0xff)) ? 0 : X86_FLAG_PF);
}

/* CF, AF and OF from the carry (or borrow) out of each bit and into the top bit. */
static u64 carry_flags(u64 carries, bool overflow, unsigned bits)
{
	return (msb(carries, bits) ? X86_FLAG_CF : 0) | (carries & 8 ? X86_FLAG_AF : 0) |
	       (overflow ? X86_FLAG_OF : 0);
}

static u64 add(u64 a, u64 b, bool carry, unsigned bits, u64 *flags)
{
	u64 res = (a + b + carry) & x86_width_mask(bits);
	u64 carries = (a & b) | ((a | b) & ~res);

	*flags = zsp(res, bits) | carry_flags(carries, msb((a ^ res) & (b ^ res), bits), bits);
	return res;
}

static u64 subtract(u64 a, u64 b, bool borrow, unsigned bits, u64 *flags)
{
	u64 res = (a - b - borrow) & x86_width_mask(bits);
	u64 borrows = (~a & b) | ((~a | b) & res);

	*flags = zsp(res, bits) | carry_flags(borrows, msb((a ^ b) & (a ^ res), bits), bits);
	return res;
}

u64 x86_alu(enum x86_alu_op op, u64 a, u64 b, unsigned bits, u64 *flags)
{
	bool carry = *flags & X86_FLAG_CF;
	u64 res = 0, set = 0;

	switch (op) {
	case ALU_ADD: res = add(a, b, false, bits, &set); break;
	case ALU_ADC: res = add(a, b, carry, bits, &set); break;
	case ALU_SUB: res = subtract(a, b, false, bits, &set); break;
	case ALU_SBB: res = subtract(a, b, carry, bits, &set); break;
	case ALU_OR: res = a | b; break;
	case ALU_AND: res = a & b; break;
	case ALU_XOR: res = a ^ b; break;
	}
	if (op == ALU_OR || op == ALU_AND || op == ALU_XOR)
		set = zsp(res, bits);
	*flags = (*flags & ~FLAGS_ARITH) | set;
	return res;
}

u64 x86_alu_step(u64 a, int step, unsigned bits, u64 *flags)
{
	u64 set, res;

	if (step > 0)
		res = add(a, 1, false, bits, &set);
	else
		res = subtract(a, 1, false, bits, &set);
	*flags = (*flags & ~(FLAGS_ARITH & ~X86_FLAG_CF)) | (set & ~X86_FLAG_CF);
	return res;
}

static u64 put_flag(u64 flags, u64 flag, bool on)
{
	return on ? flags | flag : flags & ~flag;
}

/* Rotate through carry: at most 31 (63) single steps. */
static u64 rotate_carry(bool left, u64 a, unsigned count, unsigned bits, bool *carry)
{
	for (; count; count--) {
		bool out = left ? msb(a, bits) : a & 1;

		if (left)
			a = (a << 1 | (*carry ? 1 : 0)) & x86_width_mask(bits);
		else
			a = a >> 1 | (u64)*carry << (bits - 1);
		*carry = out;
	}
	return a;
}

/* ROL, ROR, RCL, RCR: only CF and OF change. */
static u64 rotate(enum x86_shift_op op, u64 a, unsigned count, unsigned bits, u64 *flags)
{
	bool left = op == SHIFT_ROL || op == SHIFT_RCL, carry = *flags & X86_FLAG_CF;
	unsigned n = count % bits;

	if (op == SHIFT_RCL || op == SHIFT_RCR) {
		a = rotate_carry(left, a, count % (bits + 1), bits, &carry);
	} else {
		if (n)
			a = (left ? a << n | a >> (bits - n) : a >> n | a << (bits - n)) &
			    x86_width_mask(bits);
		carry = left ? a & 1 : msb(a, bits);
	}
	*flags = put_flag(*flags, X86_FLAG_CF, carry);
	*flags = put_flag(*flags, X86_FLAG_OF,
			  left ? msb(a, bits) ^ carry : msb(a, bits) ^ msb(a, bits - 1));
	return a;
}

u64 x86_alu_shift(enum x86_shift_op op, u64 a, unsigned count, unsigned bits, u64 *flags)
{
	u64 mask = x86_width_mask(bits), res, sign = msb(a, bits) ? ~0ull : 0;
	bool carry, overflow;

	count &= bits == 64 ? 63 : 31;
	if (count == 0)
		return a;
	if (op != SHIFT_SHL && op != SHIFT_SHR && op != SHIFT_SAR)
		return rotate(op, a, count, bits, flags);
	if (op == SHIFT_SHL) {
		carry = count <= bits && a >> (bits - count) & 1;
		res = a << count & mask;
		overflow = msb(res, bits) ^ carry;
	} else {
		u64 wide = op == SHIFT_SAR ? a | (sign & ~mask) : a;

		/* count is at most 63, and 31 below 64 bits: sign bits above the operand suffice */
		carry = wide >> (count - 1) & 1;
		res = wide >> count;
		if (op == SHIFT_SAR)
			res |= sign & ~(~0ull >> count);
		res &= mask;
		overflow = op == SHIFT_SHR && msb(a, bits);
	}
	*flags &= ~(FLAGS_ARITH & ~X86_FLAG_AF);
	*flags |= zsp(res, bits) | (carry ? X86_FLAG_CF : 0) | (overflow ? X86_FLAG_OF : 0);
	return res;
}

bool x86_condition(unsigned cc, u64 flags)
{
	bool cf = flags & X86_FLAG_CF, zf = flags & X86_FLAG_ZF, sf = flags & X86_FLAG_SF;
	bool of = flags & X86_FLAG_OF, pf = flags & X86_FLAG_PF, res = false;

	switch (cc >> 1 & 7) {
	case 0: res = of; break;
	case 1: res = cf; break;
	case 2: res = zf; break;
	case 3: res = cf || zf; break;
	case 4: res = sf; break;
	case 5: res = pf; break;
	case 6: res = sf != of; break;
	case 7: res = zf || sf != of; break;
	}
	return res ^ (cc & 1);
}
