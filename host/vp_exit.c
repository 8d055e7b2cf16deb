#include "host/vp_exit.h"

#include <string.h>
#include <sys/ioctl.h>

#include "common/log.h"
#include "host/hypercall.h"
#include "host/intercept.h"
#include "host/msr.h"
#include "host/regs.h"
#include "host/uart.h"
#include "host/vtl_switch.h"

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
			vtl_return(vp);
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
		vtl_enter_intercept(vp, &m);
		return;
	}
	if (!in && port == VTL_CALL_PORT && at_hypercall(vp, VTL0, HYPERCALL_PAGE_VTL_CALL)) {
		/* The guest has no VSM: as without the feature. */
		vtl_abandon_exit(vp);
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
		vtl_enter_string_io(vp);
		return;
	}
	vp->io_exit = true;
	vp->io_exit_rip = regs_of(vp, VTL0)->rip;
	intercept_io(vp, &m, port, run->io.size, in, length, regs_of(vp, VTL0)->rax);
	vtl_enter_intercept(vp, &m);
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
		length = vtl_abandon_exit(vp);
		intercept_msr(vp, &m, index, write, value, length);
		vtl_enter_intercept(vp, &m);
		return;
	}
	if (r > 0)
		log_debug("VP %u VTL %d: unknown MSR %#x %s", vp->index, VTL_NUMBER(vtl), index,
			  write ? "written" : "read");
	run->msr.error = 1;
}

void vp_unrecoverable(struct vp *vp, const char *what)
{
	struct hv_message m;

	if (vp->vm->vsm_config & HV_VSM_CONFIG_INTERCEPT_UNRECOVERABLE) {
		vp->stats.count[COUNT_OTHER_INTERCEPT]++;
		intercept_unrecoverable(vp, &m);
		vtl_enter_intercept(vp, &m);
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

void vp_exit_fault(struct vp *vp, enum vtl vtl)
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
		vtl_enter_intercept(vp, &m);
		return;
	}
	/* Delivery of an event or a table walk that ends outside memory never gets anywhere. */
	if (r < 0 || ++vp->faults_in_place > 64) {
		vp->faults_in_place = 0;
		vp_unrecoverable(vp, "accessed memory that does not exist in a way that cannot be "
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
		vp_unrecoverable(vp, "triple fault");
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

void vp_exit(struct vp *vp, enum vtl vtl)
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
			vtl_enter_intercept(vp, &m);
		}
		break;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		if (vtl == VTL0 && vp->deliverable_wanted & HV_DELIVERABLE_INTERRUPT) {
			vp->deliverable_wanted &= ~HV_DELIVERABLE_INTERRUPT;
			vp->stats.count[COUNT_OTHER_INTERCEPT]++;
			intercept_deliverable(vp, &m);
			vtl_enter_intercept(vp, &m);
		}
		break;
	case KVM_EXIT_SHUTDOWN: exit_shutdown(vp, vtl); break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_HLT: break;
	case KVM_EXIT_SYSTEM_EVENT:
	case KVM_EXIT_INTERNAL_ERROR:
		if (vtl == VTL0 && run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
			vp_unrecoverable(vp, "executed an instruction that KVM cannot emulate");
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
