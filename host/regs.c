#include "host/regs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/log.h"
#include "host/msr.h"

struct hv_segment regs_segment_from_kvm(const struct kvm_segment *s)
{
	return (struct hv_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.attributes = (u16)(s->type | s->s << 4 | s->dpl << 5 |
				    (s->present && !s->unusable) << 7 | s->avl << 12 | s->l << 13 |
				    s->db << 14 | s->g << 15),
	};
}

static void segment_to_kvm(struct kvm_segment *k, const struct hv_segment *h)
{
	*k = (struct kvm_segment){
		.base = h->base,
		.limit = h->limit,
		.selector = h->selector,
		.type = h->attributes & 0xf,
		.s = h->attributes >> 4 & 1,
		.dpl = h->attributes >> 5 & 3,
		.present = h->attributes >> 7 & 1,
		.avl = h->attributes >> 12 & 1,
		.l = h->attributes >> 13 & 1,
		.db = h->attributes >> 14 & 1,
		.g = h->attributes >> 15 & 1,
		.unusable = !(h->attributes >> 7 & 1),
	};
}

static struct kvm_segment *segment(struct kvm_sregs *s, u32 name)
{
	switch (name) {
	case HV_REG_ES: return &s->es;
	case HV_REG_CS: return &s->cs;
	case HV_REG_SS: return &s->ss;
	case HV_REG_DS: return &s->ds;
	case HV_REG_FS: return &s->fs;
	case HV_REG_GS: return &s->gs;
	case HV_REG_LDTR: return &s->ldt;
	case HV_REG_TR: return &s->tr;
	default: return NULL;
	}
}

static __u64 *control(struct kvm_sregs *s, u32 name)
{
	switch (name) {
	case HV_REG_CR0: return &s->cr0;
	case HV_REG_CR2: return &s->cr2;
	case HV_REG_CR3: return &s->cr3;
	case HV_REG_CR4: return &s->cr4;
	case HV_REG_CR8: return &s->cr8;
	case HV_REG_EFER: return &s->efer;
	case HV_REG_APIC_BASE: return &s->apic_base;
	default: return NULL;
	}
}

/* The architectural MSR behind a register name, or 0. */
static u32 msr_of(u32 name)
{
	static const struct {
		u32 name, msr;
	} map[] = {
		{HV_REG_TSC, 0x10},
		{HV_REG_KERNEL_GS_BASE, 0xc0000102},
		{HV_REG_PAT, 0x277},
		{HV_REG_SYSENTER_CS, 0x174},
		{HV_REG_SYSENTER_ESP, 0x175},
		{HV_REG_SYSENTER_EIP, 0x176},
		{HV_REG_STAR, 0xc0000081},
		{HV_REG_LSTAR, 0xc0000082},
		{HV_REG_CSTAR, 0xc0000083},
		{HV_REG_SFMASK, 0xc0000084},
		{HV_REG_TSC_AUX, 0xc0000103},
		{HV_REG_MTRR_CAP, 0xfe},
		{HV_REG_MTRR_DEF_TYPE, 0x2ff},
		{HV_REG_MTRR_FIX64K_00000, 0x250},
		{HV_REG_MTRR_FIX64K_00000 + 1, 0x258},
		{HV_REG_MTRR_FIX64K_00000 + 2, 0x259},
	};

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (map[i].name == name)
			return map[i].msr;
	if (name >= HV_REG_MTRR_PHYS_BASE0 && name < HV_REG_MTRR_PHYS_BASE0 + 8)
		return 0x200 + 2 * (name - HV_REG_MTRR_PHYS_BASE0);
	if (name >= HV_REG_MTRR_PHYS_MASK0 && name < HV_REG_MTRR_PHYS_MASK0 + 8)
		return 0x201 + 2 * (name - HV_REG_MTRR_PHYS_MASK0);
	if (name > HV_REG_MTRR_FIX64K_00000 + 2 && name <= HV_REG_MTRR_FIX64K_00000 + 10)
		return 0x268 + (name - HV_REG_MTRR_FIX64K_00000 - 3);
	return 0;
}

