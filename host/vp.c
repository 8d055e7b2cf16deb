#include "host/vp.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include "common/log.h"
#include "host/cpuid.h"
#include "host/regs.h"
#include "host/synic.h"
#include "host/vp_exit.h"
#include "host/vtl_switch.h"

#define SIG_KICK  SIGUSR1
#define SIG_TIMER SIGRTMIN

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
		vp_exit(vp, vtl);
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
		vp_exit_fault(vp, vtl);
		break;
	case EINVAL:
		if (vtl == VTL0) { /* the guest may choose it: HvCallStartVirtualProcessor */
			vp_unrecoverable(vp, "has a register state that no processor takes");
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
		if (atomic_load(&vp->active) == VTL0 && vtl_interrupt_pending(vp)) {
			vtl_enter_interrupt(vp);
			continue;
		}
		run_once(vp);
	}
	timer_delete(vp->timer);
	vp->timer_created = false;
	current = NULL;
	return NULL;
}
