/* Memory operands of an emulated instruction: segment checks, translation, RAM and device accesses.
 */
#include <string.h>

#include "common/bytes.h"
#include "vtl2-devices/x86emu/emu.h"

/* Attribute bits of a segment: type in 3:0, S in 4, P in 7, D/B in 14. */
#define SEG_WRITABLE	BIT(1) /* readable, for code */
#define SEG_EXPAND_DOWN BIT(2)
#define SEG_CODE	BIT(3)
#define SEG_PRESENT	BIT(7)
#define SEG_BIG		BIT(14)

enum x86_result x86_raise(struct x86_emu *e, u8 vector)
{
	*e->fault = (struct x86_fault){vector, true, 0, 0};
	return X86_FAULT;
}

static bool segment_allows(const struct x86_cpu *cpu, unsigned seg, u64 offset, u32 len,
			   enum x86_access access)
{
	const struct hv_segment *s = &cpu->seg[seg];
	u64 last = offset + len - 1;
	u16 attr = s->attributes;

	if (x86_code_bits(cpu) == 64)
		return true; /* x86_translate() checks for canonical addresses */
	if (cpu->cr0 & X86_CR0_PE && !(cpu->rflags & X86_FLAG_VM)) {
		bool code = attr & SEG_CODE;

		if (!(attr & SEG_PRESENT))
			return false;
		if (access == X86_WRITE && (code || !(attr & SEG_WRITABLE)))
			return false;
		if (access == X86_READ && code && !(attr & SEG_WRITABLE))
			return false;
		if (!code && attr & SEG_EXPAND_DOWN)
			return offset > s->limit && last <= (attr & SEG_BIG ? 0xffffffff : 0xffff);
	}
	return last <= s->limit;
}

/* A page-table entry in a hole reads as all ones, as an unknown device does: its reserved bits
 * fault. */
static enum x86_result entry_in_hole(struct x86_emu *e, u64 linear, enum x86_access access)
{
	u32 code = 0x9 | (access == X86_WRITE ? 2 : 0) | (x86_cpl(e->cpu) == 3 ? 4 : 0);

	*e->fault = (struct x86_fault){X86_VECTOR_PF, true, code, linear};
	return X86_FAULT;
}

static enum x86_result translate(struct x86_emu *e, u64 linear, enum x86_access access, u64 *gpa)
{
	struct x86_page *page = &e->page[access];
	u64 in_page = linear & (PAGE_SIZE - 1);
	u32 walk = (x86_cpl(e->cpu) == 3 ? X86_WALK_USER : 0) | X86_WALK_SET_AD;
	enum x86_result res;

	if (page->valid && page->linear == linear - in_page) {
		*gpa = page->gpa + in_page;
		return X86_OK;
	}
	res = x86_translate(e->cpu, e->ops, linear, access, walk, gpa, e->fault);
	if (res == X86_HOLE)
		return entry_in_hole(e, linear, access);
	if (res == X86_OK)
		*page = (struct x86_page){true, linear - in_page, *gpa - in_page};
	return res;
}

enum x86_result x86_mem_open(struct x86_emu *e, struct x86_mem *m, unsigned seg, u64 offset,
			     u32 len, enum x86_access access)
{
	u64 linear = x86_linear(e->cpu, seg, offset);
	u32 first = MIN(len, PAGE_SIZE - (u32)(linear & (PAGE_SIZE - 1)));
	enum x86_result res;

	*m = (struct x86_mem){.len = {first, len - first}};
	if (!segment_allows(e->cpu, seg, offset, len, access))
		return x86_raise(e, seg == X86_SS ? X86_VECTOR_SS : X86_VECTOR_GP);
	res = translate(e, linear, access, &m->gpa[0]);
	if (res == X86_OK && m->len[1])
		res = translate(e, x86_linear_wrap(e->cpu, linear + first), access, &m->gpa[1]);
	if (res == X86_FAULT && e->fault->vector == X86_VECTOR_GP && seg == X86_SS)
		e->fault->vector = X86_VECTOR_SS;
	return res;
}

/* Devices see powers of two up to 8 bytes. */
static u32 device_chunk(u32 len)
{
	return len >= 8 ? 8 : len >= 4 ? 4 : len >= 2 ? 2 : 1;
}

void x86_mem_load(struct x86_emu *e, const struct x86_mem *m, void *buf)
{
	const struct x86_ops *ops = e->ops;
	u8 *p = buf;

	for (int i = 0; i < 2; i++) {
		u32 len = m->len[i], done = 0;

		if (len && ops->ram_read(ops->ctx, m->gpa[i], p, len)) {
			while (done < len) {
				u32 chunk = device_chunk(len - done);

				ops->mmio_read(ops->ctx, m->gpa[i] + done, p + done, chunk);
				done += chunk;
			}
		}
		p += len;
	}
}

void x86_mem_store(struct x86_emu *e, const struct x86_mem *m, const void *buf)
{
	const struct x86_ops *ops = e->ops;
	const u8 *p = buf;

	for (int i = 0; i < 2; i++) {
		u32 len = m->len[i], done = 0;

		if (len && ops->ram_write(ops->ctx, m->gpa[i], p, len)) {
			while (done < len) {
				u32 chunk = device_chunk(len - done);

				ops->mmio_write(ops->ctx, m->gpa[i] + done, p + done, chunk);
				done += chunk;
			}
		}
		p += len;
	}
}

u64 x86_mem_load_int(struct x86_emu *e, const struct x86_mem *m)
{
	u8 buf[8] = {0};

	x86_mem_load(e, m, buf);
	return get_le64(buf);
}

void x86_mem_store_int(struct x86_emu *e, const struct x86_mem *m, u64 value)
{
	u8 buf[8];

	put_le64(buf, value);
	x86_mem_store(e, m, buf);
}

void x86_set_bits(u64 *reg, unsigned bits, u64 value)
{
	u64 mask = x86_width_mask(bits);

	if (bits >= 32)
		*reg = value & mask;
	else
		*reg = (*reg & ~mask) | (value & mask);
}

enum x86_result x86_finish(struct x86_emu *e)
{
	e->next.rflags &= ~X86_FLAG_RF;
	*e->cpu = e->next;
	return X86_OK;
}