/* The synthetic MSR behind a register name, or 0. */
static u32 synthetic_of(u32 name)
{
	if (name >= HV_REG_SINT0 && name < HV_REG_SINT0 + HV_SINT_COUNT)
		return HV_MSR_SINT0 + (name - HV_REG_SINT0);
	switch (name) {
	case HV_REG_HYPERCALL: return HV_MSR_HYPERCALL;
	case HV_REG_GUEST_OS_ID: return HV_MSR_GUEST_OS_ID;
	case HV_REG_VP_INDEX: return HV_MSR_VP_INDEX;
	case HV_REG_TIME_REF_COUNT: return HV_MSR_TIME_REF_COUNT;
	case HV_REG_VP_ASSIST_PAGE: return HV_MSR_VP_ASSIST_PAGE;
	case HV_REG_REFERENCE_TSC: return HV_MSR_REFERENCE_TSC;
	case HV_REG_SCONTROL: return HV_MSR_SCONTROL;
	case HV_REG_SIEFP: return HV_MSR_SIEFP;
	case HV_REG_SIMP: return HV_MSR_SIMP;
	default: return 0;
	}
}

static u16 get_msr(struct vp *vp, enum vtl vtl, u32 index, u64 *value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = {.head.nmsrs = 1, .entry.index = index};

	if (ioctl(vp->vtl[vtl].fd, KVM_GET_MSRS, &m) != 1)
		return HV_STATUS_INVALID_PARAMETER;
	*value = m.entry.data;
	return HV_STATUS_SUCCESS;
}

static u16 set_msr(struct vp *vp, enum vtl vtl, u32 index, u64 value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = {.head.nmsrs = 1, .entry = {.index = index, .data = value}};

	return ioctl(vp->vtl[vtl].fd, KVM_SET_MSRS, &m) == 1 ? HV_STATUS_SUCCESS
							     : HV_STATUS_INVALID_PARAMETER;
}

/* Registers of the VSM machinery, which only VTL2 may see. */
static u16 get_vsm(struct vp *vp, u32 name, u64 *value)
{
	switch (name) {
	case HV_REG_VSM_CODE_PAGE_OFFSETS:
		*value = HYPERCALL_PAGE_VTL_CALL | HYPERCALL_PAGE_VTL_RETURN << 12;
		return HV_STATUS_SUCCESS;
	case HV_REG_VSM_VP_STATUS: *value = 2 | (1ull << 16 | 1ull << 18); return HV_STATUS_SUCCESS;
	case HV_REG_VSM_PARTITION_STATUS:
		*value = 1 | 1ull << 2 | 2ull << 16;
		return HV_STATUS_SUCCESS;
	case HV_REG_VSM_CAPABILITIES:
		*value = HV_VSM_CAP_INTERCEPT_NOT_PRESENT;
		if (!vp->vm->config->no_intercept_page)
			*value |= HV_VSM_CAP_INTERCEPT_PAGE | HV_VSM_CAP_RETURN_ACTION;
		return HV_STATUS_SUCCESS;
	case HV_REG_VSM_PARTITION_CONFIG: *value = vp->vm->vsm_config; return HV_STATUS_SUCCESS;
	case HV_REG_GUEST_VSM_PARTITION_CONFIG: *value = 0; return HV_STATUS_SUCCESS;
	case HV_REG_VSM_VINA: *value = 0; return HV_STATUS_SUCCESS;
	case HV_REG_VSM_VP_SECURE_CONFIG_VTL0:
		/* VTL0 of this VP stands still while VTL2 runs: its TLB is always locked. */
		*value = BIT(1);
		return HV_STATUS_SUCCESS;
	case HV_REG_VSM_VP_WAIT_FOR_TLB_LOCK: *value = 0; return HV_STATUS_SUCCESS;
	default: return HV_STATUS_INVALID_PARAMETER;
	}
}

