#include "host/vm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <x86intrin.h>

#include "common/log.h"
#include "host/hostlink.h"
#include "host/image.h"
#include "host/synic.h"
#include "host/vp.h"

u64 vm_reference_time(const struct vm *vm)
{
	return (u64)((unsigned __int128)(__rdtsc() - vm->tsc_start) * 10000000 / vm->tsc_hz);
}

void vm_end(struct vm *vm, enum vm_outcome outcome, const char *fmt, ...)
{
	u64 one = 1;
	va_list ap;

	pthread_mutex_lock(&vm->end_lock);
	if (atomic_load(&vm->outcome) == VM_RUNNING) {
		va_start(ap, fmt);
		vsnprintf(vm->outcome_text, sizeof(vm->outcome_text), fmt, ap);
		va_end(ap);
		atomic_store(&vm->outcome, (int)outcome);
	}
	pthread_mutex_unlock(&vm->end_lock);
	if (write(vm->outcome_event, &one, sizeof(one)) < 0)
		log_debug("outcome event was lost");
	/* No VP may go on: the guest must not see the moment after its end. */
	atomic_store(&vm->stop, true);
}

static int create_kvm_vm(struct vm *vm, enum vtl vtl)
{
	struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
	struct kvm_enable_cap msrs = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
				      .args = {KVM_MSR_EXIT_REASON_FILTER |
					       KVM_MSR_EXIT_REASON_UNKNOWN |
					       KVM_MSR_EXIT_REASON_INVAL}};
	u8 bitmap[HV_MSR_COUNT / 8] = {0};
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges = {{.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			    .base = HV_MSR_FIRST,
			    .nmsrs = HV_MSR_COUNT,
			    .bitmap = bitmap}},
	};
	u64 identity_map = KVM_IDENTITY_PAGE;
	int fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);

	if (fd < 0) {
		log_error("KVM_CREATE_VM: %s", strerror(errno));
		return -1;
	}
	vm->vm_fd[vtl] = fd;
	/* Only Intel without unrestricted guest wants to know. */
	ioctl(fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	ioctl(fd, KVM_SET_TSS_ADDR, (unsigned long)KVM_TSS_PAGES);
	if (ioctl(fd, KVM_ENABLE_CAP, &split) || ioctl(fd, KVM_ENABLE_CAP, &msrs) ||
	    ioctl(fd, KVM_X86_SET_MSR_FILTER, &filter)) {
		log_error("KVM refuses the split interrupt controller or the MSR filter: %s",
			  strerror(errno));
		return -1;
	}
	return memory_add_slots(&vm->mem, fd, vtl == VTL0);
}

static int find_tsc_frequency(struct vm *vm)
{
	int probe = ioctl(vm->vm_fd[VTL2], KVM_GET_TSC_KHZ, 0);
	int fd = vm->vp[0].vtl[VTL2].fd, khz = -1;

	if (fd >= 0)
		khz = ioctl(fd, KVM_GET_TSC_KHZ, 0);
	if (khz <= 0)
		khz = probe;
	if (khz <= 0) {
		log_error("KVM does not tell the TSC frequency");
		return -1;
	}
	vm->tsc_hz = (u64)khz * 1000;
	return 0;
}

/* Where the time before VTL2's entry goes, for --verbose. */
static void progress(const char *what)
{
	log_debug("%8.1f ms: %s", uptime_ms(), what);
}

int vm_create(struct vm *vm, const struct vm_config *config)
{
	const struct image_needs *needs = &config->image->needs;
	int run_size;

	vm->config = config;
	vm->vm_fd[VTL0] = vm->vm_fd[VTL2] = -1;
	vm->mem.fd = -1;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->end_lock, NULL);
	if (memory_create(&vm->mem, config->memory_bytes, needs->vtl2_size, needs->vtl2_align,
			  needs->vtl2_min))
		return -1;
	progress("memory mapped");
	run_size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (run_size < (int)sizeof(struct kvm_run)) {
		log_error("KVM_GET_VCPU_MMAP_SIZE: %s", strerror(errno));
		return -1;
	}
	vm->run_size = (size_t)run_size;
	for (enum vtl vtl = VTL0; vtl < VTLS; vtl++)
		if (create_kvm_vm(vm, vtl))
			return -1;
	progress("KVM VMs created");
	vm->vp = calloc(config->vps, sizeof(*vm->vp));
	if (!vm->vp)
		return -1;
	vm->tsc_start = __rdtsc();
	for (unsigned i = 0; i < config->vps; i++) {
		vm->vps = config->vps; /* topology in CPUID */
		vm->vps_created = i + 1;
		if (vp_create(vm, i))
			return -1;
	}
	if (find_tsc_frequency(vm))
		return -1;
	progress("virtual processors created");
	if (image_load(config->image, vm))
		return -1;
	progress("image loaded");
	return 0;
}

void vm_destroy(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vps_created; i++)
		vp_destroy(&vm->vp[i]);
	free(vm->vp);
	for (enum vtl vtl = VTL0; vtl < VTLS; vtl++)
		if (vm->vm_fd[vtl] >= 0)
			close(vm->vm_fd[vtl]);
	if (vm->mem.view0)
		memory_destroy(&vm->mem);
	free(vm->vtl0_cpuid);
	pthread_mutex_destroy(&vm->lock);
	pthread_mutex_destroy(&vm->end_lock);
}

int vm_start(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vps; i++) {
		if (pthread_create(&vm->vp[i].thread, NULL, vp_thread, &vm->vp[i])) {
			log_error("cannot start the thread of virtual processor %u", i);
			return -1;
		}
		vm->vp[i].thread_started = true;
	}
	return 0;
}

void vm_stop(struct vm *vm)
{
	atomic_store(&vm->stop, true);
	for (unsigned i = 0; i < vm->vps_created; i++) {
		struct vp *vp = &vm->vp[i];

		while (vp->thread_started) {
			struct timespec ts;

			vp_kick(vp);
			clock_gettime(CLOCK_REALTIME, &ts);
			ts.tv_nsec += 20 * 1000000;
			if (ts.tv_nsec >= 1000000000) {
				ts.tv_nsec -= 1000000000;
				ts.tv_sec++;
			}
			/* A kick may hit just before KVM_RUN; kick until it has ended. */
			if (!pthread_timedjoin_np(vp->thread, NULL, &ts))
				vp->thread_started = false;
		}
	}
}
