#include "host/vp.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include "common/log.h"
#include "host/cpuid.h"
#include "host/hypercall.h"
#include "host/intercept.h"
#include "host/msr.h"
#include "host/regs.h"
#include "host/synic.h"
#include "host/uart.h"

#define SIG_KICK  SIGUSR1
#define SIG_TIMER SIGRTMIN

/* Where x87 and SSE state ends in an XSAVE image: what the VTLs share */
#define FXSAVE_USED   416
#define XSAVE_BV_BYTE 512

static __thread struct vp *current;

static void on_signal(int sig)
{
	struct vp *vp = current;

	if (!vp)
		return;
	if (sig == SIG_TIMER)
		vp->timer_armed_for = 0; /* may have come early: arm again whatever is next */
	vp->vtl[VTL0].run->immediate_exit = 1;
	vp->vtl[VTL2].run->immediate_exit = 1;
}

void vp_install_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIG_KICK, &sa, NULL);
	sigaction(SIG_TIMER, &sa, NULL);
}

static int create_vcpu(struct vp *vp, enum vtl vtl)
{
	struct vm *vm = vp->vm;
	struct vtl_vp *v = &vp->vtl[vtl];
	u64 offset = 0 - vm->tsc_start;
	struct kvm_device_attr attr = {.group = KVM_VCPU_TSC_CTRL,
				       .attr = KVM_VCPU_TSC_OFFSET,
				       .addr = (u64)(uintptr_t)&offset};
	/* KVM's own paravirtual MSRs and hypercalls: in no CPUID leaf, so they must not exist. */
	struct kvm_enable_cap enforce = {.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = {1}};
	struct kvm_xsave *fpu;

	v->fd = ioctl(vm->vm_fd[vtl], KVM_CREATE_VCPU, (unsigned long)vp->apic_id);
	if (v->fd < 0) {
		log_error("KVM_CREATE_VCPU %u: %s", vp->apic_id, strerror(errno));
		return -1;
	}
	v->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		log_error("cannot map a vCPU: %s", strerror(errno));
		return -1;
	}
	/*
	 * KVM may remember a TSC frequency from before its host refined it; setting 0 makes the
	 * vCPU take the present one. Both VTLs count from the same moment.
	 */
	ioctl(v->fd, KVM_SET_TSC_KHZ, 0);
	if (ioctl(v->fd, KVM_SET_DEVICE_ATTR, &attr)) {
		log_error("KVM_VCPU_TSC_OFFSET: %s (needs Linux 5.16)", strerror(errno));
		return -1;
	}
	if (ioctl(v->fd, KVM_ENABLE_CAP, &enforce)) {
		log_error("KVM_CAP_ENFORCE_PV_FEATURE_CPUID: %s (needs Linux 5.10)",
			  strerror(errno));
		return -1;
	}
	fpu = calloc(1, sizeof(*fpu));
	v->fpu = fpu;
	if (!fpu || ioctl(v->fd, KVM_GET_XSAVE, fpu)) {
		log_error("KVM_GET_XSAVE: %s", strerror(errno));
		return -1;
	}
	if (cpuid_set(vp, vtl) || regs_fetch(vp, vtl))
		return -1;
	/* VTL2's control registers are rarely looked at: regs_fetch_sregs() */
	v->run->kvm_valid_regs = vtl == VTL0 ? KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS
					     : KVM_SYNC_X86_REGS;
	synic_reset(&v->synic);
	return 0;
}

int vp_create(struct vm *vm, unsigned index)
{
	struct vp *vp = &vm->vp[index];

	vp->vm = vm;
	vp->index = index;
	vp->apic_id = index;
	vp->timer_armed_for = ~0ull;
	pthread_mutex_init(&vp->lock, NULL);
	vp->vtl[VTL0].fd = vp->vtl[VTL2].fd = -1;
	atomic_store(&vp->active, index == 0 ? VTL2 : VTL0);
	atomic_store(&vp->vtl2_enabled, index == 0);
	atomic_store(&vp->started, index == 0);
	for (enum vtl vtl = VTL0; vtl < VTLS; vtl++)
		if (create_vcpu(vp, vtl))
			return -1;
	return 0;
}

