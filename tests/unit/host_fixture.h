/*
 * A virtual machine of the host without KVM, for tests: real memory, fake vCPUs. ioctl() and
 * timer_settime() are replaced by ones that record what the host asks for.
 */
#ifndef PARAPET_TESTS_UNIT_HOST_FIXTURE_H
#define PARAPET_TESTS_UNIT_HOST_FIXTURE_H

#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "host/regs.h"
#include "host/synic.h"
#include "host/vm.h"
#include "tests/lib/no_log.h"

#define HOST_FIX_VPS   4
#define HOST_FIX_VM_FD 9000 /* + VTL */
#define HOST_FIX_FD    9100 /* + 2 * VP + VTL */
#define HOST_FIX_MSRS  32

struct host_fix {
	struct vm vm;
	struct vm_config config;
	struct timeline timeline;
	struct vp vp[HOST_FIX_VPS];
};

/* What was asked of "KVM" */
static struct {
	unsigned msis;
	int msi_fd;
	struct kvm_msi msi; /* the last */
	unsigned routings, routes;
	struct kvm_irq_routing_entry route[32];
	u32 mp_state[2 * HOST_FIX_VPS];
	struct kvm_xsave xsave[2 * HOST_FIX_VPS];
	struct kvm_msr_entry msr[2 * HOST_FIX_VPS][HOST_FIX_MSRS];
	struct kvm_userspace_memory_region slot[32];
	unsigned slots;
	bool refuse;  /* every request fails */
	u64 timer_ns; /* of the last timer_settime(); 0: disarmed */
	unsigned timer_sets;
} fake;

static int fake_msr(unsigned vcpu, struct kvm_msr_entry *e, bool set)
{
	for (unsigned i = 0; i < HOST_FIX_MSRS; i++) {
		struct kvm_msr_entry *m = &fake.msr[vcpu][i];

		if (m->index && m->index != e->index)
			continue;
		if (set)
			*m = *e;
		e->data = m->index ? m->data : 0;
		return 1;
	}
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	unsigned vcpu = (unsigned)(fd - HOST_FIX_FD);
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	errno = EBADF;
	if (fake.refuse)
		return -1;
	if (fd == HOST_FIX_VM_FD || fd == HOST_FIX_VM_FD + 1) {
		switch (request) {
		case KVM_SIGNAL_MSI:
			fake.msis++;
			fake.msi_fd = fd;
			memcpy(&fake.msi, arg, sizeof(fake.msi));
			return 1;
		case KVM_SET_GSI_ROUTING:
			fake.routings++;
			fake.routes = ((struct kvm_irq_routing *)arg)->nr;
			if (fake.routes > ARRAY_SIZE(fake.route))
				abort();
			memcpy(fake.route, (u8 *)arg + sizeof(struct kvm_irq_routing),
			       fake.routes * sizeof(fake.route[0]));
			return 0;
		case KVM_SET_USER_MEMORY_REGION:
			if (fake.slots == ARRAY_SIZE(fake.slot))
				abort();
			memcpy(&fake.slot[fake.slots++], arg, sizeof(fake.slot[0]));
			return 0;
		default: return -1;
		}
	}
	if (vcpu >= 2 * HOST_FIX_VPS)
		return -1;
	switch (request) {
	case KVM_GET_MP_STATE: memcpy(arg, &fake.mp_state[vcpu], sizeof(u32)); return 0;
	case KVM_SET_MP_STATE: memcpy(&fake.mp_state[vcpu], arg, sizeof(u32)); return 0;
	case KVM_GET_XSAVE: memcpy(arg, &fake.xsave[vcpu], sizeof(fake.xsave[0])); return 0;
	case KVM_SET_XSAVE: memcpy(&fake.xsave[vcpu], arg, sizeof(fake.xsave[0])); return 0;
	case KVM_GET_MSRS:
	case KVM_SET_MSRS:
		return fake_msr(
			vcpu, (struct kvm_msr_entry *)(void *)((u8 *)arg + sizeof(struct kvm_msrs)),
			request == KVM_SET_MSRS);
	case KVM_TRANSLATE: {
		struct kvm_translation *tr = arg;

		tr->valid = tr->linear_address < BIT(40);
		tr->physical_address = tr->linear_address;
		return 0;
	}
	default: return -1;
	}
}

int timer_settime(timer_t timer, int flags, const struct itimerspec *its, struct itimerspec *old)
{
	(void)timer;
	(void)flags;
	(void)old;
	fake.timer_sets++;
	fake.timer_ns = (u64)its->it_value.tv_sec * 1000000000 + (u64)its->it_value.tv_nsec;
	return 0;
}

static inline struct host_fix *host_fix_new(u64 vtl0_bytes, u64 vtl2_bytes)
{
	struct host_fix *f = calloc(1, sizeof(*f));

	memset(&fake, 0, sizeof(fake));
	log_set_sink(no_log);
	f->config = (struct vm_config){.vps = HOST_FIX_VPS, .memory_bytes = vtl0_bytes};
	f->vm.config = &f->config;
	f->vm.kvm = -1;
	f->vm.outcome_event = -1;
	f->vm.timeline = &f->timeline;
	f->vm.tsc_hz = 2000000000;
	f->vm.vp = f->vp;
	f->vm.vps = f->vm.vps_created = HOST_FIX_VPS;
	pthread_mutex_init(&f->vm.lock, NULL);
	pthread_mutex_init(&f->vm.end_lock, NULL);
	if (memory_create(&f->vm.mem, vtl0_bytes, vtl2_bytes, 2 * MiB, 0x8000000))
		abort();
	for (unsigned i = 0; i < HOST_FIX_VPS; i++) {
		struct vp *vp = &f->vp[i];

		vp->vm = &f->vm;
		vp->index = vp->apic_id = i;
		vp->timer_armed_for = ~0ull;
		pthread_mutex_init(&vp->lock, NULL);
		atomic_store(&vp->active, VTL2);
		atomic_store(&vp->vtl2_enabled, i == 0);
		atomic_store(&vp->started, i == 0);
		for (enum vtl vtl = VTL0; vtl < VTLS; vtl++) {
			vp->vtl[vtl].fd = HOST_FIX_FD + 2 * (int)i + vtl;
			vp->vtl[vtl].run = calloc(1, sizeof(struct kvm_run));
			vp->vtl[vtl].fpu = calloc(1, sizeof(struct kvm_xsave));
			synic_reset(&vp->vtl[vtl].synic);
		}
	}
	for (enum vtl vtl = VTL0; vtl < VTLS; vtl++)
		f->vm.vm_fd[vtl] = HOST_FIX_VM_FD + vtl;
	return f;
}

static inline void host_fix_free(struct host_fix *f)
{
	for (unsigned i = 0; i < HOST_FIX_VPS; i++)
		for (enum vtl vtl = VTL0; vtl < VTLS; vtl++) {
			synic_destroy(&f->vp[i].vtl[vtl].synic);
			free(f->vp[i].vtl[vtl].run);
			free(f->vp[i].vtl[vtl].fpu);
		}
	memory_destroy(&f->vm.mem);
	free(f->vm.vtl0_cpuid);
	free(f);
	log_set_sink(NULL);
}

#endif
