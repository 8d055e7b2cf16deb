#include "host/vtl_switch.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/log.h"
#include "host/cpuid.h"
#include "host/intercept.h"
#include "host/regs.h"
#include "host/synic.h"

/* Where x87 and SSE state ends in an XSAVE image: what the VTLs share */
#define FXSAVE_USED   416
#define XSAVE_BV_BYTE 512

/*
 * The TLFS shares general registers, CR2, x87 and SSE registers between VTLs. For port, MSR and EOI
 * intercepts, which come by the thousand and carry in their message all that they need, this host
 * moves the general registers only: VTL2 finds its own last CR2 and x87/SSE state there, and what
 * it leaves in them does not reach VTL0. All other entries share everything.
 */

/* Brings x87 and SSE registers of `from` to `to` if they differ. */
static void share_fpu(struct vp *vp, enum vtl from, enum vtl to)
{
	struct kvm_xsave *f = vp->vtl[from].fpu, *t = vp->vtl[to].fpu;
	bool known = to == VTL0 || !vp->vtl2_fpu_unknown;

	if (ioctl(vp->vtl[from].fd, KVM_GET_XSAVE, f))
		return;
	if (known && !memcmp(f->region, t->region, FXSAVE_USED))
		return;
	if (to == VTL0) /* keep its AVX state */
		ioctl(vp->vtl[to].fd, KVM_GET_XSAVE, t);
	else
		vp->vtl2_fpu_unknown = false;
	memcpy(t->region, f->region, FXSAVE_USED);
	((u8 *)t->region)[XSAVE_BV_BYTE] |= 3;
	if (ioctl(vp->vtl[to].fd, KVM_SET_XSAVE, t))
		log_debug("KVM_SET_XSAVE: %s", strerror(errno));
}

static void share_cr2(struct vp *vp, enum vtl from, enum vtl to)
{
	if (regs_fetch_sregs(vp, VTL2))
		return;
	if (sregs_of(vp, from)->cr2 == sregs_of(vp, to)->cr2)
		return;
	sregs_of(vp, to)->cr2 = sregs_of(vp, from)->cr2;
	regs_dirty(vp, to, KVM_SYNC_X86_SREGS);
}

/* All general registers but RSP. */
static void share_gprs(struct vp *vp, enum vtl from, enum vtl to)
{
	struct kvm_regs *f = regs_of(vp, from), *t = regs_of(vp, to);
	struct kvm_regs private = *t;

	*t = *f;
	t->rsp = private.rsp;
	t->rip = private.rip;
	t->rflags = private.rflags;
	regs_dirty(vp, to, KVM_SYNC_X86_REGS);
}

static void share_registers(struct vp *vp, enum vtl from, enum vtl to, bool all)
{
	share_gprs(vp, from, to);
	if (all) {
		share_cr2(vp, from, to);
		share_fpu(vp, from, to);
	}
}

static struct hv_vp_assist *assist_page(struct vp *vp)
{
	u64 reg = vp->vtl[VTL2].assist;

	return reg & HV_PAGE_ENABLE ? memory_at(&vp->vm->mem, reg & HV_PAGE_GPA_MASK, PAGE_SIZE)
				    : NULL;
}

static void switch_to_vtl2(struct vp *vp, enum hv_vtl_entry_reason reason, bool share_all)
{
	struct hv_vp_assist *assist = assist_page(vp);

	if (assist)
		assist->entry_reason = reason;
	vp->shared_all = share_all;
	if (!share_all)
		vp->vtl2_fpu_unknown = true;
	share_registers(vp, VTL0, VTL2, share_all);
	if (reason == HV_VTL_ENTRY_INTERCEPT) {
		vp->stats.count[COUNT_VTL2_ENTRY_INTERCEPT]++;
		register_page_fill(vp);
	} else {
		vp->stats.count[COUNT_VTL2_ENTRY_INTERRUPT]++;
	}
	atomic_store(&vp->active, VTL2);
}

void vtl_enter_interrupt(struct vp *vp)
{
	switch_to_vtl2(vp, HV_VTL_ENTRY_INTERRUPT, true);
}

