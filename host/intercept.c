#include "host/intercept.h"

#include <string.h>

#include "host/regs.h"
#include "vtl2-devices/x86emu/x86emu.h"

static struct hv_intercept_header header(struct vp *vp, u8 length, u8 access)
{
	const struct kvm_regs *r = regs_of(vp, VTL0);
	const struct kvm_sregs *s = sregs_of(vp, VTL0);

	return (struct hv_intercept_header){
		.vp_index = vp->index,
		.instruction_length = (u8)((length & 0xf) | (s->cr8 & 0xf) << 4),
		.access_type = access,
		.execution_state = (u16)((s->ss.dpl & 3) | (s->cr0 & 1) << 2 |
					 (s->cr0 >> 18 & 1) << 3 | (s->efer >> 10 & 1) << 4),
		.cs = regs_segment_from_kvm(&s->cs),
		.rip = r->rip,
		.rflags = r->rflags,
	};
}

static void finish(struct hv_message *m, u32 type, const void *payload, u8 size)
{
	memset(m, 0, sizeof(*m));
	m->type = type;
	m->payload_size = size;
	memcpy(m->payload, payload, size);
}

void intercept_io(struct vp *vp, struct hv_message *m, u16 port, u8 size, bool in, u8 length,
		  u64 rax)
{
	const struct kvm_regs *r = regs_of(vp, VTL0);
	struct hv_io_port_message p = {
		.header = header(vp, length, in ? HV_ACCESS_READ : HV_ACCESS_WRITE),
		.port = port,
		.info = size,
		.rax = rax,
		.rcx = r->rcx,
		.rsi = r->rsi,
		.rdi = r->rdi,
	};

	finish(m, HV_MSG_X64_IO_PORT, &p, sizeof(p));
}

void intercept_msr(struct vp *vp, struct hv_message *m, u32 msr, bool write, u64 value, u8 length)
{
	const struct kvm_regs *r = regs_of(vp, VTL0);
	struct hv_msr_message p = {
		.header = header(vp, length, write ? HV_ACCESS_WRITE : HV_ACCESS_READ),
		.msr = msr,
		.rdx = write ? value >> 32 : r->rdx,
		.rax = write ? (u32)value : r->rax,
	};

	finish(m, HV_MSG_X64_MSR, &p, sizeof(p));
}

void intercept_hypercall(struct vp *vp, struct hv_message *m)
{
	const struct kvm_regs *r = regs_of(vp, VTL0);
	struct hv_hypercall_message p = {
		.header = header(vp, 3, HV_ACCESS_EXECUTE),
		.rax = r->rax,
		.rbx = r->rbx,
		.rcx = r->rcx,
		.rdx = r->rdx,
		.r8 = r->r8,
		.rsi = r->rsi,
		.rdi = r->rdi,
	};

	/*
	 * VTL2 completes a hypercall by RIP + 3, the length of VMCALL. Our trap is OUT imm8, 2
	 * bytes, with RET behind it: report RIP so that RIP + 3 is the RET.
	 */
	p.header.rip -= 1;
	finish(m, HV_MSG_HYPERCALL_INTERCEPT, &p, sizeof(p));
}

void intercept_eoi(struct vp *vp, struct hv_message *m, u8 vector)
{
	struct hv_eoi_message p = {.vp_index = vp->index, .vector = vector};

	finish(m, HV_MSG_X64_APIC_EOI, &p, sizeof(p));
}

void intercept_deliverable(struct vp *vp, struct hv_message *m)
{
	struct hv_deliverable_message p = {.header = header(vp, 0, HV_ACCESS_READ)};

	finish(m, HV_MSG_X64_INTERRUPTION_DELIVERABLE, &p, sizeof(p));
}

void intercept_unrecoverable(struct vp *vp, struct hv_message *m)
{
	struct hv_intercept_header p = header(vp, 0, HV_ACCESS_EXECUTE);

	finish(m, HV_MSG_UNRECOVERABLE_EXCEPTION, &p, sizeof(p));
}

/* ---- instruction at RIP ---- */

static int ram_read(void *ctx, u64 gpa, void *buf, u32 len)
{
	struct vp *vp = ctx;
	const void *p = memory_at_vtl0(&vp->vm->mem, gpa, len, HV_MAP_GPA_READABLE);

	if (!p)
		return -1;
	memcpy(buf, p, len);
	return 0;
}

static bool is_ram(void *ctx, u64 gpa, enum x86_access access)
{
	struct vp *vp = ctx;

	if ((gpa & ~0xfffull) == APIC_PAGE)
		return true; /* KVM answers it */
	return memory_at_vtl0(&vp->vm->mem, gpa, 1,
			      access == X86_WRITE ? HV_MAP_GPA_WRITABLE : HV_MAP_GPA_READABLE);
}

static void cpu_state(struct vp *vp, struct x86_cpu *cpu)
{
	struct kvm_regs *r = regs_of(vp, VTL0);
	const struct kvm_sregs *s = sregs_of(vp, VTL0);
	const struct kvm_segment *seg[] = {&s->es, &s->cs, &s->ss, &s->ds, &s->fs, &s->gs};

	memset(cpu, 0, sizeof(*cpu));
	for (unsigned i = 0; i < 16; i++)
		cpu->gpr[i] = *regs_gpr(r, i);
	cpu->rip = r->rip;
	cpu->rflags = r->rflags;
	for (unsigned i = 0; i < ARRAY_SIZE(seg); i++)
		cpu->seg[i] = regs_segment_from_kvm(seg[i]);
	cpu->cr0 = s->cr0;
	cpu->cr3 = s->cr3;
	cpu->cr4 = s->cr4;
	cpu->efer = s->efer;
	cpu->phys_bits = (u8)vp->vm->mem.address_bits;
}

