/* Code fetch, and the search for the access that left RAM. */
#include <string.h>

#include "vtl2-devices/x86emu/insn.h"

#define OP_READS  (ZYDIS_OPERAND_ACTION_READ | ZYDIS_OPERAND_ACTION_CONDREAD)
#define OP_WRITES (ZYDIS_OPERAND_ACTION_WRITE | ZYDIS_OPERAND_ACTION_CONDWRITE)

/* ENTER copies at most this many frame pointers. */
#define ENTER_LEVELS 31

static u32 user_walk(const struct x86_cpu *cpu)
{
	return x86_cpl(cpu) == 3 ? X86_WALK_USER : 0;
}

static bool page_open(const struct x86_ops *ops, u64 gpa, enum x86_access access)
{
	u8 byte;

	if (ops->is_ram)
		return ops->is_ram(ops->ctx, gpa, access);
	return ops->ram_read(ops->ctx, gpa, &byte, 1) == 0;
}

/* X86_NOT_FOUND: this byte is in RAM. X86_OK: it, or an entry on the way, is not, and hit says so.
 */
static enum x86_result probe(const struct x86_cpu *cpu, const struct x86_ops *ops, u64 linear,
			     enum x86_access access, struct x86_hit *hit, struct x86_fault *fault)
{
	enum x86_result res;
	u64 gpa;

	res = x86_translate(cpu, ops, linear, access, user_walk(cpu), &gpa, fault);
	if (res == X86_HOLE) {
		hit->gva_valid = false;
		hit->access = X86_READ;
	} else if (res != X86_OK) {
		return res;
	} else if (page_open(ops, gpa, access)) {
		return X86_NOT_FOUND;
	} else {
		hit->gva_valid = true;
		hit->access = access;
	}
	hit->gpa = gpa;
	hit->gva = linear;
	return X86_OK;
}

enum x86_result x86_fetch_all(const struct x86_cpu *cpu, const struct x86_ops *ops,
			      struct x86_hit *hit, struct x86_fault *fault)
{
	u32 done = 0;

	memset(hit, 0, sizeof(*hit));
	while (done < X86_INSN_MAX) {
		u64 linear = x86_linear(cpu, X86_CS, cpu->rip + done), gpa = 0;
		u32 len = MIN(X86_INSN_MAX - done, PAGE_SIZE - (u32)(linear & (PAGE_SIZE - 1)));
		enum x86_result res;

		res = x86_translate(cpu, ops, linear, X86_EXECUTE, user_walk(cpu), &gpa, fault);
		hit->gva = linear;
		hit->gpa = gpa;
		hit->gva_valid = res == X86_OK;
		hit->access = res == X86_HOLE ? X86_READ : X86_EXECUTE;
		if (res == X86_OK && ops->ram_read(ops->ctx, gpa, hit->bytes + done, len))
			res = X86_HOLE;
		if (res != X86_OK) {
			memset(hit->bytes + done, 0, sizeof(hit->bytes) - done);
			return res;
		}
		done += len;
		hit->byte_count = (u8)done;
	}
	return X86_OK;
}

enum x86_result x86_fetch(const struct x86_cpu *cpu, const struct x86_ops *ops, struct x86_hit *hit,
			  struct x86_fault *fault)
{
	enum x86_result res = x86_fetch_all(cpu, ops, hit, fault);

	return hit->byte_count ? X86_OK : res;
}

/* Both pages of a range of at most a page. Results as probe(). */
static enum x86_result probe_range(const struct x86_cpu *cpu, const struct x86_ops *ops, u64 linear,
				   u32 len, enum x86_access access, struct x86_hit *hit,
				   struct x86_fault *fault)
{
	u32 first = PAGE_SIZE - (u32)(linear & (PAGE_SIZE - 1));
	enum x86_result res = probe(cpu, ops, linear, access, hit, fault);

	if (res != X86_NOT_FOUND || len <= first)
		return res;
	return probe(cpu, ops, x86_linear_wrap(cpu, linear + first), access, hit, fault);
}

/* Does executing the instruction never touch this operand's memory? */
static bool touches_nothing(const struct x86_insn *insn)
{
	switch (insn->in.mnemonic) {
	case ZYDIS_MNEMONIC_NOP:
	case ZYDIS_MNEMONIC_INVLPG:
	case ZYDIS_MNEMONIC_CLFLUSH:
	case ZYDIS_MNEMONIC_CLFLUSHOPT:
	case ZYDIS_MNEMONIC_CLWB:
	case ZYDIS_MNEMONIC_PREFETCH:
	case ZYDIS_MNEMONIC_PREFETCHNTA:
	case ZYDIS_MNEMONIC_PREFETCHT0:
	case ZYDIS_MNEMONIC_PREFETCHT1:
	case ZYDIS_MNEMONIC_PREFETCHT2:
	case ZYDIS_MNEMONIC_PREFETCHW: return true;
	default: return false;
	}
}