void vtl_enter_intercept(struct vp *vp, const struct hv_message *m)
{
	bool share_all = m->type != HV_MSG_X64_IO_PORT && m->type != HV_MSG_X64_MSR &&
			 m->type != HV_MSG_X64_APIC_EOI;
	struct hv_vp_assist *assist = assist_page(vp);

	if (vp->vm->vsm_config & HV_VSM_CONFIG_INTERCEPT_PAGE && assist) {
		assist->intercept = *m;
		switch_to_vtl2(vp, HV_VTL_ENTRY_INTERCEPT, share_all);
	} else {
		/* SynIC delivery: slot and interrupt of SINT 0, seen as an interrupt entry. */
		switch_to_vtl2(vp, HV_VTL_ENTRY_INTERRUPT, share_all);
		if (synic_post(vp, VTL2, 0, m, false))
			vm_end(vp->vm, VM_PARAVISOR_FAILED,
			       "VTL2 has neither an intercept page nor SINT 0 for intercept %#x",
			       m->type);
	}
}

bool vtl_interrupt_pending(struct vp *vp)
{
	struct kvm_lapic_state lapic;

	if (!atomic_exchange(&vp->vtl[VTL2].irq_hint, false))
		return false;
	if (ioctl(vp->vtl[VTL2].fd, KVM_GET_LAPIC, &lapic))
		return false;
	for (int i = 0; i < 8; i++)
		if (*(u32 *)(lapic.regs + 0x200 + 0x10 * i)) /* IRR */
			return true;
	return false;
}

static u64 get_action_type(const u8 *action)
{
	u64 type;

	memcpy(&type, action, sizeof(type));
	return type;
}

static void run_return_actions(struct vp *vp, struct hv_vp_assist *assist)
{
	u8 actions[sizeof(assist->return_actions)];

	if (!get_action_type(assist->return_actions))
		return;
	memcpy(actions, assist->return_actions, sizeof(actions));
	memset(assist->return_actions, 0, sizeof(assist->return_actions));
	for (unsigned i = 0; i + 16 <= sizeof(actions) && get_action_type(actions + i) == 1;
	     i += 16) {
		u32 index;
		u16 flag;
		bool newly;

		memcpy(&index, actions + i + 8, sizeof(index));
		memcpy(&flag, actions + i + 14, sizeof(flag));
		if (index == HV_VP_INDEX_SELF)
			index = vp->index;
		if (index < vp->vm->vps && actions[i + 13] && actions[i + 13] < HV_SINT_COUNT &&
		    !(actions[i + 12] & 0xf))
			synic_signal(&vp->vm->vp[index], VTL0, actions[i + 13], flag, &newly);
	}
}

static void apply_pending_event(struct vp *vp)
{
	u64 e = vp->pending_event[0];

	vp->pending_event[0] = 0;
	if (HV_EVENT_TYPE(e) == HV_EVENT_TYPE(HV_EVENT_EXCEPTION)) {
		struct kvm_vcpu_events ev;
		u8 vector = (u8)(e >> 16);

		if (ioctl(vp->vtl[VTL0].fd, KVM_GET_VCPU_EVENTS, &ev) || vector > 31)
			return;
		ev.exception.injected = 1;
		ev.exception.pending = 0;
		ev.exception.nr = vector;
		ev.exception.has_error_code = e >> 8 & 1;
		ev.exception.error_code = (u32)(e >> 32);
		ev.flags = 0;
		if (vector == 14) {
			sregs_of(vp, VTL0)->cr2 = vp->pending_event[1];
			regs_dirty(vp, VTL0, KVM_SYNC_X86_SREGS);
		}
		if (ioctl(vp->vtl[VTL0].fd, KVM_SET_VCPU_EVENTS, &ev))
			log_debug("VP %u: exception %u refused: %s", vp->index, vector,
				  strerror(errno));
	} else if (HV_EVENT_TYPE(e) == HV_EVENT_TYPE(HV_EVENT_EXT_INTERRUPT)) {
		struct kvm_interrupt irq = {.irq = (u8)(e >> 8)};

		if (ioctl(vp->vtl[VTL0].fd, KVM_INTERRUPT, &irq))
			log_debug("VP %u: external interrupt %u refused: %s", vp->index, irq.irq,
				  strerror(errno));
	}
}

