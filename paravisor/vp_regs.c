/*
 * Register access of one VP. General registers (not RSP), CR2 and FXSAVE state are in the run page;
 * the rest is in the register page while that is valid, else a hypercall away.
 */
#include "paravisor/vp_regs.h"

#include "paravisor/regs.h"
#include "paravisor/stop.h"

#include <cpuid.h>
#include <stdio.h>
#include <string.h>

static bool page_is_valid(const struct vp *vp)
{
	return vp->page && vp->page->is_valid;
}

static void set(struct vp *vp, u32 name, u64 low, u64 high)
{
	int status = mshv_set_register(HV_INPUT_VTL0, name, low, high);

	if (status)
		stop_crash("VP %u: set register %#x: hypervisor status %#x", vp->index, name,
			   status);
}

void vp_set_rip(struct vp *vp, u64 rip)
{
	if (page_is_valid(vp)) {
		vp->page->rip = rip;
		vp->page->dirty |= HV_REG_PAGE_DIRTY_RIP;
	} else {
		set(vp, HV_REG_RIP, rip, 0);
	}
}

static void load_general(const struct mshv_context *context, u64 gpr[16])
{
	gpr[X86_RAX] = context->rax;
	gpr[X86_RCX] = context->rcx;
	gpr[X86_RDX] = context->rdx;
	gpr[X86_RBX] = context->rbx;
	gpr[X86_RBP] = context->rbp;
	gpr[X86_RSI] = context->rsi;
	gpr[X86_RDI] = context->rdi;
	memcpy(gpr + 8, context->r8_r15, sizeof(context->r8_r15));
}

static void store_general(struct mshv_context *context, const u64 gpr[16])
{
	context->rax = gpr[X86_RAX];
	context->rcx = gpr[X86_RCX];
	context->rdx = gpr[X86_RDX];
	context->rbx = gpr[X86_RBX];
	context->rbp = gpr[X86_RBP];
	context->rsi = gpr[X86_RSI];
	context->rdi = gpr[X86_RDI];
	memcpy(context->r8_r15, gpr + 8, sizeof(context->r8_r15));
}

static u8 physical_address_bits(void)
{
	static u8 bits;
	u32 eax = 0, ebx, ecx, edx;

	if (!bits) {
		__get_cpuid(0x80000008, &eax, &ebx, &ecx, &edx);
		bits = (u8)eax;
	}
	return bits;
}

static const u32 private_names[] = {
	HV_REG_RSP, HV_REG_RIP, HV_REG_RFLAGS, HV_REG_ES,  HV_REG_CS,  HV_REG_SS,   HV_REG_DS,
	HV_REG_FS,  HV_REG_GS,	HV_REG_CR0,    HV_REG_CR3, HV_REG_CR4, HV_REG_EFER,
};

void vp_load_cpu(struct vp *vp, struct x86_cpu *cpu)
{
	struct hv_register_assoc reg[ARRAY_SIZE(private_names)] = {0};
	int status;

	memset(cpu, 0, sizeof(*cpu));
	load_general(&vp->run->context, cpu->gpr);
	cpu->fxsave = vp->run->context.fxsave;
	cpu->phys_bits = physical_address_bits();
	if (page_is_valid(vp)) {
		const struct hv_register_page *page = vp->page;

		cpu->gpr[X86_RSP] = page->gpr[X86_RSP];
		cpu->rip = page->rip;
		cpu->rflags = page->rflags;
		memcpy(cpu->seg, page->segment, sizeof(cpu->seg));
		cpu->cr0 = page->cr0;
		cpu->cr3 = page->cr3;
		cpu->cr4 = page->cr4;
		cpu->efer = page->efer;
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(reg); i++)
		reg[i].name = private_names[i];
	status = mshv_get_registers(HV_INPUT_VTL0, reg, ARRAY_SIZE(reg));
	if (status)
		stop_crash("VP %u: read registers: hypervisor status %#x", vp->index, status);
	cpu->gpr[X86_RSP] = reg[0].value.low;
	cpu->rip = reg[1].value.low;
	cpu->rflags = reg[2].value.low;
	for (size_t i = 0; i < X86_SEG_COUNT; i++)
		memcpy(&cpu->seg[i], &reg[3 + i].value, sizeof(cpu->seg[i]));
	cpu->cr0 = reg[9].value.low;
	cpu->cr3 = reg[10].value.low;
	cpu->cr4 = reg[11].value.low;
	cpu->efer = reg[12].value.low;
}