u16 regs_get(struct vp *vp, enum vtl target, u32 name, struct hv_register_value *value)
{
	struct kvm_sregs *s = sregs_of(vp, target);
	const struct kvm_segment *seg;
	u64 v = 0;
	u16 status = HV_STATUS_SUCCESS;
	u32 msr;

	memset(value, 0, sizeof(*value));
	if (target == VTL2)
		regs_fetch_sregs(vp, VTL2);
	if (name >> 16 == 0xd || name == HV_REG_REGISTER_PAGE) {
		if (name == HV_REG_REGISTER_PAGE)
			v = vp->vtl[VTL2].register_page;
		else
			status = get_vsm(vp, name, &v);
		value->low = v;
		return status;
	}
	if (name >= HV_REG_RAX && name <= HV_REG_R15) {
		value->low = *regs_gpr(regs_of(vp, target), name - HV_REG_RAX);
		return status;
	}
	if (name >= HV_REG_XMM0 && name <= HV_REG_XMM15) {
		struct kvm_xsave x;

		if (ioctl(vp->vtl[target].fd, KVM_GET_XSAVE, &x))
			return HV_STATUS_INVALID_PARAMETER;
		memcpy(value, (u8 *)x.region + 160 + 16 * (name - HV_REG_XMM0), 16);
		return status;
	}
	seg = segment(s, name);
	if (seg) {
		struct hv_segment h = regs_segment_from_kvm(seg);

		memcpy(value, &h, sizeof(h));
		return status;
	}
	if (control(s, name)) {
		value->low = *control(s, name);
		return status;
	}
	if (name == HV_REG_GDTR || name == HV_REG_IDTR) {
		const struct kvm_dtable *d = name == HV_REG_GDTR ? &s->gdt : &s->idt;
		struct hv_table h = {.base = d->base, .limit = d->limit};

		memcpy(value, &h, sizeof(h));
		return status;
	}
	msr = msr_of(name);
	if (msr) {
		status = get_msr(vp, target, msr, &value->low);
		return status;
	}
	msr = synthetic_of(name);
	if (msr)
		return msr_hyperv_read(vp, target, msr, &value->low) ? HV_STATUS_INVALID_PARAMETER
								     : HV_STATUS_SUCCESS;
	switch (name) {
	case HV_REG_RIP: value->low = regs_of(vp, target)->rip; break;
	case HV_REG_RFLAGS: value->low = regs_of(vp, target)->rflags; break;
	case HV_REG_HYPERVISOR_VERSION: value->low = 20348 | (u64)(10 << 16) << 32; break;
	case HV_REG_INTERNAL_ACTIVITY_STATE: {
		struct kvm_mp_state mp = {0};

		ioctl(vp->vtl[target].fd, KVM_GET_MP_STATE, &mp);
		value->low = mp.mp_state == KVM_MP_STATE_HALTED	    ? HV_ACTIVITY_HALT_SUSPEND
			     : mp.mp_state == KVM_MP_STATE_RUNNABLE ? 0
								    : HV_ACTIVITY_STARTUP_SUSPEND;
		break;
	}
	case HV_REG_INITIAL_APIC_ID: value->low = vp->apic_id; break;
	case HV_REG_XFEM: {
		struct kvm_xcrs x = {0};

		ioctl(vp->vtl[target].fd, KVM_GET_XCRS, &x);
		value->low = x.nr_xcrs ? x.xcrs[0].value : 1;
		break;
	}
	case HV_REG_DELIVERABILITY_NOTIFICATIONS: value->low = vp->deliverable_wanted; break;
	case HV_REG_PENDING_INTERRUPTION:
	case HV_REG_INTERRUPT_STATE:
	case HV_REG_PENDING_EVENT0:
	case HV_REG_PENDING_EVENT1:
	case HV_REG_EXPLICIT_SUSPEND: break;
	default:
		if (name >= HV_REG_DR0 && name <= HV_REG_DR7) {
			struct kvm_debugregs d;

			if (ioctl(vp->vtl[target].fd, KVM_GET_DEBUGREGS, &d))
				return HV_STATUS_INVALID_PARAMETER;
			value->low = name == HV_REG_DR6	  ? d.dr6
				     : name == HV_REG_DR7 ? d.dr7
							  : d.db[name - HV_REG_DR0];
			break;
		}
		log_debug("VP %u: unknown register %#x read", vp->index, name);
		return HV_STATUS_INVALID_PARAMETER;
	}
	return status;
}

static u16 set_vsm(struct vp *vp, u32 name, u64 value)
{
	struct vm *vm = vp->vm;

	switch (name) {
	case HV_REG_VSM_PARTITION_CONFIG: {
		const u64 fixed = HV_VSM_CONFIG_ENABLE_PROTECTION |
				  HV_VSM_CONFIG_DEFAULT_PROTECTION;
		u16 status = HV_STATUS_SUCCESS;

		pthread_mutex_lock(&vm->lock);
		/* Protection, once on, and the default mask are write-once. */
		if (vm->vsm_config_set && (vm->vsm_config ^ value) & fixed &&
		    vm->vsm_config & HV_VSM_CONFIG_ENABLE_PROTECTION) {
			status = HV_STATUS_INVALID_PARAMETER;
		} else {
			vm->vsm_config = value;
			vm->vsm_config_set = true;
		}
		pthread_mutex_unlock(&vm->lock);
		return status;
	}
	case HV_REG_VSM_VP_SECURE_CONFIG_VTL0:
		return value & BIT(1) ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_PARAMETER;
	case HV_REG_VSM_VP_WAIT_FOR_TLB_LOCK: return HV_STATUS_SUCCESS;
	default: return HV_STATUS_INVALID_PARAMETER;
	}
}