u8 vtl_abandon_exit(struct vp *vp)
{
	struct vtl_vp *v = &vp->vtl[VTL0];
	struct kvm_regs saved = *regs_of(vp, VTL0);
	u64 length;

	v->run->immediate_exit = 1;
	ioctl(v->fd, KVM_RUN, 0);
	length = regs_of(vp, VTL0)->rip - saved.rip;
	*regs_of(vp, VTL0) = saved;
	regs_dirty(vp, VTL0, KVM_SYNC_X86_REGS);
	return length <= 15 ? (u8)length : 0;
}

static bool string_io_return(struct vp *vp);

void vtl_return(struct vp *vp)
{
	struct kvm_regs *r2 = regs_of(vp, VTL2);
	struct hv_vp_assist *assist = assist_page(vp);

	vp->stats.count[COUNT_VTL_RETURN]++;
	if (!(r2->rcx & 1) && assist) {
		r2->rax = assist->rax;
		r2->rcx = assist->rcx;
	}
	if (assist)
		run_return_actions(vp, assist);
	if (!vp->vtl0_ran) {
		struct vm *vm = vp->vm;

		vp->vtl0_ran = true;
		pthread_mutex_lock(&vm->lock);
		vm->vtl0_cpuid_fixed = true;
		pthread_mutex_unlock(&vm->lock);
		if (vm->vtl0_cpuid && cpuid_set(vp, VTL0))
			vm_end(vm, VM_HOST_FAILED, "VTL0's CPUID table was refused");
		timeline_mark(vm->timeline, MARK_VTL0_ENTRY);
	}
	if (vp->string_io.active && string_io_return(vp))
		return; /* straight back with the next element */
	if (!vp->string_io.active) {
		share_registers(vp, VTL2, VTL0, vp->shared_all);
		register_page_apply(vp);
		if (vp->io_exit && regs_of(vp, VTL0)->rip == vp->io_exit_rip)
			vtl_abandon_exit(vp); /* VTL2 wants the instruction again */
		vp->io_exit = false;
	}
	vp->string_io.active = false;
	register_page_invalidate(vp);
	if (vp->pending_event[0] & HV_EVENT_PENDING)
		apply_pending_event(vp);
	atomic_store(&vp->active, VTL0);
}

/* ---- string port access: VTL2 sees one plain access for each element ---- */

static u64 string_element(const struct vp *vp)
{
	const struct kvm_run *run = vp->vtl[VTL0].run;
	const u8 *data = (const u8 *)run + run->io.data_offset + vp->string_io.done * run->io.size;
	u64 v = 0;

	memcpy(&v, data, run->io.size);
	return v;
}

static void string_io_next(struct vp *vp)
{
	struct kvm_run *run = vp->vtl[VTL0].run;
	bool in = run->io.direction == KVM_EXIT_IO_IN;
	struct hv_message m;

	if (!in)
		regs_of(vp, VTL0)->rax = string_element(vp);
	intercept_io(vp, &m, run->io.port, run->io.size, in, 0, regs_of(vp, VTL0)->rax);
	vtl_enter_intercept(vp, &m);
}

void vtl_enter_string_io(struct vp *vp)
{
	vp->string_io.active = true;
	vp->string_io.done = 0;
	vp->string_io.saved = *regs_of(vp, VTL0);
	string_io_next(vp);
}

/* Returns true when VTL2 was entered again for the next element. */
static bool string_io_return(struct vp *vp)
{
	struct kvm_run *run = vp->vtl[VTL0].run;
	u8 *data = (u8 *)run + run->io.data_offset + vp->string_io.done * run->io.size;

	if (run->io.direction == KVM_EXIT_IO_IN)
		memcpy(data, &regs_of(vp, VTL2)->rax, run->io.size);
	vp->string_io.done++;
	if (vp->string_io.done < run->io.count) {
		string_io_next(vp);
		return true;
	}
	/* KVM's own copy is untouched and goes on from there. */
	*regs_of(vp, VTL0) = vp->string_io.saved;
	vp->vtl[VTL0].run->kvm_dirty_regs &= ~(u64)KVM_SYNC_X86_REGS;
	return false;
}