void vp_destroy(struct vp *vp)
{
	for (enum vtl vtl = VTL0; vtl < VTLS; vtl++) {
		struct vtl_vp *v = &vp->vtl[vtl];

		synic_destroy(&v->synic);
		if (v->run)
			munmap(v->run, vp->vm->run_size);
		if (v->fd >= 0)
			close(v->fd);
		free(v->fpu);
		memset(v, 0, sizeof(*v));
		v->fd = -1;
	}
	pthread_mutex_destroy(&vp->lock);
}

/* ---- VTL switch ---- */

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

static void enter_vtl2_intercept(struct vp *vp, const struct hv_message *m)
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

/* True when VTL2's local APIC has an interrupt waiting. */
static bool vtl2_interrupt_pending(struct vp *vp)
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

/*
 * KVM completes what it exited for at the next KVM_RUN. Where VTL2 decides otherwise, the
 * completion runs now without entering the guest, and its effect on the registers is undone.
 * Returns the length of the instruction.
 */
static u8 abandon_exit(struct vp *vp)
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

static void return_to_vtl0(struct vp *vp)
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
			abandon_exit(vp); /* VTL2 wants the instruction again */
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
	enter_vtl2_intercept(vp, &m);
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

/* ---- exits ---- */

/*
 * Is RIP in the hypercall page? The translation is asked for once: who maps something else at the
 * address where its kernel makes hypercalls has only itself to blame.
 */
static bool in_hypercall_page(struct vp *vp, enum vtl vtl)
{
	struct vtl_vp *v = &vp->vtl[vtl];
	u64 msr = vp->vm->hypercall[vtl], at = ALIGN_DOWN(regs_of(vp, vtl)->rip, PAGE_SIZE);
	struct kvm_translation tr = {.linear_address = at};

	if (!(msr & HV_PAGE_ENABLE))
		return false;
	if (v->hypercall_msr == msr && v->hypercall_at == at)
		return true;
	if (ioctl(v->fd, KVM_TRANSLATE, &tr) || !tr.valid ||
	    ALIGN_DOWN(tr.physical_address, PAGE_SIZE) != (msr & HV_PAGE_GPA_MASK))
		return false;
	v->hypercall_msr = msr;
	v->hypercall_at = at;
	return true;
}

static bool at_hypercall(struct vp *vp, enum vtl vtl, u64 offset)
{
	if ((regs_of(vp, vtl)->rip & (PAGE_SIZE - 1)) != offset || !in_hypercall_page(vp, vtl))
		return false;
	/* VTL2's user space has no port access: this is its kernel, in 64-bit mode. */
	return vtl == VTL2 || (sregs_of(vp, vtl)->ss.dpl == 0 && sregs_of(vp, vtl)->efer & BIT(10));
}

static void inject_ud(struct vp *vp, enum vtl vtl)
{
	struct kvm_vcpu_events ev;

	if (ioctl(vp->vtl[vtl].fd, KVM_GET_VCPU_EVENTS, &ev))
		return;
	ev.exception.injected = 1;
	ev.exception.nr = 6;
	ev.exception.has_error_code = 0;
	ev.flags = 0;
	ioctl(vp->vtl[vtl].fd, KVM_SET_VCPU_EVENTS, &ev);
}

static void exit_io_vtl2(struct vp *vp)
{
	struct kvm_run *run = vp->vtl[VTL2].run;
	u8 *data = (u8 *)run + run->io.data_offset;

	if (run->io.direction == KVM_EXIT_IO_OUT) {
		if (run->io.port == HYPERCALL_PORT && at_hypercall(vp, VTL2, 0)) {
			hypercall_run(vp, VTL2);
			return;
		}
		if (run->io.port == VTL_RETURN_PORT &&
		    at_hypercall(vp, VTL2, HYPERCALL_PAGE_VTL_RETURN)) {
			return_to_vtl0(vp);
			return;
		}
	}
	vp->stats.count[COUNT_VTL2_IO]++;
	for (u32 i = 0; i < run->io.count; i++, data += run->io.size)
		uart_port_access(vp->vm, run->io.port, data, run->io.size,
				 run->io.direction == KVM_EXIT_IO_OUT);
}

