#include "host/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/log.h"
#include "host/synic.h"

#define IOAPIC_PINS 24

static int send_msi(struct vm *vm, enum vtl vtl, u32 address, u32 data)
{
	struct kvm_msi msi = {.address_lo = address, .data = data};

	return ioctl(vm->vm_fd[vtl], KVM_SIGNAL_MSI, &msi);
}

void vp_kick(struct vp *vp)
{
	if (vp->thread_started && vp->tid)
		syscall(SYS_tgkill, getpid(), vp->tid, SIGUSR1);
}

void vp_vtl2_interrupted(struct vp *vp)
{
	/* Order: the interrupt is in the APIC, then the hint, then the look at who runs. */
	atomic_store(&vp->vtl[VTL2].irq_hint, true);
	if (atomic_load(&vp->active) == VTL0) {
		vp->stats.count[COUNT_KICK]++;
		vp_kick(vp);
	}
}

void vp_interrupt(struct vp *vp, enum vtl vtl, u8 vector)
{
	send_msi(vp->vm, vtl, 0xfee00000u | vp->apic_id << 12, vector);
	if (vtl == VTL2)
		vp_vtl2_interrupted(vp);
}

/*
 * KVM reports the EOI of a level-triggered vector only if one of the "IOAPIC" routes names it.
 * Call with vm->lock held.
 */
static void route_level_vector(struct vm *vm, u32 key, u32 address, u32 data)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[IOAPIC_PINS];
	} routing = {0};
	unsigned n = vm->level_vectors;

	for (unsigned i = 0; i < MIN(n, IOAPIC_PINS); i++)
		if (vm->level_route[i].key == key)
			return;
	vm->level_route[n % IOAPIC_PINS].key = key;
	vm->level_route[n % IOAPIC_PINS].address = address;
	vm->level_route[n % IOAPIC_PINS].data = data;
	vm->level_vectors = n + 1;
	for (unsigned i = 0; i < MIN(n + 1, IOAPIC_PINS); i++) {
		routing.entry[i].gsi = i;
		routing.entry[i].type = KVM_IRQ_ROUTING_MSI;
		routing.entry[i].u.msi.address_lo = vm->level_route[i].address;
		routing.entry[i].u.msi.data = vm->level_route[i].data;
		routing.head.nr++;
	}
	if (ioctl(vm->vm_fd[VTL0], KVM_SET_GSI_ROUTING, &routing))
		log_debug("KVM_SET_GSI_ROUTING: %s", strerror(errno));
}

u16 interrupt_assert(struct vm *vm, u32 type, bool level, bool logical, u64 destination, u32 vector)
{
	u32 address, data;

	if (destination > 0xff || vector > 0xff)
		return HV_STATUS_INVALID_PARAMETER;
	if (type != HV_INTERRUPT_FIXED && type != HV_INTERRUPT_LOWEST_PRIORITY &&
	    type != HV_INTERRUPT_NMI && type != HV_INTERRUPT_INIT && type != HV_INTERRUPT_SIPI)
		return HV_STATUS_INVALID_PARAMETER;
	if (type <= HV_INTERRUPT_LOWEST_PRIORITY && vector < 16)
		return HV_STATUS_INVALID_PARAMETER;
	address = 0xfee00000u | (u32)destination << 12 | (logical ? 1u << 2 : 0) |
		  (type == HV_INTERRUPT_LOWEST_PRIORITY ? 1u << 3 : 0);
	data = vector | type << 8 | (level ? 3u << 14 : 0);
	if (level && vm->eoi_intercept) {
		pthread_mutex_lock(&vm->lock);
		route_level_vector(vm, (u32)destination << 8 | vector | (logical ? 1u << 16 : 0),
				   address, data);
		pthread_mutex_unlock(&vm->lock);
	}
	send_msi(vm, VTL0, address, data);
	return HV_STATUS_SUCCESS;
}