static bool repeats_zero_times(const struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return x86_is_string(insn) && x86_rep_prefix(insn) &&
	       !(cpu->gpr[X86_RCX] & x86_width_mask(insn->in.address_width));
}

static enum x86_result probe_operand(const struct x86_cpu *cpu, const struct x86_ops *ops,
				     const struct x86_insn *insn, const ZydisDecodedOperand *op,
				     enum x86_access access, struct x86_hit *hit,
				     struct x86_fault *fault)
{
	u64 offset = x86_operand_offset(cpu, insn, op);
	u32 len = MAX(op->size / 8u, 1u);

	if (insn->in.mnemonic == ZYDIS_MNEMONIC_ENTER &&
	    op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
		u32 more = MIN((u32)(insn->op[1].imm.value.u & 31), ENTER_LEVELS) * len;

		offset = (offset - more) & x86_width_mask(insn->in.stack_width);
		len += more;
	}
	return probe_range(cpu, ops, x86_linear(cpu, x86_seg_of(op->mem.segment), offset),
			   MIN(len, PAGE_SIZE), access, hit, fault);
}

/* ENTER also reads the enclosing frames' pointers below RBP; the decoder has no operand for them.
 */
static enum x86_result probe_enter_frames(const struct x86_cpu *cpu, const struct x86_ops *ops,
					  const struct x86_insn *insn, struct x86_hit *hit,
					  struct x86_fault *fault)
{
	u32 level = (u32)(insn->op[1].imm.value.u & 31), len;
	u64 offset;

	if (level < 2)
		return X86_NOT_FOUND;
	len = (level - 1) * insn->in.operand_width / 8u;
	offset = (cpu->gpr[X86_RBP] - len) & x86_width_mask(insn->in.stack_width);
	return probe_range(cpu, ops, x86_linear(cpu, X86_SS, offset), len, X86_READ, hit, fault);
}

static bool has_address(const ZydisDecodedOperand *op)
{
	return op->type == ZYDIS_OPERAND_TYPE_MEMORY && op->mem.type == ZYDIS_MEMOP_TYPE_MEM;
}

/* Loads before stores, as the processor does them; a read-modify-write counts as the store. */
static enum x86_result probe_operands(const struct x86_cpu *cpu, const struct x86_ops *ops,
				      const struct x86_insn *insn, struct x86_hit *hit,
				      struct x86_fault *fault)
{
	enum x86_result worst = X86_NOT_FOUND;

	for (int pass = 0; pass < 2; pass++) {
		enum x86_access access = pass ? X86_WRITE : X86_READ;

		for (unsigned i = 0; i < insn->in.operand_count; i++) {
			const ZydisDecodedOperand *op = &insn->op[i];
			bool writes = op->actions & OP_WRITES;
			enum x86_result res;

			if (!has_address(op) || !(op->actions & (OP_READS | OP_WRITES)) ||
			    writes != (access == X86_WRITE))
				continue;
			res = probe_operand(cpu, ops, insn, op, access, hit, fault);
			if (res == X86_OK)
				return X86_OK;
			if (res != X86_NOT_FOUND)
				worst = res;
		}
	}
	return worst;
}

enum x86_result x86_find_access(const struct x86_cpu *cpu, const struct x86_ops *ops,
				struct x86_hit *hit, struct x86_fault *fault)
{
	struct x86_insn insn;
	enum x86_result fetched, res;

	fetched = x86_fetch_all(cpu, ops, hit, fault);
	res = x86_decode(cpu, hit->bytes, hit->byte_count, &insn);
	if (res == X86_RETRY) /* the instruction goes on where the fetch stopped */
		return fetched == X86_HOLE ? X86_OK : fetched;
	if (res != X86_OK)
		return res;
	hit->insn_len = insn.in.length;
	if (touches_nothing(&insn) || repeats_zero_times(cpu, &insn))
		return X86_NOT_FOUND;
	res = probe_operands(cpu, ops, &insn, hit, fault);
	if (res != X86_OK && insn.in.mnemonic == ZYDIS_MNEMONIC_ENTER) {
		enum x86_result frames = probe_enter_frames(cpu, ops, &insn, hit, fault);

		if (frames != X86_NOT_FOUND)
			res = frames;
	}
	return res;
}