void vp_store_cpu(struct vp *vp, const struct x86_cpu *cpu)
{
	store_general(&vp->run->context, cpu->gpr);
	if (page_is_valid(vp)) {
		struct hv_register_page *page = vp->page;

		if (page->gpr[X86_RSP] != cpu->gpr[X86_RSP]) {
			/* the class is written back as a whole: make all of it current */
			memcpy(page->gpr, cpu->gpr, sizeof(page->gpr));
			page->dirty |= HV_REG_PAGE_DIRTY_GPRS;
		}
		if (page->rflags != cpu->rflags) {
			page->rflags = cpu->rflags;
			page->dirty |= HV_REG_PAGE_DIRTY_RFLAGS;
		}
		page->rip = cpu->rip;
		page->dirty |= HV_REG_PAGE_DIRTY_RIP;
		return;
	}
	set(vp, HV_REG_RIP, cpu->rip, 0);
	set(vp, HV_REG_RFLAGS, cpu->rflags, 0);
	set(vp, HV_REG_RSP, cpu->gpr[X86_RSP], 0);
}

void vp_inject(struct vp *vp, u8 vector, bool has_error, u32 error, u64 cr2)
{
	vp->stats.exceptions++;
	if (vector == X86_VECTOR_PF)
		vp->run->context.cr2 = cr2;
	set(vp, HV_REG_PENDING_EVENT0, regs_exception_event(vector, has_error, error), cr2);
}

void vp_inject_external(struct vp *vp, u8 vector)
{
	set(vp, HV_REG_PENDING_EVENT0, regs_external_event(vector), 0);
}

void vp_request_deliverable(struct vp *vp)
{
	set(vp, HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_DELIVERABLE_INTERRUPT, 0);
}

void vp_print_registers(struct vp *vp, char *text, size_t size)
{
	static const char *const gpr_name[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
						 "rsi", "rdi", "r8",  "r9",  "r10", "r11",
						 "r12", "r13", "r14", "r15"};
	static const char *const seg_name[X86_SEG_COUNT] = {"es", "cs", "ss", "ds", "fs", "gs"};
	struct x86_cpu cpu;
	size_t at;

	vp_load_cpu(vp, &cpu);
	at = (size_t)snprintf(text, size, "VP %u rip %llx rflags %llx\n", vp->index,
			      (unsigned long long)cpu.rip, (unsigned long long)cpu.rflags);
	for (size_t i = 0; i < 16 && at < size; i++)
		at += (size_t)snprintf(text + at, size - at, "%s %llx%c", gpr_name[i],
				       (unsigned long long)cpu.gpr[i], i % 4 == 3 ? '\n' : ' ');
	if (at < size)
		at += (size_t)snprintf(
			text + at, size - at, "cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx\n",
			(unsigned long long)cpu.cr0, (unsigned long long)vp->run->context.cr2,
			(unsigned long long)cpu.cr3, (unsigned long long)cpu.cr4,
			(unsigned long long)cpu.efer);
	for (size_t i = 0; i < X86_SEG_COUNT && at < size; i++)
		at += (size_t)snprintf(text + at, size - at, "%s %x base %llx limit %x attr %x\n",
				       seg_name[i], cpu.seg[i].selector,
				       (unsigned long long)cpu.seg[i].base, cpu.seg[i].limit,
				       cpu.seg[i].attributes);
}