static void exit_io_vtl0(struct vp *vp)
{
	struct kvm_run *run = vp->vtl[VTL0].run;
	bool in = run->io.direction == KVM_EXIT_IO_IN, string;
	u16 port = run->io.port;
	struct hv_message m;
	u8 length;

	if (!in && port == HYPERCALL_PORT && at_hypercall(vp, VTL0, 0)) {
		if (hypercall_run(vp, VTL0) == HYPERCALL_DONE)
			return;
		vp->stats.count[COUNT_HYPERCALL_INTERCEPT]++;
		intercept_hypercall(vp, &m);
		vp->io_exit = true;
		vp->io_exit_rip = regs_of(vp, VTL0)->rip;
		enter_vtl2_intercept(vp, &m);
		return;
	}
	if (!in && port == VTL_CALL_PORT && at_hypercall(vp, VTL0, HYPERCALL_PAGE_VTL_CALL)) {
		/* The guest has no VSM: as without the feature. */
		abandon_exit(vp);
		inject_ud(vp, VTL0);
		return;
	}
	if (!(vp->vm->io_intercept[port / 64][!in] & BIT(port % 64))) {
		if (in)
			memset((u8 *)run + run->io.data_offset, 0xff, run->io.size * run->io.count);
		return;
	}
	vp->stats.count[COUNT_IO_INTERCEPT]++;
	length = intercept_io_length(vp, &string);
	if (string || run->io.count != 1 || !length) {
		vp->string_io.active = true;
		vp->string_io.done = 0;
		vp->string_io.saved = *regs_of(vp, VTL0);
		string_io_next(vp);
		return;
	}
	vp->io_exit = true;
	vp->io_exit_rip = regs_of(vp, VTL0)->rip;
	intercept_io(vp, &m, port, run->io.size, in, length, regs_of(vp, VTL0)->rax);
	enter_vtl2_intercept(vp, &m);
}

static void exit_msr(struct vp *vp, enum vtl vtl)
{
	struct kvm_run *run = vp->vtl[vtl].run;
	bool write = run->exit_reason == KVM_EXIT_X86_WRMSR;
	u32 index = run->msr.index;
	u64 value = run->msr.data;
	struct hv_message m;
	int r;

	vp->stats.count[vtl == VTL0 ? COUNT_MSR_VTL0 : COUNT_MSR_VTL2]++;
	run->msr.error = 0;
	if (write) {
		r = msr_hyperv_write(vp, vtl, index, value);
	} else {
		r = msr_hyperv_read(vp, vtl, index, &value);
		run->msr.data = value;
	}
	if (r == 0)
		return;
	if (r > 0 && vtl == VTL0 && vp->vm->msr_intercept) {
		u8 length;

		run->msr.data = 0;
		vp->stats.count[COUNT_MSR_INTERCEPT]++;
		length = abandon_exit(vp);
		intercept_msr(vp, &m, index, write, value, length);
		enter_vtl2_intercept(vp, &m);
		return;
	}
	if (r > 0)
		log_debug("VP %u VTL %d: unknown MSR %#x %s", vp->index, VTL_NUMBER(vtl), index,
			  write ? "written" : "read");
	run->msr.error = 1;
}

static void unrecoverable(struct vp *vp, const char *what)
{
	struct hv_message m;

	if (vp->vm->vsm_config & HV_VSM_CONFIG_INTERCEPT_UNRECOVERABLE) {
		vp->stats.count[COUNT_OTHER_INTERCEPT]++;
		intercept_unrecoverable(vp, &m);
		enter_vtl2_intercept(vp, &m);
	} else {
		char regs[1024];

		regs_format(vp, VTL0, regs, sizeof(regs));
		vm_end(vp->vm, VM_TRIPLE_FAULT, "guest %s\n%s", what, regs);
	}
}

/* Did KVM stop while it delivered an exception or interrupt? */
static bool delivers_event(const struct vp *vp)
{
	struct kvm_vcpu_events ev;

	return !ioctl(vp->vtl[VTL0].fd, KVM_GET_VCPU_EVENTS, &ev) &&
	       (ev.exception.injected || ev.interrupt.injected || ev.nmi.injected);
}