u16 regs_set(struct vp *vp, enum vtl target, u32 name, const struct hv_register_value *value)
{
	if (name >> 16 == 0xd)
		return set_vsm(vp, name, value->low);
	if (name == HV_REG_REGISTER_PAGE) {
		if (vp->vm->config->no_intercept_page)
			return HV_STATUS_INVALID_PARAMETER;
		vp->vtl[VTL2].register_page = value->low;
		return HV_STATUS_SUCCESS;
	}
	/* Ordinary registers: only VTL2 on VTL0. */
	if (target != VTL0)
		return HV_STATUS_ACCESS_DENIED;
	/*
	 * General registers but RSP are shared: what VTL2 has in them at the VTL return counts,
	 * and it can set that itself.
	 */
	return regs_load(vp, target, name, value);
}

u16 regs_load(struct vp *vp, enum vtl target, u32 name, const struct hv_register_value *value)
{
	struct kvm_sregs *s = sregs_of(vp, target);
	struct kvm_segment *seg;
	__u64 *ctl;
	u32 msr;

	if (name >= HV_REG_RAX && name <= HV_REG_R15) {
		*regs_gpr(regs_of(vp, target), name - HV_REG_RAX) = value->low;
		regs_dirty(vp, target, KVM_SYNC_X86_REGS);
		return HV_STATUS_SUCCESS;
	}
	seg = segment(s, name);
	if (seg) {
		struct hv_segment h;

		memcpy(&h, value, sizeof(h));
		segment_to_kvm(seg, &h);
		regs_dirty(vp, target, KVM_SYNC_X86_SREGS);
		return HV_STATUS_SUCCESS;
	}
	ctl = control(s, name);
	if (ctl) {
		*ctl = value->low;
		regs_dirty(vp, target, KVM_SYNC_X86_SREGS);
		return HV_STATUS_SUCCESS;
	}
	if (name == HV_REG_GDTR || name == HV_REG_IDTR) {
		struct kvm_dtable *d = name == HV_REG_GDTR ? &s->gdt : &s->idt;
		struct hv_table h;

		memcpy(&h, value, sizeof(h));
		d->base = h.base;
		d->limit = h.limit;
		regs_dirty(vp, target, KVM_SYNC_X86_SREGS);
		return HV_STATUS_SUCCESS;
	}
	msr = msr_of(name);
	if (msr)
		return set_msr(vp, target, msr, value->low);
	switch (name) {
	case HV_REG_RIP:
		regs_of(vp, target)->rip = value->low;
		regs_dirty(vp, target, KVM_SYNC_X86_REGS);
		return HV_STATUS_SUCCESS;
	case HV_REG_RFLAGS:
		regs_of(vp, target)->rflags = value->low;
		regs_dirty(vp, target, KVM_SYNC_X86_REGS);
		return HV_STATUS_SUCCESS;
	case HV_REG_INTERNAL_ACTIVITY_STATE: {
		struct kvm_mp_state mp = {.mp_state = value->low & HV_ACTIVITY_STARTUP_SUSPEND
							      ? KVM_MP_STATE_UNINITIALIZED
						      : value->low & HV_ACTIVITY_HALT_SUSPEND
							      ? KVM_MP_STATE_HALTED
							      : KVM_MP_STATE_RUNNABLE};

		return ioctl(vp->vtl[target].fd, KVM_SET_MP_STATE, &mp)
			       ? HV_STATUS_INVALID_PARAMETER
			       : HV_STATUS_SUCCESS;
	}
	case HV_REG_PENDING_EVENT0:
		vp->pending_event[0] = value->low;
		vp->pending_event[1] = value->high;
		return HV_STATUS_SUCCESS;
	case HV_REG_PENDING_EVENT1:
	case HV_REG_PENDING_INTERRUPTION:
	case HV_REG_INTERRUPT_STATE:
	case HV_REG_XFEM: return HV_STATUS_SUCCESS;
	case HV_REG_DELIVERABILITY_NOTIFICATIONS:
		if (value->low & HV_DELIVERABLE_NMI)
			return HV_STATUS_INVALID_PARAMETER; /* nothing here would deliver it */
		vp->deliverable_wanted = value->low;
		return HV_STATUS_SUCCESS;
	default:
		if (name >= HV_REG_XMM0 && name <= HV_REG_XMM15) {
			struct kvm_xsave x;

			if (ioctl(vp->vtl[target].fd, KVM_GET_XSAVE, &x))
				return HV_STATUS_INVALID_PARAMETER;
			memcpy((u8 *)x.region + 160 + 16 * (name - HV_REG_XMM0), value, 16);
			((u8 *)x.region)[512] |= 3;
			return ioctl(vp->vtl[target].fd, KVM_SET_XSAVE, &x)
				       ? HV_STATUS_INVALID_PARAMETER
				       : HV_STATUS_SUCCESS;
		}
		if (name >= HV_REG_DR0 && name <= HV_REG_DR7) {
			struct kvm_debugregs d;

			if (ioctl(vp->vtl[target].fd, KVM_GET_DEBUGREGS, &d))
				return HV_STATUS_INVALID_PARAMETER;
			if (name == HV_REG_DR6)
				d.dr6 = value->low;
			else if (name == HV_REG_DR7)
				d.dr7 = value->low;
			else
				d.db[name - HV_REG_DR0] = value->low;
			return ioctl(vp->vtl[target].fd, KVM_SET_DEBUGREGS, &d)
				       ? HV_STATUS_INVALID_PARAMETER
				       : HV_STATUS_SUCCESS;
		}
		log_debug("VP %u: unknown register %#x written", vp->index, name);
		return HV_STATUS_INVALID_PARAMETER;
	}
}