static const struct x86_ops walk_ops = {.ram_read = ram_read, .is_ram = is_ram};

u8 intercept_io_length(struct vp *vp, bool *string)
{
	struct x86_ops ops = walk_ops;
	struct x86_fault fault;
	struct x86_cpu cpu;
	struct x86_hit hit;

	ops.ctx = vp;
	*string = false;
	cpu_state(vp, &cpu);
	if (x86_fetch(&cpu, &ops, &hit, &fault) != X86_OK)
		return 0;
	for (u8 i = 0; i < hit.byte_count; i++) {
		u8 b = hit.bytes[i];

		switch (b) {
		case 0xe4 ... 0xe7: return i + 2;
		case 0xec ... 0xef: return i + 1;
		case 0x6c ... 0x6f: *string = true; return i + 1;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64:
		case 0x65:
		case 0x66:
		case 0x67:
		case 0xf0:
		case 0xf2:
		case 0xf3: break;
		default:
			if (x86_code_bits(&cpu) != 64 || b < 0x40 || b > 0x4f)
				return 0;
		}
	}
	return 0;
}

int intercept_memory(struct vp *vp, struct hv_message *m)
{
	struct x86_ops ops = walk_ops;
	struct hv_memory_message p;
	struct x86_fault fault;
	struct x86_cpu cpu;
	struct x86_hit hit = {0};
	bool ram;

	ops.ctx = vp;
	cpu_state(vp, &cpu);
	switch (x86_find_access(&cpu, &ops, &hit, &fault)) {
	case X86_OK:
	case X86_HOLE: break;
	case X86_NOT_FOUND:
	case X86_FAULT:
	case X86_RETRY: return 1;
	default: return -1;
	}
	ram = memory_at(&vp->vm->mem, hit.gpa, 1) != NULL;
	p = (struct hv_memory_message){
		.header = header(vp, 0, (u8)hit.access),
		.cache_type = ram ? 6 : 0,
		.instruction_byte_count = hit.byte_count,
		.info = hit.gva_valid ? HV_MEM_GVA_VALID : 0,
		.gva = hit.gva,
		.gpa = hit.gpa,
	};
	memcpy(p.instruction, hit.bytes, sizeof(p.instruction));
	finish(m, ram ? HV_MSG_GPA_INTERCEPT : HV_MSG_UNMAPPED_GPA, &p, sizeof(p));
	return 0;
}

/* ---- register page ---- */

static struct hv_register_page *register_page(struct vp *vp)
{
	u64 reg = vp->vtl[VTL2].register_page;

	return reg & HV_PAGE_ENABLE ? memory_at(&vp->vm->mem, reg & HV_PAGE_GPA_MASK, PAGE_SIZE)
				    : NULL;
}

void register_page_fill(struct vp *vp)
{
	struct hv_register_page *page = register_page(vp);
	struct kvm_regs *r = regs_of(vp, VTL0);
	const struct kvm_sregs *s = sregs_of(vp, VTL0);
	const struct kvm_segment *seg[] = {&s->es, &s->cs, &s->ss, &s->ds, &s->fs, &s->gs};

	if (!page)
		return;
	page->version = 1;
	page->vtl = 0;
	page->dirty = 0;
	for (unsigned i = 0; i < 16; i++)
		page->gpr[i] = *regs_gpr(r, i);
	page->rip = r->rip;
	page->rflags = r->rflags;
	if (vp->vtl[VTL0].fpu)
		memcpy(page->xmm, (u8 *)vp->vtl[VTL0].fpu->region + 160, sizeof(page->xmm));
	for (unsigned i = 0; i < ARRAY_SIZE(seg); i++)
		page->segment[i] = regs_segment_from_kvm(seg[i]);
	page->cr0 = s->cr0;
	page->cr3 = s->cr3;
	page->cr4 = s->cr4;
	page->cr8 = s->cr8;
	page->efer = s->efer;
	page->pending_interruption = 0;
	page->interrupt_state = 0;
	page->is_valid = 1;
}

void register_page_invalidate(struct vp *vp)
{
	struct hv_register_page *page = register_page(vp);

	if (page)
		page->is_valid = 0;
}

void register_page_apply(struct vp *vp)
{
	struct hv_register_page *page = register_page(vp);
	u32 dirty;

	if (!page || !page->is_valid)
		return;
	dirty = page->dirty;
	if (dirty & HV_REG_PAGE_DIRTY_GPRS) {
		struct kvm_regs *r = regs_of(vp, VTL0);

		/* Only RSP is private to VTL0; the shared ones travel in the registers. */
		r->rsp = page->gpr[X86_RSP];
	}
	if (dirty & HV_REG_PAGE_DIRTY_RIP)
		regs_of(vp, VTL0)->rip = page->rip;
	if (dirty & HV_REG_PAGE_DIRTY_RFLAGS)
		regs_of(vp, VTL0)->rflags = page->rflags;
	if (dirty & HV_REG_PAGE_DIRTY_SEGMENTS)
		for (unsigned i = 0; i < 6; i++) {
			struct hv_register_value v;
			struct hv_segment seg = page->segment[i];

			memcpy(&v, &seg, sizeof(v));
			regs_set(vp, VTL0, HV_REG_ES + i, &v);
		}
	if (dirty & HV_REG_PAGE_DIRTY_XMM)
		for (unsigned i = 0; i < 6; i++) {
			struct hv_register_value v;

			memcpy(&v, page->xmm[i], sizeof(v));
			regs_set(vp, VTL0, HV_REG_XMM0 + i, &v);
		}
	page->dirty = 0;
	regs_dirty(vp, VTL0, KVM_SYNC_X86_REGS);
}