static void exit_fault(struct vp *vp, enum vtl vtl)
{
	u64 rip = regs_of(vp, VTL0)->rip;
	struct hv_message m;
	char regs[1024];
	int r;

	if (vtl == VTL2) {
		regs_fetch_sregs(vp, VTL2);
		regs_format(vp, VTL2, regs, sizeof(regs));
		vm_end(vp->vm, VM_HOST_FAILED,
		       "VTL2 memory access failed (out of host memory?)\n%s", regs);
		return;
	}
	/* The handler's tables or stack are what is missing: VTL2 could only inject once more. */
	if (rip == vp->fault_rip && delivers_event(vp))
		r = 1;
	else
		r = intercept_memory(vp, &m);
	vp->fault_rip = rip;
	if (r == 0) {
		vp->faults_in_place = 0;
		vp->stats.count[COUNT_MMIO_INTERCEPT]++;
		enter_vtl2_intercept(vp, &m);
		return;
	}
	/* Delivery of an event or a table walk that ends outside memory never gets anywhere. */
	if (r < 0 || ++vp->faults_in_place > 64) {
		vp->faults_in_place = 0;
		unrecoverable(vp, "accessed memory that does not exist in a way that cannot be "
				  "completed");
	}
}

static void exit_shutdown(struct vp *vp, enum vtl vtl)
{
	char regs[1024];

	if (vtl == VTL0) {
		/*
		 * On SVM the processor state is undefined after a shutdown and KVM resets the vCPU:
		 * what can be reported is the state at the last entry.
		 */
		if (regs_of(vp, VTL0)->rip == 0xfff0) {
			*regs_of(vp, VTL0) = vp->entry_regs;
			*sregs_of(vp, VTL0) = vp->entry_sregs;
		}
		unrecoverable(vp, "triple fault");
		return;
	}
	regs_fetch_sregs(vp, VTL2);
	regs_format(vp, VTL2, regs, sizeof(regs));
	vm_end(vp->vm, VM_PARAVISOR_FAILED, "VTL2 ended with a triple fault\n%s", regs);
}

static void exit_mmio(struct vp *vp, enum vtl vtl)
{
	struct kvm_run *run = vp->vtl[vtl].run;

	/* Beyond what slots cover, or an access of KVM's own emulator: nothing is there. */
	if (!run->mmio.is_write)
		memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
	log_debug("VP %u VTL %d: access to %#llx", vp->index, VTL_NUMBER(vtl),
		  (unsigned long long)run->mmio.phys_addr);
}

static void handle_exit(struct vp *vp, enum vtl vtl)
{
	struct kvm_run *run = vp->vtl[vtl].run;
	struct hv_message m;
	char regs[1024];

	vp->stats.count[vtl == VTL0 ? COUNT_EXIT_VTL0 : COUNT_EXIT_VTL2]++;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (vtl == VTL2)
			exit_io_vtl2(vp);
		else
			exit_io_vtl0(vp);
		break;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR: exit_msr(vp, vtl); break;
	case KVM_EXIT_MMIO: exit_mmio(vp, vtl); break;
	case KVM_EXIT_IOAPIC_EOI:
		if (vtl == VTL0 && vp->vm->eoi_intercept) {
			vp->stats.count[COUNT_EOI_INTERCEPT]++;
			intercept_eoi(vp, &m, run->eoi.vector);
			enter_vtl2_intercept(vp, &m);
		}
		break;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		if (vtl == VTL0 && vp->deliverable_wanted & HV_DELIVERABLE_INTERRUPT) {
			vp->deliverable_wanted &= ~HV_DELIVERABLE_INTERRUPT;
			vp->stats.count[COUNT_OTHER_INTERCEPT]++;
			intercept_deliverable(vp, &m);
			enter_vtl2_intercept(vp, &m);
		}
		break;
	case KVM_EXIT_SHUTDOWN: exit_shutdown(vp, vtl); break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_HLT: break;
	case KVM_EXIT_SYSTEM_EVENT:
	case KVM_EXIT_INTERNAL_ERROR:
		if (vtl == VTL0 && run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
			unrecoverable(vp, "executed an instruction that KVM cannot emulate");
			break;
		}
		/* fall through */
	default:
		regs_fetch_sregs(vp, vtl);
		regs_format(vp, vtl, regs, sizeof(regs));
		vm_end(vp->vm, VM_HOST_FAILED, "KVM exit %u (suberror %u)\n%s", run->exit_reason,
		       run->exit_reason == KVM_EXIT_INTERNAL_ERROR ? run->internal.suberror : 0,
		       regs);
	}
}