void regs_load_context(struct vp *vp, enum vtl vtl, const struct hv_vp_context *c)
{
	struct kvm_regs *r = regs_of(vp, vtl);
	struct kvm_sregs *s = sregs_of(vp, vtl);
	struct kvm_mp_state mp = {.mp_state = KVM_MP_STATE_RUNNABLE};

	r->rip = c->rip;
	r->rsp = c->rsp;
	r->rflags = c->rflags;
	segment_to_kvm(&s->cs, &c->cs);
	segment_to_kvm(&s->ds, &c->ds);
	segment_to_kvm(&s->es, &c->es);
	segment_to_kvm(&s->fs, &c->fs);
	segment_to_kvm(&s->gs, &c->gs);
	segment_to_kvm(&s->ss, &c->ss);
	segment_to_kvm(&s->tr, &c->tr);
	segment_to_kvm(&s->ldt, &c->ldtr);
	s->idt.base = c->idtr.base;
	s->idt.limit = c->idtr.limit;
	s->gdt.base = c->gdtr.base;
	s->gdt.limit = c->gdtr.limit;
	s->efer = c->efer;
	s->cr0 = c->cr0;
	s->cr3 = c->cr3;
	s->cr4 = c->cr4;
	set_msr(vp, vtl, 0x277, c->pat);
	ioctl(vp->vtl[vtl].fd, KVM_SET_MP_STATE, &mp);
	regs_dirty(vp, vtl, KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS);
}

void regs_format(const struct vp *vp, enum vtl vtl, char *text, size_t len)
{
	const struct kvm_regs *r = &vp->vtl[vtl].run->s.regs.regs;
	const struct kvm_sregs *s = &vp->vtl[vtl].run->s.regs.sregs;

	snprintf(text, len,
		 "VP %u VTL %d\n"
		 "  rax %016llx rbx %016llx rcx %016llx rdx %016llx\n"
		 "  rsi %016llx rdi %016llx rbp %016llx rsp %016llx\n"
		 "  r8  %016llx r9  %016llx r10 %016llx r11 %016llx\n"
		 "  r12 %016llx r13 %016llx r14 %016llx r15 %016llx\n"
		 "  rip %016llx rflags %llx cs %x base %llx\n"
		 "  cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx",
		 vp->index, VTL_NUMBER(vtl), r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi, r->rbp,
		 r->rsp, r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15, r->rip,
		 r->rflags, s->cs.selector, s->cs.base, s->cr0, s->cr2, s->cr3, s->cr4, s->efer);
}

int regs_fetch_sregs(struct vp *vp, enum vtl vtl)
{
	if (vp->vtl[vtl].run->kvm_dirty_regs & KVM_SYNC_X86_SREGS)
		return 0;
	return ioctl(vp->vtl[vtl].fd, KVM_GET_SREGS, sregs_of(vp, vtl));
}

int regs_fetch(struct vp *vp, enum vtl vtl)
{
	return ioctl(vp->vtl[vtl].fd, KVM_GET_REGS, regs_of(vp, vtl)) ||
	       ioctl(vp->vtl[vtl].fd, KVM_GET_SREGS, sregs_of(vp, vtl));
}