static void handle_requests(struct vp *vp)
{
	unsigned requests = atomic_exchange(&vp->requests, 0);
	struct vm *vm = vp->vm;

	if (requests & VP_REQUEST_START) {
		for (enum vtl vtl = VTL0; vtl < VTLS; vtl++) {
			struct hv_vp_context context;
			bool pending;

			pthread_mutex_lock(&vm->lock);
			pending = vp->start_pending[vtl];
			context = vp->start_context[vtl];
			pthread_mutex_unlock(&vm->lock);
			if (!pending)
				continue;
			regs_load_context(vp, vtl, &context);
			/* Only now: no second start may come between. */
			pthread_mutex_lock(&vm->lock);
			vp->start_pending[vtl] = false;
			pthread_mutex_unlock(&vm->lock);
			if (vtl == VTL2) {
				atomic_store(&vp->active, VTL2);
				vp->vtl2_up = true;
			}
		}
	}
}

static void run_once(struct vp *vp)
{
	enum vtl vtl = atomic_load(&vp->active);
	struct vtl_vp *v = &vp->vtl[vtl];
	char regs[1024];
	u64 entered;

	if (vtl == VTL0) {
		v->run->request_interrupt_window = (vp->deliverable_wanted &
						    HV_DELIVERABLE_INTERRUPT) != 0;
		vp->entry_regs = *regs_of(vp, VTL0);
		vp->entry_sregs = *sregs_of(vp, VTL0);
	}
	entered = __rdtsc();
	if (!ioctl(v->fd, KVM_RUN, 0)) {
		handle_exit(vp, vtl);
		return;
	}
	switch (errno) {
	case EINTR:
		if (vp->timer_armed_for == 0)
			stimer_interrupted(vp, (__rdtsc() - entered) / (vp->vm->tsc_hz / 10000000));
		break;
	case EAGAIN: break;
	case EFAULT:
		vp->stats.count[vtl == VTL0 ? COUNT_EXIT_VTL0 : COUNT_EXIT_VTL2]++;
		exit_fault(vp, vtl);
		break;
	case EINVAL:
		if (vtl == VTL0) { /* the guest may choose it: HvCallStartVirtualProcessor */
			unrecoverable(vp, "has a register state that no processor takes");
			break;
		}
		regs_fetch_sregs(vp, vtl);
		regs_format(vp, vtl, regs, sizeof(regs));
		vm_end(vp->vm, VM_HOST_FAILED, "KVM refuses the register state of VTL 2\n%s", regs);
		break;
	default: vm_end(vp->vm, VM_HOST_FAILED, "KVM_RUN: %s", strerror(errno));
	}
}

void *vp_thread(void *arg)
{
	struct vp *vp = arg;
	struct sigevent sev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIG_TIMER};

	current = vp;
	vp->tid = (pid_t)syscall(SYS_gettid);
	sev._sigev_un._tid = vp->tid;
	if (timer_create(CLOCK_MONOTONIC, &sev, &vp->timer)) {
		vm_end(vp->vm, VM_HOST_FAILED, "timer_create: %s", strerror(errno));
		return NULL;
	}
	vp->timer_created = true;
	vp->vtl2_up = vp->index == 0;
	if (vp->index == 0)
		timeline_mark(vp->vm->timeline, MARK_VTL2_ENTRY);
	while (!atomic_load(&vp->vm->stop)) {
		vp->vtl[VTL0].run->immediate_exit = 0;
		vp->vtl[VTL2].run->immediate_exit = 0;
		/* A kick after this point makes the next KVM_RUN return at once. */
		atomic_signal_fence(memory_order_seq_cst);
		if (atomic_load(&vp->vm->stop))
			break;
		if (atomic_load(&vp->requests))
			handle_requests(vp);
		if (!vp->vtl2_up) {
			/* Not started: VTL0 cannot run before VTL2 has set it up. */
			struct timespec ts = {.tv_nsec = 200 * 1000000};

			if (!vp->vtl[VTL0].run->immediate_exit)
				nanosleep(&ts, NULL);
			continue;
		}
		if (vp->timer_armed_for == 0)
			stimer_run(vp);
		if (atomic_load(&vp->active) == VTL0 && vtl2_interrupt_pending(vp)) {
			switch_to_vtl2(vp, HV_VTL_ENTRY_INTERRUPT, true);
			continue;
		}
		run_once(vp);
	}
	timer_delete(vp->timer);
	vp->timer_created = false;
	current = NULL;
	return NULL;
}
